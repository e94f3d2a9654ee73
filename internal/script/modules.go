package script

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/dop251/goja/ast"
)

// moduleEdits rewrites import and export to what CommonJS has. It works on tokens, so that nothing else of the file
// changes, its lines above all. declared are the places of declarations whose names are exported: they are known when
// the rest is parsed.
type moduleEdits struct {
	file     *file
	tokens   []token
	edits    []Edit
	getters  []string // "name: () => expression", exported from the beginning, as the names of a module are
	declared []int
	used     bool // the file is an ECMAScript module
	errs     Errors
}

// modules finds the import and export statements of f.
func modules(f *file) *moduleEdits {
	m := &moduleEdits{file: f}
	var deep int
	if m.tokens, deep = scan(f.text); deep >= 0 {
		m.errs = append(m.errs, f.errorAt(deep, "brackets are nested more than %d deep", maxNesting))
		return m
	}
	for i := 0; i < len(m.tokens); i++ {
		s := m.at(i)
		if s != "import" && s != "export" || m.tokens[i].kind != word || m.at(i-1) == "." {
			continue
		}
		if s == "import" && (m.at(i+1) == "(" || m.at(i+1) == ".") && (m.tokens[i].depth == 0 || m.at(i-1) != "{" && m.at(i-1) != ",") {
			m.fail(i, "import%s is not available; write an import statement at the top of the file", map[bool]string{true: "()", false: ".meta"}[m.at(i+1) == "("])
			continue
		}
		if m.tokens[i].depth > 0 || i > 0 && !m.tokens[i].fresh && m.at(i-1) != ";" && m.at(i-1) != "}" {
			continue // a name, or a mistake that the parser finds
		}
		m.used = true
		statement := m.imports
		if s == "export" {
			statement = m.exports
		}
		i = statement(i)
	}
	return m
}

// at returns the text of token i, or "".
func (m *moduleEdits) at(i int) string {
	if i < 0 || i >= len(m.tokens) {
		return ""
	}
	return m.file.text[m.tokens[i].from:m.tokens[i].to]
}

func (m *moduleEdits) fail(i int, format string, args ...any) {
	offset := len(m.file.text)
	if i < len(m.tokens) {
		offset = m.tokens[i].from
	}
	m.errs = append(m.errs, m.file.errorAt(offset, format, args...))
}

// replace puts text in place of the tokens from first to before end, and keeps the lines.
func (m *moduleEdits) replace(first, end int, text string) {
	from, to := m.tokens[first].from, m.tokens[end-1].to
	m.edits = append(m.edits, Edit{from, to, text + strings.Repeat("\n", strings.Count(m.file.text[from:to], "\n"))})
}

// source reads "from 'x'" (or 'x' alone) at i and returns the module's name as a literal, and what comes after.
func (m *moduleEdits) source(i int) (module string, end int, ok bool) {
	if m.at(i) == "from" {
		i++
	}
	s := m.at(i)
	if len(s) < 2 || s[0] != '\'' && s[0] != '"' {
		m.fail(i, "the name of a module in quotes is expected here")
		return "", i, false
	}
	if i++; (m.at(i) == "with" || m.at(i) == "assert") && !m.tokens[i].fresh {
		m.fail(i, "import attributes are not available")
		return "", i, false
	}
	return s, i, true
}

// names reads "{a, b as c}" at i. Names may be strings.
func (m *moduleEdits) names(i int) (names [][2]string, end int, ok bool) {
	for i++; m.at(i) != "}"; {
		if i >= len(m.tokens) || m.tokens[i].kind == operator {
			m.fail(i, "a name is expected here")
			return nil, i, false
		}
		if m.at(i) == "type" && m.at(i+1) != "," && m.at(i+1) != "}" && m.at(i+1) != "as" {
			m.fail(i, "types are TypeScript; write plain JavaScript")
			return nil, i, false
		}
		pair := [2]string{m.at(i), m.at(i)}
		if i++; m.at(i) == "as" {
			pair[1] = m.at(i + 1)
			i += 2
		}
		names = append(names, pair)
		switch m.at(i) {
		case ",":
			i++
		case "}":
		default:
			m.fail(i, `"," or "}" is expected here`)
			return nil, i, false
		}
	}
	return names, i + 1, true
}

// imports rewrites the import statement at i, and returns its last token.
func (m *moduleEdits) imports(first int) int {
	i := first + 1
	if m.at(i) == "type" && m.at(i+1) != "from" && m.at(i+1) != "," {
		m.fail(i, "types are TypeScript; write plain JavaScript")
		return i
	}
	if s := m.at(i); strings.HasPrefix(s, "'") || strings.HasPrefix(s, `"`) {
		module, end, ok := m.source(i)
		if ok {
			m.replace(first, end, "require("+module+")")
		}
		return end - 1
	}
	var bindings, wanted []string
	namespace := ""
	if i < len(m.tokens) && m.tokens[i].kind == word && m.at(i) != "from" || m.at(i) == "from" && m.at(i+1) == "from" {
		bindings, wanted = append(bindings, "default: "+m.at(i)), append(wanted, "default")
		if i++; m.at(i) == "," {
			i++
		}
	}
	switch m.at(i) {
	case "*":
		if m.at(i+1) != "as" {
			m.fail(i+1, `"as" is expected here`)
			return i
		}
		namespace = m.at(i + 2)
		i += 3
	case "{":
		names, end, ok := m.names(i)
		if !ok {
			return end
		}
		for _, n := range names {
			bindings, wanted = append(bindings, n[0]+": "+n[1]), append(wanted, strings.Trim(n[0], `'"`))
		}
		i = end
	}
	module, end, ok := m.source(i)
	if !ok {
		return end
	}
	list, _ := json.Marshal(wanted)
	call := fmt.Sprintf("$module.import(%s, %s)", module, list)
	var text string
	switch {
	case namespace != "" && len(bindings) > 0:
		text = fmt.Sprintf("const %s = %s, {%s} = %s", namespace, call, strings.Join(bindings, ", "), namespace)
	case namespace != "":
		text = fmt.Sprintf("const %s = $module.import(%s, [])", namespace, module)
	default:
		text = fmt.Sprintf("const {%s} = %s", strings.Join(bindings, ", "), call)
	}
	m.replace(first, end, text+";")
	return end - 1
}

// exports rewrites the export statement at i, and returns its last token.
func (m *moduleEdits) exports(first int) int {
	i := first + 1
	switch s := m.at(i); s {
	case "default":
		return m.exportDefault(first)
	case "*":
		name := ""
		if i++; m.at(i) == "as" {
			name = m.at(i + 1)
			i += 2
		}
		module, end, ok := m.source(i)
		if !ok {
			return end
		}
		if name != "" {
			m.getters = append(m.getters, fmt.Sprintf("%s: () => $module.import(%s, [])", name, module))
			m.replace(first, end, fmt.Sprintf("require(%s);", module))
		} else {
			m.replace(first, end, fmt.Sprintf("$module.all(%s);", module))
		}
		return end - 1
	case "{":
		names, end, ok := m.names(i)
		if !ok {
			return end
		}
		if m.at(end) != "from" {
			for _, n := range names {
				m.getters = append(m.getters, fmt.Sprintf("%s: () => %s", n[1], n[0]))
			}
			m.replace(first, end, ";")
			return end - 1
		}
		module, end, ok := m.source(end)
		if !ok {
			return end
		}
		for _, n := range names {
			key, _ := json.Marshal(strings.Trim(n[0], `'"`))
			m.getters = append(m.getters, fmt.Sprintf("%s: () => $module.import(%s, [%s])[%s]", n[1], module, key, key))
		}
		m.replace(first, end, fmt.Sprintf("require(%s);", module))
		return end - 1
	case "const", "let", "var", "function", "class", "async":
		m.replace(first, first+1, "")
		m.declared = append(m.declared, m.tokens[i].from)
		return i
	case "type", "interface", "enum", "declare", "abstract", "namespace":
		m.fail(i, "types are TypeScript; write plain JavaScript")
	default:
		m.fail(i, "a declaration, default, {…} or * is expected after export")
	}
	return i
}

// exportDefault rewrites "export default …". A named function or class stays a declaration.
func (m *moduleEdits) exportDefault(first int) int {
	i := first + 2
	name := i + 1
	if m.at(i) == "async" && m.at(i+1) == "function" {
		name++
	}
	if m.at(name) == "*" {
		name++
	}
	if s := m.at(i); (s == "function" || s == "class" || name > i+1) && name < len(m.tokens) && m.tokens[name].kind == word && m.at(name) != "extends" {
		m.getters = append(m.getters, "default: () => "+m.at(name))
		m.replace(first, first+2, "")
		return first + 1
	}
	m.getters = append(m.getters, "default: () => $module.default")
	m.replace(first, first+2, "$module.default =")
	return first + 1
}

// declarations adds the names that exported declarations declare. at maps a byte of the author's text to one of the
// program's.
func (m *moduleEdits) declarations(program *ast.Program, at func(int) int) {
	for _, offset := range m.declared {
		want := at(offset)
		i := slices.IndexFunc(program.Body, func(s ast.Statement) bool { return int(s.Idx0())-1 == want })
		if i < 0 {
			continue // such as "export async x"; the parser has said what is wrong
		}
		var names []string
		switch s := program.Body[i].(type) {
		case *ast.VariableStatement:
			for _, b := range s.List {
				names = bound(names, b.Target)
			}
		case *ast.LexicalDeclaration:
			for _, b := range s.List {
				names = bound(names, b.Target)
			}
		case *ast.FunctionDeclaration:
			names = append(names, s.Function.Name.Name.String())
		case *ast.ClassDeclaration:
			names = append(names, s.Class.Name.Name.String())
		}
		for _, name := range names {
			m.getters = append(m.getters, fmt.Sprintf("%s: () => %s", name, name))
		}
	}
}

// bound adds the names that a pattern binds.
func bound(names []string, e ast.Expression) []string {
	switch e := e.(type) {
	case *ast.Identifier:
		return append(names, e.Name.String())
	case *ast.AssignExpression:
		return bound(names, e.Left)
	case *ast.ArrayPattern:
		for _, element := range e.Elements {
			names = bound(names, element)
		}
		return bound(names, e.Rest)
	case *ast.ObjectPattern:
		for _, p := range e.Properties {
			switch p := p.(type) {
			case *ast.PropertyShort:
				names = append(names, p.Name.Name.String())
			case *ast.PropertyKeyed:
				names = bound(names, p.Value)
			}
		}
		return bound(names, e.Rest)
	}
	return names
}

// head is what stands before the text of a file, on its first line.
func (m *moduleEdits) head() string {
	head := "(function (exports, require, module, $module) {"
	if m.used {
		head += "'use strict'; $module.export({" + strings.Join(m.getters, ", ") + "});"
	}
	return head
}

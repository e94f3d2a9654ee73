package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// plan is what the guard knows of a statement: whether it writes, and which of Tables it names.
type plan struct {
	write   bool
	tables  []string
	made    []name      // tables that it reads and that somebody must have made
	defines *definition // what it makes or drops; nil for other statements
}

// permits returns nil if an identity with rights r may run a statement with plan p.
func (r Rights) permits(p plan) *Error {
	for _, t := range p.tables {
		if slices.Contains(r.Denied, t) {
			return denied(t)
		}
	}
	if p.defines != nil && r.OnlyReads {
		return &Error{Kind: NotAllowed, Object: p.defines.name.String(), Message: fmt.Sprintf("no permission %s on %q", p.defines.act, p.defines.name)}
	}
	if p.write && !r.Write {
		return &Error{Kind: NotAllowed, Object: "scratch", Message: `no permission MODIFY on table "scratch"`}
	}
	return nil
}

// rowSources are the table functions that read nothing but their arguments. Others (query_table, duckdb_views,
// pragma_table_info, …) would reach around the views and are said not to exist.
var rowSources = []string{"generate_series", "generate_subscripts", "range", "unnest"}

// planSelect reads the parse tree that DuckDB's json_serialize_sql gives for the SELECT statements of a text.
// Everything that can stand in a FROM clause is looked at, wherever in the tree it is: nothing is resolved here but
// the names, so a tree of a shape that is not known is refused.
func planSelect(tree []byte) (plan, *Error) {
	var doc struct {
		Error      bool              `json:"error"`
		Message    string            `json:"error_message"`
		Type       string            `json:"error_type"`
		Statements []json.RawMessage `json:"statements"`
	}
	if err := json.Unmarshal(tree, &doc); err != nil {
		return plan{}, &Error{Kind: Syntax, Message: "the statement nests too deep"}
	}
	if doc.Error {
		return plan{}, &Error{Kind: Syntax, Message: doc.Message}
	}
	if len(doc.Statements) != 1 {
		return plan{}, &Error{Kind: Syntax, Message: "one statement at a time is allowed"}
	}
	var root any
	if err := json.Unmarshal(doc.Statements[0], &root); err != nil {
		return plan{}, &Error{Kind: Syntax, Message: "the statement nests too deep"}
	}
	w := treeWalk{ctes: map[string]bool{}}
	w.collectCTEs(root)
	w.visit(root)
	return plan{tables: w.tables, made: w.made}, w.err
}

type treeWalk struct {
	ctes   map[string]bool
	tables []string
	made   []name
	err    *Error
}

// collectCTEs notes the names of WITH clauses. They are noted for the whole statement, whatever their scope, because a
// plain name can only mean a CTE or one of Tables: the views' schema holds nothing else.
func (w *treeWalk) collectCTEs(node any) {
	switch n := node.(type) {
	case []any:
		for _, c := range n {
			w.collectCTEs(c)
		}
	case map[string]any:
		if cte, ok := n["cte_map"].(map[string]any); ok {
			entries, _ := cte["map"].([]any)
			for _, e := range entries {
				if entry, ok := e.(map[string]any); ok {
					w.ctes[strings.ToLower(text(entry, "key"))] = true
				}
			}
		}
		for _, c := range n {
			w.collectCTEs(c)
		}
	}
}

func (w *treeWalk) visit(node any) {
	if w.err != nil {
		return
	}
	switch n := node.(type) {
	case []any:
		for _, c := range n {
			w.visit(c)
		}
	case map[string]any:
		switch text(n, "type") {
		case "BASE_TABLE":
			w.table(text(n, "catalog_name"), text(n, "schema_name"), text(n, "table_name"))
		case "TABLE_FUNCTION":
			fn, _ := n["function"].(map[string]any)
			if name := strings.ToLower(text(fn, "function_name")); !slices.Contains(rowSources, name) {
				w.err = &Error{Kind: TableAbsent, Object: name, Message: fmt.Sprintf("table function %q does not exist", name)}
			}
		case "SHOW_REF", "COLUMN_DATA", "DELIM_GET", "BOUND_TABLE_REF", "INVALID":
			w.err = &Error{Kind: Syntax, Message: "this kind of statement is not supported by the sandbox"}
		}
		for _, c := range n {
			w.visit(c)
		}
	}
}

// table enters the name of a table, or refuses it. The catalogs and schemas that exist for a statement are those of
// the views and the information schema.
func (w *treeWalk) table(catalog, schema, table string) {
	c, s, t := strings.ToLower(catalog), strings.ToLower(schema), strings.ToLower(table)
	if c == "" && s == "" && w.ctes[t] {
		return
	}
	inCatalog := c == "" || c == Catalog
	switch {
	case inCatalog && s == "information_schema" && (t == "tables" || t == "columns"):
	case inCatalog && (s == "" || s == "public" || s == "default" || s == Catalog && c == "") && slices.Contains(Tables(), t):
		if !slices.Contains(w.tables, t) {
			w.tables = append(w.tables, t)
		}
	case inCatalog && s != "" && !slices.Contains(taken, s):
		w.made = append(w.made, name{s, t})
	default:
		full := strings.Trim(strings.Join([]string{catalog, schema, table}, "."), ".")
		w.err = &Error{Kind: TableAbsent, Object: full, Message: fmt.Sprintf("table or view %q does not exist", full)}
	}
}

func text(n map[string]any, key string) string { s, _ := n[key].(string); return s }

// planWrite reads a translated INSERT, UPDATE or DELETE, which DuckDB does not serialize: its target must be scratch,
// and it may hold no query of its own. DuckDB's other ways of quoting are refused, so that both see the same tokens.
func planWrite(sql string) (plan, *Error) {
	var words []string
	toks := duck.tokens(sql)
	for i, t := range toks {
		switch {
		case t.kind == word && (strings.Contains(t.text, "$") || i+1 < len(toks) && toks[i+1].kind == str), t.text == "$" && i+1 < len(toks) && toks[i+1].text == "$":
			return plan{}, &Error{Kind: Syntax, Message: "the sandbox takes writes with plain strings only"} // E'', $$, $tag$
		case t.kind == word || t.kind == quoted:
			words = append(words, strings.ToLower(t.value))
		case t.text == ";":
			return plan{}, &Error{Kind: Syntax, Message: "one statement at a time is allowed"}
		}
	}
	target := words
	switch {
	case len(words) > 1 && (words[0] == "insert" && words[1] == "into" || words[0] == "delete" && words[1] == "from"):
		target = words[2:]
	case words[0] == "update":
		target = words[1:]
	}
	for len(target) > 1 && (target[0] == Catalog || target[0] == "public" || target[0] == "default") {
		target = target[1:]
	}
	if len(target) == 0 || target[0] != "scratch" {
		name := strings.Join(target[:min(1, len(target))], "")
		if slices.Contains(Tables(), name) {
			return plan{}, &Error{Kind: NotAllowed, Object: name, Message: fmt.Sprintf("no permission MODIFY on table %q", name)}
		}
		return plan{}, &Error{Kind: TableAbsent, Object: name, Message: fmt.Sprintf("table or view %q does not exist", name)}
	}
	for _, w := range target {
		if slices.Contains([]string{"base", "describe", "from", "query", "query_table", "select", "show", "summarize", "table", "using", "with"}, w) {
			return plan{}, &Error{Kind: Syntax, Message: "the sandbox takes writes of plain values only"}
		}
	}
	return plan{write: true, tables: []string{"scratch"}}, nil
}

// firstWord returns the first word of a translated statement in lower case, which tells its kind.
func firstWord(sql string) string {
	for _, t := range duck.tokens(sql) {
		switch {
		case t.kind == word:
			return strings.ToLower(t.text)
		case t.text == "(" || strings.TrimSpace(t.text) == "":
			continue
		}
		break
	}
	return ""
}

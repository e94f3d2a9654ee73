package jsmodel

import (
	"slices"

	"github.com/dop251/goja/ast"
)

// scopes walks a syntax tree and knows which names are declared at each place of it. names[0] are those around it.
type scopes struct {
	names []map[string]bool

	// enter is called for each node, after the names of scopes around it are known. It returns false to have what is
	// inside left out.
	enter func(ast.Node) bool
	// free is called for each use of a name that nothing around it declares; nil is never called.
	free func(*ast.Identifier)
}

func (s *scopes) declared(name string) bool {
	return slices.ContainsFunc(s.names, func(m map[string]bool) bool { return m[name] })
}

// in walks with more names.
func (s *scopes) in(names map[string]bool, walk func()) {
	s.names = append(s.names, names)
	walk()
	s.names = s.names[:len(s.names)-1]
}

func (s *scopes) walkAll(nodes ...ast.Node) {
	for _, n := range nodes {
		s.walk(n)
	}
}

func all[T ast.Node](s *scopes, nodes []T) {
	for _, n := range nodes {
		s.walk(n)
	}
}

// bindings adds the names that a pattern binds.
func bindings(to map[string]bool, e ast.Expression) {
	switch e := e.(type) {
	case *ast.Identifier:
		to[e.Name.String()] = true
	case *ast.AssignExpression:
		bindings(to, e.Left)
	case *ast.ArrayPattern:
		for _, element := range e.Elements {
			bindings(to, element)
		}
		bindings(to, e.Rest)
	case *ast.ObjectPattern:
		for _, p := range e.Properties {
			switch p := p.(type) {
			case *ast.PropertyShort:
				to[p.Name.Name.String()] = true
			case *ast.PropertyKeyed:
				bindings(to, p.Value)
			}
		}
		bindings(to, e.Rest)
	}
}

// vars returns what var declares in a function, however deep.
func vars(list []*ast.VariableDeclaration) map[string]bool {
	names := map[string]bool{}
	for _, d := range list {
		for _, b := range d.List {
			bindings(names, b.Target)
		}
	}
	return names
}

// block adds what the statements of a block declare for all of it.
func block(names map[string]bool, list []ast.Statement) map[string]bool {
	for _, st := range list {
		switch st := st.(type) {
		case *ast.LexicalDeclaration:
			for _, b := range st.List {
				bindings(names, b.Target)
			}
		case *ast.FunctionDeclaration:
			names[st.Function.Name.Name.String()] = true
		case *ast.ClassDeclaration:
			names[st.Class.Name.Name.String()] = true
		}
	}
	return names
}

// pattern walks what is computed in a pattern: defaults and keys.
func (s *scopes) pattern(e ast.Expression) {
	switch e := e.(type) {
	case *ast.AssignExpression:
		s.pattern(e.Left)
		s.walk(e.Right)
	case *ast.ArrayPattern:
		for _, element := range e.Elements {
			s.pattern(element)
		}
		s.pattern(e.Rest)
	case *ast.ObjectPattern:
		for _, p := range e.Properties {
			switch p := p.(type) {
			case *ast.PropertyShort:
				s.walk(p.Initializer)
			case *ast.PropertyKeyed:
				if p.Computed {
					s.walk(p.Key)
				}
				s.pattern(p.Value)
			}
		}
		s.pattern(e.Rest)
	}
}

func (s *scopes) function(params *ast.ParameterList, declared []*ast.VariableDeclaration, body ast.Node, name *ast.Identifier, arrow bool) {
	names := vars(declared)
	if !arrow {
		names["arguments"] = true
	}
	if name != nil {
		names[name.Name.String()] = true
	}
	if params != nil {
		for _, b := range params.List {
			bindings(names, b.Target)
		}
		bindings(names, params.Rest)
	}
	s.in(names, func() {
		if params != nil {
			for _, b := range params.List {
				s.pattern(b.Target)
				s.walk(b.Initializer)
			}
			s.pattern(params.Rest)
		}
		s.walk(body)
	})
}

// none reports whether n is nothing, in whatever type.
func none(n ast.Node) bool {
	switch n := n.(type) {
	case nil:
		return true
	case *ast.BlockStatement:
		return n == nil
	case *ast.CatchStatement:
		return n == nil
	case *ast.Identifier:
		return n == nil
	}
	return false
}

// walk visits n and what is in it.
func (s *scopes) walk(n ast.Node) {
	if none(n) || s.enter != nil && !s.enter(n) {
		return
	}
	switch n := n.(type) {
	case *ast.Program:
		s.in(block(vars(n.DeclarationList), n.Body), func() { all(s, n.Body) })
	case *ast.Identifier:
		if s.free != nil && !s.declared(n.Name.String()) {
			s.free(n)
		}

	// Expressions.
	case *ast.YieldExpression:
		s.walk(n.Argument)
	case *ast.AwaitExpression:
		s.walk(n.Argument)
	case *ast.ArrayLiteral:
		all(s, n.Value)
	case *ast.AssignExpression:
		switch n.Left.(type) {
		case *ast.ArrayPattern, *ast.ObjectPattern:
			s.pattern(n.Left)
		default:
			s.walk(n.Left)
		}
		s.walk(n.Right)
	case *ast.BinaryExpression:
		s.walkAll(n.Left, n.Right)
	case *ast.BracketExpression:
		s.walkAll(n.Left, n.Member)
	case *ast.CallExpression:
		s.walk(n.Callee)
		all(s, n.ArgumentList)
	case *ast.ConditionalExpression:
		s.walkAll(n.Test, n.Consequent, n.Alternate)
	case *ast.DotExpression:
		s.walk(n.Left)
	case *ast.PrivateDotExpression:
		s.walk(n.Left)
	case *ast.OptionalChain:
		s.walk(n.Expression)
	case *ast.Optional:
		s.walk(n.Expression)
	case *ast.FunctionLiteral:
		s.function(n.ParameterList, n.DeclarationList, n.Body, n.Name, false)
	case *ast.ArrowFunctionLiteral:
		s.function(n.ParameterList, n.DeclarationList, n.Body, nil, true)
	case *ast.ExpressionBody:
		s.walk(n.Expression)
	case *ast.ClassLiteral:
		names := map[string]bool{}
		if n.Name != nil {
			names[n.Name.Name.String()] = true
		}
		s.in(names, func() {
			s.walk(n.SuperClass)
			for _, e := range n.Body {
				switch e := e.(type) {
				case *ast.FieldDefinition:
					if e.Computed {
						s.walk(e.Key)
					}
					s.walk(e.Initializer)
				case *ast.MethodDefinition:
					if e.Computed {
						s.walk(e.Key)
					}
					s.walk(e.Body)
				case *ast.ClassStaticBlock:
					s.in(vars(e.DeclarationList), func() { s.walk(e.Block) })
				}
			}
		})
	case *ast.NewExpression:
		s.walk(n.Callee)
		all(s, n.ArgumentList)
	case *ast.ObjectLiteral:
		all(s, n.Value)
	case *ast.PropertyShort:
		s.walk(&n.Name)
		s.walk(n.Initializer)
	case *ast.PropertyKeyed:
		if n.Computed {
			s.walk(n.Key)
		}
		s.walk(n.Value)
	case *ast.SpreadElement:
		s.walk(n.Expression)
	case *ast.SequenceExpression:
		all(s, n.Sequence)
	case *ast.TemplateLiteral:
		s.walk(n.Tag)
		all(s, n.Expressions)
	case *ast.UnaryExpression:
		s.walk(n.Operand)
	case *ast.Binding:
		s.pattern(n.Target)
		s.walk(n.Initializer)

	// Statements.
	case *ast.BlockStatement:
		s.in(block(map[string]bool{}, n.List), func() { all(s, n.List) })
	case *ast.CatchStatement:
		names := map[string]bool{}
		bindings(names, n.Parameter)
		s.in(names, func() {
			s.pattern(n.Parameter)
			s.walk(n.Body)
		})
	case *ast.DoWhileStatement:
		s.walkAll(n.Body, n.Test)
	case *ast.ExpressionStatement:
		s.walk(n.Expression)
	case *ast.ForInStatement:
		s.loop(n.Into, n.Source, n.Body)
	case *ast.ForOfStatement:
		s.loop(n.Into, n.Source, n.Body)
	case *ast.ForStatement:
		s.forStatement(n)
	case *ast.IfStatement:
		s.walkAll(n.Test, n.Consequent, n.Alternate)
	case *ast.LabelledStatement:
		s.walk(n.Statement)
	case *ast.ReturnStatement:
		s.walk(n.Argument)
	case *ast.SwitchStatement:
		s.walk(n.Discriminant)
		names := map[string]bool{}
		for _, c := range n.Body {
			block(names, c.Consequent)
		}
		s.in(names, func() {
			for _, c := range n.Body {
				s.walk(c.Test)
				all(s, c.Consequent)
			}
		})
	case *ast.ThrowStatement:
		s.walk(n.Argument)
	case *ast.TryStatement:
		s.walkAll(n.Body, n.Catch, n.Finally)
	case *ast.VariableStatement:
		all(s, n.List)
	case *ast.LexicalDeclaration:
		all(s, n.List)
	case *ast.WhileStatement:
		s.walkAll(n.Test, n.Body)
	case *ast.WithStatement:
		s.walkAll(n.Object, n.Body)
	case *ast.FunctionDeclaration:
		s.walk(n.Function)
	case *ast.ClassDeclaration:
		s.walk(n.Class)
	}
}

func (s *scopes) loop(into ast.ForInto, source ast.Expression, body ast.Statement) {
	names := map[string]bool{}
	switch into := into.(type) {
	case *ast.ForDeclaration:
		bindings(names, into.Target)
	case *ast.ForIntoExpression:
		s.walk(into.Expression)
	}
	s.walk(source)
	s.in(names, func() { s.walk(body) })
}

func (s *scopes) forStatement(n *ast.ForStatement) {
	names := map[string]bool{}
	var list []*ast.Binding
	switch i := n.Initializer.(type) {
	case *ast.ForLoopInitializerLexicalDecl:
		list = i.LexicalDeclaration.List
		for _, b := range list {
			bindings(names, b.Target)
		}
	case *ast.ForLoopInitializerVarDeclList:
		list = i.List
	}
	s.in(names, func() {
		if i, ok := n.Initializer.(*ast.ForLoopInitializerExpression); ok {
			s.walk(i.Expression)
		}
		all(s, list)
		s.walkAll(n.Test, n.Update, n.Body)
	})
}

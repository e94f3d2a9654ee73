package datamodel

import (
	"regexp"
	"strconv"
	"time"
)

// Template is SQL of a model with references in it, parsed (cube-data-model.md §3.2). It is immutable and holds no
// value of any query: internal/sqlgen evaluates it.
type Template struct {
	Source   string // as in the file
	Nodes    []Node
	Position Position
}

// Node is one part of a Template: Text, Ref, CubeSQL, Context, FilterParam, FilterGroup, ConvertTZ, URLEncode,
// Param or Script.
type Node interface{ node() }

// Text is SQL as it stands.
type Text string

// Ref is a reference to a cube's table alias ({CUBE}, {users}) or to a member ({CUBE.total}, {total}, {users.country},
// {orders.users.country}, {created_at.day}). What a path means depends on the cube it is used through, see
// Model.Lookup.
type Ref struct {
	Path     []string
	Position Position
}

// CubeSQL is {orders.sql()}: the SQL of another cube, as a table.
type CubeSQL struct {
	Cube     string
	Position Position
}

// Context is a value of the security context: bare, or through one of its methods.
type Context struct {
	Path     []string // below SECURITY_CONTEXT
	Method   Method
	Column   *Column // of Filter and RequiredFilter
	Quoted   bool    // the expression stands inside a string literal
	Position Position

	// unless is a member or cube of the model that takes the place of {groups} and {userAttributes}. It is settled,
	// and nil, once the model is loaded.
	unless *Ref
}

// Method is what a template asks of a value of the security context.
type Method string

// The methods. The zero Method is the bare value.
const (
	Bare           Method = ""
	Filter         Method = "filter"
	RequiredFilter Method = "requiredFilter"
	UnsafeValue    Method = "unsafeValue"
)

// Column is what a filter method compares: a column, or a lambda over placeholders that is the whole condition.
type Column struct {
	SQL    string    // "tenant_id"; empty when there is a Body
	Params []string  // of a lambda
	Body   *Template // of a lambda, whose Params are Param nodes; or an f-string, when there are no Params
	Lambda bool
}

// FilterParam is {FILTER_PARAMS.orders.status.filter('status')}: the query's own filters on a member.
type FilterParam struct {
	Cube     string
	Member   string
	Column   *Column
	Position Position
}

// FilterGroup is {FILTER_GROUP(FILTER_PARAMS…, FILTER_PARAMS…)}: the query's filters on several members, with its
// and/or structure.
type FilterGroup struct {
	Params   []FilterParam
	Position Position
}

// ConvertTZ is {SQL_UTILS.convertTz('column')}: a time as wall time of the query's zone. Its Column is no lambda.
type ConvertTZ struct {
	Column   *Column
	Position Position
}

// URLEncode is {SQL_UTILS.urlEncode('column')}: a value as it stands in the query of a URL. Its Column is no lambda.
type URLEncode struct {
	Column   *Column
	Position Position
}

// Param is a parameter of the lambda around it, or an Element of one.
type Param string

// Element returns the name that an element of a list has in the lambda of a Script.
func Element(param string, i int) string { return param + "[" + strconv.Itoa(i) + "]" }

// Script is SQL that a program makes for each query, because it decides by values of the security context. It is the
// only node of its Template.
type Script struct {
	// Run returns the template for one query: without scripts, and not checked. It is safe for concurrent use, and
	// what it is given and returns belongs to that query alone. An error may be shown to the caller.
	Run func(ScriptInput) (*Template, error)

	Names    []Ref // what it refers to by name, as far as is known without a query
	Position Position
}

// ScriptInput is what a Script may know of a query.
type ScriptInput struct {
	Claims            map[string]any // of the security context; read only
	Now               time.Time
	AllowUnsafeValues bool // let any text of a claim into the SQL, as Cube does
}

func (Text) node()        {}
func (Ref) node()         {}
func (CubeSQL) node()     {}
func (Context) node()     {}
func (FilterParam) node() {}
func (FilterGroup) node() {}
func (ConvertTZ) node()   {}
func (URLEncode) node()   {}
func (Param) node()       {}
func (Script) node()      {}

var plainWord = regexp.MustCompile(`^-?[\pL\pN_]+([.\-@:][\pL\pN_]+)*$`)

// PlainWord reports whether s is one word or number, which may be text of SQL (cube-data-model.md §14.2).
func PlainWord(s string) bool { return plainWord.MatchString(s) }

// Shorthand returns n, unless the model has a member or cube of the path's name: {groups} and {userAttributes} are claims
// only where the model does not use the name itself.
func Shorthand(n Context, path []string) Context {
	n.unless = &Ref{Path: path, Position: n.Position}
	return n
}

// Walk calls f for every node of t, those in lambdas and groups included.
func (t *Template) Walk(f func(Node)) {
	column := func(c *Column) {
		if c != nil && c.Body != nil {
			c.Body.Walk(f)
		}
	}
	for _, n := range t.Nodes {
		f(n)
		switch n := n.(type) {
		case Context:
			column(n.Column)
		case FilterParam:
			column(n.Column)
		case ConvertTZ:
			column(n.Column)
		case URLEncode:
			column(n.Column)
		case FilterGroup:
			for _, p := range n.Params {
				f(p)
				column(p.Column)
			}
		}
	}
}

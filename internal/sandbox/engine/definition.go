package engine

import (
	"fmt"
	"slices"
	"strings"
)

// name is that of a table in a schema that somebody made, or of the schema itself, in lower case: whatever the quotes, DuckDB knows
// one spelling.
type name struct{ schema, table string }

func (n name) String() string { return strings.TrimSuffix(n.schema+"."+n.table, ".") }

// ident returns n as DuckDB's SQL names it.
func (n name) ident() string {
	s := Catalog + "." + ident(n.schema)
	if n.table != "" {
		s += "." + ident(n.table)
	}
	return s
}

// taken are the schemas and catalogs that are there already: nobody makes a schema of such a name, or a table in one.
var taken = []string{"base", Catalog, "default", "information_schema", "main", "memory", "pg_catalog", "public", "system", "temp"}

// definition is a statement that makes or drops something.
type definition struct {
	act   act
	name  name
	there bool   // it may be there already, or may be gone
	of    string // the SELECT whose rows a table is made of
}

type act string

const (
	createSchema act = "CREATE SCHEMA"
	createTable  act = "CREATE TABLE"
	dropTable    act = "DROP TABLE"
)

// planDefinition reads a translated CREATE SCHEMA [IF NOT EXISTS], CREATE TABLE … AS or DROP TABLE [IF EXISTS]. It takes these and
// nothing else: what DuckDB runs is written anew from what was read, with the SELECT, which its own parser looks at.
func planDefinition(sql string) (definition, *Error) {
	toks, rest := duck.tokens(sql), sql
	next := func() token {
		for len(toks) > 0 {
			t := toks[0]
			toks, rest = toks[1:], rest[len(t.text):]
			if strings.TrimSpace(t.text) != "" {
				return t
			}
		}
		return token{kind: other}
	}
	takes := func(words ...string) bool { // all of them or none
		keepToks, keepRest := toks, rest
		for _, w := range words {
			if t := next(); t.kind != word && t.kind != other || !strings.EqualFold(t.text, w) {
				toks, rest = keepToks, keepRest
				return false
			}
		}
		return true
	}
	wrong := func(what string) (definition, *Error) {
		return definition{}, &Error{Kind: Syntax, Message: "syntax error: " + what +
			"; the sandbox takes CREATE SCHEMA [IF NOT EXISTS] s, CREATE TABLE s.t AS SELECT …, and DROP TABLE [IF EXISTS] s.t"}
	}

	var d definition
	switch {
	case takes("create", "schema"):
		d.act, d.there = createSchema, takes("if", "not", "exists")
	case takes("create", "table"):
		d.act = createTable
	case takes("drop", "table"):
		d.act, d.there = dropTable, takes("if", "exists")
	default:
		return wrong("what is made or dropped")
	}
	var parts []string
	for {
		t := next()
		if t.kind != word && t.kind != quoted || t.open || t.value == "" {
			return wrong("a name is missing")
		}
		parts = append(parts, strings.ToLower(t.value))
		if !takes(".") {
			break
		}
	}
	if d.act == createTable {
		if !takes("as") {
			return wrong("AS is missing")
		}
		d.of, rest = strings.TrimSpace(rest), ""
		if d.of == "" {
			return wrong("a SELECT is missing")
		}
	}
	if strings.TrimSpace(rest) != "" {
		return wrong("more than was expected")
	}
	if d.act == createSchema {
		parts = append(parts, "")
	}
	if len(parts) == 3 && parts[0] == Catalog {
		parts = parts[1:]
	}
	if len(parts) != 2 {
		return wrong("a table is named with its schema")
	}
	d.name = name{parts[0], parts[1]}
	if slices.Contains(taken, d.name.schema) {
		return definition{}, &Error{Kind: NotAllowed, Object: d.name.String(), Message: fmt.Sprintf("no permission %s on schema %q", d.act, d.name.schema)}
	}
	return d, nil
}

// answer returns a SELECT of what the warehouse answers once it is done: Snowflake tells it in a sentence.
func (d definition) answer(dialect Dialect) string {
	if dialect != Snowflake {
		return "SELECT 0 AS num_affected_rows WHERE false"
	}
	said := map[act]string{createSchema: "Schema %s successfully created.", createTable: "Table %s successfully created.", dropTable: "%s successfully dropped."}
	name := d.name.table
	if d.act == createSchema {
		name = d.name.schema
	}
	return "SELECT " + literal(fmt.Sprintf(said[d.act], strings.ToUpper(name))) + " AS status"
}

func absent(n name) *Error {
	return &Error{Kind: TableAbsent, Object: n.String(), Message: fmt.Sprintf("table or view %q does not exist", n)}
}

func exists(n name) *Error {
	return &Error{Kind: Exists, Object: n.String(), Message: fmt.Sprintf("%q already exists", n)}
}

package sqlgen

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Table is a table of a source, by names that need no quotes: letters, digits and underscores.
type Table struct{ Schema, Name string }

func (t Table) String() string { return t.Schema + "." + t.Name }

// Over returns s, which reads rollups that are kept in the source by the names that Rollup.Table says, over their tables: of each name the rows of
// all that it has, of which there is one at least. s is Read, Total or Build.
func (r *Rollup) Over(s Statement, tables map[string][]Table) Statement {
	if len(tables) == 0 {
		return s
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		var rows []string
		for _, t := range tables[name] {
			rows = append(rows, "SELECT * FROM "+t.String())
		}
		names = append(names, r.d.Quote(name)+" AS ("+strings.Join(rows, " UNION ALL ")+")")
	}
	s.SQL = "WITH " + strings.Join(names, ", ") + "\n" + s.SQL
	return s
}

// Create returns the statement that keeps the rows of s in a new table.
func (t Table) Create(s Statement) Statement {
	s.SQL = "CREATE TABLE " + t.String() + " AS\n" + s.SQL
	return s
}

// CreateSchema returns the statement that sees to it that the schema is there.
func (t Table) CreateSchema() Statement {
	return Statement{SQL: "CREATE SCHEMA IF NOT EXISTS " + t.Schema}
}

// Indexes returns the statements that make the indexes of a table of r, once it is there.
func (r *Rollup) Indexes(t Table) (all []Statement) {
	for i, columns := range r.indexes {
		quoted := make([]string, len(columns))
		for j, c := range columns {
			quoted[j] = r.d.Quote(c)
		}
		all = append(all, Statement{SQL: fmt.Sprintf("CREATE INDEX %s_%d ON %s (%s)", t.Name, i+1, t, strings.Join(quoted, ", "))})
	}
	return all
}

// Count returns the statement that counts the rows: one row of one column.
func (t Table) Count() Statement { return Statement{SQL: "SELECT count(*) FROM " + t.String()} }

// Drop returns the statement that drops the table, if it is there.
func (t Table) Drop() Statement { return Statement{SQL: "DROP TABLE IF EXISTS " + t.String()} }

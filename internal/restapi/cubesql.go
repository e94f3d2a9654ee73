package restapi

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"

	"github.com/behalf-project/behalf/internal/cubesql"
	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/rowset"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlgen"
	"github.com/behalf-project/behalf/orchestrator"
)

// rowsInLine is how many rows a line of /v1/cubesql has.
const rowsInLine = 1000

// cubeSQL answers /v1/cubesql (cube-rest-api.md §15.1): the rows of a SELECT over cubes that is a query of the query API, and
// runs as one. They come as lines of JSON: first the schema, then rows.
func (h *Handler) cubeSQL(w http.ResponseWriter, r *http.Request, sc securitycontext.Context) error {
	var asked struct {
		Query             string `json:"query"`
		Timezone          string `json:"timezone"`
		Cache             string `json:"cache"`
		ThrowContinueWait bool   `json:"throwContinueWait"`
	}
	if err := readBody(r, &asked, "query parameter must be a non-empty string"); err != nil {
		return err
	}
	sel, no, err := h.selected(r.Context(), sc, asked.Query)
	if err != nil {
		return err
	}
	if no != "" {
		return fault.New(fault.Invalid, "%s", no)
	}
	sel.Query.Timezone = asked.Timezone
	text, err := json.Marshal(askedQuery{sel.Query, sel.Query.Order})
	if err != nil {
		return err
	}
	p, err := h.prepare(r.Context(), sc, request{Query: text, Cache: asked.Cache})
	if err != nil {
		return err
	}
	answers := []answered{{planned: &p.queries[0]}}
	if answers[0].source, err = h.cfg.Source(sc.Domain, answers[0].plan.DataSource); err != nil {
		return err
	}
	defer closeAll(answers)
	if asked.ThrowContinueWait {
		err = h.run(r, sc, answers)
	} else {
		err = h.await(r, sc, answers)
	}
	if err != nil {
		return err
	}
	return h.encode(r, answers, func() error { return writeLines(w, sel, &answers[0]) })
}

// writeLines writes the schema, and then the rows.
func writeLines(w http.ResponseWriter, sel cubesql.Select, a *answered) error {
	rows := encoding{cells: len(a.plan.Columns)}
	type schemaColumn struct {
		Name string `json:"name"`
		Type string `json:"column_type"`
	}
	var schema struct {
		Schema          []schemaColumn  `json:"schema"`
		LastRefreshTime string          `json:"lastRefreshTime"`
		External        bool            `json:"external,omitempty"`
		Used            json.RawMessage `json:"usedPreAggregations,omitempty"`
		RunAs           json.RawMessage `json:"runAs"`
	}
	for _, c := range sel.Columns {
		key := c.Member.FullName()
		if c.Granularity != "" {
			key += "." + c.Granularity
		}
		cell := slices.IndexFunc(a.plan.Columns, func(p sqlgen.Column) bool { return p.Keys[0] == key })
		if cell < 0 {
			return fault.New(fault.Invalid, "The column %s was taken out of the query by a rewrite.", c.Name)
		}
		rows.fields = append(rows.fields, newField(c.Name, a.plan.Columns[cell].Type, cell))
		schema.Schema = append(schema.Schema, schemaColumn{c.Name, columnType(c.Member)})
	}
	if err := fits(a.result.Rows, rows.cells); err != nil {
		return err
	}
	schema.LastRefreshTime = a.result.RefreshedAt.UTC().Format(isoMillis)
	if used := a.result.Rollups; len(used) > 0 {
		schema.External, schema.Used = external(used), appendUsed(nil, used)
	}
	schema.RunAs = appendRunAs(nil, a.result.RunAs)
	head, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	setRunAs(w.Header(), []*orchestrator.Result{a.result})
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	out := &body{own: append(head, '\n')}
	out.share(part{write: func(w io.Writer) error { return rows.writeLines(w, a.result.Rows) }})
	out.writeTo(w)
	return nil
}

// columnType returns how Cube's SQL API calls the type of a column.
func columnType(m *datamodel.Member) string {
	switch {
	case m.Type == datamodel.Count, m.Type == datamodel.CountDistinct, m.Type == datamodel.CountDistinctApprox:
		return "Int64"
	case m.ResultType() == datamodel.Number:
		return "Double"
	case m.ResultType() == datamodel.Boolean:
		return "Boolean"
	case m.ResultType() == datamodel.Time:
		return "Timestamp"
	}
	return "String"
}

// writeLines writes rows as arrays, many in a line. Without rows there is one line all the same, which clients wait for.
func (e *encoding) writeLines(w io.Writer, rows *rowset.Rows) error {
	p := &pieces{w: w}
	row, n := make([]rowset.Cell, e.cells), 0
	p.out = append(p.out, `{"data":[`...)
	for c := rows.Cursor(); p.err == nil && c.Next(row); n++ {
		switch {
		case n > 0 && n%rowsInLine == 0:
			p.out = append(p.out, "]}\n{\"data\":["...)
		case n > 0:
			p.out = append(p.out, ',')
		}
		e.array(p, row)
		p.flush(pieceSize)
	}
	p.out = append(p.out, "]}\n"...)
	p.flush(0)
	return p.err
}

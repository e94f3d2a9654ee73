package restapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/graphql"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/orchestrator"
)

// Bounds of GraphQL. A schema is as large as its model, so that few are kept: most models have few groups of people.
const (
	keptSchemas = 32
	maxGraphQL  = 1 << 20          // bytes of a body
	maxHeld     = 10 * time.Minute // that a request is held: GraphQL has no words for asking again
)

// schemaKey is everything a schema depends on: the model, and which members of it somebody sees.
type schemaKey struct {
	model   *datamodel.Model
	members [sha256.Size]byte
}

// graphql answers /graphql (cube-rest-api.md §15.2): each field cube is a load.
func (h *Handler) graphql(w http.ResponseWriter, r *http.Request, sc securitycontext.Context) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxGraphQL)
	op, err := h.readGraphQL(r, sc)
	if err == nil {
		var fields []fieldAnswer
		if fields, err = h.answerFields(r, sc, op); err == nil {
			return writeFields(w, fields)
		}
	}
	if errs, ok := errors.AsType[graphql.Errors](err); ok {
		writeJSON(w, http.StatusBadRequest, map[string]any{"errors": errs})
		return nil
	}
	type graphqlError struct {
		Message    string  `json:"message"`
		Extensions details `json:"extensions"`
	}
	code, body := h.refusal(w.Header(), r, err)
	writeJSON(w, code, struct {
		Errors []graphqlError  `json:"errors"`
		Data   json.RawMessage `json:"data"`
	}{[]graphqlError{{body.Error, body.details}}, json.RawMessage("null")})
	return nil
}

// graphqlToJSON answers /v1/graphql-to-json: the query in the JSON format, or null for a request that has none.
func (h *Handler) graphqlToJSON(w http.ResponseWriter, r *http.Request, sc securitycontext.Context) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxGraphQL)
	out := json.RawMessage("null")
	op, err := h.readGraphQL(r, sc)
	if _, wrong := errors.AsType[graphql.Errors](err); err != nil && !wrong {
		return err
	}
	if err == nil && len(op.Fields) > 0 && op.Fields[0].Query != nil {
		out = op.Fields[0].Query
	}
	writeJSON(w, http.StatusOK, map[string]any{"jsonQuery": out})
	return nil
}

// readGraphQL reads the request of r against what the caller may see.
func (h *Handler) readGraphQL(r *http.Request, sc securitycontext.Context) (*graphql.Operation, error) {
	req, err := graphqlRequest(r)
	if err != nil {
		return nil, err
	}
	schema, err := h.schema(sc)
	if err != nil {
		return nil, err
	}
	return schema.Read(req)
}

// graphqlRequest decodes r as servers of GraphQL do: parameters, a JSON body, or the query itself as the body.
func graphqlRequest(r *http.Request) (graphql.Request, error) {
	p := r.URL.Query()
	req := graphql.Request{Query: p.Get("query"), Variables: json.RawMessage(p.Get("variables")), OperationName: p.Get("operationName")}
	if r.Method != http.MethodPost {
		return req, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return graphql.Request{}, err
	}
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind {
	case "application/json":
		if err := json.Unmarshal(body, &req); err != nil {
			return graphql.Request{}, malformed(err)
		}
	case "application/graphql":
		req.Query = string(body)
	default:
		return graphql.Request{}, fault.New(fault.Invalid, "A POST needs a body of Content-Type: application/json, or application/graphql.")
	}
	if text := ""; bytes.HasPrefix(req.Variables, []byte(`"`)) && json.Unmarshal(req.Variables, &text) == nil {
		req.Variables = json.RawMessage(text) // as some clients send them
	}
	return req, nil
}

// schema returns what sc may ask for, made of what /meta shows them.
func (h *Handler) schema(sc securitycontext.Context) (*graphql.Schema, error) {
	model, meta, err := h.visible(sc, datamodel.MetaOptions{})
	if err != nil {
		return nil, err
	}
	digest := sha256.New()
	for _, c := range meta.Cubes {
		writePart(digest, []byte(c.Name))
		for _, m := range c.Measures {
			writePart(digest, []byte(m.Name))
		}
		for _, d := range c.Dimensions {
			writePart(digest, []byte(d.Name))
		}
	}
	key := schemaKey{model: model}
	digest.Sum(key.members[:0])
	if s, ok := h.schemas.Get(key); ok {
		return s, nil
	}
	s, err := graphql.NewSchema(meta)
	if err == nil {
		h.schemas.Add(key, s)
	}
	return s, err
}

// fieldAnswer is a field of the answer, with the result of its query if it has one.
type fieldAnswer struct {
	graphql.Field
	*answered
	layout layout
}

// answerFields has the queries of op answered.
func (h *Handler) answerFields(r *http.Request, sc securitycontext.Context, op *graphql.Operation) ([]fieldAnswer, error) {
	fields := make([]fieldAnswer, len(op.Fields))
	var answers []answered
	for i, f := range op.Fields {
		fields[i].Field = f
		if f.Query == nil {
			continue
		}
		p, err := h.prepare(r.Context(), sc, request{Query: f.Query})
		if err != nil {
			return nil, err
		}
		q := &p.queries[0] // one object is one query
		src, err := h.cfg.Source(sc.Domain, q.plan.DataSource)
		if err != nil {
			return nil, err
		}
		zone, err := time.LoadLocation(q.query.Timezone)
		if err != nil {
			return nil, err
		}
		if fields[i].layout, err = newLayout(f.Row, q, zone); err != nil {
			return nil, err
		}
		answers = append(answers, answered{planned: q, source: src})
	}
	if len(answers) > 0 {
		if err := h.await(r, sc, answers); err != nil {
			return nil, err
		}
	}
	for i := range fields {
		if fields[i].Query != nil {
			fields[i].answered, answers = &answers[0], answers[1:]
		}
	}
	return fields, nil
}

// await is run for clients that do not ask again: it goes on where those of the JSON API are told to.
func (h *Handler) await(r *http.Request, sc securitycontext.Context, answers []answered) error {
	began := h.cfg.Now()
	for {
		err := h.run(r, sc, answers)
		if _, waits := errors.AsType[*orchestrator.ContinueWait](err); !waits {
			return err
		}
		if h.cfg.Now().Sub(began) >= maxHeld {
			return fault.Wrap(fault.Timeout, err, "The query was not answered within %v. Ask again: it goes on meanwhile.", maxHeld)
		}
	}
}

// writeFields writes the answer. Beside the data it says what Cube says of a result, and under which identity it ran.
func writeFields(w http.ResponseWriter, fields []fieldAnswer) error {
	out, about := []byte(`{"data":{`), map[string]any{}
	var ran []*orchestrator.Result
	for i, f := range fields {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendString(out, f.Key), ':')
		if f.answered == nil {
			out = append(out, f.Value...)
			continue
		}
		var err error
		if out, err = f.layout.appendRows(out, f.result.Rows); err != nil {
			return err
		}
		ran = append(ran, f.result)
		about[f.Key] = map[string]any{
			"annotation": f.plan.Annotation, "lastRefreshTime": f.result.RefreshedAt.UTC().Format(isoMillis),
			"runAs": json.RawMessage(appendRunAs(nil, f.result.RunAs)),
		}
	}
	out = append(out, '}')
	if len(about) > 0 {
		extensions := any(map[string]any{"results": about})
		if len(about) == 1 {
			for _, one := range about {
				extensions = one
			}
		}
		text, err := json.Marshal(extensions)
		if err != nil {
			return err
		}
		out = append(append(out, `,"extensions":`...), text...)
	}
	setRunAs(w.Header(), ran)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	(&body{own: append(out, '}')}).writeTo(w)
	return nil
}

// layout writes rows as objects of GraphQL.
type layout struct {
	cells []cell
	zone  *time.Location // of the query
}

// cell is a value in an object, or an object of its own.
type cell struct {
	key    []byte // `"count":`
	fixed  []byte // the value, where it is always the same
	column int
	kind   string
	cells  []cell // of an object; nil for a value
}

// newLayout finds the columns of a selection.
func newLayout(row []graphql.Selection, q *planned, zone *time.Location) (layout, error) {
	columns := map[string]int{}
	for i, c := range q.plan.Columns {
		for _, key := range c.Keys {
			columns[key] = i
		}
	}
	cells, err := newCells(row, columns)
	return layout{cells, zone}, err
}

func newCells(row []graphql.Selection, columns map[string]int) ([]cell, error) {
	cells := make([]cell, len(row))
	for i, s := range row {
		c := cell{key: append(appendString(nil, s.Key), ':'), kind: s.Type}
		var err error
		switch column, ok := columns[s.Column]; {
		case s.Typename():
			c.fixed = appendString(nil, s.Type)
		case s.Fields != nil:
			c.cells, err = newCells(s.Fields, columns)
		case !ok:
			err = errors.New("the plan has no column for " + s.Column)
		default:
			c.column = column
		}
		if err != nil {
			return nil, err
		}
		cells[i] = c
	}
	return cells, nil
}

func (l layout) appendRows(out []byte, rows [][]any) (_ []byte, err error) {
	out = append(out, '[')
	for i, row := range rows {
		if i > 0 {
			out = append(out, ',')
		}
		if out, err = l.appendObject(out, l.cells, row); err != nil {
			return nil, err
		}
	}
	return append(out, ']'), nil
}

func (l layout) appendObject(out []byte, cells []cell, row []any) (_ []byte, err error) {
	out = append(out, '{')
	for i, c := range cells {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, c.key...)
		switch {
		case c.fixed != nil:
			out = append(out, c.fixed...)
		case c.cells != nil:
			out, err = l.appendObject(out, c.cells, row)
		default:
			out, err = l.appendScalar(out, row[c.column], c.kind)
		}
		if err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}

// appendScalar writes v as a scalar of GraphQL: a number as a number, a time as the moment it stands for in UTC, and
// everything else as text, as Cube does.
func (l layout) appendScalar(out []byte, v any, kind string) ([]byte, error) {
	switch kind {
	case "Float":
		return appendFloat(out, v)
	case "DateTime":
		if t, ok := wallClock(v); ok {
			moment := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), l.zone)
			return append(moment.UTC().AppendFormat(append(out, '"'), isoMillis), '"'), nil
		}
	}
	text := appendValue(nil, v, datamodel.String)
	if v == nil || text[0] == '"' {
		return append(out, text...), nil
	}
	return appendString(out, string(text)), nil
}

// wallClock returns a time of a result, which is local to the query's time zone and says UTC.
func wallClock(v any) (time.Time, bool) {
	switch v := v.(type) {
	case time.Time:
		return v, true
	case string:
		for _, format := range timeFormats {
			if t, err := time.Parse(format, v); err == nil {
				return t.UTC(), true
			}
		}
	}
	return time.Time{}, false
}

// appendFloat writes a number with the digits that the database gave.
func appendFloat(out []byte, v any) ([]byte, error) {
	if v == nil {
		return append(out, "null"...), nil
	}
	text := bytes.Trim(appendValue(nil, v, datamodel.Number), `"`)
	if n, err := strconv.ParseFloat(string(text), 64); err == nil && !math.IsNaN(n) && !math.IsInf(n, 0) {
		if json.Valid(text) {
			return append(out, text...), nil
		}
		return strconv.AppendFloat(out, n, 'f', -1, 64), nil
	}
	if _, float := v.(float64); float {
		return append(out, "null"...), nil // NaN and infinity, as over JSON
	}
	return nil, fault.New(fault.Invalid, "Float cannot represent non numeric value. The data model calls a member a number whose values are none.")
}

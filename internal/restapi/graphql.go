package restapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"time"
	"weak"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/graphql"
	"github.com/behalf-project/behalf/internal/rowset"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/orchestrator"
)

// Bounds of GraphQL. A schema is as large as its model, so that few are kept: most models have few groups of people.
const (
	keptSchemas = 32
	maxGraphQL  = 1 << 20          // bytes of a body
	maxHeld     = 10 * time.Minute // that a request is held: GraphQL has no words for asking again
)

// schemaKey is everything a schema depends on: the model, and which members of it somebody sees. A model that is let go
// does not stay for its schemas.
type schemaKey struct {
	model   weak.Pointer[datamodel.Model]
	members [sha256.Size]byte
}

// graphql answers /graphql (cube-rest-api.md §15.2): each field cube is a load.
func (h *Handler) graphql(w http.ResponseWriter, r *http.Request, sc securitycontext.Context) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxGraphQL)
	op, err := h.readGraphQL(r, sc)
	if err == nil {
		err = h.answerFields(w, r, sc, op)
	}
	if err == nil {
		return nil
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
	schema, err := h.schema(r.Context(), sc)
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
func (h *Handler) schema(ctx context.Context, sc securitycontext.Context) (*graphql.Schema, error) {
	model, meta, err := h.visible(ctx, sc, datamodel.MetaOptions{})
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
	key := schemaKey{model: weak.Make(model)}
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

// answerFields has the queries of op answered, and writes what they are.
func (h *Handler) answerFields(w http.ResponseWriter, r *http.Request, sc securitycontext.Context, op *graphql.Operation) error {
	fields := make([]fieldAnswer, len(op.Fields))
	var answers []answered
	for i, f := range op.Fields {
		fields[i].Field = f
		if f.Query == nil {
			continue
		}
		p, err := h.prepare(r.Context(), sc, request{Query: f.Query})
		if err != nil {
			return err
		}
		q := &p.queries[0] // one object is one query
		src, err := h.cfg.Source(sc.Domain, q.plan.DataSource)
		if err != nil {
			return err
		}
		zone, err := time.LoadLocation(q.query.Timezone)
		if err != nil {
			return err
		}
		if fields[i].layout, err = newLayout(f.Row, q, zone); err != nil {
			return err
		}
		answers = append(answers, answered{planned: q, source: src})
	}
	defer closeAll(answers)
	if len(answers) > 0 {
		if err := h.await(r, sc, answers); err != nil {
			return err
		}
	}
	rest := answers
	for i := range fields {
		if fields[i].Query != nil {
			fields[i].answered, rest = &rest[0], rest[1:]
		}
	}
	return h.encode(r, answers, func() error { return writeFields(w, fields) })
}

// await is run for clients that do not ask again: it goes on where those of the JSON API are told to.
func (h *Handler) await(r *http.Request, sc securitycontext.Context, answers []answered) error {
	began := h.cfg.Now()
	for {
		closeAll(answers)
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
// Rows are gone through before the first byte leaves: whether their values are what the schema says shows only there.
func writeFields(w http.ResponseWriter, fields []fieldAnswer) error {
	b, about := body{own: []byte(`{"data":{`)}, map[string]any{}
	var ran []*orchestrator.Result
	for i, f := range fields {
		if i > 0 {
			b.own = append(b.own, ',')
		}
		b.own = append(appendString(b.own, f.Key), ':')
		if f.answered == nil {
			b.own = append(b.own, f.Value...)
			continue
		}
		if err := fits(f.result.Rows, f.layout.columns); err != nil {
			return err
		}
		write := func(w io.Writer) error { return f.layout.write(w, f.result.Rows) }
		if err := write(io.Discard); err != nil {
			return err
		}
		b.share(part{write: write})
		ran = append(ran, f.result)
		about[f.Key] = map[string]any{
			"annotation": f.plan.Annotation, "lastRefreshTime": f.result.RefreshedAt.UTC().Format(isoMillis),
			"runAs": json.RawMessage(appendRunAs(nil, f.result.RunAs)),
		}
	}
	b.own = append(b.own, '}')
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
		b.own = append(append(b.own, `,"extensions":`...), text...)
	}
	setRunAs(w.Header(), ran)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	b.own = append(b.own, '}')
	b.writeTo(w)
	return nil
}

// layout writes rows as objects of GraphQL.
type layout struct {
	cells   []cell
	columns int            // of each row
	zone    *time.Location // of the query
}

// cell is a value in an object, or an object of its own.
type cell struct {
	key   []byte // `"count":`
	fixed []byte // the value, where it is always the same
	kind  string
	value field  // as it is written where GraphQL has no other form for it
	cells []cell // of an object; nil for a value
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
	return layout{cells, len(q.plan.Columns), zone}, err
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
			c.value = newField(s.Key, datamodel.String, column)
		}
		if err != nil {
			return nil, err
		}
		cells[i] = c
	}
	return cells, nil
}

// write writes rows to w, a piece at a time. It fails when w does, and when a value is not of its type.
func (l layout) write(w io.Writer, rows *rowset.Rows) error {
	p, row, first := &pieces{w: w, out: []byte{'['}}, make([]rowset.Cell, l.columns), true
	for c := rows.Cursor(); p.err == nil && c.Next(row); first = false {
		if !first {
			p.out = append(p.out, ',')
		}
		l.object(p, l.cells, row)
		p.flush(pieceSize)
	}
	p.out = append(p.out, ']')
	p.flush(0)
	return p.err
}

func (l layout) object(p *pieces, cells []cell, row []rowset.Cell) {
	p.out = append(p.out, '{')
	for i, c := range cells {
		if i > 0 {
			p.out = append(p.out, ',')
		}
		p.out = append(p.out, c.key...)
		switch {
		case c.fixed != nil:
			p.out = append(p.out, c.fixed...)
		case c.cells != nil:
			l.object(p, c.cells, row)
		default:
			l.scalar(p, &c, row)
		}
	}
	p.out = append(p.out, '}')
}

// scalar writes a value as a scalar of GraphQL: a number as a number, a time as the moment it stands for in UTC, and
// everything else as text, as Cube does.
func (l layout) scalar(p *pieces, c *cell, row []rowset.Cell) {
	v := &row[c.value.cell]
	switch c.kind {
	case "Float":
		var err error
		if p.out, err = appendFloat(p.out, v); err != nil && p.err == nil {
			p.err = err
		}
		return
	case "DateTime":
		if t, ok := wallClock(v); ok {
			moment := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), l.zone)
			p.out = append(moment.UTC().AppendFormat(append(p.out, '"'), isoMillis), '"')
			return
		}
	}
	switch v.Kind {
	case rowset.False, rowset.True, rowset.Int, rowset.Decimal:
		p.out = appendString(p.out, plain(v))
	case rowset.Float:
		if math.IsNaN(v.Float) || math.IsInf(v.Float, 0) {
			p.out = append(p.out, "null"...)
			return
		}
		p.out = appendString(p.out, plain(v))
	default:
		c.value.value(p, row)
	}
}

// plain returns a number or a boolean as it is written without quotes.
func plain(v *rowset.Cell) []byte {
	if v.Kind == rowset.Decimal {
		return v.Text
	}
	return appendCell(nil, v, datamodel.String)
}

// wallClock returns a time of a result, which is local to the query's time zone and says UTC.
func wallClock(v *rowset.Cell) (time.Time, bool) {
	switch {
	case v.Kind == rowset.Time:
		return v.Time, true
	case v.Kind == rowset.Text && len(v.Text) <= longestTime:
		for _, format := range timeFormats {
			if t, err := time.Parse(format, string(v.Text)); err == nil {
				return t.UTC(), true
			}
		}
	}
	return time.Time{}, false
}

// appendFloat writes a number with the digits that the database gave.
func appendFloat(out []byte, v *rowset.Cell) ([]byte, error) {
	text := v.Text
	switch v.Kind {
	case rowset.Null:
		return append(out, "null"...), nil
	case rowset.Float:
		return appendCell(out, v, datamodel.String), nil // NaN and infinity are null, as over JSON
	case rowset.Int:
		text = plain(v)
	case rowset.Decimal, rowset.Text:
	default:
		text = nil
	}
	if n, err := strconv.ParseFloat(string(text), 64); err == nil && !math.IsNaN(n) && !math.IsInf(n, 0) {
		if isNumber(text) {
			return append(out, text...), nil
		}
		return strconv.AppendFloat(out, n, 'f', -1, 64), nil
	}
	return out, fault.New(fault.Invalid, "Float cannot represent non numeric value. The data model calls a member a number whose values are none.")
}

package restapi

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"hash"
	"strings"
	"time"
	"weak"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlgen"
	"github.com/behalf-project/behalf/orchestrator"
)

// prepared is a request that was understood and planned. It is shared by everybody who asks the same under the same
// security context: read it only.
type prepared struct {
	batch   query.Batch
	queries []planned
	pivot   []byte // JSON of the pivotQuery
}

// planned is one query with its plan, and what every answer to it has in common.
type planned struct {
	query query.Query // as it was asked, and as answers show it
	plan  sqlgen.Plan // of what it was rewritten to

	head   []byte // of the answer: its constant members, without the closing brace
	rows   encoding
	rowsID string // of rows

	refreshKeys []orchestrator.RefreshKey
	rollup      *orchestrator.Rollup // nil where no pre-aggregation holds the query
	totalRollup *orchestrator.Rollup // the same, for its total
	showKeys    bool                 // answers show what the refresh keys were answered
}

// planKey is everything a plan depends on. Relative dates are the only part of the clock, and are exact to the second.
// A model that is let go does not stay for its plans.
type planKey struct {
	model  weak.Pointer[datamodel.Model]
	second int64
	digest [sha256.Size]byte // of domain, claims, groups, what hooks made of them, query and cache mode
}

// Plans that are kept: their number, and how large a request may be to have its plan kept. A plan is many times as
// large as its query, so long batches are planned each time.
const (
	keptPlans   = 512
	keptRequest = 32 << 10
	keptQueries = 8
)

// prepare decodes, normalizes, rewrites and plans the queries of req for sc, or returns what it prepared for an equal
// request in the same second. Making a plan is a pure function of its key, so a plan that is kept cannot be another's:
// claims and what hooks added to them are part of the key, and what is bound into the SQL comes from claims and query
// alone. Rewriting is no such function: it is done each time, and what came of it is part of the key.
func (h *Handler) prepare(ctx context.Context, sc securitycontext.Context, req request) (p *prepared, err error) {
	ctx, end := h.cfg.Stage.Begin(ctx, driverfactory.Plan, time.Now())
	defer func() { end(h.sourceOf(sc, p), err) }()
	now := h.cfg.Now()
	model, err := h.cfg.Model(ctx, sc)
	if err != nil {
		return nil, err
	}
	a := ask{request: req}
	if h.cfg.Rewrite != nil {
		if a.batch, err = h.batch(req, now); err != nil {
			return nil, err
		}
		if a.rewritten, err = h.rewrite(ctx, sc, a.batch.Queries, now); err != nil {
			return nil, err
		}
	}
	key := planKey{model: weak.Make(model), second: now.Unix()}
	keep := len(req.Query) <= keptRequest
	if keep {
		parts := [][]byte{[]byte(sc.Domain), []byte(sc.AppID), req.Query, []byte(req.Cache)}
		for _, v := range []any{[]any{sc.Claims, sc.Template, sc.Groups, sc.Extended}, a.rewritten} {
			text, err := json.Marshal(v)
			if err != nil {
				return nil, fault.Wrap(fault.Invalid, err, "The claims of the token cannot be written as JSON.")
			}
			parts = append(parts, text)
		}
		digest := sha256.New()
		for _, part := range parts {
			writePart(digest, part)
		}
		digest.Sum(key.digest[:0])
		if p, ok := h.plans.Get(key); ok {
			return p, nil
		}
	}
	p, err = h.plan(model, sc, a, now)
	if err == nil && keep && len(p.queries) <= keptQueries {
		h.plans.Add(key, p)
	}
	return p, err
}

// sourceOf returns the source of the first query of p, for the end of a stage, the zero Source where it is not known.
func (h *Handler) sourceOf(sc securitycontext.Context, p *prepared) driverfactory.Source {
	if h.cfg.Stage == nil || p == nil || len(p.queries) == 0 {
		return driverfactory.Source{}
	}
	src, _ := h.cfg.Source(sc.Domain, p.queries[0].plan.DataSource) // there is none: the request will be told so
	return src
}

// ask is a request whose queries were rewritten, if something rewrites them.
type ask struct {
	request
	batch     query.Batch   // as they were asked, normalized
	rewritten []query.Query // what is planned for each
}

// rewrite has every query rewritten.
func (h *Handler) rewrite(ctx context.Context, sc securitycontext.Context, queries []query.Query, now time.Time) ([]query.Query, error) {
	rewritten := make([]query.Query, len(queries))
	for i, q := range queries {
		var err error
		if rewritten[i], err = h.cfg.Rewrite(ctx, sc, q, h.options(now)); err != nil {
			return nil, err
		}
	}
	return rewritten, nil
}

// writePart writes part and its length, so that parts cannot run into each other.
func writePart(to hash.Hash, part []byte) {
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(part)))
	to.Write(length[:])
	to.Write(part)
}

// plan does the work of prepare.
func (h *Handler) plan(model *datamodel.Model, sc securitycontext.Context, a ask, now time.Time) (*prepared, error) {
	batch, err := a.batch, error(nil)
	if a.rewritten == nil {
		if batch, err = h.batch(a.request, now); err != nil {
			return nil, err
		}
		a.rewritten = batch.Queries
	}
	p := &prepared{batch: batch, queries: make([]planned, len(batch.Queries))}
	if p.pivot, err = json.Marshal(batch.Pivot()); err != nil {
		return nil, err
	}
	for i, q := range batch.Queries {
		plan, err := sqlgen.Generate(model, sc, a.rewritten[i], h.planOptions(sc, now))
		if err != nil {
			return nil, err
		}
		if p.queries[i], err = newPlanned(q, plan, batch.Type); err != nil {
			return nil, err
		}
		p.queries[i].showKeys = h.cfg.DevMode
	}
	return p, nil
}

// planOptions are those of every plan for sc.
func (h *Handler) planOptions(sc securitycontext.Context, now time.Time) sqlgen.Options {
	return sqlgen.Options{
		Dialect:    func(name string) (sqlgen.Dialect, error) { return h.dialect(sc.Domain, name) },
		Now:        now,
		ShowHidden: h.cfg.DevMode,
		Schema:     h.cfg.Schema,
		Masks:      h.cfg.Masks,
	}
}

// dialect returns the SQL dialect of a data source.
func (h *Handler) dialect(domain, name string) (sqlgen.Dialect, error) {
	src, err := h.cfg.Source(domain, name)
	if err != nil {
		return nil, err
	}
	d, ok := dialects[src.Type]
	if !ok {
		return nil, fault.New(fault.Invalid, "The data source %q has the type %q, for which no SQL can be made.", name, src.Type)
	}
	return d, nil
}

// newPlanned writes down what every answer to q has in common.
func newPlanned(q query.Query, plan sqlgen.Plan, kind query.Type) (planned, error) {
	echo := q
	echo.Order, echo.CacheMode = plan.Order, ""
	head, err := json.Marshal(struct {
		Query      query.Query       `json:"query"`
		Annotation sqlgen.Annotation `json:"annotation"`
		DataSource string            `json:"dataSource"`
		DBType     string            `json:"dbType"`
	}{Query: echo, Annotation: plan.Annotation, DataSource: plan.DataSource, DBType: plan.Dialect})
	if err != nil {
		return planned{}, err
	}
	p := planned{query: q, plan: plan, head: head[:len(head)-1], refreshKeys: refreshKeys(plan)}
	if r := plan.Rollup; r != nil {
		p.rollup, p.totalRollup = rollup(r, &r.Read), rollup(r, r.Total)
	}
	p.rows = encoding{format: q.ResponseFormat, cells: len(plan.Columns)}
	for i, c := range plan.Columns {
		for _, key := range c.Keys {
			p.rows.fields = append(p.rows.fields, newField(key, c.Type, i))
		}
	}
	p.shareField(kind)
	p.rowsID = p.rows.id()
	return p, nil
}

// shareField adds the field that the results of a batch have in common: which range a row is of, or its time under the
// name that all queries share (cube-rest-api.md §5.5).
func (p *planned) shareField(kind query.Type) {
	switch kind {
	case query.CompareDateRange:
		for _, td := range p.query.TimeDimensions {
			if td.DateRange != nil && len(td.DateRange.Texts) == 2 {
				f := newField("compareDateRange", datamodel.String, 0)
				f.text = appendString(nil, td.DateRange.Texts[0]+" - "+td.DateRange.Texts[1])
				p.rows.fields = append(p.rows.fields, f)
				return
			}
		}
	case query.Blending:
		for i, c := range p.plan.Columns {
			if p.plan.TimeDimensionAlias != "" && c.Alias == p.plan.TimeDimensionAlias {
				granularity := c.Keys[0][strings.LastIndexByte(c.Keys[0], '.')+1:]
				p.rows.fields = append(p.rows.fields, newField("time."+granularity, datamodel.Time, i))
				return
			}
		}
	}
}

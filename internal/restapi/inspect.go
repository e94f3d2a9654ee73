package restapi

import (
	"context"
	"net/http"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

// sqlAnswer is the answer of /v1/sql: what clients rely on, without the internals (cube-rest-api.md §11.1).
type sqlAnswer struct {
	SQL        sqlPlan `json:"sql"`
	DataSource string  `json:"dataSource"`
}

type sqlPlan struct {
	External           bool              `json:"external"`
	SQL                [2]any            `json:"sql"` // text and bound values
	TimeDimensionAlias string            `json:"timeDimensionAlias,omitempty"`
	TimeDimensionField string            `json:"timeDimensionField,omitempty"`
	Order              order             `json:"order"`
	PreAggregations    []foundRollup     `json:"preAggregations"` // that hold the query; whether one answers is told by load
	DataSource         string            `json:"dataSource"`
	AliasNameToMember  map[string]string `json:"aliasNameToMember"`
	MemberNames        []string          `json:"memberNames"`
	CacheKeyQueries    []any             `json:"cacheKeyQueries,omitempty"`    // the refresh keys in SQL, in development mode
	RollupMatchResults []missedRollup    `json:"rollupMatchResults,omitempty"` // why others do not hold it, in development mode
}

type foundRollup struct {
	ID   string `json:"preAggregationId"`
	Type string `json:"type"`
}

type missedRollup struct {
	ID     string `json:"preAggregationId"`
	Reason string `json:"reason"`
}

// order writes a sort order as Cube's /v1/sql and dry-run do: an object whose keys are in order.
type order []query.Order

// MarshalJSON implements json.Marshaler.
func (o order) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, e := range o {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendString(out, e.ID), `:"`...)
		if e.Desc {
			out = append(out, `desc"`...)
		} else {
			out = append(out, `asc"`...)
		}
	}
	return append(out, '}'), nil
}

// sql answers /v1/sql: the statement that load would run, which runs nothing.
func (h *Handler) sql(w http.ResponseWriter, r *http.Request, sc securitycontext.Context) error {
	req, err := readRequest(r)
	if err != nil {
		return err
	}
	switch req.Format {
	case "", "rest":
	case "sql":
		return h.selectSQL(w, r, sc, req)
	default:
		return fault.New(fault.Invalid, "The format %q does not exist: it is rest, for a query in JSON, or sql, for a SELECT over cubes.", req.Format)
	}
	p, err := h.prepare(r.Context(), sc, req)
	if err != nil {
		return err
	}
	answers := make([]sqlAnswer, len(p.queries))
	for i := range p.queries {
		plan := p.queries[i].plan
		answers[i] = sqlAnswer{DataSource: plan.DataSource, SQL: sqlPlan{
			SQL: *shownSQL(plan), TimeDimensionAlias: plan.TimeDimensionAlias, TimeDimensionField: plan.TimeDimensionField,
			Order: plan.Order, PreAggregations: []foundRollup{}, DataSource: plan.DataSource,
			AliasNameToMember: plan.AliasNameToMember, MemberNames: plan.MemberNames,
		}}
		if r := plan.Rollup; r != nil {
			found := []*sqlgen.Rollup{r}
			if r.Type == datamodel.OriginalSQL {
				found = r.Parts
			}
			for _, r := range found {
				answers[i].SQL.PreAggregations = append(answers[i].SQL.PreAggregations, foundRollup{r.Name, r.Type})
			}
		}
		if h.cfg.DevMode {
			answers[i].SQL.CacheKeyQueries = cacheKeyQueries(plan)
			for _, m := range plan.Misses {
				answers[i].SQL.RollupMatchResults = append(answers[i].SQL.RollupMatchResults, missedRollup{m.Rollup, m.Why})
			}
		}
	}
	if p.batch.Type == query.Regular {
		writeJSON(w, http.StatusOK, answers[0])
		return nil
	}
	writeJSON(w, http.StatusOK, answers)
	return nil
}

// shownSQL is the statement of a plan as Cube writes one: its text, and what is bound to it.
func shownSQL(plan sqlgen.Plan) *[2]any {
	if plan.Args == nil {
		return &[2]any{plan.SQL, []any{}}
	}
	return &[2]any{plan.SQL, plan.Args}
}

// dryRun answers /v1/dry-run: how the query is understood (cube-rest-api.md §11.2). It plans it too, so that a query
// it accepts is one that load accepts.
func (h *Handler) dryRun(w http.ResponseWriter, r *http.Request, sc securitycontext.Context) error {
	req, err := readRequest(r)
	if err != nil {
		return err
	}
	p, err := h.prepare(r.Context(), sc, req)
	if err != nil {
		return err
	}
	type transformed struct {
		Measures         []string `json:"measures"`
		SortedDimensions []string `json:"sortedDimensions"`
	}
	out := struct {
		QueryType          query.Type         `json:"queryType"`
		NormalizedQueries  []query.PivotQuery `json:"normalizedQueries"`
		QueryOrder         []order            `json:"queryOrder"`
		TransformedQueries []transformed      `json:"transformedQueries"`
		PivotQuery         query.PivotQuery   `json:"pivotQuery"`
	}{QueryType: p.batch.Type, PivotQuery: p.batch.Pivot()}
	for _, q := range p.queries {
		out.NormalizedQueries = append(out.NormalizedQueries, query.PivotQuery{Query: q.query, Type: p.batch.Type})
		out.QueryOrder = append(out.QueryOrder, q.plan.Order)
		out.TransformedQueries = append(out.TransformedQueries, transformed{q.query.Measures, q.query.Dimensions})
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// meta answers /v1/meta: what the caller may ask for (cube-rest-api.md §12).
func (h *Handler) meta(w http.ResponseWriter, r *http.Request, sc securitycontext.Context) error {
	p := r.URL.Query()
	_, meta, err := h.visible(r.Context(), sc, datamodel.MetaOptions{Extended: p.Has("extended"), OnlyViews: p.Get("onlyViews") == "true"})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, meta)
	return nil
}

// visible returns the model that is serving, and what of it sc may see.
func (h *Handler) visible(ctx context.Context, sc securitycontext.Context, o datamodel.MetaOptions) (*datamodel.Model, datamodel.Meta, error) {
	model, err := h.cfg.Model(ctx, sc)
	if err != nil {
		return nil, datamodel.Meta{}, err
	}
	if o.Visible, err = model.Visible(sc.Groups, sc.Claims); err != nil {
		return nil, datamodel.Meta{}, err
	}
	o.ShowHidden = h.cfg.DevMode
	return model, model.Meta(o), nil
}

package restapi

import (
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/sqlgen"
	"github.com/behalf-project/behalf/orchestrator"
)

// rollup returns the pre-aggregation of a plan as the orchestrator builds it, and reads it by read; nil where the plan has none.
func rollup(r *sqlgen.Rollup, read *sqlgen.Statement) *orchestrator.Rollup {
	if r == nil || read == nil {
		return nil
	}
	out := &orchestrator.Rollup{
		Name: r.Name, Zone: r.Zone(), Structure: r.Structure, Shared: r.Shared, Ahead: r.Scheduled, Table: r.Table, Read: statement(*read),
		Build: func(s orchestrator.Span) (driverfactory.Statement, error) {
			built, err := r.Build(partition(s))
			return statement(built), err
		},
		Age: func(s orchestrator.Span, now time.Time) (time.Time, bool) {
			age := r.Age(partition(s), now)
			return age.Since, age.Key != nil
		},
	}
	if k := r.Age(nil, time.Time{}).Key; k != nil {
		out.Key = orchestrator.RefreshKey{Statement: statement(k.Statement), Every: k.Every, Of: k.Of}
	}
	for _, c := range r.Columns {
		out.Columns = append(out.Columns, orchestrator.RollupColumn{Name: c.Alias, Type: c.Type})
	}
	if r.Partition == "" {
		return out
	}
	out.Bounds = [2]driverfactory.Statement{statement(r.BuildRange[0]), statement(r.BuildRange[1])}
	out.Partitions = func(from, to time.Time) ([]orchestrator.Span, bool, error) {
		spans, err := r.Spans(from, to)
		var all []orchestrator.Span
		for _, s := range spans {
			all = append(all, orchestrator.Span{Name: s.Name, From: s.From, To: s.To})
		}
		return all, r.Covers(from, to), err
	}
	return out
}

// partition returns s as the plan knows it; nil for everything.
func partition(s orchestrator.Span) *sqlgen.Span {
	if s == (orchestrator.Span{}) {
		return nil
	}
	return &sqlgen.Span{Name: s.Name, From: s.From, To: s.To}
}

func statement(s sqlgen.Statement) driverfactory.Statement {
	return driverfactory.Statement{SQL: s.SQL, Args: s.Args}
}

// appendUsed writes the pre-aggregation that a result was read from, by the name that its table has in Cube (cube-rest-api.md §5.4).
func appendUsed(out []byte, name string, at time.Time) []byte {
	out = appendString(append(out, '{'), "prod_pre_aggregations."+strings.ReplaceAll(name, ".", "_"))
	out = appendString(append(out, `:{"preAggregationId":`...), name)
	out = strconv.AppendInt(append(out, `,"lastUpdatedAt":`...), at.UnixMilli(), 10)
	return append(out, `,"type":"rollup"}}`...)
}

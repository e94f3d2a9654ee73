package restapi

import (
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/sqlgen"
	"github.com/behalf-project/behalf/orchestrator"
)

// rollup returns the pre-aggregation of a plan as the orchestrator builds it, and reads it by read; nil where the plan has none.
func rollup(r *sqlgen.Rollup, read *sqlgen.Statement) *orchestrator.Rollup {
	if r == nil || read == nil {
		return nil
	}
	if len(r.Parts) > 0 {
		return composed(r, read)
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
		return partitions(spans), r.Covers(from, to), err
	}
	return out
}

// composed returns a pre-aggregation that is read from others.
func composed(r *sqlgen.Rollup, read *sqlgen.Statement) *orchestrator.Rollup {
	out := &orchestrator.Rollup{Name: r.Name, Shared: r.Shared, Read: statement(*read)}
	partitioned := true
	for _, part := range r.Parts {
		out.Parts = append(out.Parts, rollup(part, &part.Read))
		partitioned = partitioned && part.Partition != ""
	}
	if r.Type == datamodel.RollupLambda && partitioned {
		out.United = func(reach [][2]time.Time) (all [][]orchestrator.Span, rest *orchestrator.Span, whole bool, err error) {
			united, after, whole, err := r.United(reach)
			for _, spans := range united {
				all = append(all, partitions(spans))
			}
			if after != nil {
				rest = &partitions([]sqlgen.Span{*after})[0]
			}
			return all, rest, whole, err
		}
	}
	return out
}

// partitions returns spans as the orchestrator knows them.
func partitions(spans []sqlgen.Span) (all []orchestrator.Span) {
	for _, s := range spans {
		all = append(all, orchestrator.Span{Name: s.Name, From: s.From, To: s.To})
	}
	return all
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

// appendUsed writes the rollups that a result was read from, by the names that their tables have in Cube (cube-rest-api.md §5.4). Of a
// pre-aggregation that is read from others it is those, as in Cube.
func appendUsed(out []byte, used []orchestrator.UsedRollup) []byte {
	for i, r := range used {
		before := byte(',')
		if i == 0 {
			before = '{'
		}
		out = appendString(append(out, before), "prod_pre_aggregations."+strings.ReplaceAll(r.Name, ".", "_"))
		out = appendString(append(out, `:{"preAggregationId":`...), r.Name)
		out = strconv.AppendInt(append(out, `,"lastUpdatedAt":`...), r.RefreshedAt.UnixMilli(), 10)
		out = append(out, `,"type":"rollup"}`...)
	}
	return append(out, '}')
}

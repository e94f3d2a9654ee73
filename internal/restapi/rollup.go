package restapi

import (
	"cmp"
	"slices"
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
		InSource: inSource(r), Type: shownTypes[r.Type], Name: r.Name, Zone: r.Zone(), Structure: r.Structure, Shared: r.Shared, Ahead: r.Scheduled, Table: r.Table, Read: statement(*read),
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
	for _, original := range r.From {
		out.From = append(out.From, rollup(original, &original.Read))
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
	out := &orchestrator.Rollup{InSource: inSource(r), Name: r.Name, Shared: r.Shared, Read: statement(*read), Beside: r.Type == datamodel.OriginalSQL}
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

// shownTypes are the types of those of which rows are kept, as an answer calls them.
var shownTypes = map[string]string{datamodel.Rollup: "rollup", datamodel.OriginalSQL: "originalSql"}

// inSource returns how the source is told of the tables of r; nil where it is not kept there.
func inSource(r *sqlgen.Rollup) *orchestrator.TableSQL {
	if r.External {
		return nil
	}
	table := func(t orchestrator.SourceTable) sqlgen.Table { return sqlgen.Table{Schema: t.Schema, Name: t.Name} }
	return &orchestrator.TableSQL{
		Schema: r.Schema,
		Over: func(s driverfactory.Statement, tables map[string][]orchestrator.SourceTable) driverfactory.Statement {
			named := make(map[string][]sqlgen.Table, len(tables))
			for name, of := range tables {
				for _, t := range of {
					named[name] = append(named[name], table(t))
				}
			}
			return statement(r.Over(sqlgen.Statement{SQL: s.SQL, Args: s.Args}, named))
		},
		Create: func(t orchestrator.SourceTable, rows driverfactory.Statement) driverfactory.Statement {
			return statement(table(t).Create(sqlgen.Statement{SQL: rows.SQL, Args: rows.Args}))
		},
		Indexes: func(t orchestrator.SourceTable) (all []driverfactory.Statement) {
			for _, s := range r.Indexes(table(t)) {
				all = append(all, statement(s))
			}
			return all
		},
		CreateSchema: func(t orchestrator.SourceTable) driverfactory.Statement { return statement(table(t).CreateSchema()) },
		Count:        func(t orchestrator.SourceTable) driverfactory.Statement { return statement(table(t).Count()) },
		Drop:         func(t orchestrator.SourceTable) driverfactory.Statement { return statement(table(t).Drop()) },
	}
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

// external reports whether what was read is kept outside of the source.
func external(used []orchestrator.UsedRollup) bool {
	return len(used) > 0 && !slices.ContainsFunc(used, func(r orchestrator.UsedRollup) bool { return r.Schema != "" })
}

// appendUsed writes the rollups that a result was read from, by the names that their tables have in Cube (cube-rest-api.md §5.4). Of a
// pre-aggregation that is read from others it is those, as in Cube.
func appendUsed(out []byte, used []orchestrator.UsedRollup) []byte {
	for i, r := range used {
		before := byte(',')
		if i == 0 {
			before = '{'
		}
		out = appendString(append(out, before), cmp.Or(r.Schema, "prod_pre_aggregations")+"."+strings.ReplaceAll(r.Name, ".", "_"))
		out = appendString(append(out, `:{"preAggregationId":`...), r.Name)
		out = strconv.AppendInt(append(out, `,"lastUpdatedAt":`...), r.RefreshedAt.UnixMilli(), 10)
		out = append(appendString(append(out, `,"type":`...), cmp.Or(r.Type, "rollup")), '}')
	}
	return append(out, '}')
}

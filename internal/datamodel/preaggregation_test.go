package datamodel_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
)

const rolledUp = `cubes:
  - name: users
    sql_table: users
    dimensions: [{name: id, sql: id, type: number, primary_key: true}, {name: country, sql: country, type: string}]
    measures: [{name: count, type: count}]
    pre_aggregations: [{name: all, dimensions: [id, country]}]
  - name: orders
    sql_table: orders
    refresh_key: {every: 10 minutes}
    meta: {shared_rollup: true}
    joins: [{name: users, relationship: many_to_one, sql: "{CUBE}.user_id = {users.id}"}]
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: status, sql: status, type: string}
      - {name: at, sql: at, type: time, granularities: [{name: fiscal, interval: 1 year, offset: 3 months}]}
    measures: [{name: count, type: count}, {name: total, sql: amount, type: sum}]
    segments: [{name: done, sql: "{CUBE}.status = 'done'"}]
    pre_aggregations:
      - name: main
        measures: [count, CUBE.total]
        dimensions: [status, users.country, orders.users.id]
        segments: [done]
        time_dimension: at
        granularity: day
        partition_granularity: month
        build_range_start: {sql: SELECT DATE '2023-01-01'}
        build_range_end: {sql: "SELECT MAX(at) FROM {CUBE.sql()}"}
        refresh_key: {every: 1 day, incremental: true, update_window: 7 day}
        indexes: [{name: by_status, columns: [status, users.country]}]
      - {name: plain, time_dimensions: [{dimension: at, granularity: fiscal}, {dimension: orders.at, granularity: hour}], refresh_key: {incremental: true}, external: false, scheduled_refresh: false, unionWithSourceData: true, allow_non_strict_date_range_match: false}
      - {name: raw, type: originalSql, measures: [count], time_dimension: at, granularity: day, partition_granularity: month, indexes: [{name: i, columns: [some_column]}]}
      - {name: both, type: rollupLambda, rollups: [CUBE.main, plain]}
      - {name: with_users, type: rollup_join, measures: [count], dimensions: [users.country], rollup_references: [orders.main, users.all], use_original_sql_pre_aggregations: true}
  - name: returns
    extends: orders
    sql_table: returns
    meta: {}
    pre_aggregations:
      - {name: plain, measures: [count], refresh_key: {sql: SELECT 1}}
      - {name: old, measureReferences: [count], dimensionReferences: [status], segmentReferences: [done], timeDimensionReference: at, granularity: day, refreshRangeStart: {sql: SELECT 1}, refreshRangeEnd: {sql: SELECT 2}}
`

// shown writes a pre-aggregation in one line.
func shown(p *datamodel.PreAggregation) string {
	names := func(refs []datamodel.Reference) string {
		var all []string
		for _, r := range refs {
			name := strings.Join(r.Path, ".") + "/" + r.Member.FullName()
			if r.Granularity != "" {
				name += "." + r.Granularity
			}
			all = append(all, name)
		}
		return strings.Join(all, ",")
	}
	sql := func(t *datamodel.Template) string {
		if t == nil {
			return "-"
		}
		return t.Source
	}
	var of []string
	for _, r := range p.Rollups {
		of = append(of, r.FullName())
	}
	k := p.RefreshKey
	return fmt.Sprintf("%s %s%s [%s] [%s] [%s] [%s] %s|%s|%s %s %s %t %v %v ext=%t sched=%t loose=%t shared=%t from=%t", p.FullName(), p.Type, of, names(p.Measures), names(p.Dimensions),
		names(p.Segments), names(p.Times), p.Partition, sql(p.BuildStart), sql(p.BuildEnd), k.Every, sql(k.SQL), k.Incremental, k.UpdateWindow, p.Indexes, p.External, p.Scheduled, p.AllowNonStrict, p.Shared, p.FromOriginal)
}

func TestPreAggregationsAreResolved(t *testing.T) {
	m := load(t, rolledUp)
	var got []string
	for _, c := range m.Cubes() {
		for _, p := range c.PreAggregations {
			got = append(got, shown(p))
		}
	}
	main := "%s.main rollup[] [%[1]s/%[1]s.count,%[1]s/%[1]s.total] [%[1]s/%[1]s.status,users/users.country,%s/users.id] [%[1]s/%[1]s.done] [%[1]s/%[1]s.at.day] month|SELECT DATE '2023-01-01'|" +
		"SELECT MAX(at) FROM {CUBE.sql()} 24h0m0s - true {0 604800} [{by_status [%[1]s.status users.country]}] ext=true sched=true loose=true shared=%[3]t from=false"
	want := []string{
		"users.all rollup[] [] [users/users.id,users/users.country] [] [] |-|- 1h0m0s - false {0 0} [] ext=true sched=true loose=true shared=false from=false",
		fmt.Sprintf(main, "orders", "orders.users", false),
		"orders.plain rollup[] [] [] [] [orders/orders.at.fiscal,orders/orders.at.hour] |-|- 10m0s - true {0 0} [] ext=false sched=false loose=false shared=true from=false",
		"orders.raw original_sql[] [] [] [] [] |-|- 10m0s - false {0 0} [{i [some_column]}] ext=false sched=true loose=true shared=true from=false",
		"orders.both rollup_lambda[orders.main orders.plain] [] [] [] [] |-|- 10m0s - false {0 0} [] ext=true sched=true loose=true shared=true from=false",
		"orders.with_users rollup_join[orders.main users.all] [orders/orders.count] [users/users.country] [] [] |-|- 10m0s - false {0 0} [] ext=true sched=true loose=true shared=false from=true",
		fmt.Sprintf(main, "returns", "orders.users", false),
		"returns.plain rollup[] [returns/returns.count] [] [] [] |-|- 0s SELECT 1 false {0 0} [] ext=true sched=true loose=true shared=false from=false",
		"returns.raw original_sql[] [] [] [] [] |-|- 10m0s - false {0 0} [{i [some_column]}] ext=false sched=true loose=true shared=false from=false",
		"returns.both rollup_lambda[returns.main returns.plain] [] [] [] [] |-|- 10m0s - false {0 0} [] ext=true sched=true loose=true shared=false from=false",
		"returns.with_users rollup_join[orders.main users.all] [returns/returns.count] [users/users.country] [] [] |-|- 10m0s - false {0 0} [] ext=true sched=true loose=true shared=false from=true",
		"returns.old rollup[] [returns/returns.count] [returns/returns.status] [returns/returns.done] [returns/returns.at.day] |SELECT 1|SELECT 2 10m0s - false {0 0} [] ext=true sched=true loose=true shared=false from=false",
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Errorf("pre-aggregation %d\n got %q\nwant %q", i, got[min(i, len(got)-1)], want[min(i, len(want)-1)])
		}
	}
	notices := []string{
		"orders.plain is no rollup_lambda: its union_with_source_data has no effect",
		"orders.raw keeps the rows of its cube as they are: the members that it names have no effect",
		"orders.raw is kept as one table: its partition_granularity has no effect",
		"orders.main is not shared: it has members of users, which does not say meta.shared_rollup",
		"orders.with_users is not shared",
	}
	for i, n := range m.Notices() {
		if i >= len(notices) || !strings.Contains(n.String(), "pre-aggregation "+notices[i]) {
			t.Errorf("notice %d is %q", i, n)
		}
	}
	if n := len(m.Notices()); n != len(notices) {
		t.Errorf("%d notices, want %d", n, len(notices))
	}
	if got := load(t, cube("measures: [{name: n, type: count}]\n    pre_aggregations: [{name: p, measures: [n]}]")).Cube("a").PreAggregations[0].RefreshKey.Every; got != time.Hour {
		t.Errorf("without a refresh key it is every %s, want an hour", got)
	}
}

func TestPreAggregationsAreChecked(t *testing.T) {
	const members = "measures: [{name: n, type: count}]\n    dimensions: [{name: d, type: time, sql: x}, {name: s, type: string, sql: s}]\n    pre_aggregations:\n      - "
	for _, tt := range []struct{ pre, want string }{
		{"{name: p, measures: [n], dimensionReferences: [s]}", "model.yml:7:16: pre-aggregation p has measures beside dimensionReferences, which is of older models: name all its members in the same way"},
		{"{name: p, time_dimensions: [{dimension: d, granularity: day}], measure_references: [n]}", "p has time_dimensions beside measure_references"},
		{"{name: p, measureReferences: [z]}", "model.yml:7:39: pre-aggregation p: \"z\": z is not defined"},
		{"{name: p, build_range_start: {sql: SELECT 1}, refresh_range_start: {sql: SELECT 2}}", "model.yml:7:77: pre-aggregation p has both build_range_start and refresh_range_start, which is its old name"},
		{"{name: p, build_range_start: SELECT 1}", "build_range_start is a mapping with the key sql"},
		{"{name: p, build_range_end: {sql: 'SELECT {b.sql()}'}}", `there is no cube "b"`},
		{"{name: p, build_range_end: {sql: 'SELECT {nope}'}}", "nope is not defined"},
		{"{name: p, refresh_key: {sql: 'SELECT {nope}'}}", "nope is not defined"},
		{"{name: p, refresh_key: {every: 1 day, update_window: a week}}", "model.yml:7:62: an update_window is a number and a unit from second to year, such as 7 day: a week"},
		{"{name: p, refresh_key: {incremental: maybe}}", "true or false is expected here"},
		{"{name: p, dimensions: [s], indexes: [{name: i, columns: [s, d, z]}]}", "model.yml:7:69: index i: d is not in pre-aggregation p\nmodel.yml:7:72: index i of pre-aggregation p: \"z\": z is not defined; did you mean \"a\"?"},
		{"{name: p, indexes: [{name: i}]}", "index i of pre-aggregation p needs either columns or sql"},
		{"{name: p, indexes: [{name: i, sql: x, type: hash}]}", "type must be one of [aggregate, regular]"},
		{"{name: p, external: 1}", "true or false is expected here"},
		{"{name: p, granularity: day}", "pre-aggregation p has a granularity, and no time_dimension that it is of"},
		{"{name: p}\n      - {name: p}", `the pre-aggregation "p" is defined more than once`},
		{"{name: p, type: rollup_join, measures: [n]}", "pre-aggregation p needs the rollups that it is read from"},
		{"{name: p, type: rollup_lambda, rollups: []}", "pre-aggregation p needs the rollups that it is read from"},
		{"{name: p, type: rollup_lambda, rollups: [many]}\n      - {name: main}", `model.yml:7:50: pre-aggregation p: there is no pre-aggregation "many"; did you mean "main"?`},
		{"{name: p, type: rollup_lambda, rollups: [b.many]}", `there is no pre-aggregation "b.many"`},
		{"{name: p, type: rollup_lambda, rollups: [q]}\n      - {name: q, type: original_sql}", "model.yml:7:50: pre-aggregation p is read from rollups, and a.q is of the type original_sql"},
		{"{name: p, rollups: [p]}", "model.yml:7:29: pre-aggregation p: what is of the type rollup is not read from others"},
		{"{name: p, type: rollup_join, time_dimension: d, rollups: [p]}", "pre-aggregation p has the time dimension d without a granularity"},
		{"{name: p, colums: []}", `a pre-aggregation has no key "colums"`},
	} {
		_, err := datamodel.Load(files(cube(members + tt.pre)))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s\n got %v\nwant %s", tt.pre, err, tt.want)
		}
	}
}

package datamodel

import (
	"slices"
	"strings"
)

var preAggregationTypes = map[string]string{
	"rollup": "rollup", "original_sql": "original_sql", "originalSql": "original_sql",
	"rollup_join": "rollup_join", "rollupJoin": "rollup_join",
	"rollup_lambda": "rollup_lambda", "rollupLambda": "rollup_lambda",
	"auto_rollup": "auto_rollup", "autoRollup": "auto_rollup",
}

var partitions = map[string]string{"hour": "hour", "day": "day", "week": "week", "month": "month", "quarter": "quarter", "year": "year"}

// rollup is a PreAggregation as its file has it: names are resolved when the members of its cube are known. None is built,
// but what is wrong with one is told now rather than when it would be.
type rollup struct {
	PreAggregation
	members map[Kind][]word
	times   []rollupTime
}

// rollupTime is a time dimension of a rollup and its granularity.
type rollupTime struct{ dimension, granularity word }

// preAggregation reads a pre-aggregation.
func (l *loader) preAggregation(d *definition, n *node) {
	name, pos, ok := l.name(n, "a pre-aggregation")
	var (
		p         = rollup{PreAggregation: PreAggregation{Name: name, Type: "rollup", Position: pos}, members: map[Kind][]word{}}
		alone     rollupTime
		partition string
	)
	read := map[string]func(*node){}
	for _, key := range strings.Fields(`name build_range_start build_range_end refresh_range_start refresh_range_end refresh_key external
		scheduled_refresh indexes allow_non_strict_date_range_match use_original_sql_pre_aggregations rollups
		union_with_source_data unique_key_columns read_only stream_offset output_column_types sql_alias
		measure_references dimension_references segment_references time_dimension_reference rollup_references`) {
		read[key] = ignore
	}
	read["type"] = oneOf(l, &p.Type, "type", preAggregationTypes)
	for key, kind := range map[string]Kind{"measures": Measure, "dimensions": Dimension, "segments": Segment} {
		read[key] = func(n *node) {
			var names []word
			l.words(&names)(n)
			p.members[kind] = names
		}
	}
	read["time_dimension"], read["granularity"] = l.word(&alone.dimension), l.word(&alone.granularity)
	read["time_dimensions"] = func(n *node) {
		l.each(pair{key: "time_dimensions", value: n}, func(n *node) {
			var t rollupTime
			l.mapping(n, keys{of: "a time dimension of a pre-aggregation", read: map[string]func(*node){
				"dimension": l.word(&t.dimension), "granularity": l.word(&t.granularity),
			}})
			p.times = append(p.times, t)
		})
	}
	read["partition_granularity"] = oneOf(l, &partition, "partition_granularity", partitions)
	l.mapping(n, keys{of: "a pre-aggregation", read: read})
	if !ok {
		return
	}
	if slices.ContainsFunc(d.PreAggregations, func(other PreAggregation) bool { return other.Name == name }) {
		l.fail(pos, "", "the pre-aggregation %q is defined more than once", name)
		return
	}
	if alone != (rollupTime{}) {
		p.times = append(p.times, alone)
	}
	legacy := n.field("time_dimension_reference") != nil || n.field("timeDimensionReference") != nil
	for _, t := range p.times {
		switch {
		case t.dimension == (word{}) && !legacy:
			l.fail(t.granularity.pos, "", "pre-aggregation %s has a granularity, and no time_dimension that it is of", name)
		case t.granularity == (word{}) && p.Type == "rollup":
			l.fail(t.dimension.pos, "", "pre-aggregation %s has the time dimension %s without a granularity", name, t.dimension.text)
		}
	}
	if partition != "" && len(p.times) == 0 && !legacy {
		l.fail(pos, "", "pre-aggregation %s has a partition_granularity, which needs a time_dimension", name)
	}
	l.notice(pos, "pre-aggregation %s.%s is not built; its queries go to the data source", d.Name, name)
	d.rollups = append(d.rollups, p)
	d.PreAggregations = append(d.PreAggregations, p.PreAggregation)
}

// checkRollups finds the members that the pre-aggregations of c name.
func (l *loader) checkRollups(m *Model, c *Cube, d *definition) {
	for _, p := range d.rollups {
		find := func(w word, kind Kind) *Member {
			ref, problem := m.Lookup(c, strings.Split(w.text, "."))
			switch {
			case problem != "":
				l.fail(w.pos, "", "pre-aggregation %s: %s", p.Name, problem)
			case ref.Member == nil || ref.Member.Kind != kind || ref.Granularity != "":
				l.fail(w.pos, "", "pre-aggregation %s: %q is no %s", p.Name, w.text, kind)
			default:
				return ref.Member
			}
			return nil
		}
		for _, kind := range []Kind{Measure, Dimension, Segment} {
			for _, w := range p.members[kind] {
				find(w, kind)
			}
		}
		for _, t := range p.times {
			if t.dimension == (word{}) {
				continue
			}
			member := find(t.dimension, Dimension)
			if member == nil || t.granularity == (word{}) {
				continue
			}
			if _, ok := member.Granularity(t.granularity.text); !ok || member.Type != Time {
				l.fail(t.granularity.pos, "", "pre-aggregation %s: Granularity \"%s\" does not exist in dimension %s", p.Name, t.granularity.text, member.FullName())
			}
		}
	}
}

package datamodel

import (
	"slices"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/spelling"
)

// PreAggregation is one that a cube defines (cube-data-model.md §19). A rollup is a query of its own, whose rows the others
// that it holds can be answered from: what it names has the path by which a query would reach it.
type PreAggregation struct {
	Cube     string
	Name     string
	Type     string // Rollup, OriginalSQL, RollupJoin, RollupLambda, or one that is not built: its queries go to the source
	Position Position

	Measures   []Reference
	Dimensions []Reference
	Segments   []Reference
	Times      []Reference // with their granularities; partitions are of the first

	Rollups    []*PreAggregation // whose rows a rollup_join joins and a rollup_lambda unites, in the order of the file
	WithSource bool              // a rollup_lambda unites them with rows of the source that they do not hold yet

	FromOriginal bool // it is built from the original_sql of its cubes, where they have one

	Partition  string    // granularity of its partitions, hour to year; or "" for one table
	BuildStart *Template // from where partitions reach: SQL that returns a moment; nil for the first row
	BuildEnd   *Template // and to where; nil for the last

	RefreshKey     RefreshKey // its own, or that of its cube, or else every hour
	Indexes        []Index    // of no effect on what is kept in columns
	External       bool       // kept outside of the source; an original_sql never is
	Scheduled      bool       // built before anybody asks
	AllowNonStrict bool       // it answers for ranges that begin or end within its buckets
	Shared         bool       // its cube shares its rows, and so do those of its members: the service account builds it, for everybody
}

// Index is an index of a pre-aggregation.
type Index struct {
	Name    string
	Columns []string // full names of members, or columns of the rows that an original_sql keeps; none where it is SQL
}

// The types of pre-aggregations that answer queries. Rows are kept of the first two: the others are read from rollups. An
// original_sql keeps the rows of its cube as they are, for queries and rollups that would read them by its sql.
const (
	Rollup       = "rollup"
	OriginalSQL  = "original_sql"
	RollupJoin   = "rollup_join"
	RollupLambda = "rollup_lambda"
)

// FullName returns "cube.name".
func (p *PreAggregation) FullName() string { return p.Cube + "." + p.Name }

var preAggregationTypes = map[string]string{
	"rollup": Rollup, "original_sql": OriginalSQL, "originalSql": OriginalSQL,
	"rollup_join": RollupJoin, "rollupJoin": RollupJoin,
	"rollup_lambda": RollupLambda, "rollupLambda": RollupLambda,
	"auto_rollup": "auto_rollup", "autoRollup": "auto_rollup",
}

var partitions = map[string]string{"hour": "hour", "day": "day", "week": "week", "month": "month", "quarter": "quarter", "year": "year"}

// rollup is a PreAggregation as its file has it: names are resolved when the members of its cube are known.
type rollup struct {
	PreAggregation
	members map[Kind][]word
	times   []rollupTime
	indexes []rollupIndex
	rollups []word
}

// rollupTime is a time dimension of a rollup and its granularity.
type rollupTime struct{ dimension, granularity word }

// rollupIndex is an Index as its file has it.
type rollupIndex struct {
	name    string
	columns []word
}

// preAggregation reads a pre-aggregation.
func (l *loader) preAggregation(d *definition, n *node) {
	name, pos, ok := l.name(n, "a pre-aggregation")
	var (
		alone rollupTime
		p     = rollup{members: map[Kind][]word{}}
		read  = map[string]func(*node){}
	)
	p.PreAggregation = PreAggregation{Cube: d.Name, Name: name, Type: Rollup, Position: pos, External: true, Scheduled: true, AllowNonStrict: true}
	for _, key := range strings.Fields("name unique_key_columns read_only stream_offset output_column_types sql_alias") {
		read[key] = ignore
	}
	read["rollups"], read["rollup_references"] = l.words(&p.rollups), l.words(&p.rollups)
	read["use_original_sql_pre_aggregations"], read["union_with_source_data"] = l.flag(&p.FromOriginal), l.flag(&p.WithSource)
	read["type"] = oneOf(l, &p.Type, "type", preAggregationTypes)
	for kind, key := range map[Kind]string{Measure: "measures", Dimension: "dimensions", Segment: "segments"} {
		read[key] = func(n *node) {
			var names []word
			l.words(&names)(n)
			p.members[kind] = names
		}
		read[renamed[key]] = read[key]
	}
	read["time_dimension"], read["granularity"] = l.word(&alone.dimension), l.word(&alone.granularity)
	read[renamed["time_dimension"]] = read["time_dimension"]
	read["time_dimensions"] = func(n *node) {
		l.each(pair{key: "time_dimensions", value: n}, func(n *node) {
			var t rollupTime
			l.mapping(n, keys{of: "a time dimension of a pre-aggregation", read: map[string]func(*node){
				"dimension": l.word(&t.dimension), "granularity": l.word(&t.granularity),
			}})
			p.times = append(p.times, t)
		})
	}
	read["partition_granularity"] = oneOf(l, &p.Partition, "partition_granularity", partitions)
	for key, to := range map[string]**Template{"build_range_start": &p.BuildStart, "build_range_end": &p.BuildEnd} {
		read[key] = func(n *node) {
			if *to != nil {
				l.fail(n.pos, "", "pre-aggregation %s has both %s and %s, which is its old name", name, key, renamed[key])
			}
			l.onlySQL(key, to, n)
		}
		read[renamed[key]] = read[key]
	}
	read["refresh_key"] = func(n *node) { l.refreshKey(&p.RefreshKey, n) }
	read["external"], read["scheduled_refresh"] = l.flag(&p.External), l.flag(&p.Scheduled)
	read["allow_non_strict_date_range_match"] = l.flag(&p.AllowNonStrict)
	read["indexes"] = func(n *node) {
		l.each(pair{key: "indexes", value: n}, func(n *node) { l.index(&p, n) })
	}
	l.mapping(n, keys{of: "a pre-aggregation", read: read})
	if !ok {
		return
	}
	if slices.ContainsFunc(d.rollups, func(other rollup) bool { return other.Name == name }) {
		l.fail(pos, "", "the pre-aggregation %q is defined more than once", name)
		return
	}
	l.checkNames(&p, n)
	if alone != (rollupTime{}) {
		p.times = slices.Insert(p.times, 0, alone)
	}
	for _, t := range p.times {
		switch {
		case t.dimension == (word{}):
			l.fail(t.granularity.pos, "", "pre-aggregation %s has a granularity, and no time_dimension that it is of", name)
		case t.granularity == (word{}) && (p.Type == Rollup || p.Type == RollupJoin):
			l.fail(t.dimension.pos, "", "pre-aggregation %s has the time dimension %s without a granularity", name, t.dimension.text)
		}
	}
	if p.Partition != "" && len(p.times) == 0 {
		l.fail(pos, "", "pre-aggregation %s has a partition_granularity, which needs a time_dimension", name)
	}
	composed := p.Type == RollupJoin || p.Type == RollupLambda
	switch {
	case composed && len(p.rollups) == 0:
		l.fail(pos, "", "pre-aggregation %s needs the rollups that it is read from", name)
	case p.Type == OriginalSQL:
		l.original(&p)
	case !composed && p.Type != Rollup:
		l.notice(pos, "pre-aggregation %s.%s is not built; its queries go to the data source", d.Name, name)
	case p.WithSource && p.Type != RollupLambda:
		l.notice(pos, "pre-aggregation %s.%s is no rollup_lambda: its union_with_source_data has no effect", d.Name, name)
	}
	d.rollups = append(d.rollups, p)
}

// original reads what is left of p, an original_sql: its rows are those of its cube, in one table of the source.
func (l *loader) original(p *rollup) {
	if n := len(p.members[Measure]) + len(p.members[Dimension]) + len(p.members[Segment]); n > 0 {
		l.notice(p.Position, "pre-aggregation %s keeps the rows of its cube as they are: the members that it names have no effect", p.FullName())
	}
	if p.Partition != "" {
		l.notice(p.Position, "pre-aggregation %s is kept as one table: its partition_granularity has no effect", p.FullName())
	}
	p.External, p.FromOriginal = false, false
	p.members, p.times, p.Partition, p.BuildStart, p.BuildEnd = nil, nil, "", nil, nil
}

// renamed are keys of a pre-aggregation and the names that older models have for them.
var renamed = map[string]string{
	"measures": "measure_references", "dimensions": "dimension_references", "segments": "segment_references",
	"time_dimension": "time_dimension_reference", "build_range_start": "refresh_range_start", "build_range_end": "refresh_range_end",
}

// checkNames refuses a pre-aggregation that names members in keys of both ages: which of them hold would be a guess.
func (l *loader) checkNames(p *rollup, n *node) {
	var now, before string
	for _, f := range n.fields {
		key := Underscore(f.key)
		switch {
		case key == "time_dimensions", renamed[key] != "" && !strings.HasPrefix(key, "build_"):
			now = f.key
		case strings.HasSuffix(key, "_references") && key != "rollup_references", key == "time_dimension_reference":
			before = f.key
		}
	}
	if now != "" && before != "" {
		l.fail(p.Position, "", "pre-aggregation %s has %s beside %s, which is of older models: name all its members in the same way", p.Name, now, before)
	}
}

// index reads an index of a pre-aggregation.
func (l *loader) index(p *rollup, n *node) {
	name, _, ok := l.name(n, "an index")
	i := rollupIndex{name: name}
	var (
		sql  *Template
		kind string
	)
	l.mapping(n, keys{of: "an index", read: map[string]func(*node){
		"name": ignore, "columns": l.words(&i.columns), "sql": l.template(&sql),
		"type": oneOf(l, &kind, "type", map[string]string{"regular": "regular", "aggregate": "aggregate"}),
	}})
	switch has := n.field("columns") != nil; {
	case !ok:
		return
	case has == (n.field("sql") != nil):
		l.fail(n.pos, "", "index %s of pre-aggregation %s needs either columns or sql", name, p.Name)
	}
	p.indexes = append(p.indexes, i)
}

// SharesRollups reports meta.shared_rollup: whether everybody who may use the source is answered from rows of c that the service
// account fetched.
func (c *Cube) SharesRollups() bool {
	meta, _ := c.Meta.(map[string]any)
	shares, _ := meta["shared_rollup"].(bool)
	return shares
}

// preAggregations completes those of c: it finds the members that they name, and fills in defaults.
func (l *loader) preAggregations(m *Model, c *Cube, d *definition) {
	for _, raw := range d.rollups {
		p := raw.PreAggregation
		p.Shared = c.SharesRollups()
		p.RefreshKey = p.RefreshKey.orOf(c)
		for kind, to := range map[Kind]*[]Reference{Measure: &p.Measures, Dimension: &p.Dimensions, Segment: &p.Segments} {
			for _, w := range raw.members[kind] {
				if ref, ok := l.rollupMember(m, c, &p, w, kind); ok {
					*to = append(*to, ref)
				}
			}
		}
		for _, t := range raw.times {
			if t.dimension == (word{}) {
				continue
			}
			ref, ok := l.rollupMember(m, c, &p, t.dimension, Dimension)
			if !ok || t.granularity == (word{}) {
				continue
			}
			if _, ok := ref.Member.Granularity(t.granularity.text); !ok {
				l.fail(t.granularity.pos, "", "pre-aggregation %s: Granularity \"%s\" does not exist in dimension %s", p.Name, t.granularity.text, ref.Member.FullName())
				continue
			}
			ref.Granularity = t.granularity.text
			p.Times = append(p.Times, ref)
		}
		for _, i := range raw.indexes {
			p.Indexes = append(p.Indexes, l.rollupIndex(m, c, &p, i))
		}
		for _, ref := range slices.Concat(p.Dimensions, p.Times, p.Segments, p.Measures) {
			if of := m.Cube(ref.Member.Cube); p.Shared && !of.SharesRollups() {
				p.Shared = false
				l.notice(p.Position, "pre-aggregation %s is not shared: it has members of %s, which does not say meta.shared_rollup", p.FullName(), of.Name)
			}
		}
		c.PreAggregations = append(c.PreAggregations, &p)
	}
}

// composed finds the rollups that those of c are read from, once those of all cubes are complete.
func (l *loader) composed(m *Model, c *Cube, d *definition) {
	for i, raw := range d.rollups {
		p := c.PreAggregations[i]
		for _, w := range raw.rollups {
			cube, name, qualified := strings.Cut(w.text, ".")
			of := c
			switch {
			case !qualified:
				name = cube
			case !current(cube):
				of = m.Cube(cube)
			}
			var (
				found *PreAggregation
				known []string
			)
			if of != nil {
				for _, other := range of.PreAggregations {
					if known = append(known, other.Name); other.Name == name {
						found = other
					}
				}
			}
			switch {
			case p.Type != RollupJoin && p.Type != RollupLambda:
				l.fail(w.pos, "", "pre-aggregation %s: what is of the type %s is not read from others", p.Name, p.Type)
			case found == nil:
				l.fail(w.pos, "", "pre-aggregation %s: there is no pre-aggregation %q%s", p.Name, w.text, spelling.DidYouMean(name, known))
			case found.Type != Rollup:
				l.fail(w.pos, "", "pre-aggregation %s is read from rollups, and %s is of the type %s", p.Name, found.FullName(), found.Type)
			default:
				p.Rollups = append(p.Rollups, found)
			}
		}
	}
}

// rollupMember finds a member that a pre-aggregation of c names.
func (l *loader) rollupMember(m *Model, c *Cube, p *PreAggregation, w word, kind Kind) (Reference, bool) {
	path := strings.Split(w.text, ".")
	ref, problem := m.Lookup(c, path)
	switch {
	case problem != "":
		l.fail(w.pos, "", "pre-aggregation %s: %s", p.Name, problem)
	case ref.Member == nil || ref.Member.Kind != kind || ref.Granularity != "":
		l.fail(w.pos, "", "pre-aggregation %s: %q is no %s", p.Name, w.text, kind)
	default:
		if len(ref.Path) > 1 && !current(path[0]) && path[0] != c.Name {
			ref.Path = ref.Path[1:] // as a query that names users.country does: it says not how users are reached
		}
		return ref, true
	}
	return ref, false
}

// rollupIndex finds the columns of an index. Those of an original_sql are columns of its table.
func (l *loader) rollupIndex(m *Model, c *Cube, p *PreAggregation, raw rollupIndex) Index {
	i := Index{Name: raw.name}
	switch p.Type {
	case Rollup:
	case OriginalSQL:
		for _, w := range raw.columns {
			i.Columns = append(i.Columns, w.text)
		}
		return i
	default:
		return i
	}
	for _, w := range raw.columns {
		ref, problem := m.Lookup(c, strings.Split(w.text, "."))
		switch {
		case problem != "":
			l.fail(w.pos, "", "index %s of pre-aggregation %s: %s", i.Name, p.Name, problem)
		case !slices.ContainsFunc(slices.Concat(p.Dimensions, p.Times, p.Segments, p.Measures), func(has Reference) bool { return has.Member == ref.Member }):
			l.fail(w.pos, "", "index %s: %s is not in pre-aggregation %s", i.Name, w.text, p.Name)
		default:
			i.Columns = append(i.Columns, ref.Member.FullName())
		}
	}
	return i
}

// orOf returns k, the refresh key of a pre-aggregation of c, with what it does not say.
func (k RefreshKey) orOf(c *Cube) RefreshKey {
	if k.SQL != nil || k.Every != 0 || k.Immutable {
		return k
	}
	full := c.RefreshKey
	if full.SQL == nil && full.Every == 0 {
		full = RefreshKey{Every: time.Hour, Position: k.Position}
	}
	full.Incremental, full.UpdateWindow = k.Incremental, k.UpdateWindow
	return full
}

package sqlgen

import (
	"cmp"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

// Rollups returns those pre-aggregations of a model that are wanted as they are built for a security context and in a zone, without
// what reads them for a query, and why others cannot be built. It is for who builds them before anybody asks.
func Rollups(m *datamodel.Model, sc securitycontext.Context, zone string, o Options, wanted func(*datamodel.PreAggregation) bool) ([]*Rollup, []Miss, error) {
	loc, err := query.Zone(zone)
	if err != nil {
		return nil, nil, err
	}
	var (
		all    []*Rollup
		misses []Miss
	)
	for _, c := range m.Cubes() {
		for _, pre := range c.PreAggregations {
			if pre.Type != datamodel.Rollup && pre.Type != datamodel.OriginalSQL || !wanted(pre) {
				continue
			}
			p := &planner{model: m, sc: sc, o: o, zone: loc.String(), loc: loc, touched: new([]*datamodel.Cube), scripts: map[*datamodel.Template]script{}, dataSource: c.DataSource}
			r, err := p.rollup(pre)
			if err != nil {
				misses = append(misses, Miss{pre.FullName(), unbuildable(err)})
				continue
			}
			all = append(all, r)
		}
	}
	return all, misses, nil
}

// rollup returns what pre is built from.
func (p *planner) rollup(pre *datamodel.PreAggregation) (r *Rollup, err error) {
	if p.d, err = p.o.Dialect(p.dataSource); err != nil {
		return nil, err
	}
	if pre.Type == datamodel.OriginalSQL {
		return p.originalRollup(pre)
	}
	b, err := p.preAggregation(pre)
	if err != nil {
		return nil, err
	}
	return b.rollup()
}

// built is a pre-aggregation as a query of its own: the columns of its planner are what it keeps.
type built struct {
	*planner
	pre      *datamodel.PreAggregation
	repeated []*datamodel.Member // measures that it names and does not keep, since its joins repeat what they are computed from
}

// alone returns a planner of the same model, context and zone for a query of nobody: no policy, row rule or mask is in it.
func (p *planner) alone() *planner {
	return &planner{model: p.model, sc: p.sc, o: p.o, zone: p.zone, loc: p.loc, d: p.d, dataSource: p.dataSource,
		touched: new([]*datamodel.Cube), scripts: p.scripts, formulas: p.formulas}
}

// preAggregation plans the query that pre is: its dimensions, its time dimensions, its segments, and the measures that those
// it names are computed from.
func (p *planner) preAggregation(pre *datamodel.PreAggregation) (*built, error) {
	b := &built{planner: p.alone(), pre: pre}
	for _, refs := range [][]datamodel.Reference{pre.Dimensions, pre.Times, pre.Segments, pre.Measures} {
		for _, ref := range refs {
			m := member{Member: ref.Member, base: ref.Member, cube: ref.Cube, path: ref.Path}
			if err := b.addColumn(m, ref.Granularity); err != nil {
				return nil, err
			}
		}
	}
	if len(b.columns) == 0 {
		return nil, refusal("nothing is in it")
	}
	if err := b.findSubqueries(); err != nil {
		return nil, err
	}
	if len(b.subqueries) > 0 {
		return nil, refusal("%s is a sub-query", b.subqueries[0].FullName())
	}
	for _, ref := range pre.Times {
		if p.local(ref.Member, 0) {
			return nil, refusal("%s is made of buckets of another time dimension", ref.Member.FullName())
		}
	}
	if err := b.joinMembers(); err != nil {
		return nil, err
	}
	if err := b.source(); err != nil {
		return nil, err
	}
	named := b.measures()
	b.columns = slices.Clone(b.grouping())
	for _, c := range named {
		for _, m := range p.formula(c.base).of {
			switch {
			case m.Window != nil:
			case b.repeats(m):
				b.repeated = append(b.repeated, m)
			default:
				if err := b.addColumn(p.named(m), ""); err != nil {
					return nil, err
				}
			}
		}
	}
	return b, nil
}

// repeats reports whether the joins of p repeat rows that m is computed from.
func (p *planner) repeats(m *datamodel.Member) bool {
	return slices.ContainsFunc(p.reads(m), func(read *datamodel.Member) bool {
		return read.Kind == datamodel.Measure && p.tree.multiplied(read.Cube)
	})
}

// table returns the name under which rows of b are read: in the source one that no table has which SQL of a model names.
func (b *built) table() string {
	own := ""
	if !b.external() {
		own = "behalf__"
	}
	return own + datamodel.Underscore(b.model.Cube(b.pre.Cube).Alias) + "__" + datamodel.Underscore(b.pre.Name)
}

// external reports whether the rows of b are kept outside of the source: also where the model says otherwise, and the source is only
// read here.
func (b *built) external() bool { return b.pre.External || b.d.Habits().ReadOnly }

// shares reports whether the service account fetches the rows of b, for everybody. One cube shares its own rows, and not those of
// others that it is joined to.
func (b *built) shares() bool {
	return b.pre.Shared && !slices.ContainsFunc(*b.touched, func(c *datamodel.Cube) bool { return !c.SharesRollups() })
}

// begun returns what the model says of b alone.
func (b *built) begun() *Rollup {
	return &Rollup{
		Name: b.pre.FullName(), Type: b.pre.Type, Scheduled: b.pre.Scheduled, External: b.external(), Schema: cmp.Or(b.o.Schema, "prod_pre_aggregations"), Table: b.table(),
		Partition: b.pre.Partition, d: b.d, loc: b.loc, key: b.pre.RefreshKey,
		bounded: [2]bool{b.pre.BuildStart != nil, b.pre.BuildEnd != nil},
	}
}

// finish completes r, of which it is known what it is built from.
func (b *built) finish(r *Rollup) error {
	if r.key.SQL != nil {
		key, err := b.refreshKey(b.model.Cube(b.pre.Cube), r.key, "pre-aggregation "+r.Name)
		if err != nil {
			return err
		}
		r.sqlKey = &key
	}
	if !r.External && b.d.Habits().Indexes {
		for _, i := range b.pre.Indexes {
			if columns := b.indexed(i); len(columns) > 0 {
				r.indexes = append(r.indexes, columns)
			}
		}
	}
	r.Structure = r.structure()
	return nil
}

// indexed returns the columns of an index, as the table has them.
func (b *built) indexed(i datamodel.Index) (columns []string) {
	if b.pre.Type == datamodel.OriginalSQL {
		return i.Columns
	}
	for _, name := range i.Columns {
		for _, c := range b.columns {
			if c.FullName() == name {
				columns = append(columns, c.alias)
				break
			}
		}
	}
	return columns
}

// rollup returns what b is built from.
func (b *built) rollup() (*Rollup, error) {
	r := b.begun()
	r.groups = groupBy(len(b.grouping()))
	s := scope{p: b.planner, tree: b.tree}
	var list []Fragment
	for _, c := range b.columns {
		f, err := s.kept(c)
		if err != nil {
			return nil, err
		}
		list = append(list, Format("{} "+b.d.Quote(c.alias), f))
		r.Columns = append(r.Columns, RollupColumn{c.alias, c.keptType()})
	}
	if len(list) == 0 {
		return nil, refusal("nothing is left in it")
	}
	from, err := b.from(r, s)
	if err != nil {
		return nil, err
	}
	r.table = Format("SELECT {}\nFROM {}", join(list, ", "), from)
	r.Shared = b.shares()
	for _, original := range r.From {
		original.Shared = r.Shared
	}
	if r.Partition != "" {
		if err := b.partition(r, s); err != nil {
			return nil, err
		}
	}
	return r, b.finish(r)
}

// from returns the tables that r is built from: those of its cubes, or of their original_sql.
func (b *built) from(r *Rollup, s scope) (Fragment, error) {
	if b.pre.FromOriginal && !b.d.Habits().ReadOnly {
		b.originals = &originals{}
		defer func() { r.From, b.originals = b.originals.parts, nil }()
	}
	return s.joined()
}

// kept returns what a rollup keeps of a column. Of a segment it is whether a row is in it, which is never NULL.
func (s scope) kept(c column) (Fragment, error) {
	switch c.Kind {
	case datamodel.Measure:
		return s.keptMeasure(c.base)
	case datamodel.Segment:
		f, err := s.dimension(c.base)
		return Format("CASE WHEN {} THEN TRUE ELSE FALSE END", f), err
	}
	return s.selected(c)
}

// keptMeasure returns what a rollup keeps of a measure.
func (s scope) keptMeasure(m *datamodel.Member) (Fragment, error) {
	f := s.p.formula(m).kept
	if f == nil {
		return s.measure(m)
	}
	var failed error
	value := func(of *datamodel.Member) Fragment {
		f, err := s.keptMeasure(of)
		failed = cmp.Or(failed, err)
		return operand(f)
	}
	return f.sql(terms{value: value}), failed
}

// keptType returns the type of what a rollup keeps of c.
func (c column) keptType() string {
	switch {
	case c.Kind == datamodel.Segment:
		return datamodel.Boolean
	case c.Type == datamodel.Geo:
		return datamodel.String
	case c.Type == datamodel.Min, c.Type == datamodel.Max:
		return ""
	}
	return c.ResultType()
}

// partition makes r one of partitions by the first time dimension of b.
func (b *built) partition(r *Rollup, s scope) (err error) {
	at := b.pre.Times[0].Member
	if r.raw, err = s.dimension(at); err != nil {
		return err
	}
	r.raw = operand(r.raw)
	if r.wall, err = s.wall(at, ""); err != nil {
		return err
	}
	for i, given := range []*datamodel.Template{b.pre.BuildStart, b.pre.BuildEnd} {
		if given == nil {
			r.BuildRange[i], err = b.end([]string{"min", "max"}[i], b.named(at))
		} else {
			r.BuildRange[i], err = b.given(given)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// end returns the statement that asks for the first or the last wall time of a time dimension.
func (b *built) end(function string, at member) (Statement, error) {
	in := b.alone()
	in.columns = []column{{member: at}}
	if err := in.joinMembers(); err != nil {
		return Statement{}, err
	}
	s := scope{p: in, tree: in.tree}
	wall, err := s.wall(at.base, "")
	if err != nil {
		return Statement{}, err
	}
	from, err := s.joined()
	return Format("SELECT "+function+"({})\nFROM {}", wall, from).statement(b.d), err
}

// given returns the statement that asks as the model says, for wall time.
func (b *built) given(sql *datamodel.Template) (Statement, error) {
	c := b.model.Cube(b.pre.Cube)
	f, err := scope{p: b.planner, rowsOf: c}.eval(c, sql, nil)
	return Format("SELECT {}", b.d.InZone(subselect(f), b.zone)).statement(b.d), err
}

// unbuildable says that a pre-aggregation cannot be built, and why.
func unbuildable(err error) string {
	return "it cannot be built: " + strings.TrimSuffix(detail(err), ".")
}

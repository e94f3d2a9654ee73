package sqlgen

import (
	"fmt"
	"slices"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// An original_sql keeps the rows of a cube as its sql makes them, in a table of the source. A query that no rollup holds takes them from
// there, and so does a rollup that is built from them. All that a query says of the rows, and what policies and row rules say, stands in
// it as before: only the sql of the cube does not.

// originals are the original_sql pre-aggregations that SQL takes rows from, in place of the sql of their cubes.
type originals struct {
	of    map[*datamodel.Cube]*Rollup // nil of a cube that has none
	parts []*Rollup
}

// original returns what SQL of p takes the rows of c from; nil for its own sql.
func (p *planner) original(c *datamodel.Cube) (*Rollup, error) {
	if p.originals == nil {
		return nil, nil
	}
	r, known := p.originals.of[c]
	if known {
		return r, nil
	}
	if pre := originalOf(c); pre != nil {
		var err error
		if r, err = p.originalRollup(pre); err != nil {
			return nil, err
		}
		for _, other := range p.originals.parts {
			if other.Table == r.Table { // the rows of each would be those of both
				return nil, refusal("the table of %s has the name of that of %s", r.Name, other.Name)
			}
		}
		p.originals.parts = append(p.originals.parts, r)
	}
	if p.originals.of == nil {
		p.originals.of = map[*datamodel.Cube]*Rollup{}
	}
	p.originals.of[c] = r
	return r, nil
}

// originalOf returns the original_sql of a cube; nil where it has none.
func originalOf(c *datamodel.Cube) *datamodel.PreAggregation {
	for _, pre := range c.PreAggregations {
		if pre.Type == datamodel.OriginalSQL {
			return pre
		}
	}
	return nil
}

// originalRollup returns what an original_sql is built from: the sql of its cube, with nothing of a query in it.
func (p *planner) originalRollup(pre *datamodel.PreAggregation) (*Rollup, error) {
	if p.d.Habits().ReadOnly {
		return nil, refusal("its source is only read here, and nothing is kept in it")
	}
	b := &built{planner: p.alone(), pre: pre}
	r := b.begun()
	from, err := scope{p: b.planner}.from(p.model.Cube(pre.Cube))
	if err != nil {
		return nil, err
	}
	r.table = Format("SELECT *\nFROM {}", from)
	for _, c := range *b.touched {
		p.touches(c)
	}
	r.Shared = b.shares()
	return r, b.finish(r)
}

// matchOriginals returns the original_sql pre-aggregations of the cubes that the query reads, as one rollup that is read from them, and
// why others are not; nil where there are none.
func (p *planner) matchOriginals() (*Rollup, []Miss) {
	var named []Miss
	for _, c := range *p.touched {
		if pre := originalOf(c); pre != nil {
			named = append(named, Miss{Rollup: pre.FullName()})
		}
	}
	if len(named) == 0 {
		return nil, nil
	}
	r, why := p.overOriginals()
	if r != nil {
		return r, nil
	}
	for i := range named {
		named[i].Why = why
	}
	return nil, named
}

// overOriginals plans the query once more, over the original_sql of each cube that has one, and says why it cannot.
func (p *planner) overOriginals() (*Rollup, string) {
	if p.remade != nil {
		return nil, fmt.Sprintf("the sql of %s takes filters of the query through FILTER_PARAMS, and may make other rows of them", p.remade.Name)
	}
	in := &planner{model: p.model, sc: p.sc, q: p.q, o: p.o, zone: p.zone, loc: p.loc, touched: new([]*datamodel.Cube), scripts: p.scripts,
		originals: &originals{}}
	if err := in.resolve(); err != nil {
		return nil, unbuildable(err)
	}
	body, err := in.body()
	if err != nil {
		return nil, unbuildable(err)
	}
	plan := in.plan(body)
	r := &Rollup{Name: in.originals.parts[0].Name, Type: datamodel.OriginalSQL, Schema: in.originals.parts[0].Schema, Parts: in.originals.parts, Read: Statement{plan.SQL, plan.Args}, Total: plan.Total, d: in.d}
	// Who fetches them reads the rows of the other cubes, too.
	r.Shared = !slices.ContainsFunc(*in.touched, func(c *datamodel.Cube) bool { return !c.SharesRollups() })
	for _, part := range r.Parts {
		part.Shared = r.Shared
	}
	return r, ""
}

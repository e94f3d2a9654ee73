package sqlgen

import (
	"cmp"
	"strings"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// external reports whether the rows are read outside of the source.
func (m *match) external() bool {
	if len(m.parts) > 0 {
		return m.parts[0].external()
	}
	return m.built.external()
}

// reads returns the dialect in which the rows are read.
func (m *match) reads() Dialect {
	if m.external() {
		return DuckDB{}
	}
	return m.q.d
}

// read makes the statements that answer the query from the rows of r, and says why it cannot. from are the tables
// that they are in. What policies and row rules demand of rows is demanded of these.
func (m *match) read(r *Rollup, from Fragment) string {
	in := *m.q
	in.d = m.reads()
	s := scope{p: &in}
	why := ""
	kept := func(c *column) Fragment {
		why = cmp.Or(why, m.absent(c))
		return text(in.d.Quote(m.keeper(c).table()) + "." + in.d.Quote(c.alias))
	}
	dimension := func(of member) Fragment { return kept(m.has(of.base, "")) }
	measure := func(of member) Fragment {
		value := func(leaf *datamodel.Member) Fragment { return summed(in.d, leaf, kept(m.has(leaf, ""))) }
		return m.q.formula(of.base).sql(terms{value: value, duck: m.external()})
	}

	var list, rows, groups []Fragment
	for i, c := range in.columns {
		var f Fragment
		switch t := m.times[i]; {
		case c.Kind == datamodel.Measure:
			f = measure(c.member)
		case t == nil:
			f = dimension(c.member)
		case t.granularity == c.granularity:
			f = kept(t)
		default:
			f = in.cut(kept(t), granularity(c))
		}
		list = append(list, Format("{} "+in.d.Quote(c.alias), f))
	}
	for i, c := range in.ranges {
		f := kept(m.ranges[i])
		rows = append(rows, Format("({} >= {} AND {} <= {})", f, in.d.Wall(bind(c.dates.Texts[0])), f, in.d.Wall(bind(c.dates.Texts[1]))))
	}
	for _, of := range in.segments {
		rows = append(rows, dimension(of))
	}
	for _, where := range []struct {
		to         *[]Fragment
		conditions []condition
		value      func(member) Fragment
	}{{&rows, in.rows, dimension}, {&rows, in.granted, dimension}, {&groups, in.groups, measure}} {
		for _, c := range where.conditions {
			f, err := s.where(c, func(of member) (Fragment, error) { return where.value(of), nil })
			if err != nil {
				return "it cannot be read: " + strings.TrimSuffix(detail(err), ".")
			}
			*where.to = append(*where.to, Format("({})", f))
		}
	}
	if in.nothing {
		rows = append(rows, text("1 = 0"))
	}

	body := Format("SELECT {}\nFROM {}", join(list, ", "), from)
	if len(rows) > 0 {
		body = Format("{}\nWHERE {}", body, join(rows, " AND "))
	}
	body.addText(groupBy(len(in.grouping())))
	if len(groups) > 0 {
		body = Format("{} HAVING {}", body, join(groups, " AND "))
	}
	r.Read, r.Total = in.paged(body, func(desc bool) string {
		if !m.external() {
			return ""
		}
		if habits := m.q.d.Habits(); desc && habits.NullsFirstDown || !desc && habits.NullsFirst {
			return " NULLS FIRST"
		}
		return " NULLS LAST"
	})
	return why
}

// summed returns a measure of a group of rows of a rollup. One that is no sum of parts has one row there, or none. Counts are 0
// of no rows, as they are in the source, and whole numbers whatever their sum's type.
func summed(d Dialect, m *datamodel.Member, column Fragment) Fragment {
	switch m.Type {
	case datamodel.Count:
		return d.Integer(Format("COALESCE(sum({}), 0)", column))
	case datamodel.CountDistinct, datamodel.CountDistinctApprox:
		return d.Integer(Format("COALESCE({}, 0)", d.AnyValue(column)))
	case datamodel.Sum, datamodel.Min, datamodel.Max:
		return Format(m.Type+"({})", column)
	}
	return d.AnyValue(column)
}

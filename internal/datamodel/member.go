package datamodel

import (
	"slices"
	"strings"
)

var dimensionTypes = map[string]string{String: String, Number: Number, Boolean: Boolean, Time: Time, Geo: Geo}

var measureTypes = map[string]string{
	String: String, Number: Number, Boolean: Boolean, Time: Time, Count: Count, Sum: Sum, Avg: Avg, Min: Min, Max: Max,
	CountDistinct: CountDistinct, "countDistinct": CountDistinct,
	CountDistinctApprox: CountDistinctApprox, "countDistinctApprox": CountDistinctApprox,
}

// The types of measures that Cube has beside measureTypes.
var refusedMeasureTypes = []string{"running_total", "runningTotal", "number_agg", "numberAgg", "rank"}

// shared returns the readers of what all members have.
func (l *loader) shared(m *Member) map[string]func(*node) {
	public := l.optional(&m.public)
	return map[string]func(*node){
		"name":        ignore,
		"title":       l.text(&m.title),
		"description": l.text(&m.Description),
		"meta":        l.any(&m.Meta),
		"public":      public,
		"shown":       public,
		"visible":     public,
		"sql":         l.template(&m.SQL),
	}
}

// add adds m to d unless its name is taken.
func (l *loader) add(d *definition, m *Member) {
	for _, other := range d.members {
		if other.Name == m.Name {
			l.fail(m.Position, "", "%s.%s is defined more than once; first at line %d", d.Name, m.Name, other.Position.Line)
			return
		}
	}
	d.members = append(d.members, m)
}

// format reads what says how values are shown.
func (l *loader) format(m *Member, read map[string]func(*node)) {
	read["format"] = func(n *node) {
		if n.kind == null || n.kind == list {
			l.fail(n.pos, "", "format is a name, or a mapping such as {type: link, label: Open}")
		}
		m.Format = plain(n)
	}
	read["currency"] = l.text(&m.Currency)
	read["mask"] = l.mask(&m.Mask)
}

func (l *loader) dimension(d *definition, n *node) {
	name, pos, ok := l.name(n, "a dimension")
	m := &Member{Cube: d.Name, Name: name, Kind: Dimension, Position: pos, SuggestFilterValues: true}
	read := l.shared(m)
	l.format(m, read)
	read["type"] = func(n *node) {
		if n.scalar() && n.text == "switch" {
			l.fail(n.pos, "", "dimensions of type switch are not supported yet")
			return
		}
		oneOf(l, &m.Type, `"dimensions.`+name+`.type"`, dimensionTypes)(n)
	}
	read["case"] = func(n *node) { m.Case = l.caseOf(n) }
	read["latitude"] = func(n *node) { l.onlySQL("latitude", &m.Latitude, n) }
	read["longitude"] = func(n *node) { l.onlySQL("longitude", &m.Longitude, n) }
	read["primary_key"] = l.flag(&m.PrimaryKey)
	read["suggest_filter_values"] = l.flag(&m.SuggestFilterValues)
	read["order"] = oneOf(l, &m.Order, "order", map[string]string{"asc": "asc", "desc": "desc"})
	read["sub_query"] = l.flag(&m.SubQuery)
	read["propagate_filters_to_sub_query"] = l.flag(&m.Propagate)
	read["multi_stage"] = l.off("multi_stage")
	read["granularities"] = func(n *node) {
		l.each(pair{key: "granularities", value: n}, func(n *node) { l.granularity(m, n) })
	}
	l.mapping(n, keys{of: "a dimension", read: read,
		refused: []string{"links", "key", "aliases", "values", "time_shift", "case_switch"}})
	if !ok {
		return
	}
	given := 0
	for _, has := range []bool{n.field("sql") != nil, n.field("case") != nil, n.field("latitude") != nil || n.field("longitude") != nil} {
		if has {
			given++
		}
	}
	geo := n.field("latitude") != nil && n.field("longitude") != nil
	switch {
	case n.field("type") == nil:
		l.fail(pos, "", `"dimensions.%s.type" is required`, name)
	case given == 0:
		l.fail(pos, "", `"dimensions.%s.sql" is required`, name)
	case given > 1:
		l.fail(pos, "", "dimension %s has more than one of sql, case, and latitude with longitude", name)
	case m.SubQuery && m.SQL == nil:
		l.fail(pos, "", "dimension %s is a sub_query, which needs sql with a measure of another cube", name)
	case m.SubQuery && m.PrimaryKey:
		l.fail(pos, "", "dimension %s is a sub_query, which needs the primary key and cannot be one", name)
	case m.Propagate && !m.SubQuery:
		l.fail(pos, "", "dimension %s has propagate_filters_to_sub_query, but is no sub_query", name)
	case len(m.Granularities) > 0 && m.Type != Time:
		l.fail(pos, "", "dimension %s has granularities, but is not of type time", name)
	case m.Type == Geo && !geo:
		l.fail(pos, "", "dimension %s of type geo needs latitude and longitude", name)
	case m.Type != Geo && (m.Latitude != nil || m.Longitude != nil):
		l.fail(pos, "", "dimension %s has latitude or longitude, but is not of type geo", name)
	}
	l.add(d, m)
}

// onlySQL reads {sql: …}.
func (l *loader) onlySQL(of string, to **Template, n *node) {
	if n.kind != mapping {
		l.fail(n.pos, n.text, "%s is a mapping with the key sql", of)
		return
	}
	l.mapping(n, keys{of: of, read: map[string]func(*node){"sql": l.template(to)}})
}

func (l *loader) caseOf(n *node) *Case {
	c := &Case{}
	if n.kind != mapping {
		l.fail(n.pos, n.text, "case is a mapping with the keys when and else")
		return c
	}
	l.mapping(n, keys{of: "case", refused: []string{"switch"}, read: map[string]func(*node){
		"when": func(n *node) {
			l.each(pair{key: "when", value: n}, func(n *node) {
				var w When
				l.mapping(n, keys{of: "a branch of case", read: map[string]func(*node){
					"sql": l.template(&w.SQL), "label": l.label(&w.Label),
				}})
				if n.field("sql") == nil || n.field("label") == nil {
					l.fail(n.pos, "", "a branch of case needs sql and label")
					return
				}
				c.When = append(c.When, w)
			})
		},
		"else": func(n *node) {
			if n.kind != mapping || n.field("label") == nil {
				l.fail(n.pos, n.text, "else is a mapping with the key label")
				return
			}
			c.Else = &Label{}
			l.mapping(n, keys{of: "else", read: map[string]func(*node){"label": l.label(c.Else)}})
		},
	}})
	if n.field("when") == nil {
		l.fail(n.pos, "", "case needs when")
	}
	return c
}

// label returns a reader of a text, or of {sql: …}.
func (l *loader) label(to *Label) func(*node) {
	return func(n *node) {
		if n.kind == mapping {
			l.onlySQL("a label", &to.SQL, n)
			return
		}
		l.text(&to.Text)(n)
	}
}

func (l *loader) measure(d *definition, n *node) {
	name, pos, ok := l.name(n, "a measure")
	m := &Member{Cube: d.Name, Name: name, Kind: Measure, Position: pos}
	read := l.shared(m)
	l.format(m, read)
	read["type"] = func(n *node) {
		if n.scalar() && slices.Contains(refusedMeasureTypes, n.text) {
			l.fail(n.pos, "", "measures of type %s are not supported yet", n.text)
			return
		}
		oneOf(l, &m.Type, `"measures.`+name+`.type"`, measureTypes)(n)
	}
	read["filters"] = func(n *node) {
		l.each(pair{key: "filters", value: n}, func(n *node) {
			var t *Template
			l.onlySQL("a filter of a measure", &t, n)
			if n.field("sql") == nil {
				l.fail(n.pos, "", "a filter of a measure needs sql")
			}
			m.Filters = append(m.Filters, t)
		})
	}
	read["rolling_window"] = l.window(&m.Window)
	read["drill_filters"] = ignore
	read["drill_members"] = l.words(&m.drill)
	read["drill_member_references"] = read["drill_members"]
	read["multi_stage"] = l.off("multi_stage")
	read["filter"] = func(n *node) {
		l.fail(n.pos, "", "filter is of multi-stage measures, which are not supported yet; conditions on the rows of a measure are filters")
	}
	l.mapping(n, keys{of: "a measure", read: read, refused: []string{"group_by", "reduce_by",
		"add_group_by", "time_shift", "order_by", "case", "cumulative", "grain"}})
	if !ok {
		return
	}
	switch {
	case n.field("type") == nil:
		l.fail(pos, "", `"measures.%s.type" is required`, name)
	case m.Window != nil && m.Expression():
		l.fail(pos, "", "measure %s has a rolling_window, so its type is an aggregate such as sum, and not %s", name, m.Type)
	case n.field("sql") == nil && m.Type != "" && m.Type != Count:
		l.fail(pos, "", `"measures.%s.sql" is required`, name)
	case len(m.Filters) > 0 && slices.Contains([]string{Number, String, Boolean, Time}, m.Type):
		l.fail(pos, "", "measure %s of type %s is an expression over aggregates: filters have no rows to apply to; put them "+
			"into the measures it refers to", name, m.Type)
	}
	l.add(d, m)
}

func (l *loader) segment(d *definition, n *node) {
	name, pos, ok := l.name(n, "a segment")
	m := &Member{Cube: d.Name, Name: name, Kind: Segment, Position: pos}
	l.mapping(n, keys{of: "a segment", read: l.shared(m)})
	if !ok {
		return
	}
	if n.field("sql") == nil {
		l.fail(pos, "", `"segments.%s.sql" is required`, name)
	}
	l.add(d, m)
}

// words that stay small in a title, unless they begin it.
var smallWords = strings.Fields("and or nor a an the so but to of at by from into on onto off out in over with for")

// titleOf writes a name for people, as Cube does: created_at is "Created at", userID is "User ID", last_28 is "Last28".
func titleOf(name string) string {
	lower := func(i int) bool { return i < len(name) && name[i] >= 'a' && name[i] <= 'z' }
	upper := func(i int) bool { return i < len(name) && name[i] >= 'A' && name[i] <= 'Z' }
	var spaced strings.Builder
	for i := range len(name) {
		letter := lower(i) || upper(i)
		switch {
		case name[i] == '_':
			continue
		case letter && i > 0 && !lower(i-1) && !upper(i-1), upper(i) && i > 0 && (lower(i-1) || lower(i+1)):
			spaced.WriteByte(' ')
		}
		spaced.WriteByte(name[i])
	}
	words := strings.Fields(strings.ToLower(spaced.String()))
	for i, w := range words {
		switch {
		case w == "id" || w == "ids":
			words[i] = "ID" + w[2:]
		case i == 0 || !slices.Contains(smallWords, w):
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, " ")
}

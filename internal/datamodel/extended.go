package datamodel

// extended is what MetaOptions.Extended adds to a cube: how it is made (cube-rest-api.md §12).
type extended struct {
	Extends         string            `json:"extends,omitempty"`
	SQL             string            `json:"sql,omitempty"`
	SQLTable        string            `json:"sqlTable,omitempty"`
	FileName        string            `json:"fileName,omitempty"`
	DataSource      string            `json:"dataSource,omitempty"`
	RefreshKey      map[string]string `json:"refreshKey,omitempty"`
	Joins           []extendedJoin    `json:"joins,omitempty"`
	PreAggregations []extendedRollup  `json:"preAggregations,omitempty"`
}

type extendedJoin struct {
	Name         string       `json:"name"`
	Relationship Relationship `json:"relationship"`
	SQL          string       `json:"sql"`
}

type extendedRollup struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// extendedMember is what it adds to a member.
type extendedMember struct {
	SQL     string        `json:"sql,omitempty"`
	Filters []extendedSQL `json:"filters,omitempty"`
	Case    *extendedCase `json:"case,omitempty"`
}

type extendedSQL struct {
	SQL string `json:"sql"`
}

type extendedCase struct {
	When []extendedWhen `json:"when"`
	Else *extendedLabel `json:"else,omitempty"`
}

type extendedWhen struct {
	SQL   string `json:"sql"`
	Label any    `json:"label"`
}

type extendedLabel struct {
	Label any `json:"label"`
}

// source returns the text of a template as its file has it.
func (t *Template) source() string {
	if t == nil {
		return ""
	}
	return t.Source
}

func (c *Cube) extended() *extended {
	e := &extended{
		Extends: c.Extends, SQL: c.SQL.source(), SQLTable: c.SQLTable.source(), FileName: c.Position.File, DataSource: c.DataSource,
	}
	if k := c.RefreshKey; k.Every != 0 || k.SQL != nil {
		e.RefreshKey = map[string]string{}
		if k.Every != 0 {
			e.RefreshKey["every"] = k.Every.String()
		}
		if k.SQL != nil {
			e.RefreshKey["sql"] = k.SQL.source()
		}
	}
	for _, j := range c.Joins {
		e.Joins = append(e.Joins, extendedJoin{j.To, j.Relationship, j.SQL.source()})
	}
	for _, p := range c.PreAggregations {
		e.PreAggregations = append(e.PreAggregations, extendedRollup{p.Name, p.Type})
	}
	return e
}

func (m *Member) extended() *extendedMember {
	e := &extendedMember{SQL: m.SQL.source()}
	for _, f := range m.Filters {
		e.Filters = append(e.Filters, extendedSQL{f.source()})
	}
	if m.Case != nil {
		e.Case = &extendedCase{When: []extendedWhen{}}
		for _, w := range m.Case.When {
			e.Case.When = append(e.Case.When, extendedWhen{w.SQL.source(), w.Label.extended()})
		}
		if m.Case.Else != nil {
			e.Case.Else = &extendedLabel{m.Case.Else.extended()}
		}
	}
	return e
}

// extended returns a label as its file has it: a text, or SQL.
func (l Label) extended() any {
	if l.SQL != nil {
		return extendedSQL{l.SQL.source()}
	}
	return l.Text
}

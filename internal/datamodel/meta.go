package datamodel

import (
	"slices"
	"strings"
)

// MetaOptions says how much of a model Meta shows.
type MetaOptions struct {
	ShowHidden bool // development mode: members with public: false are shown too, and their flags tell
	OnlyViews  bool
	Extended   bool               // how everything is made: SQL, joins, files
	Visible    func(*Member) bool // what the caller's access policies grant; nil: everything. Never overruled by ShowHidden
}

// Meta is the answer of /v1/meta (cube-rest-api.md §12), ready for encoding/json.
type Meta struct {
	Cubes []MetaCube `json:"cubes"`
}

// MetaCube is a cube or view in Meta.
type MetaCube struct {
	Name               string          `json:"name"`
	Type               string          `json:"type"` // "cube" or "view"
	Title              string          `json:"title"`
	Description        string          `json:"description,omitempty"`
	Meta               any             `json:"meta,omitempty"`
	ConnectedComponent int             `json:"connectedComponent,omitempty"`
	IsVisible          bool            `json:"isVisible"`
	Public             bool            `json:"public"`
	Measures           []MetaMeasure   `json:"measures"`
	Dimensions         []MetaDimension `json:"dimensions"`
	Segments           []MetaSegment   `json:"segments"`
	Hierarchies        []MetaHierarchy `json:"hierarchies"`
	Folders            []MetaFolder    `json:"folders"`
	NestedFolders      []NestedFolder  `json:"nestedFolders"`

	*extended
}

// MetaMeasure is a measure in Meta.
type MetaMeasure struct {
	Name                string             `json:"name"`
	Title               string             `json:"title"`
	ShortTitle          string             `json:"shortTitle"`
	Description         string             `json:"description,omitempty"`
	Format              any                `json:"format,omitempty"`
	FormatDescription   *FormatDescription `json:"formatDescription,omitempty"`
	Currency            string             `json:"currency,omitempty"`
	CumulativeTotal     bool               `json:"cumulativeTotal"`
	Cumulative          bool               `json:"cumulative"`
	Type                string             `json:"type"`
	AggType             string             `json:"aggType"`
	DrillMembers        []string           `json:"drillMembers"`
	DrillMembersGrouped DrillMembers       `json:"drillMembersGrouped"`
	AliasMember         string             `json:"aliasMember,omitempty"`
	Meta                any                `json:"meta,omitempty"`
	IsVisible           bool               `json:"isVisible"`
	Public              bool               `json:"public"`

	*extendedMember
}

// DrillMembers are the drill members of a measure by kind.
type DrillMembers struct {
	Measures   []string `json:"measures"`
	Dimensions []string `json:"dimensions"`
}

// MetaDimension is a dimension in Meta.
type MetaDimension struct {
	Name                string             `json:"name"`
	Title               string             `json:"title"`
	Type                string             `json:"type"`
	ShortTitle          string             `json:"shortTitle"`
	Description         string             `json:"description,omitempty"`
	SuggestFilterValues bool               `json:"suggestFilterValues"`
	Format              any                `json:"format,omitempty"`
	FormatDescription   *FormatDescription `json:"formatDescription,omitempty"`
	Currency            string             `json:"currency,omitempty"`
	AliasMember         string             `json:"aliasMember,omitempty"`
	Meta                any                `json:"meta,omitempty"`
	IsVisible           bool               `json:"isVisible"`
	Public              bool               `json:"public"`
	PrimaryKey          bool               `json:"primaryKey"`

	Granularities []Granularity `json:"granularities,omitempty"`
	Order         string        `json:"order,omitempty"`

	*extendedMember
}

// MetaSegment is a segment in Meta.
type MetaSegment struct {
	Name        string `json:"name"`
	Title       string `json:"title"`
	ShortTitle  string `json:"shortTitle"`
	Description string `json:"description,omitempty"`
	Meta        any    `json:"meta,omitempty"`
	IsVisible   bool   `json:"isVisible"`
	Public      bool   `json:"public"`

	*extendedMember
}

// MetaHierarchy is a hierarchy in Meta.
type MetaHierarchy struct {
	Name   string   `json:"name"`
	Title  string   `json:"title,omitempty"`
	Levels []string `json:"levels"`
	Public bool     `json:"public"`
}

// MetaFolder is a folder of a view in Meta, with the members of those in it.
type MetaFolder struct {
	Name    string   `json:"name"`
	Members []string `json:"members"`
}

// NestedFolder is a folder of a view in Meta as it is: its members are strings and NestedFolders.
type NestedFolder struct {
	Name    string `json:"name"`
	Members []any  `json:"members"`
}

// aggTypes are the names of measure types in Meta.
var aggTypes = map[string]string{CountDistinct: "countDistinct", CountDistinctApprox: "countDistinctApprox"}

// Meta describes m to clients. Members that are not public are left out, and cubes of which nothing is left.
func (m *Model) Meta(o MetaOptions) Meta {
	meta := Meta{Cubes: []MetaCube{}}
	for _, c := range m.cubes {
		if o.OnlyViews && !c.View {
			continue
		}
		mc := m.metaCube(c, o)
		if o.ShowHidden && len(c.Policies) == 0 || len(mc.Measures)+len(mc.Dimensions)+len(mc.Segments) > 0 {
			meta.Cubes = append(meta.Cubes, mc)
		}
	}
	return meta
}

func (m *Model) metaCube(c *Cube, o MetaOptions) MetaCube {
	hidden := o.ShowHidden
	mc := MetaCube{
		Name: c.Name, Type: "cube", Title: c.Title, Description: c.Description, Meta: c.Meta, ConnectedComponent: c.component,
		IsVisible: c.Public, Public: c.Public,
		Measures: []MetaMeasure{}, Dimensions: []MetaDimension{}, Segments: []MetaSegment{},
		Hierarchies: []MetaHierarchy{}, Folders: []MetaFolder{}, NestedFolders: []NestedFolder{},
	}
	if c.View {
		mc.Type = "view"
	}
	if o.Extended {
		mc.extended = c.extended()
	}
	shown := map[string]bool{}
	for _, member := range c.Members {
		public := c.Public && member.Public
		if !public && !hidden || o.Visible != nil && !o.Visible(member) {
			continue
		}
		shown[member.FullName()] = true
		var made *extendedMember
		if o.Extended {
			made = member.extended()
		}
		alias := m.standsFor(c, member)
		switch member.Kind {
		case Measure:
			mc.Measures = append(mc.Measures, m.metaMeasure(member, public, alias, made))
		case Dimension:
			mc.Dimensions = append(mc.Dimensions, MetaDimension{
				Name: member.FullName(), Title: member.Title, Type: member.Type, ShortTitle: member.ShortTitle, Description: member.Description,
				SuggestFilterValues: member.SuggestFilterValues, Format: member.ShownFormat(), FormatDescription: member.FormatDescription(),
				Currency: member.ShownCurrency(), AliasMember: alias,
				Meta: member.Meta, IsVisible: public, Public: public, PrimaryKey: member.PrimaryKey, Granularities: member.Granularities, Order: member.Order,
				extendedMember: made,
			})
		case Segment:
			mc.Segments = append(mc.Segments, MetaSegment{
				Name: member.FullName(), Title: member.Title, ShortTitle: member.ShortTitle, Description: member.Description,
				Meta: member.Meta, IsVisible: public, Public: public, extendedMember: made,
			})
		}
	}
	for _, h := range c.Hierarchies {
		if h.Public || hidden {
			mc.Hierarchies = append(mc.Hierarchies, MetaHierarchy{
				Name: c.Name + "." + h.Name, Title: h.Title, Levels: visible(h.Levels, shown), Public: h.Public,
			})
		}
	}
	for _, f := range c.Folders {
		nested, members := f.meta(shown)
		mc.Folders = append(mc.Folders, MetaFolder{Name: f.Name, Members: members})
		mc.NestedFolders = append(mc.NestedFolders, nested)
	}
	return mc
}

// meta returns a folder with those of its members that are shown, as it is and flat, each of them once.
func (f Folder) meta(shown map[string]bool) (nested NestedFolder, flat []string) {
	nested, flat = NestedFolder{Name: f.Name, Members: []any{}}, []string{}
	add := func(name string) {
		if !slices.Contains(flat, name) {
			flat = append(flat, name)
		}
	}
	for _, item := range f.Items {
		switch {
		case item.Folder != nil:
			inner, members := item.Folder.meta(shown)
			nested.Members = append(nested.Members, inner)
			for _, name := range members {
				add(name)
			}
		case shown[item.Member]:
			nested.Members = append(nested.Members, item.Member)
			add(item.Member)
		}
	}
	return nested, flat
}

// standsFor returns the full name of the member that a member is another name of: one of a view, or one whose SQL is
// nothing but a reference. It returns "" where there is none.
func (m *Model) standsFor(c *Cube, member *Member) string {
	if member.Source != nil {
		return member.Source.Member.FullName()
	}
	if member.SQL == nil || len(member.SQL.Nodes) != 1 || member.SubQuery || len(member.Filters) > 0 || member.aggregates() {
		return ""
	}
	ref, ok := member.SQL.Nodes[0].(Ref)
	if !ok {
		return ""
	}
	if to, problem := m.Lookup(c, ref.Path); problem == "" && to.Member != nil {
		return to.Member.FullName()
	}
	return ""
}

// aggregates reports whether m is a measure that aggregates what its SQL gives.
func (m *Member) aggregates() bool {
	return m.Kind == Measure && !slices.Contains([]string{Number, String, Time, Boolean}, m.Type)
}

func visible(names []string, shown map[string]bool) []string {
	out := []string{}
	for _, n := range names {
		if shown[n] {
			out = append(out, n)
		}
	}
	return out
}

func (model *Model) metaMeasure(m *Member, public bool, alias string, made *extendedMember) MetaMeasure {
	agg := m.Type
	if a, ok := aggTypes[m.Type]; ok {
		agg = a
	}
	drill := m.DrillMembers
	if drill == nil {
		drill = []string{}
	}
	cumulative := m.Window != nil && m.Source == nil // Cube tells it of the cube's measure alone
	return MetaMeasure{
		Name: m.FullName(), Title: m.Title, ShortTitle: m.ShortTitle, Description: m.Description, Format: m.ShownFormat(),
		FormatDescription: m.FormatDescription(), Currency: m.ShownCurrency(), Type: m.ResultType(), AggType: agg, Cumulative: cumulative,
		CumulativeTotal: cumulative, DrillMembers: drill,
		DrillMembersGrouped: model.GroupedDrillMembers(m), AliasMember: alias, Meta: m.Meta,
		IsVisible: public, Public: public, extendedMember: made,
	}
}

// GroupedDrillMembers returns the drill members of a measure by kind.
func (m *Model) GroupedDrillMembers(measure *Member) DrillMembers {
	grouped := DrillMembers{Measures: []string{}, Dimensions: []string{}}
	for _, name := range measure.DrillMembers {
		cube, member, _ := strings.Cut(name, ".")
		if drill := m.byName[cube].Member(member); drill.Kind == Measure {
			grouped.Measures = append(grouped.Measures, name)
		} else {
			grouped.Dimensions = append(grouped.Dimensions, name)
		}
	}
	return grouped
}

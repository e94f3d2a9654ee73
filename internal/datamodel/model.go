package datamodel

// Model is a compiled data model. It never changes once loaded and is shared by goroutines.
type Model struct {
	cubes   []*Cube // in the order of their files and of their places in them
	byName  map[string]*Cube
	notices []Problem

	compilation *Compilation
}

// Agrees reports whether the model is one for asker, a COMPILE_CONTEXT, or else which value of it differs.
func (m *Model) Agrees(asker map[string]any) (where string, ok bool) {
	return m.compilation.Agrees(asker)
}

// Cubes returns the cubes and views, in the order of their files. Do not change what it returns.
func (m *Model) Cubes() []*Cube { return m.cubes }

// Cube returns the cube or view of that name, or nil.
func (m *Model) Cube(name string) *Cube { return m.byName[name] }

// Notices names what the model asks for and this version answers in another way that gives the same rows, such as
// pre-aggregations that are not built. They are worth a line in the log at start.
func (m *Model) Notices() []Problem { return m.notices }

// DataSources returns the names of the data sources that cubes use, without duplicates, in the order of first use.
func (m *Model) DataSources() []string {
	var names []string
	seen := map[string]bool{}
	for _, c := range m.cubes {
		if !c.View && !seen[c.DataSource] {
			seen[c.DataSource] = true
			names = append(names, c.DataSource)
		}
	}
	return names
}

// Position is a place in a model file. Lines and columns count from 1.
type Position struct {
	File   string
	Line   int
	Column int
}

// Cube is a cube or a view.
type Cube struct {
	Name        string
	View        bool
	Alias       string // sql_alias, or else Name: what table and column aliases are made of
	DataSource  string // of a cube; "default" unless it says otherwise
	Title       string
	Description string
	Public      bool
	Meta        any // as in the file: maps are map[string]any

	Extends  string    // the cube whose members it takes over
	SQL      *Template // of a cube: exactly one of SQL and SQLTable is set
	SQLTable *Template

	RefreshKey      RefreshKey
	Joins           []*Join
	Members         []*Member // dimensions, then measures, then segments, each in the order of the file
	PreAggregations []*PreAggregation
	Hierarchies     []Hierarchy
	Folders         []Folder
	Policies        []*Policy  // none: everybody sees everything
	Rules           []*RowRule // of a cube: what every query demands of its rows

	Position Position

	byName    map[string]*Member
	component int // of the join graph; see connectedComponent in /meta
}

// Member returns the dimension, measure or segment of that name, or nil.
func (c *Cube) Member(name string) *Member { return c.byName[name] }

// Join returns the join that c declares to the named cube, or nil.
func (c *Cube) Join(to string) *Join {
	for _, j := range c.Joins {
		if j.To == to {
			return j
		}
	}
	return nil
}

// PrimaryKey returns the dimensions that make up the primary key, in the order of the file.
func (c *Cube) PrimaryKey() []*Member {
	var keys []*Member
	for _, m := range c.Members {
		if m.PrimaryKey {
			keys = append(keys, m)
		}
	}
	return keys
}

// Kind says what a member is.
type Kind string

// The kinds of members.
const (
	Dimension Kind = "dimension"
	Measure   Kind = "measure"
	Segment   Kind = "segment"
)

// Types of dimensions, and the types of results.
const (
	String  = "string"
	Number  = "number"
	Boolean = "boolean"
	Time    = "time"
	Geo     = "geo"
)

// Types of measures, beside String, Number, Boolean and Time, whose SQL is an expression over other measures or
// holds its own aggregate.
const (
	Count               = "count"
	Sum                 = "sum"
	Avg                 = "avg"
	Min                 = "min"
	Max                 = "max"
	CountDistinct       = "count_distinct"
	CountDistinctApprox = "count_distinct_approx"
)

// Member is a dimension, a measure or a segment of one cube, or a view's window on one of them.
type Member struct {
	Cube        string // name of the cube or view it belongs to
	Name        string
	Kind        Kind
	Type        string // one of the constants; empty for a segment
	Title       string // "Orders Count"
	ShortTitle  string // "Count"
	Description string
	Format      any // a string, or a map for {type: link, label: …}
	Currency    string
	Meta        any
	Public      bool

	SQL       *Template   // nil for a count without sql, a case, a geo and a member of a view
	Case      *Case       // instead of SQL
	Latitude  *Template   // instead of SQL, for Geo
	Longitude *Template   //
	Filters   []*Template // of a measure; all must hold

	Window        *Window       // of a measure with a rolling window
	Granularities []Granularity // that a time dimension has beside the standard ones, or instead of one

	// SubQuery: the SQL of the dimension is over measures of other cubes, for each row of its own (cube-data-model.md §12.6).
	// Propagate: the query's filters narrow those measures too.
	SubQuery  bool
	Propagate bool

	Mask                *Mask // what a caller sees who may only see that; nil for the default of the type
	PrimaryKey          bool
	SuggestFilterValues bool
	Order               string   // "asc" or "desc": how clients sort by it; or ""
	DrillMembers        []string // full names

	// Source is what a member of a view stands for; nil for a member of a cube.
	Source *Source

	Position Position

	// As in the file, before defaults.
	title  string
	public *bool
	drill  []word
}

// FullName returns "cube.member".
func (m *Member) FullName() string { return m.Cube + "." + m.Name }

// ResultType returns the type of the member's values: String, Number, Boolean, Time or Geo.
func (m *Member) ResultType() string {
	switch m.Type {
	case Count, Sum, Avg, Min, Max, CountDistinct, CountDistinctApprox:
		return Number
	}
	return m.Type
}

// Source is the member of a cube behind a member of a view, and the join path by which the view reaches it.
type Source struct {
	Member *Member
	Path   []string // names of cubes; the last one owns Member
}

// Case is a dimension that is one of several labels.
type Case struct {
	When []When
	Else *Label // nil when there is none
}

// When is one branch of a Case.
type When struct {
	SQL   *Template
	Label Label
}

// Label is a text, or SQL when SQL is set.
type Label struct {
	Text string
	SQL  *Template
}

// Relationship says how many rows of two joined cubes belong together.
type Relationship string

// The relationships, read from the cube that declares the join.
const (
	ManyToOne Relationship = "many_to_one"
	OneToMany Relationship = "one_to_many"
	OneToOne  Relationship = "one_to_one"
)

// Join is a LEFT JOIN from the cube that declares it.
type Join struct {
	From         string
	To           string
	Relationship Relationship
	SQL          *Template
	Position     Position
}

// Hierarchy is a named drill path; metadata only.
type Hierarchy struct {
	Name   string
	Title  string
	Public bool
	Levels []string // full names of dimensions
}

// Folder groups members of a view for display; metadata only.
type Folder struct {
	Name  string
	Items []FolderItem
}

// FolderItem is a member in a folder, by its full name, or a folder in it.
type FolderItem struct {
	Member string
	Folder *Folder
}

// Expression reports whether m is a measure whose SQL is an expression over aggregates rather than over rows.
func (m *Member) Expression() bool {
	return m.Kind == Measure && (m.Type == Number || m.Type == String || m.Type == Boolean || m.Type == Time)
}

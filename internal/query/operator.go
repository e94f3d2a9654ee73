package query

// Operator is a filter operator (cube-rest-api.md §9.2).
type Operator string

// The operators.
const (
	Equals         Operator = "equals"
	NotEquals      Operator = "notEquals"
	In             Operator = "in"
	NotIn          Operator = "notIn"
	Contains       Operator = "contains"
	NotContains    Operator = "notContains"
	StartsWith     Operator = "startsWith"
	NotStartsWith  Operator = "notStartsWith"
	EndsWith       Operator = "endsWith"
	NotEndsWith    Operator = "notEndsWith"
	GT             Operator = "gt"
	GTE            Operator = "gte"
	LT             Operator = "lt"
	LTE            Operator = "lte"
	Set            Operator = "set"
	NotSet         Operator = "notSet"
	InDateRange    Operator = "inDateRange"
	NotInDateRange Operator = "notInDateRange"
	OnTheDate      Operator = "onTheDate"
	BeforeDate     Operator = "beforeDate"
	BeforeOrOnDate Operator = "beforeOrOnDate"
	AfterDate      Operator = "afterDate"
	AfterOrOnDate  Operator = "afterOrOnDate"
	MeasureFilter  Operator = "measureFilter"
)

var operators = map[Operator]bool{
	Equals: true, NotEquals: true, In: true, NotIn: true, Contains: true, NotContains: true, StartsWith: true,
	NotStartsWith: true, EndsWith: true, NotEndsWith: true, GT: true, GTE: true, LT: true, LTE: true, Set: true,
	NotSet: true, InDateRange: true, NotInDateRange: true, OnTheDate: true, BeforeDate: true, BeforeOrOnDate: true,
	AfterDate: true, AfterOrOnDate: true, MeasureFilter: true,
}

// ParseOperator returns the operator of that name.
func ParseOperator(name string) (Operator, bool) { return Operator(name), operators[Operator(name)] }

// Valueless reports whether o needs no values.
func (o Operator) Valueless() bool { return o == Set || o == NotSet || o == MeasureFilter }

// Dates reports whether o compares with dates.
func (o Operator) Dates() bool {
	switch o {
	case InDateRange, NotInDateRange, OnTheDate, BeforeDate, BeforeOrOnDate, AfterDate, AfterOrOnDate:
		return true
	}
	return false
}

package cubesql

// selection is a SELECT as it was written.
type selection struct {
	place
	distinct bool
	items    []item
	tables   []tableRef
	where    expr // nil: none
	groups   []expr
	having   expr // nil: none
	orders   []orderItem
	limit    *literal
	offset   *literal
}

// item is an item of the select list.
type item struct {
	expr  expr
	alias token // its kind is end where there is none
}

// tableRef is a cube or a view after FROM.
type tableRef struct {
	place
	name  token
	alias token // its kind is end where there is none
	on    expr  // of a LEFT JOIN; nil for the first, and for a CROSS JOIN
}

type orderItem struct {
	expr expr
	desc bool
}

// expr is one of the types below.
type expr interface{ at() place }

type (
	// column is a name, perhaps with that of its table before it.
	column struct {
		place
		path []token // one or two
	}

	// star is the one of count(*).
	star struct{ place }

	// literal is a value.
	literal struct {
		place
		kind tokenKind // text, number, or word: TRUE, FALSE, NULL
		text string    // of a word in capitals
		typ  sqlType   // to which it is cast; "" is as it stands
	}

	call struct {
		place
		name     string // in capitals
		distinct bool
		args     []expr
	}

	negation struct {
		place
		of expr
	}

	// logic is what AND or OR joins.
	logic struct {
		place
		or bool
		of []expr
	}

	comparison struct {
		place
		op          string
		left, right expr
	}

	membership struct {
		place
		of   expr
		list []expr
		not  bool
	}

	between struct {
		place
		of, low, high expr
		not           bool
	}

	like struct {
		place
		of, pattern      expr
		insensitive, not bool
	}

	// test is IS NULL and the like.
	test struct {
		place
		of   expr
		what string // NULL, UNKNOWN, TRUE or FALSE
		not  bool
	}
)

// sqlType is a type that a value can be cast to without becoming another one.
type sqlType string

const (
	textType        sqlType = "text"
	integerType     sqlType = "integer"
	numericType     sqlType = "numeric"
	booleanType     sqlType = "boolean"
	dateType        sqlType = "date"
	timestampType   sqlType = "timestamp"
	timestamptzType sqlType = "timestamptz"
)

// typeNames are the names of types that are one word.
var typeNames = map[string]sqlType{
	"TEXT": textType, "VARCHAR": textType, "INTEGER": integerType, "INT": integerType, "INT4": integerType, "INT8": integerType,
	"BIGINT": integerType, "NUMERIC": numericType, "DECIMAL": numericType, "BOOLEAN": booleanType, "BOOL": booleanType,
	"DATE": dateType, "TIMESTAMP": timestampType, "TIMESTAMPTZ": timestamptzType,
}

package resultcache

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
)

// What things cost in memory on 64 bits. The sum is an estimate; a test compares it with the heap.
const (
	entryCost  = 1024 // an Entry with its key, list elements and map slots
	columnCost = 64
	rowCost    = 24 // slice header
	cellCost   = 16 // interface
	boxCost    = 8  // what an interface points to, for a number
)

// maxForms bounds the encoded forms of one entry.
const maxForms = 4

// Entry is one result. Columns, Rows, RanAt and Values are read-only from the moment it is made; it is safe for concurrent use.
type Entry struct {
	Columns []driverfactory.Column
	Rows    [][]any
	RanAt   time.Time // when the statement ran
	Values  Values    // of the refresh keys when it was asked for; set before the entry is Put

	size   int64                  // of columns and rows
	item   atomic.Pointer[item]   // its place in the cache; nil when it is in none
	forms  atomic.Pointer[[]form] // written by the cache under its lock
	making sync.Mutex             // held while a form is made, so that it is made once
}

// form is an encoded form of an entry.
type form struct {
	name string
	body []byte
}

// NewEntry returns an entry of these rows, which the caller gives away. It fails when a value is not of one of the types
// that driverfactory.Rows promises: nothing else belongs in a result, least of all a secret.
func NewEntry(columns []driverfactory.Column, rows [][]any, ranAt time.Time) (*Entry, error) {
	size := int64(entryCost)
	for _, c := range columns {
		size += columnCost + int64(len(c.Name)+len(c.Type))
	}
	for _, row := range rows {
		n, err := RowSize(row)
		if err != nil {
			return nil, err
		}
		size += n
	}
	return &Entry{Columns: columns, Rows: rows, RanAt: ranAt, size: size}, nil
}

// RowSize returns what a row costs in memory, or an error when it holds a value that does not belong in a result. It is
// for those who must stop reading before there is too much to make an Entry of.
func RowSize(row []any) (int64, error) {
	size := int64(rowCost + cellCost*len(row))
	for _, v := range row {
		switch v := v.(type) {
		case nil, bool:
		case int64, float64:
			size += boxCost
		case string:
			size += 16 + int64(len(v))
		case driverfactory.Decimal:
			size += 16 + int64(len(v))
		case []byte:
			size += 24 + int64(len(v))
		case time.Time:
			size += 24
		default:
			return 0, fmt.Errorf("a result cannot hold a %T", v)
		}
	}
	return size, nil
}

// Size returns what the columns and rows cost in memory.
func (e *Entry) Size() int64 { return e.size }

// Encoded returns the body that encode produces for e, and keeps it as long as the cache keeps e: at most four of them,
// and within the bound of one entry. name says which form that is: everything the body depends on besides e must be in
// it. Concurrent callers wait for one encode; its error is returned and not kept. Nobody may change the body.
func (e *Entry) Encoded(name string, encode func() ([]byte, error)) ([]byte, error) {
	if body, ok := e.form(name); ok {
		return body, nil
	}
	e.making.Lock()
	defer e.making.Unlock()
	if body, ok := e.form(name); ok {
		return body, nil
	}
	body, err := encode()
	if err != nil {
		return nil, err
	}
	if it := e.item.Load(); it != nil {
		it.cache.keep(it, form{name, body})
	}
	return body, nil
}

func (e *Entry) form(name string) ([]byte, bool) {
	if forms := e.forms.Load(); forms != nil {
		for _, f := range *forms {
			if f.name == name {
				return f.body, true
			}
		}
	}
	return nil, false
}

package resultcache

import (
	"crypto/sha256"
	"math"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
)

// Values stands for the answers of the refresh keys under which a result was fetched. It is equal for equal answers
// only; zero says that there are no keys.
type Values [sha256.Size]byte

// ValuesOf returns the Values of the answers of refresh keys, in the order of the keys.
func ValuesOf(answers []*Entry) Values {
	if len(answers) == 0 {
		return Values{}
	}
	d := digest{h: sha256.New()}
	for _, e := range answers {
		d.number('k', uint64(len(e.Rows)))
		for _, row := range e.Rows {
			d.number('r', uint64(len(row)))
			for _, v := range row {
				d.value(v)
			}
		}
	}
	var v Values
	d.h.Sum(v[:0])
	return v
}

// value adds v, and reports whether it is of a type that a Statement or a row may hold.
func (d *digest) value(v any) bool {
	switch v := v.(type) {
	case nil:
		d.number('n', 0)
	case bool:
		if v {
			d.number('b', 1)
		} else {
			d.number('b', 0)
		}
	case int64:
		d.number('i', uint64(v))
	case float64:
		d.number('f', math.Float64bits(v))
	case string:
		d.text('s', v)
	case driverfactory.Decimal:
		d.text('d', string(v))
	case []byte:
		d.text('x', string(v))
	case time.Time:
		// The zone goes in too: the same instant in another one may reach the database as other text.
		d.text('t', v.Format(time.RFC3339Nano))
	default:
		return false
	}
	return true
}

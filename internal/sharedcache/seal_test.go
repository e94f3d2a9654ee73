package sharedcache

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/rowset"
)

// Whatever decode takes can be read, and is written again as it was. What it reads is sealed: it is hostile only where a data key is
// in wrong hands, and breaks nothing then either.
func FuzzDecode(f *testing.F) {
	rows, err := rowset.Of([][]any{{"a", nil, int64(1)}, {"b", 1.5, int64(2)}})
	if err != nil {
		f.Fatal(err)
	}
	v := value{by: make([]byte, generationSize), end: time.Unix(1, 2)}
	v.RanAt, v.Rows = time.Unix(3, 4), rows
	v.Columns = []driverfactory.Column{{Name: "x", Type: "TEXT"}, {Name: "y", Type: "DOUBLE"}, {Name: "z", Type: "BIGINT"}}
	f.Add(v.encode())
	v.Rows, v.Columns = nil, nil
	f.Add(v.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decode(slices.Clone(b))
		if err != nil {
			return
		}
		if len(got.Columns) != got.Rows.Columns() {
			t.Errorf("%d columns, and rows of %d", len(got.Columns), got.Rows.Columns())
		}
		if again, err := decode(got.encode()); err != nil || !bytes.Equal(again.encode(), got.encode()) {
			t.Errorf("the value is written otherwise than it was read: %v", err)
		}
	})
}

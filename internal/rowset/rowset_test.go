package rowset_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/rowset"
)

// rows draws rows of every type that a driver may return, with texts that fill a chunk now and then.
func rows(t *rapid.T) [][]any {
	cell := rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Map(rapid.Bool(), func(v bool) any { return v }),
		rapid.Map(rapid.Int64(), func(v int64) any { return v }),
		rapid.Map(rapid.Float64(), func(v float64) any { return v }),
		rapid.Map(rapid.String(), func(v string) any { return v }),
		rapid.Map(rapid.StringMatching(`-?[0-9]{1,30}\.[0-9]{2}`), func(v string) any { return driverfactory.Decimal(v) }),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(v []byte) any { return append([]byte{}, v...) }),
		rapid.Map(rapid.IntRange(0, 200_000), func(n int) any { return string(make([]byte, n)) }),
		rapid.Custom(func(t *rapid.T) any {
			zone := time.UTC
			if offset := rapid.IntRange(-14*3600, 14*3600).Draw(t, "offset"); offset != 0 {
				zone = time.FixedZone("", offset)
			}
			return time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).In(zone)
		}),
	)
	columns := rapid.IntRange(0, 6).Draw(t, "columns")
	return rapid.SliceOfN(rapid.SliceOfN(cell, columns, columns), 0, 40).Draw(t, "rows")
}

func TestWhatIsPackedComesOutAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rows(t)
		packed, err := rowset.Of(want)
		if err != nil {
			t.Fatal(err)
		}
		got := slices.Collect(packed.All())
		if packed.Len() != len(want) || len(got) != len(want) {
			t.Fatalf("%d rows, of which %d come out, want %d", packed.Len(), len(got), len(want))
		}
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("row %d is %#v, want %#v", i, got[i], want[i])
			}
			for column := range want[i] { // the same, by column
				cell, c := rowset.Cell{}, packed.Cursor()
				for range i + 1 {
					c.NextOf(column, &cell)
				}
				row, all := make([]rowset.Cell, len(want[i])), packed.Cursor()
				for range i + 1 {
					all.Next(row)
				}
				if cell.Kind != row[column].Kind || cell.Kind == rowset.Int && cell.Int != row[column].Int || !slices.Equal(cell.Text, row[column].Text) && cell.Kind >= rowset.Decimal && cell.Kind <= rowset.Bytes {
					t.Fatalf("cell %d of row %d is %+v, and %+v read with its row", column, i, cell, row[column])
				}
			}
		}
	})
}

func TestWhatIsAppendedIsParsed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rows(t)
		packed, err := rowset.Of(want)
		if err != nil {
			t.Fatal(err)
		}
		text := packed.AppendTo(nil)
		got, err := rowset.Parse(slices.Clone(text), packed.Columns(), packed.Len())
		if err != nil || !reflect.DeepEqual(slices.Collect(got.All()), slices.Collect(packed.All())) {
			t.Fatalf("Parse = %v, or other rows", err)
		}
		if len(text) > 0 {
			if _, err := rowset.Parse(text[:len(text)-1], packed.Columns(), packed.Len()); err == nil {
				t.Fatal("rows that break off were taken")
			}
		}
		if _, err := rowset.Parse(append(text, 0), packed.Columns(), packed.Len()); err == nil {
			t.Fatal("more than the rows was taken")
		}
	})
	var none *rowset.Rows
	if got, err := rowset.Parse(none.AppendTo(nil), 0, 0); err != nil || got.Len() != 0 {
		t.Errorf("no rows are %d, %v", got.Len(), err)
	}
}

// Whatever Parse takes can be read, and is written as it was.
func FuzzParse(f *testing.F) {
	for _, values := range [][][]any{{{nil, true, int64(-1)}}, {{1.5, "text", []byte{0}}}, {{driverfactory.Decimal("1.50"), time.Unix(1, 2).In(time.FixedZone("", 3600))}}} {
		packed, err := rowset.Of(values)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed.AppendTo(nil), packed.Columns(), packed.Len())
	}
	f.Fuzz(func(t *testing.T, packed []byte, columns, n int) {
		got, err := rowset.Parse(slices.Clone(packed), columns, n)
		if err != nil {
			return
		}
		if n < 1000 && columns < 1000 { // of none of either there may be any number
			if all := slices.Collect(got.All()); len(all) != n {
				t.Errorf("%d rows, want %d", len(all), n)
			}
		}
		if !slices.Equal(got.AppendTo(nil), packed) {
			t.Error("the rows are written otherwise than they were read")
		}
	})
}

func TestNothingButRowsGetsIn(t *testing.T) {
	secret := driverfactory.NewSecret("canary")
	for _, v := range []any{secret, &secret, 1, struct{}{}, map[string]any{}, []any{"x"}, errors.New("x")} {
		if _, err := rowset.Of([][]any{{v}}); err == nil {
			t.Errorf("a %T was packed, want it refused", v)
		}
	}
	if _, err := rowset.Of([][]any{{"a"}, {"a", "b"}}); err == nil {
		t.Error("rows of one and of two columns were packed together")
	}
}

// What is taken is asked for first, is never more than was said, and is what the rows take in the end.
func TestMemoryIsAskedForFirst(t *testing.T) {
	full := errors.New("full")
	taken, bound := 0, 1<<20
	b := rowset.Builder{Columns: 2, Take: func(n int) error {
		if taken+n > bound {
			return full
		}
		taken += n
		return nil
	}}
	n := 0
	for ; ; n++ {
		if err := b.Add([]any{fmt.Sprint("row ", n), math.Pi}); err != nil {
			if !errors.Is(err, full) {
				t.Fatal(err)
			}
			break
		}
	}
	if n < bound/25 || taken > bound {
		t.Errorf("%d rows in %d bytes, want about %d rows below %d", n, taken, bound/20, bound)
	}
	var none *rowset.Rows
	if none.Len() != 0 || none.Size() != 0 || none.First() != nil {
		t.Error("no rows have something")
	}
	one, err := rowset.Of([][]any{{"x", int64(1)}})
	if err != nil || one.Size() > 16 {
		t.Errorf("a row of five bytes takes %d, %v", one.Size(), err)
	}
}

func BenchmarkPack(b *testing.B) {
	at := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	row := []any{"shipped", "Customer 0000001", at, int64(1000), driverfactory.Decimal("27.50")}
	b.ReportAllocs()
	p := rowset.Builder{Columns: len(row)}
	for b.Loop() {
		if err := p.Add(row); err != nil {
			b.Fatal(err)
		}
	}
}

//go:build cgo

package preagg

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

// source makes the values of a column: one kind, as databases return it, and NULLs.
type source struct {
	Type Type
	make func(*rapid.T) any
}

// sources are all the kinds that a build takes, by the model's types that may have them.
func sources() map[string]source {
	whole := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-1000, 1000))
	number := func(t *rapid.T) driverfactory.Decimal {
		before, after := rapid.StringMatching(`[1-9][0-9]{0,19}|0`).Draw(t, "before"), rapid.StringMatching(`[0-9]{0,12}`).Draw(t, "after")
		text := rapid.SampledFrom([]string{"", "-"}).Draw(t, "sign") + before
		if after != "" {
			text += "." + after
		}
		if strings.Trim(text, "-0.") == "" {
			return driverfactory.Decimal(strings.TrimPrefix(text, "-")) // no database writes -0
		}
		return driverfactory.Decimal(text)
	}
	at := func(t *rapid.T) time.Time {
		zone := time.FixedZone("", rapid.IntRange(-14, 14).Draw(t, "zone")*1800)
		return time.UnixMicro(rapid.Int64Range(-62_000_000_000_000_000, 250_000_000_000_000_000).Draw(t, "µs")).In(zone)
	}
	all := map[string]source{}
	for _, of := range []Type{String, Number, Boolean, Time} {
		for kind, make := range map[string]func(*rapid.T) any{
			"bool":    func(t *rapid.T) any { return rapid.Bool().Draw(t, "v") },
			"whole":   func(t *rapid.T) any { return whole.Draw(t, "v") },
			"float":   func(t *rapid.T) any { return rapid.Float64().Draw(t, "v") },
			"decimal": func(t *rapid.T) any { return number(t) },
			"exact": func(t *rapid.T) any {
				if rapid.Bool().Draw(t, "whole") {
					return whole.Draw(t, "v")
				}
				return number(t)
			},
			"text":   func(t *rapid.T) any { return rapid.String().Draw(t, "v") },
			"bytes":  func(t *rapid.T) any { return rapid.SliceOf(rapid.Byte()).Draw(t, "v") },
			"time":   func(t *rapid.T) any { return at(t) },
			"timely": func(t *rapid.T) any { return at(t).UTC().Format("2006-01-02 15:04:05.999999") },
			"null":   func(t *rapid.T) any { return nil },
		} {
			allowed := map[Type]string{
				String: "bool whole float decimal exact text bytes time null", Number: "whole float decimal exact null",
				Boolean: "bool whole null", Time: "time timely null",
			}[of]
			if strings.Contains(allowed, kind) {
				all[string(of)+" "+kind] = source{of, make}
			}
		}
	}
	return all
}

// printed is what an answer shows of v: of an exact number with so many digits after the point.
func printed(v any, scale int) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case int64:
		return printed(driverfactory.Decimal(fmt.Sprint(v)), scale)
	case driverfactory.Decimal:
		_, after, point := strings.Cut(string(v), ".")
		text := string(v)
		if more := scale - len(after); more > 0 {
			if !point {
				text += "."
			}
			text += strings.Repeat("0", more)
		}
		return text
	case time.Time:
		return wall(v).Format("2006-01-02T15:04:05.999999")
	case []byte:
		return fmt.Sprintf("%x", v)
	case float64:
		return fmt.Sprint(math.Float64bits(v), math.IsNaN(v))
	}
	return fmt.Sprint(v)
}

// What is written in any partition, of any kind, reads as it was, also after a restart.
func TestWhatIsReadPrintsAsWhatWasWritten(t *testing.T) {
	kinds := sources()
	names := make([]string, 0, len(kinds))
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		of := rollup("alice", fmt.Sprint(n))
		var columns []Column
		var made []source
		for i := range rapid.IntRange(1, 4).Draw(t, "columns") {
			source := kinds[rapid.SampledFrom(names).Draw(t, "kind")]
			made = append(made, source)
			columns = append(columns, Column{Name: fmt.Sprintf(`Orders.%d "x" 'y'`, i), Type: source.Type})
		}
		written := map[string][]any{}
		scales := make([]int, len(columns))
		for p := range rapid.IntRange(1, 3).Draw(t, "partitions") {
			var rows [][]any
			for r := range rapid.IntRange(0, 8).Draw(t, "rows") {
				row := make([]any, len(columns))
				for i, source := range made {
					if rapid.IntRange(0, 3).Draw(t, "null") > 0 {
						row[i] = source.make(t)
					}
					if d, ok := row[i].(driverfactory.Decimal); ok {
						_, after, _ := strings.Cut(string(d), ".")
						scales[i] = max(scales[i], len(after))
					}
				}
				rows = append(rows, row)
				written[fmt.Sprint(p, "/", r)] = row
			}
			// The row's place goes along, to find it again.
			places := make([][]any, len(rows))
			for r, row := range rows {
				places[r] = append([]any{fmt.Sprint(p, "/", r)}, row...)
			}
			from := rowsOf(places...)
			from.columns = make([]driverfactory.Column, len(columns)+1)
			table, err := s.Write(t.Context(), of, Table{Partition: fmt.Sprint(p)}, append([]Column{{"place", String}}, columns...), from)
			if err != nil {
				t.Fatalf("Write = %v", err)
			}
			if table.Rows != int64(len(rows)) {
				t.Fatalf("%d rows were written, want %d", table.Rows, len(rows))
			}
		}
		if n%20 == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			var err error
			if s, err = Open(Config{Dir: dir}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := all(s.Query(t.Context(), []Part{{of, "t", s.Tables(of)}}, driverfactory.Statement{SQL: "SELECT * FROM t"}))
		if err != nil {
			t.Fatalf("Query = %v", err)
		}
		if len(got) != len(written) {
			t.Fatalf("%d rows were read, want %d", len(got), len(written))
		}
		for _, row := range got {
			want := written[row[0].(string)]
			for i := range columns {
				w := want[i]
				if text, ok := w.(string); ok && columns[i].Type == Time {
					w, _ = parseTime(text)
				}
				if got, want := printed(row[i+1], scales[i]), printed(w, scales[i]); got != want {
					t.Fatalf("%s: %T %q was read as %T %q", columns[i].Name, want, want, row[i+1], got)
				}
			}
		}
	})
	t.Cleanup(func() { _ = s.Close() })
}

func TestAValueThatDoesNotFitRefusesTheBuild(t *testing.T) {
	ns := time.Date(2026, 1, 1, 0, 0, 0, 1, time.UTC)
	digits := func(n int) driverfactory.Decimal { return driverfactory.Decimal(strings.Repeat("9", n)) }
	for _, tt := range []struct {
		name   string
		Type   Type
		values []any
		want   string // in the detail; empty: it fits
	}{
		{"a number and a number of another scale", Number, []any{int64(1), driverfactory.Decimal("2.50"), nil, driverfactory.Decimal("-.125")}, ""},
		{"a number of 38 digits", Number, []any{digits(38)}, ""},
		{"a number of 39", Number, []any{digits(39)}, "row 1, it is no number with up to 38 digits"},
		{"numbers that need 39 together", Number, []any{digits(30), driverfactory.Decimal("0.000000001")}, "row 2, with the rows before it takes 30 digits before the point and 9 after"},
		{"a float after a whole number", Number, []any{int64(1), nil, 1.5}, "row 3, it is of kind double, and the rows before are of kind integer"},
		{"a whole number after a float", Number, []any{1.5, int64(1)}, "row 2, it is of kind integer"},
		{"no number", Number, []any{driverfactory.Decimal("NaN")}, "row 1, it is no number"},
		{"an exponent", Number, []any{driverfactory.Decimal("1e20")}, "row 1, it is no number"},
		{"two points", Number, []any{driverfactory.Decimal("1.2.3")}, "row 1, it is no number"},
		{"a point alone", Number, []any{driverfactory.Decimal(".")}, "row 1, it is no number"},
		{"text in a column of numbers", Number, []any{"1"}, "row 1, it is of kind text, and the model says that the column is of type number"},
		{"text in a column of booleans", Boolean, []any{true, "t"}, "row 2, it is of kind text"},
		{"a whole number after a boolean", Boolean, []any{true, int64(1)}, "row 2, it is of kind integer, and the rows before are of kind boolean"},
		{"whole numbers for booleans", Boolean, []any{int64(1), int64(0)}, ""},
		{"numbers in a column of text", String, []any{int64(1), nil, int64(2)}, ""},
		{"text after a number", String, []any{int64(1), "a"}, "row 2, it is of kind text, and the rows before are of kind integer"},
		{"text that is not UTF-8", String, []any{"a", "\xff"}, "row 2, its text is not valid UTF-8"},
		{"times as text", Time, []any{"2026-01-01", "2026-01-01 12:00:00.123456", "2026-01-01T12:00:00Z", "2026-01-01T12:00:00+02:00"}, ""},
		{"text that is no time", Time, []any{nil, "yesterday"}, "row 2, it is text that is no time"},
		{"nanoseconds", Time, []any{ns}, "row 1, it has fractions of a microsecond"},
		{"nanoseconds as text", Time, []any{"2026-01-01 12:00:00.123456789"}, "row 1, it has fractions of a microsecond"},
		{"a year beyond DuckDB", Time, []any{ns.Add(-1).AddDate(300_000, 0, 0)}, "row 1, it is a time in a year"},
		{"a number in a column of times", Time, []any{int64(1)}, "row 1, it is of kind integer"},
		{"what no driver returns", String, []any{struct{}{}}, "row 1, it is a struct {}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, Config{})
			of := rollup("alice", "x")
			if tt.want != "" {
				write(t, s, of, "", 7)
			}
			var rows [][]any
			for _, v := range tt.values {
				rows = append(rows, []any{v})
			}
			_, err := s.Write(t.Context(), of, Table{}, []Column{{"orders.c", tt.Type}}, rowsOf(rows...))
			if tt.want == "" {
				if err != nil {
					t.Errorf("Write = %v, want no error", err)
				}
				return
			}
			e, _ := errors.AsType[*fault.Error](err)
			if e == nil || e.Kind != fault.Invalid || e.Code != "rollup_value" || !strings.Contains(e.Detail, `of column "orders.c" in `+tt.want) {
				t.Errorf("Write = %v, want rollup_value with %q", err, tt.want)
			}
			wantNumbers(t, s, of, 7) // what was there is there
		})
	}
}

func TestTheColumnsOfARollup(t *testing.T) {
	s := open(t, Config{})
	for _, tt := range []struct {
		name    string
		columns []Column
	}{
		{"none", nil},
		{"one without a name", []Column{{"", String}}},
		{"two that differ in case", []Column{{"a", String}, {"A", String}}},
		{"one of another type", []Column{{"a", "geo"}}},
		{"one more than the source has", []Column{{"a", String}, {"b", String}}},
		{"a NUL", []Column{{"a\x00", String}}},
	} {
		if _, err := s.Write(t.Context(), rollup("alice", "x"), Table{}, tt.columns, rowsOf([]any{"x"})); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: Write = %v, want fault.Invalid", tt.name, err)
		}
	}
	for _, p := range []string{"../x", "a/b", "a b", "é", strings.Repeat("a", 65)} {
		if _, err := s.Write(t.Context(), rollup("alice", "x"), Table{Partition: p}, one, numbers(1)); !errors.Is(err, fault.Invalid) {
			t.Errorf("partition %q: Write = %v, want fault.Invalid", p, err)
		}
	}
}

// DuckDB itself reads the second file with the types of the first, and rounds.
func TestPartitionsOfOtherTypesAreReadAsTheWidest(t *testing.T) {
	s := open(t, Config{})
	of := rollup("alice", "x")
	for p, v := range map[string]any{
		"1": int64(3), "2": driverfactory.Decimal("2.50"), "3": nil, "4": driverfactory.Decimal("123456789012345678901234567890"),
		"5": driverfactory.Decimal("0.0000001"),
	} {
		if _, err := s.Write(t.Context(), of, Table{Partition: p}, one, rowsOf([]any{v})); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := query(t, s, of, `SELECT sum("orders.n") FROM t`)
	if err != nil || rows[0][0] != driverfactory.Decimal("123456789012345678901234567895.5000001") {
		t.Errorf("sum = %v, %v, want it to the last digit", rows, err)
	}
	if _, err := s.Write(t.Context(), of, Table{Partition: "6"}, one, rowsOf([]any{driverfactory.Decimal("0.000000001")})); err != nil {
		t.Fatal(err)
	}
	if _, err := query(t, s, of, `SELECT sum("orders.n") FROM t`); code(err) != "rollup_mixed" {
		t.Errorf("numbers that need 39 digits together = %v, want rollup_mixed", err)
	}
	if _, err := s.Write(t.Context(), of, Table{Partition: "6"}, one, rowsOf([]any{1.5})); err != nil {
		t.Fatal(err)
	}
	if _, err := query(t, s, of, `SELECT sum("orders.n") FROM t`); code(err) != "rollup_mixed" {
		t.Errorf("a float among exact numbers = %v, want rollup_mixed", err)
	}
}

func code(err error) string {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return ""
	}
	return e.CodeOrKind()
}

// FuzzParseDecimal compares what is read with what math/big reads.
func FuzzParseDecimal(f *testing.F) {
	for _, s := range []string{"27.50", "-0.05", "-.5", "5.", "00012.30", strings.Repeat("9", 38), "1e5", "NaN", "--1", "+1", "1.-2", ""} {
		f.Add(s, uint8(3))
	}
	f.Fuzz(func(t *testing.T, s string, more uint8) {
		d, ok := parseDecimal(s)
		if !ok {
			return
		}
		want, valid := new(big.Rat).SetString(s)
		if !valid || bytes.ContainsAny([]byte(s), "eE/_+") || d.digits+d.scale > maxDigits {
			t.Fatalf("parseDecimal(%q) = %+v, which is no number", s, d)
		}
		scale := min(d.scale+int(more%8), maxDigits-d.digits)
		small := d.digits+scale <= smallDigits
		var got *big.Int
		switch v := d.scaled(scale, small).(type) {
		case int64:
			got = big.NewInt(v)
		case *big.Int:
			got = v
		}
		if r := new(big.Rat).SetFrac(got, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)); r.Cmp(want) != 0 {
			t.Fatalf("%q is %v with %d digits after the point, which is %v", s, got, scale, r)
		}
	})
}

package restapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/rowset"
)

// table is a result with its encoding.
type table struct {
	encoding
	rows [][]any
}

// drawTable draws rows of every type a driver may return under members of every type, of which some have two keys and
// one may be the same in every row.
func drawTable(t *rapid.T) table {
	var b table
	b.format = rapid.SampledFrom([]query.ResponseFormat{"", query.Compact, query.Columnar}).Draw(t, "format")
	b.cells = rapid.IntRange(1, 5).Draw(t, "columns")
	types := []string{datamodel.String, datamodel.Number, datamodel.Time, datamodel.Boolean}
	for i := range b.cells {
		kind := rapid.SampledFrom(types).Draw(t, "type")
		for key := range rapid.IntRange(1, 2).Draw(t, "keys") {
			b.fields = append(b.fields, newField(fmt.Sprintf("cube.%d_%d%s", i, key, rapid.String().Draw(t, "name")), kind, i))
		}
	}
	if rapid.Bool().Draw(t, "shared") {
		f := newField("compareDateRange", datamodel.String, 0)
		f.text = appendString(nil, "2026-01-01 - 2026-02-01")
		b.fields = append(b.fields, f)
	}
	cell := rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Map(rapid.Bool(), func(v bool) any { return v }),
		rapid.Map(rapid.Int64(), func(v int64) any { return v }),
		rapid.Map(rapid.Float64(), func(v float64) any { return v }),
		rapid.SampledFrom([]any{math.NaN(), math.Inf(-1), 1e21, "2026-01-02", "2026-01-02 03:04:05", "", "a\xff\xe2\x80", "\u2028<&>\x00\b"}),
		rapid.SampledFrom([]any{driverfactory.Decimal("NaN"), driverfactory.Decimal("01"), driverfactory.Decimal("1."), driverfactory.Decimal("-")}),
		rapid.Map(rapid.String(), func(v string) any { return v }),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(v []byte) any { return string(v) }),
		rapid.Map(rapid.StringMatching(`-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,9})?`), func(v string) any { return driverfactory.Decimal(v) }),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(v []byte) any { return append([]byte{}, v...) }),
		rapid.Custom(func(t *rapid.T) any { // longer than a piece
			text := strings.Repeat(rapid.StringN(1, 5, -1).Draw(t, "some"), rapid.IntRange(1, pieceSize/2).Draw(t, "times"))
			if rapid.Bool().Draw(t, "bytes") {
				return []byte(text)
			}
			return text
		}),
		rapid.Custom(func(t *rapid.T) any {
			zone := time.FixedZone("", rapid.IntRange(-50_000, 50_000).Draw(t, "offset"))
			return time.Unix(rapid.Int64Range(-1<<37, 1<<38).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).In(zone)
		}),
	)
	b.rows = rapid.SliceOfN(rapid.SliceOfN(cell, b.cells, b.cells), 0, 8).Draw(t, "rows")
	return b
}

// plainValue is what a value of a member of this type is, for encoding/json.
func plainValue(v any, kind string) any {
	number := func(text string) any {
		if kind != datamodel.Number && json.Valid([]byte(text)) {
			return json.Number(text)
		}
		return text
	}
	switch v := v.(type) {
	case int64:
		return number(strconv.FormatInt(v, 10))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		return number(strconv.FormatFloat(v, 'f', -1, 64))
	case driverfactory.Decimal:
		return number(string(v))
	case time.Time:
		return v.Format(wallTime)
	case string:
		if kind == datamodel.Time {
			return wallText(v)
		}
	}
	return v
}

// plain writes b with encoding/json.
func (b table) plain(t *rapid.T) []byte {
	value := func(f field, row []any) any {
		if f.text != nil {
			return json.RawMessage(f.text)
		}
		return plainValue(row[f.cell], f.kind)
	}
	marshal := func(v any) []byte {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	members, dataset, columns, objects := []string{}, [][]any{}, make([][]any, len(b.fields)), [][]byte{}
	for i, f := range b.fields {
		members, columns[i] = append(members, f.name), []any{}
	}
	for _, row := range b.rows {
		var values []any
		var object [][]byte
		for i, f := range b.fields {
			v := value(f, row)
			values, columns[i] = append(values, v), append(columns[i], v)
			object = append(object, slices.Concat(marshal(f.name), []byte{':'}, marshal(v)))
		}
		dataset = append(dataset, values)
		objects = append(objects, slices.Concat([]byte{'{'}, bytes.Join(object, []byte{','}), []byte{'}'}))
	}
	switch b.format {
	case query.Compact:
		return marshal(struct {
			Members []string `json:"members"`
			Dataset [][]any  `json:"dataset"`
		}{members, dataset})
	case query.Columnar:
		return marshal(struct {
			Members []string `json:"members"`
			Columns [][]any  `json:"columns"`
		}{members, columns})
	}
	return slices.Concat([]byte{'['}, bytes.Join(objects, []byte{','}), []byte{']'})
}

// tokens returns what a reader of JSON reads: the order of members is in it, and how characters are escaped is not.
func tokens(t *rapid.T, text []byte) (all []json.Token) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatalf("%v in %.300s", err, text)
		}
		all = append(all, token)
	}
}

// largest remembers the largest piece that was written.
type largest struct {
	bytes.Buffer
	piece int
}

func (l *largest) Write(p []byte) (int, error) {
	l.piece = max(l.piece, len(p))
	return l.Buffer.Write(p)
}

// checkTable compares what is written of b with what encoding/json writes.
func checkTable(t *rapid.T) {
	b := drawTable(t)
	rows, err := rowset.Of(b.rows)
	if err != nil {
		t.Fatal(err)
	}
	var out largest
	if err := b.write(&out, rows); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(tokens(t, out.Bytes()), tokens(t, b.plain(t))) {
		t.Fatalf("%s format: got %.2000s\nwant %.2000s", b.format, out.Bytes(), b.plain(t))
	}
	if !json.Valid(out.Bytes()) {
		t.Fatalf("no JSON: %.2000s", out.Bytes())
	}
	if limit := 8 * pieceSize; out.piece > limit { // a piece of text in which every character is escaped
		t.Fatalf("%d bytes are written at once, want at most %d", out.piece, limit)
	}
}

func TestEveryFormatIsWhatEncodingJSONWrites(t *testing.T) { rapid.Check(t, checkTable) }

func FuzzFormats(f *testing.F) {
	f.Add(make([]byte, 4096))
	f.Fuzz(rapid.MakeFuzz(checkTable))
}

// broken fails at the second piece.
type broken struct{ writes int }

func (b *broken) Write(p []byte) (int, error) {
	if b.writes++; b.writes > 1 {
		return 0, errors.New("gone")
	}
	return len(p), nil
}

func TestNothingIsEncodedForAClientThatLeft(t *testing.T) {
	rows := make([][]any, 100_000)
	for i := range rows {
		rows[i] = []any{"some text"}
	}
	packed, err := rowset.Of(rows)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []query.ResponseFormat{"", query.Compact, query.Columnar} {
		e := encoding{format: format, cells: 1, fields: []field{newField("a.b", datamodel.String, 0)}}
		var w broken
		if err := e.write(&w, packed); err == nil || w.writes != 2 {
			t.Errorf("%q: %d pieces were written, %v, want it to end with the second", format, w.writes, err)
		}
	}
}

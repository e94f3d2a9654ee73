// Package rowset keeps the rows of one result as bytes.
//
// A row comes from a driver as a []any, which costs several times what it says: a header for each value, a box for each
// number, a pointer for the collector to follow. A Builder packs it at once and the driver's row is used again for the
// next one, so that rows of that kind exist one at a time:
//
//	driver ─▶ one []any ─▶ Builder ─▶ Rows ─┬▶ Cursor ─▶ an encoder, cell by cell
//	                                        └▶ All    ─▶ []any again, for programs
//
// The packed rows know nothing of how they will be written: every format of an answer is made of the same ones.
//
//	row  = a cell for each column
//	cell = kind, then of Int a varint, of Float 8 bytes, of Decimal, Text and Bytes a length and the bytes, of Time the
//	       seconds, the nanoseconds and the offset of its zone
//
// Memory is taken in chunks, each asked for before it is taken, and never moved. A row is in one chunk.
package rowset

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
)

// Kind is what a cell holds.
type Kind byte

// The kinds, which are those that driverfactory.Rows promises.
const (
	Null Kind = iota
	False
	True
	Int
	Float
	Decimal
	Text
	Bytes
	Time
)

// Chunks grow from the first to the largest, so that a result of one row is small and a large one has few.
const (
	firstChunk   = 256
	largestChunk = 64 << 10
)

// Rows are packed rows. They are read-only, and safe for concurrent use; nil has none.
type Rows struct {
	chunks  [][]byte
	columns int
	n       int
	size    int64
}

// Len returns the number of rows.
func (r *Rows) Len() int {
	if r == nil {
		return 0
	}
	return r.n
}

// Columns returns how many cells each row has.
func (r *Rows) Columns() int {
	if r == nil {
		return 0
	}
	return r.columns
}

// Size returns what they take, in bytes.
func (r *Rows) Size() int64 {
	if r == nil {
		return 0
	}
	return r.size
}

// All yields the rows, each a new one: nil, bool, int64, float64, Decimal, string, time.Time or []byte, as the driver
// gave them. A time has its offset and not the name of its zone.
func (r *Rows) All() iter.Seq[[]any] {
	return func(yield func([]any) bool) {
		cells := make([]Cell, r.Columns())
		for c := r.Cursor(); c.Next(cells); {
			row := make([]any, len(cells))
			for i := range cells {
				row[i] = cells[i].value()
			}
			if !yield(row) {
				return
			}
		}
	}
}

// First returns the first row as All does, or nil when there is none.
func (r *Rows) First() []any {
	for row := range r.All() {
		return row
	}
	return nil
}

// Cursor returns a cursor before the first row.
func (r *Rows) Cursor() Cursor {
	c := Cursor{columns: r.Columns(), left: r.Len(), zone: time.UTC}
	if r != nil {
		c.chunks = r.chunks
	}
	return c
}

// AppendTo appends the packed rows to b. Parse reads them.
func (r *Rows) AppendTo(b []byte) []byte {
	if r != nil {
		for _, chunk := range r.chunks {
			b = append(b, chunk...)
		}
	}
	return b
}

// Parse returns n rows of so many columns that AppendTo wrote. They are in packed, which is theirs from now on. It fails for
// anything else: what it returns can be read.
func Parse(packed []byte, columns, n int) (*Rows, error) {
	if columns < 0 || n < 0 || columns == 0 && len(packed) > 0 || columns > 0 && n > len(packed)/columns {
		return nil, fmt.Errorf("%d bytes are not %d rows of %d columns", len(packed), n, columns)
	}
	rest := packed
	for cell := range n * columns {
		size := sizeOf(rest)
		if size == 0 {
			return nil, fmt.Errorf("cell %d of %d is none", cell, n*columns)
		}
		rest = rest[size:]
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes follow the last row", len(rest))
	}
	r := &Rows{columns: columns, n: n, size: int64(len(packed))}
	if len(packed) > 0 {
		r.chunks = [][]byte{packed}
	}
	return r, nil
}

// sizeOf returns how many bytes the cell takes that b begins with; 0 when it is none, or not whole.
func sizeOf(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch rest := b[1:]; Kind(b[0]) {
	case Null, False, True:
		return 1
	case Int:
		if _, n := binary.Varint(rest); n > 0 {
			return 1 + n
		}
	case Float:
		if len(rest) >= 8 {
			return 1 + 8
		}
	case Decimal, Text, Bytes:
		if length, n := binary.Uvarint(rest); n > 0 && length <= uint64(len(rest)-n) {
			return 1 + n + int(length)
		}
	case Time:
		_, s := binary.Varint(rest)
		nanoseconds, ns := binary.Varint(rest[max(s, 0):])
		offset, o := binary.Varint(rest[max(s, 0)+max(ns, 0):])
		if s > 0 && ns > 0 && o > 0 && nanoseconds >= 0 && nanoseconds <= 999_999_999 && offset >= -maxOffset && offset <= maxOffset {
			return 1 + s + ns + o
		}
	}
	return 0
}

// maxOffset is further from UTC than any zone.
const maxOffset = 48 * 3600

// Cell is one value. Its field is the one of its kind.
type Cell struct {
	Kind  Kind
	Int   int64
	Float float64
	Text  []byte // of Decimal, Text and Bytes; read it only
	Time  time.Time
}

func (c *Cell) value() any {
	switch c.Kind {
	case False, True:
		return c.Kind == True
	case Int:
		return c.Int
	case Float:
		return c.Float
	case Decimal:
		return driverfactory.Decimal(c.Text)
	case Text:
		return string(c.Text)
	case Bytes:
		return append([]byte{}, c.Text...)
	case Time:
		return c.Time
	}
	return nil
}

// Cursor reads rows one after another. It allocates nothing but a zone for each change of the offset of times.
type Cursor struct {
	chunks  [][]byte
	rest    []byte // of the present chunk
	columns int
	left    int
	zone    *time.Location // of the last time
	offset  int64
}

// Next reads the next row into row, which has a cell for each column, and reports whether there was one.
func (c *Cursor) Next(row []Cell) bool {
	if !c.advance() {
		return false
	}
	for i := range row {
		c.read(&row[i])
	}
	return true
}

// NextOf reads of the next row the cell of that column only, and reports whether there was a row.
func (c *Cursor) NextOf(column int, cell *Cell) bool {
	if !c.advance() {
		return false
	}
	for range column {
		c.skip()
	}
	c.read(cell)
	for range c.columns - column - 1 {
		c.skip()
	}
	return true
}

// advance goes to the beginning of the next row.
func (c *Cursor) advance() bool {
	if c.left == 0 {
		return false
	}
	c.left--
	if len(c.rest) == 0 && c.columns > 0 {
		c.rest, c.chunks = c.chunks[0], c.chunks[1:]
	}
	return true
}

func (c *Cursor) read(cell *Cell) {
	cell.Kind = Kind(c.rest[0])
	c.rest = c.rest[1:]
	switch cell.Kind {
	case Int:
		cell.Int = c.varint()
	case Float:
		cell.Float = math.Float64frombits(binary.LittleEndian.Uint64(c.rest))
		c.rest = c.rest[8:]
	case Decimal, Text, Bytes:
		cell.Text = c.text()
	case Time:
		seconds, nanoseconds, offset := c.varint(), c.varint(), c.varint()
		if offset != c.offset {
			c.zone, c.offset = time.UTC, offset
			if offset != 0 {
				c.zone = time.FixedZone("", int(offset))
			}
		}
		cell.Time = time.Unix(seconds, nanoseconds).In(c.zone)
	}
}

func (c *Cursor) skip() {
	kind := Kind(c.rest[0])
	c.rest = c.rest[1:]
	switch kind {
	case Int:
		c.varint()
	case Float:
		c.rest = c.rest[8:]
	case Decimal, Text, Bytes:
		c.text()
	case Time:
		c.varint()
		c.varint()
		c.varint()
	}
}

func (c *Cursor) varint() int64 {
	v, n := binary.Varint(c.rest)
	c.rest = c.rest[n:]
	return v
}

func (c *Cursor) text() []byte {
	size, n := binary.Uvarint(c.rest)
	end := n + int(size)
	text := c.rest[n:end:end]
	c.rest = c.rest[end:]
	return text
}

// Builder packs rows as they come. Its memory is asked for with Take, which may refuse it.
type Builder struct {
	Columns int
	Take    func(bytes int) error // default: as much as there is

	rows  Rows
	chunk []byte // the last one, which is not among rows.chunks yet
}

// Add packs a row, which has a value for each column and is the caller's again. It fails with the error of Take, and
// when a value is not of one of the types that driverfactory.Rows promises: nothing else belongs in a result, least of
// all a secret. After a failure the Builder is of no use.
func (b *Builder) Add(row []any) error {
	if len(row) != b.Columns {
		return fmt.Errorf("a row has %d columns and not %d", len(row), b.Columns)
	}
	need, err := atMost(row)
	if err != nil {
		return err
	}
	if cap(b.chunk)-len(b.chunk) < need {
		if err := b.grow(need); err != nil {
			return err
		}
	}
	for _, v := range row {
		b.chunk = appendCell(b.chunk, v)
	}
	b.rows.n++
	return nil
}

// grow begins a new chunk with room for need bytes.
func (b *Builder) grow(need int) error {
	size := max(need, min(largestChunk, max(firstChunk, 2*cap(b.chunk))))
	if b.Take != nil {
		if err := b.Take(size); err != nil {
			return err
		}
	}
	b.close()
	b.chunk = make([]byte, 0, size)
	return nil
}

// close puts the last chunk among the others.
func (b *Builder) close() {
	if len(b.chunk) > 0 {
		b.rows.chunks = append(b.rows.chunks, b.chunk)
		b.rows.size += int64(cap(b.chunk))
	}
	b.chunk = nil
}

// Rows returns what was packed, in no more memory than it takes. The Builder is of no use afterwards.
func (b *Builder) Rows() *Rows {
	b.chunk = slices.Clip(append([]byte(nil), b.chunk...))
	b.close()
	b.rows.columns = b.Columns
	return &b.rows
}

// Of packs rows that are there already.
func Of(rows [][]any) (*Rows, error) {
	b := Builder{}
	if len(rows) > 0 {
		b.Columns = len(rows[0])
	}
	for _, row := range rows {
		if err := b.Add(row); err != nil {
			return nil, err
		}
	}
	return b.Rows(), nil
}

// atMost returns how many bytes a row takes at most, or what does not belong in it.
func atMost(row []any) (int, error) {
	size := 0
	for _, v := range row {
		size++
		switch v := v.(type) {
		case nil, bool:
		case int64:
			size += binary.MaxVarintLen64
		case float64:
			size += 8
		case string:
			size += binary.MaxVarintLen64 + len(v)
		case driverfactory.Decimal:
			size += binary.MaxVarintLen64 + len(v)
		case []byte:
			size += binary.MaxVarintLen64 + len(v)
		case time.Time:
			size += 3 * binary.MaxVarintLen64
		default:
			return 0, fmt.Errorf("a result cannot hold a %T", v)
		}
	}
	return size, nil
}

func appendCell(out []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		if v {
			return append(out, byte(True))
		}
		return append(out, byte(False))
	case int64:
		return binary.AppendVarint(append(out, byte(Int)), v)
	case float64:
		return binary.LittleEndian.AppendUint64(append(out, byte(Float)), math.Float64bits(v))
	case string:
		return append(binary.AppendUvarint(append(out, byte(Text)), uint64(len(v))), v...)
	case driverfactory.Decimal:
		return append(binary.AppendUvarint(append(out, byte(Decimal)), uint64(len(v))), v...)
	case []byte:
		return append(binary.AppendUvarint(append(out, byte(Bytes)), uint64(len(v))), v...)
	case time.Time:
		_, offset := v.Zone()
		out = binary.AppendVarint(append(out, byte(Time)), v.Unix())
		return binary.AppendVarint(binary.AppendVarint(out, int64(v.Nanosecond())), int64(offset))
	}
	return append(out, byte(Null))
}

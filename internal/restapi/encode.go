package restapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/rowset"
)

// encoding is how the rows of a query are written, in the format that it asks for (cube-rest-api.md §10).
type encoding struct {
	format query.ResponseFormat
	cells  int // of each row
	fields []field
}

// field is a member of the encoded rows. There may be several of one cell.
type field struct {
	name string
	key  []byte // name as JSON
	kind string // type of the member
	cell int    // of the row; of no matter where there is a text
	text []byte // as JSON, when it is the same in every row
}

func newField(name, kind string, cell int) field {
	return field{name: name, key: appendString(nil, name), kind: kind, cell: cell}
}

// id says everything that the encoded rows depend on besides the rows.
func (e *encoding) id() string {
	h := sha256.New()
	writePart(h, []byte(e.format))
	for _, f := range e.fields {
		for _, part := range []string{f.name, f.kind, string(f.text), strconv.Itoa(f.cell)} {
			writePart(h, []byte(part))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// fits reports whether rows are those of a plan with so many columns.
func fits(rows *rowset.Rows, columns int) error {
	if rows.Len() > 0 && rows.Columns() != columns {
		return fmt.Errorf("a row has %d columns, the plan %d", rows.Columns(), columns)
	}
	return nil
}

// write writes the "data" member of an answer to w, a piece at a time: what is written of a result need not fit into
// memory, and a caller who keeps it gets pieces that are never moved. It fails when w does.
func (e *encoding) write(w io.Writer, rows *rowset.Rows) error {
	// A small answer fits its first piece, and costs no more than that.
	p := &pieces{w: w, out: make([]byte, 0, min(32<<10, 64+(rows.Len()+1)*len(e.fields)*32))}
	switch e.format {
	case query.Compact:
		e.compact(p, rows)
	case query.Columnar:
		e.columnar(p, rows)
	default:
		e.objects(p, rows)
	}
	p.flush(0)
	return p.err
}

// objects writes an array of objects keyed by member names.
func (e *encoding) objects(p *pieces, rows *rowset.Rows) {
	row, first := make([]rowset.Cell, e.cells), true
	p.out = append(p.out, '[')
	for c := rows.Cursor(); p.err == nil && c.Next(row); first = false {
		if !first {
			p.out = append(p.out, ',')
		}
		p.out = append(p.out, '{')
		for i := range e.fields {
			f := &e.fields[i]
			if i > 0 {
				p.out = append(p.out, ',')
			}
			p.out = append(append(p.out, f.key...), ':')
			f.value(p, row)
		}
		p.out = append(p.out, '}')
		p.flush(pieceSize)
	}
	p.out = append(p.out, ']')
}

// compact writes the members once and each row as an array.
func (e *encoding) compact(p *pieces, rows *rowset.Rows) {
	row, first := make([]rowset.Cell, e.cells), true
	p.out = append(e.appendMembers(p.out), `,"dataset":[`...)
	for c := rows.Cursor(); p.err == nil && c.Next(row); first = false {
		if !first {
			p.out = append(p.out, ',')
		}
		e.array(p, row)
		p.flush(pieceSize)
	}
	p.out = append(p.out, `]}`...)
}

// array writes one row as an array.
func (e *encoding) array(p *pieces, row []rowset.Cell) {
	p.out = append(p.out, '[')
	for i := range e.fields {
		if i > 0 {
			p.out = append(p.out, ',')
		}
		e.fields[i].value(p, row)
	}
	p.out = append(p.out, ']')
}

// columnar writes the members once and each column as an array: the rows are gone through once for each.
func (e *encoding) columnar(p *pieces, rows *rowset.Rows) {
	row := make([]rowset.Cell, e.cells)
	p.out = append(e.appendMembers(p.out), `,"columns":[`...)
	for i := range e.fields {
		f, first := &e.fields[i], true
		if i > 0 {
			p.out = append(p.out, ',')
		}
		p.out = append(p.out, '[')
		for c := rows.Cursor(); p.err == nil && c.NextOf(f.cell, &row[f.cell]); first = false {
			if !first {
				p.out = append(p.out, ',')
			}
			f.value(p, row)
			p.flush(pieceSize)
		}
		p.out = append(p.out, ']')
	}
	p.out = append(p.out, `]}`...)
}

func (e *encoding) appendMembers(out []byte) []byte {
	out = append(out, `{"members":[`...)
	for i, f := range e.fields {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, f.key...)
	}
	return append(out, ']')
}

// value writes the value of f in row. Every number is a string that keeps the database's text: clients must parse
// numbers from some sources anyway, and so do it for all (cube-rest-api.md §10.1).
func (f *field) value(p *pieces, row []rowset.Cell) {
	if f.text != nil {
		p.out = append(p.out, f.text...)
		return
	}
	switch v := &row[f.cell]; v.Kind {
	case rowset.Text:
		if text := v.Text; f.kind == datamodel.Time && len(text) <= longestTime {
			p.out = appendString(p.out, wallText(string(text)))
		} else {
			p.text(text)
		}
	case rowset.Bytes:
		p.base64(v.Text)
	default:
		p.out = appendCell(p.out, v, f.kind)
	}
}

// pieceSize is how much is written at once, and a row more. With most rows that is below 32 KiB: what is above takes a
// fifth more memory than it has bytes, because the allocator rounds it up.
const pieceSize = 31 << 10

// pieces is what was encoded and not yet written. The first error ends the writing.
type pieces struct {
	w   io.Writer
	out []byte
	err error
}

// flush writes what there is, if it is at least so much.
func (p *pieces) flush(least int) {
	if len(p.out) < max(least, 1) || p.err != nil {
		return
	}
	_, p.err = p.w.Write(p.out)
	p.out = p.out[:0]
}

// text writes a JSON string. A long one is written in pieces too: it may be larger than all else.
func (p *pieces) text(s []byte) {
	if len(s) <= pieceSize {
		p.out = appendString(p.out, s)
		p.flush(pieceSize)
		return
	}
	p.out = append(p.out, '"')
	for len(s) > 0 && p.err == nil {
		n := min(len(s), pieceSize)
		for back := 0; n < len(s) && back < utf8.UTFMax; back++ { // to the beginning of a character, if it is one
			if utf8.RuneStart(s[n-back]) {
				n -= back
				break
			}
		}
		p.out = appendEscaped(p.out, s[:n])
		p.flush(pieceSize)
		s = s[n:]
	}
	p.out = append(p.out, '"')
}

// base64 writes bytes as a JSON string.
func (p *pieces) base64(s []byte) {
	p.out = append(p.out, '"')
	for len(s) > 0 && p.err == nil {
		n := min(len(s), pieceSize/3*3) // so that no piece but the last is padded
		p.out = base64.StdEncoding.AppendEncode(p.out, s[:n])
		p.flush(pieceSize)
		s = s[n:]
	}
	p.out = append(p.out, '"')
}

package databricks

import (
	"fmt"
	"time"

	"github.com/behalf-project/behalf/internal/sandbox/engine"
)

// typeIDs are the TTypeIds of the engine's types. Decimals, dates and timestamps travel as text under their own type.
var typeIDs = map[engine.Type]int32{
	engine.Bool: 0, engine.Int8: 1, engine.Int16: 2, engine.Int32: 3, engine.Int64: 4, engine.Float32: 5, engine.Float64: 6,
	engine.Text: 7, engine.Time: 7, engine.Timestamp: 8, engine.TimestampTZ: 8, engine.Binary: 9, engine.Decimal: 15, engine.Date: 17,
}

func (op *operation) metadata() *metadataResp {
	<-op.done
	op.mu.Lock()
	defer op.mu.Unlock()
	schema := &tableSchema{Columns: []columnDesc{}}
	for i, c := range op.columns {
		entry := primitiveEntry{Type: typeIDs[c.Type]}
		if c.Type == engine.Decimal {
			entry.Qualifiers = &typeQualifiers{map[string]qualifier{"precision": {int32(c.Precision)}, "scale": {int32(c.Scale)}}}
		}
		schema.Columns = append(schema.Columns, columnDesc{Name: c.Name, Type: typeDesc{[]typeEntry{{entry}}}, Position: int32(i + 1)})
	}
	return &metadataResp{Schema: schema, Format: columnFormat}
}

func emptyRowSet() *rowSet { return &rowSet{Rows: []struct{}{}, Columns: []column{}} }

// fetch returns the next page of at most limit rows.
func (op *operation) fetch(limit int64) *fetchResultsResp {
	<-op.done
	op.mu.Lock()
	defer op.mu.Unlock()
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	page := newPage(op.columns, op.zone)
	for op.ahead && int64(page.rows) < limit {
		page.add(op.rows.Values())
		if op.ahead = op.rows.Next(); !op.ahead {
			op.err = op.rows.Err()
		}
	}
	out := page.rowSet(op.offset)
	op.offset += int64(page.rows)
	resp := &fetchResultsResp{HasMore: op.ahead, Results: out}
	if op.err != nil {
		_, sqlState, text := failure(op.err)
		resp.Status = status{Code: statusError, SQLState: sqlState, ErrorMessage: text, DisplayMessage: text}
	}
	return resp
}

// page gathers rows into columns.
type page struct {
	types   []engine.Column
	zone    *time.Location
	columns []column
	nulls   [][]byte
	rows    int
}

func newPage(types []engine.Column, zone *time.Location) *page {
	p := &page{types: types, zone: zone, columns: make([]column, len(types)), nulls: make([][]byte, len(types))}
	for i, c := range types {
		switch c.Type {
		case engine.Bool:
			p.columns[i].Bools = &boolColumn{Values: []bool{}}
		case engine.Int8:
			p.columns[i].Bytes = &byteColumn{Values: []int8{}}
		case engine.Int16:
			p.columns[i].Int16s = &int16Column{Values: []int16{}}
		case engine.Int32:
			p.columns[i].Int32s = &int32Column{Values: []int32{}}
		case engine.Int64:
			p.columns[i].Int64s = &int64Column{Values: []int64{}}
		case engine.Float32, engine.Float64:
			p.columns[i].Doubles = &doubleColumn{Values: []float64{}}
		case engine.Binary:
			p.columns[i].Binary = &binaryColumn{Values: [][]byte{}}
		default:
			p.columns[i].Strings = &stringColumn{Values: []string{}}
		}
	}
	return p
}

func (p *page) add(values []any) {
	for i, v := range values {
		if p.rows%8 == 0 {
			p.nulls[i] = append(p.nulls[i], 0)
		}
		if v == nil {
			p.nulls[i][p.rows/8] |= 1 << (p.rows % 8)
		}
		n, _ := v.(int64)
		switch c := &p.columns[i]; {
		case c.Bools != nil:
			b, _ := v.(bool)
			c.Bools.Values = append(c.Bools.Values, b)
		case c.Bytes != nil:
			c.Bytes.Values = append(c.Bytes.Values, int8(n))
		case c.Int16s != nil:
			c.Int16s.Values = append(c.Int16s.Values, int16(n))
		case c.Int32s != nil:
			c.Int32s.Values = append(c.Int32s.Values, int32(n))
		case c.Int64s != nil:
			c.Int64s.Values = append(c.Int64s.Values, n)
		case c.Doubles != nil:
			f, _ := v.(float64)
			c.Doubles.Values = append(c.Doubles.Values, f)
		case c.Binary != nil:
			b, _ := v.([]byte)
			c.Binary.Values = append(c.Binary.Values, b)
		default:
			c.Strings.Values = append(c.Strings.Values, p.text(v, p.types[i].Type))
		}
	}
	p.rows++
}

// text words a value that travels as text.
func (p *page) text(v any, t engine.Type) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case time.Time:
		switch t {
		case engine.Date:
			return v.Format(time.DateOnly)
		case engine.Time:
			return v.Format("15:04:05.999999")
		case engine.TimestampTZ:
			return v.In(p.zone).Format("2006-01-02 15:04:05.999999")
		}
		return v.Format("2006-01-02 15:04:05.999999")
	}
	return fmt.Sprint(v)
}

func (p *page) rowSet(offset int64) *rowSet {
	for i := range p.columns {
		nulls := p.nulls[i]
		if nulls == nil {
			nulls = []byte{}
		}
		switch c := &p.columns[i]; {
		case c.Bools != nil:
			c.Bools.Nulls = nulls
		case c.Bytes != nil:
			c.Bytes.Nulls = nulls
		case c.Int16s != nil:
			c.Int16s.Nulls = nulls
		case c.Int32s != nil:
			c.Int32s.Nulls = nulls
		case c.Int64s != nil:
			c.Int64s.Nulls = nulls
		case c.Doubles != nil:
			c.Doubles.Nulls = nulls
		case c.Binary != nil:
			c.Binary.Nulls = nulls
		default:
			c.Strings.Nulls = nulls
		}
	}
	return &rowSet{StartRowOffset: offset, Rows: []struct{}{}, Columns: p.columns}
}

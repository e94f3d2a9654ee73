package snowflake

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/sandbox/engine"
	"github.com/behalf-project/behalf/internal/secret"
)

const (
	inlineRows     = 1_000
	chunkRows      = 10_000
	maxResult      = 256 << 20 // bytes of all chunks, compressed
	chunkKeyHeader = "x-sandbox-chunk-key"
)

// chunk is a part of a large result: rows of JSON joined by commas, compressed.
type chunk struct {
	rows int
	size int
	gzip []byte
}

// result encodes rows: the first in the answer itself, the others in chunks.
type result struct {
	types   []engine.Column
	zone    *time.Location
	rowtype []map[string]any
	inline  []byte // a JSON list
	chunks  []chunk
	total   int

	buf  []byte // rows not yet in inline or a chunk, joined by commas
	rows int    // in buf
	held int    // bytes of chunks
}

func newResult(types []engine.Column, zone *time.Location) *result {
	res := &result{types: types, zone: zone}
	for _, c := range types {
		t := map[string]any{"name": c.Name, "nullable": true, "precision": nil, "scale": nil, "length": nil, "byteLength": nil}
		switch c.Type {
		case engine.Bool:
			t["type"] = "boolean"
		case engine.Int8, engine.Int16, engine.Int32, engine.Int64:
			t["type"], t["precision"], t["scale"] = "fixed", 38, 0
		case engine.Decimal:
			t["type"], t["precision"], t["scale"] = "fixed", c.Precision, c.Scale
		case engine.Float32, engine.Float64:
			t["type"] = "real"
		case engine.Date:
			t["type"] = "date"
		case engine.Time:
			t["type"], t["scale"] = "time", 9
		case engine.Timestamp:
			t["type"], t["scale"] = "timestamp_ntz", 9
		case engine.TimestampTZ:
			t["type"], t["scale"] = "timestamp_tz", 9
		case engine.Binary:
			t["type"], t["length"], t["byteLength"] = "binary", 8<<20, 8<<20
		default:
			t["type"], t["length"], t["byteLength"] = "text", 16<<20, 16<<20
		}
		res.rowtype = append(res.rowtype, t)
	}
	return res
}

func (res *result) add(values []any) error {
	if res.rows > 0 {
		res.buf = append(res.buf, ',')
	}
	res.buf = append(res.buf, '[')
	for i, v := range values {
		if i > 0 {
			res.buf = append(res.buf, ',')
		}
		if v == nil {
			res.buf = append(res.buf, "null"...)
			continue
		}
		text, err := json.Marshal(res.cell(v, res.types[i].Type))
		if err != nil {
			return err
		}
		res.buf = append(res.buf, text...)
	}
	res.buf = append(res.buf, ']')
	res.rows++
	res.total++
	if res.inline == nil && res.rows == inlineRows || res.rows == chunkRows {
		return res.flush()
	}
	return nil
}

// flush moves the rows in hand to where they belong.
func (res *result) flush() error {
	if res.inline == nil {
		res.inline = append(append([]byte{'['}, res.buf...), ']')
		res.buf, res.rows = nil, 0
		return nil
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err == nil {
		_, err = z.Write(res.buf)
		err = errors.Join(err, z.Close())
	}
	if err != nil {
		return err
	}
	if res.held += b.Len(); res.held > maxResult {
		return &engine.Error{Kind: engine.Failed, Message: "the result is too large for the sandbox"}
	}
	res.chunks = append(res.chunks, chunk{rows: res.rows, size: len(res.buf), gzip: b.Bytes()})
	res.buf, res.rows = res.buf[:0], 0
	return nil
}

func (res *result) finish() error {
	if res.rows > 0 || res.inline == nil {
		return res.flush()
	}
	return nil
}

// cell words a value as the JSON format of results has it.
func (res *result) cell(v any, t engine.Type) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		if v {
			return "1"
		}
		return "0"
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case []byte:
		return strings.ToUpper(hex.EncodeToString(v))
	case time.Time:
		switch t {
		case engine.Date:
			days := v.Unix() / 86400
			if v.Unix()%86400 < 0 {
				days--
			}
			return strconv.FormatInt(days, 10)
		case engine.Time:
			return fmt.Sprintf("%d.%09d", v.Hour()*3600+v.Minute()*60+v.Second(), v.Nanosecond())
		case engine.TimestampTZ:
			_, offset := v.In(res.zone).Zone()
			return epoch(v) + " " + strconv.Itoa(offset/60+1440)
		}
		return epoch(v)
	}
	return fmt.Sprint(v)
}

// epoch prints a time as the driver reads it: seconds since 1970, rounded down, and the nanoseconds to add to them.
func epoch(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }

// chunk serves a part of a result to who has the key that came with it, as the storage behind the real service does.
func (s *Server) chunk(w http.ResponseWriter, r *http.Request) {
	id, number, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/chunks/"), "/")
	n, err := strconv.Atoi(number)
	s.mu.Lock()
	q := s.queries[id]
	s.mu.Unlock()
	if q == nil || err != nil || !q.chunkKey.Equal(secret.New(r.Header.Get(chunkKeyHeader))) {
		http.Error(w, "AccessDenied", http.StatusForbidden)
		return
	}
	select {
	case <-q.done:
	case <-r.Context().Done():
		panic(http.ErrAbortHandler) // an empty answer could still reach the caller that has just given up
	}
	if n < 0 || n >= len(q.chunks) {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(q.chunks[n].gzip)
}

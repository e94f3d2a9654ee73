package audit

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
)

// line is a record as a line of an export. The names are those of the API.
type line struct {
	Seq      int64             `json:"seq"`
	ID       string            `json:"id"`
	At       time.Time         `json:"at"`
	Actor    string            `json:"actor"`
	Action   Action            `json:"action"`
	Object   string            `json:"object"`
	Outcome  string            `json:"outcome"`
	Detail   map[string]string `json:"detail,omitempty"`
	Request  string            `json:"request_id,omitempty"`
	Writer   string            `json:"writer"`
	Position int64             `json:"position"`
	Prev     Hash              `json:"prev"`
	Hash     Hash              `json:"hash"`
}

// MarshalJSON returns r as an export holds it, without a line feed.
func (r Record) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(line{
		Seq: r.Seq, ID: r.ID, At: r.At, Actor: r.Actor, Action: r.Action, Object: r.Object, Outcome: r.Outcome, Detail: r.Detail,
		Request: r.Request, Writer: r.Writer, Position: r.Position, Prev: r.Prev, Hash: r.Hash,
	})
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// UnmarshalJSON reads what MarshalJSON wrote. A field that it does not know is an error: it would be in no hash.
func (r *Record) UnmarshalJSON(text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	var l line
	if err := dec.Decode(&l); err != nil {
		return err
	}
	*r = Record{
		Entry: Entry{ID: l.ID, At: l.At, Actor: l.Actor, Action: l.Action, Object: l.Object, Outcome: l.Outcome, Detail: l.Detail, Request: l.Request},
		Seq:   l.Seq, Writer: l.Writer, Position: l.Position, Prev: l.Prev, Hash: l.Hash,
	}
	return nil
}

// maxLine is how long a line of an export may be.
const maxLine = 4 << 20

// ReadExport calls add with each record of an export. It fails with the number of the line that is none, and of one that
// is not written as Exporter writes it: a name that comes twice, or in capitals, is read differently by different
// programs, and only one of them would have read what was hashed.
func ReadExport(r io.Reader, add func(Record)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	n := 0
	for lines.Scan() {
		n++
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var rec Record
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			return fmt.Errorf("line %d is no record: %w", n, err)
		}
		if text, err := rec.MarshalJSON(); err != nil || !bytes.Equal(text, lines.Bytes()) {
			return fmt.Errorf("line %d is not as it was exported: it was written anew by something else", n)
		}
		add(rec)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("line %d: %w", n+1, err)
	}
	if n == 0 {
		return errors.New("it is empty")
	}
	return nil
}

// CheckpointMessage is the message under which checkpoints go to the log, with the fields of a Head.
const CheckpointMessage = "audit checkpoint"

// ReadLog returns the checkpoints in a log of ours: JSON, one object a line. Other lines are passed over.
func ReadLog(r io.Reader) ([]Head, error) {
	var heads []Head
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() {
		if !bytes.Contains(lines.Bytes(), []byte(CheckpointMessage)) {
			continue
		}
		var entry struct {
			Message string `json:"msg"`
			Head
		}
		if err := json.Unmarshal(lines.Bytes(), &entry); err == nil && entry.Message == CheckpointMessage && entry.Position > 0 {
			heads = append(heads, entry.Head)
		}
	}
	return heads, lines.Err()
}

// Formats of an export.
const (
	JSONLines = "jsonl" // what ReadExport reads
	CSV       = "csv"   // for a spreadsheet; it cannot be verified
)

// Exporter writes records in one of the formats. It is not safe for concurrent use.
type Exporter struct {
	w    *bufio.Writer
	rows *csv.Writer // nil for lines of JSON
}

// NewExporter returns an Exporter that writes to w, or fault.Invalid for a format that does not exist.
func NewExporter(w io.Writer, format string) (*Exporter, error) {
	e := &Exporter{w: bufio.NewWriterSize(w, 64<<10)}
	switch format {
	case JSONLines:
		return e, nil
	case CSV:
		e.rows = csv.NewWriter(e.w)
		return e, e.rows.Write([]string{
			"seq", "at", "actor", "action", "object", "outcome", "detail", "request_id", "id", "writer", "position", "prev", "hash",
		})
	}
	return nil, fault.New(fault.Invalid, "There is no format %q of an export: use %s or %s.", format, JSONLines, CSV)
}

// Write writes one record.
func (e *Exporter) Write(r Record) error {
	if e.rows == nil {
		text, err := r.MarshalJSON()
		if err == nil {
			_, err = e.w.Write(append(text, '\n'))
		}
		return err
	}
	detail, err := json.Marshal(r.Detail)
	if err != nil {
		return err
	}
	if r.Detail == nil {
		detail = []byte("{}")
	}
	row := []string{
		strconv.FormatInt(r.Seq, 10), r.At.Format(time.RFC3339Nano), r.Actor, string(r.Action), r.Object, r.Outcome, string(detail), r.Request,
		r.ID, r.Writer, strconv.FormatInt(r.Position, 10), r.Prev.String(), r.Hash.String(),
	}
	for i, cell := range row {
		row[i] = inert(cell)
	}
	return e.rows.Write(row)
}

// inert keeps a spreadsheet from taking a cell for a formula: what people typed may be one.
func inert(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

// Flush writes what is held back.
func (e *Exporter) Flush() error {
	if e.rows != nil {
		e.rows.Flush()
		if err := e.rows.Error(); err != nil {
			return err
		}
	}
	return e.w.Flush()
}

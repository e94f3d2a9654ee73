package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Before is the chain of the records that were written before there were chains. Their hashes were not stored; the
// first checkpoint of every store that has such records holds the hash over them all.
const Before = "before"

// Hash is the SHA-256 of a record and everything before it in its chain. The zero Hash is that of the empty chain.
type Hash [sha256.Size]byte

// String returns h as 64 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText returns what String does.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what String returns.
func (h *Hash) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != len(h) {
		return fmt.Errorf("a hash has %d hexadecimal digits, not %d", hex.EncodedLen(len(h)), len(text))
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// Head is the end of a chain, or a place in one that somebody remembers as its end.
type Head struct {
	Writer   string `json:"writer"`   // names the chain
	Position int64  `json:"position"` // of the last record; the first has 1
	Hash     Hash   `json:"hash"`     // of that record
}

// Record is an Entry in its place in a chain.
type Record struct {
	Entry
	Seq      int64  // order in the store, over all chains; not part of the hash
	Writer   string // names the chain: one process, from one start to its end
	Position int64  // in the chain, from 1
	Prev     Hash   // of the record before it
	Hash     Hash   // of this one
}

// Next returns the record that puts e after h. e is made Normal.
func (h Head) Next(e Entry) Record {
	r := Record{Entry: e.Normal(), Writer: h.Writer, Position: h.Position + 1, Prev: h.Hash}
	r.Hash = r.Sum(h.Hash)
	return r
}

// Head returns the end of the chain that r is the last record of.
func (r Record) Head() Head { return Head{Writer: r.Writer, Position: r.Position, Hash: r.Hash} }

// Sum returns the hash of r after prev. Seq, Prev and Hash of r do not count.
func (r Record) Sum(prev Hash) Hash {
	var room [1024]byte // for what most records are, so that it need not be made
	return sha256.Sum256(r.encode(append(room[:0], prev[:]...)))
}

// encoding is what every encoded record begins with. Another encoding gets another name.
const encoding = "behalf audit record 1"

// encode appends the canonical encoding of r to b: one way of writing a record down, and no other record with the same
// bytes. It is a sequence of fields, in this order; docs/explanation/audit.md shows it to those who check with tools
// of their own.
//
//	text      its length in bytes, 8 bytes, big-endian; then the bytes
//	number    8 bytes, big-endian, two's complement
//
//	text   "behalf audit record 1"
//	text   writer
//	number position
//	text   id
//	number time, in milliseconds since 1970 UTC
//	text   actor, action, object, outcome, request
//	number how many details there are; then, sorted by the bytes of their names,
//	text   name and value of each
func (r Record) encode(b []byte) []byte {
	text := func(s string) {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	number := func(n int64) { b = binary.BigEndian.AppendUint64(b, uint64(n)) }
	text(encoding)
	text(r.Writer)
	number(r.Position)
	text(r.ID)
	number(r.At.UnixMilli())
	for _, s := range []string{r.Actor, string(r.Action), r.Object, r.Outcome, r.Request} {
		text(s)
	}
	number(int64(len(r.Detail)))
	names := slices.AppendSeq(make([]string, 0, 8), maps.Keys(r.Detail))
	slices.Sort(names)
	for _, name := range names {
		text(name)
		text(r.Detail[name])
	}
	return b
}

// CheckpointOf returns the entry of a checkpoint in the chain of writer that knows the ends of other chains.
func CheckpointOf(writer string, others []Head) Entry {
	e := Entry{Actor: "system", Action: Checkpoint, Object: writer, Outcome: "ok", Detail: make(map[string]string, len(others))}
	for _, h := range others {
		e.Detail[h.Writer] = strconv.FormatInt(h.Position, 10) + ":" + h.Hash.String()
	}
	return e
}

// carried returns the heads in the checkpoint r, in the order of their writers.
func (r Record) carried() ([]Head, error) {
	var heads []Head
	for writer, value := range r.Detail {
		position, hash, _ := strings.Cut(value, ":")
		h := Head{Writer: writer}
		var err error
		if h.Position, err = strconv.ParseInt(position, 10, 64); err == nil {
			err = h.Hash.UnmarshalText([]byte(hash))
		}
		if err != nil {
			return nil, fmt.Errorf("what it says of chain %s cannot be read: %w", writer, err)
		}
		heads = append(heads, h)
	}
	slices.SortFunc(heads, func(a, b Head) int { return strings.Compare(a.Writer, b.Writer) })
	return heads, nil
}

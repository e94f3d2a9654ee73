package audit

import (
	"fmt"
	"slices"
	"testing"
)

// braid is what three processes recorded, with checkpoints between.
type braid struct {
	records []Record
	heads   map[string]Head
	carried map[string]int64
}

func (b *braid) add(writer, object string) {
	h, begun := b.heads[writer]
	if !begun {
		h.Writer = writer
	}
	e := Entry{ID: fmt.Sprintf("aud_%d", len(b.records)+1), At: noon, Actor: "usr_1", Action: GrantCreated, Object: object, Outcome: "ok"}
	if object == "checkpoint" {
		var others []Head
		for _, name := range []string{"A", "B", "C"} {
			if o := b.heads[name]; name != writer && o.Position > b.carried[name] {
				others = append(others, o)
				b.carried[name] = o.Position
			}
		}
		at := e
		e = CheckpointOf(writer, others)
		e.ID, e.At = at.ID, at.At
	}
	r := h.Next(e)
	r.Seq = int64(len(b.records) + 1)
	b.records = append(b.records, r)
	b.heads[writer] = r.Head()
}

func newBraid() *braid {
	b := &braid{heads: map[string]Head{}, carried: map[string]int64{}}
	for _, writer := range []string{"A", "B", "C"} {
		b.add(writer, "checkpoint")
	}
	for round := range 3 {
		for i, writer := range []string{"A", "B", "C", "A", "A"} {
			b.add(writer, fmt.Sprintf("%s%d%d", writer, round, i))
		}
		b.add("B", "checkpoint")
	}
	b.add("A", "last of A")
	return b
}

func (b *braid) ends() []Head {
	var heads []Head
	for _, name := range []string{"A", "B", "C"} {
		if h, ok := b.heads[name]; ok {
			heads = append(heads, h)
		}
	}
	return heads
}

// at returns the index of a record.
func (b *braid) at(writer string, position int64) int {
	return slices.IndexFunc(b.records, func(r Record) bool { return r.Writer == writer && r.Position == position })
}

// rechain computes the chain of a writer anew, as somebody would who hides a change.
func (b *braid) rechain(writer string) {
	h := Head{Writer: writer}
	for i := range b.records {
		if r := &b.records[i]; r.Writer == writer {
			seq := r.Seq
			*r = h.Next(r.Entry)
			r.Seq = seq
			h = r.Head()
		}
	}
	b.heads[writer] = h
}

// remove removes the records of a writer from a position on.
func (b *braid) remove(writer string, from, to int64) {
	b.records = slices.DeleteFunc(b.records, func(r Record) bool { return r.Writer == writer && r.Position >= from && r.Position <= to })
}

func TestTheFirstBadRecordIsNamed(t *testing.T) {
	last := newBraid().heads["A"] // position 11; B knows A up to 10
	const end = 1 << 30
	for _, tt := range []struct {
		name     string
		tamper   func(*braid)
		kept     []Head
		writer   string
		position int64
		reason   Reason // empty: it cannot be found
	}{
		{name: "nothing", tamper: func(*braid) {}, kept: []Head{last, {Hash: last.Hash}}},
		{"an edited record", func(b *braid) { b.records[b.at("A", 5)].Actor = "usr_2" }, nil, "A", 5, Altered},
		{"a removed record", func(b *braid) { b.remove("A", 5, 5) }, nil, "A", 5, Missing},
		{"several removed records", func(b *braid) { b.remove("A", 5, 7) }, nil, "A", 5, Missing},
		{"the removed beginning of a chain", func(b *braid) { b.remove("A", 1, 2) }, nil, "A", 1, Missing},
		{"two records that changed places", func(b *braid) {
			i, j := b.at("A", 5), b.at("A", 6)
			b.records[i], b.records[j] = b.records[j], b.records[i]
		}, nil, "A", 5, Missing},
		{"two records that changed contents", func(b *braid) {
			i, j := b.at("A", 5), b.at("A", 6)
			b.records[i].Entry, b.records[j].Entry = b.records[j].Entry, b.records[i].Entry
		}, nil, "A", 5, Altered},
		{"a repeated record", func(b *braid) { b.records = slices.Insert(b.records, b.at("A", 6), b.records[b.at("A", 5)]) }, nil, "A", 5, OutOfOrder},
		{"a record from another chain", func(b *braid) { b.records[b.at("A", 3)].Writer = "C" }, nil, "C", 3, Altered},
		{"an inserted record that fits where it was put", func(b *braid) {
			r := b.records[b.at("A", 4)].Head().Next(Entry{ID: "aud_x", At: noon, Action: GrantCreated})
			b.records = slices.Insert(b.records, b.at("A", 5), r)
		}, nil, "A", 5, OutOfOrder},
		{"an edited record with its hash computed anew", func(b *braid) {
			r := &b.records[b.at("A", 5)]
			r.Actor = "usr_2"
			r.Hash = r.Sum(r.Prev)
		}, nil, "A", 5, Replaced},
		{"an edited record and the whole chain computed anew", func(b *braid) {
			b.records[b.at("A", 3)].Actor = "usr_2"
			b.rechain("A")
		}, nil, "A", 4, Replaced}, // the first that a checkpoint knows
		{"a cut tail", func(b *braid) { b.remove("A", 11, end) }, nil, "A", 11, TailCut},
		{"a cut tail, with the store's own note of it changed", func(b *braid) {
			b.remove("A", 8, end)
			b.heads["A"] = b.records[b.at("A", 7)].Head()
		}, nil, "A", 8, TailCut},
		{"a tail cut to the last checkpoint, with the store's own note changed", func(b *braid) {
			b.remove("A", 11, end)
			b.heads["A"] = b.records[b.at("A", 10)].Head()
		}, nil, "", 0, ""},
		{"the same, and the log was asked", func(b *braid) {
			b.remove("A", 11, end)
			b.heads["A"] = b.records[b.at("A", 10)].Head()
		}, []Head{last}, "A", 11, HeadUnknown},
		{"the same, and somebody kept the hash", func(b *braid) {
			b.remove("A", 11, end)
			b.heads["A"] = b.records[b.at("A", 10)].Head()
		}, []Head{{Hash: last.Hash}}, "", 0, HeadUnknown},
		{"a removed chain", func(b *braid) { b.remove("C", 1, end) }, nil, "C", 0, ChainGone},
		{"a removed chain, with the store's own note removed", func(b *braid) {
			b.remove("C", 1, end)
			delete(b.heads, "C")
		}, nil, "C", 0, ChainGone},
		{"a chain of somebody else", func(b *braid) { b.add("X", "checkpoint") }, nil, "X", 1, Unknown},
		{"a record of somebody else at the end", func(b *braid) {
			b.records = append(b.records, b.heads["A"].Next(Entry{ID: "aud_x", At: noon, Action: GrantCreated}))
		}, nil, "A", 12, Unknown},
		{"an older copy of everything", func(b *braid) {
			b.records = b.records[:8]
			b.heads = map[string]Head{}
			for _, r := range b.records {
				b.heads[r.Writer] = r.Head()
			}
		}, []Head{last}, "A", 11, HeadUnknown},
		{"everything is gone", func(b *braid) { b.records, b.heads = nil, map[string]Head{} }, []Head{last}, "A", 11, HeadUnknown},
		{"a checkpoint that says something else", func(b *braid) {
			r := &b.records[b.at("B", 3)]
			r.Detail = map[string]string{"A": "4:" + Hash{}.String()}
			b.rechain("B")
		}, nil, "A", 4, Replaced},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBraid()
			tt.tamper(b)
			v := NewVerifier(tt.kept...)
			for _, r := range b.records {
				v.Add(r)
			}
			got := v.Report(append([]Head{}, b.ends()...))
			if tt.reason == "" {
				if !got.Intact() {
					t.Fatalf("breaks = %+v, want none", got.Breaks)
				}
				return
			}
			if got.Intact() {
				t.Fatalf("it is called intact, want %s at %s %d", tt.reason, tt.writer, tt.position)
			}
			if first := got.Breaks[0]; first.Reason != tt.reason || first.Writer != tt.writer || first.Position != tt.position || first.Detail == "" {
				t.Errorf("the first break is %+v, want %s at %s %d", first, tt.reason, tt.writer, tt.position)
			}
		})
	}
}

// Records from before there were chains have no hash of their own to be wrong: the first checkpoint holds it.
func TestRecordsFromBeforeAreThoseThatACheckpointKnows(t *testing.T) {
	for _, tt := range []struct {
		name     string
		tamper   func([]Record, *Head) []Record
		position int64
		reason   Reason
	}{
		{"nothing", func(r []Record, _ *Head) []Record { return r }, 0, ""},
		{"no checkpoint yet", func(r []Record, _ *Head) []Record { return r[:3] }, 0, ""},
		{"an edited record", func(r []Record, _ *Head) []Record { r[1].Actor = "usr_2"; return r }, 3, Replaced},
		{"a removed record", func(r []Record, _ *Head) []Record { return append(r[:1:1], r[2:]...) }, 2, Missing},
		{"a cut tail", func(r []Record, h *Head) []Record { h.Position = 2; return append(r[:2:2], r[3:]...) }, 3, TailCut},
		{"a record more, and the store's own note changed", func(r []Record, h *Head) []Record {
			h.Position = 4
			return append(r, Record{Entry: Entry{ID: "aud_x", At: noon, Action: GrantRevoked}, Writer: Before, Position: 4})
		}, 4, Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var records []Record
			head := Head{Writer: Before}
			for i := range 3 {
				r := head.Next(Entry{ID: fmt.Sprintf("aud_%d", i), At: noon, Actor: "usr_1", Action: GrantCreated})
				head = r.Head()
				r.Prev, r.Hash = Hash{}, Hash{} // they were not stored
				records = append(records, r)
			}
			first := CheckpointOf("A", []Head{head})
			first.ID, first.At = "aud_c", noon
			r := (Head{Writer: "A"}).Next(first)
			note := Head{Writer: Before, Position: 3}
			records = tt.tamper(append(records, r), &note)
			ends := []Head{r.Head(), note}
			if tt.name == "no checkpoint yet" {
				ends = ends[1:]
			}
			v := NewVerifier()
			for _, r := range records {
				v.Add(r)
			}
			got := v.Report(ends)
			if tt.reason == "" {
				if !got.Intact() {
					t.Errorf("breaks = %+v, want none", got.Breaks)
				}
				return
			}
			if got.Intact() || got.Breaks[0].Reason != tt.reason || got.Breaks[0].Position != tt.position || got.Breaks[0].Writer != Before {
				t.Errorf("breaks = %+v, want %s at %d", got.Breaks, tt.reason, tt.position)
			}
		})
	}
}

func TestTheReportNamesTheEndsThatOnlyTheLogKnows(t *testing.T) {
	b := newBraid()
	v := NewVerifier()
	for _, r := range b.records {
		v.Add(r)
	}
	got := v.Report(nil)
	if !got.Intact() || got.Records != int64(len(b.records)) || got.Chains != 3 || got.Last != int64(len(b.records)) {
		t.Errorf("Report = %+v, want %d records of 3 chains, and nothing found", got, len(b.records))
	}
	// C's last record and A's are in B's last checkpoint, but for the one that A wrote after it. B's own end is in none.
	if want := []Head{b.heads["A"], b.heads["B"]}; !slices.Equal(got.Ends, want) {
		t.Errorf("Ends = %v, want %v", got.Ends, want)
	}
}

func TestACheckpointMayNameARecordThatOthersFollowed(t *testing.T) {
	b := newBraid()
	known := b.heads["A"]
	for i := range 1000 { // while the checkpoint was committed
		b.add("A", fmt.Sprint(i))
	}
	e := CheckpointOf("B", []Head{known})
	e.ID, e.At = "aud_late", noon
	b.records = append(b.records, b.heads["B"].Next(e))
	v := NewVerifier()
	for _, r := range b.records {
		v.Add(r)
	}
	if got := v.Report(nil); !got.Intact() {
		t.Errorf("breaks = %+v, want none", got.Breaks)
	}
}

package audit

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Reason is what is wrong with a record or a chain.
type Reason string

// The reasons.
const (
	Altered     Reason = "altered"      // its content is not what its hash was made of
	Replaced    Reason = "replaced"     // it is whole, but another one stood there
	Missing     Reason = "missing"      // it was removed
	OutOfOrder  Reason = "out_of_order" // it was repeated, inserted or moved
	TailCut     Reason = "tail_cut"     // the end of the chain was removed
	ChainGone   Reason = "chain_gone"   // all of the chain was removed
	Unknown     Reason = "unknown"      // the store does not know the chain, or so much of it: it was put there
	HeadUnknown Reason = "head_unknown" // a hash that somebody kept is in no chain
)

// Break is a place where a chain is broken.
type Break struct {
	Reason   Reason `json:"reason"`
	Writer   string `json:"writer,omitempty"`
	Position int64  `json:"position,omitempty"` // of the bad record in its chain; 0 when that is not known
	ID       string `json:"id,omitempty"`       // of the bad record, if it is there
	Detail   string `json:"detail"`             // a sentence
}

// Report is the outcome of a verification.
type Report struct {
	Records int64   // looked at
	Chains  int     // found
	Last    int64   // Seq of the last record
	Breaks  []Break // the first bad record of each broken chain, in the order they were met; empty: all is intact

	// Ends are the ends of chains that no other chain's checkpoint knows, the newest last. Nothing in the store would
	// tell if they were cut off together: the log does, and so does whoever keeps them for the next verification.
	Ends []Head
}

// Intact reports whether nothing was found.
func (r Report) Intact() bool { return len(r.Breaks) == 0 }

// recall is how many records a Verifier remembers the hashes of. A checkpoint may name a record that a few others of
// the same chain have followed meanwhile: those of the time that its transaction took, which is at most 10 s.
const recall = 1 << 16

// Verifier checks records as they pass, in the order of their Seq. It needs memory for the chains, not for the records.
// It is not safe for concurrent use.
type Verifier struct {
	chains  map[string]*progress
	names   []string       // of the chains, in the order they were met
	recent  [recall]place  // the last that passed
	hashes  map[place]Hash // of recent
	kept    map[Hash]Head  // what the caller knows and has not been met yet
	records int64
	seq     int64
	breaks  []Break
}

// place is where a record stands.
type place struct {
	chain    *progress
	position int64
}

// progress is how far a chain has been followed.
type progress struct {
	Head
	broken  bool
	at      int   // in breaks
	carried int64 // up to where the checkpoints of others know it
}

// NewVerifier returns a Verifier that also looks for the kept heads. Of a head that is only a hash, Writer is empty.
func NewVerifier(kept ...Head) *Verifier {
	v := &Verifier{chains: map[string]*progress{}, hashes: map[place]Hash{}, kept: map[Hash]Head{}}
	for _, h := range kept {
		v.kept[h.Hash] = h
	}
	return v
}

// Add checks the next record.
func (v *Verifier) Add(r Record) {
	v.records++
	v.seq = r.Seq
	c := v.chains[r.Writer]
	if c == nil {
		c = &progress{Head: Head{Writer: r.Writer}}
		v.chains[r.Writer] = c
		v.names = append(v.names, r.Writer)
	}
	if c.broken {
		if b := &v.breaks[c.at]; b.Reason == TailCut || b.Reason == ChainGone { // it goes on after all
			*b = missing(c, r)
		}
		return
	}
	sum := r.Sum(r.Prev)
	if r.Writer == Before {
		r.Prev = c.Hash
		sum = r.Sum(c.Hash)
		r.Hash = sum
	}
	switch {
	case r.Position > c.Position+1:
		v.fail(c, missing(c, r))
	case r.Position <= c.Position:
		v.fail(c, Break{Reason: OutOfOrder, Position: r.Position, ID: r.ID,
			Detail: fmt.Sprintf("It comes after position %d: it was inserted, repeated or moved.", c.Position)})
	case sum != r.Hash:
		v.fail(c, Break{Reason: Altered, Position: r.Position, ID: r.ID, Detail: "What it says is not what was recorded: its hash differs."})
	case r.Prev != c.Hash && c.Position == 0:
		v.fail(c, Break{Reason: Replaced, Position: r.Position, ID: r.ID, Detail: "It is not the beginning of a chain: it was recorded after another one."})
	case r.Prev != c.Hash:
		v.fail(c, Break{Reason: Replaced, Position: c.Position,
			Detail: fmt.Sprintf("It is not the one that stood there when position %d (%s) was recorded.", r.Position, r.ID)})
	default:
		v.pass(c, r)
	}
}

// missing says that there is nothing between the end of c and r.
func missing(c *progress, r Record) Break {
	return Break{Reason: Missing, Writer: c.Writer, Position: c.Position + 1,
		Detail: fmt.Sprintf("It was removed: after position %d comes %d (%s).", c.Position, r.Position, r.ID)}
}

// pass goes on with a record that fits.
func (v *Verifier) pass(c *progress, r Record) {
	c.Head = r.Head()
	at := &v.recent[v.records%recall]
	delete(v.hashes, *at)
	*at = place{c, r.Position}
	v.hashes[*at] = r.Hash
	if h, ok := v.kept[r.Hash]; ok && (h.Writer == "" || h.Writer == r.Writer && h.Position == r.Position) {
		delete(v.kept, r.Hash)
	}
	if r.Action != Checkpoint {
		return
	}
	heads, err := r.carried()
	if err != nil {
		v.fail(c, Break{Reason: Altered, Position: r.Position, ID: r.ID, Detail: "It is no checkpoint: " + err.Error() + "."})
		return
	}
	for _, h := range heads {
		v.compare(h, r)
	}
}

// compare checks a chain against what the checkpoint r knows of it.
func (v *Verifier) compare(h Head, r Record) {
	by := fmt.Sprintf("position %d of chain %s (%s)", r.Position, r.Writer, r.ID)
	c := v.chains[h.Writer]
	switch {
	case c == nil:
		c = &progress{Head: Head{Writer: h.Writer}}
		v.chains[h.Writer] = c
		v.fail(c, Break{Reason: ChainGone, Detail: fmt.Sprintf("The whole chain was removed: it had %d records when %s was recorded.", h.Position, by)})
	case c.broken:
	case c.Position < h.Position:
		v.fail(c, Break{Reason: TailCut, Position: c.Position + 1,
			Detail: fmt.Sprintf("It and what followed were removed: the chain had %d records when %s was recorded.", h.Position, by)})
	default:
		if hash, ok := v.hashAt(c, h.Position); !ok || hash != h.Hash {
			v.fail(c, Break{Reason: Replaced, Position: h.Position,
				Detail: fmt.Sprintf("It is not the one that stood there when %s was recorded: the chain was written anew.", by)})
			return
		}
		c.carried = max(c.carried, h.Position)
	}
}

// hashAt returns the hash of a record that has passed lately.
func (v *Verifier) hashAt(c *progress, position int64) (Hash, bool) {
	if c.Position == position {
		return c.Hash, true
	}
	hash, ok := v.hashes[place{c, position}]
	return hash, ok
}

func (v *Verifier) fail(c *progress, b Break) {
	c.broken, c.at = true, len(v.breaks)
	b.Writer = c.Writer
	v.breaks = append(v.breaks, b)
}

// Report ends the verification.
//
// heads are the ends that the store itself has written down, all of them; nil where nobody has, as in an export. A
// chain that reaches not as far was cut, and one that reaches further, or that is not there, was not written by the
// store.
func (v *Verifier) Report(heads []Head) Report {
	if heads != nil {
		v.compareEnds(heads)
	}
	if c := v.chains[Before]; c != nil && !c.broken && c.carried < c.Position && len(v.names) > 1 {
		// The first checkpoint there was held all of them, and no more have come since.
		v.fail(c, Break{Reason: Unknown, Position: c.carried + 1, Detail: "It was put there by somebody else: no checkpoint knows it."})
	}
	for _, h := range slices.SortedFunc(maps.Values(v.kept), func(a, b Head) int { return strings.Compare(a.Hash.String(), b.Hash.String()) }) {
		b := Break{Reason: HeadUnknown, Writer: h.Writer, Position: h.Position,
			Detail: "The hash " + h.Hash.String() + ", which was kept, is in no intact chain: records were removed or replaced, or this is an older copy."}
		if c := v.chains[h.Writer]; c == nil || !c.broken {
			v.breaks = append(v.breaks, b)
		}
	}
	report := Report{Records: v.records, Chains: len(v.names), Last: v.seq, Breaks: v.breaks}
	for _, name := range v.names {
		if c := v.chains[name]; !c.broken && c.carried < c.Position && name != Before {
			report.Ends = append(report.Ends, c.Head)
		}
	}
	return report
}

func (v *Verifier) compareEnds(heads []Head) {
	known := map[string]bool{}
	for _, h := range heads {
		known[h.Writer] = true
		c := v.chains[h.Writer]
		switch {
		case h.Position == 0: // begun, and never used
		case c == nil:
			v.fail(&progress{Head: Head{Writer: h.Writer}}, Break{Reason: ChainGone,
				Detail: fmt.Sprintf("The whole chain was removed: the store knows of %d records.", h.Position)})
		case c.broken:
		case c.Position < h.Position:
			v.fail(c, Break{Reason: TailCut, Position: c.Position + 1,
				Detail: fmt.Sprintf("It and what followed were removed: the store knows of %d records of this chain.", h.Position)})
		case c.Position > h.Position:
			v.fail(c, Break{Reason: Unknown, Position: h.Position + 1,
				Detail: fmt.Sprintf("It was put there by somebody else: the store knows of %d records of this chain.", h.Position)})
		case c.Hash != h.Hash && !(h.Writer == Before && h.Hash == Hash{}):
			v.fail(c, Break{Reason: Replaced, Position: h.Position, Detail: "It is not the last one that the store remembers."})
		}
	}
	for _, name := range v.names {
		if c := v.chains[name]; !known[name] && !c.broken {
			v.fail(c, Break{Reason: Unknown, Position: 1, Detail: "The whole chain was put there by somebody else: the store does not know it."})
		}
	}
}

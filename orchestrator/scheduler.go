package orchestrator

import (
	"container/list"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/caps"
	"github.com/behalf-project/behalf/internal/fault"
)

// class is how urgent a statement is. Nothing of a later class starts while one of an earlier class could.
type class int

const (
	interactive class = iota // somebody waits for it
	background               // a result is renewed before anybody asks
	classes
)

// scheduler gives out the slots of one source. Everybody who waits has a line of their own, and the lines take turns:
// who has a thousand statements waiting gets every second slot when one other person has one. Where several replicas share the
// caps of the source, this one gives out its share of each.
type scheduler struct {
	source      driverfactory.Source // in its newest revision
	caps        *caps.Caps           // nil: all of them are this process's
	concurrency int
	perUser     int
	perLine     int

	running int
	lines   map[driverfactory.Principal]*line
	turns   [classes]list.List // lines with waiting statements, the next first
}

// line is one person's statements at one source. All who ask without a name share one: they take their turn like one
// person, but what is a limit of one person is none of theirs.
type line struct {
	who     driverfactory.Principal
	running int
	waiting [classes]list.List // flights, the oldest first
	turn    [classes]*list.Element
}

// defaultConcurrency is how many statements at once a type of source is given (orchestrator.md §2.3).
func defaultConcurrency(sourceType string) int {
	switch sourceType {
	case "postgres", "mysql", "trino":
		return 2
	case "duckdb":
		return 4
	case "snowflake":
		return 8
	case "databricks", "bigquery", "clickhouse":
		return 10
	}
	return 5
}

// configure takes the limits of src, unless a newer revision's are in force.
func (s *scheduler) configure(src driverfactory.Source) {
	if s.lines != nil && src.Rev < s.source.Rev {
		return
	}
	if s.lines == nil {
		s.lines = map[driverfactory.Principal]*line{}
	}
	s.source, s.concurrency, s.perUser, s.perLine =
		src, src.Limits.Concurrency, src.Limits.PerUserConcurrency, src.Limits.PerUserQueue
	orDefault(&s.concurrency, defaultConcurrency(src.Type))
	orDefault(&s.perUser, 2)
	orDefault(&s.perLine, 100)
}

// add puts f at the end of who's line, or refuses when that is full.
func (s *scheduler) add(who driverfactory.Principal, f *flight) error {
	l := s.lines[who]
	if l == nil {
		l = &line{who: who}
		s.lines[who] = l
	}
	if n := l.waiting[interactive].Len() + l.waiting[background].Len(); n >= s.perLine && !who.Anonymous() {
		return &fault.Error{
			Kind: fault.TooMany, Code: "too_many_queued", RetryAfter: 10 * time.Second,
			Detail: "Too many queued queries: " + count(n, "of yours is", "of yours are") + " waiting for " + s.source.Name +
				" already. Wait until some have ended.",
			Params: map[string]string{"data_source": s.source.Name},
		}
	}
	f.line = l
	s.enqueue(f)
	return nil
}

func (s *scheduler) enqueue(f *flight) {
	l := f.line
	f.place = l.waiting[f.class].PushBack(f)
	if l.turn[f.class] == nil {
		l.turn[f.class] = s.turns[f.class].PushBack(l)
	}
}

// promote moves a waiting f from the background to where somebody waits for it.
func (s *scheduler) promote(f *flight) {
	if f.place != nil && f.class != interactive {
		s.unqueue(f)
		f.class = interactive
		s.enqueue(f)
	}
}

// cap names the cap of the source on statements at once, or, with who, that of one person there.
func (s *scheduler) cap(who driverfactory.Principal) caps.Key {
	return caps.Key{Kind: caps.Statements, Domain: s.source.Domain, Source: s.source.Name, Principal: who}
}

// counts returns what runs and waits, of the source and of everybody. A statement that waits for its person's turn does not wait
// for the source: who may not run anything takes nothing from those who may.
func (s *scheduler) counts() []caps.Count {
	all, ready := make([]caps.Count, 1, 1+len(s.lines)), 0
	for _, l := range s.lines {
		waiting := l.waiting[interactive].Len() + l.waiting[background].Len()
		if l.who.Anonymous() {
			ready += waiting
			continue
		}
		key := s.cap(l.who)
		all = append(all, caps.Count{Key: key, Cap: s.perUser, Uses: l.running, Wants: l.running + waiting})
		ready += min(waiting, max(s.caps.Allowed(key, s.perUser)-l.running, 0))
	}
	all[0] = caps.Count{Key: s.cap(driverfactory.Principal{}), Cap: s.concurrency, Uses: s.running, Wants: s.running + ready}
	return all
}

// next takes the statement whose turn it is out of its line and gives it a slot; nil when there is none to give or
// nobody to take it. At most concurrency lines are at their limit, so it looks at no more than that many in vain, and at those
// that wait for their person's share.
func (s *scheduler) next() *flight {
	if s.running >= s.caps.Allowed(s.cap(driverfactory.Principal{}), s.concurrency) {
		return nil
	}
	for c := range classes {
		for el := s.turns[c].Front(); el != nil; el = el.Next() {
			l := el.Value.(*line)
			if !l.who.Anonymous() && !s.caps.Take(s.cap(l.who), s.perUser, l.running) {
				continue
			}
			if !s.caps.Take(s.cap(driverfactory.Principal{}), s.concurrency, s.running) {
				return nil // the lease has ended in this moment
			}
			f := l.waiting[c].Front().Value.(*flight)
			s.turns[c].MoveToBack(el)
			s.running++
			l.running++ // before unqueue, which would forget a line with nothing in it
			s.unqueue(f)
			return f
		}
	}
	return nil
}

// unqueue takes a waiting f out of its line, and the line out of the turns when it was the last.
func (s *scheduler) unqueue(f *flight) {
	l := f.line
	l.waiting[f.class].Remove(f.place)
	f.place = nil
	if l.waiting[f.class].Len() == 0 {
		s.turns[f.class].Remove(l.turn[f.class])
		l.turn[f.class] = nil
	}
	s.leave(l)
}

// done gives the slot of f back.
func (s *scheduler) done(f *flight) {
	s.running--
	f.line.running--
	s.leave(f.line)
}

// leave forgets l when nothing of it runs or waits.
func (s *scheduler) leave(l *line) {
	if l.running == 0 && l.waiting[interactive].Len() == 0 && l.waiting[background].Len() == 0 {
		delete(s.lines, l.who)
	}
}

// ahead returns how many waiting statements get their slot before f, if everybody's take equally long.
func (s *scheduler) ahead(f *flight) int {
	n := 0
	if f.class == background {
		for el := s.turns[interactive].Front(); el != nil; el = el.Next() {
			n += el.Value.(*line).waiting[interactive].Len()
		}
	}
	own := 0
	for el := f.line.waiting[f.class].Front(); el != nil && el != f.place; el = el.Next() {
		own++
	}
	// In the turns before f's, a line in front of its own has one more than one behind.
	turns := own + 1
	for el := s.turns[f.class].Front(); el != nil; el = el.Next() {
		l := el.Value.(*line)
		if l == f.line {
			turns = own
			continue
		}
		n += min(l.waiting[f.class].Len(), turns)
	}
	return n + own
}

// empty reports whether nothing runs or waits.
func (s *scheduler) empty() bool { return s.running == 0 && len(s.lines) == 0 }

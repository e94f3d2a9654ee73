package orchestrator

import "github.com/behalf-project/behalf/internal/caps"

// slots are the Orchestrators as a part that uses caps on statements.
type slots struct{ o *Orchestrators }

// Count implements caps.Part.
func (s slots) Count(use func([]caps.Count)) {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	var all []caps.Count
	for _, sched := range s.o.lines {
		if sched.caps != nil {
			all = append(all, sched.counts()...)
		}
	}
	use(all)
}

// Resume implements caps.Part.
func (s slots) Resume() {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	for _, sched := range s.o.lines {
		s.o.dispatch(sched)
	}
}

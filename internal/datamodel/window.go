package datamodel

import "slices"

// Window says which rows a measure with a rolling window is over, seen from a bucket of time (cube-data-model.md §12.7).
type Window struct {
	ToDate   string // the granularity whose start the window begins at; it ends with the bucket. Or "", and then:
	Trailing Edge   // back from where the window stands
	Leading  Edge   // and forth
	Start    bool   // it stands at the start of the bucket, which it does not hold, and else at its end
}

// Edge is how far a window goes.
type Edge struct {
	Unbounded bool
	Interval  Interval
}

// window returns a reader of a rolling_window.
func (l *loader) window(to **Window) func(*node) {
	return func(n *node) {
		var (
			w           = &Window{}
			kind, where string
		)
		if n.kind != mapping {
			l.fail(n.pos, n.text, "rolling_window is a mapping with the keys trailing, leading and offset, or type and granularity")
			return
		}
		*to = w
		l.mapping(n, keys{of: "a rolling window", read: map[string]func(*node){
			"type":     oneOf(l, &kind, "type", map[string]string{"fixed": "fixed", "to_date": "to_date", "toDate": "to_date"}),
			"trailing": l.edge(&w.Trailing), "leading": l.edge(&w.Leading), "granularity": l.text(&w.ToDate),
			"offset": oneOf(l, &where, "offset", map[string]string{"start": "start", "end": "end"}),
		}})
		w.Start = where == "start"
		fixed := slices.ContainsFunc([]string{"trailing", "leading", "offset"}, func(key string) bool { return n.field(key) != nil })
		switch {
		case kind == "to_date" && (w.ToDate == "" || fixed):
			l.fail(n.pos, "", "a rolling window of type to_date has a granularity, and no trailing, leading and offset")
		case kind != "to_date" && w.ToDate != "":
			l.fail(n.pos, "", "a rolling window with a granularity is of type to_date")
		case kind != "to_date" && n.field("trailing") == nil && n.field("leading") == nil:
			l.fail(n.pos, "", "a rolling window needs trailing or leading, such as trailing: 7 day")
		}
	}
}

func (l *loader) edge(to *Edge) func(*node) {
	return func(n *node) {
		var ok bool
		switch to.Interval, ok = interval(n.text); {
		case n.scalar() && n.text == "unbounded":
			*to = Edge{Unbounded: true}
		case !n.scalar() || !ok:
			l.fail(n.pos, n.text, "how far a rolling window goes is a number and a unit from second to year, such as 7 day, or unbounded")
		}
	}
}

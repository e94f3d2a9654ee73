package datamodel

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/query"
)

// RefreshKey says when the source of a cube, or a pre-aggregation, has changed (cube-data-model.md §18): when a value that SQL
// returns does, or, without SQL, when a period of time is over. The zero RefreshKey says nothing.
type RefreshKey struct {
	SQL      *Template      // nil unless given
	Every    time.Duration  // how long a value of SQL is good, or the length of a period; zero when the model does not say
	Phase    time.Duration  // of a cron expression: from the start of a day, or of a Thursday, to that of a period
	Zone     *time.Location // whose days and weeks those are; nil for the query's
	Position Position

	// Of a pre-aggregation.
	Immutable    bool     // what is built stays good
	Incremental  bool     // so do partitions that ended longer than UpdateWindow ago
	UpdateWindow Interval //
}

// Since returns the start of the period that now is in. A query in a zone whose key names none counts the days of that
// zone. It is for keys without SQL and with Every.
func (k RefreshKey) Since(now time.Time, zone *time.Location) time.Time {
	if k.Zone != nil {
		zone = k.Zone
	}
	now = now.In(zone)
	_, offset := now.Zone()
	wall := now.Unix() + int64(offset) // seconds at the wall since a Thursday
	phase, every := int64(k.Phase/time.Second), int64(k.Every/time.Second)
	past := (wall - phase) % every
	if past < 0 {
		past += every
	}
	start := now.Add(-time.Duration(past)*time.Second - time.Duration(now.Nanosecond()))
	if every < day {
		return start
	}
	// The clocks may have changed since: it is the wall that shows when a day begins.
	at := time.Unix(wall-past, 0).UTC()
	shown := time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), 0, zone)
	if shown.After(now) { // an hour that the clocks left out
		return start
	}
	return shown
}

// refreshKey reads the refresh_key of a cube or of a pre-aggregation.
func (l *loader) refreshKey(k *RefreshKey, n *node) {
	if n.kind != mapping {
		l.fail(n.pos, n.text, "refresh_key is a mapping, such as {every: 10 minutes}")
		return
	}
	k.Position = n.pos
	l.mapping(n, keys{of: "refresh_key", read: map[string]func(*node){
		"every": func(n *node) {
			var s string
			if l.text(&s)(n); s == "" {
				return
			}
			if problem := k.every(s); problem != "" {
				l.fail(n.pos, s, "%s", problem)
			}
		},
		"timezone": func(n *node) {
			var name string
			if l.text(&name)(n); name == "" {
				return
			}
			zone, err := query.Zone(name)
			if err != nil {
				l.fail(n.pos, name, "this is not an IANA time zone, such as America/Los_Angeles")
				return
			}
			k.Zone = zone
		},
		"sql":         l.template(&k.SQL),
		"immutable":   l.flag(&k.Immutable),
		"incremental": l.flag(&k.Incremental),
		"update_window": func(n *node) {
			var ok bool
			if k.UpdateWindow, ok = interval(n.text); !n.scalar() || !ok || k.UpdateWindow.Length() < 0 {
				l.fail(n.pos, n.text, "an update_window is a number and a unit from second to year, such as 7 day")
			}
		},
	}})
}

var everyUnits = map[string]time.Duration{
	"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour,
}

// every reads how often the key changes: "10 minutes", or a cron expression whose runs are equally far apart, which are
// in UTC unless the key has a zone. It returns what is wrong with it.
func (k *RefreshKey) every(s string) (problem string) {
	words := strings.Fields(s)
	switch len(words) {
	case 2:
		n, err := strconv.ParseUint(words[0], 10, 31)
		unit, ok := everyUnits[strings.TrimSuffix(words[1], "s")]
		if err != nil || !ok || n == 0 || n > 10_000 {
			return "an interval is a number and second, minute, hour, day or week, such as 10 minutes"
		}
		k.Every = time.Duration(n) * unit
		return ""
	case 5:
		words = append([]string{"0"}, words...)
	case 6:
	default:
		return "an interval is a number and a unit, such as 10 minutes, or a cron expression"
	}
	if k.Zone == nil {
		k.Zone = time.UTC
	}
	k.Every, k.Phase, problem = cron(words)
	if problem == unequal {
		problem = "Your cron string ('" + s + "') is correct, but we support only equal time intervals."
	}
	return problem
}

// cronFields are those of a cron expression whose values are equally far apart: their unit, and how many of it there are.
var cronFields = []struct {
	unit   time.Duration
	within int
}{{time.Second, 60}, {time.Minute, 60}, {time.Hour, 24}}

// weekdays are the names of the last field of a cron expression. Sunday is 7 too.
var weekdays = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}

// What cron may find wrong.
const (
	notCron = "this is not a cron expression"
	unequal = "unequal"
)

// cron returns how far apart the runs of a cron expression of six fields are, and how far the first is from the start of
// the day or, when there is one in a week, from that of Thursday, which 1 January 1970 was.
func cron(words []string) (interval, phase time.Duration, problem string) {
	for _, w := range words {
		if strings.Trim(strings.ToUpper(w), "0123456789-,/*?#ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			return 0, 0, notCron
		}
	}
	if words[3] != "*" && words[3] != "?" || words[4] != "*" {
		return 0, 0, unequal // a day of the month, or a month
	}
	weekday := words[5]
	daily := weekday == "*" || weekday == "?"
	for i, f := range cronFields {
		w := words[i]
		if n, err := strconv.Atoi(w); err == nil && n >= 0 {
			if n >= f.within {
				return 0, 0, notCron
			}
			phase += time.Duration(n) * f.unit
			continue
		}
		step := 1
		if w != "*" {
			n, err := strconv.Atoi(strings.TrimPrefix(w, "*/"))
			if err != nil || n < 1 || n > f.within || f.within%n != 0 {
				return 0, 0, unequal
			}
			step = n
		}
		for _, larger := range words[i+1 : 3] {
			if larger != "*" {
				return 0, 0, unequal // "* 8 * * *" runs each minute of one hour only
			}
		}
		if !daily {
			return 0, 0, unequal
		}
		return time.Duration(step) * f.unit, phase, ""
	}
	if daily {
		return 24 * time.Hour, phase, ""
	}
	n := slices.Index(weekdays, strings.ToUpper(weekday))
	if number, err := strconv.Atoi(weekday); err == nil && number >= 0 && number <= 7 {
		n = number % 7
	}
	if n < 0 {
		return 0, 0, unequal
	}
	return 7 * 24 * time.Hour, phase + time.Duration((n+3)%7)*24*time.Hour, ""
}

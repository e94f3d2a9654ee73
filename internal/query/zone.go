package query

import (
	"regexp"
	"strings"
	"sync"
	"time"
)

var zonePattern = regexp.MustCompile(`^[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+){0,2}$`)

// zones are the locations that were asked for, by name. There are some 600 of them.
var zones sync.Map

// Zone returns the location of an IANA time zone and its canonical name. It does not mind case.
func Zone(name string) (*time.Location, error) {
	if len(name) > 64 || !zonePattern.MatchString(name) {
		return nil, badZone(name)
	}
	for _, try := range []string{name, strings.ToUpper(name), zoneCase(name)} {
		// LoadLocation also knows zones that are not IANA's: the machine's own, and those that count leap seconds.
		switch first, _, _ := strings.Cut(try, "/"); first {
		case "Local", "posix", "right", "posixrules", "localtime", "Factory":
			continue
		}
		if loc, ok := zones.Load(try); ok {
			return loc.(*time.Location), nil
		}
		if loc, err := time.LoadLocation(try); err == nil {
			zones.Store(try, loc)
			return loc, nil
		}
	}
	return nil, badZone(name)
}

func badZone(name string) error {
	return invalid("/timezone", `"timezone" must be a valid IANA time zone, got %q`, clip(name))
}

// zoneCase writes name as the zone database does: europe/isle_of_man is Europe/Isle_of_Man.
func zoneCase(name string) string {
	var b strings.Builder
	word := ""
	flush := func() {
		switch word {
		case "of", "es", "au":
		case "gmt", "utc", "uct", "us", "nsw", "act", "lhi":
			word = strings.ToUpper(word)
		case "mcmurdo":
			word = "McMurdo"
		case "dumontdurville":
			word = "DumontDUrville"
		case "comodrivadavia":
			word = "ComodRivadavia"
		default:
			if word != "" {
				word = strings.ToUpper(word[:1]) + word[1:]
			}
		}
		b.WriteString(word)
		word = ""
	}
	for _, r := range strings.ToLower(name) {
		if r >= 'a' && r <= 'z' {
			word += string(r)
			continue
		}
		flush()
		b.WriteRune(r)
	}
	flush()
	return b.String()
}

// instant returns the point in time at which the clocks of loc show the wall time of civil. A day of 25 hours shows
// some times twice: the start of a range is the first, its end the last, so that the range holds the whole hour. A
// time that the clocks skip becomes the first moment after, or the last before.
func instant(civil time.Time, loc *time.Location, end bool) time.Time {
	_, before := civil.Add(-26 * time.Hour).In(loc).Zone()
	_, after := civil.Add(26 * time.Hour).In(loc).Zone()
	first := civil.Add(-time.Duration(before) * time.Second)
	last := civil.Add(-time.Duration(after) * time.Second)
	shows := func(t time.Time) bool {
		_, offset := t.In(loc).Zone()
		return t.Add(time.Duration(offset) * time.Second).Equal(civil)
	}
	switch {
	case shows(first) && !shows(last):
		return first
	case shows(last) && !shows(first):
		return last
	}
	// Both: the clocks went back over it. Neither: they skipped it, and each offset lands on its own side.
	if end {
		return last
	}
	return first
}

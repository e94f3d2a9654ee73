package datamodel

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// plain returns n as maps, slices, strings, numbers and booleans, for metadata that is handed on as it is.
func plain(n *node) any {
	switch n.kind {
	case mapping:
		m := make(map[string]any, len(n.fields))
		for _, f := range n.fields {
			m[f.key] = plain(f.value)
		}
		return m
	case list:
		items := make([]any, len(n.items))
		for i, item := range n.items {
			items[i] = plain(item)
		}
		return items
	case str:
		return n.text
	case other:
		if b, err := strconv.ParseBool(n.text); err == nil && len(n.text) > 1 {
			return b
		}
		if json.Valid([]byte(n.text)) {
			return json.Number(n.text)
		}
		if i, err := strconv.ParseInt(n.text, 0, 64); err == nil {
			return i
		}
		return n.text
	}
	return nil
}

var everyUnits = map[string]time.Duration{
	"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour,
}

// every reads the interval of a refresh key: "10 minutes", or a cron expression of equal intervals.
func every(s string) (time.Duration, string) {
	words := strings.Fields(s)
	if len(words) == 2 {
		n, err := strconv.ParseUint(words[0], 10, 31)
		unit, ok := everyUnits[strings.TrimSuffix(words[1], "s")]
		if err == nil && ok && n > 0 && n <= 10_000 {
			return time.Duration(n) * unit, ""
		}
		return 0, "an interval is a number and second, minute, hour, day or week, such as 10 minutes"
	}
	if len(words) != 5 && len(words) != 6 {
		return 0, "an interval is a number and a unit, such as 10 minutes, or a cron expression"
	}
	return cron(s, words)
}

// cron returns the interval of a cron expression whose runs are equally far apart.
func cron(s string, words []string) (time.Duration, string) {
	if len(words) == 5 {
		words = append([]string{"0"}, words...)
	}
	unequal := "Your cron string ('" + s + "') is correct, but we support only equal time intervals."
	fields := []struct {
		unit   time.Duration
		within int // how many of the unit the next field has
	}{{time.Second, 60}, {time.Minute, 60}, {time.Hour, 24}}
	for _, w := range words {
		switch {
		case w == "*" || w == "?":
			continue
		case strings.HasPrefix(w, "*/"):
		case strings.Trim(w, "0123456789") == "":
		case strings.Trim(w, "0123456789-,/*?LW#") == "" || strings.Trim(w, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-,") == "":
			return 0, unequal
		default:
			return 0, "this is not a cron expression"
		}
	}
	if words[3] != "*" && words[3] != "?" || words[4] != "*" {
		return 0, unequal // a day of the month, or a month
	}
	if w := words[5]; w != "*" && w != "?" {
		// One day of the week, at a fixed time.
		if fixed(w) && fixed(words[0]) && fixed(words[1]) && fixed(words[2]) {
			return 7 * 24 * time.Hour, ""
		}
		return 0, unequal
	}
	for i, w := range words[:3] {
		f := fields[i]
		rest := words[i+1 : 3]
		switch {
		case fixed(w):
			continue
		case w == "*":
			return f.unit, tail(rest, unequal)
		}
		n, err := strconv.Atoi(strings.TrimPrefix(w, "*/"))
		if err != nil || n < 1 || n > f.within || f.within%n != 0 {
			return 0, unequal
		}
		return time.Duration(n) * f.unit, tail(rest, unequal)
	}
	return 24 * time.Hour, ""
}

func fixed(w string) bool { return w != "" && strings.Trim(w, "0123456789") == "" }

// tail returns problem unless every field is a star: "* 8 * * *" runs each minute of one hour only.
func tail(words []string, problem string) string {
	for _, w := range words {
		if w != "*" {
			return problem
		}
	}
	return ""
}

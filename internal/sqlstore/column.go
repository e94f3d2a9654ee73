package sqlstore

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/behalf-project/behalf/oauthapps"
)

// millis returns t as a column holds it: unix milliseconds, 0 for no time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// moment returns the time of a column.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// orElse returns t, or now when t is no time.
func orElse(t, now time.Time) time.Time {
	if t.IsZero() {
		return now
	}
	return t
}

// list is a list of words in a column, as JSON. An empty one reads as nil.
type list []string

// Value implements driver.Valuer.
func (l list) Value() (driver.Value, error) {
	if len(l) == 0 {
		return "[]", nil
	}
	return toJSON([]string(l))
}

// Scan implements sql.Scanner.
func (l *list) Scan(src any) error {
	var v []string
	if err := fromJSON(src, &v); err != nil || len(v) == 0 {
		*l = nil
		return err
	}
	*l = v
	return nil
}

// subjectIssuers are those of an OAuth app in a column, as JSON. None read as nil.
type subjectIssuers []oauthapps.SubjectIssuer

// Value implements driver.Valuer.
func (s subjectIssuers) Value() (driver.Value, error) {
	if len(s) == 0 {
		return "[]", nil
	}
	return toJSON([]oauthapps.SubjectIssuer(s))
}

// Scan implements sql.Scanner.
func (s *subjectIssuers) Scan(src any) error {
	var v []oauthapps.SubjectIssuer
	if err := fromJSON(src, &v); err != nil || len(v) == 0 {
		*s = nil
		return err
	}
	*s = v
	return nil
}

// facts are named words in a column, as JSON. An empty map reads as nil.
type facts map[string]string

// Value implements driver.Valuer. The text is that of encoding/json, sooner: every record of the audit has facts.
func (f facts) Value() (driver.Value, error) {
	names := slices.AppendSeq(make([]string, 0, 8), maps.Keys(f))
	slices.Sort(names)
	b := append(make([]byte, 0, 256), '{')
	for i, name := range names {
		if !plain(name) || !plain(f[name]) {
			return toJSON(map[string]string(f))
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), name...), `":"`...)
		b = append(append(b, f[name]...), '"')
	}
	return string(append(b, '}')), nil
}

// plain reports whether encoding/json surely writes s as it is, between quotes.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}

// Scan implements sql.Scanner.
func (f *facts) Scan(src any) error {
	var v map[string]string
	if err := fromJSON(src, &v); err != nil || len(v) == 0 {
		*f = nil
		return err
	}
	*f = v
	return nil
}

// toJSON returns v as text. The encoder writes null characters and bad UTF-8 as escapes, so any database holds it.
func toJSON(v any) (driver.Value, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

func fromJSON(src, v any) error {
	switch src := src.(type) {
	case string:
		return json.Unmarshal([]byte(src), v)
	case []byte:
		return json.Unmarshal(src, v)
	}
	return fmt.Errorf("a JSON column holds %T", src)
}

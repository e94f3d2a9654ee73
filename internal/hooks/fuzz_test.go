package hooks

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/query"
)

// FuzzReadQuery reads what a queryRewrite may return: a query that is as it would be if a client had sent it, or an error.
func FuzzReadQuery(f *testing.F) {
	for _, s := range []string{
		`{"measures":["a.n"],"filters":[{"or":[{"member":"a.x","operator":"equals","values":[1,null,true]}]}],"limit":3,"rowLimit":10000}`,
		`{"measures":["a.n"],"timeDimensions":[{"dimension":"a.t","granularity":"day","dateRange":"last week"}],"timezone":"Europe/Berlin"}`,
		`{"measures":["a.n"],"timeDimensions":[{"dimension":"a.t","compareDateRange":["today","yesterday"]}]}`, `{"dimensions":["a.t.day"],"order":[{"id":"a.t","desc":true}]}`,
		`{}`, `{"measures":[{}]}`, `{"limit":"3"}`, `{"measures":["a.n"],"offset":-1}`,
	} {
		f.Add(s)
	}
	o := query.Options{Now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	limit := 10_000
	before, err := asObject(query.Query{Measures: []string{"a.n"}, Limit: &limit, RowLimit: &limit})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var after map[string]any
		if json.Unmarshal([]byte(text), &after) != nil || after == nil {
			return
		}
		q, err := readQuery(before, after, o)
		if err != nil {
			return
		}
		again, err := q.Normalize(o)
		if err != nil {
			t.Fatalf("%s is not normalized: %v", text, err)
		}
		a, _ := json.Marshal(q)
		b, _ := json.Marshal(again)
		if string(a) != string(b) {
			t.Errorf("%s\nreads as    %s\nand then as %s", text, a, b)
		}
	})
}

// FuzzToken takes tokens apart, and their credentials out. Whatever comes, what a hook sees holds no access token.
func FuzzToken(f *testing.F) {
	f.Add("eyJhbGciOiJIUzI1NiJ9.eyJjdWJlQ2xvdWQiOnsidXNlckNyZWRlbnRpYWxzIjp7ImQiOnsiYWNjZXNzVG9rZW4iOiJ4In19fX0.AAAA")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		_, payload, _, ok := jwtParts(token)
		if !ok {
			return
		}
		held := handles{}
		held.hide(payload)
		eachToken(payload, func(seen string) string {
			if _, ok := held[seen]; !ok {
				t.Errorf("%s: a hook sees %q", token, seen)
			}
			return seen
		})
	})
}

package sqlstore

import (
	"encoding/json"
	"testing"
)

// TestFactsAreWrittenAsJSONDoes: what was written before is compared, byte for byte, with what is written now.
func TestFactsAreWrittenAsJSONDoes(t *testing.T) {
	all := []facts{nil, {}, {"": ""}, {"b": "2", "a": "1", "c": ""}, {"ä": "ö"}, {"a": "\u2028"}, {"a": "\xff"}}
	for c := range 256 {
		all = append(all, facts{"name": string([]byte{'a', byte(c), 'z'})}, facts{"a" + string([]byte{byte(c)}): "value"})
	}
	for _, f := range all {
		want, err := json.Marshal(map[string]string(f))
		if err != nil {
			t.Fatal(err)
		}
		if f == nil {
			want = []byte("{}")
		}
		if got, err := f.Value(); err != nil || got != string(want) {
			t.Errorf("%#v is written %s, %v; want %s", f, got, err, want)
		}
	}
}

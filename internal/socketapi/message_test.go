package socketapi

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/fault"
)

func TestDecodeRefusesWithTheReason(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no JSON", `{`, "The message is no JSON object"},
		{"a list", `[]`, "The message is no JSON object"},
		{"null", `null`, "The message is no JSON object"},
		{"two messages", `{"authorization":"a"}{}`, "The message is no JSON object"},
		{"an authorization with more", `{"authorization":"a","method":"load"}`, `"method" is not allowed`},
		{"an authorization that is no text", `{"authorization":{}}`, `"authorization" must be a string`},
		{"an authorization that is null", `{"authorization":null}`, `"authorization" must be a string`},
		{"an end with more", `{"unsubscribe":1,"messageId":1}`, `"messageId" is not allowed`},
		{"an end of nothing", `{"unsubscribe":null}`, `"unsubscribe" must be a string or a whole number`},
		{"no id", `{"method":"meta"}`, "messageId is required"},
		{"a long id", `{"messageId":"12345678901234567","method":"meta"}`, `"messageId" must have 1 to 16 bytes`},
		{"a fraction", `{"messageId":1.5,"method":"meta"}`, `"messageId" must be a string or a whole number`},
		{"a number too large", `{"messageId":9007199254740993,"method":"meta"}`, `"messageId" must be a string or a whole number`},
		{"no method", `{"messageId":1}`, "method is required"},
		{"an unknown method", `{"messageId":1,"method":"cancel"}`, "Unsupported method: cancel"},
		{"another spelling", `{"messageId":1,"Method":"meta"}`, `"Method" is not allowed`},
		{"an unknown member", `{"messageId":1,"method":"meta","x":1}`, `"x" is not allowed`},
		{"a parameter of another method", `{"messageId":1,"method":"sql","params":{"query":{},"cache":"no-cache"}}`, `"params.cache" is not allowed`},
		{"another spelling of a parameter", `{"messageId":1,"method":"load","params":{"Query":{}}}`, `"params.Query" is not allowed`},
		{"a parameter of another type", `{"messageId":1,"method":"load","params":{"query":{},"queryType":1}}`, `"queryType" must be a string`},
		{"no parameters", `{"messageId":1,"method":"load"}`, `"params" is required`},
		{"parameters that are null", `{"messageId":1,"method":"meta","params":null}`, `"params" is no JSON object`},
		{"a request id of two lines", `{"messageId":1,"method":"meta","requestId":"a\nb"}`, `"requestId" must be at most 64 plain characters`},
		{"a long request id", `{"messageId":1,"method":"meta","requestId":"` + strings.Repeat("x", 65) + `"}`, `"requestId" must be at most 64 plain characters`},
	} {
		_, err := decode([]byte(tt.text))
		if fault.KindOf(err) != fault.Invalid || !strings.HasSuffix(err.Error(), "Invalid message format: "+tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range []string{
		`{"authorization":"a.b.c"}`, `{"unsubscribe":"1"}`, load, `{"messageId":-3,"method":"meta","params":{}}`,
		`{"messageId":"\u2028<","method":"dry-run","params":{"query":[{},"x"]}}`, `{"messageId":1e3}`, "{\"messageId\":\"\xff\",\"method\":\"meta\"}", `{"a":`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decode(data)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("%v is no fault of the client's", err)
			}
			return
		}
		switch {
		case m.token != nil:
		case m.id.key == "" || len(m.id.key) > maxID || !json.Valid(m.id.json):
			t.Fatalf("id %q %s", m.id.key, m.id.json)
		case !m.ends && methods[m.method] == nil && m.method != "unsubscribe":
			t.Fatalf("method %q", m.method)
		case m.params != nil && !json.Valid(m.params):
			t.Fatalf("params %q", m.params)
		}
	})
}

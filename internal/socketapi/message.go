package socketapi

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
)

// message is one of a client's: an authorization, the end of a subscription, or a request.
type message struct {
	token     *secret.Text // of an authorization
	ends      bool         // {"unsubscribe": id}
	id        messageID
	requestID string // of the interaction; empty: one of ours
	method    string
	params    json.RawMessage // an object with known members, or nil
}

// messageID is a client's name for a message.
type messageID struct {
	key  string // 1 and "1" are the same
	json []byte // a string or a number, as it came
}

// methods are what a client may ask for, and the parameters of each.
var methods = map[string][]string{
	"load":        {"query", "queryType", "cache"},
	"subscribe":   {"query", "queryType", "cache"},
	"sql":         {"query"},
	"dry-run":     {"query"},
	"meta":        {"onlyViews"},
	"unsubscribe": nil,
}

// Bounds of what names a message, in bytes; Cube's.
const (
	maxID        = 16
	maxRequestID = 64
)

// decode reads a message. What it does not know is an error with fault.Invalid, as in Cube; the id, where there is one, is
// returned with it.
func decode(data []byte) (m message, err error) {
	fields, err := object(data, "The message")
	if err != nil {
		return message{}, err
	}
	if id, ok := fields["messageId"]; ok {
		if m.id, err = readID("messageId", id); err != nil {
			return message{}, err
		}
	}
	switch {
	case fields["authorization"] != nil:
		return authorization(fields)
	case fields["unsubscribe"] != nil:
		if err := known(fields, "", "unsubscribe"); err != nil {
			return message{}, err
		}
		m.ends = true
		m.id, err = readID("unsubscribe", fields["unsubscribe"])
		return m, err
	}
	return request(m, fields)
}

func authorization(fields map[string]json.RawMessage) (message, error) {
	if err := known(fields, "", "authorization"); err != nil {
		return message{}, err
	}
	token, err := text(fields, "authorization")
	if err != nil {
		return message{}, err
	}
	sealed := secret.New(token)
	return message{token: &sealed}, nil
}

// request reads what asks for something.
func request(m message, fields map[string]json.RawMessage) (message, error) {
	err := known(fields, "", "messageId", "requestId", "method", "params")
	if err != nil {
		return m, err
	}
	if m.id.key == "" {
		return m, invalid("messageId is required")
	}
	if m.requestID, err = text(fields, "requestId"); err != nil {
		return m, err
	}
	if len(m.requestID) > maxRequestID || strings.ContainsFunc(m.requestID, unprintable) {
		return m, invalid(`"requestId" must be at most %d plain characters`, maxRequestID)
	}
	if m.method, err = text(fields, "method"); err != nil {
		return m, err
	}
	params, ok := methods[m.method]
	switch {
	case m.method == "":
		return m, invalid("method is required")
	case !ok:
		return m, invalid("Unsupported method: %s", m.method)
	case fields["params"] == nil:
		if slices.Contains(params, "query") {
			return m, invalid(`"params" is required`)
		}
		return m, nil
	}
	given, err := object(fields["params"], `"params"`)
	if err != nil {
		return m, err
	}
	if err := known(given, "params.", params...); err != nil {
		return m, err
	}
	for _, name := range []string{"queryType", "cache"} {
		if _, err := text(given, name); err != nil {
			return m, err
		}
	}
	m.params = fields["params"]
	return m, nil
}

// object reads a JSON object whose names count as they are written.
func object(data []byte, what string) (fields map[string]json.RawMessage, err error) {
	if err := json.Unmarshal(data, &fields); err != nil || fields == nil {
		return nil, invalid("%s is no JSON object", what)
	}
	return fields, nil
}

// known refuses members that are not among names.
func known(fields map[string]json.RawMessage, at string, names ...string) error {
	for name := range fields {
		if !slices.Contains(names, name) {
			return invalid("%q is not allowed", at+clip(name))
		}
	}
	return nil
}

// text returns a member that is a string, and "" when it is not there.
func text(fields map[string]json.RawMessage, name string) (s string, err error) {
	if v, ok := fields[name]; ok && (v[0] != '"' || json.Unmarshal(v, &s) != nil) {
		return "", invalid("%q must be a string", name)
	}
	return s, nil
}

// readID reads an id: a short string, or a whole number.
func readID(name string, v json.RawMessage) (messageID, error) {
	var id messageID
	if v[0] == '"' {
		if json.Unmarshal(v, &id.key) != nil || id.key == "" || len(id.key) > maxID {
			return messageID{}, invalid("%q must have 1 to %d bytes", name, maxID)
		}
		var err error
		id.json, err = json.Marshal(id.key)
		return id, err
	}
	n, err := strconv.ParseInt(string(v), 10, 54) // what every client can count to
	if err != nil {
		return messageID{}, invalid("%q must be a string or a whole number", name)
	}
	id.key = strconv.FormatInt(n, 10)
	id.json = []byte(id.key)
	return id, nil
}

func invalid(format string, args ...any) error {
	return fault.New(fault.Invalid, "Invalid message format: "+format, args...)
}

// clip shortens what a client wrote for an error.
func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

func unprintable(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' || c == '<' }

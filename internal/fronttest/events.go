package fronttest

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"time"
)

// Events is a stream of server-sent events that a browser follows.
type Events struct {
	Status int
	Header http.Header

	b     *Browser
	lines *bufio.Scanner
	leave context.CancelFunc
}

// Watch follows the events at path until the test ends, if the Status is 200.
func (b *Browser) Watch(path string) *Events {
	b.t.Helper()
	ctx, leave := context.WithTimeout(b.t.Context(), 20*time.Second)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.server.URL+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	if b.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+b.bearer)
	}
	resp, err := (&http.Client{Jar: b.client.Jar}).Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	e := &Events{Status: resp.StatusCode, Header: resp.Header, b: b, lines: bufio.NewScanner(resp.Body), leave: leave}
	e.lines.Buffer(nil, 1<<20)
	b.t.Cleanup(func() { leave(); _ = resp.Body.Close() })
	return e
}

// Next waits for the next event, or a comment, whose name is ":". After the last one both are empty.
func (e *Events) Next() (name, data string) {
	for e.lines.Scan() {
		switch field, value, _ := strings.Cut(e.lines.Text(), ": "); field {
		case "event":
			name = value
		case "data":
			data = value
		case "":
			if value != "" { // ": a comment"
				return ":", value
			}
			if name != "" {
				return name, data
			}
		}
	}
	return "", ""
}

// Leave hangs up.
func (e *Events) Leave() { e.leave() }

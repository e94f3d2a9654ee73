package apiclient

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/behalf-project/behalf/internal/secret"
)

func TestWatchFollowsEventsToTheirEnd(t *testing.T) {
	begin := func(w http.ResponseWriter, text string) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, text)
	}
	const two = ": still here\n\nevent: a\ndata: {\"n\":1}\n\nevent: b\nid: 7\ndata: {\"n\":2}\n\n"
	problem := `{"status":401,"code":"session_ended","detail":"Your session has ended."}`
	for _, tt := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		heard  []string
		is     func(error) bool
	}{
		{"the server ends it and says why", func(w http.ResponseWriter) { begin(w, two+"event: end\ndata: "+problem+"\n\n") }, []string{`a {"n":1}`, `b {"n":2}`}, func(err error) bool {
			p, ok := errors.AsType[*Problem](err)
			return ok && p.Code == "session_ended" && p.Status == 401 && string(p.Document) == problem
		}},
		{"it breaks off, and half an event is none", func(w http.ResponseWriter) { begin(w, two+"event: c\ndata: {") }, []string{`a {"n":1}`, `b {"n":2}`}, func(err error) bool {
			_, ok := errors.AsType[*Unreachable](err)
			return ok && errors.Is(err, io.ErrUnexpectedEOF)
		}},
		{"the server refuses", func(w http.ResponseWriter) { w.WriteHeader(403); _, _ = io.WriteString(w, `{"code":"admin_required"}`) }, nil, func(err error) bool {
			p, ok := errors.AsType[*Problem](err)
			return ok && p.Code == "admin_required" && p.Status == 403
		}},
		{"what answers is no server of ours", func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>") }, nil, func(err error) bool {
			_, ok := errors.AsType[*Problem](err)
			return err != nil && !ok
		}},
		{"the end is no problem document", func(w http.ResponseWriter) { begin(w, "event: end\ndata: [\n\n") }, nil, func(err error) bool { return err != nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/api/v1/events" || r.Header.Get("Authorization") != "Bearer token" {
					t.Errorf("asked is %s with %q", r.URL, r.Header.Get("Authorization"))
				}
				tt.answer(w)
			}))
			defer s.Close()
			c, err := New(s.URL, secret.New("token"))
			if err != nil {
				t.Fatal(err)
			}
			var heard []string
			err = c.Watch(t.Context(), "/events?topics=queries", func(event string, data json.RawMessage) error {
				heard = append(heard, event+" "+string(data))
				return nil
			})
			if !tt.is(err) || !slices.Equal(heard, tt.heard) {
				t.Errorf("heard %q, then %v; want %q", heard, err, tt.heard)
			}
		})
	}
}

func TestWatchEndsWithItsCaller(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "event: a\ndata: {}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer s.Close()
	c, err := New(s.URL, secret.Text{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	if err := c.Watch(ctx, "/events", func(string, json.RawMessage) error { leave(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Watch = %v, want it canceled", err)
	}
	full := errors.New("no more")
	if err := c.Watch(t.Context(), "/events", func(string, json.RawMessage) error { return full }); !errors.Is(err, full) {
		t.Errorf("Watch = %v, want what its caller says", err)
	}
}

package adminapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/orchestrator"
)

// Live views: what the lists of queries and orchestrators show, and then what changes there, as server-sent events (HTML Living
// Standard §9.2). Each look is one at the list itself, with the rights that the caller has then; what came and went between two
// looks was not to be seen.

// EventLimits bound the streams of GET /events. The zero EventLimits are good.
type EventLimits struct {
	Total     int           // streams at once; default 100
	PerPerson int           // of them of one person; default 8
	Pace      time.Duration // between two looks; default 500 ms
	Check     time.Duration // between two checks of whether the caller may still look, where there is nothing to tell, each a sign of life; default 10 s
}

func (l EventLimits) withDefaults() EventLimits {
	return EventLimits{
		Total: cmp.Or(l.Total, 100), PerPerson: cmp.Or(l.PerPerson, 8), Pace: cmp.Or(l.Pace, 500*time.Millisecond), Check: cmp.Or(l.Check, 10*time.Second),
	}
}

// maxLive is how much of a list a stream shows.
const maxLive = 200

// QueryEvent is the data of an event "queries".
type QueryEvent struct {
	Whole bool     `json:"whole" doc:"These are all there are: forget what came before. So is the first event."`
	Items []Query  `json:"items" nullable:"false" doc:"New, or other than before."`
	Gone  []string `json:"gone" nullable:"false" doc:"Ids of those that have ended."`
	More  bool     `json:"more" doc:"There are more than the 200 that are shown: those that were asked first."`
}

// OrchestratorEvent is the data of an event "orchestrators".
type OrchestratorEvent struct {
	Whole bool           `json:"whole" doc:"These are all there are: forget what came before. So is the first event."`
	Items []Orchestrator `json:"items" nullable:"false" doc:"New, or other than before."`
	Gone  []string       `json:"gone" nullable:"false" doc:"Ids of those that were forgotten."`
	More  bool           `json:"more" doc:"There are more than the 200 that are shown: the first by name."`

	Totals Totals `json:"totals" doc:"Of all there are."`
}

// topicOrchestrators is the topic that is for admins.
const topicOrchestrators = "orchestrators"

type watchInput struct {
	Topics []string `query:"topics" required:"true" minItems:"1" maxItems:"2" enum:"queries,orchestrators" doc:"What to watch, separated by commas. orchestrators are for admins, and with a token for those with the scope operate."`
	Everybodys
}

// watch streams what the caller may see. A look at what is not theirs is recorded once, before the first event.
func (h *Handler) watch(ctx context.Context, in *watchInput) (*huma.StreamResponse, error) {
	v, err := in.viewer(ctx)
	if err != nil {
		return nil, err
	}
	s := &stream{h: h, caller: from(ctx), operates: in.All || slices.Contains(in.Topics, topicOrchestrators)}
	if s.operates {
		if err := s.caller.operates(); err != nil {
			return nil, err
		}
	}
	for _, topic := range slices.Compact(slices.Sorted(slices.Values(in.Topics))) {
		look := &topicLook{name: topic, sent: map[string][]byte{}, list: func(ctx context.Context) seen { return h.liveQueries(ctx, v) }}
		if topic == topicOrchestrators {
			look.list = h.liveOrchestrators
		}
		s.topics = append(s.topics, look)
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		r, w := humago.Unwrap(hctx)
		if err := h.claimStream(s.caller.user.ID); err != nil {
			h.fail(w, r, err)
			return
		}
		defer h.releaseStream(s.caller.user.ID)
		if s.operates {
			if err := h.recordLook(ctx, "watch-events", "ok"); err != nil {
				h.fail(w, r, err)
				return
			}
		}
		s.serve(ctx, w)
	}}, nil
}

// shown is an item of a list as it is shown.
type shown struct {
	id   string
	text json.RawMessage
}

// seen is what a look at a list saw.
type seen struct {
	items  []shown
	more   bool
	totals json.RawMessage // of orchestrators
}

func (h *Handler) liveQueries(ctx context.Context, v orchestrator.Viewer) (now seen) {
	list, next := h.cfg.Queries.Queries(v, "", maxLive)
	names := map[string]string{}
	for _, q := range list {
		now.items = append(now.items, shown{q.ID, written(h.query(ctx, q, names))})
	}
	now.more = next != ""
	return now
}

func (h *Handler) liveOrchestrators(ctx context.Context) (now seen) {
	list, next := h.cfg.Orchestrators.List("", maxLive)
	names := map[string]string{}
	for _, o := range list {
		now.items = append(now.items, shown{o.ID, written(h.orchestrator(ctx, o, names))})
	}
	now.more, now.totals = next != "", written(h.totals())
	return now
}

func written(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // a type of this package that has no JSON
	}
	return text
}

// topicLook is a topic, with what was sent of it.
type topicLook struct {
	name   string
	list   func(ctx context.Context) seen
	began  bool
	more   bool
	totals json.RawMessage
	sent   map[string][]byte
}

// liveEvent is a QueryEvent or an OrchestratorEvent, whose items are JSON already.
type liveEvent struct {
	Whole  bool              `json:"whole"`
	Items  []json.RawMessage `json:"items"`
	Gone   []string          `json:"gone"`
	More   bool              `json:"more"`
	Totals json.RawMessage   `json:"totals,omitempty"`
}

// look returns what there is to tell since the last time, nil for nothing.
func (t *topicLook) look(ctx context.Context) *liveEvent {
	seen := t.list(ctx)
	e := &liveEvent{Whole: !t.began, Items: []json.RawMessage{}, Gone: []string{}, More: seen.more, Totals: seen.totals}
	now := make(map[string][]byte, len(seen.items))
	for _, item := range seen.items {
		now[item.id] = item.text
		if !bytes.Equal(t.sent[item.id], item.text) {
			e.Items = append(e.Items, item.text)
		}
	}
	for id := range t.sent {
		if now[id] == nil {
			e.Gone = append(e.Gone, id)
		}
	}
	slices.Sort(e.Gone)
	if t.began && len(e.Items) == 0 && len(e.Gone) == 0 && seen.more == t.more && bytes.Equal(seen.totals, t.totals) {
		return nil
	}
	t.began, t.more, t.totals, t.sent = true, seen.more, seen.totals, now
	return e
}

// stream is one live view.
type stream struct {
	h        *Handler
	caller   caller
	operates bool // it shows what is not only the caller's
	topics   []*topicLook
}

// serve sends events until the client leaves, the caller may no longer look, or the server stops.
func (s *stream) serve(ctx context.Context, w http.ResponseWriter) {
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	send := func(event string, data any) error {
		text, err := json.Marshal(data)
		if err == nil {
			_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, text) // JSON has no line break
		}
		if err == nil {
			err = control.Flush()
		}
		return err
	}
	looks, checks := time.NewTicker(s.h.cfg.Events.Pace), time.NewTicker(s.h.cfg.Events.Check)
	defer looks.Stop()
	defer checks.Stop()
	for {
		for _, topic := range s.topics {
			e := topic.look(ctx)
			if e == nil {
				continue
			}
			if err := s.allowed(); err != nil { // asked after the look: nothing is told that came after the end of a right
				_ = send("end", s.h.translate(ctx, err)) // the client is gone
				return
			}
			if send(topic.name, e) != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.h.stopping:
			_ = send("end", s.h.translate(ctx, errStopping)) // the client is gone
			return
		case <-checks.C:
			if err := s.allowed(); err != nil {
				_ = send("end", s.h.translate(ctx, err)) // the same
				return
			}
			if _, err := io.WriteString(w, ": still here\n\n"); err != nil || control.Flush() != nil {
				return
			}
		case <-looks.C:
		}
	}
}

// allowed refuses a caller who might not begin the stream any more: whose session or token has ended, or who is no admin. A
// page that stays open is no use of its session, and keeps nobody signed in.
func (s *stream) allowed() (err error) {
	now := caller{request: s.caller.request}
	if s.caller.token.ID != "" {
		err = s.h.admitToken(&now, account, "")
	} else {
		now.session, now.user, err = s.h.cfg.Sessions.Peek(now.request)
	}
	if err == nil && s.operates {
		err = now.operates()
	}
	return err
}

// Run ends the streams when ctx is done: a server that stops would wait for them. It returns nil then, and never before.
func (h *Handler) Run(ctx context.Context) error {
	<-ctx.Done()
	close(h.stopping)
	return nil
}

var errStopping = &fault.Error{Kind: fault.Unavailable, Code: "stopping", Detail: "The server is stopping. Connect again.", RetryAfter: time.Second}

// streams counts those that are open.
type streams struct {
	mu    sync.Mutex
	total int
	of    map[string]int // by person
}

// claimStream counts one stream more of a person, or says why there may be none.
func (h *Handler) claimStream(userID string) error {
	s := &h.streams
	s.mu.Lock()
	defer s.mu.Unlock()
	switch limits := h.cfg.Events; {
	case s.of[userID] >= limits.PerPerson:
		return &fault.Error{Kind: fault.TooMany, Code: "too_many_streams", Owner: fault.User, RetryAfter: 10 * time.Second,
			Detail: fmt.Sprintf("You have %d live views open, as many as one person may. Close one.", limits.PerPerson)}
	case s.total >= limits.Total:
		return &fault.Error{Kind: fault.Unavailable, Code: "too_many_streams", Owner: fault.Admin, RetryAfter: 10 * time.Second,
			Detail: "The server has as many live views as it takes. Try again soon, or read the list."}
	}
	s.total++
	s.of[userID]++
	return nil
}

func (h *Handler) releaseStream(userID string) {
	s := &h.streams
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.of[userID]--; s.of[userID] == 0 {
		delete(s.of, userID)
	}
}

package tracing

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/protobuf/proto"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	canary      = "canary-alice"
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceparent = "00-" + traceID + "-00f067aa0ba902b7-01"
)

// receiver is a collector.
type receiver struct {
	url string

	mu     sync.Mutex
	bodies [][]byte
	spans  []*spans.Span
	status int // answered instead of taking spans
	calls  int
}

func startReceiver(t *testing.T) *receiver {
	c := &receiver{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.calls++
		var sent collector.ExportTraceServiceRequest
		switch {
		case c.status != 0:
			w.WriteHeader(c.status)
			return
		case err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &sent) != nil:
			t.Errorf("the collector was sent to %s: %v", r.URL.Path, err)
			return
		}
		c.bodies = append(c.bodies, body)
		for _, of := range sent.ResourceSpans {
			for _, scope := range of.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
	}))
	t.Cleanup(s.Close)
	c.url = s.URL
	return c
}

// run runs a Tracer until stop is called, which returns once everything was sent.
func run(t *testing.T, cfg Config) (tracer *Tracer, stop func()) {
	t.Helper()
	tracer, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tracer.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	t.Cleanup(stop)
	return tracer, stop
}

// query is a request that is answered with status, with all stages of its query, canaries wherever there is a place for them.
func query(t *testing.T, tracer *Tracer, status int) context.Context {
	t.Helper()
	r := httptest.NewRequest("GET", "/magic/"+canary+"?code="+canary, nil)
	for _, name := range []string{"Authorization", "Cookie", "X-Request-Id", "Baggage"} {
		r.Header.Set(name, canary+"=1")
	}
	r.Header.Set("Traceparent", traceparent)
	ctx, done := tracer.Request(t.Context(), r)
	tracer.Person(ctx, securitycontext.Principal{Realm: securitycontext.Local, Subject: canary})
	src := driverfactory.Source{Name: "lake", Type: "postgres", Options: map[string]string{"host": canary}}
	failed := fault.Wrap(fault.Denied, errors.New(canary), "%s may not read %s", canary, canary)
	for _, stage := range driverfactory.Stages() {
		if stage == driverfactory.Connect {
			continue
		}
		within, end := tracer.Stages().Begin(ctx, stage, time.Now().Add(-time.Second))
		if stage == driverfactory.Execute {
			_, end := tracer.Stages().Begin(within, driverfactory.Connect, time.Now())
			end(src, errors.New(canary))
		}
		end(src, failed)
	}
	done("/magic/{token}", status)
	return ctx
}

func TestASpanForEveryStageOfAQuery(t *testing.T) {
	c := startReceiver(t)
	tracer, stop := run(t, Config{Endpoint: c.url + "/"})
	query(t, tracer, 500)
	_, end := tracer.Stages().Begin(t.Context(), driverfactory.Connect, time.Now()) // for nobody's request
	end(driverfactory.Source{Name: "lake"}, nil)
	stop() // which sends what is left
	of, names := map[string]*spans.Span{}, []string{}
	for _, s := range c.spans {
		of[s.Name] = s
		names = append(names, s.Name)
		if got := hex.EncodeToString(s.TraceId); got != traceID {
			t.Errorf("%s belongs to the trace %s, want the caller's", s.Name, got)
		}
	}
	slices.Sort(names)
	if want := []string{"GET /magic/{token}", "connect", "encode", "execute", "plan", "queue", "verify"}; !slices.Equal(names, want) {
		t.Fatalf("the spans are %q, want %q", names, want)
	}
	request := of["GET /magic/{token}"]
	if hex.EncodeToString(request.ParentSpanId) != "00f067aa0ba902b7" || request.Kind != spans.Span_SPAN_KIND_SERVER || request.Status.Code != spans.Status_STATUS_CODE_ERROR {
		t.Errorf("the request is %v", request)
	}
	for name, parent := range map[string]string{"verify": request.Name, "plan": request.Name, "queue": request.Name, "execute": request.Name, "connect": "execute"} {
		if !slices.Equal(of[name].ParentSpanId, of[parent].SpanId) {
			t.Errorf("%s is not below %s", name, parent)
		}
	}
	if took := of["queue"].EndTimeUnixNano - of["queue"].StartTimeUnixNano; took < uint64(time.Second) {
		t.Errorf("the queue took %v, want from when it began", time.Duration(took))
	}
	attributes := func(name string) map[string]string {
		all := map[string]string{}
		for _, a := range of[name].Attributes {
			all[a.Key] = a.Value.GetStringValue()
		}
		return all
	}
	if a := attributes("execute"); a["db.system.name"] != "postgresql" || a["behalf.data_source"] != "lake" || a["error.type"] != "denied" || len(a) != 3 {
		t.Errorf("execute has %v", a)
	}
	if a := attributes("connect"); a["error.type"] != "internal" {
		t.Errorf("connect has %v", a)
	}
	if a := attributes(request.Name); len(a["enduser.pseudo.id"]) != 24 || a["http.route"] != "/magic/{token}" || len(a) != 4 {
		t.Errorf("the request has %v", a)
	}
}

// What is sent holds nobody's name, nothing of a header, a path or an option, and no text of an error.
func TestNoSecretAndNobodysNameIsSent(t *testing.T) {
	c := startReceiver(t)
	tracer, stop := run(t, Config{Endpoint: c.url})
	query(t, tracer, 200)
	stop()
	if len(c.bodies) == 0 {
		t.Fatal("nothing was sent")
	}
	for _, body := range c.bodies {
		if i := strings.Index(string(body), canary); i >= 0 {
			t.Errorf("it was sent: %q", body[max(0, i-40):min(len(body), i+40)])
		}
	}
	again, stopAgain := run(t, Config{Endpoint: c.url}) // as after a restart
	query(t, again, 200)
	query(t, again, 200)
	stopAgain()
	hashes := map[string]int{}
	for _, s := range c.spans {
		for _, a := range s.Attributes {
			if a.Key == "enduser.pseudo.id" {
				hashes[a.Value.GetStringValue()]++
			}
		}
	}
	if len(hashes) != 2 {
		t.Errorf("one person is %v in two processes, want another in each", hashes)
	}
}

func TestTheLogNamesTheTrace(t *testing.T) {
	c := startReceiver(t)
	for name, cfg := range map[string]Config{"spans are sent": {Endpoint: c.url}, "none are": {}} {
		tracer, stop := run(t, cfg)
		core, logs := observer.New(zap.InfoLevel)
		r := httptest.NewRequest("GET", "/", nil)
		ctx, _ := tracer.Request(t.Context(), r)
		zap.New(core).Info("of no caller's trace", audit.Request(ctx))
		r.Header.Set("Traceparent", traceparent)
		ctx, _ = tracer.Request(t.Context(), r)
		zap.New(core).Info("of a caller's", audit.Request(audit.WithRequest(ctx, "req_1")))
		r.Header.Set("Traceparent", `00-"><script>-00f067aa0ba902b7-01`)
		ctx, _ = tracer.Request(t.Context(), r)
		zap.New(core).Info("hostile", audit.Trace(ctx))
		lines := logs.All()
		if got := lines[1].ContextMap(); got["trace_id"] != traceID || got["request_id"] != "req_1" {
			t.Errorf("%s: a line has %v", name, got)
		}
		for _, i := range []int{0, 2} {
			got, there := lines[i].ContextMap()["trace_id"].(string)
			if there != (cfg.Endpoint != "") || there && (len(got) != 32 || got == traceID) {
				t.Errorf("%s: the line %q has the trace %q", name, lines[i].Message, got)
			}
		}
		stop()
	}
	if tracer, _ := run(t, Config{}); tracer.Stages() != nil {
		t.Error("stages cost something where no spans are made")
	}
}

// A collector that fails or hangs costs a request nothing: spans wait in a queue with an end, and are dropped.
func TestACollectorThatFailsHurtsNoRequest(t *testing.T) {
	c := startReceiver(t)
	c.status = http.StatusForbidden // which is not tried again
	core, logs := observer.New(zap.InfoLevel)
	tracer, stop := run(t, Config{Endpoint: c.url, Every: time.Millisecond, Log: zap.New(core)})
	for range 3 * maxWaiting / 7 { // more spans than wait
		query(t, tracer, 200)
	}
	for deadline := time.Now().Add(20 * time.Second); logs.Len() == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	c.mu.Lock()
	calls := c.calls
	c.status = 0
	c.mu.Unlock()
	if logs.FilterMessageSnippet("does not take spans").Len() != 1 || calls == 0 {
		t.Errorf("after %d calls the log has %v, want it once", calls, logs.All())
	}
	query(t, tracer, 200)
	stop()
	if len(c.spans) == 0 || logs.FilterMessageSnippet("again").Len() != 1 {
		t.Errorf("%d spans came once it took them, and the log has %v", len(c.spans), logs.All())
	}
	for _, entry := range logs.All() {
		if strings.Contains(entry.Message, canary) {
			t.Errorf("the log says %s", entry.Message)
		}
	}
}

// Package tracing sends what a query took, and where, to a collector: spans of OpenTelemetry, over OTLP/HTTP.
//
// A request is a span, and the stages of its query are spans below it: verify, plan, queue, connect, execute, encode. The
// trace goes on that the caller began (W3C Trace Context), and its id is in the lines of the log whether spans are sent or not.
//
// A span holds no SQL, no text of an error, and nobody's name: a person is a hash whose salt is this process's own. Spans wait
// in a queue that is bounded; where the collector does not take them they are dropped, and no request waits.
package tracing

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

// Bounds of what waits for the collector.
const (
	maxWaiting  = 2048             // spans; further ones are dropped
	sendTimeout = 5 * time.Second  // of one call
	lastTimeout = 5 * time.Second  // of what is left at the end
	retryFor    = 20 * time.Second // before the spans of a call are dropped
)

// Config is what a Tracer needs. Nothing is required.
type Config struct {
	// Endpoint is a collector of OTLP/HTTP, such as http://127.0.0.1:4318. Default: no span is made.
	Endpoint string

	Version string        // of this program
	Every   time.Duration // how often spans are sent; default 5 s
	Log     *zap.Logger   // default: no logging
}

// Tracer makes spans. It is safe for concurrent use.
type Tracer struct {
	cfg      Config
	provider *sdk.TracerProvider // nil where no spans are made
	tracer   trace.Tracer
	salt     [sha256.Size]byte
}

// New returns a Tracer over cfg. With an Endpoint it sends from now on, and is closed by Run or Close. What OpenTelemetry itself reads of
// the environment counts: OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER and the like.
func New(ctx context.Context, cfg Config) (*Tracer, error) {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	t := &Tracer{cfg: cfg}
	if cfg.Endpoint == "" {
		return t, nil
	}
	_, _ = rand.Read(t.salt[:]) // never fails
	at, err := url.JoinPath(cfg.Endpoint, "v1/traces")
	if err != nil {
		return nil, err
	}
	sender, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(at), otlptracehttp.WithTimeout(sendTimeout),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: time.Second, MaxInterval: 5 * time.Second, MaxElapsedTime: retryFor}))
	if err != nil {
		return nil, err
	}
	who, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "behalf"), attribute.String("service.version", cmp.Or(cfg.Version, "devel")),
	), resource.WithFromEnv())
	if err != nil {
		return nil, err
	}
	t.provider = sdk.NewTracerProvider(sdk.WithResource(who), sdk.WithBatcher(&exporter{SpanExporter: sender, log: cfg.Log},
		sdk.WithMaxQueueSize(maxWaiting), sdk.WithBatchTimeout(cmp.Or(cfg.Every, 5*time.Second)), sdk.WithExportTimeout(retryFor+sendTimeout)))
	t.tracer = t.provider.Tracer("github.com/behalf-project/behalf")
	return t, nil
}

// Run waits until ctx is done and closes the Tracer. It returns nil.
func (t *Tracer) Run(ctx context.Context) error {
	<-ctx.Done()
	t.Close(context.WithoutCancel(ctx))
	return nil
}

// Close sends what is left, for 5 s at most, and makes no more spans. What is not sent is lost. It may be called again.
func (t *Tracer) Close(ctx context.Context) {
	if t.provider == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.cfg.Log.Warn("the last spans were not sent", zap.Error(err))
	}
}

// traceContext reads the trace of a caller, and nothing else that they send along.
var traceContext = propagation.TraceContext{}

// Request makes the span of a request; see httpserver.Observer.
func (t *Tracer) Request(ctx context.Context, r *http.Request) (context.Context, func(route string, status int)) {
	ctx = traceContext.Extract(ctx, propagation.HeaderCarrier(r.Header))
	if t.provider == nil {
		if c := trace.SpanContextFromContext(ctx); c.IsValid() {
			ctx = audit.WithTrace(ctx, c.TraceID().String())
		}
		return ctx, func(string, int) {}
	}
	ctx, span := t.tracer.Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer))
	return audit.WithTrace(ctx, span.SpanContext().TraceID().String()), func(route string, status int) {
		method := r.Method
		if !known[method] {
			method = "_OTHER" // as the convention has it
		}
		span.SetName(method + " " + route)
		span.SetAttributes(attribute.String("http.request.method", method), attribute.String("http.route", route), attribute.Int("http.response.status_code", status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// known are the methods whose names are repeated.
var known = map[string]bool{"GET": true, "HEAD": true, "POST": true, "PUT": true, "PATCH": true, "DELETE": true, "OPTIONS": true}

// Person says in the span of ctx who asks: as a hash, which is another one in each process.
func (t *Tracer) Person(ctx context.Context, p securitycontext.Principal) {
	if t.provider == nil || p.Anonymous() {
		return
	}
	sum := hmac.New(sha256.New, t.salt[:])
	sum.Write([]byte(p.Key()))
	trace.SpanFromContext(ctx).SetAttributes(attribute.String("enduser.pseudo.id", hex.EncodeToString(sum.Sum(nil)[:12])))
}

// Stages returns what makes the spans of stages, nil where none are made.
func (t *Tracer) Stages() driverfactory.StageFunc {
	if t.provider == nil {
		return nil
	}
	return t.stage
}

func (t *Tracer) stage(ctx context.Context, stage driverfactory.Stage, began time.Time) (context.Context, func(driverfactory.Source, error)) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx, func(driverfactory.Source, error) {} // a liveness check is no part of a request
	}
	kind := trace.SpanKindInternal
	if stage == driverfactory.Connect || stage == driverfactory.Execute {
		kind = trace.SpanKindClient
	}
	ctx, span := t.tracer.Start(ctx, string(stage), trace.WithTimestamp(began), trace.WithSpanKind(kind))
	return ctx, func(src driverfactory.Source, err error) {
		if src.Name != "" {
			span.SetAttributes(attribute.String("behalf.data_source", src.Name))
		}
		if kind == trace.SpanKindClient && src.Type != "" {
			span.SetAttributes(attribute.String("db.system.name", system(src.Type)))
		}
		if err != nil { // its text may hold anything
			span.SetAttributes(attribute.String("error.type", cmp.Or(string(fault.KindOf(err)), "internal")))
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// system is what the convention calls a type of source.
func system(sourceType string) string {
	if sourceType == "postgres" {
		return "postgresql"
	}
	return sourceType
}

// exporter sends spans, and says in the log when that begins to fail and when it works again. No failure goes further.
type exporter struct {
	sdk.SpanExporter
	log     *zap.Logger
	failing atomic.Bool
}

// ExportSpans implements sdk.SpanExporter.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil && e.failing.CompareAndSwap(false, true):
		e.log.Warn("the collector does not take spans; they are dropped until it does", zap.Error(err))
	case err == nil && e.failing.CompareAndSwap(true, false):
		e.log.Info("the collector takes spans again")
	}
	return nil
}

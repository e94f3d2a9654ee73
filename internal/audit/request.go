package audit

import (
	"context"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

type requestKey struct{}

// WithRequest returns a context that carries the id of the request it serves. The parts below the front doors put it
// into their entries and log lines.
func WithRequest(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestKey{}, id)
}

// RequestID returns the id that WithRequest put into ctx, and "" outside a request.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

type traceKey struct{}

// WithTrace returns a context that carries the id of the trace that its request is part of (W3C Trace Context).
func WithTrace(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, traceKey{}, id)
}

// Trace is the id of the trace that ctx belongs to, as a field of a log line: none where there is no trace.
func Trace(ctx context.Context) zap.Field {
	if id, _ := ctx.Value(traceKey{}).(string); id != "" {
		return zap.String("trace_id", id)
	}
	return zap.Skip()
}

// Request is the request that ctx serves as fields of a log line: request_id, and trace_id where there is a trace.
func Request(ctx context.Context) zap.Field {
	return zap.Inline(zapcore.ObjectMarshalerFunc(func(to zapcore.ObjectEncoder) error {
		to.AddString("request_id", RequestID(ctx))
		Trace(ctx).AddTo(to)
		return nil
	}))
}

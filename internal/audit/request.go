package audit

import "context"

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

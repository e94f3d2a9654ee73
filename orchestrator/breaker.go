package orchestrator

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

// Bounds of a breaker.
const (
	tripAfter = 3 // failures in a row
	firstTrip = time.Second
	lastTrip  = 30 * time.Second
)

// breaker keeps statements from a source that does not answer: whoever asks is told so at once, instead of one after another
// waiting for their time to run out. It opens after some failures in a row, of more than one credential: what ails one person is
// nobody else's. Now and then it lets one statement try; the first that is answered closes it, and so does a liveness check.
type breaker struct {
	failed map[driverfactory.PoolKey]struct{} // by whom, since the last answer; at most tripAfter of them
	count  int
	since  time.Time // of the first
	until  time.Time // before which nothing is tried; zero while closed
	wait   time.Duration
	trying bool
}

// admits returns why a statement may not be sent to its source now. It is called under mu.
func (o *Orchestrators) admits(k sourceKey) error {
	b := o.breakers[k]
	if b == nil || b.until.IsZero() {
		return nil
	}
	left := time.Until(b.until)
	if left <= 0 && !b.trying {
		b.trying = true
		return nil
	}
	left = max(left, time.Second).Round(time.Second)
	return &fault.Error{
		Kind: fault.Unavailable, Code: "data_source_down", Owner: fault.Database, RetryAfter: left,
		Detail: fmt.Sprintf("Data source %q has not answered since %s. It is tried again in %s, and nobody needs to do anything but wait.",
			k.name, b.since.UTC().Format(time.TimeOnly+" UTC"), left),
		Params: map[string]string{"data_source": k.name},
	}
}

// answered is told how a statement, or a liveness check, of a credential ended at a source. It is called under mu.
func (o *Orchestrators) answered(k sourceKey, who driverfactory.PoolKey, err error) {
	b := o.breakers[k]
	switch code := codeOf(err); {
	case err == nil || code == "database_error" || code == "database_denied":
		if b != nil && !b.until.IsZero() {
			o.log.Info("data source answers again", zap.String("data_source", k.name), zap.Duration("after", time.Since(b.since)))
		}
		delete(o.breakers, k)
		return
	case code != "data_source_unreachable": // who knows
		if b != nil {
			b.trying = false
		}
		return
	}
	now := time.Now()
	if b == nil {
		b = &breaker{failed: map[driverfactory.PoolKey]struct{}{}, since: now}
		o.breakers[k] = b
	}
	b.count++
	if len(b.failed) < tripAfter {
		b.failed[who] = struct{}{}
	}
	tried := b.trying
	b.trying = false
	switch {
	case b.until.IsZero() && b.count >= tripAfter && len(b.failed) > 1:
		b.wait = firstTrip
		o.log.Warn("data source does not answer: it is left alone, and tried now and then", zap.String("data_source", k.name), zap.Int("failures", b.count))
	case !b.until.IsZero() && tried:
		b.wait = min(2*b.wait, lastTrip)
	default:
		return
	}
	b.until = now.Add(b.wait)
}

// errNotAsked is the outcome of a statement that never came to its source.
var errNotAsked = errors.New("the source was not asked")

// codeOf returns the code of a fault, if err is one.
func codeOf(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.Code
	}
	return ""
}

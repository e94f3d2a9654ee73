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
// waiting for their time to run out. It opens after some failures in a row, of more than one person: what ails one is nobody
// else's. Now and then it lets one statement try, less often each time; the first that is answered closes it, and so does a
// liveness check. A trial that takes long holds up no other, and who tried last lets others come first.
type breaker struct {
	failed map[string]struct{} // whose statements, since the last answer; at most tripAfter of them
	count  int
	since  time.Time // of the first
	until  time.Time // before which nothing is tried; zero while closed
	wait   time.Duration
	tried  string // who did last
}

// behind names who is behind a credential, whatever became of it: a person, or the service account.
func behind(key driverfactory.PoolKey) string {
	if key.Service {
		return "service"
	}
	return key.Principal.Key()
}

// admits returns why a statement of a credential may not be sent to its source now. It is called under mu.
func (o *Orchestrators) admits(k sourceKey, key driverfactory.PoolKey) error {
	b := o.breakers[k]
	if b == nil || b.until.IsZero() {
		return nil
	}
	left, who := time.Until(b.until), behind(key)
	if who == b.tried {
		left += b.wait / 2
	}
	if left <= 0 {
		b.wait, b.tried = min(2*b.wait, lastTrip), who
		b.until = time.Now().Add(b.wait)
		return nil
	}
	left = (left + time.Second - 1).Truncate(time.Second) // whoever comes then has their turn
	return &fault.Error{
		Kind: fault.Unavailable, Code: "data_source_down", Owner: fault.Database, RetryAfter: left,
		Detail: fmt.Sprintf("Data source %q has not answered since %s. It is tried again in %s, and nobody needs to do anything but wait.",
			k.name, b.since.UTC().Format(time.TimeOnly+" UTC"), left),
		Params: map[string]string{"data_source": k.name},
	}
}

// answered is told how a statement, or a liveness check, of a credential ended at a source. It is called under mu.
func (o *Orchestrators) answered(k sourceKey, key driverfactory.PoolKey, err error) {
	b, now, who := o.breakers[k], time.Now(), behind(key)
	switch code := codeOf(err); {
	case err == nil || code == "database_error" || code == "database_denied":
		if b != nil && !b.until.IsZero() {
			o.log.Info("data source answers again", zap.String("data_source", k.name), zap.Duration("after", now.Sub(b.since)))
		}
		delete(o.breakers, k)
		return
	case code != "data_source_unreachable": // who knows
		if b != nil && who == b.tried {
			b.until, b.tried = now, "" // the next trial is as good as this one
		}
		return
	}
	if b == nil {
		b = &breaker{failed: map[string]struct{}{}, since: now}
		o.breakers[k] = b
	}
	b.count++
	if len(b.failed) < tripAfter {
		b.failed[who] = struct{}{}
	}
	if b.until.IsZero() && b.count >= tripAfter && len(b.failed) > 1 {
		b.wait = firstTrip
		b.until = now.Add(b.wait)
		o.log.Warn("data source does not answer: it is left alone, and tried now and then", zap.String("data_source", k.name), zap.Int("failures", b.count))
	}
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

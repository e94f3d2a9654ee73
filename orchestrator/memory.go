package orchestrator

import (
	"errors"
	"strconv"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

// Hold counts n bytes more that somebody keeps for p beside results: an answer on its way, a question that is repeated.
// It refuses them as it would refuse a result. LetGo gives them back.
func (o *Orchestrators) Hold(p securitycontext.Principal, n int64) error {
	if err := o.cache.Hold(p.Key(), n); err != nil {
		return o.noMemory(err)
	}
	return nil
}

// LetGo counts n bytes that Hold allowed for p as gone.
func (o *Orchestrators) LetGo(p securitycontext.Principal, n int64) { o.cache.LetGo(p.Key(), n) }

// noMemory is why no more of a result is read.
func (o *Orchestrators) noMemory(err error) error {
	switch {
	case errors.Is(err, resultcache.ErrTooLarge):
		return &fault.Error{
			Kind: fault.Invalid, Code: "result_too_large", Owner: fault.User,
			Detail: "The result takes more than " + size(o.cfg.MaxResultBytes) + ". Ask for fewer columns or rows.",
		}
	case errors.Is(err, resultcache.ErrShare):
		return &fault.Error{
			Kind: fault.TooMany, Code: "too_many_results", RetryAfter: 10 * time.Second, Owner: fault.User,
			Detail: "The results that you are being sent take more than " + size(o.cache.MaxResult()) +
				" together. Read them to the end, or ask for fewer rows; then run the query again.",
		}
	case errors.Is(err, resultcache.ErrFull):
		return &fault.Error{
			Kind: fault.Unavailable, Code: "results_full", RetryAfter: 10 * time.Second, Owner: fault.Admin,
			Detail: "This server is busy: the results that it is sending take all of the " + size(o.cache.Stats().MaxHeld) +
				" that it has for them. Run the query again in a moment. An admin can raise orchestrator.max_held_bytes.",
		}
	}
	return err
}

// size writes a number of bytes.
func size(n int64) string {
	switch {
	case n >= 1<<20:
		return strconv.FormatInt(n>>20, 10) + " MiB"
	case n >= 1<<10:
		return strconv.FormatInt(n>>10, 10) + " KiB"
	}
	return count(int(n), "byte", "bytes")
}

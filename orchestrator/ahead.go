package orchestrator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/driverfactory"
)

// What people use is fetched again before they ask, under their own credential, for as long as they use it. An Orchestrators
// says what is in use; somebody who outlives the process keeps that, and has it fetched by Refresh when it may be old.

// RollupUse is a rollup that somebody uses, and what it takes to plan it again.
type RollupUse struct {
	ID    string // of the rows: Stored.ID
	Scope string // of the credential that fetches them: equal for all its rollups, and for no other's
	Name  string // "orders.main"
	Zone  string

	// Since is where the oldest partition begins that was used, as wall time: what ended before and is not there need not be
	// fetched. It is zero where there are no partitions, or they begin nowhere.
	Since time.Time

	By driverfactory.SecurityContext // who used it; without access tokens
	At time.Time

	InSource bool // it is kept there
	Ended    bool // nobody has used it for long: see Refresh
}

// UsedFor is for how long after its last use a rollup is in use.
const UsedFor = 7 * 24 * time.Hour

const (
	noteEvery = time.Hour // how often the use of a rollup is noted
	noteTime  = 10 * time.Second
)

// inUse notes that a, who has the credential of the rows, uses a rollup of which this is known, unless that was noted within the hour.
func (o *Orchestrators) inUse(ctx context.Context, a *asked, r *Rollup, id RollupID, known knownRollup) {
	carried := !id.Scope.Service && id.Scope.App == "" // the token came in a JWT: nobody has it later
	if o.cfg.Used == nil || !r.Ahead || carried {
		return
	}
	now := o.cfg.Now()
	use := RollupUse{Name: r.Name, Zone: r.Zone, By: a.sc, At: now.UTC(), InSource: r.InSource != nil}
	use.By.Credentials = nil
	if spans, err := r.spans(known); err == nil && len(spans) > 0 { // there may be thousands: nobody waits for that
		use.Since = spans[0].From
	} else if r.Partitions != nil {
		return // until its bounds are known
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	k, ok := o.rollups.Peek(id)
	if !ok || o.closing {
		return
	}
	if now.Sub(k.noted) < noteEvery && !use.Since.Before(k.since) {
		return
	}
	k.noted, k.since = now, use.Since
	use.ID, use.Scope = storedID(id), scopeID(id.Scope)
	ctx = context.WithoutCancel(ctx)
	o.spawn(func() {
		ctx, cancel := context.WithTimeout(ctx, noteTime)
		defer cancel()
		if err := o.cfg.Used(ctx, use); err != nil {
			o.log.Warn("the use of a rollup was not noted", zap.String("rollup", use.Name), zap.Error(err))
		}
	})
}

// scopeID returns what tells the credential of key from every other.
func scopeID(key driverfactory.PoolKey) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %d %s %t %q %d", key.Domain, key.Source, key.SourceRev, key.Principal.Key(), key.Service, key.App, key.Epoch))
	return hex.EncodeToString(sum[:12])
}

// Refresh has fetched what is out of date of a rollup in use, which req plans anew for use.By, and waits until that is done. It
// fails like Build and like what it fetches, and with fault.Gone (rollup_replaced) where the rollup is another one by now: the
// model, the source or the credential has changed, and who uses that notes it.
//
// Where the use has ended nothing is fetched: the source drops what tables of its credential nobody has used for as long.
func (o *Orchestrators) Refresh(ctx context.Context, use RollupUse, req Request) error {
	b, err := o.building(ctx, use.By, req, use.ID)
	if err != nil {
		return err
	}
	if use.Ended {
		for b.ctx = ctx; b.r.InSource != nil && o.tidy(b); {
		}
		return nil
	}
	b.since = use.Since
	if err := o.post(b); err != nil {
		return err
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

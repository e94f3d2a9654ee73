package orchestrator

import (
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/notify"
)

// errSuperseded says that a choice was overtaken by news. Load chooses again.
var errSuperseded = fault.New(fault.Conflict, "The credential was replaced.")

// announcement is what became known about credentials.
type announcement struct {
	principal string // Principal.Key; empty means everybody
	app       string // slug; empty means every app, and tokens that came in a JWT
	epoch     int64  // of the credential from now on; with cut, the last that ended, or 0 for all
	cut       error  // what running statements end with; nil lets them finish
	keep      bool   // results stay
}

// voids reports whether a credential with this key is not to be used any more. The service accounts are nobody's.
func (a announcement) voids(key driverfactory.PoolKey) bool {
	return !key.Service &&
		(a.app == "" || a.app == key.App) &&
		a.ends(key.Epoch) &&
		(a.principal == "" || a.principal == key.Principal.Key())
}

// ends reports whether a credential of this epoch has ended. News of a revocation that comes late, after that of the
// next consent, leaves that one alone.
func (a announcement) ends(epoch int64) bool {
	if a.cut != nil {
		return a.epoch == 0 || epoch <= a.epoch
	}
	return epoch != a.epoch
}

// newsLog remembers the latest announcements, for choices that were made before them and are acted on after.
type newsLog struct {
	seq    uint64                // of the latest
	latest [maxNews]announcement // number n is at n % maxNews
}

const maxNews = 1024

// add appends a.
func (l *newsLog) add(a announcement) {
	l.seq++
	l.latest[l.seq%maxNews] = a
}

// voids reports whether the choice of key, made knowing the news up to since, must be made again. One that is too old to
// tell must.
func (l *newsLog) voids(key driverfactory.PoolKey, since uint64) bool {
	if l.seq-since > maxNews {
		return true
	}
	for n := since + 1; n <= l.seq; n++ {
		if l.latest[n%maxNews].voids(key) {
			return true
		}
	}
	return false
}

// Hear acts on news: subscribe it to the bus. When it returns, no statement starts on a credential that the news ended.
func (o *Orchestrators) Hear(n notify.News) {
	a := announcement{principal: n.Principal, epoch: n.Epoch}
	switch n.Topic {
	case notify.GrantChanged:
		if n.Principal == "" {
			return
		}
		if a.app = o.cfg.AppSlug(n.AppID); a.app == "" {
			a.epoch = 0 // of one app: it says nothing of the others
		}
	case notify.OAuthAppChanged:
		// The people's grants have not changed, so what they fetched stays theirs. Their pools are made anew, because
		// Choose may refuse from now on.
		if a.app = o.cfg.AppSlug(n.AppID); a.app == "" && n.AppID == "" {
			return
		}
		a.epoch, a.keep = 0, !n.Revoked
	case notify.UserChanged:
		if n.Principal == "" || !n.Revoked {
			return // another name or role changes no credential
		}
	case notify.Everything:
		// Any grant may have ended unheard. Everybody chooses again, and keeps nothing of before.
	default:
		return
	}
	if n.Revoked {
		switch {
		case n.Topic == notify.UserChanged:
			a.cut = &fault.Error{
				Kind: fault.Denied, Code: "user_disabled", Owner: fault.Admin,
				Detail: "Your account was disabled while the query ran, so it was stopped.",
			}
		case n.Refused:
			// Nobody here ended it: the warehouse or the provider did, perhaps asked by this very statement. Nothing of
			// it was delivered, so it chooses again: a refusal that says why, or what the source falls back to.
			a.cut = errSuperseded
		default:
			a.cut = &revokedError{app: a.app}
		}
	}
	o.announce(a)
}

// Forget tells that the grant of principal (a Principal.Key) for app (a slug; empty means all) has this epoch from now
// on, 0 when there is none any more. Pools of other epochs are lent no more and their results are gone; statements
// running on them have until the drain timeout. When it was revoked, of whatever epoch, statements that run or wait end
// now with fault.ReauthorizationRequired.
//
// When it returns, no statement starts on what has ended.
func (o *Orchestrators) Forget(principal, app string, epoch int64, revoked bool) {
	a := announcement{principal: principal, app: app, epoch: epoch}
	if revoked {
		a.epoch, a.cut = 0, &revokedError{app: app}
	}
	o.announce(a)
}

// announce does it in this order: no new statement, running ones cut, pools closed, results purged (design.md §5).
func (o *Orchestrators) announce(a announcement) {
	o.void(a)
	// Files are deleted outside the lock: nobody chooses that credential any more, and the builds on it are cut. That news may
	// have been missed deletes none: whose grant ended unheard is refused, or chooses another epoch, and what nobody reads is
	// swept away.
	if unheard := a.cut == nil && a.principal == "" && a.app == ""; o.cfg.PreAggregations == nil || a.keep || unheard {
		return
	}
	if err := o.cfg.PreAggregations.Drop(a.voids); err != nil {
		o.log.Error("files of rollups are left", zap.Error(err))
	}
}

// void is announce without the files.
func (o *Orchestrators) void(a announcement) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.news.add(a)

	flights, pools := o.under(a)
	for _, f := range flights {
		draining := f.superseded
		f.superseded = true
		switch {
		case f.over:
			o.forget(f) // its outcome waited for a poll
		case a.cut != nil:
			o.cut(f, a.cut)
		case f.place != nil, f.into != nil:
			o.cut(f, errSuperseded) // who waits chooses again; what is fetched to be kept would come after what is dropped
		case !draining:
			f.limit = time.AfterFunc(o.cfg.DrainTimeout, func() { o.drained(f) })
		}
	}
	for _, p := range pools {
		o.retire(p)
	}
	if a.keep {
		return
	}
	o.cache.Purge(a.principal, a.voids)
	if a.cut != nil && o.cfg.Shared != nil {
		o.cfg.Shared.Purge(a.principal) // what only has another epoch from now on, nobody asks for, but for whoever has the role it was fetched under
	}
	rolled := o.rolled
	if a.principal != "" {
		rolled = map[string]map[RollupID]struct{}{a.principal: o.rolled[a.principal]}
	}
	for _, ids := range rolled {
		for id := range ids {
			if a.voids(id.Scope) {
				o.rollups.Remove(id)
			}
		}
	}
}

// under returns the statements and pools whose credential a ends.
func (o *Orchestrators) under(a announcement) (flights []*flight, pools []*pool) {
	people := o.people
	if a.principal != "" {
		people = map[string]*person{}
		if p := o.people[a.principal]; p != nil {
			people[a.principal] = p
		}
	}
	for _, p := range people {
		for f := range p.flights {
			if a.voids(f.key.Scope) {
				flights = append(flights, f)
			}
		}
		for pl := range p.pools {
			if a.voids(pl.key) {
				pools = append(pools, pl)
			}
		}
	}
	return flights, pools
}

// drained ends a statement that was given time to finish and did not.
func (o *Orchestrators) drained(f *flight) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cut(f, errSuperseded)
}

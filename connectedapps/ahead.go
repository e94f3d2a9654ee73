package connectedapps

import (
	"context"
	"hash/fnv"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/behalf-project/behalf/oauthapps"
)

// Who did not use a grant for so long is not served ahead of time any more.
const usedWithin = 30 * 24 * time.Hour

// atOneServer is how long the grants of one server are refreshed before it is looked what has become due at the others:
// one that is slow holds up no other one's.
const atOneServer = 5 * time.Second

// DueAt is when the grant should be refreshed ahead of time, or zero when it should not be: it cannot be refreshed, or
// nobody used it for 30 days. It is a pure function of the facts, which the store keeps beside them to find what is due.
//
// A refresh is due at 75 to 85 % of the token's life, at a point that the grant and its revision name, so that those
// who connected together do not refresh together. When a refresh was sent and its outcome is not known, the held
// token serves to its end first (RFC 9700 §4.14).
func DueAt(g Grant) time.Time {
	if g.RefreshToken.Empty() || !g.RefusedAt.IsZero() || g.RefreshedAt.IsZero() {
		return time.Time{}
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(g.ID + " " + strconv.FormatInt(g.Revision, 10)))
	at := g.RefreshedAt.Add(g.life()/4*3 + time.Duration(float64(g.life())/10*float64(h.Sum32())/(1<<32)))
	if !g.IntentAt.IsZero() || g.FailureCode == oauthapps.CodeUnknownOutcome {
		at = latest(g.RefreshedAt.Add(g.life()), g.IntentUntil)
	}
	at = latest(at, g.NextTryAt)
	if ended(g.RefreshExpiresAt, at) || at.After(latest(g.UsedAt, g.ConnectedAt).Add(usedWithin)) {
		return time.Time{}
	}
	return at
}

// RefreshDue refreshes the grants that are due ahead of time, what ends first before the rest, until there are none or
// ctx is done. One process of a cluster calls it at a time: then each authorization server sees no more than PerSecond
// calls for all of them, however many became due while nobody was there. The last ones that it began may still be on
// their way when it returns.
func (t *Tokens) RefreshDue(ctx context.Context) error {
	for {
		apps, err := t.cfg.Apps.List(ctx, "")
		if err != nil {
			return err
		}
		while, cancel := context.WithTimeout(ctx, atOneServer)
		var each errgroup.Group
		for _, app := range apps {
			each.Go(func() error { return t.refreshDueOf(while, app.ID) })
		}
		err = each.Wait()
		more := while.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if !more {
			return err
		}
	}
}

// refreshDueOf refreshes what is due of one app in rounds, of as many as its server may be asked in a second: what turns
// out to end sooner waits for one round and not for all. In a round, each refresh begins as soon as it may.
func (t *Tokens) refreshDueOf(ctx context.Context, appID string) error {
	round := max(8, int(t.cfg.PerSecond))
	begun := map[string]int64{} // the Rev of rows that were begun and that nobody has changed: soon they are claimed
	for {
		due, err := t.cfg.Refreshes.Due(ctx, appID, t.cfg.Now().UTC(), round+2*t.cfg.MaxRefreshes)
		if err != nil {
			return storeError(err)
		}
		n, known := 0, begun
		begun = map[string]int64{}
		for _, g := range due {
			if rev, ok := known[g.ID]; ok && rev == g.Rev || t.underWay(g.Key) {
				begun[g.ID] = g.Rev
				continue
			}
			if n == round {
				break
			}
			if more, err := t.beginAhead(ctx, appID, g); err != nil || !more {
				return err
			}
			begun[g.ID] = g.Rev
			n++
		}
		if n == 0 {
			return nil
		}
	}
}

// beginAhead begins the refresh of g in its turn, and reports whether the server of the app may be asked for more.
func (t *Tokens) beginAhead(ctx context.Context, appID string, g Grant) (more bool, err error) {
	app, err := t.cfg.Apps.Get(ctx, appID)
	if err != nil || !t.mayServe(app) {
		return false, err
	}
	release, err := t.at(app).turn(ctx, t.cfg.Now)
	if err != nil {
		return false, err
	}
	if !t.mayServe(app) { // a turn may take its time
		release()
		return false, nil
	}
	_, err = t.begin(ctx, app, g, whenAhead, turnTaken)
	return err == nil, err
}

// mayServe reports whether the server of app may be asked for what nobody waits for.
func (t *Tokens) mayServe(app oauthapps.App) bool {
	now := t.cfg.Now()
	return !app.Paused && t.mayProbe(app, now, false) && t.at(app).closedUntil(now).IsZero()
}

package connectedapps

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/event"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/jobs"
	"github.com/behalf-project/behalf/oauthapps"
)

// UpkeepConfig is what Upkeep needs. Everyone and Tell are required.
type UpkeepConfig struct {
	// Everyone returns grants of all people and apps in pages, ordered by id, after the given one.
	Everyone func(ctx context.Context, after string, limit int) ([]Grant, error)

	// Tell stores an event, unless there is one with its Dedupe.
	Tell func(ctx context.Context, e event.Event) (bool, error)

	Rules UpkeepRules
}

// UpkeepRules say when somebody is told, and when a grant that nobody uses ends.
type UpkeepRules struct {
	WarnBefore   time.Duration // before the end of a grant, and before it is disconnected; default 7 days
	UnusedAfter  time.Duration // when its owner is reminded that they have it; default 30 days
	DormantAfter time.Duration // without use, when it is disconnected; 0: never
}

func (r UpkeepRules) withDefaults() UpkeepRules {
	if r.WarnBefore <= 0 {
		r.WarnBefore = 7 * 24 * time.Hour
	}
	if r.UnusedAfter <= 0 {
		r.UnusedAfter = 30 * 24 * time.Hour
	}
	return r
}

// Upkeep returns the work that looks at every grant once an hour: who must act soon is told, at most once for each app,
// person and day, and what nobody has used for long is disconnected.
func (t *Tokens) Upkeep(cfg UpkeepConfig) jobs.Kind {
	cfg.Rules = cfg.Rules.withDefaults()
	return jobs.Kind{Name: "upkeep", Every: time.Hour, Timeout: 10 * time.Minute, Handle: func(ctx context.Context, _ jobs.Job) error {
		return t.upkeep(ctx, cfg)
	}}
}

func (t *Tokens) upkeep(ctx context.Context, cfg UpkeepConfig) error {
	list, err := t.cfg.Apps.List(ctx, "")
	if err != nil {
		return err
	}
	apps := make(map[string]oauthapps.App, len(list))
	for _, app := range list {
		apps[app.ID] = app
	}
	ended := 0
	for after := ""; ; {
		const some = 500
		page, err := cfg.Everyone(ctx, after, some)
		if err != nil {
			return err
		}
		for _, g := range page {
			after = g.ID
			app, ok := apps[g.Key.AppID]
			if !ok {
				continue // it came after the list was read
			}
			n, dormant := cfg.Rules.look(g, app, t.cfg.Now().UTC())
			if dormant {
				ok, err := t.endDormant(ctx, app, g, cfg.Rules)
				if err != nil {
					return err
				}
				if ok {
					ended++
				}
				continue
			}
			if n.Kind == "" {
				continue
			}
			if _, err := cfg.Tell(ctx, n); err != nil {
				return err
			}
		}
		if len(page) < some {
			break
		}
	}
	if ended > 0 {
		t.cfg.Log.Info("grants that nobody used were disconnected", zap.Int("grants", ended))
		t.wake()
	}
	return nil
}

// look says what is to be told about g at now, the zero Event when nothing is, and whether nobody has used it for so
// long that it ends. It is a pure function of stored facts.
func (r UpkeepRules) look(g Grant, app oauthapps.App, now time.Time) (n event.Event, dormant bool) {
	used := g.ConnectedAt
	if g.UsedAt.After(used) {
		used = g.UsedAt
	}
	ends := used.Add(r.DormantAfter)
	if r.DormantAfter > 0 && !now.Before(ends) {
		return event.Event{}, true
	}
	n = event.Event{
		At: now, Person: actorOf(g.Key.Principal), App: app.Slug, Object: g.ID, Detail: map[string]string{},
		Dedupe: event.Reminder(actorOf(g.Key.Principal), app.Slug, now),
	}
	if exchangesAgain(app, g) {
		n.Detail["renewed_by"] = "token_exchange"
	}
	by := g.ReauthorizeBy()
	switch status := StatusOf(g, app, now); {
	case status == Disabled:
		return event.Event{}, false // nobody can do anything now
	case status == Expired && g.RefusedAt.IsZero(): // its end came by itself, and no refusal told it
		n.Kind, n.Dedupe = event.Expired, fmt.Sprintf("%s %s %d", event.Expired, g.ID, g.Epoch)
	case status == Expired || status == Revoked || status == UnknownOutcome && !g.RefusedAt.IsZero():
		return event.Event{}, false // that was told when it happened
	case !g.RefreshToken.Empty() && g.endingWithin(r.WarnBefore, now):
		n.Kind, n.Detail["by"] = event.Expiring, by.UTC().Format(time.DateOnly)
	case r.DormantAfter > r.WarnBefore && ends.Sub(now) <= r.WarnBefore:
		n.Kind, n.Detail["reason"] = event.Expiring, "dormant"
		n.Detail["since"], n.Detail["by"] = used.UTC().Format(time.DateOnly), ends.UTC().Format(time.DateOnly)
	case status == NeedsConsent:
		n.Kind, n.Detail["scopes"] = event.NeedsConsent, list(missing(app, g))
		n.Dedupe = fmt.Sprintf("%s %s %d %s", event.NeedsConsent, g.ID, g.Epoch, n.Detail["scopes"]) // once, until more are added
	case now.Sub(used) >= r.UnusedAfter:
		n.Kind, n.Detail["reason"], n.Detail["since"] = event.Expiring, "unused", used.UTC().Format(time.DateOnly)
		n.Dedupe = fmt.Sprintf("unused %s %d %d", g.ID, g.Epoch, used.UnixMilli()) // once, until it is used again
	default:
		return event.Event{}, false
	}
	return n, false
}

// endDormant disconnects g if it still is what look saw: it may have been used since.
func (t *Tokens) endDormant(ctx context.Context, app oauthapps.App, g Grant, r UpkeepRules) (bool, error) {
	cur, err := t.read(ctx, g.Key)
	if err != nil {
		return false, err
	}
	if _, dormant := r.look(cur, app, t.cfg.Now().UTC()); cur.ID == "" || !dormant {
		return false, nil
	}
	e := t.entry(ctx, "system", audit.GrantRevoked, cur, app, "ok")
	e.Detail["reason"] = "dormant"
	_, _, err = t.delete(ctx, app, g.Key, e)
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}

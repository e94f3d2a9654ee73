// Package refreshworker fetches pre-aggregations again before anybody asks: those that people use, each under the credential of
// who uses it, for as long as they do.
//
//	orchestrator ──Used──▶ a job for each rollup in use ──due──▶ Refresh: planned anew, fetched by the orchestrator ──▶ due again
//
// A job is a row (see internal/jobs): it outlives the process, and of those that share a place of rollups one does it. A process
// that dies while it fetches is followed by another, which finds the partitions that are done.
package refreshworker

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/jobs"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/orchestrator"
)

const (
	lease       = orchestrator.UsedFor
	patience    = time.Hour        // beyond that, for what is left in a source
	leastWait   = 30 * time.Second // between two looks at one rollup, whatever the model says
	firstWait   = time.Minute      // the query that used it has it fetched by itself
	timeout     = 30 * time.Minute // of one look
	atOnce      = 2                // as many as are written at once
	maxWho      = 64 << 10         // bytes of a security context
	maxOf       = 300              // rollups of one credential: who asks in another zone each time keeps nobody else waiting
	kindOfPlace = "rollups "
)

// Config is what New needs. All are required, but Now.
type Config struct {
	// Place names where rows are kept. Its jobs are done by who shares it.
	Place string

	Jobs jobs.Store

	// Refresh plans a rollup anew for who uses it, has it fetched where it is out of date, and returns when that may be so
	// again; zero for never. Of one whose use has ended it drops what is left in its source, and fetches nothing.
	Refresh func(ctx context.Context, use orchestrator.RollupUse) (next time.Time, err error)

	Now func() time.Time // default: time.Now
}

// Worker is told of uses, and does the jobs. It is safe for concurrent use.
type Worker struct{ cfg Config }

// New returns a Worker. It starts nothing: a jobs.Runner does, which is given its Kind.
func New(cfg Config) *Worker {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Worker{cfg}
}

// payload is a use as it is kept. Who it is for is beside it, sealed: claims are nobody else's business.
type payload struct {
	Scope string    `json:"scope"`
	Name  string    `json:"name"`
	Zone  string    `json:"zone"`
	Since time.Time `json:"since,omitzero"`
	At    time.Time `json:"at"`

	InSource bool `json:"in_source,omitzero"`
}

// who is a security context as it is kept: without access tokens.
type who struct {
	Domain   string         `json:"domain"`
	Realm    string         `json:"realm"`
	Subject  string         `json:"subject"`
	Username string         `json:"username"`
	Claims   map[string]any `json:"claims"`
	Template map[string]any `json:"template"`
	Groups   []string       `json:"groups"`
	Extended map[string]any `json:"extended"`
	AppID    string         `json:"app_id"`
}

// Used keeps that a rollup is in use: an orchestrator.Config.Used. One whose rows are good for ever is kept until they are there.
// Of one credential maxOf are kept: what comes beyond is fetched when somebody asks.
func (w *Worker) Used(ctx context.Context, use orchestrator.RollupUse) error {
	sc := use.By
	by, err := json.Marshal(who{
		sc.Domain, sc.Principal.Realm, sc.Principal.Subject, sc.Username, sc.Claims, sc.Template, sc.Groups, sc.Extended, sc.AppID,
	})
	if err != nil {
		return err
	}
	if len(by) > maxWho {
		return errors.New("the claims of who uses it are too many to be kept")
	}
	text, err := json.Marshal(payload{use.Scope, use.Name, use.Zone, use.Since, use.At, use.InSource})
	if err != nil {
		return err
	}
	err = w.cfg.Jobs.Amend(ctx, jobs.Job{
		Kind: kindOfPlace + w.cfg.Place, Key: use.ID, Lane: use.Scope, Payload: text, Secret: secret.New(string(by)),
		DueAt: w.cfg.Now().UTC().Add(firstWait),
	}, maxOf)
	if errors.Is(err, fault.TooMany) {
		return nil
	}
	return err
}

// Kind returns the kind of the jobs.
func (w *Worker) Kind() jobs.Kind {
	return jobs.Kind{Name: kindOfPlace + w.cfg.Place, Concurrency: atOnce, PerLane: 1, Timeout: timeout, Handle: w.handle}
}

// over are the failures after which there is nothing to refresh: nobody may fetch it for who used it, or it is another one. Who
// uses it again says so again.
var over = []fault.Kind{
	fault.Invalid, fault.Unauthenticated, fault.Denied, fault.NotFound, fault.Gone, fault.AuthorizationRequired,
	fault.ReauthorizationRequired, fault.AppDisabled,
}

func (w *Worker) handle(ctx context.Context, j jobs.Job) error {
	use, err := decode(j)
	if err != nil {
		return jobs.GiveUp(err)
	}
	end := use.At.Add(lease)
	use.Ended = !w.cfg.Now().Before(end)
	if use.Ended && !use.InSource {
		return nil
	}
	next, err := w.cfg.Refresh(ctx, use)
	switch {
	case err != nil && slices.Contains(over, fault.KindOf(err)), use.Ended && (err == nil || w.cfg.Now().Sub(end) >= patience):
		return nil
	case err != nil:
		return err
	case next.IsZero() && !use.InSource:
		return nil
	}
	if least := w.cfg.Now().Add(leastWait); !next.IsZero() && next.Before(least) {
		next = least
	}
	if next.IsZero() || next.After(end) {
		next = end // nobody's claims are kept for longer
	}
	return jobs.Again(next)
}

// decode returns the use that j is about.
func decode(j jobs.Job) (orchestrator.RollupUse, error) {
	var p payload
	var by who
	if err := errors.Join(json.Unmarshal(j.Payload, &p), json.Unmarshal([]byte(j.Secret.Reveal()), &by)); err != nil {
		return orchestrator.RollupUse{}, err
	}
	return orchestrator.RollupUse{
		ID: j.Key, Scope: p.Scope, Name: p.Name, Zone: p.Zone, Since: p.Since, At: p.At, InSource: p.InSource,
		By: securitycontext.Context{
			Domain: by.Domain, Principal: securitycontext.Principal{Realm: by.Realm, Subject: by.Subject}, Username: by.Username,
			Claims: by.Claims, Template: by.Template, Groups: by.Groups, Extended: by.Extended, AppID: by.AppID,
		},
	}, nil
}

package connectedapps

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/journal"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/oauthapps"
)

// What becomes of the answer of an authorization server that the database does not take at once.
//
//	answer ──▶ SaveRefreshed ──fence outdated──▶ Adopt: it is newer, or it is the spare
//	               └──no database──▶ Journal ──▶ memory serves ──▶ (again, until stored)
//
// Once the server has answered, the refresh token that was sent may be dead, and the one that came is the only way to
// go on. So an answer is never dropped: where it cannot be the grant's, it is kept beside it.

// Answer is what a refresh brought, until it is stored.
type Answer struct {
	Grant  Grant        // as it is to be stored; its Fence is the claim's
	App    registration // as it was when the server answered: to that server the tokens go back that are of no use
	Source string       // hash of the refresh token that was sent for it (secret.Text.Hash)
	Entry  audit.Entry
}

// Journal keeps answers on this machine's disk while the database does not take them: a journal.Journal.
type Journal interface {
	// Append keeps r, sealed; once it returns nil, r would survive a power failure.
	Append(r journal.Record) error

	// Done says that the database has what was kept under id.
	Done(id string) error

	// Pending returns what was kept, here or by a process that is gone, and is not done, the oldest first. With an
	// error, it is what could be opened.
	Pending() ([]journal.Record, error)
}

var (
	errOvertaken = errors.New("the grant was replaced or ended meanwhile")
	errSpare     = errors.New("the refresh token was refused, and there is another one to try")
)

// codeReplayed is the failure code of a grant that lives by a late answer: the refresh token that this answer replaced
// may have been sent again meanwhile, by another process that took over. A server that notices reuse then ends the
// grant (RFC 9700 §4.14.2), and should it refuse the next refresh, nobody can tell whether that was our doing or the
// person's. A success clears it.
const codeReplayed = "replayed"

// adopt decides what becomes of an answer whose claim is outdated: another process has claimed cur, the grant as it is
// stored, since. changed is unset when cur holds all that is worth holding.
//
// The rotation is a chain, each refresh token redeemed for the next one. If cur still holds the one that a was sent
// for, a is the next link, even when that token was refused since: it was refused because a replaced it. If cur has
// moved on, both descend from one token, and nobody can tell which the server still honours: the one that came last
// serves, and the other is the spare, to be tried before the grant is called dead.
func adopt(cur Grant, a Answer) (merged Grant, changed bool) {
	next := a.Grant
	rotated := next.RefreshToken.Hash() != a.Source
	later := next.RefreshedAt.After(cur.RefreshedAt)
	replayed := false
	merged = cur
	switch {
	case next.RefreshToken.Equal(cur.RefreshToken) && (!later || !cur.RefusedAt.IsZero()), next.RefreshToken.Equal(cur.SpareRefreshToken):
		return cur, false // stored already, or it only would undo a refusal
	case !rotated && cur.RefreshToken.Hash() != a.Source:
		return cur, false // the token that it leaves standing was replaced since
	case !next.RefusedAt.IsZero() && cur.RefreshToken.Hash() != a.Source && !later:
		return cur, false // somebody else's are nobody's spare
	case cur.RefreshToken.Hash() == a.Source:
		replayed = rotated
	case later:
		merged.SpareRefreshToken = cur.RefreshToken
	default:
		merged.SpareRefreshToken = next.RefreshToken
		return merged, true
	}
	merged.AccessToken, merged.RefreshToken, merged.TokenType, merged.Scopes = next.AccessToken, next.RefreshToken, next.TokenType, next.Scopes
	merged.RefreshedAt, merged.ExpiresAt = next.RefreshedAt, next.ExpiresAt
	merged.RefreshExpiresAt, merged.RefreshEndKnown = next.RefreshExpiresAt, next.RefreshEndKnown
	merged.Revision++
	merged = merged.settled()
	merged.RefusedAt, merged.FailureCode, merged.FailedAt = next.RefusedAt, next.FailureCode, next.FailedAt
	if replayed && merged.RefusedAt.IsZero() {
		merged = merged.suspect(latest(cur.FailedAt, next.RefreshedAt))
	}
	return merged, true
}

// suspect returns g as a grant that our own doing may have ended at the server.
func (g Grant) suspect(since time.Time) Grant {
	g.FailureCode, g.FailedAt = codeReplayed, since
	return g
}

// settled returns g as it is after a success, with a fence that no older claim has.
func (g Grant) settled() Grant {
	g.Fence++
	g.RefusedAt, g.FailureCode, g.FailedAt, g.Failures, g.NextTryAt = time.Time{}, "", time.Time{}, 0, time.Time{}
	g.IntentAt, g.IntentUntil, g.IntentBy = time.Time{}, time.Time{}, ""
	return g
}

// store stores an answer, once: as its claim's, or else by adoption. It fails with errOvertaken, and the grant as it is
// now, when the grant was replaced or deleted: then the tokens are ended at the server.
func (t *Tokens) store(ctx context.Context, a Answer) (Grant, error) {
	saved, err := t.cfg.Refreshes.SaveRefreshed(ctx, a.Grant, a.Entry)
	for try := 0; errors.Is(err, fault.Conflict) && try < 10; try++ {
		var cur Grant
		if cur, err = t.read(ctx, a.Grant.Key); err != nil {
			return a.Grant, err
		}
		if cur.ID == "" || cur.Epoch != a.Grant.Epoch {
			return cur, t.endUnused(ctx, a)
		}
		merged, changed := adopt(cur, a)
		if !changed {
			return cur, nil
		}
		e := a.Entry
		if a.Grant.RefusedAt.IsZero() {
			e.Outcome = "adopted"
		}
		if !merged.RefreshToken.Equal(a.Grant.RefreshToken) {
			e.Outcome = "kept_as_spare"
		}
		saved, err = t.cfg.Refreshes.Adopt(ctx, merged, e)
	}
	return saved, err
}

// endUnused revokes tokens of a grant that ended while they were on their way: nothing here honours them. They are for the
// server that gave them, wherever the app is now, or if it is gone. A journal of before that was kept tells nobody.
func (t *Tokens) endUnused(ctx context.Context, a Answer) error {
	t.cfg.Log.Info("refreshed tokens of a grant that ended meanwhile are revoked", zap.String("app_id", a.Grant.Key.AppID))
	if a.App.RevocationURL != "" {
		t.forsake(ctx, t.cfg.Log, a.App.app(), a.Grant)
	}
	return errOvertaken
}

// trySpare makes the spare refresh token of g, if there is one, the one to use.
func (t *Tokens) trySpare(ctx context.Context, app oauthapps.App, g Grant) (Grant, error) {
	if g.SpareRefreshToken.Empty() {
		return g, errors.New("there is no spare")
	}
	g.RefreshToken, g.SpareRefreshToken = g.SpareRefreshToken, Secret{}
	saved, err := t.cfg.Refreshes.Adopt(ctx, g.settled().suspect(t.cfg.Now().UTC()), t.entry(ctx, "system", audit.GrantRefused, g, app, "spare_in_use"))
	t.cache.forget(g.Key.String())
	return saved, err
}

// save stores an answer, trying for some seconds. With a journal it tries once: then the answer is on this disk, and
// kept is the id of its record there.
func (t *Tokens) save(ctx context.Context, a Answer) (saved Grant, kept string, err error) {
	for pause := 20 * time.Millisecond; ; pause *= 3 {
		try, cancel := context.WithTimeout(ctx, 2*time.Second) // then the disk, before anything else happens to us
		saved, err = t.store(try, a)
		cancel()
		if err == nil || errors.Is(err, errOvertaken) {
			t.cache.forget(a.Grant.Key.String())
			return saved, "", err
		}
		if kept = t.keepOnDisk(a); kept != "" || pause > 2*time.Second || sleep(ctx, pause) != nil {
			return saved, kept, err
		}
	}
}

// keepOnDisk appends an answer to the journal, if there is one, and returns the id of its record, or "".
func (t *Tokens) keepOnDisk(a Answer) string {
	if t.cfg.Journal == nil {
		return ""
	}
	record, err := recordOf(a)
	if err == nil {
		if err = t.cfg.Journal.Append(record); err == nil {
			t.pass(AfterJournal)
			return record.ID
		}
	}
	t.cfg.Log.Error("refreshed tokens are in memory only: the journal does not take them", zap.String("app_id", a.Grant.Key.AppID), zap.Error(err))
	return ""
}

// settle ends a record of the journal. One that stays there is found to be stored at the next start.
func (t *Tokens) settle(kept string) {
	if kept == "" {
		return
	}
	if err := t.cfg.Journal.Done(kept); err != nil {
		t.cfg.Log.Warn("journal not cleared", zap.Error(err))
	}
}

// saveLater lets g, which a brought, serve from memory and goes on trying to store a until that works or Run ends.
// kept is the id of its record in the journal, or "".
func (t *Tokens) saveLater(ctx context.Context, log *zap.Logger, g Grant, a Answer, kept string) {
	ctx = context.WithoutCancel(ctx) // the request that brought the tokens is long over
	key := g.Key.String()
	t.mu.Lock()
	t.unsaved[key] = g
	t.running.Add(1)
	t.mu.Unlock()
	go func() {
		defer t.running.Done()
		for last := false; ; {
			timer := time.NewTimer(500 * time.Millisecond)
			select {
			case <-timer.C:
			case <-t.stop:
				timer.Stop()
				last = true
			}
			try, cancel := context.WithTimeout(ctx, grace)
			saved, err := t.store(try, a)
			cancel()
			done := err == nil || errors.Is(err, errOvertaken)
			if done || last {
				t.mu.Lock()
				delete(t.unsaved, key)
				t.mu.Unlock()
				t.cache.forget(key)
			}
			switch {
			case done:
				t.settle(kept)
				log.Info("refreshed tokens stored after all", zap.Int64("revision", saved.Revision), zap.NamedError("but", err))
			case last && kept != "":
				log.Warn("refreshed tokens are in the journal: the next start stores them", zap.Error(err))
			case last:
				log.Error("refreshed tokens lost: the store did not take them before the server stopped", zap.Error(err))
			default:
				continue
			}
			return
		}
	}()
}

// Recover stores the answers that a process left in the journal. Call it before anything else of Tokens is used: a
// refresh that began earlier would send a refresh token that is spent.
func (t *Tokens) Recover(ctx context.Context) error {
	if t.cfg.Journal == nil {
		return nil
	}
	records, err := t.cfg.Journal.Pending()
	if err != nil {
		t.cfg.Log.Error("the journal holds refreshed tokens that do not open with the keys of this store: their grants may have to be authorized anew", zap.Error(err))
	}
	for _, r := range records {
		a, err := answerOf(r)
		if err != nil {
			t.cfg.Log.Error("a record of the journal is no answer of an authorization server", zap.Error(err))
			continue // it stays
		}
		saved, err := t.store(ctx, a)
		if err != nil && !errors.Is(err, errOvertaken) {
			return storeError(err)
		}
		t.settle(r.ID)
		t.cfg.Log.Info("refreshed tokens stored from the journal", zap.String("app_id", a.Grant.Key.AppID), zap.Int64("revision", saved.Revision))
	}
	return nil
}

// written is an Answer as the journal holds it, before it is sealed.
type written struct {
	Grant   Grant
	App     registration
	Access  string
	Refresh string
	Spare   string
	DPoPKey string
	Source  string
	Entry   audit.Entry
}

// recordOf returns a for the journal, under the grant and the claim that it is the answer to.
func recordOf(a Answer) (journal.Record, error) {
	g := a.Grant
	b, err := json.Marshal(written{
		Grant: g, Access: g.AccessToken.Reveal(), Refresh: g.RefreshToken.Reveal(), Spare: g.SpareRefreshToken.Reveal(), DPoPKey: g.DPoPKey.Reveal(),
		App: a.App, Source: a.Source, Entry: a.Entry,
	})
	return journal.Record{ID: g.ID + " " + strconv.FormatInt(g.Fence, 10), Owner: g.Key.Principal.Key(), Payload: secret.New(string(b))}, err
}

// answerOf returns the answer in r, which belongs to the grant and the person that r names.
func answerOf(r journal.Record) (Answer, error) {
	var w struct {
		written
		Grant struct { // the tokens in it say "[redacted]"
			Grant
			AccessToken, RefreshToken, SpareRefreshToken, DPoPKey json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(r.Payload.Reveal()), &w); err != nil {
		return Answer{}, errors.New("it is not what was written") // the decoder may quote it
	}
	g := w.Grant.Grant
	g.AccessToken, g.RefreshToken, g.SpareRefreshToken = secret.New(w.Access), secret.New(w.Refresh), secret.New(w.Spare)
	g.DPoPKey = secret.New(w.DPoPKey)
	if g.Key.Principal.Key() != r.Owner || g.ID+" "+strconv.FormatInt(g.Fence, 10) != r.ID {
		return Answer{}, errors.New("it belongs to another grant")
	}
	return Answer{Grant: g, App: w.App, Source: w.Source, Entry: w.Entry}, nil
}

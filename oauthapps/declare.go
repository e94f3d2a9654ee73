package oauthapps

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
)

// Check returns what is wrong with declared apps by themselves, all of it, as Declare would refuse them.
func Check(apps []App) error {
	f, _ := checkDeclared(slices.Clone(apps))
	return f.err()
}

// checkDeclared normalizes apps in place, and returns what is wrong with them and the index of each slug.
func checkDeclared(apps []App) (fields, map[string]int) {
	f := fields{}
	slugs := map[string]int{}
	for i := range apps {
		apps[i] = normalize(apps[i])
		f.prefix = fmt.Sprintf("/oauth_apps/%d", i)
		check(apps[i], &f)
		if first, ok := slugs[apps[i].Slug]; ok {
			f.add("name", "taken", "name has the slug %q, as /oauth_apps/%d has: choose a different one.", apps[i].Slug, first)
		}
		slugs[apps[i].Slug] = i
	}
	return f, slugs
}

// Declare makes the apps of the configuration file the ones of domain that are managed by it: new ones are stored,
// changed ones updated, by slug, and those that are no longer declared are paused, their grants kept. What is wrong is
// fault.Invalid with a Field for each place, below /oauth_apps/<index>, and then nothing was changed.
//
// An app is not moved to another server while people are connected through it (Update): that is fault.Conflict with code
// app_has_grants, and the apps before it are declared.
//
// An issuer that does not answer is no reason not to start: its metadata is read when it is needed first (Ready).
func (r *Registry) Declare(ctx context.Context, domain string, apps []App) error {
	f, slugs := checkDeclared(apps)
	stored, err := r.cfg.Store.ListApps(ctx, "")
	if err != nil {
		return storeError(err)
	}
	bySlug := map[string]App{}
	for _, a := range stored {
		bySlug[a.Slug] = a
		if i, ok := slugs[a.Slug]; ok && a.Domain != domain {
			f.prefix = fmt.Sprintf("/oauth_apps/%d", i)
			f.add("name", "taken", "name has the slug %q, which an app of another domain has: choose a different one.", a.Slug)
		}
	}
	if err := f.err(); err != nil {
		return err
	}
	defer r.forget()
	for _, a := range apps {
		if err := r.declare(ctx, domain, a, bySlug[a.Slug]); err != nil {
			return err
		}
	}
	for _, a := range stored {
		if _, ok := slugs[a.Slug]; ok || a.Domain != domain || a.Origin != FromFile || a.Paused {
			continue
		}
		a.Paused, a.PausedNote, a.UpdatedAt = true, gone, r.cfg.Now().UTC()
		if _, err := r.cfg.Store.UpdateApp(ctx, a, r.entry(ctx, "config", audit.OAuthAppPaused, a)); err != nil {
			return storeError(err)
		}
	}
	return nil
}

// declare stores one declared app, where old is what is there; old.ID is empty when nothing is.
func (r *Registry) declare(ctx context.Context, domain string, a, old App) error {
	now := r.cfg.Now().UTC()
	a.Domain, a.Origin, a.UpdatedAt = domain, FromFile, now
	if old.ID == "" {
		a.ID, a.CreatedAt = id.New(id.OAuthApp, now), now
		a.stamp(App{}, now)
		_, err := r.cfg.Store.CreateApp(ctx, a, r.entry(ctx, "config", audit.OAuthAppCreated, a))
		return storeError(err)
	}
	a.ID, a.CreatedAt, a.Rev = old.ID, old.CreatedAt, old.Rev
	if a.Paused = old.Paused && old.PausedNote != gone; a.Paused {
		a.PausedNote = old.PausedNote
	}
	a.SecretSet, a.NextSecretSet, a.PrivateKeySet = old.SecretSet, old.NextSecretSet, old.PrivateKeySet
	a.stamp(old, now)
	if a.sameCredentials(old) {
		a.NextInUse = old.NextInUse
		a.BrokenAt, a.BrokenCode = old.BrokenAt, old.BrokenCode
	}
	asked := a
	if a.Issuer != "" && a.Issuer == old.Issuer { // what its metadata said, where the file says nothing
		a = fill(a, Metadata{
			AuthURL: old.AuthURL, TokenURL: old.TokenURL, RevocationURL: old.RevocationURL,
			UserinfoURL: old.UserinfoURL, JWKSURL: old.JWKSURL, IssInResponse: old.IssInResponse,
			IntrospectionURL: old.IntrospectionURL, PARURL: old.PARURL, PARRequired: old.PARRequired,
		})
		a.DPoPOffered = old.DPoPOffered
	}
	if same(a, old) {
		return nil
	}
	save := r.cfg.Store.UpdateApp
	if moved(a, asked, old) != "" {
		save = r.cfg.Store.MoveApp
	}
	_, err := save(ctx, a, r.entry(ctx, "config", audit.OAuthAppUpdated, a))
	return storeError(notMoved(old, err))
}

// same reports whether two apps differ in nothing but the time of their last change.
func same(a, b App) bool {
	secrets := a.ClientSecret.Equal(b.ClientSecret) && a.ClientSecretNext.Equal(b.ClientSecretNext) && a.NextInUse == b.NextInUse && a.PrivateKey.Equal(b.PrivateKey)
	offers := a.PARURL == b.PARURL && a.PARRequired == b.PARRequired && a.IntrospectionURL == b.IntrospectionURL && a.DPoPOffered == b.DPoPOffered
	asks := a.AssertionAudience == b.AssertionAudience && a.DPoP == b.DPoP && slices.Equal(a.Resources, b.Resources) &&
		slices.Equal(a.ExchangeAudiences, b.ExchangeAudiences) && slices.Equal(a.SubjectIssuers, b.SubjectIssuers) && a.HandOut == b.HandOut
	lists := slices.Equal(a.Scopes, b.Scopes) && slices.Equal(a.DataSources, b.DataSources) && maps.Equal(a.AuthParams, b.AuthParams)
	return secrets && offers && asks && lists && a.Name == b.Name && a.Preset == b.Preset && a.Host == b.Host && a.Issuer == b.Issuer &&
		a.AuthURL == b.AuthURL && a.TokenURL == b.TokenURL && a.RevocationURL == b.RevocationURL &&
		a.UserinfoURL == b.UserinfoURL && a.JWKSURL == b.JWKSURL && a.IssInResponse == b.IssInResponse &&
		a.IdentityMatch == b.IdentityMatch && a.ClientID == b.ClientID && a.AuthMethod == b.AuthMethod && a.Paused == b.Paused &&
		a.PausedNote == b.PausedNote && a.Origin == b.Origin && a.BrokenAt.Equal(b.BrokenAt)
}

// fill puts what metadata says into the fields of a that are empty: explicit values win.
func fill(a App, m Metadata) App {
	for _, f := range []struct {
		to   *string
		from string
	}{
		{&a.AuthURL, m.AuthURL}, {&a.TokenURL, m.TokenURL}, {&a.RevocationURL, m.RevocationURL},
		{&a.UserinfoURL, m.UserinfoURL}, {&a.JWKSURL, m.JWKSURL},
		{&a.IntrospectionURL, m.IntrospectionURL}, {&a.PARURL, m.PARURL},
	} {
		if *f.to == "" {
			*f.to = f.from
		}
	}
	a.IssInResponse, a.PARRequired = a.IssInResponse || m.IssInResponse, a.PARRequired || m.PARRequired
	a.DPoPOffered = a.DPoPOffered || slices.Contains(m.DPoPAlgorithms, dpopAlgorithm)
	return a
}

// discover fills the empty endpoints of a from the metadata of its issuer. It adds to f when one that is needed is
// still missing afterwards; metadata that adds nothing needed may be absent.
func (r *Registry) discover(ctx context.Context, a App, f *fields) App {
	if a.Issuer != "" && r.cfg.Discover != nil && (a.AuthURL == "" || a.TokenURL == "" || a.JWKSURL == "") {
		m, err := r.cfg.Discover(ctx, a.Issuer)
		if err != nil && (a.AuthURL == "" || a.TokenURL == "") {
			f.add("issuer", "discovery_failed", "%s", detail(err))
			return a
		}
		a = fill(a, m)
	}
	if a.AuthURL == "" {
		f.add("auth_url", "required", "auth_url is missing, and the issuer's metadata does not name it.")
	}
	if a.TokenURL == "" {
		f.add("token_url", "required", "token_url is missing, and the issuer's metadata does not name it.")
	}
	if a.PARRequired && a.PARURL == "" {
		f.add("par_url", "required", "par_url is missing, and the issuer's metadata does not name it, although authorization requests must be pushed.")
	}
	return a
}

// Ready returns a with its endpoints, reading them from the issuer's metadata when they are not known yet: it was
// declared while the issuer did not answer. It is fault.Unavailable while that is so.
func (r *Registry) Ready(ctx context.Context, a App) (App, error) {
	if a.AuthURL != "" && a.TokenURL != "" && (a.Issuer == "" || a.JWKSURL != "") {
		return a, nil
	}
	f := fields{}
	ready := r.discover(ctx, clone(a), &f)
	if len(f.list) > 0 {
		e := fault.New(fault.Unavailable, "%s cannot be connected now: %s", a.Name, f.list[0].Detail)
		e.Code, e.Owner = "discovery_failed", fault.Admin
		return App{}, e
	}
	if same(ready, a) {
		return a, nil // nothing more is known
	}
	ready.UpdatedAt = r.cfg.Now().UTC()
	stored, err := r.cfg.Store.UpdateApp(ctx, ready, r.entry(ctx, "system", audit.OAuthAppUpdated, ready))
	if err != nil { // somebody else was faster, or the store is away: what was read serves this once
		r.forget()
		return ready, nil
	}
	return stored, nil
}

// report records whether the authorization server accepts our credentials: code is why it does not, and empty when it
// does. Only a change is written. The people who are connected through the app are not touched.
func (r *Registry) report(ctx context.Context, a App, code string) error {
	if a.BrokenAt.IsZero() == (code == "") {
		return nil
	}
	return r.amend(ctx, a, func(cur App, e *audit.Entry) (App, bool) {
		if code != "" {
			e.Outcome = code
		}
		changed := cur.BrokenAt.IsZero() != (code == "")
		cur.BrokenAt, cur.BrokenCode = time.Time{}, code
		if code != "" {
			cur.BrokenAt = r.cfg.Now().UTC()
		}
		return cur, changed
	})
}

// amend stores what an answer of the authorization server taught us about the credentials of a: change lays it over
// the app as it is, completes the audit entry, and says whether that is news. Credentials that were replaced meanwhile
// are not spoken of.
func (r *Registry) amend(ctx context.Context, a App, change func(App, *audit.Entry) (App, bool)) error {
	// The answer is here and must be recorded, whether or not the one who asked still waits.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for range 3 {
		cur, err := r.cfg.Store.GetApp(ctx, a.ID)
		if err != nil {
			return storeError(err)
		}
		e := r.entry(ctx, "system", audit.OAuthAppUpdated, cur)
		next, changed := change(cur, &e)
		if !changed || !cur.sameCredentials(a) {
			r.forget()
			return nil
		}
		if _, err := r.cfg.Store.UpdateApp(ctx, next, e); fault.KindOf(err) != fault.Conflict {
			return storeError(err)
		}
	}
	return fault.New(fault.Conflict, "The OAuth app %q is being changed.", a.Name)
}

// detail is the sentence of err that an admin may read.
func detail(err error) string {
	if e, ok := asFault(err); ok {
		return e.Detail
	}
	return "The issuer's metadata could not be read."
}

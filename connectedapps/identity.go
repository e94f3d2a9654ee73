package connectedapps

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/oauthapps"
)

// Codes of what a comparison of identities may end in.
const (
	codeIdentityMismatch = "identity_mismatch"
	codeIdentityUnknown  = "identity_unknown"
)

// whoAmILimit bounds how long a consent waits for a data source to say whose token it has: a warehouse may have to
// wake up first, and what it says is not needed unless the app enforces it.
const whoAmILimit = 10 * time.Second

// Person is what somebody is called here, as far as that may be compared with what a provider calls them. Neither name
// is one that they can choose for themselves.
type Person struct {
	Username string
	Email    string // one that was verified; empty when there is none
}

// is reports whether identity, in its normal form, is one of p's names.
func (p Person) is(identity string) bool {
	for _, name := range []string{p.Username, p.Email} {
		if n, ok := normalIdentity(name); ok && n == identity {
			return true
		}
	}
	return false
}

// name is what p is called in a sentence about there.
func (p Person) name(there string) string {
	if p.Email != "" && (strings.Contains(there, "@") || p.Username == "") {
		return p.Email
	}
	return p.Username
}

// normalIdentity returns the form in which two names of people are compared, and false for what is no name: more than
// one @ (CVE-2026-40574 let a@x.com@evil pass), an empty part, spaces or what cannot be seen. Letters of ASCII are
// folded and nothing else is: no other alphabet, no Kelvin sign that folds to k, no comment or plus part that makes two
// names one.
func normalIdentity(name string) (string, bool) {
	if name == "" || len(name) > 320 || !utf8.ValidString(name) || strings.Count(name, "@") > 1 {
		return "", false
	}
	if local, domain, isMail := strings.Cut(name, "@"); isMail && (local == "" || domain == "") {
		return "", false
	}
	if strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) }) {
		return "", false
	}
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name), true
}

// match compares who consented at the provider with who is signed in here, as the app wants it. With a difference, or
// when nobody can say, an app that enforces gets an error; one that warns gets the name from here in g.Mismatch.
func (f *Flow) match(ctx context.Context, app oauthapps.App, a Authorization, token Secret, g *Grant) error {
	if app.IdentityMatch == oauthapps.MatchOff {
		return nil
	}
	enforce := app.IdentityMatch == oauthapps.MatchEnforce
	if g.Identity == "" && f.cfg.WhoAmI != nil && !oauthapps.Bound(g.TokenType) { // a bound token is of no use there
		asking, cancel := context.WithTimeout(ctx, whoAmILimit)
		name, err := f.cfg.WhoAmI(asking, app, token)
		cancel()
		if err != nil {
			f.cfg.Log.Info("the data source did not say whose token it has", audit.Request(ctx),
				zap.String("app_id", app.ID), zap.Error(err))
		}
		g.Identity, _ = normalIdentity(name)
		if g.Identity != "" && (g.Account == "" || g.Account == g.Subject) {
			g.Account = name
		}
	}
	here := Person{}
	if f.cfg.Person != nil {
		var err error
		if here, err = f.cfg.Person(ctx, a.Principal); err != nil && !errors.Is(err, fault.NotFound) {
			return storeError(err)
		}
	}
	switch {
	case g.Identity == "" || here == Person{}:
		if enforce {
			return f.fail(fault.Denied, codeIdentityUnknown, fault.Admin, app, nil,
				"Nobody could say who you are at %s, and it may only be connected as yourself. Nothing was stored. An admin can let %s name you (scope openid or a userinfo URL).", app.Name, app.Name)
		}
	case here.is(g.Identity):
	case enforce:
		e := f.fail(fault.Denied, codeIdentityMismatch, fault.User, app, nil,
			"%s Only your own account can be connected. Nothing was stored, and the access was given back.", mismatchSentence(app, g.Account, here.name(g.Identity)))
		e.Actions = []fault.Action{anotherAccount(f.cfg.Apps, app)}
		return e
	default:
		g.Mismatch = here.name(g.Identity)
	}
	return nil
}

// Mismatch says that a person is somebody else at the provider than here. It is a notice, not a status: queries run as
// the account there.
type Mismatch struct {
	There   string // the account
	Here    string
	Detail  string
	Actions []fault.Action // use another account, or keep this one
}

// anotherAccount leads to the connect page, which then asks the provider to let the person choose who they are there.
func anotherAccount(apps *oauthapps.Registry, app oauthapps.App) fault.Action {
	return fault.Action{Rel: "reauthorize", Href: apps.ConnectURL(app.Slug) + "?account=another", Label: "Use another account"}
}

func mismatchSentence(app oauthapps.App, there, here string) string {
	return fmt.Sprintf("You signed in to %s as %s but here as %s.", app.Name, there, here)
}

// mismatch returns the notice about g, or nil.
func (t *Tokens) mismatch(app oauthapps.App, g Grant) *Mismatch {
	if g.Mismatch == "" || app.IdentityMatch == oauthapps.MatchOff {
		return nil
	}
	another := anotherAccount(t.cfg.Apps, app)
	if exchangesAgain(app, g) {
		another = exchangeAction("Exchange another token")
	}
	return &Mismatch{
		There: g.Account, Here: g.Mismatch, Detail: mismatchSentence(app, g.Account, g.Mismatch),
		Actions: []fault.Action{another, {Rel: "keep_account", Label: "Keep " + g.Account}},
	}
}

// KeepAccount ends the notice that principal is somebody else at the provider than here: they meant it. It is
// fault.NotFound without a grant, and changes nothing when there is no such notice.
func (t *Tokens) KeepAccount(ctx context.Context, principal Principal, slug string) (ConnectedApp, error) {
	app, err := t.cfg.Apps.Get(ctx, slug)
	if err != nil {
		return ConnectedApp{}, err
	}
	g, err := t.read(ctx, Key{Principal: principal, AppID: app.ID})
	switch {
	case err != nil:
		return ConnectedApp{}, err
	case g.ID == "":
		return ConnectedApp{}, t.refuse(fault.NotFound, app, NotConnected, "You have not connected %s.", app.Name)
	case g.Mismatch == "":
		return t.connectedApp(app, g), nil
	}
	entry := t.entry(ctx, actorOf(principal), audit.GrantAccountKept, g, app, "ok")
	entry.Detail["account"] = g.Account
	kept, err := t.cfg.Store.KeepAccount(ctx, g.Key, g.Epoch, entry)
	if err != nil {
		return ConnectedApp{}, storeError(err)
	}
	return t.connectedApp(app, kept), nil
}

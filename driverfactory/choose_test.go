package driverfactory_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/driverfactory/drivertest"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

// grant is what Credentials answers for alice.
type grant struct {
	name string
	tok  driverfactory.Token
	err  error
	word string // status shown when it makes somebody fall back; empty when it never does
}

func refusal(kind fault.Kind, code, status string) error {
	e := &fault.Error{Kind: kind, Code: code, Detail: "as Credentials says it"}
	if status != "" {
		e.Params = map[string]string{"status": status}
	}
	return e
}

var grants = []grant{
	{name: "active", tok: driverfactory.Token{Value: driverfactory.NewSecret("x"), Status: "active", Epoch: 7}},
	{name: "expiring", tok: driverfactory.Token{Value: driverfactory.NewSecret("x"), Status: "expiring", Epoch: 7}},
	{name: "refresh_failing, its token alive", tok: driverfactory.Token{Value: driverfactory.NewSecret("x"), Status: "refresh_failing", Epoch: 7}},
	{name: "not_connected", err: refusal(fault.AuthorizationRequired, "", ""), word: "not_connected"},
	{name: "expired", err: refusal(fault.ReauthorizationRequired, "", "expired"), word: "expired"},
	{name: "revoked", err: refusal(fault.ReauthorizationRequired, "", "revoked"), word: "revoked"},
	{name: "unknown_outcome", err: refusal(fault.ReauthorizationRequired, "", "unknown_outcome"), word: "unknown_outcome"},
	{name: "ended, without a word", err: refusal(fault.ReauthorizationRequired, "", ""), word: "expired"},
	{name: "disabled", err: refusal(fault.AppDisabled, "", ""), word: "disabled"},
	{name: "refresh_failing, its token dead", err: refusal(fault.RefreshFailing, "", ""), word: "refresh_failing"},
	{name: "invalid_client", err: refusal(fault.Unavailable, "invalid_client", "expired"), word: "expired"},
	{name: "a disabled person", err: refusal(fault.Denied, "user_disabled", "")},
	{name: "a store that does not answer", err: refusal(fault.Unavailable, "store_unavailable", "")},
	{name: "a bug", err: errors.New("nil pointer")},
}

// carried is the credential in alice's JWT.
var carried = []struct {
	name   string
	cred   *securitycontext.Credential
	usable bool
	word   string
}{
	{name: "no carried credential"},
	{name: "a carried credential", usable: true, cred: &securitycontext.Credential{AccessToken: driverfactory.NewSecret("jwt"), Status: "active"}},
	{name: "a carried credential that lives", usable: true, cred: &securitycontext.Credential{
		AccessToken: driverfactory.NewSecret("jwt"), Status: "active", ExpiresAt: epoch.Add(time.Second)}},
	{name: "a carried credential past its end", word: "expired", cred: &securitycontext.Credential{
		AccessToken: driverfactory.NewSecret("jwt"), Status: "active", ExpiresAt: epoch}},
	{name: "a carried credential that is revoked", word: "revoked", cred: &securitycontext.Credential{
		AccessToken: driverfactory.NewSecret("jwt"), Status: "revoked"}},
	{name: "a carried credential without a status", word: "unknown", cred: &securitycontext.Credential{AccessToken: driverfactory.NewSecret("jwt")}},
	{name: "a carried credential without a token", word: "not_connected", cred: &securitycontext.Credential{Status: "active"}},
}

var operations = []driverfactory.Operation{driverfactory.UserQuery, driverfactory.LivenessCheck, driverfactory.Background}

// TestChoose goes through the whole table: every operation, grant, carried credential, policy, kind of source and
// caller. What is wanted is written down as design.md §2.4 says it, case by case.
func TestChoose(t *testing.T) {
	account := &driverfactory.ServiceAccount{Name: "svc_ro", Token: driverfactory.NewSecret("svc")}
	for _, op := range operations {
		for _, g := range grants {
			for _, c := range carried {
				for _, fallback := range []driverfactory.Fallback{"", driverfactory.FallbackDeny, driverfactory.FallbackServiceAccount} {
					for _, hasApp := range []bool{true, false} {
						for _, hasAccount := range []bool{true, false} {
							for _, anonymous := range []bool{true, false} {
								name := fmt.Sprintf("%s, grant %s, %s, fallback %q, app %v, account %v, anonymous %v",
									op, g.name, c.name, fallback, hasApp, hasAccount, anonymous)
								creds := drivertest.NewGrants()
								creds.Set(g.tok)
								creds.Refuse(g.err)
								f := driverfactory.New(driverfactory.Config{
									Credentials: creds, Warehouses: map[string]driverfactory.Warehouse{"fake": &warehouse{}},
									Now: func() time.Time { return epoch },
								})
								src, sc := source(), alice
								src.Fallback = fallback
								if !hasApp {
									src.OAuthApp = ""
								}
								if hasAccount {
									src.ServiceAccount = account
								}
								if anonymous {
									sc.Principal, sc.Username = driverfactory.Principal{}, ""
								}
								if c.cred != nil {
									sc.Credentials = map[string]securitycontext.Credential{"fake": *c.cred}
								}
								got, err := f.Choose(t.Context(), sc, src, op)

								// What design.md says.
								var identity driverfactory.Identity
								var reason, credential string
								var kind fault.Kind
								service := func(why, status string) {
									if identity, reason, credential = driverfactory.IdentityServiceAccount, why, status; !hasAccount {
										identity, kind = "", fault.Unavailable
									}
								}
								fallBack := func(status string, refused fault.Kind) {
									if fallback == driverfactory.FallbackServiceAccount && hasAccount {
										service(status, status)
										return
									}
									kind = refused
								}
								noApp := func() {
									if fallback == driverfactory.FallbackDeny {
										kind = fault.Unavailable
										return
									}
									service("no_oauth_app", "")
								}
								switch {
								case op != driverfactory.UserQuery:
									service(string(op), "")
								case anonymous && !hasApp && c.cred == nil:
									noApp()
								case anonymous:
									fallBack("not_connected", fault.AuthorizationRequired)
								case hasApp && g.err == nil:
									identity, reason, credential = driverfactory.IdentityUser, "grant", g.tok.Status
								case hasApp && g.word == "":
									kind = fault.KindOf(g.err)
								case c.usable:
									identity, reason, credential = driverfactory.IdentityUser, "jwt", "active"
								case hasApp:
									fallBack(g.word, fault.KindOf(g.err))
								case c.cred != nil:
									fallBack(c.word, fault.ReauthorizationRequired)
								default:
									noApp()
								}

								if identity == "" {
									if err == nil || fault.KindOf(err) != kind {
										t.Fatalf("%s: Choose = %+v, %v; want a refusal %q", name, got.RunAs, err, kind)
									}
									if e, ok := errors.AsType[*fault.Error](err); ok && e.Params["data_source"] != "sales" {
										t.Fatalf("%s: the refusal names data source %q, want sales", name, e.Params["data_source"])
									}
									continue
								}
								want := driverfactory.RunAs{
									Identity: identity, Username: sc.Username, DataSource: "sales", Credential: credential, Reason: reason,
								}
								if identity == driverfactory.IdentityServiceAccount {
									want.Account = "svc_ro"
									if op != driverfactory.UserQuery {
										want.Username = ""
									}
								}
								if err != nil || got.RunAs != want {
									t.Fatalf("%s: Choose = %+v, %v; want %+v", name, got.RunAs, err, want)
								}
								checkKey(t, name, got, sc)
							}
						}
					}
				}
			}
		}
	}
}

// checkKey checks what must hold of every key: it says service account or person, and never both.
func checkKey(t *testing.T, name string, c driverfactory.Choice, sc driverfactory.SecurityContext) {
	t.Helper()
	k := c.Key
	if k.Domain != "dom_1" || k.Source != "sales" || k.SourceRev != 3 {
		t.Fatalf("%s: key %+v does not name its source", name, k)
	}
	if c.RunAs.Identity == driverfactory.IdentityServiceAccount {
		if !k.Service || k.Principal != (driverfactory.Principal{}) || k.App != "" || k.Epoch != 0 {
			t.Fatalf("%s: key of the service account = %+v", name, k)
		}
		return
	}
	if k.Service || k.Principal != sc.Principal || k.Epoch == 0 || (k.App == "wh") != (c.RunAs.Reason == "grant") {
		t.Fatalf("%s: key of a person = %+v", name, k)
	}
}

func TestChooseKeepsTheRefusalOfCredentials(t *testing.T) {
	original := &fault.Error{
		Kind: fault.ReauthorizationRequired, Detail: "Your Databricks access ended.", Owner: fault.User,
		Actions: []fault.Action{{Rel: "authorize", Href: "https://behalf.example/connect/wh"}},
		Params:  map[string]string{"status": "revoked", "oauth_app": "its-own-word"},
	}
	creds := drivertest.NewGrants()
	creds.Refuse(original)
	f := driverfactory.New(driverfactory.Config{Credentials: creds, Warehouses: map[string]driverfactory.Warehouse{"fake": &warehouse{}}})
	_, err := f.Choose(t.Context(), alice, source(), driverfactory.UserQuery)
	e, _ := errors.AsType[*fault.Error](err)
	if e == nil || e.Detail != original.Detail || len(e.Actions) != 1 || e.Owner != fault.User {
		t.Fatalf("error = %+v, want the detail, owner and actions of Credentials", e)
	}
	if e.Params["data_source"] != "sales" || e.Params["status"] != "revoked" || e.Params["oauth_app"] != "its-own-word" {
		t.Errorf("params = %v, want those of Credentials and the data source", e.Params)
	}
	if original.Params["data_source"] != "" {
		t.Error("Choose wrote into the error of Credentials, which others may be reading")
	}
}

func TestChooseAsksWhetherThePersonMayAct(t *testing.T) {
	f := driverfactory.New(driverfactory.Config{
		Credentials: drivertest.NewGrants(), Warehouses: map[string]driverfactory.Warehouse{"fake": &warehouse{free: true}},
		Allowed: func(context.Context, driverfactory.Principal) error { return fault.New(fault.Denied, "disabled") },
	})
	src := source()
	src.OAuthApp = ""
	if _, err := f.Choose(t.Context(), alice, src, driverfactory.UserQuery); !errors.Is(err, fault.Denied) {
		t.Errorf("a disabled person's query: %v, want denied although the source has no OAuth app", err)
	}
	if _, err := f.Choose(t.Context(), alice, src, driverfactory.LivenessCheck); err != nil {
		t.Errorf("a liveness check: %v, want nil", err)
	}
}

func TestChooseFindsTheOAuthAppOfASource(t *testing.T) {
	creds := drivertest.NewGrants()
	creds.Set(tok(1, 1))
	slug, failure := "from-config", error(nil)
	f := driverfactory.New(driverfactory.Config{
		Credentials: creds, Warehouses: map[string]driverfactory.Warehouse{"fake": &warehouse{}},
		App: func(_ context.Context, src driverfactory.Source) (string, bool, error) {
			return slug, slug != "", failure
		},
	})
	src := source()
	src.OAuthApp, src.ServiceAccount = "", &driverfactory.ServiceAccount{User: "svc"}
	c, err := f.Choose(t.Context(), alice, src, driverfactory.UserQuery)
	if err != nil || c.Key.App != "from-config" {
		t.Errorf("key = %+v, %v; want app from-config", c.Key, err)
	}
	failure = errors.New("store down")
	if c, err = f.Choose(t.Context(), alice, src, driverfactory.UserQuery); err == nil {
		t.Errorf("Choose = %+v while nobody knows whether there is an app, want an error and no stand-in", c.RunAs)
	}
	slug, failure = "", nil
	if c, err = f.Choose(t.Context(), alice, src, driverfactory.UserQuery); err != nil || c.RunAs.Reason != "no_oauth_app" || c.RunAs.Account != "svc" {
		t.Errorf("RunAs = %+v, %v; want the service account svc, no_oauth_app", c.RunAs, err)
	}
}

func TestChooseForASourceWithoutIdentities(t *testing.T) {
	f := driverfactory.New(driverfactory.Config{Warehouses: map[string]driverfactory.Warehouse{"fake": &warehouse{free: true}}})
	src := source()
	src.OAuthApp = ""
	c, err := f.Choose(t.Context(), alice, src, driverfactory.UserQuery)
	if err != nil || c.RunAs.Identity != driverfactory.IdentityServiceAccount || c.RunAs.Account != "server" {
		t.Errorf("RunAs = %+v, %v; want the server as service account", c.RunAs, err)
	}
}

func TestCarriedTokensNeverShareAPool(t *testing.T) {
	f := driverfactory.New(driverfactory.Config{Warehouses: map[string]driverfactory.Warehouse{"fake": &warehouse{}}})
	key := func(sc driverfactory.SecurityContext, token string) driverfactory.PoolKey {
		sc.Credentials = map[string]securitycontext.Credential{"wh": {AccessToken: driverfactory.NewSecret(token), Status: "active"}}
		src := source()
		src.CredentialsKey = "wh"
		c, err := f.Choose(t.Context(), sc, src, driverfactory.UserQuery)
		if err != nil {
			t.Fatal(err)
		}
		return c.Key
	}
	bob := alice
	bob.Principal.Subject = "usr_bob"
	first := key(alice, "one")
	if first != key(alice, "one") {
		t.Error("the same token has two keys, want one pool for it")
	}
	if first == key(alice, "two") || first == key(bob, "one") {
		t.Error("another token or another person has the same key")
	}
}

func TestUnknownTypesAndOperations(t *testing.T) {
	f := driverfactory.New(driverfactory.Config{Warehouses: map[string]driverfactory.Warehouse{"databricks": &warehouse{}}})
	src := source()
	src.Type = "databrick"
	err := f.Check(src)
	e := wantFault(t, err, fault.Invalid, "unknown_type")
	if want := `"databrick" is not a type of data source here; did you mean "databricks"?; the types are databricks`; e.Detail != want {
		t.Errorf("detail = %q, want %q", e.Detail, want)
	}
	src.Type = "databricks"
	if _, err := f.Choose(t.Context(), alice, src, "export"); !errors.Is(err, fault.Invalid) {
		t.Errorf("operation export: %v, want invalid", err)
	}
	if _, err := f.Open(driverfactory.Choice{}); !errors.Is(err, fault.Invalid) {
		t.Errorf("Open of no choice: %v, want invalid", err)
	}
}

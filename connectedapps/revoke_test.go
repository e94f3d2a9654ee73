package connectedapps_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/jobs"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/sandbox/bearer"
	"github.com/behalf-project/behalf/internal/sandbox/idp"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/oauthapps"
)

// drain does the revocations that wait, as a process that starts would, until the test ends. The world's time stands
// still in the past, so that everything is due.
func (w *world) drain() {
	kind := w.tokens.Revocations(1000)
	kind.BackOff = func(int) time.Duration { return 10 * time.Millisecond } // what the provider asks for is longer, and holds
	run(w.t, jobs.NewRunner(jobs.Config{Store: w.db.Jobs(), Kinds: []jobs.Kind{kind}, Log: w.logger()}))
}

// dead reports whether the provider honours no refresh token any more.
func (w *world) dead() bool {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	for _, f := range w.server.families {
		if !f.dead {
			return false
		}
	}
	return true
}

func (w *world) people(n int) {
	w.t.Helper()
	for i := range n {
		w.connect(securitycontext.Principal{Realm: securitycontext.Local, Subject: fmt.Sprintf("usr_%d", i)})
	}
}

func TestARevocationEndsHereAtOnceAndIsToldToTheProviderLater(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		w.people(5)
		w.connect(alice)
		w.mustToken(alice)
		cut := 0
		w.bus.Subscribe(func(n notify.News) {
			if n.Revoked {
				cut++
			}
		})
		everybody := connectedapps.Scope{AppID: w.app.ID}
		p, err := w.tokens.Affected(t.Context(), everybody)
		if err != nil || p.People != 6 || p.Grants != 6 {
			t.Fatalf("Affected = %+v, %v, want 6 people", p, err)
		}
		_, err = w.tokens.Revoke(t.Context(), everybody, "a test", "usr_admin", 5)
		wantKind(t, err, fault.Conflict, "revocation_changed")
		w.mustToken(alice)

		r, err := w.tokens.Revoke(t.Context(), everybody, "A laptop was stolen", "usr_admin", 6)
		if err != nil || r.People != 6 || r.Grants != 6 || r.Queued != 6 {
			t.Fatalf("Revoke = %+v, %v", r, err)
		}
		wantKind(t, second(w.token(alice)), fault.AuthorizationRequired, "authorization_required")
		if cut != 6 {
			t.Errorf("%d were told to cut what runs, want 6", cut)
		}
		if w.server.revocations != 0 {
			t.Errorf("the provider was called %d times before anybody works on it", w.server.revocations)
		}
		if r, err = w.tokens.Revocation(t.Context(), r.ID); err != nil || r.Waiting != 6 || r.Done() != 0 || r.Reason != "A laptop was stolen" {
			t.Errorf("before: %+v, %v", r, err)
		}

		// Every process may be gone now: what is to be told is in the database.
		w.drain()
		w.waitFor("the end of all tokens at the provider", func() bool {
			r, err := w.tokens.Revocation(context.Background(), r.ID)
			return err == nil && r.Done() == 6
		})
		if !w.dead() {
			t.Error("the provider still honours a token")
		}
		if list, err := w.tokens.ListRevocations(t.Context()); err != nil || len(list) != 1 || list[0].Done() != 6 {
			t.Errorf("ListRevocations = %+v, %v", list, err)
		}
	})
}

func TestARevocationOfOnePersonLeavesTheOthers(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.connect(bob)
	r, err := w.tokens.Revoke(t.Context(), connectedapps.Scope{Principal: alice}, "", "usr_admin", 1)
	if err != nil || r.Grants != 1 {
		t.Fatalf("Revoke = %+v, %v", r, err)
	}
	said, err := w.db.Audit().List(t.Context(), 2)
	if err != nil || len(said) != 2 || said[0].Action != audit.GrantRevoked || said[0].Detail["revocation"] != r.ID || said[1].Action != audit.Contained {
		t.Errorf("recorded %+v, %v, want the act and the end of alice's grant", said, err)
	}
	wantKind(t, second(w.token(alice)), fault.AuthorizationRequired, "authorization_required")
	w.mustToken(bob)
	for _, s := range []connectedapps.Scope{{}, {Principal: alice, Everything: true}, {AppID: w.app.ID, Principal: bob}} {
		_, err := w.tokens.Revoke(t.Context(), s, "", "usr_admin", -1)
		wantKind(t, err, fault.Invalid, "invalid")
	}
	w.mustToken(bob)
	if _, err := w.tokens.Revoke(t.Context(), connectedapps.Scope{Everything: true}, "", "usr_admin", -1); err != nil {
		t.Fatal(err)
	}
	wantKind(t, second(w.token(bob)), fault.AuthorizationRequired, "authorization_required")
}

func TestAnAuthorizationThatWasUnderWayBringsNothingBack(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		w.connect(bob)
		_, state, code := w.begin(alice, "b1")
		if _, err := w.tokens.Revoke(t.Context(), connectedapps.Scope{Principal: alice}, "", "usr_admin", 0); err != nil {
			t.Fatal(err)
		}
		_, err := w.flow.Finish(t.Context(), connectedapps.Response{App: w.app.Slug, State: state, Code: secret.New(code), Browser: "b1", Principal: alice})
		wantKind(t, err, fault.Gone, "flow_expired")
		w.mustToken(bob)
	})
}

// The provider has the code already, and its answer comes after the revocation.
func TestAConsentThatIsBeingExchangedBringsNothingBack(t *testing.T) {
	for name, end := range map[string]func(*world) error{
		"everything was revoked": func(w *world) error {
			_, err := w.tokens.Revoke(t.Context(), connectedapps.Scope{Everything: true}, "", "usr_admin", 0)
			return err
		},
		"the app was moved to another server": func(w *world) error {
			app, err := w.apps.Get(t.Context(), w.app.ID)
			if err != nil {
				return err
			}
			app.TokenURL, app.ClientSecret, app.SecretSet = "https://elsewhere.example.com/token", secret.New("new"), time.Time{}
			_, err = w.apps.Update(t.Context(), app, "usr_admin")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, w *world) {
				a, state, code := w.begin(alice, "b1")
				arrived, release := make(chan struct{}, 1), make(chan struct{})
				w.server.breakNext(slow(arrived, release))
				finished := make(chan error, 1)
				go func() {
					_, err := w.flow.Finish(context.Background(), connectedapps.Response{App: w.app.Slug, State: state, Code: secret.New(code), Browser: "b1", Principal: alice})
					finished <- err
				}()
				<-arrived
				err := end(w)
				close(release)
				if err != nil {
					<-finished
					t.Fatal(err)
				}
				wantKind(t, <-finished, fault.Gone, "flow_expired")
				_, err = w.db.Grants().Get(t.Context(), connectedapps.Key{Principal: alice, AppID: w.app.ID})
				wantKind(t, err, fault.NotFound, "not_found")
				w.drain()
				w.waitFor("the end of its tokens at the provider", w.dead)
				if got, err := w.flow.Get(t.Context(), alice, a.ID); err == nil && got.Outcome == connectedapps.OutcomeConnected {
					t.Error("the authorization says that it connected")
				}
			})
		})
	}
}

// R1 of broker.md: 503 with Retry-After is retried from a durable queue, and 200 for a token that is not known is success.
func TestADisconnectThatIsNotConfirmedIsToldAgain(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		w.connect(alice)
		w.server.mu.Lock()
		w.server.refusals = []trouble{
			answering(503, "text/plain", "", "Retry-After", "1"), answering(503, "text/plain", "", "Retry-After", "1"), // while alice waits
			answering(503, "text/plain", "", "Retry-After", "1"), answering(200, "text/plain", ""), // the first of the queue
		}
		w.server.mu.Unlock()
		d, err := w.tokens.Disconnect(t.Context(), alice, w.app.Slug)
		if err != nil || d.AtProvider || !strings.Contains(d.Note, "told again until it does") {
			t.Fatalf("Disconnect = %+v, %v", d, err)
		}
		w.drain()
		w.waitFor("the end at the provider", w.dead)
		w.waitFor("an empty queue", func() bool {
			n, err := w.db.Jobs().Count(context.Background(), connectedapps.RevocationJob, "")
			return err == nil && n.Waiting == 0 && n.Failed == 0
		})
	})
}

// RFC 7009 §2.2.1: who answers 503 may say when to come back.
func TestARevocationIsNotRepeatedBeforeTheProviderWantsIt(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	busy := answering(503, "text/plain", "", "Retry-After", "7")
	w.server.mu.Lock()
	w.server.refusals = []trouble{busy, busy, busy, busy} // two tokens, of the person's call and of the queue's
	w.server.mu.Unlock()
	if _, err := w.tokens.Disconnect(t.Context(), alice, w.app.Slug); err != nil {
		t.Fatal(err)
	}
	later := w.clock.now().Add(time.Hour)
	j, err := w.db.Jobs().Claim(t.Context(), jobs.Want{Kind: connectedapps.RevocationJob, By: "one"}, later, later.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	err = w.tokens.Revocations(0).Handle(t.Context(), j)
	if e, ok := errors.AsType[*fault.Error](err); !ok || e.Kind != fault.Unavailable || e.RetryAfter != 7*time.Second {
		t.Errorf("the job ends with %v, want Unavailable for 7 s", err)
	}
}

func TestADisconnectThatIsConfirmedLeavesNothingToDo(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	if d, err := w.tokens.Disconnect(t.Context(), alice, w.app.Slug); err != nil || !d.AtProvider {
		t.Fatalf("Disconnect = %+v, %v", d, err)
	}
	if n, err := w.db.Jobs().Count(t.Context(), connectedapps.RevocationJob, ""); err != nil || n.Waiting != 0 {
		t.Errorf("%+v, %v, want an empty queue", n, err)
	}
}

func TestAProcessThatDiesBeforeItToldTheProviderLosesNoRevocation(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		w.connect(alice)
		arrived, never := make(chan struct{}, 1), make(chan struct{})
		w.server.mu.Lock()
		w.server.refusals = []trouble{{before: func(rw http.ResponseWriter, r *http.Request) bool {
			arrived <- struct{}{}
			<-never
			drop(rw, r) // the process that asked is gone, and so is its connection
			return true
		}}}
		w.server.mu.Unlock()
		died := make(chan struct{})
		go func() {
			defer close(died)
			_, _ = w.tokens.Disconnect(context.Background(), alice, w.app.Slug)
		}()
		<-arrived // deleted here, and not told there
		wantKind(t, second(w.token(alice)), fault.AuthorizationRequired, "authorization_required")
		w.drain() // of another process
		w.waitFor("the end at the provider", w.dead)
		close(never)
		<-died
	})
}

func TestADeletedAppIsStillToldWhatEnded(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		w.people(3)
		if _, err := w.tokens.RevokeApp(t.Context(), w.app, "usr_admin"); err != nil {
			t.Fatal(err)
		}
		if err := w.apps.Delete(t.Context(), w.app.ID, "usr_admin"); err != nil {
			t.Fatal(err)
		}
		w.drain()
		w.waitFor("the end at the provider", w.dead)
	})
}

// The queue holds all that a revocation needs of an app: also the second secret of a rollover, and the key.
func TestADeletedAppAuthenticatesAsItDid(t *testing.T) {
	key, err := oauthapps.NewPrivateKey("ES256")
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := json.Marshal(map[string]any{"keys": []json.RawMessage{oauthapps.App{PrivateKey: key}.PublicKey()}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		client idp.Client
		change func(*oauthapps.App)
	}{
		"with its own key": {idp.Client{AuthMethod: "private_key_jwt", JWKS: jwks}, func(a *oauthapps.App) {
			a.ClientSecret, a.AuthMethod, a.PrivateKey, a.AssertionAudience = secret.Text{}, oauthapps.PrivateKeyJWT, key, oauthapps.AudienceTokenEndpoint
		}},
		"with the next secret": {idp.Client{Secret: secret.New("next " + canary)}, func(a *oauthapps.App) {
			a.ClientSecretNext = secret.New("next " + canary)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := atProvider(t, tt.client, nil, tt.change)
			p.mustConnect()
			tok := p.w.mustToken(alice)
			if got := p.Resolve(tok.Value.Reveal()).Status; got != bearer.Active {
				t.Fatalf("the provider says that the token is %v, want active", got)
			}
			if _, err := p.w.tokens.RevokeApp(t.Context(), p.w.app, "usr_admin"); err != nil {
				t.Fatal(err)
			}
			if err := p.w.apps.Delete(t.Context(), p.w.app.ID, "usr_admin"); err != nil {
				t.Fatal(err)
			}
			p.w.drain()
			p.w.waitFor("the end at the provider", func() bool { return p.Resolve(tok.Value.Reveal()).Status == bearer.Revoked })
		})
	}
}

// move moves the app to another server, and returns that.
func (w *world) move() *authServer {
	w.t.Helper()
	another := newAuthServer(w.t, w.clock.now)
	app, err := w.apps.Get(w.t.Context(), w.app.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	app.AuthURL, app.TokenURL, app.RevocationURL, app.UserinfoURL = another.URL+"/authorize", another.URL+"/token", another.URL+"/revoke", ""
	app.ClientID, app.ClientSecret, app.SecretSet = "there", secret.New("secret of another server"), time.Time{}
	if _, err := w.apps.Update(w.t.Context(), app, "usr_admin"); err != nil {
		w.t.Fatal(err)
	}
	return another
}

// Tokens go to the server that gave them, and to nobody else: not where their app was moved while they waited.
func TestAMovedAppTellsTheServerThatGaveTheTokens(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		w.people(3)
		if _, err := w.tokens.RevokeApp(t.Context(), w.app, "usr_admin"); err != nil {
			t.Fatal(err)
		}
		another := w.move()
		w.drain()
		w.waitFor("a revocation", func() bool { return w.dead() || another.told() > 0 })
		if n := another.told(); n > 0 {
			t.Errorf("%d tokens were sent to another server", n)
		}
	})
}

func TestTokensThatNoGrantHoldsAreRevoked(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.clock.advance(2 * time.Hour)
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	w.server.breakNext(slow(arrived, release))
	got := make(chan error, 1)
	go func() { got <- second(w.token(alice)) }()
	<-arrived
	w.server.mu.Lock()
	w.server.refusals = []trouble{answering(503, "text/plain", ""), answering(503, "text/plain", "")}
	w.server.mu.Unlock()
	if _, err := w.tokens.Disconnect(t.Context(), alice, w.app.Slug); err != nil {
		t.Fatal(err)
	}
	close(release)
	wantKind(t, <-got, fault.AuthorizationRequired, "authorization_required")
	w.drain()
	w.waitFor("the end of what the refresh brought", w.dead)
}

package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/behalf-project/behalf/internal/sandbox"
	"github.com/behalf-project/behalf/internal/sandbox/certified"
)

// independent starts a fleet at a provider that is not ours, behind a liar and a wire.
func independent(t *testing.T, box *sandbox.Sandbox, c combination) (*fleet, *certified.Liar) {
	t.Helper()
	var liar *certified.Liar
	f := newFleetAt(t, box, c, func(f *fleet) providerOfFleet {
		server := httptest.NewUnstartedServer(nil)
		f.front = newWire(t, server.Listener.Addr().String())
		p := certified.Start(t, certified.Config{
			Issuer: "http://" + f.front.address, ClientID: fleetClient, ClientSecret: f.clientSecret, RedirectURIs: []string{f.public + "/oauth/callback/" + fleetApp},
			Subject: "alice", Rotate: c.rotating,
		})
		liar = p.Liar()
		server.Config.Handler = liar
		server.Start()
		t.Cleanup(server.Close)
		return providerOfFleet{
			issuer: "http://" + f.front.address, promptFor: "consent", bearers: p, signIn: p.SignIn,
			lives: func(life time.Duration) { f.must(p.SetAccessTokenLife(t.Context(), life)) },
			refreshes: func() (int, int) {
				calls, err := p.Calls(t.Context())
				f.must(err)
				return calls.Refreshes, calls.Refused["invalid_grant"]
			},
		}
	})
	liar.Watch(f.evidence.own.add)
	return f, liar
}

// A provider whose authors never saw this program: whatever it or the network does to a refresh, there is one call
// for everybody, it is never answered with invalid_grant, and alice can go on. What it lies about at a consent is
// not believed. With -whole-matrix it is asked in every combination, and for what takes longer.
func TestAnIndependentProvider(t *testing.T) {
	box := startSandbox(t)
	for _, c := range combinations {
		if !*wholeMatrix && c != threeRotate {
			continue
		}
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			f, liar := independent(t, box, c)
			for _, tt := range []struct {
				name string
				lie  certified.Lie // while the token is refreshed
			}{
				{"it tells the truth", certified.Lie{}},
				{"it is slow", certified.Lie{Delay: 2 * time.Second}},
				{"its expires_in is a string", certified.Lie{Tokens: func(a map[string]any) { a["expires_in"] = "3600" }}},
				{"it leaves expires_in out", certified.Lie{Tokens: func(a map[string]any) { delete(a, "expires_in") }}},
				{"it leaves scope and ID token out", certified.Lie{Tokens: func(a map[string]any) { delete(a, "scope"); delete(a, "id_token") }}},
				{"it writes bearer in its own way, and adds what nobody knows", certified.Lie{Tokens: func(a map[string]any) {
					a["token_type"], a["surprise"] = "BEARER", map[string]any{"deep": []any{1, "two"}}
				}}},
			} {
				t.Run(tt.name, func(t *testing.T) {
					calls, refused := f.refreshes()
					f.connect(brief)
					liar.Tell(tt.lie)
					defer liar.Tell(certified.Lie{})
					time.Sleep(afterBrief)
					for _, a := range f.askTogether(12) {
						a.ran(t, "user", "alice")
					}
					f.called(calls+1, refused)
					f.is("active")
				})
			}
			if *wholeMatrix {
				t.Run("and the token after that comes too", func(t *testing.T) {
					f.connect(brief)
					f.at.lives(brief)
					calls, refused := f.refreshes()
					for range 3 {
						time.Sleep(afterBrief)
						f.servesEverywhere()
					}
					f.at.lives(time.Hour)
					if got, gotRefused := f.refreshes(); got-calls < 3 || gotRefused != refused {
						t.Errorf("%d refresh calls and %d refused for three lives of a token, want one each, and none", got-calls, gotRefused-refused)
					}
				})
				t.Run("it is away for a while", func(t *testing.T) {
					calls, refused := f.refreshes()
					f.connect(brief)
					liar.Tell(certified.Lie{Status: http.StatusServiceUnavailable})
					time.Sleep(afterBrief)
					f.ask(0).refused(t, http.StatusServiceUnavailable, "refresh_failing")
					liar.Tell(certified.Lie{})
					f.recovers()
					f.called(calls+1, refused)
				})
			}
			t.Run("it answers a refresh for somebody else", func(t *testing.T) {
				calls, refused := f.refreshes()
				f.connect(brief)
				liar.Tell(certified.Lie{Claims: func(c jwt.MapClaims) { c["sub"] = "mallory" }})
				time.Sleep(afterBrief)
				f.ask(0).refused(t, http.StatusForbidden, "reauthorization_required", "answered for another person")
				liar.Tell(certified.Lie{})
				f.called(calls+1, refused)
				f.mustReauthorize(false, "revoked")
			})
			for _, tt := range []struct {
				name string
				lie  certified.Lie // at the consent
			}{
				{"another nonce", certified.Lie{Claims: func(c jwt.MapClaims) { c["nonce"] = "another" }}},
				{"another issuer in the ID token", certified.Lie{Claims: func(c jwt.MapClaims) { c["iss"] = "http://127.0.0.1:1" }}},
				{"another audience", certified.Lie{Claims: func(c jwt.MapClaims) { c["aud"] = "another" }}},
				{"no access token", certified.Lie{Tokens: func(a map[string]any) { delete(a, "access_token") }}},
				{"no ID token", certified.Lie{Tokens: func(a map[string]any) { delete(a, "id_token") }}},
				{"another issuer in the authorization response", certified.Lie{Issuer: "http://127.0.0.1:1"}},
			} {
				t.Run("a consent with "+tt.name+" is refused", func(t *testing.T) {
					f.must(f.alice[0].call(t.Context(), http.MethodDelete, "/api/v1/connected-apps/"+fleetApp, nil, nil))
					liar.Tell(tt.lie)
					defer liar.Tell(certified.Lie{})
					if err := f.alice[0].connect(t.Context(), fleetApp, f.at.signIn); err == nil {
						t.Error("alice is connected")
					}
					f.is("not_connected")
					f.ask(0).refused(t, http.StatusForbidden, "authorization_required")
					liar.Tell(certified.Lie{})
					f.connect(time.Hour)
					f.recovers()
				})
			}
		})
	}
}

package certified_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/sandbox/bearer"
	"github.com/behalf-project/behalf/internal/sandbox/certified"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"
)

const redirectURI = "http://localhost:4000/oauth/callback/databricks"

// start returns a provider behind its liar, and a client of it.
func start(t *testing.T, rotate bool) (*certified.Provider, *certified.Liar, oauth2.Config) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	issuer := "http://" + l.Addr().String()
	p := certified.Start(t, certified.Config{
		Issuer: issuer, ClientID: "behalf", ClientSecret: secret.New("a-secret-of-32-characters-at-least"),
		RedirectURIs: []string{redirectURI}, Subject: "alice", Rotate: rotate,
	})
	liar := p.Liar()
	front := &httptest.Server{Listener: l, Config: &http.Server{Handler: liar}}
	front.Start()
	t.Cleanup(front.Close)
	return p, liar, oauth2.Config{
		ClientID: "behalf", ClientSecret: "a-secret-of-32-characters-at-least", RedirectURL: redirectURI, Scopes: []string{"openid", "offline_access", "sql"},
		Endpoint: oauth2.Endpoint{AuthURL: issuer + "/auth", TokenURL: issuer + "/token", AuthStyle: oauth2.AuthStyleInHeader},
	}
}

func connect(t *testing.T, p *certified.Provider, conf oauth2.Config) *oauth2.Token {
	t.Helper()
	verifier := oauth2.GenerateVerifier()
	to, err := p.SignIn(t.Context(), conf.AuthCodeURL("st", oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("prompt", "consent"),
		oauth2.SetAuthURLParam("nonce", "n")), "alice")
	if err != nil {
		t.Fatal(err)
	}
	token, err := conf.Exchange(t.Context(), to.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatalf("%v, redirected to %s", err, to)
	}
	return token
}

func TestTheProviderRotatesRefreshTokensAndNoticesReuse(t *testing.T) {
	p, _, conf := start(t, true)
	old := connect(t, p, conf)
	if got := p.Resolve(old.AccessToken); got.Status != bearer.Active || got.Name != "alice" {
		t.Errorf("the access token is %+v, want alice's", got)
	}
	refresh := func(token string) (*oauth2.Token, error) {
		return conf.TokenSource(t.Context(), &oauth2.Token{RefreshToken: token}).Token()
	}
	fresh, err := refresh(old.RefreshToken)
	if err != nil || fresh.RefreshToken == old.RefreshToken {
		t.Fatalf("refresh = %v, %v, want a new refresh token", fresh != nil, err)
	}
	for _, again := range []string{old.RefreshToken, fresh.RefreshToken} {
		_, err := refresh(again)
		if e, ok := errors.AsType[*oauth2.RetrieveError](err); !ok || e.ErrorCode != "invalid_grant" {
			t.Errorf("after reuse a refresh = %v, want invalid_grant", err)
		}
	}
	calls, err := p.Calls(t.Context())
	if err != nil || calls.Refreshes != 3 || calls.Refused["invalid_grant"] != 2 {
		t.Errorf("Calls = %+v, %v, want 3 and 2 refused", calls, err)
	}
}

func TestALieIsToldAndSigned(t *testing.T) {
	p, liar, conf := start(t, false)
	if err := p.SetAccessTokenLife(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	liar.Tell(certified.Lie{
		Grant: "authorization_code", Tokens: func(a map[string]any) { delete(a, "expires_in") },
		Claims: func(c jwt.MapClaims) { c["nonce"] = "another" },
	})
	token := connect(t, p, conf)
	if !token.Expiry.IsZero() {
		t.Errorf("the token ends at %v, want an unknown end", token.Expiry)
	}
	provider, err := oidc.NewProvider(t.Context(), "http://"+hostOf(conf))
	if err != nil {
		t.Fatal(err)
	}
	id, err := provider.Verifier(&oidc.Config{ClientID: "behalf"}).Verify(t.Context(), token.Extra("id_token").(string))
	if err != nil || id.Nonce != "another" {
		t.Errorf("the ID token = %+v, %v, want one with another nonce", id, err)
	}
	liar.Tell(certified.Lie{Status: http.StatusBadGateway})
	if _, err := conf.TokenSource(t.Context(), &oauth2.Token{RefreshToken: token.RefreshToken}).Token(); err == nil {
		t.Error("a refresh that the liar answers with 502 succeeds")
	}
	if calls, err := p.Calls(t.Context()); err != nil || calls.Refreshes != 0 {
		t.Errorf("Calls = %+v, %v, want none", calls, err)
	}
}

// What strict means is told by refusals: the tests of the flows would pass at a provider that asks for nothing.
func TestAStrictProviderTakesNoRequestThatWasNotPushed(t *testing.T) {
	for _, strict := range []bool{false, true} {
		p := certified.Start(t, certified.Config{
			ClientID: "behalf", Client: map[string]any{"token_endpoint_auth_method": "none"}, RedirectURIs: []string{redirectURI}, Subject: "alice", Strict: strict,
		})
		conf := oauth2.Config{ClientID: "behalf", RedirectURL: redirectURI, Scopes: []string{"openid"}, Endpoint: oauth2.Endpoint{AuthURL: p.Issuer + "/auth"}}
		to, err := p.SignIn(t.Context(), conf.AuthCodeURL("st", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())), "alice")
		if got := err == nil && to.Query().Has("code"); got == strict {
			t.Errorf("strict %v: a code is given: %v (%v, %v)", strict, got, to, err)
		}
	}
}

func hostOf(conf oauth2.Config) string {
	r, _ := http.NewRequest(http.MethodGet, conf.Endpoint.TokenURL, nil)
	return r.URL.Host
}

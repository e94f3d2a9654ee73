package idp_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/behalf-project/behalf/internal/sandbox/bearer"
	"github.com/behalf-project/behalf/internal/sandbox/idp"
)

func TestTokensOfAFederatedIssuerAreExchanged(t *testing.T) {
	p, company := start(t), start(t)
	exchange := func(token string, change func(url.Values)) (int, map[string]any) {
		form := url.Values{
			"grant_type":    {"urn:ietf:params:oauth:grant-type:token-exchange"},
			"subject_token": {token}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}, "scope": {"sql offline_access"},
			"client_id": {"post"}, "client_secret": {"p"},
		}
		if change != nil {
			change(form)
		}
		status, body, _ := p.post(t, "/token", form, nil)
		return status, body
	}
	good := company.IssueJWT("alice", "lake", time.Hour, nil).Reveal()
	if status, body := exchange(good, nil); status != http.StatusBadRequest || body["error"] != "invalid_grant" {
		t.Errorf("with nobody federated: %d %v", status, body)
	}
	f := &idp.Federation{Issuer: company.Issuer(), Audience: "lake", JWKSURI: company.Issuer() + "/jwks"}
	p.Federate(f)
	status, body := exchange(good, nil)
	text, _ := body["access_token"].(string)
	if status != http.StatusOK || body["issued_token_type"] != "urn:ietf:params:oauth:token-type:access_token" || body["refresh_token"] != nil {
		t.Fatalf("exchange = %d %v", status, body)
	}
	if h := p.Resolve(text); h.Name != "alice" || h.Status != bearer.Active {
		t.Errorf("the token is %+v, want alice's", h)
	}
	p.Federate(&idp.Federation{Issuer: f.Issuer, Audience: f.Audience, JWKSURI: f.JWKSURI, Refresh: true})
	if _, body := exchange(good, nil); body["refresh_token"] == nil {
		t.Errorf("exchange = %v, want a refresh token, too", body)
	}
	for name, tt := range map[string]struct {
		token  string
		change func(url.Values)
		want   string
	}{
		"another audience": {company.IssueJWT("alice", "elsewhere", time.Hour, nil).Reveal(), nil, "invalid_grant"},
		"another issuer":   {p.IssueJWT("alice", "lake", time.Hour, nil).Reveal(), nil, "invalid_grant"},
		"ended":            {company.IssueJWT("alice", "lake", -time.Second, nil).Reveal(), nil, "invalid_grant"},
		"nobody here":      {company.IssueJWT("alice", "lake", time.Hour, func(c jwt.MapClaims) { c["sub"] = "mallory" }).Reveal(), nil, "invalid_grant"},
		"no client":        {good, func(f url.Values) { f.Del("client_id"); f.Del("client_secret") }, "invalid_client"},
		"for a refresh token": {good, func(f url.Values) {
			f.Set("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token")
		}, "invalid_request"},
	} {
		if status, body := exchange(tt.token, tt.change); status < 400 || body["error"] != tt.want {
			t.Errorf("%s: %d %v, want %s", name, status, body, tt.want)
		}
	}
	p.SetQuirks(idp.Quirks{AnonymousExchange: true})
	if status, body := exchange(good, func(f url.Values) { f.Del("client_id"); f.Del("client_secret") }); status != http.StatusOK || body["refresh_token"] != nil {
		t.Errorf("without a client: %d %v", status, body)
	}
	if status, body := exchange(good, nil); status < 400 || body["error"] != "invalid_client" {
		t.Errorf("with a client_id: %d %v", status, body)
	}
}

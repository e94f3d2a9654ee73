package idp_test

import (
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/behalf-project/behalf/internal/sandbox/idp"
)

func TestARefreshTokenMayBeUsedAgainWithinItsWindow(t *testing.T) {
	p := start(t)
	p.SetQuirks(idp.Quirks{ReuseWindow: time.Hour})
	tok := p.connect(t, "alice")
	for n := range 3 {
		if _, err := p.renew(t.Context(), tok.RefreshToken); err != nil {
			t.Fatalf("use %d of the refresh token: %v", n+1, err)
		}
	}
	p.SetQuirks(idp.Quirks{})
	if _, err := p.renew(t.Context(), tok.RefreshToken); code(err) != "invalid_grant" {
		t.Errorf("without a window: %v, want invalid_grant", err)
	}
}

func TestAReplacedRefreshTokenThatIsKeptWorksOn(t *testing.T) {
	p := start(t)
	p.SetQuirks(idp.Quirks{KeepReplaced: true})
	tok := p.connect(t, "alice")
	first, err := p.renew(t.Context(), tok.RefreshToken)
	if err != nil || first.RefreshToken == tok.RefreshToken {
		t.Fatalf("the refresh brought %v, %v, want another refresh token", first, err)
	}
	for _, refresh := range []string{tok.RefreshToken, first.RefreshToken} {
		if _, err := p.renew(t.Context(), refresh); err != nil {
			t.Errorf("one of the two refresh tokens: %v", err)
		}
	}
}

func TestARefreshTokenByConsentComesOnceUnlessAskedFor(t *testing.T) {
	p := start(t)
	p.SetQuirks(idp.Quirks{RefreshByConsent: true})
	p.conf.Scopes = []string{"openid"}
	connect := func(options ...oauth2.AuthCodeOption) string {
		verifier := oauth2.GenerateVerifier()
		to, err := p.SignIn(t.Context(), p.conf.AuthCodeURL("st", append(options, oauth2.S256ChallengeOption(verifier))...), "alice")
		if err != nil {
			t.Fatal(err)
		}
		tok, err := p.conf.Exchange(t.Context(), to.Query().Get("code"), oauth2.VerifierOption(verifier))
		if err != nil {
			t.Fatal(err)
		}
		return tok.RefreshToken
	}
	if connect(oauth2.AccessTypeOffline) == "" {
		t.Error("the first consent brought none")
	}
	if connect(oauth2.AccessTypeOffline) != "" {
		t.Error("the second consent brought one")
	}
	if connect(oauth2.ApprovalForce) != "" {
		t.Error("a consent without access_type=offline brought one")
	}
	if connect(oauth2.AccessTypeOffline, oauth2.ApprovalForce) == "" {
		t.Error("prompt=consent brought none")
	}
	p.conf.Scopes = []string{"openid", "offline_access"}
	if to, err := p.SignIn(t.Context(), p.conf.AuthCodeURL("st", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())), "alice"); err != nil || to.Query().Get("error") != "invalid_scope" {
		t.Errorf("offline_access led to %v, %v, want invalid_scope", to, err)
	}
}

package connectedapps_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/sandbox/certified"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/oauthapps"
)

// A provider that somebody else wrote, and others certified, takes our pushed request, our assertion and our proofs:
// from the metadata of its issuer, through consent and two refreshes, to the revocation.
func TestACertifiedProviderTakesWhatWeSend(t *testing.T) {
	for _, tt := range []struct {
		name   string
		method oauthapps.AuthMethod
	}{{"a confidential client with a key of its own", oauthapps.PrivateKeyJWT}, {"a public client", oauthapps.NoAuth}} {
		t.Run(tt.name, func(t *testing.T) {
			client := map[string]any{"token_endpoint_auth_method": tt.method, "dpop_bound_access_tokens": true}
			var key secret.Text
			if tt.method == oauthapps.PrivateKeyJWT {
				var err error
				if key, err = oauthapps.NewPrivateKey("ES256"); err != nil {
					t.Fatal(err)
				}
				public := oauthapps.App{PrivateKey: key}.PublicKey()
				client["jwks"] = map[string]any{"keys": []json.RawMessage{public}}
				client["token_endpoint_auth_signing_alg"] = "ES256"
			}
			provider := certified.Start(t, certified.Config{
				ClientID: clientID, Client: client, RedirectURIs: []string{publicURL + "/oauth/callback/databricks"}, Subject: "alice", Rotate: true, Strict: true,
			})
			w := newWorld(t, func(w *world, a *oauthapps.App) {
				w.clock.t = time.Now() // which is the provider's
				*a = oauthapps.App{
					Domain: a.Domain, Name: a.Name, Slug: a.Slug, Preset: "oidc", Issuer: provider.Issuer, ClientID: clientID, AuthMethod: tt.method,
					PrivateKey: key, DPoP: oauthapps.DPoPAuto, Scopes: []string{"openid", "email", "offline_access"},
					AuthParams: map[string]string{"prompt": "consent"},
				}
			})
			if !w.app.PARRequired || w.app.PARURL == "" || !w.app.DPoPOffered || w.app.IntrospectionURL == "" {
				t.Errorf("the metadata was read as %+v", w.app)
			}
			a, err := w.flow.Start(t.Context(), alice, w.app.Slug, "/")
			if err != nil {
				t.Fatal(err)
			}
			to, err := w.flow.Authorize(t.Context(), a.ID, alice, "b1")
			if err != nil {
				t.Fatalf("Authorize = %v (cause %v)", err, errors.Unwrap(err))
			}
			back, err := provider.SignIn(t.Context(), to, "alice")
			if err != nil {
				t.Fatal(err)
			}
			q := back.Query()
			if q.Get("error") != "" {
				t.Fatalf("the provider refused: %s %s", q.Get("error"), q.Get("error_description"))
			}
			out, err := w.flow.Finish(t.Context(), connectedapps.Response{
				App: w.app.Slug, State: q.Get("state"), Code: secret.New(q.Get("code")), Issuer: q.Get("iss"), Browser: "b1", Principal: alice,
			})
			if err != nil {
				t.Fatalf("Finish = %v", err)
			}
			if out.Account != "alice@example.com" {
				t.Errorf("the account is %q, want the one of userinfo, which needs a proof with ath", out.Account)
			}
			first := w.grant(alice)
			if first.TokenType != "DPoP" || first.DPoPKey.Empty() || first.RefreshToken.Empty() {
				t.Errorf("a token of type %q", first.TokenType)
			}
			for range 2 { // the second shows that the rotated one was kept
				if _, err := w.newTokens().Refresh(t.Context(), alice, w.app.Slug); err != nil {
					t.Fatalf("Refresh = %v", err)
				}
			}
			if second := w.grant(alice); second.Revision != first.Revision+2 || second.RefreshToken.Equal(first.RefreshToken) {
				t.Errorf("revision %d, rotated: %v", second.Revision, !second.RefreshToken.Equal(first.RefreshToken))
			}
			if tt.method == oauthapps.PrivateKeyJWT {
				if c, err := w.tokens.Introspect(t.Context(), alice, w.app.Slug); err != nil || c.Status != connectedapps.Active {
					t.Errorf("Introspect = %s, %v", c.Status, err)
				}
			}
			gone, err := w.tokens.Disconnect(t.Context(), alice, w.app.Slug)
			if err != nil || !gone.AtProvider {
				t.Errorf("Disconnect = %+v, %v", gone, err)
			}
			form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first.RefreshToken.Reveal()}}
			if _, err := w.client.Grant(t.Context(), w.app, form, oauthapps.WithDPoP(first.DPoPKey)); err == nil {
				t.Error("a refresh token works after the disconnect")
			}
		})
	}
}

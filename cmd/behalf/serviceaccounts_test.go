package main

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/sandbox/bearer"
	"github.com/behalf-project/behalf/internal/sandbox/idp"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/oauthapps"
)

// The OAuth client of a service account authenticates as it says, at a provider that knows no other way for it.
func TestAServiceAccountGetsItsTokenInItsOwnWay(t *testing.T) {
	key, err := oauthapps.NewPrivateKey("RS256")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(nil)
	provider, err := idp.New(idp.Config{Issuer: "http://" + srv.Listener.Addr().String(), Clients: []idp.Client{
		{ID: "basic", Secret: secret.New("s"), AuthMethod: "client_secret_basic", Service: "svc"},
		{ID: "post", Secret: secret.New("s"), AuthMethod: "client_secret_post", Service: "svc"},
		{ID: "key", AuthMethod: "private_key_jwt", Service: "svc", JWKS: []byte(`{"keys":[` + string(oauthapps.App{PrivateKey: key}.PublicKey()) + `]}`)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = provider
	srv.Start()
	t.Cleanup(srv.Close)
	fetch := clientCredentials(oauthapps.NewClient(oauthapps.ClientConfig{AllowLoopback: true, Timeout: 5 * time.Second}))
	account := func(id string) driverfactory.ClientCredentials {
		return driverfactory.ClientCredentials{TokenURL: provider.Issuer() + "/token", ClientID: id, ClientSecret: secret.New("s"), Scopes: []string{"all-apis"}}
	}
	post, signed := account("post"), account("key")
	post.AuthMethod = "client_secret_post"
	signed.ClientSecret, signed.PrivateKey = secret.Text{}, key
	for _, c := range []driverfactory.ClientCredentials{account("basic"), post, signed} {
		tok, err := fetch(t.Context(), c)
		if err != nil {
			t.Errorf("%s: %v", c.ClientID, err)
			continue
		}
		if h := provider.Resolve(tok.Value.Reveal()); h.Name != "svc" || !h.Service || h.Status != bearer.Active || tok.ExpiresAt.IsZero() {
			t.Errorf("%s got a token of %+v that ends at %v", c.ClientID, h, tok.ExpiresAt)
		}
	}

	for _, tt := range []struct {
		name  string
		fault idp.Fault
		owner fault.Owner
		says  string
		retry time.Duration
	}{
		{"a client that is refused", idp.Fault{Error: "invalid_client"}, fault.Admin, "refused the client (invalid_client)", 0},
		{"a scope that is refused", idp.Fault{Error: "invalid_scope"}, fault.Admin, "refused the request (invalid_scope)", 0},
		{"a server that asks to wait", idp.Fault{Status: 429, RetryAfter: 7 * time.Second}, fault.Provider, "asks to wait", 7 * time.Second},
		{"a server that fails", idp.Fault{Status: 502}, fault.Provider, "answered with a failure", 0},
		{"a server that hangs up", idp.Fault{DropBefore: true}, fault.Provider, "did not answer", 0},
	} {
		provider.SetFault(idp.Token, tt.fault)
		_, err := fetch(t.Context(), account("basic"))
		e, ok := errors.AsType[*fault.Error](err)
		if !ok || e.Owner != tt.owner || !strings.Contains(e.Detail, tt.says) || e.RetryAfter != tt.retry {
			t.Errorf("%s: %v, want %q for %s after %v", tt.name, err, tt.says, tt.owner, tt.retry)
		}
	}
}

func TestTheOAuthClientOfAServiceAccountIsChecked(t *testing.T) {
	key, err := oauthapps.NewPrivateKey("ES256")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		given driverfactory.ClientCredentials
		want  string // pointers below service_account/oauth and codes
	}{
		{"a secret", driverfactory.ClientCredentials{TokenURL: "https://idp.example.com/t", ClientSecret: secret.New("s")}, ""},
		{"a key", driverfactory.ClientCredentials{TokenURL: "https://idp.example.com/t", PrivateKey: key}, ""},
		{"neither, at no URL", driverfactory.ClientCredentials{TokenURL: "idp"}, "token_url invalid client_secret required"},
		{"both", driverfactory.ClientCredentials{TokenURL: "https://idp.example.com/t", PrivateKey: key, ClientSecret: secret.New("s")}, "client_secret unused"},
		{"a key beside basic", driverfactory.ClientCredentials{TokenURL: "https://idp.example.com/t", AuthMethod: "client_secret_basic", PrivateKey: key, ClientSecret: secret.New("s")}, "private_key unused"},
		{"no key", driverfactory.ClientCredentials{TokenURL: "https://idp.example.com/t", AuthMethod: "private_key_jwt"}, "private_key invalid"},
		{"another method", driverfactory.ClientCredentials{TokenURL: "https://idp.example.com/t", AuthMethod: "none", ClientSecret: secret.New("s")}, "auth_method unknown"},
	} {
		err := checkAccount(&driverfactory.ServiceAccount{OAuth: &tt.given})
		var got []string
		if e, ok := errors.AsType[*fault.Error](err); ok {
			for _, f := range e.Fields {
				got = append(got, strings.TrimPrefix(f.Pointer, "service_account/oauth/"), f.Code)
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, strings.Join(got, " "), tt.want)
		}
	}
}

package oauthapps_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/oauthapps"
)

func encodePEM(t testing.TB, typ string, der []byte, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}))
}

func TestPrivateKeysThatPeoplePaste(t *testing.T) {
	ec, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, err2 := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	rsaKey, err3 := rsa.GenerateKey(rand.Reader, 2048)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	pkcs8 := func(key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return encodePEM(t, "PRIVATE KEY", der, err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	public, errPublic := x509.MarshalPKIXPublicKey(ec.Public())
	made := func(algorithm string) string {
		key, err := oauthapps.NewPrivateKey(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		return key.Reveal()
	}
	for _, tt := range []struct{ name, key, algorithm, wrong string }{
		{"P-256 as PKCS #8", pkcs8(ec), "ES256", ""},
		{"P-256 as SEC 1", encodePEM(t, "EC PRIVATE KEY", sec1, err), "ES256", ""},
		{"RSA as PKCS #8", "\n " + pkcs8(rsaKey) + "\n", "RS256", ""},
		{"RSA as PKCS #1", encodePEM(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey), nil), "RS256", ""},
		{"a JWK of RSA-PSS", made("PS256"), "PS256", ""},
		{"a JWK of Ed25519", made("EdDSA"), "EdDSA", ""},
		{"another curve", pkcs8(p384), "", "P-256"},
		{"a public key", encodePEM(t, "PUBLIC KEY", public, errPublic), "", "is a public key"},
		{"an encrypted one", encodePEM(t, "ENCRYPTED PRIVATE KEY", []byte{1}, nil), "", "is encrypted"},
		{"half a PEM", pkcs8(ec)[:80], "", "neither PEM nor a JWK"},
		{"a symmetric JWK", `{"kty":"oct","k":"c2VjcmV0LXZhbHVl"}`, "", "must be an RSA, P-256 or Ed25519 key"},
		{"an alg that does not fit", strings.Replace(made("ES256"), `"alg":"ES256"`, `"alg":"RS256"`, 1), "", "use ES256"},
		{"an alg of none", strings.Replace(made("ES256"), `"alg":"ES256"`, `"alg":"none"`, 1), "", "use ES256"},
		{"a key for encryption", strings.Replace(made("ES256"), `"use":"sig"`, `"use":"enc"`, 1), "", "for encryption"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := oauthapps.CheckPrivateKey(oauthapps.NewSecret(tt.key))
			if tt.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wrong) || strings.Contains(err.Error(), "secret-value") {
					t.Errorf("CheckPrivateKey = %v, want it wrong: %s", err, tt.wrong)
				}
				return
			}
			if err != nil {
				t.Fatalf("CheckPrivateKey = %v", err)
			}
			app := oauthapps.App{PrivateKey: oauthapps.NewSecret(tt.key)}
			var k map[string]any
			if err := json.Unmarshal(app.PublicKey(), &k); err != nil {
				t.Fatal(err)
			}
			if k["alg"] != tt.algorithm || k["kid"] == "" || k["kid"] == nil || k["use"] != "sig" || k["d"] != nil || k["p"] != nil || k["k"] != nil {
				t.Errorf("the public key is %v, want alg %s with a kid, and nothing private", k, tt.algorithm)
			}
		})
	}
}

func FuzzPrivateKey(f *testing.F) {
	for _, algorithm := range oauthapps.KeyAlgorithms {
		key, err := oauthapps.NewPrivateKey(algorithm)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(key.Reveal())
	}
	f.Add("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----")
	f.Fuzz(func(t *testing.T, text string) {
		app := oauthapps.App{PrivateKey: oauthapps.NewSecret(text)}
		public := app.PublicKey()
		if (public == nil) != (oauthapps.CheckPrivateKey(app.PrivateKey) != nil) {
			t.Fatalf("a key is usable and has no public half, or the reverse: %q", public)
		}
		var k map[string]any
		if public != nil && (json.Unmarshal(public, &k) != nil || k["d"] != nil) {
			t.Fatalf("the public half is %q", public)
		}
	})
}

func TestAnAssertionIsForOneServerOnceAndForAMinute(t *testing.T) {
	key, err := oauthapps.NewPrivateKey("ES256")
	if err != nil {
		t.Fatal(err)
	}
	var seen []jwt.MapClaims
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		claims := jwt.MapClaims{}
		if _, _, err := jwt.NewParser().ParseUnverified(r.PostForm.Get("client_assertion"), claims); err != nil ||
			r.PostForm.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" ||
			r.PostForm.Has("client_secret") || r.Header.Get("Authorization") != "" {
			t.Errorf("form %v, %v", r.PostForm, err)
		}
		seen = append(seen, claims)
		_, _ = io.WriteString(w, `{"access_token":"t"}`)
	})
	app := oauthapps.App{TokenURL: s.URL + "/token", ClientID: "me", AuthMethod: oauthapps.PrivateKeyJWT, PrivateKey: key}
	for _, change := range []func(*oauthapps.App){
		func(*oauthapps.App) {}, func(a *oauthapps.App) { a.Issuer = s.URL },
		func(a *oauthapps.App) { a.AssertionAudience = oauthapps.AudienceTokenEndpoint },
	} {
		change(&app)
		if _, err := loopback(0).Grant(t.Context(), app, url.Values{"grant_type": {"x"}}); err != nil {
			t.Fatal(err)
		}
	}
	for i, aud := range []string{s.URL + "/token", s.URL, s.URL + "/token"} {
		c := seen[i]
		iat, exp := time.Unix(int64(c["iat"].(float64)), 0), time.Unix(int64(c["exp"].(float64)), 0)
		if c["iss"] != "me" || c["sub"] != "me" || c["aud"] != aud || exp.Sub(iat) != time.Minute || time.Since(iat) > 5*time.Second {
			t.Errorf("assertion %d is %v, want it for %s and a minute", i, c, aud)
		}
		if i > 0 && c["jti"] == seen[i-1]["jti"] {
			t.Error("two assertions have one jti")
		}
	}
}

func TestAnIntrospectionSaysNothingUnlessItIsOne(t *testing.T) {
	status, body := 200, ""
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	app := oauthapps.App{IntrospectionURL: s.URL, ClientID: "id", ClientSecret: oauthapps.NewSecret("s")}
	ask := func() (oauthapps.Introspection, error) {
		return loopback(0).Introspect(t.Context(), app, oauthapps.NewSecret("t"), "access_token")
	}
	for _, text := range []string{``, `{}`, `{"active":"false"}`, `{"active":0}`, `{"active":null}`, `[]`, `<html>`, `{"error":"invalid_token","active":false}`} {
		body = text
		if in, err := ask(); err == nil {
			t.Errorf("%q is taken for %+v, want a failure", text, in)
		}
	}
	body = `{"active":false,"scope":"sql","exp":4102444800}`
	if in, err := ask(); err != nil || in.Active || in.Scopes != nil || !in.ExpiresAt.IsZero() {
		t.Errorf("an inactive token is %+v, %v, want nothing else about it", in, err)
	}
	body = `{"active":true,"scope":"sql x","sub":"u","exp":4102444800}`
	if in, err := ask(); err != nil || !in.Active || len(in.Scopes) != 2 || in.Subject != "u" || in.ExpiresAt.Year() != 2100 {
		t.Errorf("an active token is %+v, %v", in, err)
	}
	status, body = 401, `{"error":"invalid_client"}`
	_, err := ask()
	if f, ok := errors.AsType[*oauthapps.Failure](err); !ok || f.Class != oauthapps.ClientRefused {
		t.Errorf("Introspect = %v, want the client refused", err)
	}
	app.IntrospectionURL = ""
	if _, err := ask(); fault.KindOf(err) != fault.NotFound {
		t.Errorf("Introspect without an endpoint = %v, want not found", err)
	}
}

// What was entered for one server does not go to another, whichever credential it is and whatever becomes of its name.
func TestNoCredentialFollowsAnEndpointToAnotherServer(t *testing.T) {
	const evil = "https://evil.example.com"
	key, err := oauthapps.NewPrivateKey("ES256")
	if err != nil {
		t.Fatal(err)
	}
	withNext := func(a *oauthapps.App) { a.ClientSecretNext = oauthapps.NewSecret("next-value") }
	withKey := func(a *oauthapps.App) {
		a.Preset, a.Host, a.AuthURL, a.TokenURL = "oauth2", "", "https://idp.example.com/a", "https://idp.example.com/t"
		a.ClientSecret, a.AuthMethod, a.PrivateKey = oauthapps.Secret{}, oauthapps.PrivateKeyJWT, key
	}
	for _, tt := range []struct {
		name         string
		made, change func(*oauthapps.App)
		want         string // pointer of the refused field; empty: it is stored
	}{
		{"the introspection endpoint, which is sent access tokens", nil, func(a *oauthapps.App) { a.IntrospectionURL = evil }, "/client_secret"},
		{"the endpoint for pushed requests, which is sent the secret", nil, func(a *oauthapps.App) { a.PARURL = evil }, "/client_secret"},
		{"a key that signs for the one server", withKey, func(a *oauthapps.App) { a.TokenURL = evil }, "/private_key"},
		{"a new key", withKey, func(a *oauthapps.App) {
			a.TokenURL, a.PrivateKeySet = evil, time.Time{}
			a.PrivateKey, _ = oauthapps.NewPrivateKey("ES256")
		}, ""},
		{"the first secret entered, the next one saved", withNext, func(a *oauthapps.App) { a.TokenURL, a.SecretSet = evil, time.Time{} }, "/client_secret"},
		{"both entered", withNext, func(a *oauthapps.App) { a.TokenURL, a.SecretSet, a.NextSecretSet = evil, time.Time{}, time.Time{} }, ""},
		{"the next one as the first", withNext, func(a *oauthapps.App) {
			a.TokenURL, a.ClientSecret, a.ClientSecretNext = evil, a.ClientSecretNext, oauthapps.Secret{}
		}, "/client_secret"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRegistry(t)
			a := r.create(t, tt.made)
			tt.change(&a)
			_, err := r.Update(t.Context(), a, "usr_admin")
			e, _ := errors.AsType[*fault.Error](err)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("Update = %v, want it stored", err)
			case tt.want != "" && (e == nil || len(e.Fields) != 1 || e.Fields[0].Pointer != tt.want):
				t.Errorf("Update = %v, want it refused at %s", err, tt.want)
			}
		})
	}
}

func TestARolloverInTheFileOutlivesARestart(t *testing.T) {
	r := newRegistry(t)
	app := oauthapps.App{
		Name: "databricks", Preset: "databricks", Host: "dbc-1.cloud.databricks.com", ClientID: "id",
		ClientSecret: oauthapps.NewSecret("old"), ClientSecretNext: oauthapps.NewSecret("new"),
	}
	declare := func() oauthapps.App {
		t.Helper()
		if err := r.Declare(t.Context(), r.domain, []oauthapps.App{app}); err != nil {
			t.Fatal(err)
		}
		a, err := r.Get(t.Context(), "databricks")
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	stored := declare()
	s := serve(t, func(w http.ResponseWriter, req *http.Request) {
		if _, password, _ := req.BasicAuth(); password != "new" {
			w.WriteHeader(401)
			_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
			return
		}
		_, _ = io.WriteString(w, `{"access_token":"t"}`)
	})
	client := loopback(0)
	client.Reports(r.Registry)
	stored.TokenURL = s.URL
	if _, err := client.Grant(t.Context(), stored, nil); err != nil {
		t.Fatal(err)
	}
	if again := declare(); !again.NextInUse {
		t.Error("after a restart with the same file the first secret is in use again")
	}
	app.ClientSecret, app.ClientSecretNext = oauthapps.NewSecret("new"), oauthapps.Secret{}
	if over := declare(); over.NextInUse || !over.NextSecretSet.IsZero() || over.ClientSecret.Reveal() != "new" {
		t.Errorf("after the rollover: %+v", over)
	}
}

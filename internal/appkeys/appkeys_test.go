package appkeys_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/behalf-project/behalf/internal/appkeys"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/oauthapps"
)

// apps are the OAuth apps of a test, by slug.
type apps map[string]oauthapps.App

func (a apps) Get(_ context.Context, slug string) (oauthapps.App, error) {
	if slug == "down" {
		return oauthapps.App{}, errors.New("canary of the database")
	}
	if app, ok := a[slug]; ok {
		return app, nil
	}
	return oauthapps.App{}, fault.New(fault.NotFound, "There is no such app.")
}

func TestThePublicKeyOfAnAppIsForEverybody(t *testing.T) {
	key, err := oauthapps.NewPrivateKey("RS256")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	(&appkeys.Handler{Apps: apps{
		"signs": {Slug: "signs", PrivateKey: key}, "secret": {Slug: "secret", ClientSecret: oauthapps.NewSecret("canary")},
		"oap_1": {Slug: "signs", PrivateKey: key},
	}}).Mount(mux)
	get := func(slug string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/oauth/jwks/"+slug, nil))
		return w
	}
	w := get("signs")
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil || w.Code != 200 || len(set.Keys) != 1 || w.Header().Get("Content-Type") != "application/jwk-set+json" {
		t.Fatalf("answer = %d %s", w.Code, w.Body)
	}
	if k := set.Keys[0]; k["alg"] != "RS256" || k["kid"] == nil || k["n"] == nil {
		t.Errorf("key %v, want an RSA key with alg and kid", k)
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi"} {
		if set.Keys[0][private] != nil {
			t.Errorf("the key set holds %q, which is private", private)
		}
	}
	none := get("nobody").Body.String()
	for slug, status := range map[string]int{"nobody": 404, "secret": 404, "oap_1": 404, "down": 503} {
		w := get(slug)
		if w.Code != status || status == 404 && w.Body.String() != none {
			t.Errorf("/oauth/jwks/%s = %d %q, want %d, and every 404 alike", slug, w.Code, w.Body, status)
		}
	}
}

// Package appkeys publishes the public keys of OAuth apps, each at an address of its own, for authorization servers to
// verify what private_key_jwt signs (RFC 7523, RFC 7591 §2 jwks_uri).
package appkeys

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/oauthapps"
)

// Apps knows the OAuth apps. oauthapps.Registry is one.
type Apps interface {
	Get(ctx context.Context, idOrSlug string) (oauthapps.App, error)
}

// Handler serves GET /oauth/jwks/{app}, which asks for no sign-in: the keys are public.
type Handler struct{ Apps Apps }

// Mount adds the route to mux.
func (h *Handler) Mount(mux *http.ServeMux) { mux.HandleFunc("GET /oauth/jwks/{app}", h.jwks) }

// jwks answers with the key set of one app (RFC 7517 §5). An app without a key is not told from one that is not there.
func (h *Handler) jwks(w http.ResponseWriter, r *http.Request) {
	app, err := h.Apps.Get(r.Context(), r.PathValue("app"))
	if err != nil && !errors.Is(err, fault.NotFound) {
		http.Error(w, "The server cannot read its apps now. Try again shortly.", http.StatusServiceUnavailable)
		return
	}
	key := app.PublicKey()
	if key == nil || app.Slug != r.PathValue("app") {
		http.Error(w, "There is no key at this address.", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_ = json.NewEncoder(w).Encode(map[string]any{"keys": []json.RawMessage{key}}) // the client is gone
}

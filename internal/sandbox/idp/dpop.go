package idp

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// proofLife is how old a proof may be, and how far from the future.
const proofLife = time.Minute

// DPoPMode is how much the provider has to do with proofs of possession (RFC 9449).
type DPoPMode int

// The modes.
const (
	DPoPOff     DPoPMode = iota // proofs are not looked at, and not offered in the metadata
	DPoPOn                      // a token request with a proof binds the access token, and a public client's refresh token
	DPoPRefresh                 // only the refresh token of a public client is bound; access tokens stay bearer tokens
)

// SetDPoP chooses what proofs do.
func (p *Provider) SetDPoP(mode DPoPMode) { p.set(func(s *settings) { s.dpop = mode }) }

// SetDPoPNonce chooses whether proofs must hold a nonce of the provider (RFC 9449 §8). Each call makes a new one, so
// that those which clients remember are worth nothing.
func (p *Provider) SetDPoPNonce(on bool) {
	p.set(func(s *settings) {
		if s.nonce = ""; on {
			s.nonce = rand.Text()
		}
	})
}

// proof checks the proof of a request to the endpoint at path and returns the thumbprint of its key; empty when there
// is no proof, or proofs are off. token is the access token that came with it.
func (p *Provider) proof(c *call, path, token string) (string, *answer) {
	p.mu.Lock()
	mode, nonce := p.settings.dpop, p.settings.nonce
	p.mu.Unlock()
	proofs := c.r.Header.Values("DPoP")
	if mode == DPoPOff || len(proofs) == 0 {
		return "", nil
	}
	refuse := func(code, description string) (string, *answer) {
		a := oauthError(http.StatusBadRequest, code, description)
		a.header = http.Header{}
		if nonce != "" {
			a.header.Set("DPoP-Nonce", nonce)
		}
		return "", &a
	}
	if len(proofs) > 1 {
		return refuse("invalid_dpop_proof", "there is more than one proof")
	}
	var key jose.JSONWebKey
	var claims struct {
		jwt.RegisteredClaims
		Method string `json:"htm"`
		URL    string `json:"htu"`
		Hash   string `json:"ath"`
		Nonce  string `json:"nonce"`
	}
	t, err := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithoutClaimsValidation()).ParseWithClaims(proofs[0], &claims, func(t *jwt.Token) (any, error) {
		text, err := json.Marshal(t.Header["jwk"])
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &key); err != nil || !key.IsPublic() {
			return nil, jwt.ErrTokenUnverifiable
		}
		return key.Key, nil
	})
	now := p.now()
	ath := ""
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		ath = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	switch {
	case err != nil || t.Header["typ"] != "dpop+jwt":
		return refuse("invalid_dpop_proof", "the proof does not verify")
	case claims.Method != c.r.Method || claims.URL != p.issuer+path:
		return refuse("invalid_dpop_proof", "the proof is for another request")
	case claims.IssuedAt == nil || claims.IssuedAt.Before(now.Add(-proofLife)) || claims.IssuedAt.After(now.Add(proofLife)):
		return refuse("invalid_dpop_proof", "the proof is from another time")
	case claims.Hash != ath:
		return refuse("invalid_dpop_proof", "the proof is for another token")
	case nonce != "" && claims.Nonce != nonce:
		return refuse("use_dpop_nonce", "the proof needs the nonce of the header DPoP-Nonce")
	case claims.ID == "" || !p.once("proof "+claims.ID, now.Add(2*proofLife)):
		return refuse("invalid_dpop_proof", "the proof was used before")
	}
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return refuse("invalid_dpop_proof", "the key has no thumbprint")
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

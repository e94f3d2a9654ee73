package jwtauth

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/go-jose/go-jose/v4"
	"go.uber.org/zap"
)

// KeySet is the public keys of an issuer, from its JWKS document (RFC 7517 §5). It is safe for concurrent use.
//
// A document is good for the max-age of its answer, else for five minutes. What is out of date goes on serving while Run
// fetches it again, and when the issuer does not answer, for a day: then nobody knows whether a key still stands. A kid
// that is not known is fetched at once, but at most once a minute, since anybody can make up kids (cube-rest-api.md §2.3).
type KeySet struct {
	cfg KeySetConfig

	mu     sync.Mutex
	keys   map[string]publicKey
	until  time.Time // when they are out of date
	tried  time.Time // when they were asked for last
	flight *fetching // nil when nobody asks
}

// KeySetConfig is what NewKeySet needs. URL is required.
type KeySetConfig struct {
	URL  string
	HTTP *http.Client     // default: http.DefaultClient; one whose answers are bounded, and that follows no redirect
	Log  *zap.Logger      // default: no logging
	Now  func() time.Time // default: time.Now
}

// How long a document serves (cube-rest-api.md §2.3).
const (
	defaultLife   = 5 * time.Minute
	shortestLife  = 30 * time.Second // whatever the issuer says
	longestLife   = 24 * time.Hour
	staleLife     = 24 * time.Hour // beyond its life, while the issuer does not answer
	refetchWindow = time.Minute    // between two fetches for the sake of a kid
	fetchAttempts = 3
	fetchTimeout  = 5 * time.Second // of one
	maxKeys       = 100
)

var errUnknownKey = errors.New("no key of the issuer has the kid of the token")

// NewKeySet returns the key set at a URL, without fetching it: the first token or Run does.
func NewKeySet(cfg KeySetConfig) *KeySet {
	if cfg.HTTP == nil {
		cfg.HTTP = http.DefaultClient
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &KeySet{cfg: cfg}
}

// Run keeps the keys up to date until ctx ends.
func (s *KeySet) Run(ctx context.Context) error {
	look := time.NewTicker(time.Minute)
	defer look.Stop()
	for {
		if s.outOfDate() {
			if err := s.fetch(ctx, 0); err != nil && ctx.Err() == nil {
				s.cfg.Log.Warn("the keys of the issuer of tokens could not be fetched; those that are known go on serving", zap.Error(err))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
}

func (s *KeySet) outOfDate() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.cfg.Now().Before(s.until)
}

// publicKey is one key of the document.
type publicKey struct {
	jose.JSONWebKey
	thumbprint string // RFC 7638
}

// key returns the public key with this id.
func (s *KeySet) key(ctx context.Context, kid string) (publicKey, error) {
	if key, ok := s.known(kid); ok {
		return key, nil
	}
	if err := s.fetch(ctx, refetchWindow); err != nil {
		return publicKey{}, err
	}
	if key, ok := s.known(kid); ok {
		return key, nil
	}
	return publicKey{}, errUnknownKey
}

// known returns the key if it is there and believed.
func (s *KeySet) known(kid string) (publicKey, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.cfg.Now().Before(s.until.Add(staleLife)) {
		return publicKey{}, false
	}
	key, ok := s.keys[kid]
	return key, ok
}

// holds reports whether key is still one of the issuer's.
func (s *KeySet) holds(key publicKey) bool {
	held, ok := s.known(key.KeyID)
	return ok && held.thumbprint == key.thumbprint
}

// fetching is one fetch of the document, for which everybody who needs it waits.
type fetching struct {
	done chan struct{}
	err  error
}

// fetch reads the document again, or waits for who does. It fails with errUnknownKey when it was read within window.
func (s *KeySet) fetch(ctx context.Context, window time.Duration) error {
	s.mu.Lock()
	f, mine := s.flight, false
	if f == nil {
		now := s.cfg.Now()
		if !s.tried.IsZero() && !now.Before(s.tried) && now.Sub(s.tried) < window {
			s.mu.Unlock()
			return errUnknownKey
		}
		f, mine = &fetching{done: make(chan struct{})}, true
		s.flight, s.tried = f, now
	}
	s.mu.Unlock()
	if !mine {
		select {
		case <-f.done:
			return f.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	keys, life, err := s.insist(context.WithoutCancel(ctx)) // others wait for it too; each attempt has its own end
	if err != nil {
		err = fmt.Errorf("the keys of the issuer could not be fetched: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.keys, s.until = keys, s.cfg.Now().Add(life)
	}
	s.flight, f.err = nil, err
	close(f.done)
	return err
}

// insist asks for the document until it comes, a few times.
func (s *KeySet) insist(ctx context.Context) (keys map[string]publicKey, life time.Duration, err error) {
	for attempt := range fetchAttempts {
		time.Sleep(time.Duration(attempt) * 100 * time.Millisecond)
		if keys, life, err = s.get(ctx); err == nil {
			return keys, life, nil
		}
	}
	return nil, 0, err
}

// get asks for the document once.
func (s *KeySet) get(ctx context.Context) (map[string]publicKey, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.URL, nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := s.cfg.HTTP.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("%s answers %s", s.cfg.URL, resp.Status)
	}
	keys, err := readKeys(body)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", s.cfg.URL, err)
	}
	return keys, life(resp.Header.Get("Cache-Control")), nil
}

// readKeys reads a JWKS document. Keys of kinds that we do not know, without an id, for encryption or symmetric are not
// there for us.
func readKeys(body []byte) (map[string]publicKey, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &doc); err != nil || doc.Keys == nil {
		return nil, errors.New(`the answer is no JWKS document: it has no list "keys"`)
	}
	if len(doc.Keys) > maxKeys {
		return nil, fmt.Errorf("the document has more than %d keys", maxKeys)
	}
	keys := map[string]publicKey{}
	for _, raw := range doc.Keys {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(raw); err != nil || key.KeyID == "" || key.Use == "enc" || !key.IsPublic() || !key.Valid() {
			continue
		}
		sum, err := key.Thumbprint(crypto.SHA256)
		if err != nil {
			continue
		}
		keys[key.KeyID] = publicKey{key, string(sum)}
	}
	if len(keys) == 0 {
		return nil, errors.New("the document has no public key for signatures with a kid")
	}
	return keys, nil
}

// ParsePublicKey reads the public key of an issuer in PEM: a SubjectPublicKeyInfo, a certificate or a PKCS #1 key.
func ParsePublicKey(text secret.Text) (any, error) {
	invalid := func(why string) error {
		return fault.New(fault.Invalid, "auth.jwt.key: %s; it is a public key of an issuer in PEM (BEGIN PUBLIC KEY or BEGIN CERTIFICATE)", why)
	}
	block, _ := pem.Decode([]byte(text.Reveal()))
	if block == nil {
		return nil, invalid("this is no PEM")
	}
	if strings.Contains(block.Type, "PRIVATE") {
		return nil, invalid("this is a private key")
	}
	if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
		return key, nil
	}
	if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
		return cert.PublicKey, nil
	}
	if key, err := x509.ParsePKCS1PublicKey(block.Bytes); err == nil {
		return key, nil
	}
	return nil, invalid("there is no key in the block " + block.Type)
}

// life reads max-age (RFC 9111 §5.2.2.1).
func life(cacheControl string) time.Duration {
	for directive := range strings.SplitSeq(cacheControl, ",") {
		if value, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(directive)), "max-age="); ok {
			if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				return min(max(time.Duration(seconds)*time.Second, shortestLife), longestLife)
			}
		}
	}
	return defaultLife
}

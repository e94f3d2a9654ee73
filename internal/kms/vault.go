package kms

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
)

var transitKey = regexp.MustCompile(`^/((?:[A-Za-z0-9_-][A-Za-z0-9_.-]*/)*[A-Za-z0-9_-][A-Za-z0-9_.-]*)/keys/([A-Za-z0-9_-][A-Za-z0-9_.-]*)$`)

// vaultKey is a key of Vault's transit engine (developer.hashicorp.com/vault/api-docs/secret/transit). It must be of a
// type with associated data, such as aes256-gcm96.
type vaultKey struct {
	service
	encrypt, decrypt string // URLs

	mu    sync.Mutex
	binds bool // it was seen to honour associated data
}

func (o *Opener) openVault(uri, rest string) (secret.KMS, error) {
	u, err := url.Parse("https://" + rest)
	var parts []string
	if err == nil {
		parts = transitKey.FindStringSubmatch(u.Path)
	}
	if parts == nil || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return nil, fault.New(fault.Invalid, "The master key %s names no key of Vault: write hcvault://<host>/<mount>/keys/<name>, as in hcvault://vault.example.com:8200/transit/keys/behalf.", redacted(uri))
	}
	transport := http.DefaultTransport
	if file := o.cfg.Getenv("VAULT_CACERT"); file != "" {
		if transport, err = trusting(file); err != nil {
			return nil, err
		}
	}
	mount, name := parts[1], parts[2]
	base := "https://" + u.Host + "/v1/" + mount
	return &vaultKey{encrypt: base + "/encrypt/" + name, decrypt: base + "/decrypt/" + name, service: service{
		name: "Vault", uri: uri, client: httpClient(transport),
		needs: fmt.Sprintf("The token of this process needs a policy with update on %[1]s/encrypt/%[2]s and %[1]s/decrypt/%[2]s, and must not have expired.", mount, name),
		prepare: func(_ context.Context, r *http.Request, _ []byte) error {
			token, err := o.vaultToken(uri)
			if err != nil {
				return err
			}
			r.Header.Set("X-Vault-Token", token.Reveal())
			r.Header.Set("X-Vault-Request", "true")
			if namespace := o.cfg.Getenv("VAULT_NAMESPACE"); namespace != "" {
				r.Header.Set("X-Vault-Namespace", namespace)
			}
			return nil
		},
		meaning: vaultMeaning,
	}}, nil
}

// redacted returns uri without what somebody may have put before its host.
func redacted(uri string) string {
	if u, err := url.Parse(uri); err == nil {
		return u.Redacted()
	}
	return "hcvault://…"
}

// vaultToken reads the token where Vault's own tools do. It is read for each call, because an agent may renew it.
func (o *Opener) vaultToken(uri string) (secret.Text, error) {
	if token := o.cfg.Getenv("VAULT_TOKEN"); token != "" {
		return secret.New(token), nil
	}
	file := filepath.Join(o.cfg.Getenv("HOME"), ".vault-token")
	text, err := os.ReadFile(file)
	if token := strings.TrimSpace(string(text)); err == nil && token != "" {
		return secret.New(token), nil
	}
	return secret.Text{}, fault.Wrap(fault.NotFound, err, "There is no Vault token, and Vault holds the master key %s. Set VAULT_TOKEN, or let Vault Agent write the file %s.", uri, file)
}

// trusting returns a transport with the certificate authorities of a PEM file in place of the system's.
func trusting(file string) (http.RoundTripper, error) {
	pem, err := os.ReadFile(file)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(pem) {
		return nil, fault.Wrap(fault.Invalid, err, "VAULT_CACERT names the file %s, which is no certificate in PEM.", file)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}

type vaultRequest struct {
	Plaintext  []byte `json:"plaintext,omitempty"`
	Ciphertext string `json:"ciphertext,omitempty"`
	AD         []byte `json:"associated_data"`
}

type vaultAnswer struct {
	Data struct {
		Plaintext  []byte `json:"plaintext"`
		Ciphertext string `json:"ciphertext"`
	} `json:"data"`
}

// probe sees, once, that Vault honours associated data: what was encrypted for one purpose must not open for another. A
// Vault that does not know the parameter ignores it, and nothing would bind what it wrapped.
func (k *vaultKey) probe(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.binds {
		return nil
	}
	sealed, err := k.seal(ctx, []byte("behalf"), []byte("behalf: one purpose"))
	if err != nil {
		return err
	}
	switch _, err := k.open(ctx, sealed, []byte("behalf: another purpose")); {
	case err == nil:
		return fault.New(fault.Invalid, "Vault ignores associated_data with the master key %s: it opens for one purpose what was sealed for another, so that wrapped data keys could be exchanged. Use a key of the type aes256-gcm96, at a Vault whose transit engine knows associated_data.", k.uri)
	case !errors.Is(err, secret.ErrWrongMaster):
		return err
	}
	k.binds = true
	return nil
}

// EncryptWithContext implements secret.KMS.
func (k *vaultKey) EncryptWithContext(ctx context.Context, plain, associatedData []byte) ([]byte, error) {
	if err := k.probe(ctx); err != nil {
		return nil, err
	}
	return k.seal(ctx, plain, associatedData)
}

func (k *vaultKey) seal(ctx context.Context, plain, associatedData []byte) ([]byte, error) {
	var a vaultAnswer
	if err := k.call(ctx, "encrypt", k.encrypt, nil, vaultRequest{Plaintext: plain, AD: associatedData}, &a); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(a.Data.Ciphertext, "vault:") {
		return nil, fault.New(fault.Unavailable, "Vault gave an answer without a ciphertext. Check that %s is a key of a transit engine.", k.uri)
	}
	return []byte(a.Data.Ciphertext), nil
}

// DecryptWithContext implements secret.KMS.
func (k *vaultKey) DecryptWithContext(ctx context.Context, sealed, associatedData []byte) ([]byte, error) {
	if !strings.HasPrefix(string(sealed), "vault:") {
		return nil, secret.ErrWrongMaster // another kind of master key wrapped it
	}
	if err := k.probe(ctx); err != nil {
		return nil, err
	}
	return k.open(ctx, sealed, associatedData)
}

func (k *vaultKey) open(ctx context.Context, sealed, associatedData []byte) ([]byte, error) {
	var a vaultAnswer
	err := k.call(ctx, "decrypt", k.decrypt, nil, vaultRequest{Ciphertext: string(sealed), AD: associatedData}, &a)
	return a.Data.Plaintext, err
}

func vaultMeaning(status int, body []byte) failure {
	var e struct {
		Errors []string `json:"errors"`
	}
	_ = json.Unmarshal(body, &e) // without a body, the status says enough
	said := strings.Join(e.Errors, "; ")
	f := failure{detail: word(said)}
	switch {
	case status == http.StatusForbidden:
		f.class = denied
	case status == http.StatusNotFound, strings.Contains(said, "encryption key not found"):
		f.class = missing
	case status == http.StatusBadRequest && (strings.Contains(said, "authentication failed") || strings.Contains(said, "ciphertext")):
		f.class = notOurs
	case status == http.StatusTooManyRequests, status == 412, status >= 500: // 503 is sealed
		f.class = busy
	}
	return f
}

// Package kms reaches keys of key management services: AWS KMS, Google Cloud KMS, and the transit engine of HashiCorp
// Vault. One of them can be the master key, which wraps the data keys of the store.
//
// Each service is two calls, encrypt and decrypt, over its own HTTP API, with the credentials that its other tools find
// by themselves. The key stays there; what is wrapped is bound to its purpose by associated data. Services are called
// when the data keys are read or changed, never for a secret, and a service that does not answer keeps nobody waiting
// longer than callLimit. Vault is asked once more, before its first call, whether it honours associated data at all.
//
// The ciphertexts are those of Tink's modules for the same services. Those modules were tried: they add 26 MB and 330
// packages to the program, and two of the three cannot be given a deadline.
package kms

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
)

const (
	callLimit = 10 * time.Second // of one encryption or decryption, with the credentials it needs
	maxAnswer = 1 << 20
	tries     = 3
)

// Config is what an Opener needs; everything has a default.
type Config struct {
	Getenv func(string) string // where the services' own variables are; default os.Getenv

	GoogleEndpoint string           // default https://cloudkms.googleapis.com
	Now            func() time.Time // for signatures; default time.Now
}

// Opener opens keys. It is safe for concurrent use.
type Opener struct{ cfg Config }

// New returns an Opener over cfg.
func New(cfg Config) *Opener {
	if cfg.Getenv == nil {
		cfg.Getenv = os.Getenv
	}
	if cfg.GoogleEndpoint == "" {
		cfg.GoogleEndpoint = "https://cloudkms.googleapis.com"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Opener{cfg}
}

// Open returns the key that uri names:
//
//	aws-kms://arn:aws:kms:eu-west-1:123456789012:key/<id>, or …:alias/<name>
//	gcp-kms://projects/<p>/locations/<l>/keyRings/<r>/cryptoKeys/<k>
//	hcvault://<host>/<mount>/keys/<name>
//
// It finds the credentials and calls nothing else. It is fault.Invalid when uri is none of them, and fault.NotFound when
// there are no credentials.
func (o *Opener) Open(ctx context.Context, uri string) (secret.KMS, error) {
	scheme, rest, _ := strings.Cut(uri, "://")
	switch scheme {
	case "aws-kms":
		return o.openAWS(ctx, uri, rest)
	case "gcp-kms":
		return o.openGCP(ctx, uri, rest)
	case "hcvault":
		return o.openVault(uri, rest)
	}
	return nil, fault.New(fault.Invalid, "The master key %s is in no KMS that is known: it must begin with aws-kms://, gcp-kms:// or hcvault://.", uri)
}

// service is what one key of one service needs to be called.
type service struct {
	name   string // for people
	uri    string
	needs  string       // what to permit
	client *http.Client // of httpClient

	prepare func(ctx context.Context, r *http.Request, body []byte) error // adds the credentials
	meaning func(status int, body []byte) failure
}

// failure is what a refusal of a service means.
type failure struct {
	class  class
	detail string // what the service said, for the log
}

type class int

const (
	unknown class = iota
	denied
	missing
	disabled
	notOurs // the ciphertext is not of this key, or not for this associated data
	busy
)

// call posts request as JSON to url and reads the answer.
func (s *service) call(ctx context.Context, operation, url string, header http.Header, request, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("write a request to %s: %w", s.name, err)
	}
	for try := 1; ; try++ {
		err := s.once(ctx, operation, url, header, body, answer)
		if try == tries || !errors.Is(err, fault.Unavailable) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Duration(try) * 100 * time.Millisecond):
		}
	}
}

func (s *service) once(ctx context.Context, operation, url string, header http.Header, body []byte, answer any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("call %s: %w", s.name, err)
	}
	r.Header.Set("Content-Type", "application/json")
	for name, values := range header {
		r.Header[name] = values
	}
	if err := s.prepare(ctx, r, body); err != nil {
		if fault.KindOf(err) != "" {
			return err
		}
		if ctx.Err() != nil {
			return s.late(ctx, err)
		}
		return fault.Wrap(fault.Unavailable, err, "There are no credentials for %s, which holds the master key %s. See docs/how-to/keys.md for where they are looked for.", s.name, s.uri)
	}
	res, err := s.client.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return s.late(ctx, err)
		}
		return fault.Wrap(fault.Unavailable, err, "%s does not answer, and it holds the master key %s. Without it the stored secrets stay closed: check the address and the network, and start again.", s.name, s.uri)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return s.late(ctx, err)
	}
	if res.StatusCode != http.StatusOK {
		return s.refused(operation, res.StatusCode, text)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fault.New(fault.Unavailable, "%s gave an answer that is none of its own. Check that the master key's address leads to it: %s.", s.name, s.uri)
	}
	return nil
}

// late says that the service took too long, or the caller left.
func (s *service) late(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fault.Wrap(fault.Canceled, err, "The caller left before %s answered.", s.name)
	}
	return fault.Wrap(fault.Timeout, err, "%s did not answer within %v, and it holds the master key %s. Without it the stored secrets stay closed: check the address and the network, and start again.", s.name, callLimit, s.uri)
}

func (s *service) refused(operation string, status int, body []byte) error {
	f := s.meaning(status, body)
	cause := fmt.Errorf("%s: status %d: %s", operation, status, f.detail)
	switch f.class {
	case notOurs:
		return fmt.Errorf("%w: %w", secret.ErrWrongMaster, cause)
	case denied:
		return fault.Wrap(fault.Denied, cause, "%s does not let us %s with the master key %s. %s", s.name, operation, s.uri, s.needs)
	case missing:
		return fault.Wrap(fault.NotFound, cause, "%s has no key %s. Restore it there, or set keys.keyset to the master key that wrapped the data keys.", s.name, s.uri)
	case disabled:
		return fault.Wrap(fault.Unavailable, cause, "The master key %s is disabled in %s, or is to be deleted. Enable it there, or cancel its deletion.", s.uri, s.name)
	case busy:
		return fault.Wrap(fault.Unavailable, cause, "%s cannot %s with the master key %s now (status %d). Try again.", s.name, operation, s.uri, status)
	}
	return fault.Wrap(fault.Invalid, cause, "%s refused to %s with the master key %s (status %d). Check that it is a key for symmetric encryption.", s.name, operation, s.uri, status)
}

// httpClient returns a client that goes nowhere else than where it was sent.
func httpClient(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: transport, Timeout: callLimit, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// word returns a short text of a service as it may stand in a log.
func word(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), 200)], "\uFFFD")
}

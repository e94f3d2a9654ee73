// Package webhook signs and sends messages as Standard Webhooks says (https://www.standardwebhooks.com, specification
// 1.0.0): a POST of JSON with the headers webhook-id, webhook-timestamp and webhook-signature, which any of its
// libraries verifies.
//
// Who receives them is an address that an admin wrote into the configuration, so it is called with the guard of
// internal/outbound: no cloud metadata, no redirects, a bounded answer that nobody reads.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/outbound"
	"github.com/behalf-project/behalf/internal/secret"
)

// tolerance is how far the timestamp of a message may be from the receiver's clock.
const tolerance = 5 * time.Minute

// The headers.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// ParseSecret returns the key of a secret such as whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw: base64 of 24 to 64 bytes.
func ParseSecret(s secret.Text) ([]byte, error) {
	text, ok := strings.CutPrefix(s.Reveal(), "whsec_")
	if !ok {
		return nil, errors.New(`a webhook secret begins with "whsec_"`)
	}
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New(`a webhook secret is "whsec_" and base64 of 24 to 64 bytes`)
	}
	return key, nil
}

// Sign returns the value of webhook-signature for a message. With several secrets, as while one replaces another, it
// holds a signature for each, and a receiver that knows any of them accepts it.
func Sign(secrets []secret.Text, id string, at time.Time, body []byte) (string, error) {
	if len(secrets) == 0 || id == "" || strings.Contains(id, ".") {
		return "", errors.New("a webhook needs a secret and an id without a full stop")
	}
	var signatures []string
	for _, s := range secrets {
		key, err := ParseSecret(s)
		if err != nil {
			return "", err
		}
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac(key, id, strconv.FormatInt(at.Unix(), 10), body)))
	}
	return strings.Join(signatures, " "), nil
}

func mac(key []byte, id, timestamp string, body []byte) []byte {
	m := hmac.New(sha256.New, key)
	fmt.Fprintf(m, "%s.%s.", id, timestamp)
	m.Write(body)
	return m.Sum(nil)
}

// Verify says whether a message was signed with one of the secrets, not more than five minutes ago: what a receiver
// does before it believes anything.
func Verify(secrets []secret.Text, header http.Header, body []byte, now time.Time) error {
	id, timestamp := header.Get(headerID), header.Get(headerTimestamp)
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if id == "" || err != nil {
		return errors.New("the message has no webhook-id or no webhook-timestamp")
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > tolerance || age < -tolerance {
		return errors.New("the message is too old or from the future")
	}
	for _, s := range secrets {
		key, err := ParseSecret(s)
		if err != nil {
			return err
		}
		want := mac(key, id, timestamp, body)
		for signature := range strings.FieldsSeq(header.Get(headerSignature)) {
			text, ok := strings.CutPrefix(signature, "v1,")
			if got, err := base64.StdEncoding.DecodeString(text); ok && err == nil && subtle.ConstantTimeCompare(got, want) == 1 {
				return nil
			}
		}
	}
	return errors.New("no signature of the message fits")
}

// Message is what is sent. The same message has the same id however often it is sent; its timestamp is that of the try.
type Message struct {
	ID   string
	Body []byte // JSON
}

// Config is what a Sender needs. Nothing is required.
type Config struct {
	AllowLoopback bool             // receivers on this machine may be called
	Timeout       time.Duration    // of one try; default 15 s
	Now           func() time.Time // default: time.Now
}

// Sender sends messages. It is safe for concurrent use.
type Sender struct {
	cfg    Config
	client *http.Client
}

// New returns a Sender over cfg. It starts nothing.
func New(cfg Config) *Sender {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 15 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Sender{cfg: cfg, client: outbound.NewClient(cfg.AllowLoopback, nil)}
}

// Refusal is why a receiver did not take a message.
type Refusal struct {
	Status     int           // of its answer; 0 when there was none
	Code       string        // stable word: "http_500", "unreachable", "address_refused", "gone"
	Final      bool          // do not try again: 410 Gone, or an address that is never called
	RetryAfter time.Duration // what it asked for; 0 when it did not
}

// Error returns the code. What the receiver wrote is not in it.
func (r *Refusal) Error() string { return "webhook: " + r.Code }

// Send tries once to give m to the receiver at url. Any answer of 200 to 299 means that it was taken; everything else
// is a *Refusal. The URL may hold a secret of the receiver's and is in no error.
func (s *Sender) Send(ctx context.Context, url string, secrets []secret.Text, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	now := s.cfg.Now()
	signature, err := Sign(secrets, m.ID, now, m.Body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(m.Body))
	if err != nil {
		return &Refusal{Code: "address_refused", Final: true}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Behalf-Webhook/1")
	req.Header.Set(headerID, m.ID)
	req.Header.Set(headerTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(headerSignature, signature)
	resp, err := s.client.Do(req)
	switch {
	case errors.Is(err, outbound.ErrAddress):
		return &Refusal{Code: "address_refused"} // a name may resolve to another one tomorrow
	case err != nil:
		return &Refusal{Code: "unreachable"}
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // nobody reads it; the connection ends with it
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode <= 299:
		return nil
	case resp.StatusCode == http.StatusGone:
		return &Refusal{Status: resp.StatusCode, Code: "gone", Final: true}
	}
	r := &Refusal{Status: resp.StatusCode, Code: "http_" + strconv.Itoa(resp.StatusCode)}
	if seconds, err := strconv.ParseUint(strings.TrimSpace(resp.Header.Get("Retry-After")), 10, 31); err == nil {
		r.RetryAfter = min(time.Duration(seconds)*time.Second, 24*time.Hour)
	}
	return r
}

// schedule is when a message is tried again, counted from the try before: what Standard Webhooks recommends, a good
// three days in all.
var schedule = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// Again says when a message that was refused for the nth time, counted from 1, is tried again, and false when it is
// given up.
func Again(n int, r *Refusal) (time.Duration, bool) {
	if r.Final || n > len(schedule) {
		return 0, false
	}
	return max(schedule[max(n, 1)-1], r.RetryAfter), true
}

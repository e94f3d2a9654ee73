package webhook_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/webhook"
)

var (
	known = secret.New("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	other = secret.New("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	then  = time.Unix(1614265330, 0)
)

// The vector is the one of the specification's own libraries.
func TestTheSignatureIsThatOfStandardWebhooks(t *testing.T) {
	const id, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", `{"test": 2432232314}`
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	got, err := webhook.Sign([]secret.Text{known}, id, then, []byte(body))
	if err != nil || got != want {
		t.Fatalf("Sign = %q, %v, want %q", got, err, want)
	}
	header := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {"1614265330"}, "Webhook-Signature": {want}}
	if err := webhook.Verify([]secret.Text{known}, header, []byte(body), then); err != nil {
		t.Errorf("Verify = %v", err)
	}
}

func TestAMessageThatIsNotRightIsRefused(t *testing.T) {
	const id, body = "evt_1", `{"a":1}`
	good, err := webhook.Sign([]secret.Text{known}, id, then, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, id, at, signature, body string
		secrets                       []secret.Text
		now                           time.Time
		ok                            bool
	}{
		{"as it was sent", id, "1614265330", good, body, []secret.Text{known}, then, true},
		{"beside a signature of another version", id, "1614265330", "v2,AAAA v1a,BBBB " + good, body, []secret.Text{known}, then, true},
		{"with the receiver's next secret too", id, "1614265330", good, body, []secret.Text{other, known}, then, true},
		{"with another body", id, "1614265330", good, `{"a":2}`, []secret.Text{known}, then, false},
		{"with another id", "evt_2", "1614265330", good, body, []secret.Text{known}, then, false},
		{"with another time", id, "1614265331", good, body, []secret.Text{known}, then, false},
		{"by another secret", id, "1614265330", good, body, []secret.Text{other}, then, false},
		{"without a signature", id, "1614265330", "", body, []secret.Text{known}, then, false},
		{"again after six minutes", id, "1614265330", good, body, []secret.Text{known}, then.Add(6 * time.Minute), false},
		{"six minutes early", id, "1614265330", good, body, []secret.Text{known}, then.Add(-6 * time.Minute), false},
		{"without a time", id, "", good, body, []secret.Text{known}, then, false},
	} {
		header := http.Header{"Webhook-Id": {tt.id}, "Webhook-Timestamp": {tt.at}, "Webhook-Signature": {tt.signature}}
		if err := webhook.Verify(tt.secrets, header, []byte(tt.body), tt.now); (err == nil) != tt.ok {
			t.Errorf("a message %s: %v, want accepted: %v", tt.name, err, tt.ok)
		}
	}
}

func TestSecretsThatAreNoneAreRefused(t *testing.T) {
	for _, s := range []string{"", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_short", "whsec_AAAA", "whsec_" + strings.Repeat("A", 100), "whsec_%%%"} {
		if _, err := webhook.ParseSecret(secret.New(s)); err == nil {
			t.Errorf("%q was taken", s)
		} else if s != "" && len(s) > 6 && strings.Contains(err.Error(), s) {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
}

// receiver is a program that gets webhooks and verifies them as its library would.
func receiver(t *testing.T, status int, header ...string) (url string, got func() []http.Header) {
	var mu sync.Mutex
	var headers []http.Header
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if err := webhook.Verify([]secret.Text{known}, r.Header, body, time.Now()); err != nil {
			t.Errorf("a receiver with one of the secrets: %v", err)
		}
		mu.Lock()
		headers = append(headers, r.Header)
		mu.Unlock()
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/hook?key=canary", func() []http.Header {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(headers)
	}
}

func TestAReceiverVerifiesWhatIsSentWhileASecretIsReplaced(t *testing.T) {
	url, got := receiver(t, http.StatusNoContent)
	s := webhook.New(webhook.Config{AllowLoopback: true})
	m := webhook.Message{ID: "evt_1", Body: []byte(`{"type":"x"}`)}
	for _, secrets := range [][]secret.Text{{known}, {other, known}} {
		if err := s.Send(t.Context(), url, secrets, m); err != nil {
			t.Fatalf("Send = %v", err)
		}
	}
	if n := len(got()); n != 2 || got()[0].Get("webhook-id") != "evt_1" || got()[1].Get("Content-Type") != "application/json" {
		t.Errorf("%d messages came: %v", n, got())
	}
}

func TestWhatAReceiverAnswersDecides(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		header []string
		code   string
		final  bool
		wait   time.Duration
	}{
		{"an error", 500, nil, "http_500", false, 0},
		{"a redirect, which is not followed", 302, []string{"Location", "http://127.0.0.1:1/"}, "http_302", false, 0},
		{"too many", 429, []string{"Retry-After", "90"}, "http_429", false, 90 * time.Second},
		{"gone for good", 410, nil, "gone", true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url, got := receiver(t, tt.status, tt.header...)
			err := webhook.New(webhook.Config{AllowLoopback: true}).Send(t.Context(), url, []secret.Text{known}, webhook.Message{ID: "evt_1", Body: []byte(`{}`)})
			r, ok := errors.AsType[*webhook.Refusal](err)
			if !ok || r.Code != tt.code || r.Final != tt.final || r.RetryAfter != tt.wait || r.Status != tt.status {
				t.Errorf("Send = %+v, want %s", err, tt.code)
			}
			if len(got()) != 1 {
				t.Errorf("%d requests, want 1", len(got()))
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error tells the URL: %v", err)
			}
		})
	}
}

func TestAReceiverInsideIsNotCalled(t *testing.T) {
	url, got := receiver(t, http.StatusOK)
	for _, to := range []string{url, "http://169.254.169.254/latest/meta-data", "http://[::ffff:127.0.0.1]:80/", "http://0.0.0.0/"} {
		err := webhook.New(webhook.Config{}).Send(context.Background(), to, []secret.Text{known}, webhook.Message{ID: "evt_1", Body: []byte(`{}`)})
		if r, ok := errors.AsType[*webhook.Refusal](err); !ok || r.Code != "address_refused" {
			t.Errorf("%s: %v, want address_refused", to, err)
		}
	}
	if len(got()) != 0 {
		t.Error("the receiver on loopback was called")
	}
}

func TestAMessageIsTriedForThreeDays(t *testing.T) {
	var total time.Duration
	n := 1
	for ; ; n++ {
		wait, ok := webhook.Again(n, &webhook.Refusal{})
		if !ok {
			break
		}
		total += wait
	}
	if n != 10 || total < 72*time.Hour || total > 80*time.Hour {
		t.Errorf("%d tries in %s, want 10 in a good three days", n, total)
	}
	if wait, _ := webhook.Again(1, &webhook.Refusal{RetryAfter: time.Hour}); wait != time.Hour {
		t.Errorf("Retry-After an hour waits %s", wait)
	}
	if _, ok := webhook.Again(1, &webhook.Refusal{Final: true}); ok {
		t.Error("a receiver that is gone is tried again")
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("evt_1", "1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", []byte("{}"))
	f.Fuzz(func(t *testing.T, id, at, signature string, body []byte) {
		header := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {at}, "Webhook-Signature": {signature}}
		if webhook.Verify([]secret.Text{other}, header, body, then) == nil {
			t.Errorf("accepted %q", signature)
		}
	})
}

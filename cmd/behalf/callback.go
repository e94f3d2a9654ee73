package main

import (
	"bytes"
	"context"
	"crypto/subtle"
	_ "embed"
	"errors"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/behalf-project/behalf/internal/authserver"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
)

// allowed is how long somebody may take to allow a sign-in or to connect an app.
const allowed = 10 * time.Minute

//go:embed callback.html
var callbackHTML string

var callbackPage = template.Must(template.New("callback.html").Parse(callbackHTML))

// callback is where the browser brings the answer of the authorization server: a listener on loopback, on a port that
// the system gave it (RFC 8252 §7.3). It answers one request, the one with its state, and ends.
type callback struct {
	listener net.Listener
	state    secret.Text
}

// listenForCallback begins to listen.
func listenForCallback(ctx context.Context, state secret.Text) (*callback, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &callback{listener, state}, nil
}

// redirectURI is where the answer has to be brought.
func (c *callback) redirectURI() string {
	return "http://" + c.listener.Addr().String() + authserver.RedirectPath
}

// receive waits for the answer, lets finish make of it what it is for, shows the browser how that went, and returns it.
// It is fault.Timeout when nobody came in time. Nothing listens any more when it returns.
func (c *callback) receive(ctx context.Context, finish func(ctx context.Context, answer url.Values) error) error {
	ctx, cancel := context.WithTimeout(ctx, allowed)
	defer cancel()
	var taken atomic.Bool
	outcome := make(chan error, 1)
	server := &http.Server{
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer := r.URL.Query()
			if r.Method != http.MethodGet || r.URL.Path != authserver.RedirectPath || len(answer["state"]) != 1 ||
				subtle.ConstantTimeCompare([]byte(answer.Get("state")), []byte(c.state.Reveal())) != 1 || !taken.CompareAndSwap(false, true) {
				http.NotFound(w, r) // who has no state uses nothing up
				return
			}
			err := finish(ctx, answer)
			showOutcome(w, err)
			outcome <- err
		}),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(c.listener) // it ends when the server is closed
	}()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second) // for the page on its way
		defer cancel()
		if server.Shutdown(ctx) != nil {
			server.Close()
		}
		<-served
	}()
	select {
	case err := <-outcome:
		return err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return errNobodyAllowed
		}
		return ctx.Err()
	}
}

// errNobodyAllowed is what a sign-in meets that nobody decided about.
var errNobodyAllowed = &fault.Error{Kind: fault.Timeout, Code: "expired_token", Detail: "Nobody allowed it within ten minutes. Run the command again."}

// showOutcome draws the page that the browser ends on.
func showOutcome(w http.ResponseWriter, err error) {
	view := struct {
		Title, Text string
		Failed      bool
	}{"You are signed in", "Go on in your terminal.", false}
	if err != nil {
		view.Title, view.Text, view.Failed = "You are not signed in", "Your terminal says why.", true
	}
	var out bytes.Buffer
	if err := callbackPage.Execute(&out, view); err != nil {
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Connection", "close")
	_, _ = w.Write(out.Bytes()) // the browser is gone
}

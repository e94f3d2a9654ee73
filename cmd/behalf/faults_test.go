package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/sandbox/idp"
	"github.com/jackc/pgx/v5"
)

// lostAnswer is a row in which the provider acts and its answer does not come whole. The held token lives that long.
func lostAnswer(name string, life time.Duration, fall func(f *fleet)) faultRow {
	return faultRow{
		name:     name,
		required: "the held token serves to its end; then one try: it heals, or is unknown_outcome; two calls at most",
		run: func(t *testing.T, f *fleet) {
			f.connect(life)
			end := time.Now().Add(life)
			fall(f)
			if err := <-f.refreshAt(0); err == nil {
				t.Error("a refresh whose answer is lost succeeds")
			}
			f.well()
			f.is("unknown_outcome")
			f.servesEverywhere()
			f.called(1, 0)
			time.Sleep(time.Until(end))
			f.outcomeIsKnown()
		},
	}
}

// providerActed waits until the provider has refreshed, for the first time.
func (f *fleet) providerActed() {
	f.t.Helper()
	eventually(f.t, "the provider acted", func() bool { n, _ := f.refreshes(); return n == 1 })
}

// frozenWithAnswer lets replica 0 refresh, and freezes it when the provider has acted; the answer waits in its socket.
func (f *fleet) frozenWithAnswer() <-chan error {
	f.t.Helper()
	f.front.set(answersHeld)
	done := f.refreshAt(0)
	f.providerActed()
	f.replicas[0].stop()
	f.front.set(none)
	return done
}

// slowBehind lets a refresh that nobody needs yet take its time.
func slowBehind(d time.Duration) func(t *testing.T, f *fleet) {
	return func(t *testing.T, f *fleet) {
		f.connect(time.Hour)
		f.servesEverywhere() // with a connection to the warehouse
		f.provider.SetFault(idp.Token, idp.Fault{Delay: d})
		before := f.front.dialled.Load()
		done := f.refreshAt(0)
		eventually(t, "the call is under way", func() bool { return f.front.dialled.Load() > before })
		for range 3 {
			f.servesEverywhere()
		}
		var err error
		select {
		case err = <-done:
			t.Errorf("the refresh ended (%v) before the queries that should not wait for it", err)
		default:
			err = <-done
		}
		f.must(err)
		f.called(1, 0)
		f.provider.ClearFaults()
		f.hasLostNothing()
	}
}

// levered returns what makes the token endpoint misbehave.
func levered(fault idp.Fault) func(f *fleet) {
	fault.Grant = "refresh_token"
	return func(f *fleet) { f.provider.SetFault(idp.Token, fault) }
}

func (f *fleet) well() {
	f.front.set(none)
	f.provider.ClearFaults()
}

// overTLS lets the token endpoint be reached by TLS, with a certificate that every process trusts. Fall gives it another
// that none does, and rise undoes that.
func (f *fleet) overTLS() (fall, rise func()) {
	f.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	f.must(err)
	nobody := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, nobody, nobody, key.Public(), key)
	f.must(err)
	var fallen atomic.Bool
	to, err := url.Parse(f.provider.Issuer())
	f.must(err)
	server := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }})
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of every handshake
	server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if !fallen.Load() {
			return nil, nil // the certificate of the test server
		}
		return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, nil
	}}
	server.StartTLS()
	f.t.Cleanup(server.Close)
	f.write("trusted.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	for _, r := range f.replicas {
		r.environ = append(r.environ, "SSL_CERT_FILE="+filepath.Join(f.dir, "trusted.pem"))
	}
	f.rewrite("behalf.yaml", func(text string) string {
		return strings.Replace(text, "{name: Databricks, ", "{name: Databricks, token_url: "+server.URL+"/token, ", 1)
	})
	f.restart()
	return func() { fallen.Store(true); server.CloseClientConnections() }, func() { fallen.Store(false) }
}

// outage is how long a provider is away in the rows of sick. Budget is how many calls it may get meanwhile: those
// before its breaker opens, and a probe each half minute.
const (
	outage = 15 * time.Second
	budget = 4
)

// sick is a row in which the provider fails for a while in a way that may pass.
func sick(name string, fall, rise func(f *fleet)) faultRow {
	return sicken(name, func(f *fleet) (func(), func()) {
		return func() { fall(f) }, func() { rise(f) }
	})
}

// sicken is sick for what must be prepared before anybody connects.
func sicken(name string, prepare func(f *fleet) (fall, rise func())) faultRow {
	return faultRow{
		name:     name,
		required: fmt.Sprintf("alice stays connected; at most %d calls in %v; the other provider's people notice nothing; it heals by itself", budget, outage),
		run: func(t *testing.T, f *fleet) {
			fall, rise := prepare(f)
			f.connectOther()
			f.connect(6 * time.Second)
			ended := time.Now().Add(6*time.Second + 200*time.Millisecond)
			fall() // before it is refreshed ahead of time
			time.Sleep(time.Until(ended))
			for end := time.Now().Add(outage); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
				for i := range f.replicas {
					got := f.ask(i)
					got.refused(t, http.StatusServiceUnavailable, "refresh_failing")
					got.retryAfter(t)
					f.askOf(i, "other_orders.count").ran(t, "user", "alice")
				}
			}
			f.is("refresh_failing")
			if calls, refused := f.refreshes(); calls > budget || refused > 0 {
				t.Errorf("the provider got %d calls and answered %d with invalid_grant, want at most %d, and none", calls, refused, budget)
			}
			rise()
			f.hasLostNothing()
		},
	}
}

// clock lets the provider's clock be another than ours from the consent on.
func clock(off time.Duration) func(t *testing.T, f *fleet) {
	return func(t *testing.T, f *fleet) {
		f.connect(brief)
		f.provider.SetClock(func() time.Time { return time.Now().Add(off) })
		f.provider.SetAccessTokenLife(time.Minute)
		time.Sleep(afterBrief)
		for range 3 {
			f.servesEverywhere()
			time.Sleep(time.Second)
		}
		f.called(1, 0)
		f.provider.SetAccessTokenLife(time.Hour)
		f.hasLostNothing()
	}
}

// outcomeIsKnown ends a row in which an answer was lost and the held token has ended: the try that follows heals the
// grant where the provider keeps refresh tokens. Where it rotates them, the new one is lost, and that is said.
func (f *fleet) outcomeIsKnown() {
	f.t.Helper()
	if !f.rotating {
		f.recovers()
		f.called(2, 0)
		f.hasLostNothing()
		return
	}
	f.refusedAtLast()
	if calls, refused := f.refreshes(); calls > 2 || refused > 1 {
		f.t.Errorf("the provider got %d refresh calls and answered %d with invalid_grant, want at most 2 and 1", calls, refused)
	}
	f.mustReauthorize(true, "unknown_outcome")
}

// whileFrozen keeps replica 0 frozen for 60 s with its answer, which done waits for. The others need the token meanwhile,
// and may try once: it has ended, and the intent with it. Then replica 0 goes on.
func (f *fleet) whileFrozen(done <-chan error) {
	f.t.Helper()
	time.Sleep(50 * time.Second)
	for i := range f.replicas[1:] {
		f.ask(i + 1)
		f.status(i + 1)
	}
	time.Sleep(10 * time.Second)
	f.replicas[0].resume()
	<-done
}

// adoptedOrEnded ends a row in which others tried with the old refresh token while the holder of the lease, frozen, had
// the new one. Where the provider keeps refresh tokens all is well. Where it rotates them it has noticed the reuse and
// ended the grant (RFC 9700 §4.14.2): the token that is adopted then is refused too, once, and that is our doing as far
// as anybody can tell.
func (f *fleet) adoptedOrEnded() {
	f.t.Helper()
	if !f.rotating {
		f.outcomeIsKnown()
		return
	}
	f.refusedAtLast()
	if calls, refused := f.refreshes(); calls > 3 || refused != calls-1 {
		f.t.Errorf("the provider got %d refresh calls and answered %d with invalid_grant, want at most 3, and all but the first", calls, refused)
	}
	f.mustReauthorize(true, "unknown_outcome")
}

// storedOrKnown ends a row in which an answer may have been found late. If it is stored within some seconds, nothing is
// lost; otherwise it is as for every lost answer.
func (f *fleet) storedOrKnown() {
	f.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		var g struct {
			Status          string
			AccessExpiresAt time.Time `json:"access_expires_at"`
		}
		f.must(f.alice[0].call(f.t.Context(), http.MethodGet, "/api/v1/connected-apps/"+fleetApp, nil, &g))
		if calls, _ := f.refreshes(); calls == 1 && g.Status == "active" && time.Until(g.AccessExpiresAt) > time.Minute {
			f.hasLostNothing()
			return
		}
	}
	f.outcomeIsKnown()
}

// refusedAtLast waits until alice is asked to reauthorize.
func (f *fleet) refusedAtLast() {
	f.t.Helper()
	for i := range f.replicas {
		var last asked
		for deadline := time.Now().Add(90 * time.Second); last.Code != "reauthorization_required"; time.Sleep(200 * time.Millisecond) {
			if last = f.ask(i); time.Now().After(deadline) {
				f.t.Errorf("replica %d answers %d %s, want it to ask for consent", i+1, last.status, last.body)
				return
			}
		}
	}
}

// killedDuring kills replica 0 while its call to the provider is held up in this way and then is there, starts it
// again, and ends the trouble.
func (f *fleet) killedDuring(held trouble, then func()) {
	f.t.Helper()
	f.front.set(held)
	done := f.refreshAt(0)
	f.front.holds(true)
	then()
	f.replicas[0].kill()
	if err := <-done; err == nil {
		f.t.Error("the refresh of a process that was killed succeeds")
	}
	if held == requestsHeld {
		f.front.holds(false) // what it had not sent went with it
	}
	f.front.set(none)
	f.replicas[0].start()
}

// killedAt lets replica 0 refresh and kill itself at a failpoint, and starts it again.
func (f *fleet) killedAt(p connectedapps.Failpoint) {
	f.t.Helper()
	f.atFailpoint(0, p, "kill")
	done := f.refreshAt(0)
	f.reached(0, p)
	f.replicas[0].await("to be killed by itself")
	if err := <-done; err == nil {
		f.t.Error("the refresh of a process that was killed succeeds")
	}
	f.replicas[0].start()
}

func (f *fleet) rewrite(name string, change func(string) string) {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, name))
	f.must(err)
	f.write(name, change(string(text)))
}

// restart stops every process in order and starts it again.
func (f *fleet) restart() {
	f.t.Helper()
	for _, r := range f.replicas {
		r.terminate()
		r.start()
	}
}

// database takes the database away, or brings it back: connections to Postgres are reset and refused; SQLite's disk
// is full.
func (f *fleet) database(there bool) {
	f.t.Helper()
	for _, r := range f.replicas {
		switch {
		case !f.postgres:
			f.must(r.limitFiles(!there))
		case there:
			r.db.up()
		default:
			r.db.down()
		}
	}
}

// readOnly makes the fleet's Postgres refuse every change, as a standby does, or take them again.
func (f *fleet) readOnly(on bool) {
	f.t.Helper()
	u, err := url.Parse(f.store.Reveal())
	f.must(err)
	database := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	admin, err := pgx.Connect(f.t.Context(), u.String())
	f.must(err)
	defer admin.Close(f.t.Context())
	for _, statement := range []string{
		fmt.Sprintf("ALTER DATABASE %s SET default_transaction_read_only = %t", database, on),
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + database + "'", // the next ones are of the new kind
	} {
		_, err := admin.Exec(f.t.Context(), statement)
		f.must(err)
	}
	time.Sleep(1500 * time.Millisecond) // from then on the servers' pools look whether a connection lives before they use it
}

package sqlstore_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/domains"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/sqlstore/postgrestest"
	"github.com/behalf-project/behalf/internal/users"
	"github.com/behalf-project/behalf/oauthapps"
)

// change is something that a store does, and what everybody must hear of it.
type change struct {
	name string
	do   func(audit.Entry) error
	want notify.News
}

// aLife is the life of a grant of a person for an app, and of both.
func aLife(t *testing.T, db *sqlstore.DB) []change {
	alice := users.User{ID: person(t, db, "alice")}
	who := alice.Principal().Key()
	app := oauthapps.App{ID: "oap_life", Domain: domains.DefaultID, Slug: "life", Rev: 1}
	g := connectedapps.Grant{
		Key: connectedapps.Key{Principal: alice.Principal(), AppID: app.ID}, Domain: domains.DefaultID, Epoch: 1000, AccessToken: secret.New("t"),
	}
	put := func(disabled bool, rev int64) func(audit.Entry) error {
		return func(e audit.Entry) error {
			_, err := db.Users().PutUser(t.Context(), users.User{ID: alice.ID, Username: "alice", Disabled: disabled, Rev: rev}, users.Ending{}, e)
			return err
		}
	}
	keep := func(stored connectedapps.Grant, err error) error {
		if err == nil {
			g = stored
		}
		return err
	}
	connect := func(e audit.Entry) error { return keep(db.Grants().Connect(t.Context(), g, "", e)) }
	return []change{
		{"an app is made", func(e audit.Entry) error { _, err := db.OAuthApps().CreateApp(t.Context(), app, e); return err },
			notify.News{Topic: notify.OAuthAppChanged, AppID: app.ID}},
		{"an app is changed", func(e audit.Entry) error { _, err := db.OAuthApps().UpdateApp(t.Context(), app, e); return err },
			notify.News{Topic: notify.OAuthAppChanged, AppID: app.ID}},
		{"a person connects", connect,
			notify.News{Topic: notify.GrantChanged, Principal: who, AppID: app.ID, Epoch: 1000, Revision: 1}},
		{"a token is refreshed", func(e audit.Entry) error { return keep(db.Grants().SaveRefreshed(t.Context(), g, e)) },
			notify.News{Topic: notify.GrantChanged, Principal: who, AppID: app.ID, Epoch: 1000, Revision: 2}},
		{"a refresh fails", func(e audit.Entry) (err error) {
			failed := g
			failed.FailureCode = "provider_down"
			_, err = db.Grants().SaveRefusal(t.Context(), failed, false, e)
			return err
		}, notify.News{Topic: notify.GrantChanged, Principal: who, AppID: app.ID, Epoch: 1000, Revision: 2}},
		{"the provider ends the grant", func(e audit.Entry) (err error) {
			refused := g
			refused.RefusedAt = noon
			_, err = db.Grants().SaveRefusal(t.Context(), refused, false, e)
			return err
		}, notify.News{Topic: notify.GrantChanged, Principal: who, AppID: app.ID, Epoch: 1000, Revision: 2, Revoked: true, Refused: true}},
		{"the person connects again", connect,
			notify.News{Topic: notify.GrantChanged, Principal: who, AppID: app.ID, Epoch: 1001, Revision: 3}},
		{"the person disconnects", func(e audit.Entry) error { _, err := db.Grants().Delete(t.Context(), g.Key, e); return err },
			notify.News{Topic: notify.GrantChanged, Principal: who, AppID: app.ID, Epoch: 1001, Revision: 3, Revoked: true}},
		{"an app is deleted", func(e audit.Entry) error { return db.OAuthApps().DeleteApp(t.Context(), app.ID, e) },
			notify.News{Topic: notify.OAuthAppChanged, AppID: app.ID}},
		{"a person is changed", put(false, 1), notify.News{Topic: notify.UserChanged, Principal: who}},
		{"a person is disabled", put(true, 2), notify.News{Topic: notify.UserChanged, Principal: who, Revoked: true}},
	}
}

// ear keeps the news of a store.
type ear struct {
	mu    sync.Mutex
	heard []notify.News
	more  chan struct{}
}

func listenTo(db *sqlstore.DB) *ear {
	e := &ear{more: make(chan struct{}, 1000)}
	db.News().Subscribe(func(n notify.News) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.heard = append(e.heard, n)
		e.more <- struct{}{}
	})
	return e
}

// all returns what was heard so far.
func (e *ear) all() []notify.News {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]notify.News(nil), e.heard...)
}

// await waits until n announcements were heard since the first skip, and returns them.
func (e *ear) await(t *testing.T, skip, n int) []notify.News {
	t.Helper()
	for deadline := time.After(10 * time.Second); ; {
		if heard := e.all(); len(heard) >= skip+n {
			return heard[skip:]
		}
		select {
		case <-e.more:
		case <-deadline:
			t.Fatalf("heard %+v, want %d announcements after the first %d", e.all(), n, skip)
		}
	}
}

func TestWhatChangesIsAnnouncedOnceItIsThere(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sqlstore.DB) {
		life := aLife(t, db)
		ear := listenTo(db)
		entriesThen := 0
		db.News().Subscribe(func(notify.News) { entriesThen = len(entries(t, db)) })
		for i, c := range life {
			before := len(entries(t, db))
			if err := c.do(audit.Entry{}); err == nil || len(ear.all()) != i {
				t.Errorf("%s, refused: %v, and %d announcements, want an error and none", c.name, err, len(ear.all())-i)
			}
			if err := c.do(entry); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			got := ear.all()
			if len(got) != i+1 {
				t.Fatalf("%s: heard %+v, want one announcement more", c.name, got[i:])
			}
			if diff := cmp.Diff(c.want, got[i]); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.name, diff)
			}
			if entriesThen != before+1 {
				t.Errorf("%s: it was announced before its commit", c.name)
			}
		}
	})
}

// running listens to the news of other processes until the test ends, and returns when it does.
func running(t *testing.T, db *sqlstore.DB) *ear {
	t.Helper()
	ear := listenTo(db)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- db.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run did not end")
		}
	})
	if first := ear.await(t, 0, 1); first[0] != (notify.News{Topic: notify.Everything}) {
		t.Fatalf("the first announcement is %+v, want that anything may have changed", first[0])
	}
	return ear
}

// replicas opens n stores on one database.
func replicas(t *testing.T, n int) []*sqlstore.DB {
	t.Helper()
	l := newLocation(t, postgrestest.URL(t))
	dbs := make([]*sqlstore.DB, n)
	for i := range dbs {
		db, err := l.open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		dbs[i] = db
	}
	return dbs
}

func TestEveryProcessHearsEveryChangeOnceAndInOrder(t *testing.T) {
	t.Parallel()
	dbs := replicas(t, 3)
	life := aLife(t, dbs[0])
	var ears []*ear
	for _, db := range dbs {
		ears = append(ears, running(t, db))
	}
	var want []notify.News
	slowest := time.Duration(0)
	for i, c := range life {
		if err := c.do(entry); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		began := time.Now()
		want = append(want, c.want)
		for _, ear := range ears[1:] {
			ear.await(t, 1, i+1)
		}
		slowest = max(slowest, time.Since(began))
	}
	t.Logf("the slowest of %d changes was known to two other processes %v after its commit", len(life), slowest)
	if _, err := dbs[1].Users().PutUser(t.Context(), users.User{Username: "last"}, users.Ending{}, entry); err != nil {
		t.Fatal(err)
	}
	for i, ear := range ears {
		got := ear.await(t, 1, len(life)+1)
		if diff := cmp.Diff(want, got[:len(life)]); diff != "" {
			t.Errorf("process %d (-want +got):\n%s", i, diff)
		}
		if len(got) != len(life)+1 || got[len(life)].Topic != notify.UserChanged {
			t.Errorf("process %d heard %+v at last, want the change of process 1 once", i, got[len(life):])
		}
	}
}

func TestALostListenerIsReplacedAndSaysWhatItMayHaveMissed(t *testing.T) {
	t.Parallel()
	dbs := replicas(t, 2)
	ear := running(t, dbs[1])
	for round := range 3 {
		before := len(ear.all())
		// The change and the end of the connection race: what is heard is the change or that there may be one.
		if _, err := dbs[0].Writer().Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'behalf news'"); err != nil {
			t.Fatal(err)
		}
		if _, err := dbs[0].Users().PutUser(t.Context(), users.User{Username: fmt.Sprint("missed", round)}, users.Ending{}, entry); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for ear.await(t, before, 1)[0].Topic != notify.Everything {
			before++
		}
		t.Logf("it heard again after %v", time.Since(began))
		after := len(ear.all())
		if _, err := dbs[0].Users().PutUser(t.Context(), users.User{Username: fmt.Sprint("heard", round)}, users.Ending{}, entry); err != nil {
			t.Fatal(err)
		}
		if got := ear.await(t, after, 1); got[0].Topic != notify.UserChanged {
			t.Errorf("heard %+v, want the person", got)
		}
	}
}

func TestWhatCannotBeToldOrReadMeansEverything(t *testing.T) {
	t.Parallel()
	dbs := replicas(t, 2)
	ear := running(t, dbs[1])
	everything := notify.News{Topic: notify.Everything}
	longest := securitycontext.Principal{Realm: "https://issuer.example.com", Subject: strings.Repeat("\x01", 2000)}
	for _, tt := range []struct {
		name string
		do   func() error
		want notify.News
	}{
		{"a name of control characters that is too long for NOTIFY", func() error {
			db := dbs[0]
			if _, err := db.OAuthApps().CreateApp(t.Context(), oauthapps.App{ID: "oap_1", Domain: domains.DefaultID, Slug: "one"}, entry); err != nil {
				return err
			}
			_, err := db.Grants().Connect(t.Context(), connectedapps.Grant{Key: connectedapps.Key{Principal: longest, AppID: "oap_1"}, Domain: domains.DefaultID}, "", entry)
			return err
		}, everything},
		{"a payload that is no notice", func() error { _, err := dbs[0].Writer().Exec("NOTIFY behalf_news, '{'"); return err }, everything},
		{"a notice of nothing", func() error { _, err := dbs[0].Writer().Exec("NOTIFY behalf_news, '{}'"); return err }, everything},
		{"a topic of a newer program", func() error {
			_, err := dbs[0].Writer().Exec(`NOTIFY behalf_news, '{"by":"x","topic":"model_changed","more":1}'`)
			return err
		}, notify.News{Topic: "model_changed"}},
	} {
		before := len(ear.all())
		if err := tt.do(); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		for ear.await(t, before, 1)[0].Topic == notify.OAuthAppChanged {
			before++
		}
		if got := ear.await(t, before, 1); got[0] != tt.want {
			t.Errorf("%s: heard %+v, want %+v", tt.name, got[0], tt.want)
		}
	}
}

func TestRunOfASQLiteStoreOnlyWaits(t *testing.T) {
	t.Parallel()
	newLocation(t, "").with(t, func(db *sqlstore.DB) {
		ear := listenTo(db)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := db.Run(ctx); err != nil || len(ear.all()) != 0 {
			t.Errorf("Run = %v and %+v, want neither an error nor news", err, ear.all())
		}
	})
}

// A network can swallow a connection without a word to either end.
func TestAListenerWhoseNetworkFallsSilentIsReplaced(t *testing.T) {
	t.Parallel()
	l := newLocation(t, postgrestest.URL(t))
	between := newSwallower(t, l.url)
	db, err := location{between.url, l.keyset}.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	t.Cleanup(between.end)
	ear := running(t, db)
	before := len(ear.all())
	between.swallow()
	began := time.Now()
	for ear.await(t, before, 1)[0].Topic != notify.Everything {
		before++
	}
	t.Logf("it listened again %v after the network fell silent", time.Since(began))
}

// swallower is a network between a process and its Postgres.
type swallower struct {
	url   string
	mu    sync.Mutex
	calls []carrier
}

func newSwallower(t *testing.T, to string) *swallower {
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	postgres := u.Host
	in, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.Host = in.Addr().String()
	s := &swallower{url: u.String()}
	var all sync.WaitGroup
	t.Cleanup(func() { in.Close(); s.end(); all.Wait() })
	all.Go(func() {
		for {
			client, err := in.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", postgres)
			if err != nil {
				client.Close()
				continue
			}
			lost := new(atomic.Bool)
			s.mu.Lock()
			s.calls = append(s.calls, carrier{client, lost})
			s.mu.Unlock()
			for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
				all.Go(func() {
					defer client.Close()
					defer server.Close()
					_, _ = io.Copy(carrier{way[1], lost}, way[0]) // until one end hangs up
				})
			}
		}
	})
	return s
}

// swallow loses from now on what the connections there are carry. New ones work.
func (s *swallower) swallow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		c.lost.Store(true)
	}
}

// end hangs up on everybody, so that nobody waits for the answer to a goodbye.
func (s *swallower) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		c.Close()
	}
}

// carrier writes to a connection unless that is lost.
type carrier struct {
	net.Conn
	lost *atomic.Bool
}

func (c carrier) Write(p []byte) (int, error) {
	if c.lost.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

package sqlstore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
	"github.com/behalf-project/behalf/oauthapps"
)

// crowdPerSecond is the pace of these tests at the authorization server, and crowdAtOnce how many refreshes may be on
// their way there: what was begun at the pace may arrive together after the machine paused.
const crowdPerSecond, crowdAtOnce = 500, 64

// BenchmarkDueCrowd refreshes 100,000 grants that became due while nothing ran, and then hands out the token of each.
// The goals are one call each, at the pace, each before the grant ends, and 2 KB of memory for a grant, which only those
// in use take. Run it with -benchtime 1x.
func BenchmarkDueCrowd(b *testing.B) {
	for b.Loop() {
		eachStore(b, func(b testing.TB, db *sqlstore.DB) {
			c := newDueCrowd(b, db, 100_000, 100)
			began := time.Now()
			heap := c.refresh()
			took := time.Since(began)
			perGrant := c.handOut()
			fmt.Printf("%s: %d due grants refreshed in %.0f s: %d calls, at most %d in a second (%d set), %d after their end, heap at most %d MB; %d B of memory for a grant in use, its token of 1,000 B included (goal: 2 KB)\n",
				b.Name(), len(c.grants), took.Seconds(), len(c.calls), c.mostInASecond(), crowdPerSecond, c.late, heap>>20, perGrant)
		})
	}
}

func TestACrowdThatIsDueAfterARestartIsRefreshedOnceAndAtThePace(t *testing.T) {
	eachStore(t, func(t testing.TB, db *sqlstore.DB) { newDueCrowd(t, db, 1000, 0).refresh() })
}

// Those that end soon became due last, and are refreshed first: none of them misses its end as long as the pace allows it.
func TestWhatEndsSoonIsRefreshedBeforeACrowd(t *testing.T) {
	eachStore(t, func(t testing.TB, db *sqlstore.DB) {
		const crowd, soon = 1000, 20
		c := newDueCrowd(t, db, crowd, soon)
		c.refresh()
		for at, i := range c.order {
			if i < crowd-soon {
				continue
			}
			// Refreshes that were begun one after the other arrive in any order: some of those on their way overtake.
			if at >= crowd/2 {
				t.Errorf("call %d of %d is for a grant that ends soon, want all %d of them in the first half", at+1, crowd, soon)
			}
		}
	})
}

// eachStore runs what must hold on both databases.
func eachStore(t testing.TB, run func(testing.TB, *sqlstore.DB)) {
	for _, database := range []struct {
		name string
		open func(testing.TB, func() time.Time) *sqlstore.DB
	}{{"SQLite", sqlstoretest.OpenSQLite}, {"Postgres", sqlstoretest.OpenPostgres}} {
		switch t := t.(type) {
		case *testing.T:
			t.Run(database.name, func(t *testing.T) { run(t, database.open(t, nil)) })
		case *testing.B:
			t.Run(database.name, func(b *testing.B) { run(b, database.open(b, nil)) })
		}
	}
}

// dueCrowd is many people's grants of one app, all of them due, and the app's authorization server, which rotates refresh
// tokens.
type dueCrowd struct {
	t      testing.TB
	db     *sqlstore.DB
	app    oauthapps.App
	grants []connectedapps.Grant
	tokens *connectedapps.Tokens

	mu      sync.Mutex
	calls   []time.Time
	order   []int          // whose grants the calls were for
	current map[string]int // refresh tokens that the server honours, and whose they are
	ends    []time.Time    // of what each grant began with: its refresh token, or its access token when that is in use
	unknown int            // calls with another one
	late    int            // calls after it had ended
}

// newDueCrowd stores n grants that are due. The last soon of them end first: of every other one the refresh token, and of
// the rest the access token, which is in use. All end long after the slowest machine has refreshed them.
func newDueCrowd(t testing.TB, db *sqlstore.DB, n, soon int) *dueCrowd {
	c := &dueCrowd{t: t, db: db, current: make(map[string]int, n)}
	server := httptest.NewServer(http.HandlerFunc(c.token))
	t.Cleanup(server.Close)
	client := oauthapps.NewClient(oauthapps.ClientConfig{AllowLoopback: true, Timeout: 5 * time.Minute})
	apps := oauthapps.New(oauthapps.Config{Store: db.OAuthApps(), PublicURL: "http://localhost:4000", Bus: db.News()})
	domain, err := db.Domains().GetDomain(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	c.app, err = apps.Create(t.Context(), oauthapps.App{
		Domain: domain.ID, Name: "Warehouse", Slug: "warehouse", Preset: "oauth2", AuthURL: server.URL + "/authorize", TokenURL: server.URL + "/token",
		ClientID: "c", ClientSecret: secret.New("s"),
	}, "usr_admin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	for i := range n {
		refresh := fmt.Sprintf("first-%d", i)
		g := connectedapps.Grant{
			ID: fmt.Sprintf("con_%026d", i), Key: connectedapps.Key{Principal: securitycontext.Principal{Realm: securitycontext.Local, Subject: fmt.Sprint("usr_", i)}, AppID: c.app.ID},
			Domain: domain.ID, Epoch: 1, Revision: 1, Rev: 1, AccessToken: secret.New(strings.Repeat("a", 1000)), RefreshToken: secret.New(refresh),
			ConnectedAt: now.Add(-48 * time.Hour), UsedAt: now.Add(-time.Hour), RefreshedAt: now.Add(-23*time.Hour - time.Duration(i)*time.Millisecond),
			ExpiresAt: now.Add(2 * time.Hour), RefreshExpiresAt: now.Add(24 * time.Hour),
		}
		end := &g.RefreshExpiresAt
		if i >= n-soon {
			g.RefreshedAt, g.ExpiresAt = now.Add(-8*time.Hour), now.Add(time.Hour) // due after all others
			if i%2 == 0 {
				g.UsedAt, end = now, &g.ExpiresAt
			}
			*end = now.Add(time.Hour + time.Duration(i)*time.Millisecond)
		}
		c.current[refresh] = i
		c.grants, c.ends = append(c.grants, g), append(c.ends, *end)
	}
	if err := db.PlantGrants(t.Context(), c.grants); err != nil {
		t.Fatal(err)
	}
	c.tokens = connectedapps.NewTokens(connectedapps.Config{
		Store: db.Grants(), Refreshes: db.Grants(), Apps: apps, Client: client, Bus: db.News(), Size: n, PerSecond: crowdPerSecond, MaxRefreshes: crowdAtOnce,
	})
	run(t, c.tokens)
	return c
}

// token is the token endpoint.
func (c *dueCrowd) token(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	spent := r.FormValue("refresh_token")
	c.mu.Lock()
	c.calls = append(c.calls, now)
	i, ok := c.current[spent]
	delete(c.current, spent)
	next := fmt.Sprintf("next-%d-%d", i, len(c.calls))
	if ok {
		c.order = append(c.order, i)
		c.current[next] = i
		if !now.Before(c.ends[i]) {
			c.late++
		}
	} else {
		c.unknown++
	}
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if !ok {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": strings.Repeat("b", 1000), "token_type": "Bearer", "expires_in": 3600, "refresh_token": next,
	})
}

// refresh refreshes all that is due as a server does that was just started, checks what the authorization server saw,
// and returns the largest heap on the way, in bytes.
func (c *dueCrowd) refresh() (heap uint64) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Minute+time.Duration(len(c.grants))*10*time.Millisecond)
	defer cancel()
	done := make(chan struct{})
	var last error // of RefreshDue
	go func() {
		defer close(done)
		for ctx.Err() == nil { // as a server does, every few seconds
			last = c.tokens.RefreshDue(ctx)
			c.mu.Lock()
			calls := len(c.calls)
			c.mu.Unlock()
			// RefreshDue leaves those that are on their way.
			if left, err := c.db.Grants().Due(ctx, c.app.ID, time.Now(), 1); err == nil && len(left) == 0 && calls >= len(c.grants) {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case <-time.After(time.Second):
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		heap = max(heap, m.HeapInuse)
	}
	if ctx.Err() != nil {
		c.t.Fatalf("the grants are not refreshed in time; the last RefreshDue = %v", last)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.calls) != len(c.grants) || c.unknown != 0 || c.late != 0 {
		c.t.Errorf("%d calls for %d grants, %d with a spent token and %d after its end: want one each, in time", len(c.calls), len(c.grants), c.unknown, c.late)
	}
	if most, want := c.mostInASecond(), crowdPerSecond+crowdPerSecond/5+crowdAtOnce; most > want {
		c.t.Errorf("%d calls in a second, want at most %d: the pace, its burst, and what was on its way", most, want)
	}
	return heap
}

// mostInASecond is the largest number of calls within a second.
func (c *dueCrowd) mostInASecond() (most int) {
	first := 0
	for i, at := range c.calls {
		for at.Sub(c.calls[first]) >= time.Second {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// handOut hands out everybody's token, and returns how many bytes of memory each of them then takes.
func (c *dueCrowd) handOut() (perGrant int64) {
	used := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := used()
	for _, g := range c.grants {
		if _, err := c.tokens.Token(c.t.Context(), g.Key.Principal, c.app.Slug); err != nil {
			c.t.Fatal(err)
		}
	}
	return (used() - before) / int64(len(c.grants))
}

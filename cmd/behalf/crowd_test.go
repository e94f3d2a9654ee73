package main

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/domains"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/sandbox/idp"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/users"
)

// stopped opens the fleet's store while none of its processes runs.
func (f *fleet) stopped(do func(db *sqlstore.DB)) {
	f.t.Helper()
	url := f.store.Reveal()
	if !f.postgres {
		url = "sqlite:" + filepath.Join(f.dir, "behalf.db")
	}
	db, err := sqlstore.Open(f.t.Context(), sqlstore.Config{URL: url, Keyset: filepath.Join(f.dir, "behalf.keys.json")})
	f.must(err)
	do(db)
	f.must(db.Close())
}

// down stops every process in order.
func (f *fleet) down() {
	f.t.Helper()
	for _, r := range f.replicas {
		r.terminate()
	}
}

// crowd stops the fleet and gives it n people who connected the app some time ago, as alice does now, with tokens that
// live for life, of which they have left.
func (f *fleet) crowd(n int, life, left time.Duration) {
	f.t.Helper()
	f.connect(time.Hour)
	var list strings.Builder
	for i := range n {
		fmt.Fprintf(&list, "  - {username: u%03d}\n", i)
	}
	f.rewrite("behalf.yaml", func(text string) string {
		return strings.Replace(text, "oauth_apps:\n", list.String()+"oauth_apps:\n", 1)
	})
	f.down()
	f.replicas[0].start() // which makes the people
	f.down()
	scopes := []string{"openid", "sql", "offline_access"}
	f.stopped(func(db *sqlstore.DB) {
		people := users.New(users.Config{Store: db.Users(), Bus: db.News()})
		app, err := db.OAuthApps().GetApp(f.t.Context(), fleetApp)
		f.must(err)
		for i := range n {
			name := fmt.Sprintf("u%03d", i)
			u, err := people.ByUsername(f.t.Context(), name)
			f.must(err)
			f.provider.AddPerson(idp.Person{Username: name})
			access, refresh := f.provider.IssueGrant(fleetClient, name, scopes, left)
			now := time.Now().UTC()
			since := now.Add(left - life)
			_, err = db.Grants().Connect(f.t.Context(), connectedapps.Grant{
				ID: id.New(id.Grant, since), Key: connectedapps.Key{Principal: u.Principal(), AppID: app.ID}, Domain: domains.DefaultID, Epoch: since.UnixMilli(),
				AccessToken: access, RefreshToken: refresh, TokenType: "Bearer", Scopes: scopes, Requested: scopes,
				ConnectedAt: since, RefreshedAt: since, ExpiresAt: now.Add(left), UsedAt: since,
			}, "", audit.Entry{At: now, Actor: "system", Action: audit.GrantCreated, Outcome: "ok"})
			f.must(err)
		}
	})
}

// up starts every process.
func (f *fleet) up() {
	f.t.Helper()
	for _, r := range f.replicas {
		r.start()
	}
}

// renewed counts the people whose token was refreshed.
func (f *fleet) renewed() int {
	people := map[string]bool{}
	for _, c := range f.provider.Calls() {
		if c.GrantType == "refresh_token" && c.Status == http.StatusOK {
			people[c.Person] = true
		}
	}
	return len(people)
}

// crowdIsWell stops the fleet and fails the test unless all n grants are active and hold the refresh token that the
// provider honours. It ends the row.
func (f *fleet) crowdIsWell(n int) {
	f.t.Helper()
	f.mark.calls, f.mark.refused = f.refreshes()
	f.mark.done = true
	f.down()
	f.stopped(func(db *sqlstore.DB) {
		app, err := db.OAuthApps().GetApp(f.t.Context(), fleetApp)
		f.must(err)
		grants, err := db.Grants().List(f.t.Context(), connectedapps.Filter{AppID: app.ID})
		f.must(err)
		if len(grants) != n+1 {
			f.t.Errorf("%d grants, want those of %d people and alice", len(grants), n)
		}
		for _, g := range grants {
			if status := string(connectedapps.StatusOf(g, app, time.Now())); !slices.Contains(f.statuses, status) {
				f.statuses = append(f.statuses, status)
			}
			form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.RefreshToken.Reveal()}}
			r, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.provider.Issuer()+"/token", strings.NewReader(form.Encode()))
			f.must(err)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.SetBasicAuth(fleetClient, f.clientSecret.Reveal())
			resp, err := f.evidence.client.RoundTrip(r)
			f.must(err)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				f.lost++
			}
		}
	})
	if !slices.Equal(f.statuses, []string{"active"}) || f.lost > 0 {
		f.t.Errorf("the grants are %v, and the provider does not honour %d of %d refresh tokens, want all active and none", f.statuses, f.lost, n)
	}
	f.up()
}

// perSecond is how many refreshes that nobody waits for begin at a provider in a second (connectedapps.Config).
const perSecond = 10

// everythingWasDown is a row in which n people's tokens are due when the processes start.
func everythingWasDown(n int) func(t *testing.T, f *fleet) {
	return func(t *testing.T, f *fleet) {
		f.crowd(n, 50*time.Minute, 10*time.Minute)
		end := time.Now().Add(10 * time.Minute)
		f.up()
		for f.renewed() < n && time.Now().Before(end) {
			time.Sleep(200 * time.Millisecond)
		}
		calls := slices.DeleteFunc(f.provider.Calls(), func(c idp.Call) bool { return c.GrantType != "refresh_token" })
		if f.called(n, 0); len(calls) == 0 {
			return
		}
		if last := calls[len(calls)-1].At; f.renewed() < n || last.After(end) {
			t.Errorf("%d of %d were refreshed before their token ended, the last %v before", f.renewed(), n, end.Sub(last))
		}
		const window = 3 * time.Second
		for i := range calls {
			within := 0
			for _, c := range calls[i:] {
				if c.At.Sub(calls[i].At) < window {
					within++
				}
			}
			if most := perSecond*int(window/time.Second) + perSecond; within > most { // a burst, and what a busy machine holds back
				t.Fatalf("%d calls within %v, want at most %d", within, window, most)
			}
		}
		f.crowdIsWell(n)
	}
}

// awayForACrowd is a row in which the provider fails for a while when n people's tokens are due. How many calls were on
// their way when the fifth had failed depends on how busy the machine is: at most those of a second. Afterwards there
// are probes, 30 s apart, and nothing else.
func awayForACrowd(n int) func(t *testing.T, f *fleet) {
	const breaker, probes = 5, 2
	return func(t *testing.T, f *fleet) {
		f.crowd(n, 50*time.Minute, 10*time.Minute)
		f.provider.SetFault(idp.Token, idp.Fault{Status: http.StatusServiceUnavailable})
		f.up()
		time.Sleep(10 * time.Second)
		first, _ := f.refreshes()
		time.Sleep(35 * time.Second)
		if calls, refused := f.refreshes(); first == 0 || first > breaker+perSecond || calls > first+probes || refused > 0 {
			t.Errorf("the provider got %d calls, then %d, and answered %d with invalid_grant, want 1 to %d, then at most %d, and none",
				first, calls-first, refused, breaker+perSecond, probes)
		}
		f.well()
		eventuallyWithin(t, 5*time.Minute, "everybody's token is refreshed", func() bool { return f.renewed() == n })
		f.crowdIsWell(n)
	}
}

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/behalf-project/behalf/internal/sandbox"
	"github.com/behalf-project/behalf/internal/sandbox/idp"
)

// story is the demo's: an admin registers OAuth apps, two people authorize, query, expire and are revoked. Each step
// says what happens in a line a stranger understands, and fails when it did not happen.
type story struct {
	out       io.Writer
	box       *sandbox.Sandbox
	base      string
	passwords map[string]string
	admin     *browser
	alice     *browser
	bob       *browser
	before    map[string]loaded // what each person saw first, at Databricks
}

func newStory(out io.Writer, base string, box *sandbox.Sandbox, passwords map[string]string) *story {
	return &story{
		out: out, box: box, base: base, passwords: passwords, before: map[string]loaded{},
		admin: newBrowser(base, "carol"), alice: newBrowser(base, "alice"), bob: newBrowser(base, "bob"),
	}
}

// The two questions of the story: the same, at two warehouses.
const (
	atDatabricks = `{"measures":["orders.count","orders.total"],"dimensions":["orders.region"],"order":{"orders.region":"asc"}}`
	atSnowflake  = `{"measures":["snow_orders.count","snow_orders.total"],"dimensions":["snow_orders.region"],"order":{"snow_orders.region":"asc"}}`
)

// tell runs the steps in order and stops at the first that fails.
func (s *story) tell(ctx context.Context) error {
	steps := []struct {
		title string
		run   func(context.Context) error
	}{
		{"carol, the admin, registers Databricks and Snowflake as OAuth apps", s.register},
		{"alice asks before she has connected anything", s.notConnected},
		{"alice and bob authorize: once each, at the identity provider", s.authorize},
		{"both ask the same question. Each gets their own rows", s.ownRows},
		{"alice's token expires. She does not notice", s.expire},
		{"bob's grant is revoked at the provider", s.revoke},
		{"the source in Snowflake says `fallback: service_account`, so bob's query runs, visibly as somebody else", s.fallback},
	}
	for i, step := range steps {
		fmt.Fprintf(s.out, "\n%d. %s\n", i+1, step.title)
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("step %d of the story did not hold (%s): %w", i+1, step.title, err)
		}
	}
	fmt.Fprintln(s.out, "\nThe whole story held.")
	return nil
}

// say prints one line of what happened.
func (s *story) say(format string, args ...any) {
	fmt.Fprintf(s.out, "   "+format+"\n", args...)
}

func (s *story) register(ctx context.Context) error {
	for _, b := range []*browser{s.admin, s.alice, s.bob} {
		if err := b.signIn(ctx, s.passwords[b.username]); err != nil {
			return fmt.Errorf("%s signs in: %w", b.username, err)
		}
	}
	return registerApps(ctx, s.admin, s.box, func(name, redirectURI string) {
		s.say("%-11s redirect URI, registered at the provider: %s", name, redirectURI)
	})
}

func (s *story) notConnected(ctx context.Context) error {
	got, err := s.alice.load(ctx, atDatabricks)
	if err != nil {
		return err
	}
	if got.Code != "authorization_required" || !strings.HasPrefix(got.AuthorizeURL, s.base+"/connect/databricks") {
		return fmt.Errorf("she got %q instead of the link to authorize", got.Code)
	}
	s.say("refused, 403 %s, with the link: %s", got.Code, got.AuthorizeURL)
	return nil
}

func (s *story) authorize(ctx context.Context) error {
	for _, b := range []*browser{s.alice, s.bob} {
		for _, app := range []string{"databricks", "snowflake"} {
			if err := b.connect(ctx, app, s.box.IdP.SignIn); err != nil {
				return fmt.Errorf("%s connects %s: %w", b.username, app, err)
			}
		}
		s.say("%-5s pressed Authorize for Databricks and for Snowflake", b.username)
	}
	return nil
}

func (s *story) ownRows(ctx context.Context) error {
	for _, b := range []*browser{s.alice, s.bob} {
		for _, q := range []struct{ where, query string }{{"Databricks", atDatabricks}, {"Snowflake", atSnowflake}} {
			got, err := b.load(ctx, q.query)
			if err != nil {
				return err
			}
			if err := ranAs(got, "user", b.username); err != nil {
				return fmt.Errorf("%s at %s: %w", b.username, q.where, err)
			}
			if q.where == "Databricks" {
				s.before[b.username] = got
			}
			s.say("%-5s at %-10s → %s", b.username, q.where, summary(got))
		}
	}
	hers, his := regions(s.before["alice"]), regions(s.before["bob"])
	if len(hers) == 0 || len(his) == 0 || slices.ContainsFunc(hers, func(r string) bool { return slices.Contains(his, r) }) {
		return fmt.Errorf("alice saw %v and bob saw %v; they have no region in common", hers, his)
	}
	return nil
}

func (s *story) expire(ctx context.Context) error {
	before := s.box.IdP.CountCalls(idp.Token, "refresh_token")
	s.box.IdP.ExpireTokens("alice")
	got, err := s.alice.load(ctx, atDatabricks)
	if err != nil {
		return err
	}
	if err := ranAs(got, "user", "alice"); err != nil {
		return err
	}
	if summary(got) != summary(s.before["alice"]) {
		return fmt.Errorf("she sees %s now, and saw %s before", summary(got), summary(s.before["alice"]))
	}
	if calls := s.box.IdP.CountCalls(idp.Token, "refresh_token") - before; calls != 1 {
		return fmt.Errorf("the provider was asked to refresh %d times, want once", calls)
	}
	s.say("the warehouse refused the old token, Behalf refreshed it with one call, and ran the query again")
	s.say("alice at Databricks → %s", summary(got))
	return nil
}

func (s *story) revoke(ctx context.Context) error {
	s.box.IdP.RevokeGrants("bob")
	got, err := s.bob.load(ctx, atDatabricks)
	if err != nil {
		return err
	}
	if got.Code != "reauthorization_required" || got.AuthorizeURL == "" {
		return fmt.Errorf("he got %q %v instead of a refusal with the link to reauthorize", got.Code, got.Data)
	}
	s.say("bob at Databricks (`fallback: deny`) → refused, 403 %s, with the link: %s", got.Code, got.AuthorizeURL)
	return nil
}

func (s *story) fallback(ctx context.Context) error {
	s.box.Snowflake.DropSessions("bob") // a live Snowflake session outlives its token; this one ends with it
	got, err := s.bob.load(ctx, atSnowflake)
	if err != nil {
		return err
	}
	if err := ranAs(got, "service_account", "bob"); err != nil {
		return err
	}
	s.say("bob at Snowflake → %s", summary(got))
	return nil
}

// ranAs checks that an answer has rows and that this identity ran it, for this person.
func ranAs(got loaded, identity, username string) error {
	if got.Error != "" {
		return fmt.Errorf("refused: %s", got.Error)
	}
	if got.RunAs.Identity != identity || got.RunAs.Username != username || len(got.Data) == 0 {
		return fmt.Errorf("%d rows, ran as %s for %q; want rows, as %s for %q", len(got.Data), got.RunAs.Identity, got.RunAs.Username, identity, username)
	}
	return nil
}

// column finds the value of the member with this name, whatever its cube.
func column(row map[string]string, member string) string {
	for key, v := range row {
		if strings.HasSuffix(key, "."+member) {
			return v
		}
	}
	return ""
}

func regions(l loaded) []string {
	var out []string
	for _, row := range l.Data {
		out = append(out, column(row, "region"))
	}
	return out
}

// summary says in a line what an answer holds and who ran it.
func summary(l loaded) string {
	var orders int
	for _, row := range l.Data {
		n, _ := strconv.Atoi(column(row, "count"))
		orders += n
	}
	who := l.RunAs.Username
	if l.RunAs.Identity == "service_account" {
		who = "the service account " + l.RunAs.Account + ", because his grant is " + l.RunAs.Reason
	}
	return fmt.Sprintf("%s orders in %s, ran as %s", grouped(orders), strings.Join(regions(l), " and "), who)
}

// grouped writes n with thin groups of three digits: 1 000 000.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + " " + text[i:]
	}
	return text
}

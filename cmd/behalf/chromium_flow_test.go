package main

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/sandbox/engine"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/orchestrator"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// draft is the address of the query page with a query in it, as it is shared.
func draft(query string) string { return "/query?query=" + url.QueryEscape(query) }

// disconnect ends what a person has connected, so that a test begins where it says.
func (w *world) disconnect(b *browser, apps ...string) {
	w.t.Helper()
	for _, app := range apps {
		if w.grant(b, app).Status != "not_connected" {
			w.must(b.call(w.t.Context(), http.MethodDelete, "/api/v1/connected-apps/"+app, nil, nil))
		}
	}
}

// signInAtProvider fills in the provider's own sign-in page.
func (b *tab) signInAtProvider(username string) {
	b.t.Helper()
	b.sees("Sandbox identity provider")
	b.fill("textbox", "Username", username)
	b.paste("textbox", "Password", b.c.w.box.Person(username).Password.Reveal())
	b.click("button", "Sign in and allow")
}

// region waits for a result with one region in it, run as this person.
func (b *tab) region(region, username string) {
	b.t.Helper()
	b.sees("Ran as "+username, region)
	for _, other := range []string{"EMEA", "AMER", "APAC"} {
		if other != region && strings.Contains(b.text(), other) {
			b.fail("%s sees %s, want only %s", username, other, region)
		}
	}
}

// What the browser refuses is seen by the tests: otherwise their silence would mean nothing.
func testHarness(t *testing.T, c *chromium) {
	b := c.tab(t, nil).open("/login")
	eval[chromedp.Void](b, `{
		const s = document.createElement("script");
		s.textContent = "document.title = 'scripted'";
		document.body.append(s);
		const i = document.createElement("img");
		i.src = "http://example.invalid/pixel.png";
		document.body.append(i);
		console.error("told");
		setTimeout(() => { throw new Error("thrown") });
	}`)
	for _, want := range []string{"Content Security Policy directive", "told", "thrown"} {
		b.eventually("the harness hears "+want, func() bool {
			b.seen.mu.Lock()
			defer b.seen.mu.Unlock()
			for _, c := range b.seen.complaints {
				if strings.Contains(c.text, want) {
					return true
				}
			}
			return false
		})
	}
	if title := eval[string](b, `document.title`); title == "scripted" {
		t.Error("an inline script ran on the sign-in page")
	}
	b.seen.mu.Lock()
	defer b.seen.mu.Unlock()
	b.seen.complaints, b.seen.requests = nil, nil
}

func testSigningIn(t *testing.T, c *chromium) {
	b := c.tab(t, nil).open("/connected-apps").at("/login?rd=%2Fconnected-apps")
	b.expects(http.StatusUnauthorized, "/api/v1/auth/me")
	b.focusIs("textbox", "Username or e-mail")
	b.keys("alice")
	b.fill("textbox", "Password", "not her password")
	b.click("button", "Sign in")
	b.sees("The username or password is not right.")
	b.expects(http.StatusUnauthorized, "/login")
	b.focusIs("textbox", "Password")
	if e := b.find("textbox", "Username or e-mail"); e.value != "alice" {
		t.Errorf("the username is %q after the refusal, want alice", e.value)
	}
	b.keys(c.w.passwords["alice"] + kb.Enter)
	b.at("/connected-apps").find("heading", "Connected apps")
	b.click("button", "Account: alice alice@example.com").click("menuitem", "Sign out")
	b.at("/login").open("/query").at("/login?rd=")
	b.expects(http.StatusUnauthorized, "/api/v1/auth/me")
}

// testSigningInTheCommandLine goes from the page that the command opens to the one that it answers with on loopback.
func testSigningInTheCommandLine(t *testing.T, c *chromium) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	streams := streams{strings.NewReader(""), io.Discard, aTerminal(t)}
	defer func(was func(string) error) { openPage = was }(openPage)
	opened, ended := make(chan string, 1), make(chan int, 1)
	openPage = func(page string) error { opened <- page; return nil }
	go func() { ended <- run(t.Context(), []string{"login", c.w.base, "--app", "databricks"}, streams) }()
	address, err := url.Parse(<-opened)
	c.w.must(err)

	b := c.tab(t, nil).open(address.RequestURI()).at("/login?rd=%2Fauthorize")
	b.fill("textbox", "Username or e-mail", "alice").fill("textbox", "Password", c.w.passwords["alice"]).click("button", "Sign in")
	b.sees("Let this program act as you?", "Use your Databricks account").click("button", "I started it: allow")
	b.sees("You are signed in", "You can close this window")
	if code := <-ended; code != 0 {
		t.Errorf("behalf login = exit %d", code)
	}
	b.shoot("the command line is signed in")
	back, err := url.Parse(address.Query().Get("redirect_uri"))
	c.w.must(err)
	b.seen.judge(t, c.w.base, "http://"+back.Host)
	known, err := openContexts()
	c.w.must(err)
	c.w.evidence.own.add("token of ours", secret.New(known.Servers[known.Current].Token))
}

func testOAuthApp(t *testing.T, c *chromium) {
	w := c.w
	b := c.tab(t, w.carol).open("/admin/oauth-apps")
	b.click("link", "Add OAuth app").at("/admin/oauth-apps/new")
	b.click("link", "OpenID Connect provider")
	b.fill("textbox", "Name", "Lake House")
	redirectURI := w.base + "/oauth/callback/lake-house"
	b.eventually("the redirect URI follows the name", func() bool {
		e, _ := b.has("textbox", "Redirect URI")
		return e.value == redirectURI
	})

	// What is missing is listed, and what was typed stays.
	b.click("button", "Create")
	b.sees("need a look", "Client ID: This is needed.")
	b.within("alert", "").click("button", "Client ID")
	b.focusIs("textbox", "Client ID")
	b.paste("textbox", "Client ID", w.box.LoginClient.ID)
	if e := b.find("textbox", "Name"); e.value != "Lake House" {
		t.Errorf("the name is %q after the refusal, want what was typed", e.value)
	}
	b.paste("textbox", "Issuer", w.box.IssuerURL)
	b.click("button", "Discover endpoints").sees("The issuer was read")
	b.eventually("the issuer fills in the token URL", func() bool {
		e, _ := b.has("textbox", "Token URL")
		return strings.HasPrefix(e.value, w.box.IssuerURL)
	})
	b.paste("textbox", "Client secret", w.box.LoginClient.Secret.Reveal())
	b.click("button", "Create")
	b.at("/admin/oauth-apps/lake-house").sees("Lake House is registered")
	var app struct {
		RedirectURI string `json:"redirect_uri"`
	}
	w.must(w.carol.call(t.Context(), http.MethodGet, "/api/v1/oauth-apps/lake-house", nil, &app))
	if e := b.find("textbox", "Redirect URI"); e.value != app.RedirectURI || e.value != redirectURI {
		t.Errorf("the redirect URI is shown as %q, and the API says %q; want %q", e.value, app.RedirectURI, redirectURI)
	}
	if secret := w.box.LoginClient.Secret.Reveal(); strings.Contains(eval[string](b, `document.documentElement.outerHTML`), secret) {
		t.Error("the page holds the client secret after it was stored")
	}

	// Tested from the list, which leads to its page; to load that again is not to test again.
	b.click("link", "OAuth apps").at("/admin/oauth-apps")
	b.click("button", "Actions for Lake House").click("menuitem", "Test")
	b.at("/admin/oauth-apps/lake-house").sees("Test of what is saved", "The server accepts client id and client secret")
	if search := eval[string](b, `location.search`); search != "" {
		t.Errorf("the address still says %q after the test began", search)
	}

	// Paused: alice reads the note, and cannot connect.
	b.click("link", "OAuth apps").at("/admin/oauth-apps")
	b.click("button", "Actions for Lake House").click("menuitem", "Pause…")
	b.within("dialog", "Pause Lake House?").fill("textbox", "Note for people", "Back at three").click("button", "Pause")
	b.sees("Paused", "“Back at three”").gone("dialog", "Pause Lake House?")
	alice := c.tab(t, w.alice).open("/connected-apps").sees("Lake House", "Disabled", "Back at three")
	if e, there := alice.has("button", "Authorize Lake House"); there {
		t.Errorf("there is a button %q for a paused app", e.name)
	}
	b.click("button", "Actions for Lake House").click("menuitem", "Resume")
	b.seesNot("“Back at three”")
	alice.open("/connected-apps").find("button", "Authorize Lake House")

	// Deleting wants the name.
	b.click("button", "Actions for Lake House").click("menuitem", "Delete…")
	dialog := b.within("dialog", "Delete Lake House?")
	dialog.fill("textbox", "Type Lake House to confirm", "Lake")
	if e := dialog.find("button", "Delete"); e.properties["disabled"] != "true" {
		t.Error("half the name is enough to delete")
	}
	dialog.keys(" House").click("button", "Delete")
	b.gone("dialog", "Delete Lake House?")
	b.gone("link", "Lake House")
	alice.open("/connected-apps").sees("Databricks").seesNot("Lake House")
}

func testConnectInWindow(t *testing.T, c *chromium) {
	c.w.disconnect(c.w.alice, "databricks")
	b := c.tab(t, c.w.alice).open("/query")
	b.click("treeitem", "Count count").click("treeitem", "Region string")
	b.click("button", "Run")
	b.sees("Connect to run this query", "It runs as you")
	b.expects(http.StatusForbidden, "/cubejs-api/v1/load")

	popup := b.opens(func() { b.click("button", "Connect Databricks") })
	b.sees("Waiting for you to finish at Databricks")
	popup.sees("Connect Databricks", "Here you are alice")
	if opener := eval[bool](popup, `window.opener !== null`); opener {
		t.Error("the provider could steer the page that opened its window")
	}
	popup.click("button", "Continue to Databricks")
	popup.signInAtProvider("alice")
	popup.closes()
	b.region("EMEA", "alice")
	if u := b.address(); u.Path != "/query" || u.Query().Get("query") == "" {
		t.Errorf("the address is %s afterwards, want the query in it", u)
	}
}

// address is where the tab is.
func (b *tab) address() *url.URL {
	b.t.Helper()
	where, err := value(b, chromedp.Location())
	if err != nil {
		b.fail("%v", err)
	}
	u, err := url.Parse(where)
	if err != nil {
		b.fail("%v", err)
	}
	return u
}

func testConnectInThisTab(t *testing.T, c *chromium) {
	c.w.disconnect(c.w.alice, "databricks")
	b := c.tab(t, c.w.alice)
	b.before(`window.open = () => null`) // what a page sees of a blocked window
	b.open(draft(atDatabricks)).click("button", "Run")
	b.sees("Connect to run this query")
	b.expects(http.StatusForbidden, "/cubejs-api/v1/load")
	before := b.address().Query().Get("query")
	b.click("button", "Connect Databricks").sees("The browser blocked the sign-in window")
	b.click("button", "Continue in this tab").at("/connect/databricks?session=")
	b.click("button", "Continue to Databricks")
	b.signInAtProvider("alice")
	b.at("/query?").region("EMEA", "alice")
	if after := b.address().Query().Get("query"); after != before {
		t.Errorf("the query is %s after the way to the provider and back, want %s", after, before)
	}
}

func testSayingNo(t *testing.T, c *chromium) {
	c.w.disconnect(c.w.alice, "databricks")
	b := c.tab(t, c.w.alice).open("/connected-apps")
	popup := b.opens(func() { b.click("button", "Authorize Databricks") })
	popup.click("button", "Continue to Databricks").sees("Sandbox identity provider").click("button", "Deny")
	popup.sees("You cancelled at Databricks", "Nothing was stored")
	popup.expects(http.StatusForbidden, "/oauth/callback/databricks")
	if u := popup.address(); u.RawQuery != "" {
		t.Errorf("the refusal keeps the address %s, want it without the state", u)
	}
	b.sees("You cancelled at the provider. Nothing was stored.")
	b.find("button", "Authorize Databricks")
}

func testOwnRows(t *testing.T, c *chromium) {
	c.w.connect(c.w.alice, "databricks")
	c.w.connect(c.w.bob, "databricks")
	for _, tt := range []struct {
		person *browser
		region string
	}{{c.w.alice, "EMEA"}, {c.w.bob, "AMER"}} {
		b := c.tab(t, tt.person).open(draft(atDatabricks))
		b.sees("Nothing has run yet") // a link runs nothing by itself
		b.click("button", "Run")
		b.region(tt.region, tt.person.username)
	}
}

func testRevoking(t *testing.T, c *chromium) {
	c.w.connect(c.w.alice, "databricks")
	query := c.tab(t, c.w.alice).open(draft(atDatabricks)).click("button", "Run")
	query.region("EMEA", "alice")

	b := c.tab(t, c.w.alice).open("/connected-apps")
	b.find("button", "Reauthorize Databricks")
	b.click("button", "Revoke Databricks").sees("Revoke your access to Databricks?", "Your running queries on default are cancelled.")
	b.focusIs("button", "Cancel").keys(kb.Enter)
	b.gone("dialog", "Revoke your access to Databricks?")
	b.focusIs("button", "Revoke Databricks").keys(kb.Enter)
	b.within("dialog", "Revoke your access to Databricks?").click("button", "Revoke Databricks")
	b.sees("Access to Databricks was revoked.", "Not connected").gone("button", "Revoke Databricks")

	query.click("button", "Run").sees("Connect to run this query").seesNot("EMEA")
	query.expects(http.StatusForbidden, "/cubejs-api/v1/load")

	// Connected in another tab, the query that waits here runs by itself: both tabs of one person share a profile.
	popup := query.opens(func() { query.click("button", "Connect Databricks") })
	popup.click("button", "Continue to Databricks")
	popup.signInAtProvider("alice")
	popup.closes()
	query.region("EMEA", "alice")

	b.open("/connected-apps").sees("Active")
	popup = b.opens(func() { b.click("button", "Reauthorize Databricks") })
	popup.click("button", "Continue to Databricks")
	popup.signInAtProvider("alice")
	popup.closes()
	b.sees("Databricks is connected")
	if n := strings.Count(b.text(), "Databricks is connected"); n > 2 { // the notice, and what is announced
		t.Errorf("the page says %d times that Databricks is connected", n)
	}
}

func testFallback(t *testing.T, c *chromium) {
	c.w.disconnect(c.w.bob, "snowflake")
	b := c.tab(t, c.w.bob).open(draft(atSnowflake)).click("button", "Run")
	b.sees("Ran as service account", "because you have not connected your own account", "APAC")
	if tone := eval[string](b, `[...document.querySelectorAll("[data-tone]")].find(e => e.textContent.startsWith("Ran as"))?.dataset.tone`); tone != "warn" {
		t.Errorf("the identity is shown in the tone %q, want warn", tone)
	}
}

func testTheme(t *testing.T, c *chromium) {
	b := c.tab(t, c.w.alice)
	// Every value that the theme has had from the first moment at which there was something to paint.
	b.before(`window.themes = [];
		new MutationObserver(() => {
			const now = document.documentElement.dataset.mantineColorScheme;
			if (document.body && themes.at(-1) !== now) themes.push(now);
		}).observe(document, { subtree: true, childList: true, attributes: true });`)
	b.system("dark")
	b.open("/query").find("heading", "Query")
	if got := eval[string](b, `themes.join()`); got != "dark" {
		t.Errorf("with a dark system the page was %q, want dark from the first paint", got)
	}
	b.click("button", "Account: alice alice@example.com").click("menuitemradio", "Light")
	b.eventually("the page turns light", func() bool { return eval[string](b, `themes.join()`) == "dark,light" })
	b.do(chromedp.Reload())
	b.find("heading", "Query")
	if got := eval[string](b, `themes.join()`); got != "light" {
		t.Errorf("after Light was chosen the page was %q, want light from the first paint", got)
	}
	b.click("button", "Account: alice alice@example.com").click("menuitemradio", "System")
	b.eventually("the page follows the system", func() bool { return eval[string](b, `themes.at(-1)`) == "dark" })
	b.system("light")
	b.eventually("the page follows the system again", func() bool { return eval[string](b, `themes.at(-1)`) == "light" })
}

func testRefusals(t *testing.T, c *chromium) {
	b := c.tab(t, c.w.alice).open("/admin/oauth-apps").sees("This page is for admins", "You are signed in as alice")
	if _, there := b.has("link", "OAuth apps"); there {
		t.Error("the navigation offers what alice may not open")
	}
	b.click("link", "Go to Query").at("/query")
	b.open("/no/such/page").sees("Page not found").find("link", "Go to Query")
	b.expects(http.StatusNotFound, "/no/such/page")

	carol := c.tab(t, c.w.carol).open("/admin/oauth-apps/no-such-app")
	carol.sees("Try again")
	carol.expects(http.StatusNotFound, "/api/v1/oauth-apps/no-such-app")
}

func testSessionEnds(t *testing.T, c *chromium) {
	b := c.tab(t, c.w.bob).open(draft(atDatabricks))
	b.find("button", "Run")
	before := b.address()
	// Bob signs out everywhere, on another machine.
	elsewhere := c.w.browser("bob")
	c.w.must(elsewhere.signIn(t.Context(), c.w.passwords["bob"]))
	c.w.must(elsewhere.call(t.Context(), http.MethodPost, "/api/v1/auth/logout", map[string]bool{"everywhere": true}, nil))
	c.w.must(c.w.bob.signIn(t.Context(), c.w.passwords["bob"])) // the tests go on with him
	b.do(chromedp.Reload())
	b.at("/login?rd=")
	b.expects(http.StatusUnauthorized, "/api/v1/auth/me")
	b.fill("textbox", "Username or e-mail", "bob")
	b.fill("textbox", "Password", c.w.passwords["bob"]+kb.Enter)
	b.at("/query?").find("button", "Run")
	if after := b.address(); after.String() != before.String() {
		t.Errorf("after signing in again the address is %s, want %s", after, before)
	}
}

// tabTo presses Tab until an element has the focus.
func (b *tab) tabTo(role, name string) *tab {
	b.t.Helper()
	b.find(role, name)
	var passed []string
	for range 60 {
		e := b.focused()
		if e.role == role && e.name == name {
			return b
		}
		passed = append(passed, e.role+" "+e.name)
		b.keys(kb.Tab)
	}
	b.fail("Tab does not reach the %s %q. It passes: %q.", role, name, passed)
	return b
}

func testKeyboard(t *testing.T, c *chromium) {
	c.w.disconnect(c.w.alice, "databricks")
	b := c.tab(t, nil).open("/query").at("/login")
	b.expects(http.StatusUnauthorized, "/api/v1/auth/me")
	b.focusIs("textbox", "Username or e-mail").keys("alice" + kb.Tab)
	b.focusIs("textbox", "Password").keys(c.w.passwords["alice"] + kb.Tab)
	b.focusIs("button", "Sign in").keys(kb.Enter)
	b.at("/query")

	b.tabTo("searchbox", "Search members").keys("orders count" + kb.Enter)
	b.eventually("the search added a member", func() bool { return b.address().Query().Get("query") != "" })
	b.keys(kb.Escape)
	b.open(draft(countOnly))
	b.tabTo("button", "Run").keys(kb.Enter)
	b.sees("Connect to run this query")
	b.expects(http.StatusForbidden, "/cubejs-api/v1/load")
	b.tabTo("button", "Connect Databricks")
	popup := b.opens(func() { b.keys(kb.Enter) })
	popup.tabTo("button", "Continue to Databricks").keys(kb.Enter)
	popup.sees("Sandbox identity provider").focusIs("textbox", "Username")
	popup.keys("alice" + kb.Tab + c.w.box.Person("alice").Password.Reveal() + kb.Enter)
	popup.closes()
	b.sees("Ran as alice")
}

// testWhatRuns follows one query of alice through the page of queries, with the keys alone: nothing that comes or goes moves
// the focus, what stands still stands still, and a cancellation says what the database said.
func testWhatRuns(t *testing.T, c *chromium) {
	w := c.w
	w.connect(w.alice, "databricks")
	b := c.tab(t, w.alice).open("/activity/queries").sees("Nothing waits or runs", "Live")
	bob := c.tab(t, w.bob).open("/activity/queries").sees("Nothing waits or runs", "Live")
	carol := c.tab(t, w.carol).open("/activity/queries").sees("Nothing waits or runs", "Live")

	before := w.mark()
	b.tabTo("button", "Pause")
	w.asking(w.alice, slowly)
	b.find("button", "Query (Running)")
	b.focusIs("button", "Pause") // it is reached before the rows, and no row takes the focus
	b.tabTo("button", "Query (Running)").keys(kb.Enter)
	b.within("dialog", "Query").sees("Runs as", "You")
	b.keys(kb.Escape).gone("dialog", "Query")
	b.focusIs("button", "Query (Running)")

	carol.click("radio", "Everybody's").find("button", "Query of alice (Running)")
	if u := carol.address(); u.Query().Get("all") != "true" {
		t.Errorf("the address of everybody's is %s", u)
	}
	bob.sees("0 running, 0 waiting")

	b.keys(kb.Delete).focusIs("button", "Let it run").keys(kb.Enter)
	b.gone("dialog", "Cancel this query?")
	b.focusIs("button", "Query (Running)")
	b.keys(kb.Delete).focusIs("button", "Let it run").tabTo("button", "Cancel query").keys(kb.Enter)
	b.sees("Cancelled, confirmed by the database.")
	w.await(before, "alice", "slow_orders", engine.CanceledOut)
	b.focusIs("button", "Query (Ended)") // it stays as long as it has the focus
	carol.sees("Nothing waits or runs")

	// Paused, the view says what it does not show.
	b.tabTo("button", "Pause").keys(kb.Enter)
	b.focusIs("button", "Resume")
	w.asking(w.alice, slowly)
	b.sees("Paused", "1 new, 0 ended since").seesNot("1 running")
	b.keys(kb.Enter).sees("1 running, 0 waiting")

	// What has ended while it was asked about is named as that.
	b.tabTo("button", "Query (Running)").keys(kb.Delete).focusIs("button", "Let it run")
	list, _ := w.server.orchestrators.Queries(orchestrator.Viewer{All: true}, "", 0)
	for _, q := range list {
		_, err := w.server.orchestrators.CancelQuery(t.Context(), q.ID, orchestrator.Viewer{All: true})
		w.must(err)
	}
	b.tabTo("button", "Cancel query").keys(kb.Enter)
	b.sees("Already finished at ")
	b.expects(http.StatusNotFound, "/api/v1/queries/"+list[0].ID)
}

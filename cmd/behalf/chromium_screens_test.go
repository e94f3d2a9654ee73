package main

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// screen is one thing to look at: a page in one state.
type screen struct {
	name   string
	person func(w *world) *browser // nil: nobody
	arrive func(b *tab)
	part   string // a selector of what other screens do not show already; empty for all of it
}

// Parts of screens.
const (
	results = `section[aria-label="Results"]`
	dialog  = `[role="dialog"]`
	form    = `main form`
)

// screens are all that there are.
var screens = []screen{
	{"sign-in", nobody, func(b *tab) { b.open("/login?rd=/connected-apps").find("button", "Sign in") }, ""},
	{"sign-in refused", nobody, func(b *tab) {
		b.open("/login").fill("textbox", "Username or e-mail", "alice")
		b.fill("textbox", "Password", "wrong").click("button", "Sign in").sees("is not right")
		b.expects(http.StatusUnauthorized, "/login")
	}, ""},
	{"sign-out", alice, func(b *tab) { b.open("/logout").find("button", "Sign out") }, ""},
	{"connect", bob, func(b *tab) {
		b.open("/connect/databricks").sees("Run SQL on the warehouses you may use", "Know who you are there").find("button", "Continue to Databricks")
	}, ""},
	{"connected", alice, func(b *tab) { b.open("/connect/databricks/done").find("link", "Continue here") }, ""},
	{"callback refused", alice, func(b *tab) {
		b.open("/oauth/callback/databricks?state=" + strings.Repeat("a", 43) + "&code=x").sees("This link has ended")
		b.expects(http.StatusGone, "/oauth/callback/databricks")
	}, ""},
	{"query", alice, func(b *tab) { b.open("/query").sees("Start with one of these") }, ""},
	{"query with a result", alice, func(b *tab) {
		b.open(draft(atDatabricks)).click("button", "Run").sees("Ran as alice")
	}, ""},
	{"query with filters", alice, func(b *tab) {
		b.open(draft(`{"measures":["orders.count","orders.total"],"dimensions":["orders.region","orders.country","orders.status"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"month"}],"filters":[{"member":"orders.status","operator":"equals","values":["completed","shipped"]}],"limit":12}`))
		b.click("button", "Run").sees("Ran as alice")
	}, `section[aria-label="Query"], section[aria-label="Results"]`},
	{"query as the service account", bob, func(b *tab) {
		b.open(draft(atSnowflake)).click("button", "Run").sees("Ran as service account")
	}, results},
	{"query that asks to connect", bob, func(b *tab) {
		b.open(draft(atDatabricks)).click("button", "Run").sees("Connect to run this query")
		b.expects(http.StatusForbidden, "/cubejs-api/v1/load")
	}, results},
	{"query with blocked windows", bob, func(b *tab) {
		b.open(draft(atDatabricks)).click("button", "Run").sees("Connect to run this query")
		b.expects(http.StatusForbidden, "/cubejs-api/v1/load")
		eval[chromedp.Void](b, `window.open = () => null`)
		b.click("button", "Connect Databricks").sees("The browser blocked the sign-in window")
	}, results},
	{"query that failed", alice, func(b *tab) {
		b.open(draft(`{"measures":["orders.count"],"dimensions":["orders.no_such_member"]}`)).click("button", "Run").sees("The query did not run")
		b.expects(http.StatusBadRequest, "/cubejs-api/v1/load")
	}, results},
	{"query's SQL", alice, func(b *tab) { b.open(draft(atDatabricks)+"&tab=sql").sees("SELECT", "Customers") }, results},
	{"query's JSON", alice, func(b *tab) { b.open(draft(atDatabricks)+"&tab=json").sees("Customers").find("button", "Apply") }, results},
	{"connected apps", alice, func(b *tab) { b.open("/connected-apps").sees("Databricks", "Snowflake", "Active", "Revoked") }, ""},
	{"connected apps, none", bob, func(b *tab) { b.open("/connected-apps").sees("Not connected") }, ""},
	{"revoking", alice, func(b *tab) {
		b.open("/connected-apps").click("button", "Revoke Databricks").focusIs("button", "Cancel")
	}, dialog},
	{"account menu", alice, func(b *tab) {
		b.open("/connected-apps").click("button", "Account: alice alice@example.com").find("menuitemradio", "Dark")
	}, `[role="menu"]`},
	{"navigation on a phone", carol, func(b *tab) {
		b.open("/connected-apps").sees("Databricks").size(320, 720)
		b.click("button", "Open navigation").within("dialog", "Behalf").find("link", "OAuth apps")
	}, dialog},
	{"members on a phone", alice, func(b *tab) {
		b.open("/query").size(320, 720)
		b.click("button", "Add members").within("dialog", "Members").find("treeitem", "Count count")
	}, dialog},
	{"OAuth apps", carol, func(b *tab) { b.open("/admin/oauth-apps").find("link", "Databricks") }, ""},
	{"new OAuth app, the choice", carol, func(b *tab) { b.open("/admin/oauth-apps/new").find("link", "Databricks") }, ""},
	{"new OAuth app", carol, func(b *tab) { b.open("/admin/oauth-apps/new?preset=databricks").find("textbox", "Client ID") }, form},
	{"new OAuth app with mistakes", carol, func(b *tab) {
		b.open("/admin/oauth-apps/new?preset=oauth2").click("button", "Create").sees("need a look")
	}, `main form > [role="alert"], main form > section:nth-of-type(-n+3)`},
	{"edit an OAuth app", carol, func(b *tab) {
		b.open("/admin/oauth-apps/databricks?created=true").sees("is registered").find("button", "Save")
	}, `main`},
	{"pausing", carol, func(b *tab) {
		b.open("/admin/oauth-apps").click("button", "Actions for Databricks").click("menuitem", "Pause…").find("textbox", "Note for people")
	}, dialog},
	{"deleting", carol, func(b *tab) {
		b.open("/admin/oauth-apps").click("button", "Actions for Databricks").click("menuitem", "Delete…").find("textbox", "Type Databricks to confirm")
	}, dialog},
	{"queries, none", bob, func(b *tab) { b.open("/activity/queries").sees("Nothing waits or runs") }, ""},
	{"queries", alice, func(b *tab) { b.runs("alice").open("/activity/queries").sees("1 running, 0 waiting") }, ""},
	{"a query", alice, func(b *tab) {
		b.runs("alice").open("/activity/queries").click("button", "Query (Running)").within("dialog", "Query").find("button", "Cancel")
	}, dialog},
	{"cancelling a query", alice, func(b *tab) {
		b.runs("alice").open("/activity/queries").click("button", "Cancel Query").focusIs("button", "Let it run")
	}, dialog},
	{"queries of everybody", carol, func(b *tab) {
		b.runs("alice").open("/activity/queries?all=true").find("button", "Query of alice (Running)")
	}, ""},
	{"queries that do not fit", carol, func(b *tab) {
		b.runs("alice").open("/activity/queries?all=true&state=waiting").sees("No query fits these filters.")
	}, "main"},
	{"orchestrators", carol, func(b *tab) {
		b.runs("alice").open("/activity/orchestrators").sees("No two people share an orchestrator", "alice", "Busy")
	}, ""},
	{"an orchestrator", carol, func(b *tab) {
		b.runs("alice").open("/activity/orchestrators").click("button", "alice (Busy)").within("dialog", "alice").find("button", "Flush…")
	}, dialog},
	{"draining", carol, func(b *tab) {
		b.runs("alice").open("/activity/orchestrators").click("button", "Actions: alice").click("menuitem", "Drain…").focusIs("button", "Cancel")
	}, dialog},
	{"pre-aggregations", alice, func(b *tab) { b.open("/pre-aggregations").sees("sales.by_day", "Ready", "Yours") }, ""},
	{"a pre-aggregation", alice, func(b *tab) {
		b.open("/pre-aggregations").click("button", "sales.by_day (Ready)").within("dialog", "sales.by_day").sees("Its latest build ended well")
	}, dialog},
	{"pre-aggregations, none", bob, func(b *tab) { b.open("/pre-aggregations").sees("No pre-aggregation yet") }, "main"},
	{"pre-aggregations of everybody", carol, func(b *tab) { b.open("/pre-aggregations?all=true").sees("sales.by_day", "alice", "Not updated") }, "main"},
	{"audit log", carol, func(b *tab) {
		b.open("/admin/audit").sees("Signed in", "Connected an account").click("button", "Verify the chains").sees("nothing was changed, removed or added")
	}, ""},
	{"audit log, a record", carol, func(b *tab) {
		b.open("/admin/audit?action=oauth_app.created").click("button", "Show details: Registered an OAuth app").sees("Chain")
	}, `main table`},
	{"audit log, nothing", carol, func(b *tab) { b.open("/admin/audit?object=nothing").sees("No record fits these filters.") }, `main`},
	{"revocations, none", carol, func(b *tab) { b.open("/admin/revocations").sees("Nothing was revoked") }, ""},
	{"ending access", carol, func(b *tab) { b.open("/admin/revocations").click("button", "End access").find("textbox", "Username") }, dialog},
	{"ending access, who loses it", carol, func(b *tab) {
		b.open("/admin/revocations").click("button", "End access")
		b.fill("textbox", "Username", "alice").click("button", "See who loses access").sees("1 person loses access now").find("textbox", "Type alice to confirm")
	}, dialog},
	{"tokens, none", bob, func(b *tab) { b.open("/tokens").sees("No API tokens") }, ""},
	{"a new token", alice, func(b *tab) { b.open("/tokens").click("button", "Create token").find("textbox", "Name") }, dialog},
	{"a token, shown once", alice, func(b *tab) {
		b.open("/tokens").click("button", "Create token")
		b.fill("textbox", "Name", "nightly report").click("checkbox", "Be handed your Databricks access token")
		b.within("dialog", "Create an API token").click("button", "Create token").sees("shown now and never again")
	}, dialog},
	{"tokens", alice, func(b *tab) { b.open("/tokens").sees("nightly report") }, ""},
	{"signing in a program", alice, func(b *tab) { b.open("/device").find("button", "Continue") }, ""},
	{"signing in the command line", alice, func(b *tab) {
		b.open("/authorize?response_type=code&client_id=behalf-cli&redirect_uri=http%3A%2F%2F127.0.0.1%3A51004%2Fcallback&state=s&scope=account+token%3Adatabricks"+
			"&code_challenge="+strings.Repeat("c", 43)+"&code_challenge_method=S256&device_name=alice-laptop").find("button", "I started it: allow")
	}, ""},
	{"not for everybody", alice, func(b *tab) { b.open("/admin/oauth-apps").sees("This page is for admins") }, ""},
	{"not there", alice, func(b *tab) {
		b.open("/no/such/page").sees("Page not found")
		b.expects(http.StatusNotFound, "/no/such/page")
	}, ""},
}

func nobody(*world) *browser  { return nil }
func alice(w *world) *browser { return w.alice }
func bob(w *world) *browser   { return w.bob }
func carol(w *world) *browser { return w.carol }

// testScreens looks at every screen: in both themes it must be accessible, and 320 px wide it must not scroll
// sideways (WCAG 1.4.10).
func testScreens(t *testing.T, c *chromium) {
	w := c.w
	w.disconnect(w.bob, "databricks", "snowflake")
	w.connect(w.alice, "snowflake")
	w.box.IdP.RevokeGrants("alice")
	w.box.Snowflake.DropSessions("alice")
	w.ask(w.alice, atSnowflake) // by which Behalf learns of it
	w.connect(w.alice, "databricks")
	w.askRollup(w.alice, ofSales, "sales.by_day")
	for _, person := range []*browser{nil, w.alice, w.bob, w.carol} {
		name := "nobody"
		if person != nil {
			name = person.username
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each in a profile of their own, and nobody changes anything
			b := c.tab(t, person)
			for _, s := range screens {
				if s.person(w) == person {
					t.Run(s.name, func(t *testing.T) { b.as(t).inspect(s) })
				}
			}
		})
	}
}

// runs waits until a slow query of a person runs, and asks one where there is none.
func (b *tab) runs(username string) *tab {
	b.t.Helper()
	b.c.slow.Lock()
	defer b.c.slow.Unlock()
	before := b.c.w.server.orchestrators.Stats().Running
	if before == 0 {
		b.c.w.asking(map[string]*browser{"alice": b.c.w.alice, "bob": b.c.w.bob}[username], slowly)
	}
	b.eventually("a slow query runs", func() bool { return b.c.w.server.orchestrators.Stats().Running == 1 })
	return b
}

// as returns the tab for a part of its test.
func (b *tab) as(t *testing.T) *tab {
	part := *b
	part.t = t
	return &part
}

// inspect goes to a screen and looks at it: light, dark and narrow.
func (b *tab) inspect(s screen) {
	b.t.Helper()
	b.size(1440, 900)
	b.system("light")
	s.arrive(b)
	b.accessible(s.part, "light", `{ type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }`)
	b.shoot(s.name + " light")
	b.system("dark")
	b.accessible(s.part, "dark", `{ type: "rule", values: ["color-contrast", "link-in-text-block"] }`) // the theme changes colours only
	b.shoot(s.name + " dark")
	b.size(320, 720)
	b.eventually("the page fits 320 px", func() bool { return eval[int](b, `document.documentElement.scrollWidth`) <= 320 })
	if b.c.pictures != "" {
		b.settle()
		b.shoot(s.name + " 320")
	}
	b.seen.judge(b.t, b.c.w.base, b.c.w.box.IssuerURL)
}

// settle waits until nothing on the page is on its way from one look to another.
func (b *tab) settle() {
	b.t.Helper()
	eval[chromedp.Void](b, `(async () => {
		const frame = () => new Promise(requestAnimationFrame);
		const moving = () => document.getAnimations().some(a => a.playState === "running" && a.effect.getComputedTiming().iterations !== Infinity);
		do { await frame(); await frame() } while (moving());
	})()`)
}

// accessible fails the test for every serious or critical violation that axe-core finds in a part of the page.
func (b *tab) accessible(part, theme, rules string) {
	b.t.Helper()
	b.eventually("the page is "+theme, func() bool {
		return eval[string](b, `document.documentElement.dataset.mantineColorScheme ?? "`+theme+`"`) == theme
	})
	b.settle()
	found := eval[string](b, `(async () => {
		if (!window.axe) { `+b.c.axe+` }
		const { violations } = await axe.run(`+strconv.Quote(cmp.Or(part, "html"))+`, {
			resultTypes: ["violations"], runOnly: `+rules+`, rules: { "target-size": { enabled: true } },
		});
		return JSON.stringify(violations.filter(v => v.impact === "serious" || v.impact === "critical")
			.map(v => ({ rule: v.id, help: v.help, nodes: v.nodes.map(n => n.html.slice(0, 200) + " " + n.failureSummary) })));
	})()`)
	var violations []struct {
		Rule, Help string
		Nodes      []string
	}
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		b.t.Fatal(err)
	}
	for _, v := range violations {
		b.t.Errorf("%s: %s (%s), %d times, first: %s", theme, v.Help, v.Rule, len(v.Nodes), v.Nodes[0])
	}
}

package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/config"
	"github.com/behalf-project/behalf/internal/jwtauth"
	"github.com/behalf-project/behalf/internal/secret"
)

// ruled is a cube.js that decides who asks and which rows they see.
const ruled = `const jwt = require('jsonwebtoken');
const { UserError } = require('@cubejs-backend/api-gateway');

module.exports = {
  checkAuth: async (req, auth) => {
    req.securityContext = jwt.verify(auth, process.env.HOOK_KEY, { algorithms: ['HS256'] });
    if (!req.securityContext.region) throw new Error('Say where you are');
  },
  contextToOrchestratorId: ({ securityContext }) => 'REGION_' + (securityContext.unstable ? Math.random() : securityContext.region),
  queryRewrite: async (query, { securityContext }) => {
    if (securityContext.region === 'nowhere') throw new UserError('There are no rows of nowhere');
    if (securityContext.region === 'bug') throw new Error('canary of a bug');
    if (securityContext.region === 'hang') for (;;) {}
    query.filters.push({ member: query.dimensions[0], operator: 'equals', values: [securityContext.region] });
    return query;
  },
};
`

// A project with a cube.js of its own: whoever it lets in sees the rows that it lets through, and nothing of its rules.
func TestTheHooksOfAProject(t *testing.T) {
	key := secret.New("key-of-the-hook-0123456789abcdef0123456789")
	w := newWorld(t, worldConfig{environ: []string{"HOOK_KEY=" + key.Reveal()}, yaml: "\nhooks: {timeout: 1s, env: [HOOK_KEY]}\n"})
	w.write("cube.js", ruled)
	w.restart()
	ask := func(path string, claims map[string]any) asked {
		t.Helper()
		token, err := jwtauth.Sign(key, claims, time.Now(), time.Minute)
		w.must(err)
		return w.send(t.Context(), w.alice, http.MethodGet, "/cubejs-api/v1/"+path+"?query="+url.QueryEscape(atSnowflake), token.Reveal(), "")
	}
	for _, region := range []string{"EMEA", "AMER"} {
		got := ask("load", map[string]any{"sub": "s1", "region": region, "cubeCloud": map[string]any{"username": "alice"}})
		got.ran(t, "service_account", "alice") // never alice's own credential: checkAuth's alice is nobody here
		if seen := fmt.Sprint(regions(got.loaded)); seen != "["+region+"]" {
			t.Errorf("somebody in %s sees %s", region, seen)
		}
		if strings.Contains(got.body, `"equals"`) {
			t.Errorf("the answer shows the rule: %s", got.body)
		}
		if dry := ask("dry-run", map[string]any{"region": region}); strings.Contains(dry.body, `"equals"`) || dry.status != http.StatusOK {
			t.Errorf("dry-run answers %d %s", dry.status, dry.body)
		}
	}
	for _, tt := range []struct {
		claims map[string]any
		status int
		says   string
	}{
		{map[string]any{"sub": "s1"}, http.StatusForbidden, "Say where you are"},
		{map[string]any{"region": "nowhere"}, http.StatusBadRequest, "There are no rows of nowhere"},
		{map[string]any{"region": "bug"}, http.StatusInternalServerError, "Error: canary of a bug"},
		{map[string]any{"region": "hang"}, http.StatusInternalServerError, "Error: queryRewrite: the script ran longer than 1s"},
		{map[string]any{"region": "EMEA", "unstable": true}, http.StatusBadRequest, "two different ids"},
	} {
		if got := ask("load", tt.claims); got.status != tt.status || !strings.Contains(got.Error, tt.says) || got.Data != nil {
			t.Errorf("with %v: %d %s, want %d %q", tt.claims, got.status, got.body, tt.status, tt.says)
		}
	}
	token := w.sign("alice") // with the API secret, which checkAuth does not ask for
	got := w.send(t.Context(), w.alice, http.MethodGet, "/cubejs-api/v1/load?query="+url.QueryEscape(atSnowflake), token, "")
	got.refused(t, http.StatusForbidden, "check_auth", "Access denied")
}

// The documented recipe for a credential of each person, as cube.js: the hook chooses, and sees no token.
func TestDriverFactoryOfAProject(t *testing.T) {
	w := newWorld(t, worldConfig{yaml: "\nhooks: {timeout: 5s, env: [SERVICE_TOKEN]}\n"})
	w.environ = append(w.environ, "SERVICE_TOKEN="+w.box.Service.DatabricksToken.Reveal())
	w.write("cube.js", `module.exports = {
  driverFactory: ({ securityContext, dataSource }) => {
    console.log('for ' + dataSource, securityContext, process.env, process.env.SERVICE_TOKEN);
    const key = dataSource === 'default' ? 'databricks' : dataSource;
    const creds = securityContext?.cubeCloud?.userCredentials?.[key];
    return { type: key, token: creds?.status === 'active' ? creds.accessToken : key === 'databricks' ? process.env.SERVICE_TOKEN : undefined };
  },
  contextToOrchestratorId: ({ securityContext }) => 'CUBE_APP_' + securityContext?.cubeCloud?.username,
};`)
	w.restart()
	w.connect(w.alice, "databricks", "snowflake")
	w.ask(w.alice, atDatabricks).ran(t, "user", "alice")
	w.ask(w.alice, atSnowflake).ran(t, "user", "alice")
	w.ask(w.bob, atSnowflake).ran(t, "service_account", "bob")
	w.ask(w.bob, atDatabricks).refused(t, http.StatusForbidden, "authorization_required") // the source says fallback: deny
	if !strings.Contains(w.logs.String(), "for default") {
		t.Error("the hook was not asked")
	}
}

func TestAVariableWithASecretInItIsNotForHooks(t *testing.T) {
	cfg := config.Default()
	cfg.Hooks.Variables.Granted = map[string]string{"URL": "jdbc:databricks://h;PWD=canary-token"}
	cfg.DataSources = []config.DataSource{{Name: "db", ServiceAccount: &config.ServiceAccount{Token: secret.New("canary-token")}}}
	env, err := (&server{cfg: cfg}).hookEnvironment()
	if err == nil || !strings.Contains(err.Error(), "hooks.env: URL") || strings.Contains(err.Error(), "canary") {
		t.Errorf("%v, %v", env, err)
	}
}

func TestTheSecretOfAServiceAccountIsAHandleForHooks(t *testing.T) {
	cfg := config.Default()
	cfg.Hooks.Variables.Granted = map[string]string{"TOKEN": "canary-token", "OTHER": "o"}
	account := &config.ServiceAccount{Token: secret.New("canary-token")}
	cfg.DataSources = []config.DataSource{{Name: "db", ServiceAccount: account}, {Name: "same", ServiceAccount: account}, {Name: "none"}}
	s := &server{cfg: cfg}
	env, err := s.hookEnvironment()
	if err != nil || env["OTHER"] != "o" || env["TOKEN"] == "canary-token" {
		t.Fatalf("%v, %v", env, err)
	}
	for name, want := range map[string]bool{"db": true, "same": true, "none": false} {
		if got := len(s.serviceHandles[name]) == 1 && s.serviceHandles[name][0].Equal(secret.New(env["TOKEN"])); got != want {
			t.Errorf("%s takes the handle: %v, want %v", name, got, want)
		}
	}
}

func TestACubeJSThatCannotRunIsRefusedAtStart(t *testing.T) {
	dir := inFolder(t, map[string]string{"model/a.yml": "cubes: []", "cube.js": "module.exports = {\n  checkauth: () => 1,\n  canSwitchSqlUser: () => true,\n};"})
	t.Setenv("CUBEJS_DB_TYPE", "duckdb")
	code, _, errs := command(t, "", "serve", "--check")
	if code != exitInvalid || !strings.Contains(errs, `did you mean "checkAuth"?`) || !strings.Contains(errs, "canSwitchSqlUser: it is not available") {
		t.Errorf("in %s: exit %d: %s", dir, code, errs)
	}
}

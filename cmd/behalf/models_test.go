package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/config"
	"github.com/behalf-project/behalf/internal/jwtauth"
	"github.com/behalf-project/behalf/internal/secret"
	"go.uber.org/zap"
)

// Each application id has a model of its own, and nobody reads rows through one that was made for somebody else.
func TestEachApplicationIDHasAModelOfItsOwn(t *testing.T) {
	w := newWorld(t, worldConfig{environ: []string{"MODEL_TABLE=orders"}, yaml: "\nmodels: {env: [MODEL_*], max_variants: 1}\n"})
	w.write("cube.js", "module.exports = { contextToAppId: ({ securityContext }) => `REGION_${securityContext.region}` };\n")
	w.write("model/regional.js", "const { region: home, auditor } = COMPILE_CONTEXT.securityContext;\n"+
		"cube(`regional`, {\n  sql: `SELECT * FROM ${process.env.MODEL_TABLE} WHERE ${auditor ? `1 = 1` : `region = '${home}'`}`,\n  dataSource: `snowflake`,\n"+
		"  dimensions: { region: { sql: `region`, type: `string` } },\n  measures: { count: { type: `count` } },\n});\n")
	w.restart()
	ask := func(claims map[string]any) asked {
		t.Helper()
		token, err := jwtauth.Sign(w.server.cfg.Auth.APISecret, claims, time.Now(), time.Minute)
		w.must(err)
		query := `{"measures":["regional.count"],"dimensions":["regional.region"]}`
		return w.send(t.Context(), w.alice, http.MethodGet, "/cubejs-api/v1/load?query="+url.QueryEscape(query), token.Reveal(), "")
	}
	var wg sync.WaitGroup
	for i := range 12 { // of two application ids, one of which has its model at a time
		wg.Go(func() {
			region := []string{"EMEA", "AMER"}[i%2]
			got := ask(map[string]any{"region": region, "sub": fmt.Sprint(i)})
			if seen := fmt.Sprint(regions(got.loaded)); seen != "["+region+"]" {
				t.Errorf("somebody in %s sees %s: %s", region, seen, got.body)
			}
		})
	}
	wg.Wait()
	for _, first := range []map[string]any{{"region": "APAC"}, {"region": "APAC", "auditor": true}} {
		second := map[string]any{"region": "APAC"}
		if first["auditor"] == nil {
			second["auditor"] = true
		}
		ask(map[string]any{"region": "EMEA"}) // takes the one place, so that the next one compiles
		if got := ask(first); got.status != http.StatusOK {
			t.Errorf("%v: %d %s", first, got.status, got.body)
		}
		got := ask(second)
		got.refused(t, http.StatusForbidden, "compile_context", "COMPILE_CONTEXT.securityContext.auditor", `"REGION_APAC"`, "contextToAppId")
		if got.Data != nil {
			t.Errorf("%v got rows through the model of %v", second, first)
		}
	}
}

func TestAModelThatReadsWhoAsks(t *testing.T) {
	const model = "cube(`a`, {\n  sqlTable: COMPILE_CONTEXT.securityContext.tenant,\n});\n"
	const refused = "a.js:2:13: COMPILE_CONTEXT can't be used unless contextToAppId is defined"
	t.Setenv("CUBEJS_DB_TYPE", "duckdb")
	for _, tt := range []struct {
		name, hooks, command string
		code                 int
		says                 string
	}{
		{"without a cube.js", "", "serve --check", exitInvalid, refused},
		{"without the hook", "module.exports = { queryRewrite: (q) => q };", "serve --check", exitInvalid, refused},
		{"with the hook", "module.exports = { contextToAppId: () => 'a' };", "serve --check", 0, "are right"},
		{"alone", "", "models validate", 0, "a.js:2:13: the model reads COMPILE_CONTEXT, so it is compiled for each application id"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{"model/a.js": model}
			if tt.hooks != "" {
				files["cube.js"] = tt.hooks
			}
			inFolder(t, files)
			code, out, errs := command(t, "", strings.Fields(tt.command)...)
			if code != tt.code || !strings.Contains(out+errs, tt.says) {
				t.Errorf("exit %d, want %d: %s%s", code, tt.code, out, errs)
			}
		})
	}
}

// What a model holds is shown to callers as SQL, so that no secret of a service account is for it.
func TestTheSecretOfAServiceAccountIsNotForModels(t *testing.T) {
	for _, value := range []string{"canary-token", "jdbc:databricks://h;PWD=canary-token"} {
		cfg := config.Default()
		cfg.Models.Path = t.TempDir()
		cfg.Models.Variables.Granted = map[string]string{"URL": value}
		cfg.DataSources = []config.DataSource{{Name: "db", ServiceAccount: &config.ServiceAccount{Token: secret.New("canary-token")}}}
		if _, err := openModel(t.Context(), cfg, nil, zap.NewNop()); err == nil || !strings.Contains(err.Error(), "models.env: URL") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", value, err)
		}
	}
}

package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// load writes text to behalf.yaml in a folder of its own and loads it with these variables.
func load(t *testing.T, text string, environ ...string) (Config, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret.txt"), []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := ""
	if text != "" {
		path = filepath.Join(dir, "behalf.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := Load(Options{Path: path, Environ: environ, Dir: dir})
	var errs Errors
	if errors.As(err, &errs) {
		for i := range errs {
			errs[i].Place = strings.TrimPrefix(errs[i].Place, dir+"/")
		}
	}
	return cfg, err
}

const whole = `
server: {listen: "127.0.0.1:5000", public_url: https://data.example.com/, grace: 10s}
store: {url: {env: DB_URL}}
cache: {max_bytes: 64MiB}
keys: {keyset: {file: keys.json}}
models: {path: model}
auth:
  api_secret: {file: secret.txt}
users:
  - {username: alice, email: alice@example.com, roles: [admin], password: {file: secret.txt}}
oauth_apps:
  - name: Databricks prod
    preset: databricks
    host: dbc-1.cloud.databricks.com
    client_id: abc
    client_secret: {env: DBX_SECRET}
    scopes: [sql, offline_access]
data_sources:
  - name: default
    type: databricks
    options: {host: dbc-1.cloud.databricks.com, http_path: /sql/1.0/warehouses/abc}
    oauth_app: Databricks prod
    service_account: {token: {env: DBX_TOKEN}}
    fallback: deny
    limits: {per_user_connections: 3, query_timeout: 5m}
`

func TestAWholeFile(t *testing.T) {
	cfg, err := load(t, whole, "DB_URL=postgres://u:p@db/behalf", "DBX_SECRET=s3cret", "DBX_TOKEN=dapi", "BEHALF_SERVER_GRACE=7s")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(cfg.Path)
	src, app := cfg.DataSources[0], cfg.OAuthApps[0]
	for _, tt := range []struct{ name, got, want string }{
		{"a secret comes from a file, without its line end", cfg.Auth.APISecret.Reveal(), "from-file"},
		{"a secret comes from a variable", app.ClientSecret.Reveal(), "s3cret"},
		{"a store URL may be a secret", cfg.Store.URL.Reveal(), "postgres://u:p@db/behalf"},
		{"paths are relative to the file", cfg.Keys.Keyset.File, filepath.Join(dir, "keys.json")},
		{"the public URL has no slash at its end", cfg.Server.PublicURL, "https://data.example.com"},
		{"a variable wins over the file", cfg.Server.Grace.String(), "7s"},
		{"an app's slug comes from its name", app.Slug, "databricks-prod"},
		{"a source names its app by slug", src.OAuthApp, "databricks-prod"},
		{"the credentials key is the type", src.CredentialsKey, "databricks"},
		{"what is not said is the default", cfg.Auth.Session.Idle.String(), "168h0m0s"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, tt.got, tt.want)
		}
	}
	if src.Limits.PerUserConnections != 3 || src.Limits.QueryTimeout != 5*time.Minute || cfg.Cache.MaxBytes != 64<<20 {
		t.Errorf("limits = %+v, cache = %d", src.Limits, cfg.Cache.MaxBytes)
	}
}

func TestTheSharedCacheIsARedis(t *testing.T) {
	for _, tt := range []struct {
		text    string
		environ []string
		want    string
	}{
		{text: "server: {}"},
		{text: "cache: {redis: 'redis://h'}", want: "redis://h"},
		{text: "cache: {redis: 'rediss://u:p@h:1234/2'}", want: "rediss://u:p@h:1234/2"},
		{text: "cache: {redis: 'unix:///run/redis.sock?db=1'}", want: "unix:///run/redis.sock?db=1"},
		{text: "cache: {redis: 'unix://:p@/run/redis.sock'}", want: "unix://:p@/run/redis.sock"},
		{text: "cache: {redis: {env: THEIRS}}", environ: []string{"THEIRS=redis://:p@h"}, want: "redis://:p@h"},
		{text: "cache: {redis: 'redis://h'}", environ: []string{"BEHALF_CACHE_REDIS=redis://other"}, want: "redis://other"},
	} {
		cfg, err := load(t, tt.text, tt.environ...)
		if err != nil || cfg.Cache.Redis.Reveal() != tt.want {
			t.Errorf("%s, %v: %v, want %q", tt.text, tt.environ, err, tt.want)
		}
	}
}

func TestTheMasterKeyIsAFileOrAKeyInAKMS(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		environ    []string
		want       string // file: is relative to the file's folder
	}{
		{"nothing is the default file", "server: {}", nil, "file:behalf.keys.json"},
		{"a file", "keys: {keyset: {file: k.json}}", nil, "file:k.json"},
		{"a URI", "keys: {keyset: 'aws-kms://arn:aws:kms:eu-west-1:123456789012:key/1'}", nil, "aws-kms://arn:aws:kms:eu-west-1:123456789012:key/1"},
		{"a URI in a variable wins over a file", "keys: {keyset: {file: k.json}}", []string{"BEHALF_KEYS_KEYSET=hcvault://v/transit/keys/k"}, "hcvault://v/transit/keys/k"},
		{"a file in a variable wins over a URI", "keys: {keyset: 'gcp-kms://projects/p'}", []string{"BEHALF_KEYS_KEYSET_FILE=/k.json"}, "/k.json"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := load(t, tt.text, tt.environ...)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			if name, ok := strings.CutPrefix(want, "file:"); ok {
				want = filepath.Join(filepath.Dir(cfg.Path), name)
			}
			if got := cfg.Keys.Keyset.Name(); got != want {
				t.Errorf("keyset = %q, want %q", got, want)
			}
		})
	}
}

func TestWhereSpansAreSent(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		environ    []string
		want, err  string
	}{
		{"nowhere", "server: {}", nil, "", ""},
		{"where the file says", "tracing: {otlp: 'https://collector.example.com/base'}", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://other:4318"}, "https://collector.example.com/base", ""},
		{"where OpenTelemetry looks", "server: {}", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318"}, "http://collector:4318", ""},
		{"a variable of ours wins", "tracing: {otlp: 'http://a:1'}", []string{"BEHALF_TRACING_OTLP=http://b:2"}, "http://b:2", ""},
		{"no URL", "server: {}", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318"}, "", "OTEL_EXPORTER_OTLP_ENDPOINT: tracing.otlp must be the URL"},
		{"a password in it", "tracing: {otlp: 'http://u:p@a:1'}", nil, "", "behalf.yaml:1:17: tracing.otlp must be the URL"},
		{"a key in it", "tracing: {otlp: 'http://a:1?key=x'}", nil, "", "behalf.yaml:1:17: tracing.otlp must be the URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := load(t, tt.text, tt.environ...)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("Load = %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || cfg.Tracing.OTLP != tt.want {
				t.Errorf("otlp = %q, %v, want %q", cfg.Tracing.OTLP, err, tt.want)
			}
		})
	}
}

func TestEveryMistakeHasItsPlace(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		environ    []string
		want       []string
	}{
		{"where pre-aggregations are", "objects: {url: 'ftp://h/a'}\n", nil, []string{
			`behalf.yaml:1:16: objects.url: it is file:<folder>, s3://<bucket>, gs://<bucket> or azblob://<container>`,
		}},
		{"credentials in a URL", "objects: {url: 's3://key:canary@b?region=r'}\n", nil, []string{
			`behalf.yaml:1:16: objects.url: it holds no password: credentials come from the environment, as the cloud's own tools take them`,
		}},
		{"a cache that is the store, and too small", "objects:\n  url: file:a\n  cache: a\n  cache_max_bytes: 1MiB\n", nil, []string{
			`behalf.yaml:3:10: objects.cache is a folder on a disk of this machine, and another than that of objects.url`,
			`behalf.yaml:4:20: objects.cache_max_bytes must be as much as preaggs.max_user_bytes or more`,
		}},
		{"unknown keys name the nearest, all at once", "server:\n  listn: 127.0.0.1:1\n  grace: soon\noauth_apps:\n  - {name: x, clientid: y}\n", nil, []string{
			`behalf.yaml:2:3: unknown key "listn" in server; did you mean "listen"?`,
			`behalf.yaml:3:10: server.grace: "soon" is not a duration; write it like 30s, 10m or 168h`,
			`behalf.yaml:5:5: oauth_apps[0] has no "client_id"`,
			`behalf.yaml:5:15: unknown key "clientid" in oauth_apps[0]; did you mean "client_id"?`,
		}},
		{"bad YAML", "server: {listen: [\n", nil, []string{`behalf.yaml:1:18: `}},
		{"a variable that is not set", "auth: {api_secret: {env: NOPE}}", nil, []string{`behalf.yaml:1:26: auth.api_secret: the environment variable NOPE is not set`}},
		{"a file that is not there", "auth: {api_secret: {file: nope}}", nil, []string{`behalf.yaml:1:27: auth.api_secret: cannot read the file `}},
		{"a secret of a third kind", "auth: {api_secret: {vault: x}}", nil, []string{`behalf.yaml:1:21: auth.api_secret: a secret is a text, {env: NAME} or {file: PATH}; "vault" is none of them`}},
		{"a list where a value belongs", "server: {listen: [a]}", nil, []string{`behalf.yaml:1:18: server.listen must be a text, not a list or a mapping`}},
		{"a part that is still to come", "server: {sso_listen: \"127.0.0.1:1\"}", nil, []string{`behalf.yaml:1:22: server.sso_listen needs forward auth, which this version does not have yet; leave it out`}},
		{"a cache that is no Redis", "cache:\n  redis: http://u:canary@h", nil, []string{`behalf.yaml:2:10: cache.redis is redis://[user:password@]host[:port][/database], the same with rediss:// for TLS, or unix:///path[?db=database]`}},
		{"a Redis without a host", "cache: {redis: \"redis:///1\"}", nil, []string{`behalf.yaml:1:16: cache.redis is redis://`}},
		{"a Redis with a name for a database", "cache: {redis: \"rediss://h/canary\"}", nil, []string{`behalf.yaml:1:16: cache.redis is redis://`}},
		{"a Redis that is not verified", "cache: {redis: \"rediss://h?skip_verify=true\"}", nil, []string{`behalf.yaml:1:16: cache.redis is redis://`}},
		{"a Redis in a relative socket", "cache: {redis: \"unix://s\"}", nil, []string{`behalf.yaml:1:16: cache.redis is redis://`}},
		{"a wrong Redis in a variable", "", []string{"BEHALF_CACHE_REDIS=canary"}, []string{`BEHALF_CACHE_REDIS: cache.redis is redis://`}},
		{"plain http that is not loopback", "server: {public_url: http://data.example.com}", nil, []string{`behalf.yaml:1:22: server.public_url must be https: plain http is for loopback only`}},
		{"a fallback that is not written", "oauth_apps: [{name: a, client_id: b}]\ndata_sources:\n- name: default\n  type: postgres\n  oauth_app: a\n  service_account: {user: u, password: p}\n", nil,
			[]string{`behalf.yaml:3:3: data source "default" has both an OAuth app and a service account: say what people without a usable grant get, fallback: deny or fallback: service_account`}},
		{"a cache scope that is none", "data_sources:\n- name: default\n  type: postgres\n  cache_scope: roles\n", nil,
			[]string{`behalf.yaml:2:3: data source "default": cache_scope "roles" is neither user nor role`}},
		{"an app that does not exist", "oauth_apps: [{name: lake, client_id: b}]\ndata_sources: [{name: default, type: postgres, oauth_app: lakee}]\n", nil,
			[]string{`behalf.yaml:2:16: data source "default": the OAuth app "lakee" does not exist; did you mean "lake"?`}},
		{"a plain password", "users: [{username: a, password: hunter2}]", nil, []string{`behalf.yaml:1:9: user "a": a password in the file must be an argon2id hash`}},
		{"twice the same name", "users: [{username: a}, {username: A}]", nil, []string{`behalf.yaml:1:24: the user "a" is declared twice`}},
		{"trusting everybody", "server: {trusted_proxies: [0.0.0.0/0]}", nil, []string{`behalf.yaml:1:27: server.trusted_proxies: "0.0.0.0/0" trusts everybody`}},
		{"one orchestrator for all", "orchestrator: {id: CUBE_APP}", nil, []string{`behalf.yaml:1:20: orchestrator.id must contain {username}`}},
		{"a result larger than its share", "orchestrator: {max_result_bytes: 200MiB}", nil, []string{`behalf.yaml:1:34: orchestrator.max_result_bytes must be at least 1MiB and at most half of max_held_bytes, which is 256MiB`}},
		{"a variable with a typo", "", []string{"BEHALF_SERVER_LISTN=x"}, []string{`BEHALF_SERVER_LISTN: no setting has this name; did you mean "BEHALF_SERVER_LISTEN"?`}},
		{"a variable and its file", "", []string{"BEHALF_AUTH_API_SECRET=x", "BEHALF_AUTH_API_SECRET_FILE=y"}, []string{`BEHALF_AUTH_API_SECRET: both BEHALF_AUTH_API_SECRET and BEHALF_AUTH_API_SECRET_FILE are set; unset one of them`}},
		{"a bad variable", "", []string{"BEHALF_SERVER_GRACE=x"}, []string{`BEHALF_SERVER_GRACE: "x" is not a duration`}},
		{"sources in file and environment", "data_sources: [{name: default, type: duckdb}]", []string{"CUBEJS_DB_TYPE=postgres", "CUBEJS_DB_HOST=x"}, []string{
			`CUBEJS_DB_HOST: `, `CUBEJS_DB_TYPE: `}},
		{"an unknown database", "", []string{"CUBEJS_DB_TYPE=databricks"}, []string{`CUBEJS_DB_TYPE: "databricks" is not supported; it is one of databricks-jdbc, duckdb, mysql, postgres, snowflake`}},
		{"a JDBC URL without a path", "", []string{"CUBEJS_DB_TYPE=databricks-jdbc", "CUBEJS_DB_DATABRICKS_URL=jdbc:databricks://h:443/default;ssl=1"}, []string{`CUBEJS_DB_DATABRICKS_URL: the JDBC URL has no httpPath=`}},
		{"a token in a JDBC URL", "", []string{"CUBEJS_DB_TYPE=databricks-jdbc", "CUBEJS_DB_DATABRICKS_URL=jdbc:databricks://h;httpPath=/x;PWD=canary"}, []string{`CUBEJS_DB_DATABRICKS_URL: a password in a URL ends up in logs`}},
		{"a key in no KMS", "keys:\n  keyset: azure-kms://x\n", nil, []string{`behalf.yaml:2:11: keys.keyset: "azure-kms://x" is neither {file: PATH} nor a key in a KMS: aws-kms://arn:`}},
		{"a path where a mapping belongs", "keys: {keyset: keys.json}", nil, []string{`behalf.yaml:1:16: keys.keyset: "keys.json" is neither {file: PATH} nor a key in a KMS`}},
		{"a master key without a name", "keys: {keyset: {file: ''}}", nil, []string{`behalf.yaml:1:23: keys.keyset.file is empty`}},
		{"a scheme and no key", "", []string{"BEHALF_KEYS_KEYSET=hcvault://"}, []string{`BEHALF_KEYS_KEYSET: keys.keyset: "hcvault://" is neither`}},
		{"two master keys", "", []string{"BEHALF_KEYS_KEYSET=hcvault://v/transit/keys/k", "BEHALF_KEYS_KEYSET_FILE=k.json"}, []string{`BEHALF_KEYS_KEYSET: both BEHALF_KEYS_KEYSET and BEHALF_KEYS_KEYSET_FILE are set`}},
		{"an alias of itself", "server: &a {listen: *a}", nil, []string{`behalf.yaml:1:`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, tt.text, tt.environ...)
			if err == nil {
				t.Fatal("Load took it")
			}
			got := strings.Split(err.Error(), "\n")
			for i, want := range tt.want {
				if i >= len(got) || !strings.HasPrefix(got[i], want) {
					t.Fatalf("got:\n%s\nwant line %d to start with:\n%s", err, i+1, want)
				}
			}
			if len(tt.want) > 1 && len(got) != len(tt.want) {
				t.Errorf("got %d errors, want %d:\n%v", len(got), len(tt.want), err)
			}
			if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

// The environment of seed 001, to the letter.
func TestTheEnvironmentOfCube(t *testing.T) {
	cfg, err := load(t, "",
		"CUBEJS_API_SECRET=s",
		"CUBEJS_DB_TYPE=databricks-jdbc",
		"CUBEJS_DB_DATABRICKS_URL=jdbc:databricks://dbc-XXXXXXX-XXXX.cloud.databricks.com:443/default;transportMode=http;ssl=1;httpPath=sql/protocolv1/o/XXXXX/XXXXX;AuthMech=3;UID=token",
		"CUBEJS_DB_DATABRICKS_TOKEN=dapi_service_account_token",
		"CUBEJS_DB_DATABRICKS_ACCEPT_POLICY=true",
		"CUBEJS_DB_DATABRICKS_CATALOG=my_catalog",
		"CUBEJS_TELEMETRY=false", "CUBEJS_WEB_SOCKETS=false", "CUBEJS_ROLLUP_ONLY=true", "HOME=/root",
	)
	if err != nil {
		t.Fatal(err)
	}
	src := cfg.DataSources[0]
	wantOptions := map[string]string{
		"host": "dbc-XXXXXXX-XXXX.cloud.databricks.com", "http_path": "/sql/protocolv1/o/XXXXX/XXXXX",
		"catalog": "my_catalog", "schema": "default",
	}
	if diff := cmp.Diff(wantOptions, src.Options); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	if src.Type != "databricks" || src.CredentialsKey != "databricks" || src.Fallback != "service_account" || src.ServiceAccount.Token.Reveal() != "dapi_service_account_token" {
		t.Errorf("source = %+v", src)
	}
	if diff := cmp.Diff([]string{"CUBEJS_TELEMETRY"}, cfg.Unused); diff != "" {
		t.Errorf("unused (-want +got):\n%s", diff)
	}
	if cfg.API.WebSockets {
		t.Error("CUBEJS_WEB_SOCKETS=false was not read")
	}
	if !cfg.Preaggs.RollupOnly {
		t.Error("CUBEJS_ROLLUP_ONLY=true was not read")
	}
	if len(cfg.Warnings) != 2 || !strings.Contains(cfg.Warnings[0], "service account") || !strings.Contains(cfg.Warnings[1], "auth.api_secret") {
		t.Errorf("warnings = %q, want one about the fallback and one about the short secret", cfg.Warnings)
	}
}

// The first that is there of the JWT key, unless it is a public one, the list of secrets and the secret verifies tokens,
// as cube-rest-api.md §2.2 says.
func TestWhichSecretsVerifyTokens(t *testing.T) {
	const public = "-----BEGIN PUBLIC KEY-----\\nx\\n-----END PUBLIC KEY-----"
	for _, tt := range []struct {
		name, yaml string
		environ    []string
		want       []string
		key        bool
	}{
		{"one secret", "", []string{"CUBEJS_API_SECRET=a"}, []string{"a"}, false},
		{"a list", "", []string{"CUBEJS_API_SECRET=a", "CUBEJS_API_SECRETS=b, c,,"}, []string{"b", "c"}, false},
		{"a key of JWTs", "", []string{"CUBEJS_API_SECRET=a", "CUBEJS_API_SECRETS=b", "CUBEJS_JWT_KEY=k"}, []string{"k"}, false},
		{"a public key", "", []string{"CUBEJS_API_SECRET=a", "CUBEJS_JWT_KEY=" + public}, []string{"a"}, true},
		{"a list in the file", "auth:\n  api_secrets: [new, {env: OLD}]\n", []string{"OLD=old"}, []string{"new", "old"}, false},
		{"nothing", "", nil, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := load(t, tt.yaml, tt.environ...)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range cfg.Auth.APISecrets {
				got = append(got, s.Reveal())
			}
			if !slices.Equal(got, tt.want) || cfg.Auth.JWT.Key.Empty() == tt.key || len(tt.want) > 0 && cfg.Auth.APISecret.Reveal() != tt.want[0] {
				t.Errorf("secrets %q, the first %q, a public key: %v", got, cfg.Auth.APISecret.Reveal(), !cfg.Auth.JWT.Key.Empty())
			}
			if tt.key && !strings.Contains(cfg.Auth.JWT.Key.Reveal(), "\nx\n") {
				t.Errorf("the key %q has no line breaks", cfg.Auth.JWT.Key.Reveal())
			}
		})
	}
	for _, url := range []string{"http://idp.example.com/jwks", "idp.example.com", "ftp://localhost/x"} {
		if _, err := load(t, "auth:\n  jwt: {jwk_url: \""+url+"\"}\n"); err == nil || !strings.Contains(err.Error(), "auth.jwt.jwk_url must be an https URL") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestMasks(t *testing.T) {
	for _, tt := range []struct {
		yaml    string
		environ []string
	}{
		{"api: {masks: {string: x, number: -1, boolean: false, time: 2000-01-01}}\n", nil},
		{"", []string{"CUBEJS_ACCESS_POLICY_MASK_STRING=x", "CUBEJS_ACCESS_POLICY_MASK_NUMBER=-1", "CUBEJS_ACCESS_POLICY_MASK_BOOLEAN=false", "CUBEJS_ACCESS_POLICY_MASK_TIME=2000-01-01"}},
	} {
		cfg, err := load(t, tt.yaml, tt.environ...)
		if err != nil {
			t.Fatal(err)
		}
		if m := cfg.API.Masks; *m.String != "x" || *m.Number != "-1" || *m.Boolean || *m.Time != "2000-01-01" {
			t.Errorf("masks = %+v", m)
		}
	}
	if cfg, err := load(t, ""); err != nil || cfg.API.Masks != (Masks{}) {
		t.Errorf("masks that nobody gave: %+v, %v", cfg.API.Masks, err)
	}
}

func TestAShortAPISecretIsWarnedOf(t *testing.T) {
	for secret, want := range map[string]int{"": 0, "secret": 1, strings.Repeat("x", 31): 1, strings.Repeat("x", 32): 0} {
		cfg, err := Load(Options{Environ: []string{"CUBEJS_API_SECRET=" + secret}})
		if err != nil || len(cfg.Warnings) != want {
			t.Errorf("a secret of %d bytes: warnings %q, %v; want %d", len(secret), cfg.Warnings, err, want)
		}
	}
}

func TestCubeSourcesOfSeveralNames(t *testing.T) {
	cfg, err := load(t, "",
		"CUBEJS_DATASOURCES=default, sales",
		"CUBEJS_DB_TYPE=postgres", "CUBEJS_DB_HOST=db", "CUBEJS_DB_NAME=app", "CUBEJS_DB_USER=u", "CUBEJS_DB_PASS=p", "CUBEJS_DB_MAX_POOL=4",
		"CUBEJS_DS_SALES_DB_TYPE=snowflake", "CUBEJS_DS_SALES_DB_SNOWFLAKE_ACCOUNT=acc", "CUBEJS_DS_SALES_DB_SNOWFLAKE_REGION=eu-west-1",
		"CUBEJS_DS_SALES_DB_QUERY_TIMEOUT=90",
	)
	if err != nil {
		t.Fatal(err)
	}
	pg, sf := cfg.DataSources[0], cfg.DataSources[1]
	if pg.Options["database"] != "app" || pg.ServiceAccount.User != "u" || pg.Limits.PerUserConnections != 4 {
		t.Errorf("postgres = %+v", pg)
	}
	if sf.Name != "sales" || sf.Options["account"] != "acc.eu-west-1" || sf.Limits.QueryTimeout != 90*time.Second {
		t.Errorf("snowflake = %+v", sf)
	}
	if sf.ServiceAccount != nil || sf.Fallback != "deny" {
		t.Errorf("a source without a credential of its own falls back: %+v", sf)
	}
}

func TestCubeSourceOfMySQL(t *testing.T) {
	for ssl, want := range map[string]string{"": "", "CUBEJS_DB_SSL=true": "require", "CUBEJS_DB_SSL=false": "disable"} {
		cfg, err := load(t, "", "CUBEJS_DB_TYPE=mysql", "CUBEJS_DB_HOST=db", "CUBEJS_DB_PORT=3307", "CUBEJS_DB_NAME=shop", "CUBEJS_DB_USER=u", "CUBEJS_DB_PASS=p", ssl)
		if err != nil {
			t.Fatal(err)
		}
		src := cfg.DataSources[0]
		if o := src.Options; src.Type != "mysql" || o["host"] != "db" || o["port"] != "3307" || o["database"] != "shop" || o["sslmode"] != want {
			t.Errorf("%q: %s with %v, want sslmode %q", ssl, src.Type, o, want)
		}
		if src.ServiceAccount.User != "u" || src.ServiceAccount.Password.Reveal() != "p" {
			t.Errorf("service account = %+v", src.ServiceAccount)
		}
	}
}

func TestDefaultsAloneAreValid(t *testing.T) {
	cfg, err := load(t, "")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Server.PublicURL != "http://localhost:4000" || len(cfg.DataSources) != 0 {
		t.Errorf("config = %+v", cfg.Server)
	}
}

func FuzzDocument(f *testing.F) {
	f.Add(whole)
	f.Add("a: &x [*x]")
	f.Add("users: [{username: [}]")
	f.Add("? {a: b}\n: c")
	f.Add("auth: {api_secret: {env: }}")
	f.Fuzz(func(t *testing.T, text string) {
		cfg := Default()
		d := newDecoder("f.yaml", t.TempDir(), func(string) (string, bool) { return "", false })
		d.document([]byte(text), &cfg)
		for _, p := range d.problems() {
			if p.Message == "" || !strings.HasPrefix(p.Place, "f.yaml:") {
				t.Errorf("problem without a place: %+v", p)
			}
		}
	})
}

func TestNotifications(t *testing.T) {
	const file = "notifications:\n  webhooks:\n    - {url: https://hooks.example.com, secret: {env: HOOK}, events: [connection.revoked]}\n" +
		"  warn_before: 48h\n  dormant_after: 0s\nauth: {magic_link: {smtp: {host: mail.example.com, from: b@example.com, username: u, password: {env: HOOK}}}}\n"
	cfg, err := load(t, file, "HOOK=whsec_x")
	if err != nil {
		t.Fatal(err)
	}
	n, smtp := cfg.Notifications, cfg.Auth.MagicLink.SMTP
	if len(n.Webhooks) != 1 || n.Webhooks[0].Secret.Reveal() != "whsec_x" || n.Webhooks[0].At.Line != 3 || n.WarnBefore != 48*time.Hour || n.DormantAfter != 0 || !n.Email.Enabled {
		t.Errorf("notifications = %+v", n)
	}
	if smtp.Port != 587 || smtp.Password.Reveal() != "whsec_x" {
		t.Errorf("smtp = %+v", smtp)
	}
	for _, tt := range []struct{ file, want string }{
		{"notifications: {dormant_after: 24h}", "longer than warn_before"},
		{"notifications: {warn_before: 0s}", "above 0"},
		{"notifications: {webhooks: [{url: https://x.example}]}", "secret"},
		{"auth: {magic_link: {smtp: {host: m.example}}}", "from is missing"},
		{"auth: {magic_link: {smtp: {port: 0}}}", "port from 1"},
	} {
		if _, err := load(t, tt.file); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.file, err, tt.want)
		}
	}
}

func TestAFileMayUseOneOfCubesVariables(t *testing.T) {
	const file = "data_sources:\n  - name: default\n    type: databricks\n" +
		"    options: {host: dbc-x.cloud.databricks.com, http_path: /sql/1.0/warehouses/abc}\n" +
		"    service_account: {token: {env: CUBEJS_DB_DATABRICKS_TOKEN}}\n    fallback: deny\n"
	cfg, err := load(t, file, "CUBEJS_DB_DATABRICKS_TOKEN=dapi_service_account_token")
	if err != nil {
		t.Fatal(err)
	}
	if src := cfg.DataSources[0]; len(cfg.DataSources) != 1 || src.Fallback != "deny" || src.ServiceAccount.Token.Reveal() != "dapi_service_account_token" {
		t.Errorf("sources = %+v", cfg.DataSources)
	}
	if len(cfg.Warnings) != 0 || len(cfg.Unused) != 0 {
		t.Errorf("warnings = %q, unused = %q, want none", cfg.Warnings, cfg.Unused)
	}
}

func TestVariablesOfADotenvFile(t *testing.T) {
	for text, want := range map[string]string{
		"A=b": "b", "A = b ": "b", "export A=b": "b", "  A=b\r\n": "b", "A: b": "b", "A=": "", "A=b # c": "b", "A=b#c": "b", "#A=x\nA=b": "b",
		`A="b # c"`: "b # c", `A='b\n"c"'`: `b\n"c"`, `A="b\nc"`: "b\nc", "A=\"b\nc\"": "b\nc", "A=`b'\"`": `b'"`, `A="b" # c`: "b", "A=b=c==": "b=c==",
		"A=a\nA=b": "b", "A=b\nnonsense": "b", "not a line\nA=b": "b", "A='": "'",
	} {
		if got := parseDotenv(text)["A"]; got != want {
			t.Errorf("%q: A = %q, want %q", text, got, want)
		}
	}
	if got := parseDotenv("A=\nB=b\n"); got["A"] != "" || got["B"] != "b" {
		t.Errorf("an empty value takes the next line: %q", got)
	}
}

func TestADotenvFileIsReadUnderTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".env"), []byte("CUBEJS_API_SECRET=of-the-file-0123456789abcdef0123456789\nBEHALF_SERVER_LISTEN=127.0.0.1:4100\nTENANT=t\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := Load(Options{Dir: dir, Environ: []string{"BEHALF_SERVER_LISTEN=127.0.0.1:4200", "OTHER=o"}})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Auth.APISecret.Reveal() != "of-the-file-0123456789abcdef0123456789" || cfg.Server.Listen != "127.0.0.1:4200" {
		t.Errorf("listen on %s", cfg.Server.Listen)
	}
	if h := cfg.Hooks; len(h.Variables.Granted) != 0 || !slices.Contains(h.Variables.Withheld, "TENANT") || !slices.Contains(h.Variables.Withheld, "OTHER") {
		t.Errorf("hooks: %+v", h)
	}
}

func TestWhatHooksMayDo(t *testing.T) {
	cfg, err := load(t, "hooks: {timeout: 2s, allow_hosts: [idp.example.com, \"127.0.0.1:8080\"], env: [TENANT, UNSET]}", "TENANT=t", "SECRET=s")
	if err != nil {
		t.Fatal(err)
	}
	if v := cfg.Hooks.Variables; fmt.Sprint(v.Granted, v.Unset) != "map[TENANT:t] [UNSET]" || !slices.Contains(v.Withheld, "SECRET") || slices.Contains(v.Withheld, "TENANT") {
		t.Errorf("hooks: %+v", v)
	}
	for text, want := range map[string]string{
		"hooks: {timeout: 1ms}": "between", "hooks: {timeout: 2h}": "between", "hooks: {allow_hosts: [\"https://idp.example.com\"]}": "no host", "hooks: {allow_hosts: [\"*\"]}": "no host",
	} {
		if _, err := load(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// A name with a star grants no secret of the server: those are granted by their full names.
func TestWhichVariablesAListGrants(t *testing.T) {
	environ := []string{"MODEL_A=1", "MODEL_B=2", "MODEL_SECRET=of-the-server-0123456789abcdef01234567", "MODELS=3", "CUBEJS_DB_TYPE=duckdb", "CUBEJS_DB_NAME=n", "BEHALF_CLI_TOKEN=t", "AWS_SECRET_ACCESS_KEY=k", "OTHER=o"}
	cfg, err := load(t, "auth: {api_secret: {env: MODEL_SECRET}}\nmodels: {env: [MODEL_*, CUBEJS_DB_NAME, UNSET]}\nhooks: {env: [MODEL_SECRET, M_*]}", environ...)
	if err != nil {
		t.Fatal(err)
	}
	if v := cfg.Models.Variables; fmt.Sprint(v.Granted) != "map[CUBEJS_DB_NAME:n MODEL_A:1 MODEL_B:2]" || fmt.Sprint(v.Unset) != "[UNSET]" ||
		!slices.Contains(v.Withheld, "MODEL_SECRET") || !slices.Contains(v.Withheld, "AWS_SECRET_ACCESS_KEY") || !slices.Contains(v.Withheld, "MODELS") {
		t.Errorf("models: %+v", v)
	}
	if v := cfg.Hooks.Variables; fmt.Sprint(v.Granted) != "map[MODEL_SECRET:of-the-server-0123456789abcdef01234567]" || !slices.Contains(v.Withheld, "MODEL_A") {
		t.Errorf("hooks: %+v", v)
	}
	for _, name := range []string{"'*'", "'_*'", "'MODEL*'", "'MODEL_*_X'", "'*_SECRET'", "'BEHALF_*'", "'CUBEJS_DB_*'", "'AWS_*'", "''"} {
		for _, list := range []string{"models", "hooks"} {
			if _, err := load(t, list+": {env: ["+name+"]}", environ...); err == nil || !strings.Contains(err.Error(), list+".env: ") {
				t.Errorf("%s.env: [%s] = %v, want a refusal", list, name, err)
			}
		}
	}
	for _, n := range []string{"0", "257"} {
		if _, err := load(t, "models: {max_variants: "+n+"}"); err == nil || !strings.Contains(err.Error(), "between 1 and 256") {
			t.Errorf("models.max_variants: %s = %v", n, err)
		}
	}
}

func FuzzDotenv(f *testing.F) {
	for _, s := range []string{"A=b # c\nexport B='c\nd'\n", "A=`\nB=\"\\n\"", "A:\tb\r\n", "=\n'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name := range parseDotenv(text) {
			if name == "" || strings.ContainsAny(name, " \n=#'\"") {
				t.Errorf("%q: a variable %q", text, name)
			}
		}
	})
}

package config

import (
	"fmt"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/spelling"
)

// cubeRead are the CUBEJS_* variables that are read once, for the whole server.
var cubeRead = []string{
	"CUBEJS_API_SECRET", "CUBEJS_DEV_MODE", "CUBEJS_SCHEMA_PATH", "CUBEJS_DATASOURCES", "CUBEJS_CONCURRENCY",
	"CUBEJS_JWK_URL", "CUBEJS_JWT_KEY", "CUBEJS_JWT_ALGS", "CUBEJS_JWT_AUDIENCE", "CUBEJS_JWT_ISSUER",
	"CUBEJS_JWT_CLAIMS_NAMESPACE", "CUBEJS_JWT_SUBJECT", "CUBEJS_API_SECRETS",
	"CUBEJS_ACCESS_POLICY_MASK_STRING", "CUBEJS_ACCESS_POLICY_MASK_NUMBER", "CUBEJS_ACCESS_POLICY_MASK_BOOLEAN", "CUBEJS_ACCESS_POLICY_MASK_TIME",
	"CUBEJS_DEFAULT_API_SCOPES", "CUBEJS_DEFAULT_TIMEZONE", "CUBEJS_DB_QUERY_LIMIT", "CUBEJS_DB_QUERY_DEFAULT_LIMIT",
	"CUBEJS_WEB_SOCKETS", "CUBEJS_ROLLUP_ONLY", "CUBEJS_PRE_AGGREGATIONS_SCHEMA",
}

// cubeSource are the endings of the variables of one data source: CUBEJS_DB_… for the default one, CUBEJS_DS_<NAME>_DB_…
// for the others of CUBEJS_DATASOURCES (orchestrator.md §11).
var cubeSource = []string{
	"TYPE", "URL", "HOST", "PORT", "NAME", "USER", "PASS", "SCHEMA", "SSL", "MAX_POOL", "QUERY_TIMEOUT",
	"DATABRICKS_URL", "DATABRICKS_TOKEN", "DATABRICKS_CATALOG", "DATABRICKS_ACCEPT_POLICY",
	"DATABRICKS_OAUTH_CLIENT_ID", "DATABRICKS_OAUTH_CLIENT_SECRET",
	"SNOWFLAKE_ACCOUNT", "SNOWFLAKE_REGION", "SNOWFLAKE_HOST", "SNOWFLAKE_WAREHOUSE", "SNOWFLAKE_ROLE",
	"SNOWFLAKE_OAUTH_TOKEN", "SNOWFLAKE_PRIVATE_KEY", "SNOWFLAKE_AUTHENTICATOR", "SNOWFLAKE_CLIENT_SESSION_KEEP_ALIVE",
	"DUCKDB_DATABASE_PATH",
}

// cubeTypes are the values of CUBEJS_DB_TYPE, and which type of data source each is here.
var cubeTypes = map[string]string{
	"databricks-jdbc": "databricks", "snowflake": "snowflake", "postgres": "postgres", "mysql": "mysql", "duckdb": "duckdb",
}

// sourcePrefix returns the prefix of the variables of the named data source.
func sourcePrefix(name string) string {
	if name == "default" {
		return "CUBEJS_DB_"
	}
	return "CUBEJS_DS_" + strings.ToUpper(name) + "_DB_"
}

// sourceNames returns the data sources that the environment speaks of.
func sourceNames(env map[string]string) []string {
	var names []string
	for name := range strings.SplitSeq(env["CUBEJS_DATASOURCES"], ",") {
		if name = strings.TrimSpace(name); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return []string{"default"}
	}
	return names
}

// cubeSourceVariables returns the variables of data sources that are set, sorted.
func cubeSourceVariables(env map[string]string) []string {
	var out []string
	for _, source := range sourceNames(env) {
		for _, ending := range cubeSource {
			if name := sourcePrefix(source) + ending; env[name] != "" {
				out = append(out, name)
			}
		}
	}
	sort.Strings(out)
	return out
}

// cubeVariables reads what Cube would read from its environment.
func (l *loader) cubeVariables() {
	env := l.env
	l.cfg.Auth.APISecret = secret.New(env["CUBEJS_API_SECRET"])
	if path := env["CUBEJS_SCHEMA_PATH"]; path != "" {
		l.cfg.Models.Path = path
	}
	if v := env["CUBEJS_DEV_MODE"]; v != "" {
		l.cfg.Server.DevMode = v == "true" || v == "1"
	}
	if port := env["PORT"]; port != "" {
		l.cfg.Server.Listen = "127.0.0.1:" + port
	}
	if schema := env["CUBEJS_PRE_AGGREGATIONS_SCHEMA"]; schema != "" {
		l.cfg.Preaggs.Schema = schema
	}
	api := &l.cfg.API
	api.Scopes = list(env["CUBEJS_DEFAULT_API_SCOPES"])
	if zone := env["CUBEJS_DEFAULT_TIMEZONE"]; zone != "" {
		api.DefaultTimezone = zone
	}
	for name, to := range map[string]*bool{"CUBEJS_WEB_SOCKETS": &api.WebSockets, "CUBEJS_ROLLUP_ONLY": &l.cfg.Preaggs.RollupOnly} {
		if v := env[name]; v != "" {
			on, err := strconv.ParseBool(v)
			if err != nil {
				l.fail(name, "%q is neither true nor false", v)
			}
			*to = on
		}
	}
	for name, to := range map[string]*int{"CUBEJS_DB_QUERY_LIMIT": &api.MaxLimit, "CUBEJS_DB_QUERY_DEFAULT_LIMIT": &api.DefaultLimit} {
		if v := env[name]; v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 {
				l.fail(name, "%q is not a number of rows of 1 or more", v)
				continue
			}
			*to = n
		}
	}
	l.cubeMasks()
	jwt := &l.cfg.Auth.JWT
	jwt.JWKURL, jwt.Issuer, jwt.Audience = env["CUBEJS_JWK_URL"], env["CUBEJS_JWT_ISSUER"], env["CUBEJS_JWT_AUDIENCE"]
	jwt.ClaimsNamespace = env["CUBEJS_JWT_CLAIMS_NAMESPACE"]
	jwt.Algorithms = list(env["CUBEJS_JWT_ALGS"])
	jwt.Subject = env["CUBEJS_JWT_SUBJECT"]
	jwt.Key = secret.New(strings.ReplaceAll(env["CUBEJS_JWT_KEY"], `\n`, "\n")) // PEM in one line
	for _, s := range list(env["CUBEJS_API_SECRETS"]) {
		l.cfg.Auth.APISecrets = append(l.cfg.Auth.APISecrets, secret.New(s))
	}
}

// cubeMasks reads what masked members show (cube-data-model.md §16.4).
func (l *loader) cubeMasks() {
	masks := &l.cfg.API.Masks
	const prefix = "CUBEJS_ACCESS_POLICY_MASK_"
	text := func(name string, to **string) {
		if v, ok := l.env[prefix+name]; ok {
			*to = &v
		}
	}
	text("STRING", &masks.String)
	text("TIME", &masks.Time)
	text("NUMBER", &masks.Number)
	if v := l.env[prefix+"BOOLEAN"]; v != "" {
		b, err := strconv.ParseBool(v)
		if err != nil {
			l.fail(prefix+"BOOLEAN", "%q is neither true nor false", v)
		}
		masks.Boolean = &b
	}
}

// list reads a comma list.
func list(text string) []string {
	var out []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// cubeSources makes the data sources of CUBEJS_DB_* variables, unless the file declares data sources: then such a
// variable is there for the file to use, or a mistake.
func (l *loader) cubeSources() {
	declared := false
	if l.doc != nil {
		_, declared = l.doc.set["data_sources"]
	}
	if !declared {
		for _, name := range sourceNames(l.env) {
			l.cubeSource(name)
		}
		return
	}
	for _, name := range cubeSourceVariables(l.env) {
		if !l.doc.envUsed[name] {
			l.fail(name, "%s declares data_sources, so this variable has no effect; remove it, or use it there as {env: %s}", l.cfg.Path, name)
		}
	}
}

// cubeSource makes a data source of its CUBEJS_DB_* variables. Cube documents that queries of people without a token
// run as the service account, so that is the fallback, and a warning says so.
func (l *loader) cubeSource(name string) {
	prefix := sourcePrefix(name)
	get := func(ending string) string { return l.env[prefix+ending] }
	cubeType := get("TYPE")
	if cubeType == "" {
		for _, ending := range cubeSource {
			if get(ending) != "" && ending != "TYPE" {
				l.fail(prefix+ending, "%sTYPE is not set; set it to one of %s", prefix, strings.Join(sortedKeys(cubeTypes), ", "))
				return
			}
		}
		return
	}
	kind, ok := cubeTypes[cubeType]
	if !ok {
		l.fail(prefix+"TYPE", "%q is not supported%s; it is one of %s", cubeType,
			spelling.DidYouMean(cubeType, sortedKeys(cubeTypes)), strings.Join(sortedKeys(cubeTypes), ", "))
		return
	}
	src := DataSource{
		Name: name, Type: kind, Options: map[string]string{}, CredentialsKey: kind,
		Fallback: "service_account", ServiceAccount: &ServiceAccount{},
	}
	option := func(key, ending string) {
		if v := get(ending); v != "" {
			src.Options[key] = v
		}
	}
	switch kind {
	case "databricks":
		l.databricksURL(prefix, get("DATABRICKS_URL"), &src)
		option("catalog", "DATABRICKS_CATALOG")
		src.ServiceAccount.Token = secret.New(get("DATABRICKS_TOKEN"))
		if src.ServiceAccount.Token.Empty() && get("DATABRICKS_OAUTH_CLIENT_ID") != "" {
			src.ServiceAccount.OAuth = &ClientCredentials{
				TokenURL: "https://" + src.Options["host"] + "/oidc/v1/token", Scopes: []string{"all-apis"},
				ClientID: get("DATABRICKS_OAUTH_CLIENT_ID"), ClientSecret: secret.New(get("DATABRICKS_OAUTH_CLIENT_SECRET")),
			}
		}
	case "snowflake":
		option("account", "SNOWFLAKE_ACCOUNT")
		option("host", "SNOWFLAKE_HOST")
		option("warehouse", "SNOWFLAKE_WAREHOUSE")
		option("role", "SNOWFLAKE_ROLE")
		option("database", "NAME")
		option("schema", "SCHEMA")
		if region := get("SNOWFLAKE_REGION"); region != "" && src.Options["account"] != "" {
			src.Options["account"] += "." + region
		}
		src.ServiceAccount.User, src.ServiceAccount.Password = get("USER"), secret.New(get("PASS"))
		src.ServiceAccount.PrivateKey = secret.New(get("SNOWFLAKE_PRIVATE_KEY"))
		if t := get("SNOWFLAKE_OAUTH_TOKEN"); t != "" {
			src.ServiceAccount.Token, src.ServiceAccount.Kind = secret.New(t), "oauth"
		}
	case "postgres", "mysql":
		option("host", "HOST")
		option("port", "PORT")
		option("database", "NAME")
		switch v := get("SSL"); {
		case v == "true":
			src.Options["sslmode"] = "require"
		case v == "false" && kind == "mysql": // whose connections are encrypted unless somebody says so
			src.Options["sslmode"] = "disable"
		}
		src.ServiceAccount.User, src.ServiceAccount.Password = get("USER"), secret.New(get("PASS"))
	case "duckdb":
		option("path", "DUCKDB_DATABASE_PATH")
	}
	l.cubeLimits(prefix, &src)
	if kind != "duckdb" && noCredential(*src.ServiceAccount) {
		src.ServiceAccount, src.Fallback = nil, "deny"
	}
	if src.Fallback == "service_account" {
		l.cfg.Warnings = append(l.cfg.Warnings, fmt.Sprintf(
			"data source %q comes from %s*: people without a usable grant query as its service account, as Cube documents; "+
				"a configuration file with fallback: deny refuses them", name, prefix))
	}
	l.cfg.DataSources = append(l.cfg.DataSources, src)
}

func (l *loader) cubeLimits(prefix string, src *DataSource) {
	number := func(name string, to *int) {
		if v := l.env[name]; v != "" {
			if _, err := fmt.Sscanf(v, "%d", to); err != nil || *to < 1 {
				l.fail(name, "%q is not a number of 1 or more", v)
			}
		}
	}
	number(prefix+"MAX_POOL", &src.Limits.PerUserConnections)
	number("CUBEJS_CONCURRENCY", &src.Limits.Concurrency)
	if v := l.env[prefix+"QUERY_TIMEOUT"]; v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			d, err = time.ParseDuration(v + "s") // a bare number is seconds
		}
		if err != nil || d <= 0 {
			l.fail(prefix+"QUERY_TIMEOUT", "%q is not a duration; write it like 10m", v)
		}
		src.Limits.QueryTimeout = d
	}
}

func noCredential(a ServiceAccount) bool {
	return a.Token.Empty() && a.Password.Empty() && a.PrivateKey.Empty() && a.OAuth == nil
}

// databricksURL reads a JDBC URL: jdbc:databricks://host:443/default;httpPath=…;AuthMech=3;UID=token.
func (l *loader) databricksURL(prefix, jdbc string, src *DataSource) {
	place := prefix + "DATABRICKS_URL"
	rest, ok := strings.CutPrefix(jdbc, "jdbc:databricks://")
	if !ok {
		if rest, ok = strings.CutPrefix(jdbc, "jdbc:spark://"); !ok {
			l.fail(place, "a JDBC URL must start with jdbc:databricks://, such as jdbc:databricks://dbc-….cloud.databricks.com:443/default;httpPath=/sql/1.0/warehouses/…")
			return
		}
	}
	address, params, _ := strings.Cut(rest, ";")
	host, schema, _ := strings.Cut(address, "/")
	if u, err := url.Parse("//" + host); err != nil || u.Hostname() == "" {
		l.fail(place, "the JDBC URL names no host")
		return
	}
	scheme := "https"
	for param := range strings.SplitSeq(params, ";") {
		key, value, _ := strings.Cut(param, "=")
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "":
		case "httppath":
			src.Options["http_path"] = "/" + strings.TrimPrefix(value, "/")
		case "ssl":
			if value == "0" {
				scheme = "http"
			}
		case "transportmode":
			if value != "http" {
				l.fail(place, "transportMode=%s is not supported; only http is", value)
			}
		case "authmech":
			if value != "3" && value != "11" {
				l.fail(place, "AuthMech=%s is not supported; 3 (a token) and 11 (OAuth) are", value)
			}
		case "uid":
			if value != "token" {
				l.fail(place, "UID=%s is not supported; with a token it is UID=token", value)
			}
		case "pwd":
			l.fail(place, "a password in a URL ends up in logs; put the token into %sDATABRICKS_TOKEN", prefix)
		case "conncatalog":
			src.Options["catalog"] = value
		case "connschema":
			src.Options["schema"] = value
		default:
			l.cfg.Warnings = append(l.cfg.Warnings, fmt.Sprintf("%s: the JDBC parameter %q has no effect here", place, key))
		}
	}
	if src.Options["http_path"] == "" {
		l.fail(place, "the JDBC URL has no httpPath=; copy it from the connection details of the warehouse")
	}
	if schema != "" && src.Options["schema"] == "" {
		src.Options["schema"] = schema
	}
	host = strings.TrimSuffix(host, ":443")
	if scheme == "http" {
		host = "http://" + host
	}
	src.Options["host"] = host
}

// unusedCubeVariables lists the CUBEJS_* variables that mean nothing here.
func (l *loader) unusedCubeVariables() {
	known := map[string]bool{}
	for _, name := range cubeRead {
		known[name] = true
	}
	for _, source := range sourceNames(l.env) {
		for _, ending := range cubeSource {
			known[sourcePrefix(source)+ending] = true
		}
	}
	for name := range l.env {
		if strings.HasPrefix(name, "CUBEJS_") && !known[name] {
			l.cfg.Unused = append(l.cfg.Unused, name)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

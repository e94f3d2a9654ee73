package config

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/loopback"
	"github.com/behalf-project/behalf/internal/objectstore/address"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/spelling"
)

// Options say where a configuration comes from.
type Options struct {
	Path    string   // of the YAML file; empty for none
	Environ []string // as os.Environ returns it
	Dir     string   // what relative paths of variables and defaults are relative to; default: the working folder
}

// Load reads the configuration, or returns Errors with everything that is wrong. It opens files and touches nothing
// else.
func Load(o Options) (Config, error) {
	if o.Dir == "" {
		dir, err := os.Getwd()
		if err != nil {
			return Config{}, fmt.Errorf("find the working folder: %w", err)
		}
		o.Dir = dir
	}
	l := &loader{cfg: Default(), env: environment(o.Environ), dir: o.Dir}
	if err := l.dotenv(filepath.Join(o.Dir, ".env")); err != nil {
		return Config{}, err
	}
	l.cubeVariables()
	l.cfg.Tracing.OTLP = l.env[otlpVariable]
	if l.file(o.Path); o.Path != "" && l.doc == nil {
		return Config{}, l.errs // nothing more is known: what else seems wrong may be right in the file
	}
	l.cubeSources()
	l.behalfVariables()
	l.check()
	if len(l.errs) > 0 {
		return Config{}, l.errs
	}
	l.finish()
	l.cfg.Models.Variables = l.variables(l.cfg.Models.Env)
	l.cfg.Hooks.Variables = l.variables(l.cfg.Hooks.Env)
	return l.cfg, nil
}

// loader holds what the steps of Load share.
type loader struct {
	cfg  Config
	env  map[string]string
	dir  string // of variables and defaults
	errs Errors
	doc  *decoder // nil when there is no file
}

func (l *loader) fail(place, format string, args ...any) {
	l.errs = append(l.errs, Problem{place, fmt.Sprintf(format, args...)})
}

// place names where the value with this key path was said: in the file, or in a variable.
func (l *loader) place(path string) string {
	if v := variable(path); l.env[v] != "" {
		return v
	}
	if l.doc != nil {
		if at, ok := l.doc.set[path]; ok {
			return fmt.Sprintf("%s:%d:%d", l.doc.path, at.Line, at.Column)
		}
		return l.doc.path + ":1:1"
	}
	return path
}

// at names a place in the file that a declared object remembers.
func (l *loader) at(p Position) string {
	if l.doc == nil {
		return "the environment"
	}
	return fmt.Sprintf("%s:%d:%d", l.doc.path, max(p.Line, 1), max(p.Column, 1))
}

func environment(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, pair := range environ {
		if k, v, ok := strings.Cut(pair, "="); ok {
			env[k] = v
		}
	}
	return env
}

// file decodes the YAML file over what is there.
func (l *loader) file(path string) {
	if path == "" {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		l.fail(path, "cannot read the configuration: %v", errors.Unwrap(err))
		return
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		l.fail(path, "cannot read the configuration: %v", errors.Unwrap(err))
		return
	}
	if len(text) > maxFile {
		l.fail(path, "the configuration is larger than 4 MiB")
		return
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		l.fail(path, "cannot find its folder: %v", err)
		return
	}
	l.cfg.Path = path
	l.doc = newDecoder(path, dir, func(name string) (string, bool) { v, ok := l.env[name]; return v, ok })
	l.doc.document(text, &l.cfg)
	l.errs = append(l.errs, l.doc.problems()...)
}

func newDecoder(path, dir string, getenv func(string) (string, bool)) *decoder {
	return &decoder{
		path: path, dir: dir, getenv: getenv,
		anchors: collector{}, set: map[string]Position{}, literal: map[string]bool{}, envUsed: map[string]bool{},
	}
}

// variable returns the name of the variable that overrides a key: server.public_url is BEHALF_SERVER_PUBLIC_URL.
func variable(path string) string {
	return "BEHALF_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// behalfVariables lays BEHALF_* and BEHALF_*_FILE over the scalars outside lists.
func (l *loader) behalfVariables() {
	known := map[string]bool{}
	scalars(reflect.ValueOf(&l.cfg).Elem(), "", func(path string, v reflect.Value) {
		name := variable(path)
		known[name], known[name+"_FILE"] = true, true
		text, file := l.env[name], l.env[name+"_FILE"]
		switch {
		case text != "" && file != "":
			l.fail(name, "both %s and %s_FILE are set; unset one of them", name, name)
			return
		case file != "":
			content, err := readSecretFile(absolute(l.dir, file))
			if err != nil {
				l.fail(name+"_FILE", "%v", err)
				return
			}
			text = content.Reveal()
		case text == "":
			return
		}
		if v.Type() == secretType {
			v.Set(reflect.ValueOf(secret.New(text)))
			return
		}
		if err := setScalar(v, text); err != nil {
			l.fail(name, "%v", err)
		}
	})
	l.keysetVariables(known)
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	for name := range l.env {
		// BEHALF_CLI_* belongs to the command line's flags.
		if strings.HasPrefix(name, "BEHALF_") && !strings.HasPrefix(name, "BEHALF_CLI_") && !known[name] {
			l.fail(name, "no setting has this name%s", spelling.DidYouMean(name, names))
		}
	}
}

// keysetVariables lays the variables of keys.keyset over it, which is a URI or a mapping: BEHALF_KEYS_KEYSET is the URI,
// and BEHALF_KEYS_KEYSET_FILE is keys.keyset.file.
func (l *loader) keysetVariables(known map[string]bool) {
	uri, file := variable("keys.keyset"), variable("keys.keyset.file")
	known[uri] = true
	switch {
	case l.env[uri] != "" && l.env[file] != "":
		l.fail(uri, "both %s and %s are set; unset one of them", uri, file)
	case l.env[uri] != "":
		l.cfg.Keys.Keyset = Keyset{URI: l.env[uri]}
	case l.env[file] != "":
		l.cfg.Keys.Keyset.URI = ""
	}
}

// otlpVariable is where OpenTelemetry itself looks for a collector.
const otlpVariable = "OTEL_EXPORTER_OTLP_ENDPOINT"

// checkTracing refuses what is no address of a collector. A secret for it is in OTEL_EXPORTER_OTLP_HEADERS, and not in the
// address, which is shown.
func (l *loader) checkTracing() {
	at := l.cfg.Tracing.OTLP
	u, err := url.Parse(at)
	if at == "" || err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" {
		return
	}
	place := l.place("tracing.otlp")
	if at == l.env[otlpVariable] {
		place = otlpVariable
	}
	l.fail(place, "tracing.otlp must be the URL of a collector of OTLP/HTTP, such as http://127.0.0.1:4318, without a password and without a query")
}

// checkKeyset refuses a URI of no KMS. Whether it names a key is the KMS's to say.
func (l *loader) checkKeyset() {
	uri := l.cfg.Keys.Keyset.URI
	if uri == "" {
		if l.cfg.Keys.Keyset.File == "" {
			l.fail(l.place("keys.keyset.file"), "keys.keyset.file is empty; the master key needs a file, or the URI of a key in a KMS")
		}
		return
	}
	for _, form := range kmsURIs {
		scheme, _, _ := strings.Cut(form, "://")
		if rest, ok := strings.CutPrefix(uri, scheme+"://"); ok && rest != "" {
			return
		}
	}
	l.fail(l.place("keys.keyset"), "keys.keyset: %q is neither {file: PATH} nor a key in a KMS: %s", uri, strings.Join(kmsURIs, ", "))
}

// scalars calls do for every scalar of v that is not inside a list.
func scalars(v reflect.Value, path string, do func(path string, v reflect.Value)) {
	for i := range v.NumField() {
		key := v.Type().Field(i).Tag.Get("yaml")
		if key == "-" || key == "" {
			continue
		}
		f := v.Field(i)
		switch {
		case f.Type() == secretType, f.Kind() == reflect.String, f.Kind() == reflect.Bool, f.Kind() == reflect.Int, f.Kind() == reflect.Int64:
			do(join(path, key), f)
		case f.Kind() == reflect.Struct:
			scalars(f, join(path, key), do)
		}
	}
}

// check looks for what is wrong in itself and between the parts, wherever it was said.
func (l *loader) check() {
	l.checkLater(reflect.ValueOf(l.cfg), reflect.ValueOf(Default()), "")
	l.checkAddress("server.listen", l.cfg.Server.Listen)
	if l.cfg.Server.AdminListen != "off" {
		l.checkAddress("server.admin_listen", l.cfg.Server.AdminListen)
	}
	l.checkPublicURL()
	l.checkTracing()
	l.checkKeyset()
	for _, p := range l.cfg.Server.TrustedProxies {
		if _, err := netip.ParsePrefix(p); err != nil {
			if _, err := netip.ParseAddr(p); err != nil {
				l.fail(l.place("server.trusted_proxies"), "server.trusted_proxies: %q is neither an address nor a network such as 10.0.0.0/8", p)
			}
		} else if strings.HasSuffix(p, "/0") {
			l.fail(l.place("server.trusted_proxies"), "server.trusted_proxies: %q trusts everybody, and so lets everybody choose the address we see", p)
		}
	}
	store := l.cfg.Store.URL.Reveal()
	if !strings.HasPrefix(store, "sqlite:") && !strings.HasPrefix(store, "postgres://") && !strings.HasPrefix(store, "postgresql://") {
		l.fail(l.place("store.url"), "store.url must start with sqlite: or postgres://")
	}
	if l.cfg.Store.Journal == "" {
		l.fail(l.place("store.journal"), "store.journal must name a folder on this machine's disk")
	}
	if s := l.cfg.Store.StaleMax; s < time.Second || s > time.Hour {
		l.fail(l.place("store.stale_max"), "store.stale_max must be between 1s and 1h, not %s", s)
	}
	if !strings.Contains(l.cfg.Orchestrator.ID, "{username}") {
		l.fail(l.place("orchestrator.id"), "orchestrator.id must contain {username}, or everybody would share one orchestrator")
	}
	if o := l.cfg.Orchestrator; o.MaxResultBytes < 1<<20 || o.MaxResultBytes > o.MaxHeldBytes/2 {
		l.fail(l.place("orchestrator.max_result_bytes"), "orchestrator.max_result_bytes must be at least 1MiB and at most half of max_held_bytes, which is %dMiB: "+
			"no person holds more of it", o.MaxHeldBytes>>20)
	}
	if t := l.cfg.Auth.Tokens; t.MaxLife < time.Minute || t.DefaultLife < time.Minute || t.DefaultLife > t.MaxLife {
		l.fail(l.place("auth.tokens"), "auth.tokens: default_life must be at least 1m and at most max_life, which is %s", t.MaxLife)
	}
	for path, n := range map[string]int{"orchestrator.max": l.cfg.Orchestrator.Max, "orchestrator.max_connections": l.cfg.Orchestrator.MaxConnections,
		"auth.tokens.hand_outs_per_second": l.cfg.Auth.Tokens.HandOutsPerSecond} {
		if n < 1 {
			l.fail(l.place(path), "%s must be at least 1", path)
		}
	}
	if n := l.cfg.Models.MaxVariants; n < 1 || n > 256 {
		l.fail(l.place("models.max_variants"), "models.max_variants is between 1 and 256")
	}
	l.checkVariables("models.env", l.cfg.Models.Env)
	l.checkVariables("hooks.env", l.cfg.Hooks.Env)
	l.checkJWT()
	l.checkHooks()
	l.checkAPI()
	l.checkObjects()
	l.checkNotifications()
	l.checkPreaggs()
	l.checkRedis()
}

// checkRedis checks the URL of the shared cache. It may hold a password, so that no error shows it.
func (l *loader) checkRedis() {
	if l.cfg.Cache.Redis.Empty() {
		return
	}
	u, err := url.Parse(l.cfg.Cache.Redis.Reveal())
	if err == nil {
		database := strings.TrimPrefix(u.Path, "/")
		right := u.Hostname() != "" && u.RawQuery == ""
		if u.Scheme == "unix" {
			var plain bool
			database, plain = strings.CutPrefix(u.RawQuery, "db=")
			right = u.Host == "" && len(u.Path) > 1 && (plain || u.RawQuery == "")
		}
		_, err := strconv.ParseUint(database, 10, 16)
		if right && u.Fragment == "" && (database == "" || err == nil) && slices.Contains([]string{"redis", "rediss", "unix"}, u.Scheme) {
			return
		}
	}
	l.fail(l.place("cache.redis"), "cache.redis is redis://[user:password@]host[:port][/database], the same with rediss:// for TLS, or unix:///path[?db=database]")
}

var schemaName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,59}$`)

// checkPreaggs checks where pre-aggregations are, and what they may take.
func (l *loader) checkPreaggs() {
	o, p := l.cfg.Objects, l.cfg.Preaggs
	if _, err := address.Parse(o.URL); err != nil {
		l.fail(l.place("objects.url"), "objects.url: %s", err)
	}
	if o.Cache == "" || "file:"+o.Cache == o.URL {
		l.fail(l.place("objects.cache"), "objects.cache is a folder on a disk of this machine, and another than that of objects.url")
	}
	if o.CacheMaxBytes < p.MaxUserBytes {
		l.fail(l.place("objects.cache_max_bytes"), "objects.cache_max_bytes must be as much as preaggs.max_user_bytes or more")
	}
	if p.MaxOpen < 1 {
		l.fail(l.place("preaggs.max_open"), "preaggs.max_open must be 1 or more")
	}
	if p.MaxMemory < 128<<20 {
		l.fail(l.place("preaggs.max_memory"), "preaggs.max_memory must be 128MiB or more")
	}
	if !schemaName.MatchString(p.Schema) {
		l.fail(l.place("preaggs.schema"), "preaggs.schema is a name that no database needs quotes for: up to 60 letters, digits and underscores, and no digit first")
	}
	if p.MaxUserBytes <= 0 || p.MaxBytes < p.MaxUserBytes {
		l.fail(l.place("preaggs.max_bytes"), "preaggs.max_bytes must be as much as preaggs.max_user_bytes or more, and both above 0")
	}
}

func (l *loader) checkNotifications() {
	n := l.cfg.Notifications
	if n.WarnBefore <= 0 {
		l.fail(l.place("notifications.warn_before"), "notifications.warn_before must be above 0, such as 168h")
	}
	if n.DormantAfter != 0 && n.DormantAfter <= n.WarnBefore {
		l.fail(l.place("notifications.dormant_after"), "notifications.dormant_after must be longer than warn_before, so that somebody is warned, or 0 for never")
	}
	smtp := l.cfg.Auth.MagicLink.SMTP
	if smtp.Host != "" && smtp.From == "" {
		l.fail(l.place("auth.magic_link.smtp.from"), "auth.magic_link.smtp.from is missing: give the address that mail comes from, such as Behalf <behalf@example.com>")
	}
	if smtp.Port < 1 || smtp.Port > 65535 {
		l.fail(l.place("auth.magic_link.smtp.port"), "auth.magic_link.smtp.port must be a port from 1 to 65535")
	}
}

// checkLater refuses the keys of the contract whose part this version does not have.
func (l *loader) checkLater(v, unset reflect.Value, path string) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key := f.Tag.Get("yaml")
		if key == "-" || key == "" {
			continue
		}
		at := join(path, key)
		if part := f.Tag.Get("later"); part != "" {
			if !reflect.DeepEqual(v.Field(i).Interface(), unset.Field(i).Interface()) {
				l.fail(l.place(at), "%s needs %s, which this version does not have yet; leave it out", at, part)
			}
			continue
		}
		if f.Type.Kind() == reflect.Struct && f.Type != secretType {
			l.checkLater(v.Field(i), unset.Field(i), at)
		}
	}
}

func (l *loader) checkAddress(path, addr string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" {
		l.fail(l.place(path), "%s: %q is not an address; write it like 127.0.0.1:4000 or :4000", path, addr)
		return
	}
	if host != "" && host != "localhost" && net.ParseIP(host) == nil {
		l.fail(l.place(path), "%s: %q is not an IP address of this machine", path, host)
	}
}

func (l *loader) checkPublicURL() {
	if l.cfg.Server.PublicURL == "" {
		_, port, err := net.SplitHostPort(l.cfg.Server.Listen)
		if err == nil {
			l.cfg.Server.PublicURL = "http://localhost:" + port
		}
		return
	}
	l.cfg.Server.PublicURL = strings.TrimRight(l.cfg.Server.PublicURL, "/")
	u, err := url.Parse(l.cfg.Server.PublicURL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		l.fail(l.place("server.public_url"), "server.public_url must be an absolute URL such as https://behalf.example.com")
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		l.fail(l.place("server.public_url"), "server.public_url must have no query, fragment or credentials")
	case u.Path != "":
		l.fail(l.place("server.public_url"), "server.public_url must be an origin: Behalf below a path (%s) comes later", u.Path)
	case u.Scheme == "http" && !loopback.Host(u.Hostname()):
		l.fail(l.place("server.public_url"), "server.public_url must be https: plain http is for loopback only")
	}
}

// algorithms are those of signatures that we verify: first the ones of secrets, then those of public keys.
var algorithms = []string{
	"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

func (l *loader) checkJWT() {
	jwt := l.cfg.Auth.JWT
	if jwt.JWKURL != "" {
		if u, err := url.Parse(jwt.JWKURL); err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback.Host(u.Hostname())) {
			l.fail(l.place("auth.jwt.jwk_url"), "auth.jwt.jwk_url must be an https URL: plain http is for loopback only")
		}
		if !jwt.Key.Empty() {
			l.fail(l.place("auth.jwt.key"), "auth.jwt.key and auth.jwt.jwk_url are two answers to one question; leave one out")
		}
	}
	for _, a := range jwt.Algorithms {
		if !slices.Contains(algorithms, a) {
			l.fail(l.place("auth.jwt.algorithms"), "auth.jwt.algorithms: %q is none of %s", a, strings.Join(algorithms, ", "))
		}
	}
}

func (l *loader) checkHooks() {
	if t := l.cfg.Hooks.Timeout; t < 10*time.Millisecond || t > time.Minute {
		l.fail(l.place("hooks.timeout"), "hooks.timeout is between 10ms and 1m")
	}
	for _, host := range l.cfg.Hooks.AllowHosts {
		if host == "" || strings.ContainsAny(host, "/*?#@ ") {
			l.fail(l.place("hooks.allow_hosts"), "hooks.allow_hosts: %q is no host, such as idp.example.com or idp.example.com:8443", host)
		}
	}
}

// apiScopes are what a caller of the query API may be allowed (cube-rest-api.md §3).
var apiScopes = []string{"graphql", "meta", "data", "sql", "jobs"}

func (l *loader) checkAPI() {
	api := &l.cfg.API
	for _, s := range api.Scopes {
		if !slices.Contains(apiScopes, s) {
			l.fail(l.place("api.scopes"), "api.scopes: %q is none of %s", s, strings.Join(apiScopes, ", "))
		}
	}
	if _, err := time.LoadLocation(api.DefaultTimezone); err != nil || api.DefaultTimezone == "Local" {
		l.fail(l.place("api.default_timezone"), "api.default_timezone: %q is no IANA time zone, such as Europe/Berlin", api.DefaultTimezone)
	}
	if n := api.Masks.Number; n != nil {
		if _, err := strconv.ParseFloat(*n, 64); err != nil {
			l.fail(l.place("api.masks.number"), "api.masks.number: %q is not a number", *n)
		}
	}
	if api.MaxLimit < 1 || api.DefaultLimit < 1 {
		l.fail(l.place("api.max_limit"), "api.max_limit and api.default_limit are numbers of rows of 1 or more")
	}
	if api.ContinueWait < time.Second || api.ContinueWait > 90*time.Second {
		l.fail(l.place("api.continue_wait"), "api.continue_wait is between 1s and 90s")
	}
}

// checkObjects looks at the declared people, apps and sources and at how they name one another.
func (l *loader) checkObjects() {
	seen := map[string]bool{}
	unique := func(kind, name string, at Position) {
		if seen[kind+"\x00"+name] {
			l.fail(l.at(at), "%s %q is declared twice", kind, name)
		}
		seen[kind+"\x00"+name] = true
	}
	for i, u := range l.cfg.Users {
		unique("the user", strings.ToLower(u.Username), u.At)
		for _, r := range u.Roles {
			if r != "admin" {
				l.fail(l.at(u.At), "user %q: the role %q does not exist; the roles are: admin", u.Username, r)
			}
		}
		written := l.doc != nil && l.doc.literal[fmt.Sprintf("users[%d].password", i)]
		if written && !strings.HasPrefix(u.Password.Reveal(), "$argon2id$") {
			l.fail(l.at(u.At), "user %q: a password in the file must be an argon2id hash ($argon2id$…), made with `behalf users hash`; a plain one comes from {env: NAME} or {file: PATH}", u.Username)
		}
	}
	var apps []string
	for _, a := range l.cfg.OAuthApps {
		unique("the OAuth app", a.Name, a.At)
		apps = append(apps, a.Name, a.Slug)
		l.checkDomain(a.Domain, a.At)
	}
	for _, s := range l.cfg.DataSources {
		unique("the data source", s.Name, s.At)
		l.checkDomain(s.Domain, s.At)
		l.checkSource(s, apps)
	}
}

func (l *loader) checkDomain(domain string, at Position) {
	if domain != "" && domain != "default" {
		l.fail(l.at(at), "domain %q does not exist; this version has the domain \"default\" only", domain)
	}
}

func (l *loader) checkSource(s DataSource, apps []string) {
	if s.OAuthApp != "" && !slices.Contains(apps, s.OAuthApp) && l.doc != nil && l.doc.set["oauth_apps"] != (Position{}) {
		l.fail(l.at(s.At), "data source %q: the OAuth app %q does not exist%s", s.Name, s.OAuthApp, spelling.DidYouMean(s.OAuthApp, apps))
	}
	switch s.Fallback {
	case "", "deny":
	case "service_account":
		if s.ServiceAccount == nil {
			l.fail(l.at(s.At), "data source %q: fallback is service_account, and there is no service_account", s.Name)
		}
	default:
		l.fail(l.at(s.At), "data source %q: fallback %q is neither deny nor service_account", s.Name, s.Fallback)
	}
	if s.CacheScope != "" && s.CacheScope != "user" && s.CacheScope != "role" {
		l.fail(l.at(s.At), "data source %q: cache_scope %q is neither user nor role", s.Name, s.CacheScope)
	}
	named := s.OAuthApp != "" || slices.ContainsFunc(l.cfg.OAuthApps, func(a OAuthApp) bool { return slices.Contains(a.DataSources, s.Name) })
	if s.Fallback == "" && s.ServiceAccount != nil && named {
		l.fail(l.at(s.At), "data source %q has both an OAuth app and a service account: say what people without a usable grant get, fallback: deny or fallback: service_account", s.Name)
	}
}

// minAPISecret is the least length of a key of HS256 (RFC 7518 §3.2). A shorter one is accepted, since Cube does, with a
// warning.
const minAPISecret = 32

// finish fills in what depends on the rest, once all of it is right.
func (l *loader) finish() {
	dir := l.dir
	if l.doc != nil {
		dir = l.doc.dir
	}
	if l.cfg.Keys.Keyset.URI == "" {
		l.cfg.Keys.Keyset.File = l.resolve("keys.keyset.file", l.cfg.Keys.Keyset.File, dir)
	}
	l.cfg.Store.Journal = l.resolve("store.journal", l.cfg.Store.Journal, dir)
	l.cfg.Models.Path = l.resolve("models.path", l.cfg.Models.Path, dir)
	if path, ok := strings.CutPrefix(l.cfg.Objects.URL, "file:"); ok {
		l.cfg.Objects.URL = "file:" + l.resolve("objects.url", path, dir)
	}
	l.cfg.Objects.Cache = l.resolve("objects.cache", l.cfg.Objects.Cache, dir)
	if path, ok := strings.CutPrefix(l.cfg.Store.URL.Reveal(), "sqlite:"); ok {
		l.cfg.Store.URL = secret.New("sqlite:" + l.resolve("store.url", path, dir))
	}
	for i := range l.cfg.OAuthApps {
		a := &l.cfg.OAuthApps[i]
		if a.Domain == "" {
			a.Domain = "default"
		}
		if a.Slug == "" {
			a.Slug = Slug(a.Name)
		}
	}
	for i := range l.cfg.DataSources {
		s := &l.cfg.DataSources[i]
		if s.Domain == "" {
			s.Domain = "default"
		}
		for _, a := range l.cfg.OAuthApps {
			if a.Name == s.OAuthApp {
				s.OAuthApp = a.Slug
			}
		}
		if s.CredentialsKey == "" {
			s.CredentialsKey = strings.TrimSuffix(s.Type, "-jdbc")
		}
		s.Type = strings.TrimSuffix(s.Type, "-jdbc")
	}
	l.secrets()
	if slices.ContainsFunc(l.cfg.Auth.APISecrets, func(s Secret) bool { return len(s.Reveal()) < minAPISecret }) {
		l.cfg.Warnings = append(l.cfg.Warnings, fmt.Sprintf("auth.api_secret has fewer than %d bytes: whoever has a token, and everybody who signs in gets one, "+
			"can try secrets until one fits, and then be anybody; make one with: openssl rand -hex 32", minAPISecret))
	}
	l.unusedCubeVariables()
	sort.Strings(l.cfg.Unused)
}

// secrets settles which secrets verify tokens, the first of which signs: the first that is there of jwt.key, unless it is
// a public one, api_secrets and api_secret (cube-rest-api.md §2.2).
func (l *loader) secrets() {
	auth := &l.cfg.Auth
	switch key := auth.JWT.Key; {
	case !key.Empty() && !strings.Contains(key.Reveal(), "-----BEGIN "):
		auth.APISecrets, auth.JWT.Key = []Secret{key}, Secret{}
	case len(auth.APISecrets) > 0:
	case !auth.APISecret.Empty():
		auth.APISecrets = []Secret{auth.APISecret}
	}
	auth.APISecret = Secret{}
	if len(auth.APISecrets) > 0 {
		auth.APISecret = auth.APISecrets[0]
	}
}

// resolve makes a path absolute: what a variable says is relative to the working folder, the rest to the file's.
func (l *loader) resolve(path, value, dir string) string {
	if l.env[variable(path)] != "" {
		dir = l.dir
	}
	return absolute(dir, value)
}

// Slug returns the slug that an OAuth app with this name gets when it declares none: lower case letters and digits
// with single hyphens between.
func Slug(name string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(name) {
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			b.WriteRune(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-")
}

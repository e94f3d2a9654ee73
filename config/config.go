// Package config reads the configuration: one YAML file, environment variables over it, and Cube's own variables
// below it.
//
// Load answers with a whole Config or with everything that is wrong, each with its place: a file's line and column,
// or a variable's name. Precedence, highest first: flags (cmd applies those), BEHALF_* variables, the file, CUBEJS_*
// variables, defaults. Secrets are given as literals, {env: NAME} or {file: PATH}, and are secret.Text from the
// moment they are read.
//
// The names of the keys are a contract (design.md §5): they are added to, never renamed. A key of the contract whose
// part this version does not have is refused by name when it is set to something that would need it.
package config

import (
	"time"

	"github.com/behalf-project/behalf/internal/secret"
)

// Secret is a string that cannot be printed.
type Secret = secret.Text

// Config is the whole configuration. Load fills in the defaults, so a zero value means "off" or "none" only where the
// comment says so.
type Config struct {
	Server       Server         `yaml:"server"`
	Store        Store          `yaml:"store"`
	Cache        Cache          `yaml:"cache"`
	Objects      Objects        `yaml:"objects"`
	Preaggs      Preaggs        `yaml:"preaggs"`
	Keys         Keys           `yaml:"keys"`
	Models       Models         `yaml:"models"`
	Hooks        Hooks          `yaml:"hooks"`
	Auth         Auth           `yaml:"auth"`
	API          API            `yaml:"api"`
	Users        []User         `yaml:"users"`
	OAuthApps    []OAuthApp     `yaml:"oauth_apps"`
	DataSources  []DataSource   `yaml:"data_sources"`
	Orchestrator Orchestrator   `yaml:"orchestrator"`
	Domains      []Domain       `yaml:"domains" later:"domains other than \"default\""`
	Protected    []ProtectedApp `yaml:"protected_apps" later:"forward auth"`

	Notifications Notifications `yaml:"notifications"`
	Tracing       Tracing       `yaml:"tracing"`

	// Path is the file that was read; empty when there was none.
	Path string `yaml:"-"`
	// Warnings are sentences for the log at start: what was chosen because nothing was said, and what has no effect.
	Warnings []string `yaml:"-"`
	// Unused are the CUBEJS_* variables that were found and mean nothing here, sorted.
	Unused []string `yaml:"-"`
}

// Server is where Behalf listens and what people call it.
type Server struct {
	Listen         string        `yaml:"listen"`       // default 127.0.0.1:4000
	PublicURL      string        `yaml:"public_url"`   // origin, or origin and path; default http://localhost:<port of listen>
	AdminListen    string        `yaml:"admin_listen"` // default 127.0.0.1:4001; "off" for none
	SSOListen      string        `yaml:"sso_listen" later:"forward auth" default:"127.0.0.1:9091"`
	TrustedProxies []string      `yaml:"trusted_proxies"` // addresses or networks whose X-Forwarded-For is believed; default none
	Grace          time.Duration `yaml:"grace"`           // running work at SIGTERM; default 30s
	DevMode        bool          `yaml:"dev_mode"`        // tokens optional on /cubejs-api; default false
}

// Tracing is where spans of OpenTelemetry are sent.
type Tracing struct {
	OTLP string `yaml:"otlp"` // a collector of OTLP/HTTP, such as http://127.0.0.1:4318; default OTEL_EXPORTER_OTLP_ENDPOINT, else none
}

// Store is the database.
type Store struct {
	URL      Secret        `yaml:"url"`       // sqlite:<path> or postgres://…, which may hold a password; default sqlite:behalf.db
	Journal  string        `yaml:"journal"`   // folder for rotated tokens that a Postgres which is away does not take; default journal
	StaleMax time.Duration `yaml:"stale_max"` // how long memory serves while the database is down; default 60s
}

// Cache is where results are kept.
type Cache struct {
	Redis    Secret `yaml:"redis"`     // redis://…, rediss://… or unix://…, which may hold a password, for all replicas; empty: each keeps its own
	MaxBytes Bytes  `yaml:"max_bytes"` // in memory; default 256MiB
}

// Objects is where pre-aggregations rest, for all replicas, and where this process has those that it reads.
type Objects struct {
	URL           string `yaml:"url"`             // file:<folder>, s3://…, gs://… or azblob://…; default file:objects
	Cache         string `yaml:"cache"`           // a folder on a disk of the machine; default objects-cache
	CacheMaxBytes Bytes  `yaml:"cache_max_bytes"` // default 10GiB
}

// Preaggs bounds pre-aggregations and the engines that read them.
type Preaggs struct {
	MaxMemory    Bytes `yaml:"max_memory"`     // of all open engines together; default 1GiB
	MaxOpen      int   `yaml:"max_open"`       // engines; default 64
	MaxBytes     Bytes `yaml:"max_bytes"`      // of all files in the object store; default 10GiB
	MaxUserBytes Bytes `yaml:"max_user_bytes"` // of the files of one person in the cache; default 1GiB
	RollupOnly   bool  `yaml:"rollup_only"`    // no query goes to its source: they answer, or nothing does

	Schema string `yaml:"schema"` // of data sources, in which those are kept that the model says are; default prod_pre_aggregations
}

// Keys is the master key.
type Keys struct {
	Keyset Keyset `yaml:"keyset"`
}

// Keyset is a Tink keyset in a file, written {file: PATH}, or a key in a KMS, written as its URI. One of them is empty.
type Keyset struct {
	File string `yaml:"file"` // default behalf.keys.json
	URI  string `yaml:"-"`    // aws-kms://…, gcp-kms://… or hcvault://…
}

// Name returns the path or the URI.
func (k Keyset) Name() string {
	if k.URI != "" {
		return k.URI
	}
	return k.File
}

// kmsURIs are the forms of a Keyset's URI.
var kmsURIs = []string{"aws-kms://arn:aws:kms:<region>:<account>:key/<id>", "gcp-kms://projects/<p>/locations/<l>/keyRings/<r>/cryptoKeys/<k>", "hcvault://<host>/<mount>/keys/<name>"}

// Models is the data model.
type Models struct {
	Path        string   `yaml:"path"`         // folder; default model
	Env         []string `yaml:"env"`          // variables that files see: names, or PREFIX_* for all that begin so and are no secret of the server; default none
	MaxVariants int      `yaml:"max_variants"` // models of application ids that are kept, where files read COMPILE_CONTEXT; default 16

	Variables Variables `yaml:"-"` // of Env
}

// Variables are those of the environment, for code that comes with a deployment.
type Variables struct {
	Granted  map[string]string // granted, and set
	Withheld []string          // set, and not granted
	Unset    []string          // granted by name, and not set
}

// Hooks are what the functions of cube.js may do.
type Hooks struct {
	Timeout    time.Duration `yaml:"timeout"`     // of each call; default 5s
	AllowHosts []string      `yaml:"allow_hosts"` // that fetch may call: "host", at the port of its scheme, or "host:port"; default none
	Env        []string      `yaml:"env"`         // variables that process.env has, as in models.env; default none

	Variables Variables `yaml:"-"` // of Env
}

// Auth is who may ask, and how they show who they are.
type Auth struct {
	APISecret  Secret    `yaml:"api_secret"`  // of HS256 JWTs; without one, any other key and dev_mode, /cubejs-api refuses everybody
	APISecrets []Secret  `yaml:"api_secrets"` // while one replaces another: all verify, the first signs; instead of api_secret
	JWT        JWT       `yaml:"jwt"`
	Status401  bool      `yaml:"status_401"` // who is not known is answered 401, where Cube answers 403; default false
	SSO        []SSO     `yaml:"sso" later:"single sign-on"`
	Password   Password  `yaml:"password"`
	MagicLink  MagicLink `yaml:"magic_link"`
	Session    Session   `yaml:"session"`
	Tokens     Tokens    `yaml:"tokens"`
}

// API is what the query API, /cubejs-api, does where a request says nothing else.
type API struct {
	Scopes          []string      `yaml:"scopes"`           // what callers may do: graphql, meta, data, sql, jobs; default: all but jobs
	DefaultTimezone string        `yaml:"default_timezone"` // IANA name
	DefaultLimit    int           `yaml:"default_limit"`
	MaxLimit        int           `yaml:"max_limit"` // of rows; a query that asks for more is refused
	Masks           Masks         `yaml:"masks"`
	ContinueWait    time.Duration `yaml:"continue_wait"` // how long a request is held before the client is told to ask again
	WebSockets      bool          `yaml:"web_sockets"`   // Cube's WebSocket transport is there; default true
}

// Masks are what callers see of members that an access policy masks and that have no mask of their own, by type.
type Masks struct {
	String  *string `yaml:"string"` // NULL unless given, like the others
	Number  *string `yaml:"number"` // its text
	Boolean *bool   `yaml:"boolean"`
	Time    *string `yaml:"time"`
}

// JWT is how bearer tokens of /cubejs-api are verified, beside the API secret.
type JWT struct {
	JWKURL               string   `yaml:"jwk_url"`    // public keys of an issuer (RFC 7517 §5)
	Key                  Secret   `yaml:"key"`        // one key instead: a public key in PEM, or a secret instead of api_secret
	Issuer               string   `yaml:"issuer"`     // comma list; enforced when set
	Audience             string   `yaml:"audience"`   // enforced when set
	Subject              string   `yaml:"subject"`    // enforced when set
	Algorithms           []string `yaml:"algorithms"` // default: those of the issuer's keys if there are any, else HS256, HS384 and HS512
	ClaimsNamespace      string   `yaml:"claims_namespace"`
	UsernameClaim        string   `yaml:"username_claim"` // dotted path; default cubeCloud.username, then u.cubeCloud.username
	TrustUserCredentials bool     `yaml:"trust_user_credentials"`
}

// SSO is one OpenID provider people sign in with.
type SSO struct {
	Name         string   `yaml:"name"`
	Issuer       string   `yaml:"issuer"`
	ClientID     string   `yaml:"client_id"`
	ClientSecret Secret   `yaml:"client_secret"`
	Scopes       []string `yaml:"scopes"`
}

// Password is signing in with a password.
type Password struct {
	Enabled bool `yaml:"enabled"` // default true
}

// MagicLink is signing in by a link in a mail.
type MagicLink struct {
	Enabled bool `yaml:"enabled" later:"magic links" default:"true"`
	SMTP    SMTP `yaml:"smtp"`
}

// SMTP is the mail server. Without a host no mail is sent; in dev_mode it is written to the folder mail instead.
type SMTP struct {
	Host     string `yaml:"host"`
	Port     int    `yaml:"port"`     // default 587
	From     string `yaml:"from"`     // such as "Behalf <behalf@example.com>"
	TLS      string `yaml:"tls"`      // starttls, implicit, or none on this machine; default starttls
	Username string `yaml:"username"` // none: the server takes mail without signing in
	Password Secret `yaml:"password"`
}

// Notifications are who is told what, and when.
type Notifications struct {
	Webhooks     []Webhook     `yaml:"webhooks"`
	Email        Email         `yaml:"email"`
	WarnBefore   time.Duration `yaml:"warn_before"`   // before a grant ends, or is disconnected; default 168h
	DormantAfter time.Duration `yaml:"dormant_after"` // without use, a grant is disconnected; default 4320h; 0: never
}

// Webhook is one program that gets events, signed as Standard Webhooks says.
type Webhook struct {
	URL        Secret   `yaml:"url" required:"true"`    // may hold a secret of the receiver's
	Secret     Secret   `yaml:"secret" required:"true"` // whsec_…
	NextSecret Secret   `yaml:"next_secret"`            // signs beside it, while receivers change over
	Events     []string `yaml:"events"`                 // default: all

	At Position `yaml:"-"`
}

// Email is what people are written to.
type Email struct {
	Enabled bool `yaml:"enabled"` // default true; needs a mail server
}

// Session is how long a browser stays signed in.
type Session struct {
	Idle     time.Duration `yaml:"idle"`     // default 168h
	Absolute time.Duration `yaml:"absolute"` // default 2160h
}

// Tokens are the personal access tokens that programs carry, and what they are handed.
type Tokens struct {
	DefaultLife       time.Duration `yaml:"default_life"`         // default 2160h
	MaxLife           time.Duration `yaml:"max_life"`             // default 8760h
	Endless           bool          `yaml:"endless"`              // whether a token may have no end
	HandOutsPerSecond int           `yaml:"hand_outs_per_second"` // of one app to one token; default 50
}

// User is one declared person.
type User struct {
	Username string   `yaml:"username" required:"true"`
	Email    string   `yaml:"email"`
	Roles    []string `yaml:"roles"`    // "admin" or none
	Password Secret   `yaml:"password"` // a PHC string ($argon2id$…), or a password from {env:} or {file:}

	At Position `yaml:"-"`
}

// OAuthApp is one declared OAuth app.
type OAuthApp struct {
	Name          string            `yaml:"name" required:"true"`
	Slug          string            `yaml:"slug"` // default: from the name
	Domain        string            `yaml:"domain"`
	Preset        string            `yaml:"preset"`
	Host          string            `yaml:"host"`
	AuthURL       string            `yaml:"auth_url"`
	TokenURL      string            `yaml:"token_url"`
	RevocationURL string            `yaml:"revocation_url"`
	UserinfoURL   string            `yaml:"userinfo_url"`
	JWKSURL       string            `yaml:"jwks_url"`
	Issuer        string            `yaml:"issuer"`
	ClientID      string            `yaml:"client_id" required:"true"`
	ClientSecret  Secret            `yaml:"client_secret"`
	AuthMethod    string            `yaml:"token_endpoint_auth_method"`
	Scopes        []string          `yaml:"scopes"`
	AuthParams    map[string]string `yaml:"auth_params"`
	DataSources   []string          `yaml:"data_sources"`
	IdentityMatch string            `yaml:"identity_match"` // enforce, warn or off; default warn
	HandOut       string            `yaml:"hand_out"`       // allow or deny; default allow

	ClientSecretNext  Secret        `yaml:"client_secret_next"` // during a rollover: accepted beside client_secret
	PrivateKey        Secret        `yaml:"private_key"`        // of private_key_jwt: PEM or JWK
	AssertionAudience string        `yaml:"assertion_audience"` // issuer or token_endpoint; default: issuer where there is one
	PARURL            string        `yaml:"par_url"`            // pushed_authorization_request_endpoint
	PARRequired       bool          `yaml:"par_required"`       // require_pushed_authorization_requests
	IntrospectionURL  string        `yaml:"introspection_url"`
	Resource          []string      `yaml:"resource"` // RFC 8707
	DPoP              string        `yaml:"dpop"`     // auto, true or false; default false
	TokenExchange     TokenExchange `yaml:"token_exchange"`

	At Position `yaml:"-"`
}

// TokenExchange is what people's tokens of an OAuth app may be exchanged for, and what may be exchanged for one (RFC 8693).
type TokenExchange struct {
	Audiences      []string        `yaml:"audiences"`       // default none
	SubjectIssuers []SubjectIssuer `yaml:"subject_issuers"` // default none
}

// SubjectIssuer is whose tokens begin a connection, and the audience that they must name.
type SubjectIssuer struct {
	Issuer   string `yaml:"issuer" required:"true"`
	Audience string `yaml:"audience" required:"true"`
}

// DataSource is one warehouse or database.
type DataSource struct {
	Name           string            `yaml:"name" required:"true"`
	Domain         string            `yaml:"domain"`
	Type           string            `yaml:"type" required:"true"`
	Options        map[string]string `yaml:"options"`
	OAuthApp       string            `yaml:"oauth_app"` // name or slug
	CredentialsKey string            `yaml:"credentials_key"`
	ServiceAccount *ServiceAccount   `yaml:"service_account"`
	Fallback       string            `yaml:"fallback"`    // deny or service_account; empty where the file does not say
	CacheScope     string            `yaml:"cache_scope"` // user or role; default user
	Limits         Limits            `yaml:"limits"`
	Liveness       Liveness          `yaml:"liveness"`

	At Position `yaml:"-"`
}

// ServiceAccount is a source's own identity.
type ServiceAccount struct {
	Token      Secret             `yaml:"token"`
	Kind       string             `yaml:"kind"` // of a Snowflake token: oauth or pat
	User       string             `yaml:"user"`
	Password   Secret             `yaml:"password"`
	PrivateKey Secret             `yaml:"private_key"`
	OAuth      *ClientCredentials `yaml:"oauth"`
}

// ClientCredentials obtain a service account's token.
type ClientCredentials struct {
	TokenURL     string   `yaml:"token_url" required:"true"`
	ClientID     string   `yaml:"client_id" required:"true"`
	ClientSecret Secret   `yaml:"client_secret"`
	Scopes       []string `yaml:"scopes"`
	AuthMethod   string   `yaml:"auth_method"` // client_secret_basic, client_secret_post or private_key_jwt; default: what client_secret or private_key is for
	PrivateKey   Secret   `yaml:"private_key"` // PEM or JWK
	Audience     string   `yaml:"audience"`    // parameter of the token request, where the server wants one
}

// Limits bound one source; zero is the default of driverfactory.Limits.
type Limits struct {
	MaxConnections     int           `yaml:"max_connections"`
	PerUserConnections int           `yaml:"per_user_connections"`
	Concurrency        int           `yaml:"concurrency"`
	PerUserConcurrency int           `yaml:"per_user_concurrency"`
	PerUserQueue       int           `yaml:"per_user_queue"`
	QueryTimeout       time.Duration `yaml:"query_timeout"`
}

// Liveness is how a source is checked.
type Liveness struct {
	Every    time.Duration `yaml:"every"`
	Timeout  time.Duration `yaml:"timeout"`
	Required bool          `yaml:"required"`
}

// Orchestrator bounds the orchestrators.
type Orchestrator struct {
	ID             string        `yaml:"id"`              // default CUBE_APP_{username}
	Max            int           `yaml:"max"`             // default 10000
	MaxConnections int           `yaml:"max_connections"` // of the whole process; default 256
	IdleTimeout    time.Duration `yaml:"idle_timeout"`    // of idle connections; default 60s

	MaxResultBytes Bytes `yaml:"max_result_bytes"` // of one result in memory; default 64MiB
	MaxHeldBytes   Bytes `yaml:"max_held_bytes"`   // of all results that are read or sent, beside the cache; default 256MiB
}

// Domain is a workspace.
type Domain struct {
	Name string `yaml:"name" required:"true"`
}

// ProtectedApp is an app behind forward auth.
type ProtectedApp struct {
	Host string `yaml:"host" required:"true"`
}

// Bytes is a size, written as 256MiB, 10GB or a plain number.
type Bytes int64

// Position is a place in the file; the zero Position means none.
type Position struct {
	Line   int
	Column int
}

// Default returns the configuration that holds where nothing is said.
func Default() Config {
	return Config{
		Server: Server{Listen: "127.0.0.1:4000", AdminListen: "127.0.0.1:4001", SSOListen: "127.0.0.1:9091", Grace: 30 * time.Second},
		Store:  Store{URL: secret.New("sqlite:behalf.db"), Journal: "journal", StaleMax: time.Minute},
		Cache:  Cache{MaxBytes: 256 << 20},
		Objects: Objects{
			URL: "file:objects", Cache: "objects-cache", CacheMaxBytes: 10 << 30,
		},
		Preaggs: Preaggs{MaxMemory: 1 << 30, MaxOpen: 64, MaxBytes: 10 << 30, MaxUserBytes: 1 << 30, Schema: "prod_pre_aggregations"},
		Keys:    Keys{Keyset: Keyset{File: "behalf.keys.json"}},
		Models:  Models{Path: "model", MaxVariants: 16},
		Hooks:   Hooks{Timeout: 5 * time.Second},
		API:     API{DefaultTimezone: "UTC", DefaultLimit: 10_000, MaxLimit: 50_000, ContinueWait: 10 * time.Second, WebSockets: true},
		Auth: Auth{
			Password:  Password{Enabled: true},
			MagicLink: MagicLink{Enabled: true, SMTP: SMTP{Port: 587}},
			Session:   Session{Idle: 168 * time.Hour, Absolute: 2160 * time.Hour},
			Tokens:    Tokens{DefaultLife: 2160 * time.Hour, MaxLife: 8760 * time.Hour, HandOutsPerSecond: 50},
		},
		Notifications: Notifications{
			Email: Email{Enabled: true}, WarnBefore: 168 * time.Hour, DormantAfter: 4320 * time.Hour,
		},
		Orchestrator: Orchestrator{
			ID: "CUBE_APP_{username}", Max: 10_000, MaxConnections: 256, IdleTimeout: time.Minute,
			MaxResultBytes: 64 << 20, MaxHeldBytes: 256 << 20,
		},
	}
}

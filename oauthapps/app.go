package oauthapps

import (
	"context"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/secret"
)

// Secret is a string that cannot be printed.
type Secret = secret.Text

// NewSecret returns s as a Secret.
func NewSecret(s string) Secret { return secret.New(s) }

// AuthMethod is how we authenticate at the token endpoint (RFC 8414 §2, token_endpoint_auth_methods_supported).
type AuthMethod string

// The methods.
const (
	ClientSecretBasic AuthMethod = "client_secret_basic"
	ClientSecretPost  AuthMethod = "client_secret_post"
	PrivateKeyJWT     AuthMethod = "private_key_jwt" // RFC 7523 §2.2
	NoAuth            AuthMethod = "none"
)

// IdentityMatch is what to do when a person is somebody else at the authorization server than here.
type IdentityMatch string

// The choices. An app that names none warns.
const (
	MatchEnforce IdentityMatch = "enforce" // nothing is stored
	MatchWarn    IdentityMatch = "warn"    // the person is told, and may keep it
	MatchOff     IdentityMatch = "off"
)

// AssertionAudience is whom the assertion of private_key_jwt is addressed to (RFC 7523 §3).
type AssertionAudience string

// The audiences. The zero value is the issuer where it is known, else the token endpoint: an issuer names one server
// whatever its endpoints are called, but some servers only know the older rule.
const (
	AudienceIssuer        AssertionAudience = "issuer"
	AudienceTokenEndpoint AssertionAudience = "token_endpoint"
)

// DPoP says whether the tokens of an app's people are bound to a key of their connection (RFC 9449). The zero value
// binds nothing.
type DPoP string

// The choices.
const (
	DPoPOff    DPoP = ""
	DPoPAuto   DPoP = "auto" // where the metadata offers it
	DPoPAlways DPoP = "true"
)

// HandOut says whether people's access tokens of an app leave this server.
type HandOut string

// The choices. An app that names none allows it.
const (
	HandOutAllow HandOut = "allow" // to programs that carry a token of ours with the scope token:<app>
	HandOutDeny  HandOut = "deny"  // to nobody: only queries use them
)

// SubjectIssuer is an issuer whose JWTs people may exchange for a connection (RFC 8693), and the audience that those
// must name: without one, a token that was made for anybody else would do.
type SubjectIssuer struct {
	Issuer   string `json:"issuer"` // exact (RFC 8414 §3.3)
	Audience string `json:"audience"`
}

// App is one OAuth app: our registration at one authorization server.
type App struct {
	ID     string // oap_…
	Domain string // id of the workspace that owns it
	Name   string // what people read
	Slug   string // in the redirect URI and in commands; unique in the server, frozen

	Preset           string // "databricks", "snowflake", "oidc", "oauth2"
	Host             string // what the preset derives URLs from; may be empty when the URLs are given
	Issuer           string // exact (RFC 8414 §3.3); empty when the server has none
	AuthURL          string
	TokenURL         string
	RevocationURL    string // RFC 7009; empty when the server has none
	UserinfoURL      string // OIDC Core §5.3; empty when the server has none
	JWKSURL          string // empty when the server signs no ID tokens
	IntrospectionURL string // RFC 7662; empty when the server has none
	PARURL           string // pushed_authorization_request_endpoint (RFC 9126); requests are pushed where it is known
	PARRequired      bool   // require_pushed_authorization_requests
	IssInResponse    bool   // the metadata promises iss in the authorization response: one without it is refused (RFC 9207)

	ClientID     string
	ClientSecret Secret
	AuthMethod   AuthMethod

	// ClientSecretNext is accepted beside ClientSecret while the secret is rolled over at the server. NextInUse says
	// which of the two the server accepted last.
	ClientSecretNext Secret
	NextSecretSet    time.Time
	NextInUse        bool

	PrivateKey        Secret // of private_key_jwt: a JWK (RFC 7517), whose alg and kid go into the assertion
	PrivateKeySet     time.Time
	AssertionAudience AssertionAudience

	DPoP        DPoP
	DPoPOffered bool     // dpop_signing_alg_values_supported of the metadata has ES256
	Resources   []string // resource of every authorization and token request (RFC 8707)

	// ExchangeAudiences are the audiences for which a person's token may be exchanged (RFC 8693); none forbids it.
	ExchangeAudiences []string
	// SubjectIssuers are whose tokens people may exchange for a connection, instead of a consent in a browser; none
	// forbids it.
	SubjectIssuers []SubjectIssuer

	HandOut HandOut // whether people's access tokens leave this server, exchanged or as they are

	Scopes      []string
	AuthParams  map[string]string // more parameters of the authorization request
	DataSources []string          // names of the sources it is for, within the domain

	IdentityMatch IdentityMatch // what to do when somebody connects it as somebody else

	Paused     bool
	PausedNote string    // what people read when it is paused
	BrokenAt   time.Time // since when the server answers invalid_client; zero when it does not
	BrokenCode string

	Origin    string // "file" for an app of the configuration file, which is read-only elsewhere, or "api"
	SecretSet time.Time
	CreatedAt time.Time
	UpdatedAt time.Time
	Rev       int64 // for compare-and-swap
}

// Store keeps OAuth apps. oauthappstest.TestStore says what each method must do. Client secrets are sealed by the
// store, bound to their row (design.md §2.13). Each method is one transaction and commits its audit entry with it; what
// changes an app is announced as notify.OAuthAppChanged before the method returns.
type Store interface {
	// ListApps returns the apps of one domain, or of all when domain is empty, ordered by name.
	ListApps(ctx context.Context, domain string) ([]App, error)

	// GetApp returns the app with this id or, when id has no prefix "oap_", with this slug; or fault.NotFound.
	GetApp(ctx context.Context, id string) (App, error)

	// CreateApp stores a new app, with an id and times of its own where a has none. A slug that is taken is
	// fault.Conflict.
	CreateApp(ctx context.Context, a App, e audit.Entry) (App, error)

	// UpdateApp stores a with Rev one higher if the stored Rev is still a.Rev; otherwise it is fault.Conflict, or
	// NotFound. Slug, Domain and CreatedAt never change.
	UpdateApp(ctx context.Context, a App, e audit.Entry) (App, error)

	// MoveApp is UpdateApp for an app whose tokens go to another server from now on. With grants left it is
	// fault.Conflict with code "app_has_grants": their tokens are not the other server's to see, and neither is the code
	// of an authorization under way, so those are ended.
	MoveApp(ctx context.Context, a App, e audit.Entry) (App, error)

	// DeleteApp removes the app. With grants left it is fault.Conflict: revoke those first.
	DeleteApp(ctx context.Context, id string, e audit.Entry) error
}

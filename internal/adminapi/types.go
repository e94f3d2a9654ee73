package adminapi

import (
	"encoding/json"
	"time"
)

// LoginRequest signs a person in.
type LoginRequest struct {
	Username string `json:"username,omitempty" maxLength:"254" doc:"The username; or give email."`
	Email    string `json:"email,omitempty" maxLength:"254" doc:"The e-mail address; or give username."`
	Password string `json:"password" minLength:"1" maxLength:"1024" writeOnly:"true"`
	Rd       string `json:"rd,omitempty" doc:"The path on this server to go on to. Anything else becomes /."`
	St       string `json:"st,omitempty" doc:"Reserved for the sign-in of protected apps."`
}

// LoginResponse says where to go on.
type LoginResponse struct {
	RedirectTo string `json:"redirect_to" example:"/connected-apps"`
}

// LogoutRequest ends the session.
type LogoutRequest struct {
	Everywhere bool `json:"everywhere,omitempty" doc:"End all sessions of this person, not only this one."`
}

// Me is the person who is signed in.
type Me struct {
	ID       string    `json:"id" example:"usr_01jc3v4k9e8r7x2m5n0q6t1w3y"`
	Username string    `json:"username" example:"alice"`
	Email    string    `json:"email"`
	Roles    []string  `json:"roles" nullable:"false" doc:"admin may register OAuth apps."`
	Methods  []string  `json:"methods" nullable:"false" doc:"How this person can sign in."`
	Session  MySession `json:"session"`
}

// MySession says how long the session lasts.
type MySession struct {
	AuthenticatedAt   time.Time `json:"authenticated_at"`
	IdleExpiresAt     time.Time `json:"idle_expires_at" doc:"It ends then unless it is used before."`
	AbsoluteExpiresAt time.Time `json:"absolute_expires_at" doc:"It ends then in any case."`
}

// OAuthApp is our registration at one authorization server.
type OAuthApp struct {
	ID                      string      `json:"id" example:"oap_01jc3v4k9e8r7x2m5n0q6t1w3y"`
	Name                    string      `json:"name"`
	Slug                    string      `json:"slug" doc:"In the redirect URI and in commands; never changes."`
	Domain                  string      `json:"domain"`
	Preset                  string      `json:"preset"`
	Host                    string      `json:"host"`
	Issuer                  string      `json:"issuer"`
	AuthURL                 string      `json:"auth_url"`
	TokenURL                string      `json:"token_url"`
	RevocationURL           string      `json:"revocation_url"`
	UserinfoURL             string      `json:"userinfo_url"`
	JWKSURL                 string      `json:"jwks_url"`
	ClientID                string      `json:"client_id"`
	ClientSecret            SecretState `json:"client_secret"`
	TokenEndpointAuthMethod string      `json:"token_endpoint_auth_method" enum:"client_secret_basic,client_secret_post,private_key_jwt,none"`

	ClientSecretNext  SecretState   `json:"client_secret_next" doc:"Accepted beside client_secret while the secret is rolled over."`
	ClientSecretInUse string        `json:"client_secret_in_use" enum:"client_secret,client_secret_next" doc:"Which of the two the provider accepted last."`
	PrivateKey        KeyState      `json:"private_key" doc:"Of private_key_jwt."`
	AssertionAudience string        `json:"assertion_audience" enum:",issuer,token_endpoint"`
	PARURL            string        `json:"par_url" doc:"Authorization requests are pushed there (RFC 9126)."`
	PARRequired       bool          `json:"par_required"`
	IntrospectionURL  string        `json:"introspection_url"`
	Resource          []string      `json:"resource" nullable:"false" doc:"Sent with authorization and token requests (RFC 8707)."`
	DPoP              string        `json:"dpop" enum:"false,auto,true" doc:"Whether tokens are bound to a key of the connection (RFC 9449)."`
	DPoPOffered       bool          `json:"dpop_offered" doc:"Whether the provider's metadata offers it."`
	TokenExchange     TokenExchange `json:"token_exchange"`

	Scopes        []string          `json:"scopes" nullable:"false"`
	AuthParams    map[string]string `json:"auth_params" doc:"More parameters of the authorization request."`
	DataSources   []string          `json:"data_sources" nullable:"false" doc:"Names of the data sources it is for."`
	IdentityMatch string            `json:"identity_match" enum:"enforce,warn,off" doc:"What to do when a person connects it as somebody else than they are here."`
	HandOut       string            `json:"hand_out" enum:"allow,deny" doc:"Whether people's access tokens leave this server. Queries use them either way."`
	RedirectURI   string            `json:"redirect_uri" doc:"Register exactly this at the provider."`
	Paused        bool              `json:"paused"`
	PausedNote    string            `json:"paused_note"`
	Broken        *Broken           `json:"broken" doc:"Set while the provider rejects the credentials of the app."`
	Origin        string            `json:"origin" enum:"file,api" doc:"An app of the configuration file is read-only here."`
	Rev           int64             `json:"rev" doc:"Give it back with a change: it fails if somebody else was faster."`
	People        map[string]int    `json:"people" doc:"How many people there are by the status of their grant; only numbers above zero."`
	CreatedAt     time.Time         `json:"created_at"`
	UpdatedAt     time.Time         `json:"updated_at"`
}

// TokenExchange is what people's tokens may be exchanged for, and what may be exchanged for one (RFC 8693).
type TokenExchange struct {
	Audiences      []string        `json:"audiences" nullable:"false" doc:"For which a person's token may be exchanged when it is handed out; none forbids it."`
	SubjectIssuers []SubjectIssuer `json:"subject_issuers" nullable:"false" doc:"Whose tokens people may exchange for a connection; none forbids it."`
}

// TokenExchangeChange says it of an app that is made or changed: what is absent stays as it is.
type TokenExchangeChange struct {
	Audiences      []string        `json:"audiences,omitempty" nullable:"false" maxItems:"32"`
	SubjectIssuers []SubjectIssuer `json:"subject_issuers,omitempty" nullable:"false" maxItems:"32"`
}

// SubjectIssuer is an issuer of tokens that may be exchanged for a connection.
type SubjectIssuer struct {
	Issuer   string `json:"issuer" doc:"Exactly as its metadata and its tokens (iss) write it." example:"https://idp.example.com"`
	Audience string `json:"audience" doc:"Which the tokens must name (aud)." example:"databricks"`
}

// KeyState is what is shown of a private key: its public half.
type KeyState struct {
	Set       bool            `json:"set"`
	SetAt     time.Time       `json:"set_at,omitzero"`
	PublicJWK json.RawMessage `json:"public_jwk,omitempty" doc:"To paste at a provider that does not read jwks_uri."`
	JWKSURI   string          `json:"jwks_uri,omitempty" doc:"Where the provider can read the public key."`
}

// SecretState is what is shown of a secret.
type SecretState struct {
	Set    bool      `json:"set"`
	SetAt  time.Time `json:"set_at,omitzero"`
	EndsIn string    `json:"ends_in,omitempty" doc:"The last four characters, if the secret is long enough to show them."`
}

// Broken says since when the provider rejects the app.
type Broken struct {
	Code  string    `json:"code" example:"invalid_client"`
	Since time.Time `json:"since"`
}

// OAuthAppList is a list of OAuth apps.
type OAuthAppList struct {
	Items []OAuthApp `json:"items" nullable:"false"`
}

// NewOAuthApp registers an OAuth app. What is left out comes from the preset.
type NewOAuthApp struct {
	Name                    string `json:"name" minLength:"1" maxLength:"100"`
	Slug                    string `json:"slug,omitempty" maxLength:"63" doc:"Default: made from the name."`
	Preset                  string `json:"preset,omitempty"`
	Host                    string `json:"host,omitempty" doc:"What the preset derives the URLs from."`
	Issuer                  string `json:"issuer,omitempty"`
	AuthURL                 string `json:"auth_url,omitempty"`
	TokenURL                string `json:"token_url,omitempty"`
	RevocationURL           string `json:"revocation_url,omitempty"`
	UserinfoURL             string `json:"userinfo_url,omitempty"`
	JWKSURL                 string `json:"jwks_url,omitempty"`
	ClientID                string `json:"client_id" minLength:"1" maxLength:"1024"`
	ClientSecret            string `json:"client_secret,omitempty" maxLength:"8192" writeOnly:"true"`
	TokenEndpointAuthMethod string `json:"token_endpoint_auth_method,omitempty" enum:"client_secret_basic,client_secret_post,private_key_jwt,none"`

	ClientSecretNext   string               `json:"client_secret_next,omitempty" maxLength:"8192" writeOnly:"true"`
	PrivateKey         string               `json:"private_key,omitempty" maxLength:"16384" writeOnly:"true" doc:"PEM or JWK."`
	GeneratePrivateKey string               `json:"generate_private_key,omitempty" enum:"ES256,RS256,PS256,EdDSA" doc:"Have the private key made here; it never leaves."`
	AssertionAudience  string               `json:"assertion_audience,omitempty" enum:"issuer,token_endpoint" doc:"Default: issuer where it is known."`
	PARURL             string               `json:"par_url,omitempty"`
	PARRequired        bool                 `json:"par_required,omitempty"`
	IntrospectionURL   string               `json:"introspection_url,omitempty"`
	Resource           []string             `json:"resource,omitempty" nullable:"false" maxItems:"32"`
	DPoP               string               `json:"dpop,omitempty" enum:"false,auto,true"`
	TokenExchange      *TokenExchangeChange `json:"token_exchange,omitempty"`

	Scopes        []string          `json:"scopes,omitempty" nullable:"false" maxItems:"100"`
	AuthParams    map[string]string `json:"auth_params,omitempty" maxProperties:"50"`
	DataSources   []string          `json:"data_sources,omitempty" nullable:"false" maxItems:"1000"`
	IdentityMatch string            `json:"identity_match,omitempty" enum:"enforce,warn,off" doc:"Default: warn."`
	HandOut       string            `json:"hand_out,omitempty" enum:"allow,deny" doc:"Default: allow."`
}

// OAuthAppPatch changes an OAuth app: what is absent stays as it is.
type OAuthAppPatch struct {
	Rev                     int64   `json:"rev" minimum:"1" doc:"The rev of the app that this change was made on."`
	Name                    *string `json:"name,omitempty" minLength:"1" maxLength:"100"`
	Preset                  *string `json:"preset,omitempty"`
	Host                    *string `json:"host,omitempty"`
	Issuer                  *string `json:"issuer,omitempty"`
	AuthURL                 *string `json:"auth_url,omitempty"`
	TokenURL                *string `json:"token_url,omitempty"`
	RevocationURL           *string `json:"revocation_url,omitempty"`
	UserinfoURL             *string `json:"userinfo_url,omitempty"`
	JWKSURL                 *string `json:"jwks_url,omitempty"`
	ClientID                *string `json:"client_id,omitempty" minLength:"1" maxLength:"1024"`
	ClientSecret            *string `json:"client_secret,omitempty" maxLength:"8192" writeOnly:"true" doc:"Absent: keep it."`
	TokenEndpointAuthMethod *string `json:"token_endpoint_auth_method,omitempty" enum:"client_secret_basic,client_secret_post,private_key_jwt,none"`

	ClientSecretNext   *string              `json:"client_secret_next,omitempty" maxLength:"8192" writeOnly:"true" doc:"Absent: keep it. Empty: the rollover is over, and the secret in use stays."`
	PrivateKey         *string              `json:"private_key,omitempty" maxLength:"16384" writeOnly:"true" doc:"PEM or JWK. Absent: keep it."`
	GeneratePrivateKey string               `json:"generate_private_key,omitempty" enum:"ES256,RS256,PS256,EdDSA" doc:"Replace the private key by one that is made here."`
	AssertionAudience  *string              `json:"assertion_audience,omitempty" enum:",issuer,token_endpoint"`
	PARURL             *string              `json:"par_url,omitempty"`
	PARRequired        *bool                `json:"par_required,omitempty"`
	IntrospectionURL   *string              `json:"introspection_url,omitempty"`
	Resource           []string             `json:"resource,omitempty" nullable:"false" maxItems:"32"`
	DPoP               *string              `json:"dpop,omitempty" enum:"false,auto,true"`
	TokenExchange      *TokenExchangeChange `json:"token_exchange,omitempty"`

	Scopes        []string          `json:"scopes,omitempty" nullable:"false" maxItems:"100"`
	AuthParams    map[string]string `json:"auth_params,omitempty" maxProperties:"50"`
	DataSources   []string          `json:"data_sources,omitempty" nullable:"false" maxItems:"1000"`
	IdentityMatch *string           `json:"identity_match,omitempty" enum:"enforce,warn,off"`
	HandOut       *string           `json:"hand_out,omitempty" enum:"allow,deny"`
}

// PauseRequest pauses an OAuth app.
type PauseRequest struct {
	Note string `json:"note,omitempty" maxLength:"500" doc:"What people read while it is paused."`
}

// TestReport is what a test of a registration found.
type TestReport struct {
	OK     bool        `json:"ok" doc:"Whether no stage failed."`
	Stages []TestStage `json:"stages" nullable:"false" doc:"In their order."`
}

// TestStage is one stage of a test.
type TestStage struct {
	Name       string `json:"name" enum:"dns,tls,metadata,credentials,redirect_uri,scopes"`
	State      string `json:"state" enum:"pass,warn,fail,skipped" doc:"skipped: it cannot be seen from here, or a stage that it needs failed."`
	Detail     string `json:"detail" doc:"What was found."`
	Fix        string `json:"fix" doc:"What to do about it; empty when there is nothing to do."`
	DurationMS int64  `json:"duration_ms"`
}

// PresetList is a list of presets.
type PresetList struct {
	Items []Preset `json:"items" nullable:"false"`
}

// Preset is what is known about a kind of provider.
type Preset struct {
	Name              string            `json:"name" example:"databricks"`
	Title             string            `json:"title" example:"Databricks"`
	HostLabel         string            `json:"host_label" doc:"What the host is called there; empty when the preset needs none."`
	HostExample       string            `json:"host_example"`
	IssuerExample     string            `json:"issuer_example" doc:"Of a preset that begins with an issuer; empty where that follows or there is none."`
	Scopes            []PresetScope     `json:"scopes" nullable:"false"`
	AuthMethods       []string          `json:"auth_methods" nullable:"false"`
	DefaultAuthMethod string            `json:"default_auth_method"`
	DocsURL           string            `json:"docs_url"`
	ProviderSteps     string            `json:"provider_steps" doc:"What to do at the provider, with {redirect_uri} to fill in."`
	Derived           map[string]string `json:"derived" doc:"The URLs that follow from the host, with {host} to fill in, or are always the same."`
	Params            []PresetParam     `json:"params" nullable:"false" doc:"More parameters of the authorization request that should be filled in."`
	Quirks            []PresetQuirk     `json:"quirks" nullable:"false" doc:"What is special about the provider."`
}

// PresetParam is a parameter of the authorization request.
type PresetParam struct {
	Name     string `json:"name" example:"audience"`
	Title    string `json:"title"`
	Example  string `json:"example"`
	Required bool   `json:"required"`
}

// PresetQuirk is what is special about a provider, and where it is written.
type PresetQuirk struct {
	Text   string `json:"text"`
	Source string `json:"source" doc:"URL of the public page."`
}

// PresetScope is a scope with its meaning in words.
type PresetScope struct {
	Name  string `json:"name" example:"offline_access"`
	Title string `json:"title" example:"Stay connected without asking again"`

	Default bool `json:"default" doc:"Whether an app that names no scopes asks for it."`
}

// DiscoverRequest asks for the metadata of an issuer.
type DiscoverRequest struct {
	Issuer string `json:"issuer" minLength:"1" maxLength:"2048" example:"https://idp.example.com"`
}

// Discovered is the metadata of an authorization server (RFC 8414).
type Discovered struct {
	Issuer                            string   `json:"issuer"`
	AuthURL                           string   `json:"auth_url"`
	TokenURL                          string   `json:"token_url"`
	RevocationURL                     string   `json:"revocation_url"`
	UserinfoURL                       string   `json:"userinfo_url"`
	JWKSURL                           string   `json:"jwks_url"`
	ScopesSupported                   []string `json:"scopes_supported" nullable:"false"`
	TokenEndpointAuthMethodsSupported []string `json:"token_endpoint_auth_methods_supported" nullable:"false"`
	IntrospectionURL                  string   `json:"introspection_url"`
	PARURL                            string   `json:"par_url"`
	PARRequired                       bool     `json:"par_required"`
	DPoPAlgorithms                    []string `json:"dpop_signing_alg_values_supported" nullable:"false"`
}

// RedirectURI is a redirect URI (RFC 6749 §3.1.2), and what else of an app follows from its slug.
type RedirectURI struct {
	RedirectURI string `json:"redirect_uri" example:"https://behalf.example.com/oauth/callback/databricks"`
	JWKSURI     string `json:"jwks_uri" doc:"Where the provider will read the public key of private_key_jwt." example:"https://behalf.example.com/oauth/jwks/databricks"`
}

// ConnectedAppList is a list of connected apps.
type ConnectedAppList struct {
	Items []ConnectedApp `json:"items" nullable:"false"`
}

// ConnectedApp is what the signed-in person has, or could have, with one OAuth app.
type ConnectedApp struct {
	App             string    `json:"app" doc:"The slug of the OAuth app."`
	Name            string    `json:"name"`
	Preset          string    `json:"preset"`
	Status          string    `json:"status" enum:"not_connected,active,expiring,refresh_failing,needs_consent,expired,revoked,disabled,unknown_outcome"`
	Reason          string    `json:"reason" doc:"Why it has this status and what to do, in one sentence; empty when all is well."`
	Account         string    `json:"account" doc:"Who the person is at the provider, as far as it told us."`
	Scopes          []string  `json:"scopes" nullable:"false" doc:"Granted; for an app that is not connected, what will be asked for."`
	DataSources     []string  `json:"data_sources" nullable:"false"`
	ConnectedAt     time.Time `json:"connected_at,omitzero"`
	RefreshedAt     time.Time `json:"refreshed_at,omitzero"`
	UsedAt          time.Time `json:"used_at,omitzero"`
	AccessExpiresAt time.Time `json:"access_expires_at,omitzero" doc:"End of the access token that is held; refreshed by itself."`
	ReauthorizeBy   time.Time `json:"reauthorize_by,omitzero" doc:"When the person must act, if that is known."`
	NextTryAt       time.Time `json:"next_try_at,omitzero" doc:"When a failed refresh is tried again."`
	PausedNote      string    `json:"paused_note"`
	Actions         []Action  `json:"actions" nullable:"false" doc:"What the person can do: authorize, reauthorize, exchange, refresh, revoke."`

	IdentityMismatch *IdentityMismatch `json:"identity_mismatch,omitempty" doc:"Set while the person is somebody else at the provider than here, and has not kept that account."`
}

// IdentityMismatch says that a person is somebody else at the provider than here. Queries run as the account there.
type IdentityMismatch struct {
	There   string   `json:"there" doc:"The account at the provider." example:"bob@corp.example"`
	Here    string   `json:"here" example:"alice@corp.example"`
	Detail  string   `json:"detail" example:"You signed in to Databricks as bob@corp.example but here as alice@corp.example."`
	Actions []Action `json:"actions" nullable:"false" doc:"Use another account, or keep this one (POST …/keep-account)."`
}

// NewRevocation ends access: of one person, of everybody with one OAuth app, or of everybody with everything. It names
// exactly one of the three.
type NewRevocation struct {
	Principal  string `json:"principal,omitempty" maxLength:"200" doc:"Id or username of the person who loses access. Their browser sessions end too."`
	OAuthApp   string `json:"oauth_app,omitempty" maxLength:"100" doc:"Id or slug of the OAuth app that everybody is disconnected from."`
	Everything bool   `json:"everything,omitempty" doc:"All connections of everybody. All browser sessions but your own end too."`
	Reason     string `json:"reason,omitempty" maxLength:"500" doc:"For the audit, in your words."`
	DryRun     bool   `json:"dry_run,omitempty" doc:"Change nothing, and say how many would lose access."`
	Confirm    *int   `json:"confirm,omitempty" minimum:"0" doc:"The number of connections that dry_run showed. With another number now nothing ends, and the answer is 409 revocation_changed."`
}

// RevocationAnswer is what a dry run shows, or what was revoked.
type RevocationAnswer struct {
	Preview    *RevocationPreview `json:"preview,omitempty" doc:"Of a dry run."`
	Revocation *Revocation        `json:"revocation,omitempty"`
}

// RevocationPreview is what a revocation would end.
type RevocationPreview struct {
	People      int `json:"people" doc:"How many people lose access."`
	Connections int `json:"connections"`
	Confirm     int `json:"confirm" doc:"Send this back as confirm."`
}

// Revocation is one act that ended access. Here it was complete when it was answered; at the providers it goes on.
type Revocation struct {
	ID          string           `json:"id"`
	Principal   string           `json:"principal,omitempty" doc:"Id of the person."`
	OAuthApp    string           `json:"oauth_app,omitempty" doc:"Slug of the OAuth app."`
	Everything  bool             `json:"everything,omitempty"`
	Reason      string           `json:"reason"`
	Actor       string           `json:"actor" doc:"Id of the admin."`
	CreatedAt   time.Time        `json:"created_at"`
	People      int              `json:"people" doc:"Who lost access."`
	Connections int              `json:"connections" doc:"That ended here, all at once."`
	Provider    ProviderProgress `json:"provider" doc:"How many of them the providers have been told."`
}

// ProviderProgress is how far a revocation is at the providers.
type ProviderProgress struct {
	Total       int `json:"total"`
	Done        int `json:"done" doc:"Confirmed by the provider."`
	Waiting     int `json:"waiting" doc:"Not confirmed yet. They are told at the pace they bear, and again for three days."`
	Failed      int `json:"failed" doc:"Never confirmed: end them at the provider yourself."`
	Unsupported int `json:"unsupported" doc:"Connections of providers without a revocation endpoint: their tokens are deleted here and live there until they end."`
}

// RevocationList is a list of revocations.
type RevocationList struct {
	Items []Revocation `json:"items" nullable:"false"`
}

// DeliveryList is a page of deliveries, the newest first.
type DeliveryList struct {
	Items []Delivery `json:"items" nullable:"false"`
}

// Delivery is one event on its way to one receiver.
type Delivery struct {
	ID        string    `json:"id"`
	EventID   string    `json:"event_id" doc:"The webhook-id of the message."`
	Type      string    `json:"type" example:"connection.revoked"`
	Channel   string    `json:"channel" enum:"webhook,mail"`
	Receiver  string    `json:"receiver" doc:"The host of a webhook and a mark of its URL, or the id of a person." example:"hooks.example.com#1f0c9a2b"`
	State     string    `json:"state" enum:"pending,delivered,failed"`
	Attempts  int       `json:"attempts"`
	Status    int       `json:"status,omitempty" doc:"HTTP status of the last answer."`
	Code      string    `json:"code,omitempty" doc:"Why the last try failed."`
	CreatedAt time.Time `json:"created_at"`
	TriedAt   time.Time `json:"tried_at,omitzero"`
	NextTryAt time.Time `json:"next_try_at,omitzero"`
}

// HandedOut is an access token of a connected app. Keep it no longer than until shortly before its end.
type HandedOut struct {
	AccessToken      string    `json:"access_token"`
	TokenType        string    `json:"token_type" example:"Bearer"`
	ExpiresAt        time.Time `json:"expires_at,omitzero" doc:"Absent when the provider did not say."`
	ExpiresInSeconds int64     `json:"expires_in_seconds,omitempty" doc:"What is left of its life; absent when the provider did not say."`
	Epoch            int64     `json:"epoch" doc:"Changes with the grant itself: another account, other scopes, a new consent. Drop what you opened with another one."`
	Revision         int64     `json:"revision" doc:"Changes with each refresh."`
	Status           string    `json:"status" enum:"active,expiring,refresh_failing,needs_consent,unknown_outcome"`
	Scopes           []string  `json:"scopes" nullable:"false" doc:"Granted by the provider."`
	Account          string    `json:"account" doc:"Who the person is at the provider, as far as it told us."`
	IssuedTokenType  string    `json:"issued_token_type,omitempty" doc:"Of a token that was exchanged (RFC 8693 §2.2.1); absent of one that is handed out as it is." example:"urn:ietf:params:oauth:token-type:access_token"`
}

// ExchangeRequest connects an app by a token of another issuer (RFC 8693 §2.1).
type ExchangeRequest struct {
	SubjectToken     string `json:"subject_token" minLength:"1" maxLength:"32768" writeOnly:"true" doc:"A JWT that names you, of an issuer that the app names. It is kept nowhere."`
	SubjectTokenType string `json:"subject_token_type,omitempty" enum:"urn:ietf:params:oauth:token-type:jwt,urn:ietf:params:oauth:token-type:id_token,urn:ietf:params:oauth:token-type:access_token" doc:"Default: jwt."`
}

// TokenList is a list of personal access tokens.
type TokenList struct {
	Items []Token `json:"items" nullable:"false"`
}

// Token is a personal access token, without its value.
type Token struct {
	ID        string    `json:"id" example:"tok_01jc3v4k9e8r7x2m5n0q6t1w3y"`
	Name      string    `json:"name"`
	Scopes    []string  `json:"scopes" nullable:"false"`
	Origin    string    `json:"origin" enum:"api,device,login" doc:"How it was made: api by hand, device and login by behalf login."`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero" doc:"Absent when it has no end."`
	UsedAt    time.Time `json:"used_at,omitzero" doc:"To the minute; absent when it never was."`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	Active    bool      `json:"active" doc:"Whether it is neither revoked nor over."`
}

// NewToken asks for a personal access token.
type NewToken struct {
	Name             string   `json:"name" doc:"What uses it." example:"nightly notebook"`
	Scopes           []string `json:"scopes" nullable:"false" doc:"account, token:<app> for each app whose access tokens it may be handed, connect:<app> for each that it may connect by token exchange, and operate to see and stop, as an admin, what runs for everybody." example:"[\"token:databricks\"]"`
	ExpiresInSeconds *int64   `json:"expires_in_seconds,omitempty" doc:"Its life; 90 days when absent, at most a year. 0 is without end, where the server allows it." maximum:"3153600000"`
}

// MadeToken is a personal access token at the one moment when its value is shown.
type MadeToken struct {
	Token
	Value string `json:"token" doc:"Shown once: it is not kept, and cannot be had again." example:"bhf_pat_…"`
}

// CurrentToken is the token that asks.
type CurrentToken struct {
	Token
	Username string `json:"username" doc:"Whose it is."`
}

// AuthorizeRequest begins to authorize an OAuth app.
type AuthorizeRequest struct {
	ReturnTo string `json:"return_to,omitempty" doc:"The path on this server to go on to afterwards. Anything else becomes /."`
}

// AuthorizeResponse says where the person authorizes.
type AuthorizeResponse struct {
	AuthorizeURL string `json:"authorize_url" doc:"Open it in the person's browser."`
	Session      string `json:"session" doc:"Ask for the outcome with it." example:"cs_01jc3v4k9e8r7x2m5n0q6t1w3y"`
}

// ConnectSession is one attempt to authorize an OAuth app.
type ConnectSession struct {
	ID        string    `json:"id"`
	App       string    `json:"app" doc:"The slug of the OAuth app."`
	Done      bool      `json:"done"`
	Outcome   string    `json:"outcome" doc:"Empty until it is done; then connected, or the code of the refusal."`
	ExpiresAt time.Time `json:"expires_at"`
}

// DataSourceList is a list of data sources.
type DataSourceList struct {
	Items []DataSource `json:"items" nullable:"false"`
}

// DataSource is one warehouse or database.
type DataSource struct {
	Name           string   `json:"name"`
	Type           string   `json:"type"`
	Domain         string   `json:"domain"`
	OAuthApp       string   `json:"oauth_app" doc:"The slug of the OAuth app that people connect to use it as themselves; empty when there is none."`
	Fallback       string   `json:"fallback" enum:"deny,service_account" doc:"What a person gets who has not connected."`
	CacheScope     string   `json:"cache_scope" enum:"user,role" doc:"Who is answered from the cached rows that a person fetched: that person, or whoever has the same role there."`
	ServiceAccount bool     `json:"service_account" doc:"Whether it has one."`
	Liveness       Liveness `json:"liveness"`
}

// Liveness is the outcome of the last check of a data source.
type Liveness struct {
	State     string    `json:"state" enum:"up,down,unverified,unknown" doc:"unverified: it was reached, but there is no service account to sign in with."`
	CheckedAt time.Time `json:"checked_at,omitzero"`
	LatencyMS int64     `json:"latency_ms"`
	Detail    string    `json:"detail" doc:"What is wrong; empty when nothing is."`
	Required  bool      `json:"required" doc:"Whether the server counts as not ready without it."`

	Since   time.Time `json:"since,omitzero" doc:"When it was found in this state first."`
	History []Found   `json:"history" doc:"The states before it since the server started, the newest first: at most twenty."`
}

// Found is a state in which liveness checks found a data source, and that has ended.
type Found struct {
	State  string    `json:"state" enum:"up,down,unverified,unknown"`
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"`
	Detail string    `json:"detail"`
}

// Person is somebody, as far as it is known who.
type Person struct {
	Principal string `json:"principal" doc:"Their id; of other issuers, the issuer and the subject there. Empty for who asked without a name, and for the service account."`
	Username  string `json:"username" doc:"Today's, of people of this server; else what they were called in the request."`
}

// QueryList is a page of queries, those that were asked first first.
type QueryList struct {
	Items      []Query `json:"items" nullable:"false"`
	NextCursor string  `json:"next_cursor" doc:"For the next page; empty on the last one."`
}

// Query is one statement that waits or runs in the process that answers. Its text is shown to nobody.
type Query struct {
	ID         string     `json:"id" example:"qry_01jc3v4k9e8r7x2m5n0q6t1w3y"`
	Person     Person     `json:"person" doc:"Who asks."`
	RequestID  string     `json:"request_id"`
	DataSource string     `json:"data_source"`
	Domain     string     `json:"domain"`
	Kind       string     `json:"kind" enum:"statement,refresh_key,role,rollup_read,rollup_build"`
	Of         string     `json:"of" doc:"Whose refresh key, or which pre-aggregation; empty for a statement."`
	Statement  string     `json:"statement" doc:"Stands for its text: a hash, as in the log."`
	RunAs      string     `json:"run_as" enum:"user,service_account"`
	Account    string     `json:"account" doc:"Name of the service account, when it runs as that."`
	State      string     `json:"state" enum:"waiting,running,stopping" doc:"stopping: nobody waits for it any more, and the database has not let go yet."`
	Place      int        `json:"place" doc:"In line, from 1; 0 once it runs."`
	AskedAt    *time.Time `json:"asked_at,omitempty" doc:"Absent where others may have asked first."`
	Since      time.Time  `json:"since" doc:"When its state began."`
	Askers     int        `json:"askers" doc:"Requests that wait for it; 0 for what is done ahead."`
}

// CanceledQuery is what a cancellation did.
type CanceledQuery struct {
	Query     Query `json:"query" doc:"As it was."`
	GoesOn    bool  `json:"goes_on" doc:"Others wait for it too: it is no longer yours."`
	Confirmed bool  `json:"confirmed" doc:"The database has let go of it. If not, it was told to, and had not within 5 seconds."`
}

// OrchestratorList is a page of orchestrators, in the order of their names.
type OrchestratorList struct {
	Items      []Orchestrator `json:"items" nullable:"false"`
	Totals     Totals         `json:"totals" doc:"Of all there are, not only of this page."`
	NextCursor string         `json:"next_cursor" doc:"For the next page; empty on the last one."`
}

// Totals are those of all orchestrators of the process that answers, with what bounds them; a bound of 0 is not known.
type Totals struct {
	Orchestrators    int           `json:"orchestrators" doc:"That are open or draining."`
	MaxOrchestrators int           `json:"max_orchestrators" doc:"At so many, the one that was used longest ago is forgotten for a new one."`
	Sessions         TotalSessions `json:"sessions" doc:"At data sources, those of the service accounts too."`
	Waiting          int           `json:"waiting" doc:"Queries in line."`
	Running          int           `json:"running"`
	Cache            TotalCache    `json:"cache" doc:"What is cached of everybody's, and what the service accounts fetched."`
}

// TotalSessions are the sessions of everybody.
type TotalSessions struct {
	OpenSessions
	Waiting int `json:"waiting" doc:"Queries that wait for one to become free."`
	Max     int `json:"max" doc:"At so many, the idle one that was used longest ago is closed for who waits."`
}

// TotalCache is what is cached for everybody.
type TotalCache struct {
	OrchestratorCache
	MaxBytes int64 `json:"max_bytes"`
}

// Orchestrator is one that is open in the process that answers.
type Orchestrator struct {
	ID         string            `json:"id" example:"orc_5e884898da28047151d0e56f"`
	Name       string            `json:"name" example:"CUBE_APP_alice"`
	Username   string            `json:"username" doc:"Of who used it last."`
	People     []Person          `json:"people" nullable:"false" doc:"Who use it: one, unless contextToOrchestratorId puts several together."`
	MorePeople bool              `json:"more_people" doc:"There are more than people names."`
	State      string            `json:"state" enum:"cold,warm,busy,draining" doc:"cold: no session; warm: idle ones; busy: a query waits or runs; draining: it is forgotten when that has ended."`
	Sessions   OpenSessions      `json:"sessions"`
	Waiting    int               `json:"waiting"`
	Running    int               `json:"running"`
	Cache      OrchestratorCache `json:"cache"`
	UsedAt     time.Time         `json:"used_at"`
}

// OpenSessions are sessions at data sources, as its people.
type OpenSessions struct {
	Open int `json:"open"`
	Idle int `json:"idle"`
}

// OrchestratorCache is what is cached for its people.
type OrchestratorCache struct {
	Results int   `json:"results"`
	Bytes   int64 `json:"bytes"`
}

// Drained is what draining did.
type Drained struct {
	Name   string `json:"name"`
	Closed int    `json:"closed" doc:"Pools of idle sessions that were closed."`
	Under  int    `json:"under_way" doc:"Queries that wait or run. When they have ended, the rest is closed."`
}

// Flushed is what flushing did. What the service account fetched is everybody's, and stays.
type Flushed struct {
	Name            string `json:"name"`
	Results         int    `json:"results" doc:"Cached results that were dropped."`
	PreAggregations int    `json:"pre_aggregations" doc:"Pre-aggregations that were dropped."`
}

// PreAggregationList is a page of pre-aggregations, in the order of their ids.
type PreAggregationList struct {
	Items      []PreAggregation `json:"items" nullable:"false"`
	NextCursor string           `json:"next_cursor" doc:"For the next page; empty on the last one."`
}

// PreAggregation is a pre-aggregation as the process that answers keeps it for one credential.
type PreAggregation struct {
	ID            string     `json:"id" example:"rol_5e884898da28047151d0e56f"`
	Name          string     `json:"name" example:"orders.main" doc:"Empty where no query could have used it since the start."`
	Owner         Person     `json:"owner" doc:"Whose credential fetched its rows."`
	Shared        bool       `json:"shared" doc:"The service account fetched them, for everybody who may use the source."`
	DataSource    string     `json:"data_source"`
	Domain        string     `json:"domain"`
	State         string     `json:"state" enum:"waiting,running,done,failed,unknown" doc:"Of its latest build; unknown where there was none since the start. The log says why one failed."`
	Structure     string     `json:"structure" doc:"Stands for how its rows are grouped: a hash."`
	Partitions    int        `json:"partitions" doc:"That are kept."`
	Rows          int64      `json:"rows"`
	Bytes         int64      `json:"bytes"`
	OldestBuiltAt *time.Time `json:"oldest_built_at,omitempty" doc:"When the oldest of its partitions was built."`
	BuiltAt       *time.Time `json:"built_at,omitempty" doc:"When the newest was."`
}

// AuditList is a page of records, the newest first.
type AuditList struct {
	Items      []AuditRecord `json:"items" nullable:"false"`
	NextCursor string        `json:"next_cursor" doc:"For the next page; empty on the last one."`
}

// AuditRecord says who did what.
type AuditRecord struct {
	Seq       int64             `json:"seq" doc:"Its number in the store."`
	ID        string            `json:"id" example:"aud_01jc3v4k9e8r7x2m5n0q6t1w3y"`
	At        time.Time         `json:"at"`
	Actor     string            `json:"actor" doc:"Id of the person who acted, or system, config or anonymous."`
	ActorName string            `json:"actor_name" doc:"Their username today; empty when that is not known."`
	Action    string            `json:"action" example:"grant.created"`
	Object    string            `json:"object" doc:"Id of what it was done to."`
	Outcome   string            `json:"outcome" doc:"ok, or the code of the refusal."`
	Detail    map[string]string `json:"detail,omitempty" doc:"More facts; never a secret."`
	RequestID string            `json:"request_id,omitempty"`
	Writer    string            `json:"writer" doc:"Names the hash chain: one process, from its start to its end."`
	Position  int64             `json:"position" doc:"In that chain, from 1."`
	Hash      string            `json:"hash" doc:"SHA-256 over this record and all before it in the chain."`
}

// VerifyAudit has the records verified.
type VerifyAudit struct {
	Heads []string `json:"heads,omitempty" nullable:"false" maxItems:"1000" doc:"Hashes that were kept elsewhere, such as those of checkpoints in the log. Each must be found."`
}

// AuditReport is the outcome of a verification.
type AuditReport struct {
	Intact     bool         `json:"intact"`
	Records    int64        `json:"records" doc:"How many were looked at."`
	Chains     int          `json:"chains"`
	LastSeq    int64        `json:"last_seq" doc:"Up to which record."`
	VerifiedAt time.Time    `json:"verified_at"`
	Breaks     []AuditBreak `json:"breaks" nullable:"false" doc:"The first bad record of each broken chain."`
	Ends       []AuditEnd   `json:"ends" nullable:"false" doc:"The ends of chains that no other chain knows. Keep them elsewhere, and give their hashes to the next verification."`
}

// AuditBreak is where a chain is broken.
type AuditBreak struct {
	Reason   string `json:"reason" enum:"altered,replaced,missing,out_of_order,tail_cut,chain_gone,unknown,head_unknown"`
	Writer   string `json:"writer"`
	Position int64  `json:"position" doc:"Of the bad record in its chain; 0 when that is not known."`
	ID       string `json:"id" doc:"Of the bad record, if it is there."`
	Detail   string `json:"detail"`
}

// AuditEnd is the end of a chain.
type AuditEnd struct {
	Writer   string `json:"writer"`
	Position int64  `json:"position"`
	Hash     string `json:"hash"`
}

// Nothing is the empty body of an operation that needs none.
type Nothing struct{}

package oauthapps

import "time"

// register is what to do at a provider where everything else is found by its issuer.
const register = `with the authorization code and refresh token grants, PKCE (S256), and exactly this redirect URI:

` + "```" + `
{redirect_uri}
` + "```" + `
`

// openIDScopes are what a person is asked for where the standard's own scopes are all there is (OIDC Core §5.4, §11).
func openIDScopes() []Scope {
	return []Scope{
		{"openid", "Know who you are there", true},
		{"profile", "Know your name there", false},
		{"email", "Know your e-mail address there", false},
		{"offline_access", "Stay connected without asking you again", true},
	}
}

// trino is whatever provider a Trino cluster trusts: Trino issues no tokens itself.
func trino() []Preset {
	return []Preset{{
		Name: "trino", Title: "Trino", IssuerExample: "https://keycloak.example.com/realms/data",
		Scopes: []Scope{
			{"openid", "Know who you are there", true},
			{"offline_access", "Stay connected without asking you again", true},
		},
		AuthMethods: []AuthMethod{ClientSecretBasic, ClientSecretPost, PrivateKeyJWT, NoAuth},
		DocsURL:     "https://trino.io/docs/current/security/jwt.html",
		Steps: `At the provider that your Trino trusts, register a confidential web client ` + register + `
Trino must accept the access tokens of that client. In the coordinator's config.properties:

` + "```" + `properties
http-server.authentication.type=JWT
http-server.authentication.jwt.key-file=<jwks_uri of the issuer>
http-server.authentication.jwt.required-issuer=<issuer>
http-server.authentication.jwt.required-audience=<audience of the access tokens>
http-server.authentication.jwt.principal-field=sub
` + "```" + `

Here, enter the issuer: its endpoints are read from its metadata.`,
		Quirks: Quirks{Citations: []Citation{
			{"", "Trino takes signed access tokens only: the provider must not issue opaque ones to this client.", "https://trino.io/docs/current/security/jwt.html"},
			{"", "Trino's own sign-in (type OAUTH2) is for browsers at its coordinator and can be on as well.", "https://trino.io/docs/current/security/oauth2.html"},
		}},
	}}
}

func okta() []Preset {
	const guide = "https://developer.okta.com/docs/guides/refresh-tokens/main/"
	return []Preset{{
		Name: "okta", Title: "Okta", IssuerExample: "https://dev-123456.okta.com/oauth2/default",
		Scopes:      openIDScopes(),
		AuthMethods: []AuthMethod{ClientSecretBasic, ClientSecretPost, PrivateKeyJWT, NoAuth},
		DocsURL:     "https://developer.okta.com/docs/guides/sign-into-web-app-redirect/main/",
		Steps: `In the Okta admin console, under **Applications › Create App Integration › OIDC › Web Application**, register a client
` + register + `
Tick **Refresh Token**, and under **Security › API** choose the authorization server whose tokens your warehouse
accepts: its issuer is what to enter here. The org's own server (without /oauth2/…) issues tokens for Okta only.`,
		Quirks: Quirks{
			ReuseWindow: 30 * time.Second,
			Citations: []Citation{
				{"ReuseWindow", "A refresh token that was rotated may be used again within a grace period, 30 seconds unless configured otherwise.", guide},
				{"", "A client's refresh tokens are persistent or rotate, as it is configured; reuse after the grace period ends all of them.", guide},
				{"", "At the org's own server refresh tokens live 90 days; elsewhere the access policy says how long, also when idle.", "https://support.okta.com/help/s/article/refresh-token-expiration-behavior"},
			},
		},
	}}
}

func auth0() []Preset {
	const rotation = "https://auth0.com/docs/secure/tokens/refresh-tokens/configure-refresh-token-rotation"
	return []Preset{{
		Name: "auth0", Title: "Auth0", HostLabel: "Domain", HostExample: "mytenant.eu.auth0.com",
		IssuerURL: "https://{host}/", AuthURL: "https://{host}/authorize", TokenURL: "https://{host}/oauth/token", base: authority,
		Scopes: openIDScopes(),
		Params: []Param{
			{"audience", "Identifier of the API that the tokens are for", "https://warehouse.example.com", true},
		},
		AuthMethods: []AuthMethod{ClientSecretPost, ClientSecretBasic, PrivateKeyJWT, NoAuth},
		DocsURL:     "https://auth0.com/docs/get-started/auth0-overview/create-applications/regular-web-apps",
		Steps: `In the Auth0 dashboard, under **Applications › Create Application › Regular Web Application**, register a client
` + register + `
Under **Applications › APIs** create or choose the API that stands for your warehouse, and switch **Allow Offline
Access** on. Its identifier is the parameter audience here: without it, tokens are for Auth0's own user info only.`,
		Quirks: Quirks{
			Citations: []Citation{
				{"", "Without the parameter audience the access token is opaque and good for /userinfo only.", "https://support.auth0.com/center/s/article/value-of-the-audience-attribute-in-access-token-requests-and-its-significance"},
				{"", "Refresh tokens rotate where the application is set so; the overlap period, during which the old one works, is 0 unless configured.", rotation},
				{"", "A refresh token that is used after the overlap period ends its whole family.", "https://auth0.com/docs/secure/tokens/refresh-tokens/refresh-token-rotation"},
				{"", "Only refresh tokens can be revoked; an access token ends by itself.", "https://auth0.com/docs/secure/tokens/refresh-tokens/revoke-refresh-tokens"},
				{"", "The issuer ends with a slash.", "https://auth0.com/docs/get-started/applications/configure-applications-with-oidc-discovery"},
			},
		},
	}}
}

func keycloak() []Preset {
	const admin = "https://www.keycloak.org/docs/latest/server_admin/"
	return []Preset{{
		Name: "keycloak", Title: "Keycloak", IssuerExample: "https://keycloak.example.com/realms/data",
		Scopes:      openIDScopes(),
		AuthMethods: []AuthMethod{ClientSecretBasic, ClientSecretPost, PrivateKeyJWT, NoAuth},
		DocsURL:     "https://www.keycloak.org/securing-apps/oidc-layers",
		Steps: `In the realm's admin console, under **Clients › Create client**, register a client with client authentication
` + register + `
Or with Keycloak's own command line:

` + "```" + `sh
kcadm.sh create clients -r <realm> -s clientId=behalf -s publicClient=false -s standardFlowEnabled=true \
  -s directAccessGrantsEnabled=false -s 'redirectUris=["{redirect_uri}"]' \
  -s 'attributes={"pkce.code.challenge.method":"S256"}'
` + "```" + `

The issuer is https://<host>/realms/<realm>.`,
		Quirks: Quirks{
			RefreshIdle: 30 * 24 * time.Hour,
			Citations: []Citation{
				{"RefreshIdle", "An offline session ends after 30 days without use, unless Offline Session Idle is set otherwise.", admin},
				{"", "Each refresh brings a new refresh token; the old one dies with it where Revoke Refresh Token is on.", admin},
				{"", "refresh_expires_in says how long the refresh token lives; 0 is an offline token, without end.", "https://www.keycloak.org/securing-apps/oidc-layers"},
				{"", "Without offline_access the refresh token ends with the person's browser session.", admin},
			},
		},
	}}
}

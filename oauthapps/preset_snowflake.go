package oauthapps

import "strings"

// snowflake are Snowflake's own authorization server and its trust in somebody else's.
func snowflake() []Preset {
	return []Preset{
		{
			Name: "snowflake", Title: "Snowflake", HostLabel: "Account identifier", HostExample: "myorg-myaccount",
			AuthURL:  "https://{host}.snowflakecomputing.com/oauth/authorize",
			TokenURL: "https://{host}.snowflakecomputing.com/oauth/token-request",
			base:     snowflakeBase,
			Scopes: []Scope{
				{"refresh_token", "Stay connected without asking you again", true},
				{"session:role:<ROLE>", "Use this role instead of your default role", false},
			},
			AuthMethods: []AuthMethod{ClientSecretBasic},
			DocsURL:     "https://docs.snowflake.com/en/user-guide/oauth-custom",
			Steps:       snowflakeSteps,
			Quirks: Quirks{
				AccountMember: "username",
				Revocation:    RevokeNever,
				Citations: []Citation{
					{"AccountMember", "The token answer names the Snowflake user as username.", "https://docs.snowflake.com/en/user-guide/oauth-custom"},
					{"Revocation", "There is no revocation endpoint: a user's consent ends with ALTER USER … REMOVE DELEGATED AUTHORIZATIONS.", "https://docs.snowflake.com/en/sql-reference/sql/alter-user"},
					{"", "A refresh token is kept and reused, unless OAUTH_SINGLE_USE_REFRESH_TOKENS_REQUIRED makes it work once.", "https://docs.snowflake.com/en/user-guide/single-use-refresh-tokens"},
					{"", "OAUTH_REFRESH_TOKEN_VALIDITY is at most 90 days; then everybody consents again.", "https://docs.snowflake.com/en/sql-reference/sql/create-security-integration-oauth-snowflake"},
				},
			},
		},
		{
			Name: "snowflake-external", Title: "Snowflake (External OAuth)", IssuerExample: "https://dev-123456.okta.com/oauth2/aus1a2b3c4",
			Scopes: []Scope{
				{"session:role-any", "Use any of your roles", true},
				{"session:role:<ROLE>", "Use this role and no other", false},
				{"openid", "Know who you are there", true},
				{"offline_access", "Stay connected without asking you again", true},
			},
			AuthMethods: []AuthMethod{ClientSecretBasic, ClientSecretPost, PrivateKeyJWT, NoAuth},
			DocsURL:     "https://docs.snowflake.com/en/user-guide/oauth-ext-overview",
			Steps:       snowflakeExternalSteps,
			Quirks: Quirks{
				Citations: []Citation{
					{"", "The scope session:role-any needs EXTERNAL_OAUTH_ANY_ROLE_MODE; without a session:role scope nobody can sign in.", "https://docs.snowflake.com/en/sql-reference/sql/create-security-integration-oauth-external"},
					{"", "Snowflake reads the scopes of an access token from its scp claim, or from scope.", "https://docs.snowflake.com/en/user-guide/oauth-ext-custom"},
				},
			},
		},
	}
}

const snowflakeSteps = `As a role with CREATE INTEGRATION, register Behalf:

` + "```" + `sql
CREATE SECURITY INTEGRATION behalf
  TYPE = OAUTH
  ENABLED = TRUE
  OAUTH_CLIENT = CUSTOM
  OAUTH_CLIENT_TYPE = 'CONFIDENTIAL'
  OAUTH_REDIRECT_URI = '{redirect_uri}'
  OAUTH_ENFORCE_PKCE = TRUE
  OAUTH_ISSUE_REFRESH_TOKENS = TRUE
  OAUTH_REFRESH_TOKEN_VALIDITY = 7776000;

SELECT SYSTEM$SHOW_OAUTH_CLIENT_SECRETS('BEHALF');
` + "```" + `

The last statement shows OAUTH_CLIENT_ID and OAUTH_CLIENT_SECRET. A redirect URI on plain http, for a trial on your
own machine, needs OAUTH_ALLOW_NON_TLS_REDIRECT_URI = TRUE as well. People whose default role is ACCOUNTADMIN,
ORGADMIN or SECURITYADMIN are refused by Snowflake unless they choose another role.`

const snowflakeExternalSteps = `Register a confidential web client at your identity provider, with the authorization code grant and exactly this
redirect URI, and let it issue access tokens for your Snowflake account:

` + "```" + `
{redirect_uri}
` + "```" + `

Then, as a role with CREATE INTEGRATION, make Snowflake trust it:

` + "```" + `sql
CREATE SECURITY INTEGRATION behalf_external
  TYPE = EXTERNAL_OAUTH
  ENABLED = TRUE
  EXTERNAL_OAUTH_TYPE = CUSTOM
  EXTERNAL_OAUTH_ISSUER = '<issuer>'
  EXTERNAL_OAUTH_JWS_KEYS_URL = '<jwks_uri of the issuer>'
  EXTERNAL_OAUTH_AUDIENCE_LIST = ('https://<account>.snowflakecomputing.com')
  EXTERNAL_OAUTH_TOKEN_USER_MAPPING_CLAIM = 'sub'
  EXTERNAL_OAUTH_SNOWFLAKE_USER_MAPPING_ATTRIBUTE = 'LOGIN_NAME'
  EXTERNAL_OAUTH_ANY_ROLE_MODE = 'ENABLE';
` + "```" + `

EXTERNAL_OAUTH_TYPE is OKTA, AZURE or PING_FEDERATE where that is what you have.`

// snowflakeBase takes an account identifier (myorg-myaccount, xy12345.eu-central-1) or a full host. Underscores are
// valid in account names but not in host names, where Snowflake writes hyphens.
func snowflakeBase(host string) (string, error) {
	if !strings.Contains(host, "://") && !strings.Contains(host, ".snowflakecomputing.") && !strings.Contains(host, ":") {
		host += ".snowflakecomputing.com"
	}
	base, err := authority(host)
	return strings.ReplaceAll(base, "_", "-"), err
}

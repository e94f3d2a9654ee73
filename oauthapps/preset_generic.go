package oauthapps

// generic are providers of which nothing is known but the standard they follow.
func generic() []Preset {
	return []Preset{
		{
			Name: "oidc", Title: "OpenID Connect provider", IssuerExample: "https://idp.example.com",
			Scopes:      openIDScopes(),
			AuthMethods: []AuthMethod{ClientSecretBasic, ClientSecretPost, PrivateKeyJWT, NoAuth},
			DocsURL:     "https://openid.net/specs/openid-connect-core-1_0.html",
			Steps: `Register a confidential web client with the authorization code grant, PKCE, and exactly this redirect URI:

` + "```" + `
{redirect_uri}
` + "```" + `

Enter its issuer here: the endpoints are read from its metadata.`,
		},
		{
			Name: "oauth2", Title: "OAuth 2.0 authorization server",
			AuthMethods: []AuthMethod{ClientSecretBasic, ClientSecretPost, PrivateKeyJWT, NoAuth},
			DocsURL:     "https://www.rfc-editor.org/rfc/rfc6749",
			Steps: `Register a confidential client with the authorization code grant and exactly this redirect URI:

` + "```" + `
{redirect_uri}
` + "```" + `

Enter its authorization and token endpoints here, or its issuer if it publishes metadata (RFC 8414).`,
			// A server that no preset knows may do what the odder ones of those are known for.
			Quirks: Quirks{
				CommaScopes:   true,
				FormAnswers:   true,
				ErrorsWith200: true,
				NoExpiresIn:   true,
				StringNumbers: true,
				TokenType:     "none",
				Citations: []Citation{
					{"CommaScopes", "Scopes with commas, as GitHub and Slack write them.", "https://docs.slack.dev/authentication/installing-with-oauth"},
					{"FormAnswers", "A form, as GitHub answers by default.", "https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps"},
					{"ErrorsWith200", "Errors with status 200, as GitHub and Slack answer.", "https://docs.slack.dev/authentication/installing-with-oauth"},
					{"NoExpiresIn", "expires_in is only recommended (RFC 6749 §5.1).", "https://www.rfc-editor.org/rfc/rfc6749#section-5.1"},
					{"StringNumbers", "expires_in as a string, as PayPal is known to have sent it.", "https://github.com/golang/oauth2/blob/master/internal/token.go"},
					{"TokenType", "token_type is left out, although it is required.", "https://www.rfc-editor.org/rfc/rfc6749#section-5.1"},
				},
			},
		},
	}
}

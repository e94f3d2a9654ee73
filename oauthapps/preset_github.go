package oauthapps

// github is GitHub: OAuth apps, whose tokens have no end, and GitHub Apps, whose tokens may have one.
func github() []Preset {
	const flow, errors = "https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps",
		"https://docs.github.com/en/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors"
	const refresh, rest = "https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/refreshing-user-access-tokens",
		"https://docs.github.com/en/rest/apps/oauth-applications"
	return []Preset{{
		Name: "github", Title: "GitHub",
		AuthURL: "https://github.com/login/oauth/authorize", TokenURL: "https://github.com/login/oauth/access_token",
		RevocationURL: "https://api.github.com/applications/{client_id}/grant",
		Scopes: []Scope{
			{"read:user", "Know your profile there", true},
			{"read:org", "Know which organizations you belong to there", false},
			{"repo", "Read and write the repositories that you may", false},
		},
		AuthMethods: []AuthMethod{ClientSecretPost, ClientSecretBasic},
		DocsURL:     "https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/creating-an-oauth-app",
		Steps: `Under **Settings › Developer settings › OAuth Apps › New OAuth App** (or GitHub Apps, whose tokens expire and are
refreshed), with exactly this authorization callback URL:

` + "```" + `
{redirect_uri}
` + "```" + `

For GitHub Enterprise Server, enter its own endpoints: https://<host>/login/oauth/authorize,
https://<host>/login/oauth/access_token and https://<host>/api/v3/applications/{client_id}/grant.`,
		Quirks: Quirks{
			RefreshTokens: RefreshSingle,
			CommaScopes:   true,
			ErrorCodes: map[string]string{
				"bad_verification_code":        CodeInvalidGrant,
				"bad_refresh_token":            CodeInvalidGrant,
				"incorrect_client_credentials": CodeInvalidClient,
			},
			FormAnswers:   true,
			ErrorsWith200: true,
			NoExpiresIn:   true,
			TokenType:     "bearer",
			Revocation:    RevokeGrant,
			Citations: []Citation{
				{"RefreshTokens", "A GitHub App's refresh token works once, and takes the old access token with it; an OAuth app has none.", refresh},
				{"CommaScopes", "The granted scopes are a list with commas.", flow},
				{"ErrorCodes", "A wrong code is bad_verification_code, wrong credentials are incorrect_client_credentials.", errors},
				{"FormAnswers", "The answer is a form unless Accept asks for JSON, which Behalf does.", flow},
				{"ErrorsWith200", "Errors come with status 200.", errors},
				{"NoExpiresIn", "The answer to an OAuth app says no end: its tokens live until they are revoked or unused for a year.", "https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/token-expiration-and-revocation"},
				{"TokenType", "token_type is bearer, in lower case.", flow},
				{"Revocation", "An authorization is revoked with DELETE /applications/{client_id}/grant and the access token in a JSON body.", rest},
				{"", "The grant can only be deleted with an access token that is still good.", rest},
			},
		},
	}}
}

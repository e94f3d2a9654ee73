package oauthapps

// salesforce is a Salesforce org by its My Domain.
func salesforce() []Preset {
	const flow, revoke = "https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_refresh_token_flow.htm&type=5",
		"https://developer.salesforce.com/docs/atlas.en-us.mobile_sdk.meta/mobile_sdk/oauth_revoking_tokens.htm"
	return []Preset{{
		Name: "salesforce", Title: "Salesforce", HostLabel: "My Domain", HostExample: "mycompany.my.salesforce.com",
		AuthURL: "https://{host}/services/oauth2/authorize", TokenURL: "https://{host}/services/oauth2/token",
		RevocationURL: "https://{host}/services/oauth2/revoke", UserinfoURL: "https://{host}/services/oauth2/userinfo",
		base: authority,
		Scopes: []Scope{
			{"api", "Use Salesforce's APIs as you", true},
			{"refresh_token", "Stay connected without asking you again", true},
			{"id", "Know who you are there", true},
		},
		AuthMethods: []AuthMethod{ClientSecretPost, ClientSecretBasic, PrivateKeyJWT},
		DocsURL:     "https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_web_server_flow.htm&type=5",
		Steps: `In Setup, under **External Client App Manager › New External Client App**, enable OAuth with PKCE required and exactly
this callback URL:

` + "```" + `
{redirect_uri}
` + "```" + `

Give it the scopes api, refresh_token and id. **Settings › OAuth Settings › Consumer Key and Secret** shows the client
id and the client secret. It works some minutes later.`,
		Quirks: Quirks{
			ErrorCodes:      map[string]string{"invalid_client_id": CodeInvalidClient},
			NoExpiresIn:     true,
			UnknownToken400: true,
			Citations: []Citation{
				{"ErrorCodes", "An unknown client id is invalid_client_id.", "https://help.salesforce.com/s/articleView?id=sf.remoteaccess_oauth_flow_errors.htm&type=5"},
				{"NoExpiresIn", "The answer says when the token was issued and not how long it lives, which is the session timeout of the org.", "https://jsforce.github.io/jsforce/types/oauth2.TokenResponse.html"},
				{"UnknownToken400", "The revocation of a token that has ended is answered with status 400 and invalid_token.", revoke},
				{"", "A refresh token is kept unless the app has refresh token rotation on; then it works once.", flow},
				{"", "How long a refresh token lives is the refresh token policy of the app, and no answer tells it.", flow},
				{"", "A person has at most five access tokens for one app: the oldest one ends without a word.", "https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_request_manage.htm&type=5"},
			},
		},
	}}
}

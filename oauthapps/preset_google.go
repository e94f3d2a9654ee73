package oauthapps

import "time"

// google is Google's authorization server, for BigQuery.
func google() []Preset {
	const server, protocol = "https://developers.google.com/identity/protocols/oauth2/web-server", "https://developers.google.com/identity/protocols/oauth2"
	return []Preset{{
		Name: "google", Title: "Google BigQuery",
		IssuerURL: "https://accounts.google.com",
		AuthURL:   "https://accounts.google.com/o/oauth2/v2/auth", TokenURL: "https://oauth2.googleapis.com/token",
		RevocationURL: "https://oauth2.googleapis.com/revoke", UserinfoURL: "https://openidconnect.googleapis.com/v1/userinfo",
		Scopes: []Scope{
			{"https://www.googleapis.com/auth/bigquery", "Run queries in BigQuery and manage its data, as far as you may", true},
			{"https://www.googleapis.com/auth/bigquery.readonly", "Read the data in BigQuery that you may read (instead of bigquery)", false},
			{"openid", "Know who you are there", true},
			{"email", "Know your e-mail address there", true},
		},
		AuthMethods: []AuthMethod{ClientSecretPost, ClientSecretBasic},
		DocsURL:     server,
		Steps: `In the Google Cloud console, under **APIs & Services**:

1. **Library**: enable the BigQuery API.
2. **OAuth consent screen**: choose Internal, or publish the app: while an External one is in testing, everybody's
   access ends after 7 days. Add the BigQuery scope.
3. **Credentials › Create credentials › OAuth client ID › Web application**, with exactly this authorized redirect URI:

` + "```" + `
{redirect_uri}
` + "```" + `

It shows the client id and the client secret.`,
		Quirks: Quirks{
			AuthParams:      map[string]string{"access_type": "offline", "prompt": "consent"},
			RefreshTokens:   RefreshKept,
			RefreshIdle:     6 * 30 * 24 * time.Hour,
			UnknownToken400: true,
			MismatchMark:    "authError",
			Citations: []Citation{
				{"AuthParams", "A refresh token comes with access_type=offline only, and with the first consent only unless prompt=consent asks for another.", server},
				{"RefreshTokens", "A refresh token is used again and again; a refresh brings no other.", server},
				{"RefreshIdle", "A refresh token that was not used for six months is dead.", protocol},
				{"UnknownToken400", "The revocation of a token that has ended is answered with status 400.", server},
				{"MismatchMark", "A redirect URI that is not registered ends on an error page (redirect_uri_mismatch) instead of the sign-in page.", server},
				{"", "While an External app is in testing, a refresh token lives 7 days.", protocol},
				{"", "A person has at most 100 refresh tokens for one client: the oldest one ends without a word.", protocol},
				{"", "There is no scope offline_access: asking for it is refused.", server},
			},
		},
	}}
}

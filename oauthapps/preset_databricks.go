package oauthapps

// databricks are the three clouds of Databricks. They differ in their hosts and pages, and in nothing that matters here.
func databricks() []Preset {
	clouds := []struct{ name, title, host, docs string }{
		{"databricks", "Databricks", "dbc-a1b2c3d4-e5f6.cloud.databricks.com", "https://docs.databricks.com/aws/en/"},
		{"databricks-azure", "Azure Databricks", "adb-1234567890123456.7.azuredatabricks.net", "https://learn.microsoft.com/en-us/azure/databricks/"},
		{"databricks-gcp", "Databricks on Google Cloud", "1234567890123456.7.gcp.databricks.com", "https://docs.databricks.com/gcp/en/"},
	}
	var presets []Preset
	for _, c := range clouds {
		presets = append(presets, Preset{
			Name: c.name, Title: c.title, HostLabel: "Workspace host", HostExample: c.host,
			AuthURL: "https://{host}/oidc/v1/authorize", TokenURL: "https://{host}/oidc/v1/token", base: authority,
			Scopes: []Scope{
				{"sql", "Run SQL on the warehouses you may use", true},
				{"offline_access", "Stay connected without asking you again", true},
				{"all-apis", "Everything you may do in the workspace (instead of sql)", false},
			},
			AuthMethods: []AuthMethod{ClientSecretBasic, ClientSecretPost, NoAuth},
			DocsURL:     c.docs + "integrations/enable-disable-oauth",
			Steps:       databricksSteps,
			Quirks: Quirks{
				RefreshTokens: RefreshSingle, AnonymousExchange: true,
				Citations: []Citation{
					{"RefreshTokens", "A refresh token works once when enable_single_use_refresh_tokens is set, which is the default of newer apps.", c.docs + "integrations/single-use-tokens"},
					{"", "How long refresh tokens and sessions live is the token_access_policy of the app, and no answer tells it.", c.docs + "integrations/single-use-tokens"},
					{"AnonymousExchange", "A token of your own identity provider is exchanged for a person's without a client_id, which would name a service principal. The account's federation policy decides.", c.docs + "dev-tools/auth/oauth-federation-exchange"},
				},
			},
		})
	}
	return presets
}

const databricksSteps = `As an account admin, register Behalf with the Databricks CLI:

` + "```" + `sh
databricks account custom-app-integration create --json '{
  "name": "behalf",
  "redirect_urls": ["{redirect_uri}"],
  "confidential": true,
  "scopes": ["sql", "offline_access"]
}'
` + "```" + `

It answers with the client id and, once, the client secret. The app works in a workspace some minutes later.`

package oauthapps

import (
	"errors"
	"regexp"
	"strings"
	"time"
)

// entra are Microsoft Entra ID and what is reached with its tokens. A token is for one resource, which the scope
// names; so each resource is a preset.
func entra() []Preset {
	resources := []struct{ name, title, docs, scope, scopeTitle string }{
		{"fabric", "Microsoft Fabric", "https://learn.microsoft.com/en-us/fabric/data-warehouse/entra-id-authentication",
			"https://database.windows.net/.default", "Use the SQL endpoints that you may use"},
		{"azure-sql", "Azure SQL", "https://learn.microsoft.com/en-us/azure/azure-sql/database/authentication-aad-overview",
			"https://database.windows.net/.default", "Use the SQL endpoints that you may use"},
		{"azure-databricks", "Azure Databricks with Microsoft Entra ID", "https://learn.microsoft.com/en-us/azure/databricks/dev-tools/auth/user-aad-token",
			"2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/user_impersonation", "Use Azure Databricks as you"},
		{"entra", "Microsoft Entra ID", "https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-auth-code-flow",
			"api://<APPLICATION>/<SCOPE>", "Use this API as you"},
	}
	var presets []Preset
	for _, r := range resources {
		presets = append(presets, Preset{
			Name: r.name, Title: r.title, HostLabel: "Directory (tenant) ID", HostExample: "72f988bf-86f1-41af-91ab-2d7cd011db47",
			IssuerURL: "https://login.microsoftonline.com/{host}/v2.0",
			AuthURL:   "https://login.microsoftonline.com/{host}/oauth2/v2.0/authorize",
			TokenURL:  "https://login.microsoftonline.com/{host}/oauth2/v2.0/token",
			base:      entraTenant,
			Scopes: []Scope{
				{r.scope, r.scopeTitle, !strings.Contains(r.scope, "<")},
				{"openid", "Know who you are there", true},
				{"offline_access", "Stay connected without asking you again", true},
			},
			AuthMethods: []AuthMethod{ClientSecretPost, ClientSecretBasic, PrivateKeyJWT, NoAuth},
			DocsURL:     r.docs,
			Steps:       strings.ReplaceAll(entraSteps, "{scope}", r.scope),
			Quirks:      entraQuirks(),
		})
	}
	return presets
}

const entraSteps = `In the Microsoft Entra admin center, or with the Azure CLI:

` + "```" + `sh
az ad app create --display-name behalf --sign-in-audience AzureADMyOrg \
  --web-redirect-uris "{redirect_uri}"
az ad app credential reset --id <application id> --append
` + "```" + `

Under **API permissions** add the delegated permission that the scope {scope} stands for, and grant admin consent.
The redirect URI must be of the platform **Web**: one of the platform SPA ends everybody's access after 24 hours.`

func entraQuirks() Quirks {
	const refresh = "https://learn.microsoft.com/en-us/entra/identity-platform/refresh-tokens"
	return Quirks{
		RefreshTokens: RefreshReplaced,
		RefreshLife:   90 * 24 * time.Hour,
		Revocation:    RevokeNever,
		Probe:         ProbeClientCredentials,
		ProbeScope:    "https://graph.microsoft.com/.default",
		MismatchMark:  "AADSTS50011",
		Citations: []Citation{
			{"RefreshTokens", "Each refresh brings a new refresh token, and the old one is not revoked.", refresh},
			{"RefreshLife", "A refresh token lives 90 days, which cannot be configured, and no answer tells it.", refresh},
			{"Revocation", "There is no revocation endpoint: the person removes the app at myapps.microsoft.com, or an admin revokes all their sessions.", "https://learn.microsoft.com/en-us/entra/identity-platform/v2-protocols-oidc"},
			{"Probe", "A request with a made-up code says nothing about the credentials; the client's own grant does.", "https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow"},
			{"ProbeScope", "The client's own grant needs a resource with /.default; every tenant has Microsoft Graph.", "https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow"},
			{"MismatchMark", "A redirect URI that is not registered is the error AADSTS50011.", "https://github.com/microsoft/azure-skills/blob/main/skills/entra-app-registration/references/troubleshooting.md"},
			{"", "A token is for one resource, the one of the first scope that names one.", "https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-auth-code-flow"},
			{"", "Azure Databricks is the resource 2ff814a6-3304-4ab8-85cb-cd0e6f879c1d in every tenant.", "https://learn.microsoft.com/en-us/azure/databricks/dev-tools/auth/user-aad-token"},
		},
	}
}

var tenantID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// entraTenant takes the id of a directory. Its name would do for signing in, but the issuer is spelled with the id, and
// "common" has no issuer of its own: tokens of any directory would be as good.
func entraTenant(host string) (string, error) {
	id := strings.ToLower(strings.TrimSpace(host))
	if !tenantID.MatchString(id) {
		return "", errors.New("must be the id of the directory, such as 72f988bf-86f1-41af-91ab-2d7cd011db47: neither its name nor \"common\"")
	}
	return id, nil
}

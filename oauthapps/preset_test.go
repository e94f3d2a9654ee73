package oauthapps

import (
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEveryQuirkIsCitedAndEveryCitationIsOfAQuirk(t *testing.T) {
	for _, p := range Presets() {
		cited := map[string]bool{}
		for _, c := range p.Quirks.Citations {
			u, err := url.Parse(c.URL)
			if err != nil || u.Scheme != "https" || u.Host == "" || !strings.HasSuffix(c.Says, ".") {
				t.Errorf("%s: citation %+v, want a sentence and an https URL", p.Name, c)
			}
			if c.Field != "" && cited[c.Field] {
				t.Errorf("%s: %s is cited twice", p.Name, c.Field)
			}
			cited[c.Field] = true
		}
		delete(cited, "")
		v := reflect.ValueOf(p.Quirks)
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if name == "Citations" {
				continue
			}
			if set := !v.Field(i).IsZero(); set != cited[name] {
				t.Errorf("%s: %s is set: %v, cited: %v", p.Name, name, set, cited[name])
			}
			delete(cited, name)
		}
		for name := range cited {
			t.Errorf("%s: a citation of %q, which is no quirk", p.Name, name)
		}
	}
}

func TestPresetsAreWhole(t *testing.T) {
	var names []string
	for _, p := range Presets() {
		if p.Name == "" || p.Title == "" || !strings.Contains(p.Steps, "{redirect_uri}") || !strings.HasPrefix(p.DocsURL, "https://") || len(p.AuthMethods) == 0 {
			t.Errorf("preset %+v is not whole", p)
		}
		if slices.Contains(names, p.Name) {
			t.Errorf("two presets are called %q", p.Name)
		}
		names = append(names, p.Name)
		if (p.HostLabel == "") != (p.base == nil) || (p.HostLabel == "") != (p.HostExample == "") {
			t.Errorf("%s: a host label without an example or a use", p.Name)
		}
		if p.AuthMethods[0] == PrivateKeyJWT {
			t.Errorf("%s: needs a key before anything else is known", p.Name)
		}
		for _, s := range p.Scopes {
			if s.Title == "" || s.Default && !validScope(s.Name) || s.Default && strings.Contains(s.Name, "<") {
				t.Errorf("%s: scope %+v", p.Name, s)
			}
		}
		for template, base := range map[string]string{p.AuthURL: "", p.TokenURL: "", p.RevocationURL: "", p.IssuerURL: ""} {
			if strings.Contains(template, "{host}") && p.base == nil {
				t.Errorf("%s: %s%s needs a host", p.Name, base, template)
			}
		}
	}
	for _, want := range []string{
		"databricks", "databricks-azure", "databricks-gcp", "snowflake", "snowflake-external", "google", "fabric", "azure-sql", "azure-databricks", "entra",
		"trino", "okta", "auth0", "keycloak", "github", "salesforce", "oidc", "oauth2",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("there is no preset %q", want)
		}
	}
}

func TestWhatFollowsFromPresetAndHost(t *testing.T) {
	const tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	for _, tt := range []struct {
		preset, host string
		want         App
	}{
		{"google", "", App{Issuer: "https://accounts.google.com"}},
		{"fabric", " " + strings.ToUpper(tenant), App{Issuer: "https://login.microsoftonline.com/" + tenant + "/v2.0"}},
		{"auth0", "Mine.eu.auth0.com", App{Issuer: "https://mine.eu.auth0.com/"}},
		{"auth0", "https://login.example.com/", App{Issuer: "https://login.example.com/"}},
		{"keycloak", "", App{}},
		{"github", "", App{AuthURL: "https://github.com/login/oauth/authorize", TokenURL: "https://github.com/login/oauth/access_token",
			RevocationURL: "https://api.github.com/applications/{client_id}/grant"}},
		{"salesforce", "mine.my.salesforce.com", App{AuthURL: "https://mine.my.salesforce.com/services/oauth2/authorize",
			TokenURL: "https://mine.my.salesforce.com/services/oauth2/token", RevocationURL: "https://mine.my.salesforce.com/services/oauth2/revoke",
			UserinfoURL: "https://mine.my.salesforce.com/services/oauth2/userinfo"}},
		{"databricks-gcp", "1.7.gcp.databricks.com", App{AuthURL: "https://1.7.gcp.databricks.com/oidc/v1/authorize", TokenURL: "https://1.7.gcp.databricks.com/oidc/v1/token"}},
	} {
		p, _ := findPreset(tt.preset)
		got, err := p.urls(tt.host)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s %q = %+v, %v, want %+v", tt.preset, tt.host, got, err, tt.want)
		}
	}
	p, _ := findPreset("entra")
	for _, host := range []string{"common", "organizations", "contoso.onmicrosoft.com", tenant + "/../common"} {
		if got, err := p.urls(host); err == nil {
			t.Errorf("entra %q = %+v, want a refusal", host, got)
		}
	}
	for _, preset := range []string{"google", "github", "salesforce"} {
		p, _ := findPreset(preset)
		own := App{Preset: preset, AuthURL: "https://idp.example.com/a", TokenURL: "https://idp.example.com/t"}
		if p.HostLabel != "" {
			own.Host = p.HostExample
		}
		if err := p.derive(&own); err != nil || own.Issuer != "" || own.RevocationURL != "" || own.UserinfoURL != "" {
			t.Errorf("%s with endpoints of its own would be sent elsewhere: %+v, %v", preset, own, err)
		}
	}
}

func TestAuthorizationParams(t *testing.T) {
	google := App{Preset: "google", AuthParams: map[string]string{"hd": "example.com", "prompt": "select_account consent"}}
	want := map[string]string{"access_type": "offline", "prompt": "select_account consent", "hd": "example.com"}
	if got := google.AuthorizationParams(); !reflect.DeepEqual(got, want) {
		t.Errorf("AuthorizationParams = %v, want %v", got, want)
	}
	google.AuthParams["prompt"] = ""
	delete(want, "prompt")
	if got := google.AuthorizationParams(); !reflect.DeepEqual(got, want) {
		t.Errorf("with an empty one AuthorizationParams = %v, want %v", got, want)
	}
}

func TestRepeatable(t *testing.T) {
	for _, tt := range []struct {
		name string
		q    Quirks
		ago  time.Duration
		want bool
	}{
		{"who is not known may burn the family", Quirks{}, 0, false},
		{"single use is once", Quirks{RefreshTokens: RefreshSingle}, time.Second, false},
		{"a window is open", Quirks{ReuseWindow: 30 * time.Second}, 29 * time.Second, true},
		{"a window is over", Quirks{ReuseWindow: 30 * time.Second}, 30 * time.Second, false},
		{"a kept token works on", Quirks{RefreshTokens: RefreshKept}, time.Hour, true},
		{"a replaced token works on", Quirks{RefreshTokens: RefreshReplaced}, time.Hour, true},
	} {
		if got := tt.q.Repeatable(tt.ago); got != tt.want {
			t.Errorf("%s: Repeatable = %v, want %v", tt.name, got, tt.want)
		}
	}
}

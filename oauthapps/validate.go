package oauthapps

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/displayname"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/loopback"
	"github.com/behalf-project/behalf/internal/spelling"
)

// Bounds of what an app may hold. They are far above what providers use.
const (
	maxName    = 200
	maxURL     = 2048
	maxText    = 4096
	maxScopes  = 100
	maxParams  = 32
	maxSources = 200
)

var slugPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// reservedParams are the parameters of an authorization request that are ours to set (RFC 6749 §4.1.1, RFC 7636,
// OIDC Core §3.1.2.1). An app that could set them could turn off PKCE or the state.
var reservedParams = []string{
	"response_type", "response_mode", "client_id", "client_secret", "redirect_uri", "scope", "state", "nonce",
	"code_challenge", "code_challenge_method", "code", "request", "request_uri", "dpop_jkt", "client_assertion", "client_assertion_type",
}

// fields collects what is wrong with an app, so that its admin reads everything at once.
type fields struct {
	prefix string
	list   []fault.Field
}

func (f *fields) add(name, code, format string, args ...any) {
	f.list = append(f.list, fault.Field{Pointer: f.prefix + "/" + name, Code: code, Detail: fmt.Sprintf(format, args...)})
}

// err returns fault.Invalid with all fields, or nil when there are none.
func (f *fields) err() error {
	if len(f.list) == 0 {
		return nil
	}
	e := fault.New(fault.Invalid, "The OAuth app is not valid: %s", f.list[0].Detail)
	if n := len(f.list); n > 1 {
		e.Detail = fmt.Sprintf("The OAuth app is not valid in %d places: %s …", n, f.list[0].Detail)
	}
	e.Owner, e.Fields = fault.Admin, f.list
	return e
}

// normalize trims what people paste, removes duplicates and fills in what follows from the preset. It leaves wrong
// values alone: check names them.
func normalize(a App) App {
	for _, s := range []*string{
		&a.Name, &a.Slug, &a.Preset, &a.Host, &a.Issuer, &a.AuthURL, &a.TokenURL, &a.RevocationURL, &a.UserinfoURL,
		&a.JWKSURL, &a.ClientID, &a.IntrospectionURL, &a.PARURL, (*string)(&a.IdentityMatch), (*string)(&a.HandOut),
	} {
		*s = strings.TrimSpace(*s)
	}
	for _, text := range []*Secret{&a.ClientSecret, &a.ClientSecretNext} {
		if s := strings.TrimSpace(text.Reveal()); s != text.Reveal() {
			*text = NewSecret(s)
		}
	}
	a.PrivateKey = normalizeKey(a.PrivateKey)
	if a.DPoP == "false" {
		a.DPoP = DPoPOff
	}
	a.Resources, a.ExchangeAudiences = words(a.Resources), words(a.ExchangeAudiences)
	a.SubjectIssuers = trimmed(a.SubjectIssuers)
	a.Scopes, a.DataSources = words(a.Scopes), words(a.DataSources)
	if a.IdentityMatch == "" {
		a.IdentityMatch = MatchWarn
	}
	if a.HandOut == "" {
		a.HandOut = HandOutAllow
	}
	if a.Slug == "" {
		a.Slug = slugOf(a.Name)
	}
	if a.Preset == "" {
		a.Preset = "oauth2"
		if a.Issuer != "" && a.AuthURL == "" {
			a.Preset = "oidc"
		}
	}
	preset, ok := findPreset(a.Preset)
	if !ok {
		return a
	}
	if a.AuthMethod == "" {
		a.AuthMethod = preset.AuthMethods[0]
	}
	if len(a.Scopes) == 0 {
		a.Scopes = preset.defaultScopes()
	}
	_ = preset.derive(&a) // check says what is wrong with the host
	return a
}

// words trims the elements of list and drops the empty and the repeated ones; the order stays.
func words(list []string) []string {
	var out []string
	for _, w := range list {
		if w = strings.TrimSpace(w); w != "" && !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

// trimmed trims what is written of issuers, and drops the repeated ones; the order stays.
func trimmed(issuers []SubjectIssuer) []SubjectIssuer {
	var out []SubjectIssuer
	for _, i := range issuers {
		i.Issuer, i.Audience = strings.TrimSpace(i.Issuer), strings.TrimSpace(i.Audience)
		if !slices.Contains(out, i) {
			out = append(out, i)
		}
	}
	return out
}

// slugOf makes a slug of a name: "Databricks (prod)" is databricks-prod. It may be empty.
func slugOf(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	s := b.String()
	return strings.Trim(s[:min(len(s), 63)], "-")
}

// check adds to f everything that is wrong with a, which has been normalized.
func check(a App, f *fields) {
	if e, ok := errors.AsType[*fault.Error](displayname.Check(a.Name, maxName)); ok {
		f.add("name", e.Code, "%s", e.Detail)
	}
	if a.Slug == "" && a.Name != "" {
		f.add("slug", "required", "slug is missing and none can be made from the name: write one, such as \"databricks\".")
	} else if a.Slug != "" && !slugPattern.MatchString(a.Slug) {
		f.add("slug", "invalid", "slug %q must be 1 to 63 lower-case letters, digits and hyphens, and begin with a letter or digit.", clip(a.Slug))
	}
	checkEndpoints(a, f)
	checkClient(a, f)
	checkRollover(a, f)
	checkExtensions(a, f)
	checkLists(a, f)
	for _, choice := range []struct {
		name, value string
		known       []string
	}{
		{"identity_match", string(a.IdentityMatch), []string{string(MatchEnforce), string(MatchWarn), string(MatchOff)}},
		{"hand_out", string(a.HandOut), []string{string(HandOutAllow), string(HandOutDeny)}},
	} {
		if !slices.Contains(choice.known, choice.value) {
			f.add(choice.name, "unknown", "%s %q does not exist%s", choice.name, clip(choice.value), knownOr(choice.value, choice.known))
		}
	}
}

func checkEndpoints(a App, f *fields) {
	preset, ok := findPreset(a.Preset)
	if !ok {
		f.add("preset", "unknown", "preset %q does not exist%s", clip(a.Preset), knownOr(a.Preset, presetNames()))
	}
	if a.Host != "" && ok {
		switch {
		case preset.base == nil:
			f.add("host", "unused", "preset %q derives nothing from a host: leave it out and give the issuer or the URLs.", a.Preset)
		default:
			if _, err := preset.base(a.Host); err != nil {
				f.add("host", "invalid", "host %v.", err)
			}
		}
	}
	for _, u := range []struct{ name, value string }{
		{"issuer", a.Issuer}, {"auth_url", a.AuthURL}, {"token_url", a.TokenURL}, {"revocation_url", a.RevocationURL},
		{"userinfo_url", a.UserinfoURL}, {"jwks_url", a.JWKSURL}, {"introspection_url", a.IntrospectionURL}, {"par_url", a.PARURL},
	} {
		if u.value == "" {
			continue
		}
		if err := CheckURL(u.value); err != nil {
			f.add(u.name, "invalid", "%s %v.", u.name, err)
		} else if u.name == "issuer" && strings.Contains(u.value, "?") {
			f.add(u.name, "invalid", "issuer must not have a query (RFC 8414 §2).")
		}
	}
	if !ok || a.Issuer != "" || a.Host != "" {
		return // the rest comes from the host or from the issuer's metadata
	}
	from := "or the issuer"
	if preset.base != nil {
		from = "the issuer, or the host they follow from"
	}
	if a.AuthURL == "" {
		f.add("auth_url", "required", "auth_url is missing: give it, %s.", from)
	}
	if a.TokenURL == "" {
		f.add("token_url", "required", "token_url is missing: give it, %s.", from)
	}
}

func checkClient(a App, f *fields) {
	if a.ClientID == "" {
		f.add("client_id", "required", "client_id is missing: the provider shows it where you register Behalf.")
	} else if len(a.ClientID) > maxText || hasControl(a.ClientID) {
		f.add("client_id", "invalid", "client_id must be at most %d bytes without control characters.", maxText)
	}
	switch a.AuthMethod {
	case ClientSecretBasic, ClientSecretPost:
		if a.ClientSecret.Empty() {
			f.add("client_secret", "required", "client_secret is missing; a public client has token_endpoint_auth_method \"none\".")
		} else if s := a.ClientSecret.Reveal(); len(s) > maxText || hasControl(s) {
			f.add("client_secret", "invalid", "client_secret must be at most %d bytes without control characters.", maxText)
		}
	case NoAuth:
		if !a.ClientSecret.Empty() {
			f.add("client_secret", "unused", "client_secret is not used with token_endpoint_auth_method \"none\": leave it out.")
		}
	case PrivateKeyJWT:
		if !a.ClientSecret.Empty() {
			f.add("client_secret", "unused", "client_secret is not used with token_endpoint_auth_method \"private_key_jwt\": leave it out.")
		}
		checkKey(a, f)
	case "": // the preset is unknown, which is said already
	default:
		known := []string{string(ClientSecretBasic), string(ClientSecretPost), string(PrivateKeyJWT), string(NoAuth)}
		f.add("token_endpoint_auth_method", "unknown", "token_endpoint_auth_method %q does not exist%s", clip(string(a.AuthMethod)), knownOr(string(a.AuthMethod), known))
	}
}

// checkKey checks what private_key_jwt needs.
func checkKey(a App, f *fields) {
	switch a.AssertionAudience {
	case "", AudienceTokenEndpoint:
	case AudienceIssuer:
		if a.Issuer == "" {
			f.add("assertion_audience", "invalid", "assertion_audience is \"issuer\" and the app has none: give the issuer, or write \"token_endpoint\".")
		}
	default:
		f.add("assertion_audience", "unknown", "assertion_audience %q does not exist%s", clip(string(a.AssertionAudience)),
			knownOr(string(a.AssertionAudience), []string{string(AudienceIssuer), string(AudienceTokenEndpoint)}))
	}
	if a.PrivateKey.Empty() {
		f.add("private_key", "required", "private_key is missing: token_endpoint_auth_method \"private_key_jwt\" signs with it. Give a PEM or a JWK, or have one made.")
		return
	}
	if _, err := parseKey(a.PrivateKey); err != nil {
		f.add("private_key", "invalid", "private_key %v.", err)
	}
}

// checkRollover checks a second client secret.
func checkRollover(a App, f *fields) {
	switch s := a.ClientSecretNext.Reveal(); {
	case s == "":
	case a.AuthMethod != ClientSecretBasic && a.AuthMethod != ClientSecretPost:
		f.add("client_secret_next", "unused", "client_secret_next is not used with token_endpoint_auth_method %q: leave it out.", clip(string(a.AuthMethod)))
	case len(s) > maxText || hasControl(s):
		f.add("client_secret_next", "invalid", "client_secret_next must be at most %d bytes without control characters.", maxText)
	case a.ClientSecretNext.Equal(a.ClientSecret):
		f.add("client_secret_next", "invalid", "client_secret_next is the same as client_secret: give the new one, or leave it out.")
	}
	if a.AuthMethod != PrivateKeyJWT && a.AuthMethod != "" {
		if !a.PrivateKey.Empty() {
			f.add("private_key", "unused", "private_key is not used with token_endpoint_auth_method %q: leave it out.", clip(string(a.AuthMethod)))
		}
		if a.AssertionAudience != "" {
			f.add("assertion_audience", "unused", "assertion_audience is not used with token_endpoint_auth_method %q: leave it out.", clip(string(a.AuthMethod)))
		}
	}
}

// checkExtensions checks what the app asks of its server beyond RFC 6749.
func checkExtensions(a App, f *fields) {
	switch a.DPoP {
	case DPoPOff, DPoPAuto, DPoPAlways:
	default:
		f.add("dpop", "unknown", "dpop %q does not exist; there are auto, true and false.", clip(string(a.DPoP)))
	}
	if a.PARRequired && a.PARURL == "" && a.Issuer == "" {
		f.add("par_url", "required", "par_url is missing: par_required says that authorization requests must be pushed.")
	}
	if len(a.Resources) > maxParams {
		f.add("resource", "too_many", "resource has %d entries, at most %d are allowed.", len(a.Resources), maxParams)
	}
	for i, r := range a.Resources {
		if u, err := url.Parse(r); err != nil || u.Scheme == "" || strings.Contains(r, "#") || len(r) > maxURL || hasControl(r) || strings.Contains(r, " ") {
			f.add(fmt.Sprintf("resource/%d", i), "invalid", "resource %q must be an absolute URI without a fragment (RFC 8707 §2).", clip(r))
		}
	}
	if len(a.ExchangeAudiences) > maxParams {
		f.add("token_exchange/audiences", "too_many", "token_exchange has %d audiences, at most %d are allowed.", len(a.ExchangeAudiences), maxParams)
	}
	for i, audience := range a.ExchangeAudiences {
		if len(audience) > maxURL || hasControl(audience) {
			f.add(fmt.Sprintf("token_exchange/audiences/%d", i), "invalid", "an audience is too long or holds control characters.")
		}
	}
	if len(a.SubjectIssuers) > maxParams {
		f.add("token_exchange/subject_issuers", "too_many", "token_exchange has %d subject issuers, at most %d are allowed.", len(a.SubjectIssuers), maxParams)
	}
	for i, s := range a.SubjectIssuers {
		at := fmt.Sprintf("token_exchange/subject_issuers/%d", i)
		if err := CheckURL(s.Issuer); err != nil {
			f.add(at+"/issuer", "invalid", "the issuer of subject tokens %v.", err)
		} else if strings.Contains(s.Issuer, "?") {
			f.add(at+"/issuer", "invalid", "the issuer of subject tokens must not have a query (RFC 8414 §2).")
		}
		switch {
		case s.Audience == "":
			f.add(at+"/audience", "required", "the audience is missing: write the aud that the tokens of this issuer have for this app, or a token made for anybody else would do.")
		case len(s.Audience) > maxURL || hasControl(s.Audience):
			f.add(at+"/audience", "invalid", "the audience is too long or holds control characters.")
		}
	}
}

func checkLists(a App, f *fields) {
	if len(a.Scopes) > maxScopes {
		f.add("scopes", "too_many", "scopes has %d entries, at most %d are allowed.", len(a.Scopes), maxScopes)
	}
	for i, s := range a.Scopes {
		if !validScope(s) {
			f.add(fmt.Sprintf("scopes/%d", i), "invalid", "scope %q holds a character that no scope may have (RFC 6749 §3.3).", clip(s))
		} else if strings.Contains(s, "<") {
			f.add(fmt.Sprintf("scopes/%d", i), "invalid", "scope %q still holds a placeholder: put the real name in its place.", clip(s))
		}
	}
	if len(a.AuthParams) > maxParams {
		f.add("auth_params", "too_many", "auth_params has %d entries, at most %d are allowed.", len(a.AuthParams), maxParams)
	}
	for _, name := range sortedKeys(a.AuthParams) {
		switch value := a.AuthParams[name]; {
		case strings.EqualFold(name, "resource"):
			f.add("auth_params/"+pointerEscape(name), "reserved", "auth_params must not set \"resource\": write it as resource of the app, which token requests carry too (RFC 8707).")
		case slices.Contains(reservedParams, strings.ToLower(name)):
			f.add("auth_params/"+pointerEscape(name), "reserved", "auth_params must not set %q: Behalf sets it for each authorization.", clip(name))
		case name == "" || len(name)+len(value) > maxURL || hasControl(name+value):
			f.add("auth_params/"+pointerEscape(clip(name)), "invalid", "auth_params has an entry that is empty, too long or holds control characters.")
		}
	}
	if len(a.DataSources) > maxSources {
		f.add("data_sources", "too_many", "data_sources has %d entries, at most %d are allowed.", len(a.DataSources), maxSources)
	}
	for i, s := range a.DataSources {
		if len(s) > maxName || hasControl(s) {
			f.add(fmt.Sprintf("data_sources/%d", i), "invalid", "data_sources has a name that is too long or holds control characters.")
		}
	}
}

// CheckURL says what is wrong with the URL of an endpoint or an issuer: it must be absolute, https (http on loopback
// only), without fragment and credentials. The error is the end of a sentence that begins with the field's name.
func CheckURL(raw string) error {
	if len(raw) > maxURL {
		return fmt.Errorf("is longer than %d bytes", maxURL)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || hasControl(raw) || strings.ContainsAny(raw, " \\"):
		return fmt.Errorf("is not a URL")
	case u.Scheme == "" || u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return fmt.Errorf("must be an absolute URL, such as https://idp.example.com/authorize")
	case u.User != nil:
		return fmt.Errorf("must not hold credentials")
	case u.Fragment != "" || strings.HasSuffix(raw, "#"):
		return fmt.Errorf("must not have a fragment")
	}
	return checkScheme(u)
}

func checkScheme(u *url.URL) error {
	switch {
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && loopback.Host(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("must be https; plain http is for loopback addresses only")
	}
	return fmt.Errorf("must be https")
}

// validScope reports whether s is a scope-token of RFC 6749 §3.3.
func validScope(s string) bool {
	if s == "" || len(s) > maxURL {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

// clip bounds what of a wrong value is repeated in an error.
func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}

// knownOr ends a sentence about an unknown word: with the one that was probably meant, or with all there are.
func knownOr(word string, known []string) string {
	if near := spelling.DidYouMean(word, known); near != "" {
		return near
	}
	return "; there are " + strings.Join(known, ", ") + "."
}

// pointerEscape escapes one step of a JSON pointer (RFC 6901 §3).
func pointerEscape(s string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(s)
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

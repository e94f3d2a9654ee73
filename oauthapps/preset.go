package oauthapps

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Preset is what is known of a kind of provider: which few inputs matter, what follows from them, what its
// administrator has to type there, and in what it differs from others.
type Preset struct {
	Name          string // frozen: apps are stored with it
	Title         string
	HostLabel     string // what the host is called there; empty when nothing is derived from one
	HostExample   string
	IssuerExample string // of a preset that begins with an issuer; empty when that follows or there is none
	Scopes        []Scope
	Params        []Param      // more parameters of the authorization request that an admin should fill in
	AuthMethods   []AuthMethod // the default first
	DocsURL       string       // the provider's own page about registering a client
	Steps         string       // what to do at the provider; {redirect_uri} stands for ours

	// The URLs that follow from a host, which {host} stands for, or are always the same. They are empty where nothing
	// follows. Where the issuer follows, its metadata is read for the others, which are then only for showing.
	IssuerURL, AuthURL, TokenURL, RevocationURL, UserinfoURL string

	Quirks Quirks

	// base turns what people enter as host into what replaces it in the URLs: scheme and authority, without a slash at
	// the end, where {host} is in the authority. It is nil where nothing follows from a host.
	base func(host string) (string, error)
}

// Scope is one scope that a provider knows, with its meaning in plain words.
type Scope struct {
	Name    string
	Title   string
	Default bool // asked for when an app names no scopes
}

// Param is a parameter of the authorization request with its meaning in plain words.
type Param struct {
	Name     string
	Title    string
	Example  string
	Required bool // without it the tokens are of no use
}

// Presets returns the known presets, the specific ones first.
func Presets() []Preset {
	return slices.Concat(
		databricks(), snowflake(), google(), entra(), trino(), okta(), auth0(), keycloak(), github(), salesforce(), generic(),
	)
}

// Begins says what an app of p is made of besides the client's credentials: a host under its name there, an issuer, the
// endpoints, or nothing.
func (p Preset) Begins() string {
	switch {
	case p.HostLabel != "":
		return p.HostLabel
	case p.IssuerExample != "":
		return "Issuer"
	case p.TokenURL != "":
		return "Nothing"
	}
	return "Endpoints or issuer"
}

// presetNames are the names of all presets, for errors.
func presetNames() (names []string) {
	for _, p := range Presets() {
		names = append(names, p.Name)
	}
	return names
}

func findPreset(name string) (Preset, bool) {
	for _, p := range Presets() {
		if p.Name == name {
			return p, true
		}
	}
	return Preset{}, false
}

// hostOrigin is the part of a URL of a preset that the base of a host replaces.
var hostOrigin = regexp.MustCompile(`^https://[^/]*\{host\}[^/]*`)

// urls returns the URLs that follow for an app with this host; those that do not follow are empty. A host that makes
// no sense is an error, a sentence for the admin.
func (p Preset) urls(host string) (App, error) {
	base := ""
	if p.base != nil && host != "" {
		var err error
		if base, err = p.base(host); err != nil {
			return App{}, err
		}
	}
	expand := func(template string) string {
		switch at := hostOrigin.FindString(template); {
		case !strings.Contains(template, "{host}"):
			return template
		case base == "":
			return ""
		case at != "":
			return base + template[len(at):]
		}
		return strings.ReplaceAll(template, "{host}", base)
	}
	if p.IssuerURL != "" {
		return App{Issuer: expand(p.IssuerURL)}, nil
	}
	return App{
		AuthURL: expand(p.AuthURL), TokenURL: expand(p.TokenURL), RevocationURL: expand(p.RevocationURL), UserinfoURL: expand(p.UserinfoURL),
	}, nil
}

// derive fills the URLs of a that are empty and follow from its preset and host. An app with endpoints of its own is at
// another server, whose issuer is another one and whose tokens must not be sent to this one.
func (p Preset) derive(a *App) error {
	known, err := p.urls(a.Host)
	if err != nil {
		return err
	}
	if a.AuthURL != "" || a.TokenURL != "" {
		known.Issuer = ""
	}
	if a.TokenURL != "" && a.TokenURL != known.TokenURL {
		known.RevocationURL, known.UserinfoURL = "", ""
	}
	for _, f := range []struct {
		to   *string
		from string
	}{
		{&a.Issuer, known.Issuer}, {&a.AuthURL, known.AuthURL}, {&a.TokenURL, known.TokenURL},
		{&a.RevocationURL, known.RevocationURL}, {&a.UserinfoURL, known.UserinfoURL},
	} {
		if *f.to == "" {
			*f.to = f.from
		}
	}
	return nil
}

// defaultScopes are the scopes that an app asks for when it names none.
func (p Preset) defaultScopes() (scopes []string) {
	for _, s := range p.Scopes {
		if s.Default {
			scopes = append(scopes, s.Name)
		}
	}
	return scopes
}

// authority returns scheme://host[:port] of what people enter as a host: with or without a scheme, or a slash at the
// end. A workspace on loopback may name http and a port.
func authority(host string) (string, error) {
	if !strings.Contains(host, "://") {
		host = "https://" + host
	}
	u, err := url.Parse(strings.TrimRight(host, "/"))
	if err != nil || u.Host == "" || u.Hostname() == "" {
		return "", fmt.Errorf("is not a host name")
	}
	if u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", fmt.Errorf("must be a host name only, without path, query or credentials")
	}
	if err := checkScheme(u); err != nil {
		return "", err
	}
	return u.Scheme + "://" + strings.ToLower(u.Host), nil
}

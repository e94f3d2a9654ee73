package idp

import (
	"bytes"
	"crypto/rand"
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/secret"
)

const (
	codeLife  = 60 * time.Second
	maxListed = 20 // people of the sign-in page
)

// code is an authorization code, until it is traded or for a minute after it could have been.
type code struct {
	grant       *grant
	redirectURI string
	challenge   string
	nonce       string
	key         string // thumbprint of the key that must redeem it (RFC 9449 §10); empty: any
	expires     time.Time
	used        bool
}

// authorization is a valid authorization request.
type authorization struct {
	client      *Client
	redirectURI string
	state       string
	scopes      []string
	challenge   string
	nonce       string
	key         string
	resources   []string
}

var challengeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// request checks an authorization request (RFC 6749 §4.1.1). What is wrong before client and redirect URI are known
// to belong together is shown here, and never sent on; the rest goes to the redirect URI. visit says that the sign-in
// page is to be drawn for the first time.
func (p *Provider) request(c *call, q url.Values, visit bool) (authorization, *answer) {
	q, pushing := p.resolve(q, visit)
	if pushing != "" && q.Has("request_uri") {
		c.entry.Client = q.Get("client_id")
		return authorization{}, errorPage("The request is not known", pushing)
	}
	p.mu.Lock()
	client := p.clients[q.Get("client_id")]
	var registered []string
	if client != nil {
		registered = slices.Clone(client.RedirectURIs)
	}
	p.mu.Unlock()
	c.entry.Client = q.Get("client_id")
	if client == nil {
		return authorization{}, errorPage("Unknown client", "No OAuth app with the client id "+q.Get("client_id")+" is registered here.")
	}
	uri := q.Get("redirect_uri")
	habits := p.habits()
	if habits.SignInFirst && c.r.Method == http.MethodGet && !slices.Contains(registered, uri) {
		return authorization{client: client, redirectURI: uri}, nil
	}
	if mark := habits.MismatchMark; mark != "" && !slices.Contains(registered, uri) {
		return authorization{}, &answer{status: http.StatusFound, header: http.Header{"Location": {p.issuer + "/signin/oauth/error?" + mark + "=redirect_uri_mismatch"}}}
	}
	if !slices.Contains(registered, uri) {
		return authorization{}, errorPage("Redirect URI does not match", "The OAuth app "+client.ID+" sent the redirect URI "+uri+
			" which is not registered. Register exactly this text; registered are: "+strings.Join(registered, " "))
	}
	a := authorization{client: client, redirectURI: uri, state: q.Get("state"), scopes: strings.Fields(q.Get("scope")),
		challenge: q.Get("code_challenge"), nonce: q.Get("nonce"), key: q.Get("dpop_jkt"), resources: q["resource"]}
	refuse := func(code, description string) *answer {
		c.entry.Error = code
		out := p.redirect(c, a, url.Values{"error": {code}, "error_description": {description}})
		return &out
	}
	if pushing != "" {
		return a, refuse("invalid_request", pushing)
	}
	if code, description := p.check(client, q); code != "" {
		return a, refuse(code, description)
	}
	return a, nil
}

// check returns the error code and the description of what is wrong with an authorization request of client, or
// nothing. The redirect URI is checked again for requests that are pushed.
func (p *Provider) check(client *Client, q url.Values) (code, description string) {
	p.mu.Lock()
	registered := slices.Contains(client.RedirectURIs, q.Get("redirect_uri"))
	p.mu.Unlock()
	for name, values := range q {
		if len(values) > 1 && name != "resource" {
			return "invalid_request", "the parameter " + name + " is given twice"
		}
	}
	for _, r := range q["resource"] {
		if u, err := url.Parse(r); err != nil || u.Scheme == "" || strings.Contains(r, "#") {
			return "invalid_target", "a resource is an absolute URI without a fragment"
		}
	}
	switch {
	case !registered:
		return "invalid_request", "the redirect URI is not registered"
	case q.Get("response_type") != "code":
		return "unsupported_response_type", "response_type must be code"
	case q.Get("code_challenge_method") != "S256" || !challengeForm.MatchString(q.Get("code_challenge")):
		return "invalid_request", "PKCE is required: send code_challenge with code_challenge_method=S256"
	case q.Get("request") != "":
		return "request_not_supported", "request objects are not supported"
	case p.habits().RefreshByConsent && slices.Contains(strings.Fields(q.Get("scope")), "offline_access"):
		return "invalid_scope", "there is no scope offline_access"
	case q.Get("prompt") == "none":
		return "login_required", "nobody is ever signed in here"
	}
	return "", ""
}

// redirect answers with the authorization response: 303, so that the browser does not repeat a POST with a password.
func (p *Provider) redirect(c *call, a authorization, params url.Values) answer {
	if a.state != "" {
		params.Set("state", a.state)
	}
	params.Set("iss", p.issuer)
	if c.fault.WrongIssuer {
		params.Set("iss", p.issuer+"/other")
	}
	to, err := url.Parse(a.redirectURI)
	if err != nil {
		return *errorPage("Redirect URI is no URI", a.redirectURI)
	}
	q := to.Query()
	for name, values := range params {
		q[name] = values
	}
	to.RawQuery = q.Encode()
	return answer{status: http.StatusSeeOther, header: http.Header{
		"Location": {to.String()}, "Cache-Control": {"no-store"}, "Referrer-Policy": {"no-referrer"},
	}}
}

// authorize shows the sign-in page.
func (p *Provider) authorize(c *call) answer {
	a, refusal := p.request(c, c.form, true)
	if refusal != nil {
		return *refusal
	}
	return p.signInPage(http.StatusOK, a, c.form, "")
}

// signIn takes the form of the sign-in page, which carries the authorization request with it.
func (p *Provider) signIn(c *call) answer {
	q, err := url.ParseQuery(c.form.Get("request"))
	if err != nil {
		return *errorPage("The form is damaged", "Go back and begin again.")
	}
	a, refusal := p.request(c, q, false)
	if refusal != nil {
		return *refusal
	}
	if c.form.Has("deny") {
		p.spend(q)
		c.entry.Error = "access_denied"
		return p.redirect(c, a, url.Values{"error": {"access_denied"}, "error_description": {"the person said no"}})
	}
	person, ok := p.whoSignsIn(c.form)
	if !ok {
		return p.signInPage(http.StatusUnauthorized, a, q, "Username or password is wrong.")
	}
	c.entry.Person = person
	p.spend(q)
	text := rand.Text() + rand.Text()
	p.mu.Lock()
	now := p.now()
	for d, old := range p.codes {
		if now.After(old.expires.Add(codeLife)) {
			delete(p.codes, d)
		}
	}
	p.seen("code", text)
	p.seen("state", a.state)
	p.codes[hash(text)] = &code{
		grant: &grant{client: a.client.ID, person: person, scopes: a.scopes, resources: a.resources, signedIn: now,
			offline: p.grantsRefresh(a.client.ID, person, q)},
		redirectURI: a.redirectURI, challenge: a.challenge, nonce: a.nonce, key: a.key, expires: now.Add(codeLife),
	}
	p.mu.Unlock()
	return p.redirect(c, a, url.Values{"code": {text}})
}

// whoSignsIn returns the person whose password the form holds, or whom it names when SetSignInAs allows that.
func (p *Provider) whoSignsIn(form url.Values) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if as := form.Get("as"); as != "" {
		return as, p.settings.signInAs && p.people[as] != nil
	}
	person := p.people[form.Get("username")]
	if person == nil || person.Password.Empty() || !person.Password.Equal(secret.New(form.Get("password"))) {
		return "", false
	}
	return person.Username, true
}

type pageData struct {
	Title, Message, Client, Host, Request, Hint string
	Scopes                                      []string
	People                                      []Person
	Form                                        bool
}

func (p *Provider) signInPage(status int, a authorization, q url.Values, message string) answer {
	data := pageData{Title: "Sign in", Message: message, Client: a.client.ID, Scopes: a.scopes, Request: q.Encode(), Hint: q.Get("login_hint"), Form: true}
	if to, err := url.Parse(a.redirectURI); err == nil {
		data.Host = to.Host
	}
	p.mu.Lock()
	if p.settings.signInAs {
		for _, person := range p.people {
			data.People = append(data.People, *person)
		}
	}
	p.mu.Unlock()
	slices.SortFunc(data.People, func(a, b Person) int { return strings.Compare(a.Username, b.Username) })
	data.People = data.People[:min(len(data.People), maxListed)]
	return page(status, data)
}

func errorPage(title, message string) *answer {
	a := page(http.StatusBadRequest, pageData{Title: title, Message: message})
	return &a
}

func page(status int, data pageData) answer {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, data); err != nil {
		return answer{status: http.StatusInternalServerError, body: []byte("the page failed")}
	}
	return answer{status: status, body: b.Bytes(), header: http.Header{
		"Content-Type": {"text/html; charset=utf-8"}, "Cache-Control": {"no-store"}, "Referrer-Policy": {"same-origin"},
		"Content-Security-Policy": {"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"},
	}}
}

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{.Title}} · Sandbox identity provider</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 26rem; margin: 10vh auto; padding: 0 1rem }
small, .note { opacity: .75 }
label { display: block; margin: .75rem 0 }
input { display: block; width: 100%; box-sizing: border-box; padding: .5rem; font: inherit }
button { padding: .5rem 1rem; font: inherit; cursor: pointer }
.people button { display: block; width: 100%; margin: .5rem 0; text-align: left }
</style>
</head>
<body>
<p class="note">Sandbox identity provider</p>
<h1>{{.Title}}</h1>
{{with .Message}}<p role="alert">{{.}}</p>{{end}}
{{if .Form}}
<p><strong>{{.Client}}</strong> at {{.Host}} asks for access{{if .Scopes}} to: {{range .Scopes}}<code>{{.}}</code> {{end}}{{end}}</p>
{{if .People}}
<form method="post" action="/authorize" class="people">
<input type="hidden" name="request" value="{{.Request}}">
{{range .People}}<button name="as" value="{{.Username}}">Continue as <strong>{{.Username}}</strong>{{with .Name}} <small>{{.}}</small>{{end}}</button>{{end}}
</form>
<p class="note">or with a password</p>
{{end}}
<form method="post" action="/authorize">
<input type="hidden" name="request" value="{{.Request}}">
<label>Username <input name="username" value="{{.Hint}}" autocomplete="username" required autofocus></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<button>Sign in and allow</button>
<button name="deny" value="1" formnovalidate>Deny</button>
</form>
{{end}}
</body>
</html>
`))

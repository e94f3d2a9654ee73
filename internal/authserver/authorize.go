package authserver

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/page"
)

// Where the authorization server is found, below the address of the server, and where it answers to.
const (
	AuthorizePath = "/authorize"
	TokenPath     = "/api/v1/auth/token"
	DevicePath    = "/api/v1/auth/device"
	MetadataPath  = "/.well-known/oauth-authorization-server" // RFC 8414 §3
	RedirectPath  = "/callback"                               // of the listener on loopback
)

// Metadata is what the authorization server says of itself (RFC 8414 §2, RFC 8628 §4, RFC 9207 §3).
type Metadata struct {
	Issuer                      string   `json:"issuer"`
	AuthorizationEndpoint       string   `json:"authorization_endpoint"`
	TokenEndpoint               string   `json:"token_endpoint"`
	DeviceAuthorizationEndpoint string   `json:"device_authorization_endpoint"`
	ResponseTypes               []string `json:"response_types_supported"`
	ResponseModes               []string `json:"response_modes_supported"`
	GrantTypes                  []string `json:"grant_types_supported"`
	TokenEndpointAuthMethods    []string `json:"token_endpoint_auth_methods_supported"`
	CodeChallengeMethods        []string `json:"code_challenge_methods_supported"`
	SendsIssuer                 bool     `json:"authorization_response_iss_parameter_supported"`
}

// metadata answers what there is (RFC 8414 §3.2).
func (h *Handler) metadata(w http.ResponseWriter, _ *http.Request) {
	h.answer(w, http.StatusOK, Metadata{
		Issuer: h.issuer, AuthorizationEndpoint: h.issuer + AuthorizePath, TokenEndpoint: h.issuer + TokenPath, DeviceAuthorizationEndpoint: h.issuer + DevicePath,
		ResponseTypes: []string{"code"}, ResponseModes: []string{"query"}, GrantTypes: []string{codeGrantType, deviceGrantType},
		TokenEndpointAuthMethods: []string{"none"}, CodeChallengeMethods: []string{"S256"}, SendsIssuer: true,
	})
}

// request reads an authorization request from a URL (RFC 6749 §4.1.1, RFC 7636 §4.3). When it fails, the error goes to
// the redirect URI of the Request, or to the person where that is empty: a redirect URI that is not ours is not
// redirected to (RFC 6749 §4.1.2.1).
func (h *Handler) request(r *http.Request) (Request, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return Request{}, &fault.Error{Kind: fault.Invalid, Code: codeRequest, Detail: "This address is damaged: its query cannot be read."}
	}
	if len(q["client_id"]) != 1 || q.Get("client_id") != ClientID {
		return Request{}, &fault.Error{Kind: fault.Invalid, Code: "invalid_client", Detail: "The one program that signs in here is " + ClientID + ", and this is the link of another."}
	}
	if uri := q.Get("redirect_uri"); len(q["redirect_uri"]) != 1 || !loopbackRedirect(uri) {
		return Request{}, &fault.Error{Kind: fault.Invalid, Code: "invalid_redirect_uri", Detail: "This link would send the answer somewhere else than to a program on this machine. Nothing was sent."}
	}
	asked := Request{RedirectURI: q.Get("redirect_uri")}
	wrong := func(code, detail string) (Request, error) {
		return asked, &fault.Error{Kind: fault.Invalid, Code: code, Detail: detail}
	}
	if state := q.Get("state"); len(q["state"]) == 1 && len(state) <= 512 && utf8.ValidString(state) {
		asked.State = state
	}
	for name, values := range q {
		if len(values) > 1 {
			return wrong(codeRequest, "A parameter is repeated: "+inASCII(name)+".")
		}
	}
	asked.Challenge = q.Get("code_challenge")
	switch {
	case q.Get("response_type") != "code":
		return wrong("unsupported_response_type", "The only response_type here is code.")
	case q.Has("response_mode") && q.Get("response_mode") != "query":
		return wrong(codeRequest, "The only response_mode here is query.")
	case asked.State == "":
		return wrong(codeRequest, "state is missing, or longer than 512 characters.")
	case q.Get("code_challenge_method") != "S256" || len(asked.Challenge) != 43 || !base64URL(asked.Challenge):
		return wrong(codeRequest, "A code_challenge with the method S256 is required (RFC 7636).")
	}
	if asked.Name, err = machine(q.Get("device_name")); err != nil {
		return asked, err
	}
	asked.Scopes, err = readScopes(strings.Fields(q.Get("scope")))
	return asked, err
}

// authorizeForm is the form of the page. It is bound to the browser session that it was drawn in, and to what it showed.
func (h *Handler) authorizeForm(r *http.Request) page.Form {
	return page.Form{Name: "authorize", Bind: h.cfg.Sessions.Browser(r) + " " + r.URL.RawQuery}
}

// authorizeView is what authorize.html shows.
type authorizeView struct {
	Action, Token, Username string
	Name, Listener          string
	Scopes                  []string
	Wrong                   string // why it cannot be allowed
}

// ask is the authorization endpoint (RFC 6749 §3.1): it shows who asks for what. The person is asked every time: anybody
// on the machine can say that they are the client (RFC 8252 §8.6).
func (h *Handler) ask(w http.ResponseWriter, r *http.Request) {
	asked, err := h.request(r)
	if err != nil {
		h.refuseRequest(w, r, asked, err)
		return
	}
	u, ok := h.person(w, r)
	if !ok {
		return
	}
	v := authorizeView{
		Action: h.cfg.Site.URL(r.URL.RequestURI()), Token: h.cfg.Site.Token(w, r, h.authorizeForm(r)), Username: u.Username,
		Name: asked.Name, Listener: strings.TrimSuffix(strings.TrimPrefix(asked.RedirectURI, "http://"), RedirectPath),
	}
	if v.Scopes, err = h.cfg.Service.InWords(r.Context(), asked.Scopes); err != nil {
		if v.Wrong = unknownScope(err); v.Wrong == "" {
			h.cfg.Site.Refuse(w, r, h.cfg.Site.Explain(r, err))
			return
		}
	}
	h.authorize.Write(w, r, page.View{Title: "Sign in a program", Onward: true, Data: v})
}

// consent takes the answer of the person, and brings it to the program.
func (h *Handler) consent(w http.ResponseWriter, r *http.Request) {
	asked, err := h.request(r)
	if err != nil {
		h.refuseRequest(w, r, asked, err)
		return
	}
	u, ok := h.person(w, r)
	if !ok {
		return
	}
	answer := url.Values{}
	if err = h.cfg.Site.Read(w, r, h.authorizeForm(r)); err == nil {
		_, unknown := h.cfg.Service.InWords(r.Context(), asked.Scopes)
		switch allowed := r.PostForm.Get("answer") == "allow"; {
		case unknownScope(unknown) != "": // the person has read it
			answer = url.Values{"error": {codeScope}, "error_description": {inASCII(unknownScope(unknown))}}
		case unknown != nil:
			err = unknown
		case allowed:
			code, failed := h.cfg.Service.Allow(r.Context(), u, asked, h.cfg.ClientIP(r))
			answer, err = url.Values{"code": {code.Reveal()}}, failed
		default:
			answer, err = url.Values{"error": {codeDenied}}, h.cfg.Service.Deny(r.Context(), u, asked, h.cfg.ClientIP(r))
		}
	}
	if err != nil {
		f := h.cfg.Site.Explain(r, err)
		f.Action = page.Link{Href: h.cfg.Site.URL(r.URL.RequestURI()), Label: "Start again"}
		h.cfg.Site.Refuse(w, r, f)
		return
	}
	h.respond(w, r, asked, answer)
}

// unknownScope is why the scopes that a program asks for cannot be allowed, or empty where err is nil or something else.
func unknownScope(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Code == codeScope {
		return e.Detail
	}
	return ""
}

// refuseRequest tells the program that its request is wrong, where it is known to be one, and otherwise the person. What
// is not the fault of the request is for the person, who can load the page again.
func (h *Handler) refuseRequest(w http.ResponseWriter, r *http.Request, asked Request, err error) {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || e.Kind != fault.Invalid || asked.RedirectURI == "" {
		h.cfg.Log.Info("an authorization request was refused", audit.Request(r.Context()), zap.String("kind", string(fault.KindOf(err))))
		h.cfg.Site.Refuse(w, r, h.cfg.Site.Explain(r, err))
		return
	}
	h.respond(w, r, asked, url.Values{"error": {e.CodeOrKind()}, "error_description": {inASCII(e.Detail)}})
}

// respond sends the browser back to the program (RFC 6749 §4.1.2), with the name of who answers (RFC 9207 §2).
func (h *Handler) respond(w http.ResponseWriter, r *http.Request, asked Request, answer url.Values) {
	answer.Set("iss", h.issuer)
	if asked.State != "" {
		answer.Set("state", asked.State)
	}
	h.cfg.Site.Redirect(w, r, asked.RedirectURI+"?"+answer.Encode())
}

// inASCII is text in the characters that error_description may have (RFC 6749 §4.1.2.1).
func inASCII(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < ' ' || r > '~' || r == '\\':
			return '?'
		}
		return r
	}, text)
}

package authserver

import (
	"embed"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/httpserver"
	"github.com/behalf-project/behalf/internal/page"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/session"
	"github.com/behalf-project/behalf/internal/tokens"
	"github.com/behalf-project/behalf/internal/users"
)

//go:embed authorize.html device.html
var files embed.FS

// maxForm is the largest form of a program.
const maxForm = 16 << 10

// The grant types: RFC 6749 §4.1.3 and RFC 8628 §3.4.
const (
	codeGrantType   = "authorization_code"
	deviceGrantType = "urn:ietf:params:oauth:grant-type:device_code"
)

// Sessions knows who a browser is signed in as, and which browser session it is. session.Service is one.
type Sessions interface {
	FromRequest(r *http.Request) (session.Session, users.User, error)
	Browser(r *http.Request) string
}

// HandlerConfig is what a Handler needs. Everything without a default is required.
type HandlerConfig struct {
	Service   *Service
	Site      *page.Site
	Sessions  Sessions
	PublicURL string                     // the issuer; where people open /device
	ClientIP  func(*http.Request) string // default: the peer's address
	Log       *zap.Logger                // default: no logging
}

// Handler serves the endpoints for programs, in the dialect of RFC 6749, and the pages for people.
type Handler struct {
	cfg               HandlerConfig
	issuer            string // the public URL, without a slash at the end
	authorize, device *page.Template
}

// NewHandler returns a Handler over cfg. It starts nothing; see Mount.
func NewHandler(cfg HandlerConfig) (*Handler, error) {
	if cfg.ClientIP == nil {
		cfg.ClientIP = httpserver.ClientIP(nil)
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	h := &Handler{cfg: cfg, issuer: strings.TrimRight(cfg.PublicURL, "/")}
	var err error
	if h.authorize, err = cfg.Site.Parse(files, "authorize.html"); err != nil {
		return nil, err
	}
	h.device, err = cfg.Site.Parse(files, "device.html")
	return h, err
}

// Mount adds the routes to mux.
func (h *Handler) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET "+MetadataPath, h.metadata)
	if path := h.cfg.Site.URL(""); path != "" { // where an issuer below a path has it (RFC 8414 §3.1)
		mux.HandleFunc("GET "+MetadataPath+path, h.metadata)
	}
	mux.HandleFunc("GET "+AuthorizePath, h.ask)
	mux.HandleFunc("POST "+AuthorizePath, h.consent)
	mux.HandleFunc("POST "+DevicePath, h.begin)
	mux.HandleFunc("POST "+TokenPath, h.token)
	mux.HandleFunc("GET /device", h.show)
	mux.HandleFunc("POST /device", h.decide)
}

// deviceResponse is the answer of RFC 8628 §3.2.
type deviceResponse struct {
	DeviceCode              string `json:"device_code"`
	UserCode                string `json:"user_code"`
	VerificationURI         string `json:"verification_uri"`
	VerificationURIComplete string `json:"verification_uri_complete"`
	ExpiresIn               int    `json:"expires_in"`
	Interval                int    `json:"interval"`
}

// begin is the device authorization endpoint (RFC 8628 §3.1).
func (h *Handler) begin(w http.ResponseWriter, r *http.Request) {
	if err := readForm(w, r); err != nil {
		h.refuse(w, r, err)
		return
	}
	begun, err := h.cfg.Service.Begin(r.Context(), r.PostForm.Get("device_name"), h.cfg.ClientIP(r), strings.Fields(r.PostForm.Get("scope")))
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	at := h.issuer + "/device"
	h.answer(w, http.StatusOK, deviceResponse{
		DeviceCode: begun.DeviceCode.Reveal(), UserCode: begun.UserCode, VerificationURI: at,
		VerificationURIComplete: at + "?user_code=" + begun.UserCode, ExpiresIn: int(begun.ExpiresIn / time.Second), Interval: int(begun.Interval / time.Second),
	})
}

// tokenResponse is the answer of RFC 6749 §5.1.
type tokenResponse struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in,omitempty"`
	Scope       string `json:"scope"`
}

// token is the token endpoint (RFC 6749 §4.1.3, RFC 8628 §3.4).
func (h *Handler) token(w http.ResponseWriter, r *http.Request) {
	if err := readForm(w, r); err != nil {
		h.refuse(w, r, err)
		return
	}
	var (
		made  tokens.Token
		value secret.Text
		err   error
	)
	switch form := r.PostForm; form.Get("grant_type") {
	case codeGrantType:
		made, value, err = h.cfg.Service.RedeemCode(r.Context(), secret.New(form.Get("code")), form.Get("redirect_uri"), secret.New(form.Get("code_verifier")))
	case deviceGrantType:
		made, value, err = h.cfg.Service.RedeemDevice(r.Context(), h.cfg.ClientIP(r), secret.New(form.Get("device_code")))
	default:
		err = &fault.Error{Kind: fault.Invalid, Code: "unsupported_grant_type", Detail: "The grant types here are " + codeGrantType + " and " + deviceGrantType + "."}
	}
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	body := tokenResponse{AccessToken: value.Reveal(), TokenType: "Bearer", Scope: strings.Join(made.Scopes, " ")}
	if !made.ExpiresAt.IsZero() {
		body.ExpiresIn = int64(made.ExpiresAt.Sub(made.CreatedAt) / time.Second)
	}
	h.answer(w, http.StatusOK, body)
}

// readForm parses the form of a program. No parameter may come twice (RFC 6749 §3.2), and none from the URL.
func readForm(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return &fault.Error{Kind: fault.Invalid, Code: codeRequest, Detail: "The form could not be read.", Err: err}
	}
	for name, values := range r.PostForm {
		if len(values) > 1 {
			return &fault.Error{Kind: fault.Invalid, Code: codeRequest, Detail: "A parameter is repeated: " + strconv.QuoteToASCII(name) + "."}
		}
	}
	if r.PostForm.Get("client_id") != ClientID {
		return &fault.Error{Kind: fault.Invalid, Code: "invalid_client", Detail: "The client_id here is " + ClientID + "."}
	}
	return nil
}

func (h *Handler) answer(w http.ResponseWriter, status int, body any) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("Pragma", "no-cache") // RFC 6749 §5.1
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone
}

// refuse answers a program as RFC 6749 §5.2 says. What is not its fault has the HTTP status of its kind.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, body := http.StatusInternalServerError, map[string]string{"error": "server_error", "error_description": "Something went wrong on our side."}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		body["error_description"] = e.Detail
		switch e.Kind {
		case fault.Invalid:
			status, body["error"] = http.StatusBadRequest, e.CodeOrKind()
		case fault.TooMany:
			status, body["error"] = http.StatusTooManyRequests, "temporarily_unavailable"
		case fault.Unavailable, fault.Timeout:
			status, body["error"] = http.StatusServiceUnavailable, "temporarily_unavailable"
		case fault.Denied, fault.NotFound, fault.Gone:
			status, body["error"] = http.StatusBadRequest, codeDenied // the person was disabled, or is gone
		}
		if e.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
		}
	}
	if status >= 500 {
		h.cfg.Log.Error("a program was not answered", audit.Request(r.Context()), zap.Error(err))
	}
	h.answer(w, status, body)
}

// view is what device.html shows: a field for the code, or with a Device what is asked, or what was decided.
type view struct {
	Action, Token, Username, Code string
	Wrong                         string // about the code, or why the Device cannot be allowed
	Device                        *Device
	Scopes                        []string
	Done, Allowed                 bool
}

// form is the form of the page. It is bound to the browser session that it was drawn in.
func (h *Handler) form(r *http.Request) page.Form {
	return page.Form{Name: "device", Bind: h.cfg.Sessions.Browser(r)}
}

// person is who is signed in. Who is not is sent to do so, and back; ok says that there is somebody.
func (h *Handler) person(w http.ResponseWriter, r *http.Request) (u users.User, ok bool) {
	_, u, err := h.cfg.Sessions.FromRequest(r)
	switch {
	case errors.Is(err, fault.Unauthenticated):
		h.cfg.Site.Redirect(w, r, h.cfg.Site.URL("/login")+"?rd="+url.QueryEscape(h.cfg.Site.URL(r.URL.RequestURI())))
		return u, false
	case err != nil:
		h.cfg.Site.Refuse(w, r, h.cfg.Site.Explain(r, err))
		return u, false
	}
	return u, true
}

// show asks for the code, or, with a code in the link, whether the program may sign in. It decides nothing.
func (h *Handler) show(w http.ResponseWriter, r *http.Request) {
	u, ok := h.person(w, r)
	if !ok {
		return
	}
	h.draw(w, r, u, r.URL.Query().Get("user_code"))
}

// draw shows what waits for code to u.
func (h *Handler) draw(w http.ResponseWriter, r *http.Request, u users.User, code string) {
	v := view{Action: h.cfg.Site.URL("/device"), Token: h.cfg.Site.Token(w, r, h.form(r)), Username: u.Username}
	status := http.StatusOK
	if code != "" {
		d, err := h.cfg.Service.Find(r.Context(), u, code)
		switch {
		case errors.Is(err, fault.NotFound):
			status, v.Wrong = http.StatusNotFound, errNoCode.Detail
		case err != nil:
			h.cfg.Site.Refuse(w, r, h.cfg.Site.Explain(r, err))
			return
		default:
			shown := plain(code)
			v.Device, v.Code = &d, shown[:4]+"-"+shown[4:]
			if v.Scopes, err = h.cfg.Service.InWords(r.Context(), d.Scopes); err != nil {
				if v.Wrong = unknownScope(err); v.Wrong == "" {
					h.cfg.Site.Refuse(w, r, h.cfg.Site.Explain(r, err))
					return
				}
			}
		}
	}
	h.device.Write(w, r, page.View{Title: "Sign in a program", Status: status, Data: v})
}

// decide takes the code that was typed, and then the answer.
func (h *Handler) decide(w http.ResponseWriter, r *http.Request) {
	u, ok := h.person(w, r)
	if !ok {
		return
	}
	if err := h.cfg.Site.Read(w, r, h.form(r)); err != nil {
		f := h.cfg.Site.Explain(r, err)
		f.Action = page.Link{Href: h.cfg.Site.URL("/device"), Label: "Start again"}
		h.cfg.Site.Refuse(w, r, f)
		return
	}
	code, answer := r.PostForm.Get("user_code"), r.PostForm.Get("answer")
	if answer != "allow" && answer != "deny" { // only the code so far
		h.draw(w, r, u, code)
		return
	}
	d, err := h.cfg.Service.Find(r.Context(), u, code)
	if err == nil {
		err = h.cfg.Service.Decide(r.Context(), u, d, answer == "allow")
	}
	if err != nil {
		f := h.cfg.Site.Explain(r, err)
		f.Action = page.Link{Href: h.cfg.Site.URL("/device"), Label: "Type another code"}
		h.cfg.Site.Refuse(w, r, f)
		return
	}
	h.device.Write(w, r, page.View{Title: "Sign in a program", Data: view{Done: true, Allowed: answer == "allow", Device: &d, Username: u.Username}})
}

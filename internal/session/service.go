package session

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/loopback"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/users"
)

// The names of the cookie. The prefix makes browsers insist on Secure, Path=/ and no Domain, so that no other host can
// plant it; browsers do not accept it over http, which is for loopback only.
const (
	SecureCookie   = "__Host-behalf_session"
	LoopbackCookie = "behalf_session"
)

// tokenBytes is the randomness of a cookie: 256 bits, so that a hash without salt is enough to keep (sso.md §5.1).
const tokenBytes = 32

// touchAfter is how old LastSeenAt may be before a request writes it again. A session may die this much early.
const touchAfter = time.Minute

// People knows the people that sessions belong to. users.Service is one.
type People interface {
	// ByID returns the person, or fault.NotFound. It may answer from memory, but not with somebody who has been
	// disabled meanwhile.
	ByID(ctx context.Context, id string) (users.User, error)
}

// Config is what a Service needs. Store, People and PublicURL are required.
type Config struct {
	Store     Store
	People    People
	PublicURL string                     // decides the name and the attributes of the cookie
	Idle      time.Duration              // default 7 days
	Absolute  time.Duration              // default 90 days
	ClientIP  func(*http.Request) string // default: the peer's address
	Log       *zap.Logger                // default: no logging
	Now       func() time.Time           // default: time.Now
}

// Service makes, finds and ends sessions. It is safe for concurrent use.
type Service struct {
	cfg    Config
	secure bool
}

// New returns a Service over cfg. A public URL that is plain http anywhere but on loopback is refused: its cookies
// would cross the network in the clear.
func New(cfg Config) (*Service, error) {
	if cfg.Idle == 0 {
		cfg.Idle = 7 * 24 * time.Hour
	}
	if cfg.Absolute == 0 {
		cfg.Absolute = 90 * 24 * time.Hour
	}
	if cfg.ClientIP == nil {
		cfg.ClientIP = peer
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	u, err := url.Parse(cfg.PublicURL)
	switch {
	case err != nil:
		return nil, fault.Wrap(fault.Invalid, err, "The public URL is not a URL.")
	case u.Scheme == "https":
		return &Service{cfg: cfg, secure: true}, nil
	case u.Scheme == "http" && loopback.Host(u.Hostname()):
		return &Service{cfg: cfg}, nil
	}
	return nil, fault.New(fault.Invalid, "The public URL must be https; plain http is for loopback only.")
}

// CookieName returns the name of the cookie of this server.
func (s *Service) CookieName() string {
	if s.secure {
		return SecureCookie
	}
	return LoopbackCookie
}

// cookie returns the cookie with value, or the one that deletes it when value is empty.
func (s *Service) cookie(value string) *http.Cookie {
	c := &http.Cookie{
		Name: s.CookieName(), Value: value, Path: "/", Secure: s.secure, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, // Strict would be missing on the way back from the provider
		MaxAge:   int(s.cfg.Absolute / time.Second),
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

// token returns the value of the cookie in r, and nothing when there is none, or more than one: another host of the
// same site may have planted the second (sso.md §2.2).
func (s *Service) token(r *http.Request) secret.Text {
	found := r.CookiesNamed(s.CookieName())
	if len(found) != 1 || len(found[0].Value) > 128 {
		return secret.Text{}
	}
	return secret.New(found[0].Value)
}

// Browser returns what binds an authorization to the browser session of r: a hash of its cookie, "" without one.
// It changes with every sign-in.
func (s *Service) Browser(r *http.Request) string {
	if t := s.token(r); !t.Empty() {
		return secret.New("browser\x00" + t.Reveal()).Hash()
	}
	return ""
}

// FromRequest returns the session that r belongs to and whose it is, and notes that it was used. It is
// fault.Unauthenticated when there is none, or it is over; fault.Denied for a disabled person.
func (s *Service) FromRequest(r *http.Request) (Session, users.User, error) {
	found, u, err := s.Peek(r)
	if err != nil {
		return Session{}, users.User{}, err
	}
	if ctx, now := r.Context(), s.cfg.Now(); now.Sub(found.LastSeenAt) > touchAfter {
		// The request has been admitted: a database that is too busy to note the time does not undo that.
		if err := s.cfg.Store.TouchSession(ctx, found.ID, now); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("session not touched", audit.Request(ctx), zap.Error(err))
		} else if err == nil {
			found.LastSeenAt = now
		}
	}
	return found, u, nil
}

// Peek is FromRequest for who looks on: it is no use of the session, which ends as if nobody had.
func (s *Service) Peek(r *http.Request) (Session, users.User, error) {
	ctx := r.Context()
	token := s.token(r)
	if token.Empty() {
		return Session{}, users.User{}, signedOut("not_signed_in", "You are not signed in.")
	}
	found, err := s.cfg.Store.GetSession(ctx, token.Hash())
	if errors.Is(err, fault.NotFound) {
		return Session{}, users.User{}, signedOut("not_signed_in", "You are not signed in.")
	} else if err != nil {
		return Session{}, users.User{}, err
	}
	now := s.cfg.Now()
	if !found.RevokedAt.IsZero() || s.over(found, now) {
		return Session{}, users.User{}, signedOut("session_ended", "Your session has ended. Sign in again.")
	}
	u, err := s.cfg.People.ByID(ctx, found.UserID)
	if errors.Is(err, fault.NotFound) {
		return Session{}, users.User{}, signedOut("session_ended", "Your session has ended. Sign in again.")
	} else if err != nil {
		return Session{}, users.User{}, err
	}
	if u.Disabled {
		return Session{}, users.User{}, &fault.Error{Kind: fault.Denied, Code: "user_disabled", Owner: fault.Admin,
			Detail: "Your account is disabled. Ask an admin to enable it."}
	}
	return found, u, nil
}

func signedOut(code, detail string) error {
	return &fault.Error{Kind: fault.Unauthenticated, Code: code, Owner: fault.User, Detail: detail}
}

// Ends returns when s ends if it is not used, and when it ends in any case.
func (s *Service) Ends(of Session) (idle, absolute time.Time) {
	idle, absolute = of.LastSeenAt.Add(s.cfg.Idle), of.AuthenticatedAt.Add(s.cfg.Absolute)
	if idle.After(absolute) {
		idle = absolute
	}
	return idle, absolute
}

// Lives returns how long a session lives without use, and how long in any case.
func (s *Service) Lives() (idle, absolute time.Duration) { return s.cfg.Idle, s.cfg.Absolute }

// over reports whether s is dead at now: both ends are exclusive, at exactly 7 d 0 s it is.
func (s *Service) over(of Session, now time.Time) bool {
	idle, absolute := s.Ends(of)
	return !now.Before(idle) || !now.Before(absolute)
}

// SignIn makes a session for u, who has just proved who they are by method, ends the one that the browser had, and
// returns the cookie to set. A planted cookie is thus worth nothing (fixation).
func (s *Service) SignIn(ctx context.Context, r *http.Request, u users.User, method string) (*http.Cookie, error) {
	if u.Disabled {
		return nil, &fault.Error{Kind: fault.Denied, Code: "user_disabled", Owner: fault.Admin,
			Detail: "Your account is disabled. Ask an admin to enable it."}
	}
	now := s.cfg.Now().UTC()
	token := secret.New(id.Random(tokenBytes))
	made := Session{
		ID: id.New(id.Session, now), UserID: u.ID, TokenHash: token.Hash(), Method: method, AuthenticatedAt: now, LastSeenAt: now,
		IP: s.cfg.ClientIP(r), UserAgent: clip(r.UserAgent(), 256),
	}
	replaced := ""
	if old := s.token(r); !old.Empty() {
		replaced = old.Hash()
	}
	e := entry(ctx, now, u.ID, audit.SignedIn, made.ID)
	e.Detail = map[string]string{"method": method, "ip": made.IP}
	if err := s.cfg.Store.CreateSession(ctx, made, replaced, e); err != nil {
		return nil, err
	}
	return s.cookie(token.Reveal()), nil
}

// SignOut ends a session, or all sessions of its person, and returns the cookie that removes the browser's.
func (s *Service) SignOut(ctx context.Context, of Session, everywhere bool) (*http.Cookie, error) {
	which, reason := of.ID, "signed out"
	if everywhere {
		which, reason = "", "signed out everywhere"
	}
	if err := s.revoke(ctx, of.UserID, which, reason, of.UserID); err != nil {
		return nil, err
	}
	return s.cookie(""), nil
}

// RevokeAll ends every session of a person.
func (s *Service) RevokeAll(ctx context.Context, userID, reason, actor string) error {
	return s.revoke(ctx, userID, "", reason, actor)
}

// RevokeOthers ends every session of everybody but actor, who contains a leak and must be able to go on.
func (s *Service) RevokeOthers(ctx context.Context, reason, actor string) error {
	now := s.cfg.Now().UTC()
	e := entry(ctx, now, actor, audit.SignedOut, "everybody")
	e.Detail = map[string]string{"reason": reason}
	return s.cfg.Store.RevokeOthers(ctx, actor, reason, now, e)
}

func (s *Service) revoke(ctx context.Context, userID, which, reason, actor string) error {
	now := s.cfg.Now().UTC()
	e := entry(ctx, now, actor, audit.SignedOut, userID)
	e.Detail = map[string]string{"reason": reason}
	if which != "" {
		e.Object = which
	}
	return s.cfg.Store.RevokeSessions(ctx, userID, which, reason, now, e)
}

func entry(ctx context.Context, now time.Time, actor string, action audit.Action, object string) audit.Entry {
	return audit.Entry{At: now, Actor: actor, Action: action, Object: object, Outcome: "ok", Request: audit.RequestID(ctx)}
}

// peer is the address of the other end of the connection.
func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// clip shortens s to n bytes; what remains is valid UTF-8.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return string([]rune(s))
}

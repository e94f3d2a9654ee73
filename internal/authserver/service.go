package authserver

import (
	"context"
	"crypto/rand"
	"errors"
	"math/big"
	"strings"
	"time"
	"unicode"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/displayname"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/tokens"
	"github.com/behalf-project/behalf/internal/users"
)

// ClientID is the one client that there is: our command line. It is public (RFC 6749 §2.1); anybody can say that they
// are it, which is why the person is asked.
const ClientID = "behalf-cli"

const (
	life     = 10 * time.Minute
	interval = 2 * time.Second // between two polls of a program
	slower   = 5 * time.Second // what a poll that comes too early adds (RFC 8628 §3.5)
	slowest  = time.Minute     // and the longest interval that comes of it
	waiting  = 10_000          // programs that may wait at once
	longest  = 60              // characters of the name of a machine; the rest is cut
)

// Failures of RFC 6749 §4.1.2.1 and §5.2 and of RFC 8628 §3.5, as codes of a fault.Error.
const (
	codePending  = "authorization_pending"
	codeSlowDown = "slow_down"
	codeDenied   = "access_denied"
	codeExpired  = "expired_token"
	codeGrant    = "invalid_grant"
	codeScope    = "invalid_scope"
	codeRequest  = "invalid_request"
)

// Tokens makes and ends personal access tokens. tokens.Service is one.
type Tokens interface {
	Create(ctx context.Context, u users.User, r tokens.Request) (tokens.Token, secret.Text, error)
	Revoke(ctx context.Context, userID, id, reason string) error
	InWords(ctx context.Context, scopes []string) ([]string, error)
}

// People knows who decided. users.Service is one.
type People interface {
	ByID(ctx context.Context, id string) (users.User, error)
}

// Config is what a Service needs. Everything without a default is required.
type Config struct {
	Devices Devices
	Codes   Codes
	Tokens  Tokens
	People  People
	Record  func(ctx context.Context, e audit.Entry) error // records what changes nothing
	Now     func() time.Time                               // default: time.Now
}

// Service lets programs sign in. It is safe for concurrent use.
type Service struct {
	cfg Config

	begun *lru.Cache[string, *rate.Limiter] // by the address of the program
	polls *lru.Cache[string, *rate.Limiter] // by the address of the program
	typed *lru.Cache[string, *rate.Limiter] // by the person who types codes
}

// New returns a Service over cfg. It starts nothing.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	begun, err1 := lru.New[string, *rate.Limiter](10_000)
	polls, err2 := lru.New[string, *rate.Limiter](10_000)
	typed, err3 := lru.New[string, *rate.Limiter](10_000)
	if err := errors.Join(err1, err2, err3); err != nil {
		panic("authserver: " + err.Error()) // only a size below one is an error
	}
	return &Service{cfg: cfg, begun: begun, polls: polls, typed: typed}
}

// allow takes one try of key: n at once, and one more each time that every passes.
func (s *Service) allow(of *lru.Cache[string, *rate.Limiter], key string, n int, every time.Duration, detail string) error {
	l, ok := of.Get(key)
	if !ok {
		l = rate.NewLimiter(rate.Every(every), n)
		if other, had, _ := of.PeekOrAdd(key, l); had {
			l = other
		}
	}
	if l.AllowN(s.cfg.Now(), 1) {
		return nil
	}
	return &fault.Error{Kind: fault.TooMany, Owner: fault.User, RetryAfter: every, Detail: detail}
}

// Begun is a program's turn to wait (RFC 8628 §3.2).
type Begun struct {
	DeviceCode secret.Text
	UserCode   string // as people type it: BCDF-GHJK
	ExpiresIn  time.Duration
	Interval   time.Duration
}

// Begin lets a program on the machine called name, at ip, ask for scopes. Nobody is signed in yet: which apps there are is
// not told.
func (s *Service) Begin(ctx context.Context, name, ip string, scopes []string) (Begun, error) {
	if err := s.allow(s.begun, users.AddressKey(ip), 20, 15*time.Second, "Too many programs of this address ask to sign in."); err != nil {
		return Begun{}, err
	}
	scopes, err := readScopes(scopes)
	if err != nil {
		return Begun{}, err
	}
	if name, err = machine(name); err != nil {
		return Begun{}, err
	}
	now := s.cfg.Now().UTC()
	device, user := secret.New(id.Random(32)), newUserCode()
	err = s.cfg.Devices.CreateDevice(ctx, Device{
		ID: id.New(id.Device, now), DeviceHash: device.Hash(), UserCodeHash: userCodeHash(user), Name: name, Scopes: scopes, IP: ip,
		CreatedAt: now, ExpiresAt: now.Add(life), Interval: interval,
	}, waiting)
	if err != nil {
		return Begun{}, err
	}
	return Begun{DeviceCode: device, UserCode: user, ExpiresIn: life, Interval: interval}, nil
}

// readScopes returns what was asked for, sorted, or the failure invalid_scope.
func readScopes(asked []string) ([]string, error) {
	scopes, err := tokens.Scopes(asked)
	return scopes, invalidScope(err)
}

// invalidScope is err with the code of RFC 6749 where a scope is wrong.
func invalidScope(err error) error {
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Kind == fault.Invalid {
		return &fault.Error{Kind: fault.Invalid, Code: codeScope, Detail: e.Detail, Owner: fault.User}
	}
	return err
}

// InWords says what scopes allow, or fails with invalid_scope where there is no such app: to people who are signed in.
func (s *Service) InWords(ctx context.Context, scopes []string) ([]string, error) {
	words, err := s.cfg.Tokens.InWords(ctx, scopes)
	return words, invalidScope(err)
}

// machine is what we show of the name that a program gives itself. It is invalid_request where that hides something.
func machine(name string) (string, error) {
	if name = strings.TrimSpace(name); name == "" {
		return "a machine without a name", nil
	}
	if r := []rune(name); len(r) > longest {
		name = string(r[:longest])
	}
	if e, ok := errors.AsType[*fault.Error](displayname.Check(name, longest)); ok {
		return "", &fault.Error{Kind: fault.Invalid, Code: codeRequest, Detail: "device_name cannot be shown to people. " + e.Detail}
	}
	return name, nil
}

// letters of user codes: no vowels, so that no word comes out, and none that look alike (RFC 8628 §6.1). Eight of them
// are 34 bits; typing is for people who are signed in, ten tries in ten minutes.
const letters = "BCDFGHJKLMNPQRSTVWXZ"

func newUserCode() string {
	code := make([]byte, 8)
	for i := range code {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(letters))))
		if err != nil {
			panic("authserver: the system has no randomness: " + err.Error()) // crypto/rand never returns one
		}
		code[i] = letters[n.Int64()]
	}
	return string(code[:4]) + "-" + string(code[4:])
}

// userCodeHash is the hash of a user code however it was typed: small letters, no hyphen, spaces.
func userCodeHash(code string) string {
	return secret.New("user code\x00" + plain(code)).Hash()
}

func plain(code string) string {
	return strings.Map(func(r rune) rune {
		r = unicode.ToUpper(r)
		if r > unicode.MaxASCII || !strings.ContainsRune(letters, r) {
			return -1
		}
		return r
	}, code)
}

var errNoCode = &fault.Error{Kind: fault.NotFound, Code: "unknown_code", Owner: fault.User,
	Detail: "No program waits with this code. It may be mistyped, used already, or older than ten minutes: start the sign-in again on your machine."}

// Find returns the program that waits for a code that u has typed: ten tries in ten minutes.
func (s *Service) Find(ctx context.Context, u users.User, code string) (Device, error) {
	if err := s.allow(s.typed, u.ID, 10, time.Minute, "You typed too many codes. Wait a minute."); err != nil {
		return Device{}, err
	}
	if len(plain(code)) != 8 {
		return Device{}, errNoCode
	}
	d, err := s.cfg.Devices.FindDevice(ctx, userCodeHash(code), s.cfg.Now())
	if errors.Is(err, fault.NotFound) {
		return Device{}, errNoCode
	}
	return d, err
}

// Decide records what u, who has seen d, decided about it. What no token can have is not allowed: invalid_scope.
func (s *Service) Decide(ctx context.Context, u users.User, d Device, allowed bool) error {
	now := s.cfg.Now().UTC()
	action := audit.ProgramDenied
	if allowed {
		if _, err := s.InWords(ctx, d.Scopes); err != nil {
			return err
		}
		action = audit.ProgramAllowed
	}
	return s.cfg.Devices.DecideDevice(ctx, d.ID, u.ID, allowed, now, s.decided(ctx, u, action, d.ID, d.Name, d.IP, d.Scopes))
}

// decided is the record of what u decided about a program.
func (s *Service) decided(ctx context.Context, u users.User, action audit.Action, object, name, ip string, scopes []string) audit.Entry {
	return audit.Entry{
		At: s.cfg.Now().UTC(), Actor: u.ID, Action: action, Object: object, Outcome: "ok", Request: audit.RequestID(ctx),
		Detail: map[string]string{"name": name, "ip": ip, "scopes": strings.Join(scopes, " ")},
	}
}

// RedeemDevice answers the poll of a program at ip: with a token once it is allowed, and only once. Until then, and otherwise,
// it fails with the codes of RFC 8628 §3.5: with slow_down also when too many of one address ask at once.
func (s *Service) RedeemDevice(ctx context.Context, ip string, deviceCode secret.Text) (tokens.Token, secret.Text, error) {
	refuse := func(code, detail string) (tokens.Token, secret.Text, error) {
		return tokens.Token{}, secret.Text{}, &fault.Error{Kind: fault.Invalid, Code: code, Detail: detail}
	}
	if err := s.allow(s.polls, users.AddressKey(ip), 60, 100*time.Millisecond, ""); err != nil {
		return refuse(codeSlowDown, "Too many programs of this address ask.")
	}
	now := s.cfg.Now().UTC()
	d, err := s.cfg.Devices.PollDevice(ctx, deviceCode.Hash(), now)
	if errors.Is(err, fault.NotFound) {
		return refuse(codeGrant, "There is no such device code.")
	} else if err != nil {
		return tokens.Token{}, secret.Text{}, err
	}
	switch {
	case !d.TakenAt.IsZero():
		return refuse(codeGrant, "This device code has been used.")
	case !now.Before(d.ExpiresAt):
		return refuse(codeExpired, "Nobody allowed this within ten minutes. Start again.")
	case d.TooEarly(now):
		return refuse(codeSlowDown, "You ask too often.")
	case d.DecidedAt.IsZero():
		return refuse(codePending, "The person has not decided yet.")
	case !d.Allowed:
		return refuse(codeDenied, "The person denied it.")
	}
	u, err := s.cfg.People.ByID(ctx, d.UserID)
	if err != nil {
		return tokens.Token{}, secret.Text{}, err
	}
	return s.cfg.Tokens.Create(ctx, u, tokens.Request{Name: "behalf on " + d.Name, Scopes: d.Scopes, Origin: "device"})
}

// Over reports whether nothing is to be had with d at now: it was taken, or is older than it may be.
func (d Device) Over(now time.Time) bool { return !d.TakenAt.IsZero() || !now.Before(d.ExpiresAt) }

// Polled returns d as it is after a poll at now, and whether that is another. A poll that comes too early makes the
// interval longer, so often only that a program that asks without end soon changes nothing; one in time begins the
// interval anew, and takes what is allowed.
func (d Device) Polled(now time.Time) (next Device, changed bool) {
	next = d
	switch {
	case d.Over(now):
	case d.TooEarly(now):
		next.Interval = max(d.Interval, min(d.Interval+slower, slowest))
	default:
		next.PolledAt = now
		if d.Allowed {
			next.TakenAt = now
		}
		return next, true
	}
	return next, next.Interval != d.Interval
}

// TooEarly reports whether a poll at now comes before the interval since the last one has passed.
func (d Device) TooEarly(now time.Time) bool {
	return !d.PolledAt.IsZero() && now.Before(d.PolledAt.Add(d.Interval))
}

package tokens

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/displayname"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/users"
)

const (
	fresh      = time.Second // how long a token is believed without news: the time in which another replica's change must count
	remembered = 10_000      // tokens in memory
	most       = 100         // living tokens of one person
	maxScopes  = 50          // of one token
)

// People knows whose the tokens are. users.Service is one.
type People interface {
	// ByID returns the person, or fault.NotFound. It may answer from memory, but not with somebody who has been
	// disabled meanwhile.
	ByID(ctx context.Context, id string) (users.User, error)
}

// Config is what a Service needs. Store, People and App are required.
type Config struct {
	Store  Store
	People People

	// App returns the name of the OAuth app with this slug, or fault.NotFound.
	App func(ctx context.Context, slug string) (name string, err error)

	Bus         *notify.Bus      // brings TokenChanged and UserChanged: the store's; without it a change counts within a second
	DefaultLife time.Duration    // of a token whose maker names none; default 90 days
	MaxLife     time.Duration    // default one year
	Endless     bool             // whether a token may have no end
	Stale       time.Duration    // how long a token in memory is believed while the store does not answer (design.md §2.16); default 60 s
	Log         *zap.Logger      // default: no logging
	Now         func() time.Time // default: time.Now
}

// Service makes, recognises and ends tokens. It is safe for concurrent use. Run notes their use.
type Service struct {
	cfg     Config
	tokens  *lru.Cache[string, seen] // by hash
	changes atomic.Int64             // news heard, so that what was read before it is not kept or shared after it
	mu      sync.Mutex               // makes "no news since" and "keep" one step
	reads   singleflight.Group
	used    chan Token
}

// seen is a token as the store had it at one moment.
type seen struct {
	token Token
	at    time.Time
	noted *atomic.Int64 // unix minute of the last use that was noted
}

// New returns a Service over cfg. It starts nothing; see Run.
func New(cfg Config) *Service {
	if cfg.Bus == nil {
		cfg.Bus = &notify.Bus{}
	}
	if cfg.Stale == 0 {
		cfg.Stale = time.Minute
	}
	if cfg.MaxLife <= 0 {
		cfg.MaxLife = 365 * 24 * time.Hour
	}
	if cfg.DefaultLife <= 0 {
		cfg.DefaultLife = min(90*24*time.Hour, cfg.MaxLife)
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	held, _ := lru.New[string, seen](remembered) // fails for a size below one only
	s := &Service{cfg: cfg, tokens: held, used: make(chan Token, 1024)}
	cfg.Bus.Subscribe(s.hear) // for as long as the bus lives, as the Service does
	return s
}

// hear forgets what may have ended. News names no hash, so all go: it is rare, and each costs one read.
func (s *Service) hear(n notify.News) {
	switch n.Topic {
	case notify.TokenChanged, notify.UserChanged, notify.Everything:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.changes.Add(1)
		s.tokens.Purge()
	}
}

// Request is a token that somebody asks for.
type Request struct {
	ID     string // that it was promised; a new one when empty
	Name   string
	Scopes []string
	Origin string // "api" when empty

	// Life is how long it shall live: nil is the default, 0 is without end.
	Life *time.Duration

	// By is the token that asks, or nil for a person in a browser: what it makes can do no more than it can, lives no
	// longer, and ends with it.
	By *Token
}

// Create makes a token of u. The value is not kept and cannot be had again. It is fault.Invalid, with the fields of
// the request, when the request is wrong; fault.Denied for a disabled person, and for a token that asks for more than
// it has; fault.Unauthenticated when that token has ended meanwhile; fault.TooMany when u has a hundred already.
func (s *Service) Create(ctx context.Context, u users.User, r Request) (Token, secret.Text, error) {
	if u.Disabled {
		return Token{}, secret.Text{}, errDisabled()
	}
	now := s.cfg.Now().UTC()
	t := Token{ID: id.New(id.Token, now), UserID: u.ID, Name: strings.TrimSpace(r.Name), Origin: r.Origin, CreatedAt: now}
	if r.ID != "" {
		t.ID = r.ID
	}
	if t.Origin == "" {
		t.Origin = "api"
	}
	wrong := s.check(ctx, &t, r)
	if len(wrong) > 0 {
		return Token{}, secret.Text{}, &fault.Error{Kind: fault.Invalid, Owner: fault.User, Fields: wrong, Detail: "The token was not made: " + wrong[0].Detail}
	}
	value := generate()
	t.Hash = value.Hash()
	e := s.entry(ctx, u.ID, audit.TokenCreated, t.ID)
	e.Detail = map[string]string{"name": t.Name, "scopes": strings.Join(t.Scopes, " "), "origin": t.Origin}
	if r.By != nil {
		t.ParentID, e.Detail["by"] = r.By.ID, r.By.ID
	}
	if err := s.cfg.Store.CreateToken(ctx, t, most, e); err != nil {
		return Token{}, secret.Text{}, err
	}
	return t, value, nil
}

// check completes t from r, and returns what is wrong with r.
func (s *Service) check(ctx context.Context, t *Token, r Request) (wrong []fault.Field) {
	say := func(field, code, format string, args ...any) {
		wrong = append(wrong, fault.Field{Pointer: field, Code: code, Detail: fmt.Sprintf(format, args...)})
	}
	if t.Name == "" {
		say("name", "required", "Name it after what uses it, so that you know it again.")
	} else if e, ok := errors.AsType[*fault.Error](displayname.Check(t.Name, 100)); ok {
		say("name", e.Code, "%s", e.Detail)
	}
	var err error
	if t.Scopes, err = Scopes(r.Scopes); err == nil {
		_, err = s.InWords(ctx, t.Scopes) // that there are the apps
	}
	if err != nil {
		say("scopes", "invalid", "%s", detail(err))
	}
	life := s.cfg.DefaultLife
	if r.Life != nil {
		life = *r.Life
	} else if r.By != nil && !r.By.ExpiresAt.IsZero() {
		life = min(life, r.By.ExpiresAt.Sub(t.CreatedAt))
	}
	switch {
	case life == 0 && !s.cfg.Endless:
		say("expires_in_seconds", "endless", "This server makes no tokens without an end. The longest life is %d days.", int(s.cfg.MaxLife.Hours()/24))
	case life < 0 || life > s.cfg.MaxLife:
		say("expires_in_seconds", "invalid", "A token of this server lives %d days at most.", int(s.cfg.MaxLife.Hours()/24))
	case life > 0:
		t.ExpiresAt = t.CreatedAt.Add(life)
	}
	return wrong
}

// InWords says what scopes allow, for the person who is to agree. It is fault.Invalid when there is no such app.
func (s *Service) InWords(ctx context.Context, scopes []string) ([]string, error) {
	words := make([]string, len(scopes))
	for i, scope := range scopes {
		if Scope(scope) == Operate {
			words[i] = "See and stop what runs here for everybody, as long as you are an admin"
			continue
		}
		slug, ok := Scope(scope).App()
		if !ok {
			words[i] = "See and manage your connected apps and tokens"
			continue
		}
		name, err := s.cfg.App(ctx, slug)
		if errors.Is(err, fault.NotFound) {
			return nil, fault.New(fault.Invalid, "There is no OAuth app %q for the scope %s. List yours with: behalf connect list", slug, scope)
		} else if err != nil {
			return nil, err
		}
		words[i] = "Use your " + name + " account: be handed its access tokens, which act as you there"
		if strings.HasPrefix(scope, connect) {
			words[i] = "Connect " + name + " for you: exchange a token of another issuer, and your queries run as whom that names"
		}
	}
	return words, nil
}

// List returns the tokens of a person, the newest first; those that ended are listed for 30 days.
func (s *Service) List(ctx context.Context, userID string) ([]Token, error) {
	return s.cfg.Store.ListTokens(ctx, userID)
}

// Revoke ends a token of a person, and all that came of it, for a reason in one word. When it returns, this process refuses
// them; the others do within a second. It is fault.NotFound when they have none with this id.
func (s *Service) Revoke(ctx context.Context, userID, id, reason string) error {
	e := s.entry(ctx, userID, audit.TokenRevoked, id)
	e.Detail = map[string]string{"reason": reason}
	return s.cfg.Store.RevokeToken(ctx, userID, id, reason, s.cfg.Now().UTC(), e)
}

// RevokeAll ends every token of a person: somebody else may have them. actor is who says so.
func (s *Service) RevokeAll(ctx context.Context, userID, reason, actor string) error {
	return s.revokeAll(ctx, userID, reason, s.entry(ctx, actor, audit.TokenRevoked, userID))
}

// RevokeEverybody ends every token there is.
func (s *Service) RevokeEverybody(ctx context.Context, reason, actor string) error {
	return s.revokeAll(ctx, "", reason, s.entry(ctx, actor, audit.TokenRevoked, "everybody"))
}

func (s *Service) revokeAll(ctx context.Context, userID, reason string, e audit.Entry) error {
	e.Detail = map[string]string{"reason": reason}
	return s.cfg.Store.RevokeTokens(ctx, userID, reason, s.cfg.Now().UTC(), e)
}

// Authenticate returns the token with this value and whose it is. It is fault.Unauthenticated, with the code
// invalid_token of RFC 6750 §3.1, when there is none or it has ended; fault.Denied for a disabled person.
func (s *Service) Authenticate(ctx context.Context, value secret.Text) (Token, users.User, error) {
	if !wellFormed(value.Reveal()) {
		return Token{}, users.User{}, invalid("This is not a token of this server.")
	}
	found, err := s.find(ctx, value.Hash())
	if errors.Is(err, fault.NotFound) {
		return Token{}, users.User{}, invalid("There is no such token. It may have been revoked long ago.")
	} else if err != nil {
		return Token{}, users.User{}, err
	}
	t, now := found.token, s.cfg.Now()
	if t.Over(now) {
		if !t.RevokedAt.IsZero() {
			return Token{}, users.User{}, invalid("This token was revoked on " + t.RevokedAt.Format("2 Jan 2006") + ".")
		}
		return Token{}, users.User{}, invalid("This token ended on " + t.ExpiresAt.Format("2 Jan 2006") + ". Make a new one.")
	}
	u, err := s.cfg.People.ByID(ctx, t.UserID)
	switch {
	case errors.Is(err, fault.NotFound):
		return Token{}, users.User{}, invalid("The person of this token is gone.")
	case err != nil:
		return Token{}, users.User{}, err
	case u.Disabled:
		return Token{}, users.User{}, errDisabled()
	}
	s.noteUse(found, now)
	return t, u, nil
}

func invalid(detail string) error {
	return &fault.Error{Kind: fault.Unauthenticated, Code: "invalid_token", Owner: fault.User, Detail: detail}
}

func errDisabled() error {
	return &fault.Error{Kind: fault.Denied, Code: "user_disabled", Owner: fault.Admin, Detail: "Your account is disabled. Ask an admin to enable it."}
}

// detail is the sentence of err.
func detail(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Detail != "" {
		return e.Detail
	}
	return "The scopes could not be checked."
}

// find returns the token with this hash, from memory if it was read within the last second.
func (s *Service) find(ctx context.Context, hash string) (seen, error) {
	now := s.cfg.Now()
	held, ok := s.tokens.Get(hash)
	if ok && now.Sub(held.at) < fresh {
		return held, nil
	}
	before := s.changes.Load()
	// Who asks after news joins no read that began before it: the count is part of what is read.
	v, err, _ := s.reads.Do(fmt.Sprint(before, hash), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // one reads for all: that it leaves must not fail the others
		defer cancel()
		t, err := s.cfg.Store.FindToken(ctx, hash)
		if err != nil {
			return nil, err
		}
		read := seen{token: t, at: now, noted: new(atomic.Int64)}
		if ok {
			read.noted = held.noted
		} else {
			read.noted.Store(t.UsedAt.Unix() / 60)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.changes.Load() == before {
			s.tokens.Add(hash, read)
		}
		return read, nil
	})
	if err == nil {
		return v.(seen), nil
	}
	if ok && now.Sub(held.at) < s.cfg.Stale && errors.Is(err, fault.Unavailable) {
		return held, nil
	}
	return seen{}, err
}

// noteUse leaves the use of a token to Run, once a minute.
func (s *Service) noteUse(of seen, now time.Time) {
	minute := now.Unix() / 60
	last := of.noted.Load()
	if minute <= last || !of.noted.CompareAndSwap(last, minute) {
		return
	}
	t := of.token
	t.UsedAt = time.Unix(minute*60, 0).UTC()
	select {
	case s.used <- t:
	default: // the store is slow; a use that is not noted does no harm
	}
}

// Run notes the use of tokens, until ctx is done; then it returns nil.
func (s *Service) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case t := <-s.used:
			if err := s.cfg.Store.TouchToken(ctx, t.ID, t.UsedAt); err != nil && ctx.Err() == nil {
				s.cfg.Log.Warn("use of a token not noted", zap.String("user_id", t.UserID), zap.Error(err))
			}
		}
	}
}

func (s *Service) entry(ctx context.Context, actor string, action audit.Action, object string) audit.Entry {
	return audit.Entry{At: s.cfg.Now().UTC(), Actor: actor, Action: action, Object: object, Outcome: "ok", Request: audit.RequestID(ctx)}
}

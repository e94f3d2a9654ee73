package authserver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/tokens"
	"github.com/behalf-project/behalf/internal/users"
)

const (
	codeLife = time.Minute
	codes    = 10 // of one person that live at once
)

// Code is an authorization code (RFC 6749 §1.3.1): what a person allowed, until the program has come for it.
type Code struct {
	ID          string
	Hash        string // SHA-256 of the code, in hex
	UserID      string // who allowed it
	RedirectURI string // where the code went
	Challenge   string // whose verifier the program must show (RFC 7636 §4.6)
	Name        string // what the program says of itself: the name of its machine
	Scopes      []string
	TokenID     string // of the token that is made of it
	CreatedAt   time.Time
	ExpiresAt   time.Time
	Uses        int // how often somebody has come with it
}

// Codes keeps authorization codes. authservertest.TestCodes says what each method must do.
type Codes interface {
	// CreateCode stores c, unless as many as most codes of its person live already: fault.TooMany. It removes those
	// that ended a day before.
	CreateCode(ctx context.Context, c Code, most int, e audit.Entry) error

	// UseCode counts a use of the code with this hash, and returns it with that use: of many at once exactly one sees
	// the first. fault.NotFound when there is none.
	UseCode(ctx context.Context, hash string) (Code, error)

	// FindCode returns the code with this hash, or fault.NotFound.
	FindCode(ctx context.Context, hash string) (Code, error)
}

// Request is an authorization request (RFC 6749 §4.1.1) of a program on the machine of the browser.
type Request struct {
	RedirectURI string
	State       string
	Challenge   string
	Scopes      []string
	Name        string
}

// loopbackRedirect reports whether uri is the redirect URI of our command line, which listens on a port that the system
// gives it (RFC 8252 §7.3): http://127.0.0.1:{port}/callback, and no other way to write it.
func loopbackRedirect(uri string) bool {
	port, ok := strings.CutPrefix(uri, "http://127.0.0.1:")
	port, path := strings.CutSuffix(port, RedirectPath)
	n, err := strconv.ParseUint(port, 10, 16)
	return ok && path && err == nil && n > 0 && strconv.FormatUint(n, 10) == port
}

// base64URL reports whether text is made of the characters of base64url, as challenges are.
func base64URL(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-' && r != '_'
	})
}

// Allow makes a code of what u, who has seen r, allows.
func (s *Service) Allow(ctx context.Context, u users.User, r Request, ip string) (secret.Text, error) {
	now := s.cfg.Now().UTC()
	code := secret.New(id.Random(32))
	c := Code{
		ID: id.New(id.AuthorizationCode, now), Hash: code.Hash(), UserID: u.ID, RedirectURI: r.RedirectURI, Challenge: r.Challenge,
		Name: r.Name, Scopes: r.Scopes, TokenID: id.New(id.Token, now), CreatedAt: now, ExpiresAt: now.Add(codeLife),
	}
	if err := s.cfg.Codes.CreateCode(ctx, c, codes, s.decided(ctx, u, audit.ProgramAllowed, c.ID, r.Name, ip, r.Scopes)); err != nil {
		return secret.Text{}, err
	}
	return code, nil
}

// Deny records that u, who has seen r, denied it.
func (s *Service) Deny(ctx context.Context, u users.User, r Request, ip string) error {
	return s.cfg.Record(ctx, s.decided(ctx, u, audit.ProgramDenied, "", r.Name, ip, r.Scopes))
}

// RedeemCode makes a token of a code (RFC 6749 §4.1.3). Whoever comes with a code uses it up, with the right verifier or
// not: one that came to somebody else is of no use to anybody. Who comes a second time ends the token of the first
// (RFC 6749 §4.1.2). All refusals are invalid_grant.
func (s *Service) RedeemCode(ctx context.Context, code secret.Text, redirectURI string, verifier secret.Text) (tokens.Token, secret.Text, error) {
	// A code that was used is seen to its end: who comes with a stolen one and leaves at once saves nothing by it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	refuse := func(detail string) (tokens.Token, secret.Text, error) {
		return tokens.Token{}, secret.Text{}, &fault.Error{Kind: fault.Invalid, Code: codeGrant, Detail: detail}
	}
	c, err := s.cfg.Codes.UseCode(ctx, code.Hash())
	if errors.Is(err, fault.NotFound) {
		return refuse("There is no such authorization code.")
	} else if err != nil {
		return tokens.Token{}, secret.Text{}, err
	}
	switch sum := sha256.Sum256([]byte(verifier.Reveal())); {
	case c.Uses > 1:
		if err := s.endToken(ctx, c); err != nil {
			return tokens.Token{}, secret.Text{}, err
		}
		return refuse("This authorization code has been used. The token that was made of it is revoked.")
	case !s.cfg.Now().Before(c.ExpiresAt):
		return refuse("This authorization code is older than a minute. Start again.")
	case redirectURI != c.RedirectURI:
		return refuse("This authorization code went to another redirect URI.")
	case subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(c.Challenge)) != 1:
		return refuse("This authorization code was asked for with another code challenge.")
	}
	u, err := s.cfg.People.ByID(ctx, c.UserID)
	if err != nil {
		return tokens.Token{}, secret.Text{}, err
	}
	made, value, err := s.cfg.Tokens.Create(ctx, u, tokens.Request{ID: c.TokenID, Name: "behalf on " + c.Name, Scopes: c.Scopes, Origin: "login"})
	if err != nil {
		return tokens.Token{}, secret.Text{}, err
	}
	// Who came second while the token was made found none to end.
	if c, err = s.cfg.Codes.FindCode(ctx, c.Hash); err == nil && c.Uses == 1 {
		return made, value, nil
	}
	if ended := s.endToken(ctx, Code{UserID: u.ID, TokenID: made.ID}); err != nil || ended != nil {
		return tokens.Token{}, secret.Text{}, errors.Join(err, ended)
	}
	return refuse("This authorization code has been used twice.")
}

// endToken ends the token that was made of c, if it was.
func (s *Service) endToken(ctx context.Context, c Code) error {
	err := s.cfg.Tokens.Revoke(ctx, c.UserID, c.TokenID, "code_reused")
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

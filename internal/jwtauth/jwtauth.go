// Package jwtauth turns the bearer token of a Cube client into a security context.
//
// The token is a JWT (RFC 7519). Its payload becomes the claims that rules read. One that is signed with the API secret
// may name a person of this server in cubeCloud.username: then the request is that person's, with their grants. One that
// an issuer signed with a key of its own, known from its JWKS or as PEM, is of whom the issuer calls its subject. Access
// tokens inside the payload are taken out before anybody sees it.
//
// A request without a name is the anonymous principal, and a name that is nobody's here is a principal of its own
// realm, as is an issuer's subject: none of them ever has a stored credential (design.md §2.2, §2.22).
//
// Which key may verify a token follows from the kind of its algorithm: a public key is never taken for a secret.
package jwtauth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/loopback"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/golang-jwt/jwt/v5"
	lru "github.com/hashicorp/golang-lru/v2"
	"go.uber.org/zap"
)

// Config is what a Verifier needs. People and Domain are required.
type Config struct {
	Secrets         []secret.Text // of HMAC algorithms; tried in order
	PublicKey       any           // of an issuer: *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey; or nil
	Keys            *KeySet       // of an issuer, by kid; or nil
	Algorithms      []string      // default: all of Secrets alone, or of PublicKey and Keys alone if there are any
	Issuers         []string      // one of them must have issued the token; none accepts any
	Audience        string        // must be among the token's; empty accepts any
	Subject         string        // must be the token's; empty accepts any
	ClaimsNamespace string        // the claim that the model sees as SECURITY_CONTEXT; empty: all of them
	UsernameClaim   string        // dotted path; default cubeCloud.username

	// TrustUserCredentials lets access tokens in cubeCloud.userCredentials be used; otherwise they are dropped.
	TrustUserCredentials bool
	// DevMode makes the token optional: without a good one the request is anonymous, unless a page of another machine
	// sends it.
	DevMode bool

	// People finds the local person with this username: their id, and whether they are disabled. It answers
	// fault.NotFound when there is none.
	People func(ctx context.Context, username string) (id string, disabled bool, err error)
	// Domain is the id of the workspace that un-prefixed paths address.
	Domain string

	Log *zap.Logger      // default: no logging
	Now func() time.Time // default: time.Now
}

// Verifier verifies tokens. It is safe for concurrent use.
type Verifier struct {
	cfg    Config
	parser *jwt.Parser
	name   []string
	known  *lru.Cache[[sha256.Size]byte, verified] // tokens with a good signature, by their hash
}

// verified is what a good signature vouches for. It is kept, because a client sends the same token with every request;
// its time is checked at every use, and who it names is asked at every use.
type verified struct {
	claims  jwt.MapClaims           // exp and nbf
	context securitycontext.Context // with the principal of an issuer's subject, and without that of a name
	issued  bool                    // by an issuer, and not with a secret of ours
	key     *publicKey              // of Keys; nil where another one verified it
}

// The algorithms of signatures (RFC 7518 §3.1, RFC 8037 §3.1).
var (
	symmetric  = []string{"HS256", "HS384", "HS512"}
	asymmetric = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)

// remembered is how many verified tokens are kept.
const remembered = 4096

// New returns a Verifier over cfg.
func New(cfg Config) *Verifier {
	switch {
	case len(cfg.Algorithms) > 0:
	case cfg.PublicKey != nil || cfg.Keys != nil:
		cfg.Algorithms = asymmetric
	default:
		cfg.Algorithms = symmetric
	}
	if cfg.UsernameClaim == "" {
		cfg.UsernameClaim = "cubeCloud.username"
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	options := []jwt.ParserOption{jwt.WithValidMethods(cfg.Algorithms), jwt.WithTimeFunc(cfg.Now), jwt.WithJSONNumber()}
	if cfg.Audience != "" {
		options = append(options, jwt.WithAudience(cfg.Audience))
	}
	if cfg.Subject != "" {
		options = append(options, jwt.WithSubject(cfg.Subject))
	}
	known, _ := lru.New[[sha256.Size]byte, verified](remembered) // fails for a size below one only
	return &Verifier{cfg: cfg, parser: jwt.NewParser(options...), name: strings.Split(cfg.UsernameClaim, "."), known: known}
}

// The words of Cube for the two refusals (cube-rest-api.md §2.2). Why a token is refused is only logged: the answer
// must not help to forge one.
var (
	errNoToken  = &fault.Error{Kind: fault.Unauthenticated, Code: "missing_token", Detail: "Authorization header isn't set"}
	errBadToken = &fault.Error{Kind: fault.Unauthenticated, Code: "invalid_token", Detail: "Invalid token"}
)

// maxToken bounds a token. Cube clients carry claims in it, but a request's headers end at 64 KiB anyway.
const maxToken = 32 << 10

// Verify returns who a request with these headers comes from. It fails with fault.Unauthenticated when there is no
// token or a bad one (in development mode such a request is anonymous), and with fault.Denied for a person who is
// disabled.
func (v *Verifier) Verify(ctx context.Context, header http.Header) (securitycontext.Context, error) {
	token := Token(header)
	optional := v.cfg.DevMode && !foreign(header.Get("Origin"))
	if token == "" {
		if optional {
			return v.anonymous(), nil
		}
		return securitycontext.Context{}, errNoToken
	}
	k, err := v.verify(ctx, token)
	if err != nil {
		if optional {
			v.cfg.Log.Warn("a bad token was ignored in development mode", zap.String("reason", reason(err)))
			return v.anonymous(), nil
		}
		v.cfg.Log.Info("token refused", audit.Request(ctx), zap.String("reason", reason(err)))
		return securitycontext.Context{}, errBadToken
	}
	if k.issued {
		return k.context, nil
	}
	return v.identify(ctx, k.context)
}

// foreign reports whether a request with this Origin (RFC 6454) comes from a page that is not of this machine. Every
// origin may read the answers of the query API, because it asks for a token: without one, every site that a developer
// visits could.
func foreign(origin string) bool {
	if origin == "" {
		return false // not a page, or one of our own
	}
	u, err := url.Parse(origin)
	return err != nil || !loopback.Host(u.Hostname())
}

// verify returns what the signature of token vouches for.
func (v *Verifier) verify(ctx context.Context, token string) (verified, error) {
	if len(token) > maxToken {
		return verified{}, jwt.ErrTokenMalformed
	}
	digest := sha256.Sum256([]byte(token))
	if k, ok := v.known.Get(digest); ok {
		if v.inTime(k.claims) && (k.key == nil || v.cfg.Keys.holds(*k.key)) {
			return k, nil
		}
		v.known.Remove(digest) // and the parser says which way it is out of time
	}
	claims, k, err := v.claims(ctx, token)
	if err != nil {
		return verified{}, err
	}
	k.claims = jwt.MapClaims{}
	for _, name := range []string{"exp", "nbf"} {
		if at, ok := claims[name]; ok {
			k.claims[name] = at
		}
	}
	plainNumbers(map[string]any(claims))
	k.context = v.context(claims)
	if k.issued {
		v.issued(&k.context)
	}
	v.known.Add(digest, k)
	return k, nil
}

// inTime reports whether a token with these claims is neither over nor yet to come (RFC 7519 §4.1.4, §4.1.5).
func (v *Verifier) inTime(claims jwt.MapClaims) bool {
	now := v.cfg.Now()
	if exp, err := claims.GetExpirationTime(); err != nil || exp != nil && !now.Before(exp.Time) {
		return false
	}
	nbf, err := claims.GetNotBefore()
	return err == nil && (nbf == nil || !now.Before(nbf.Time))
}

// Token returns the token of the headers: of x-cube-authorization before Authorization, and the second word of the
// value if there are two, whatever the first one says (cube-rest-api.md §1.1).
func Token(header http.Header) string {
	value := header.Get("X-Cube-Authorization")
	if value == "" {
		value = header.Get("Authorization")
	}
	if _, second, ok := strings.Cut(value, " "); ok {
		return second
	}
	return value
}

// claims verifies token with the keys of its kind and returns its payload, and who signed it.
func (v *Verifier) claims(ctx context.Context, token string) (claims jwt.MapClaims, k verified, err error) {
	parse := func(key func(*jwt.Token) (any, error)) error {
		claims = jwt.MapClaims{}
		_, err := v.parser.ParseWithClaims(token, claims, key)
		if err != nil {
			return err
		}
		return v.checkIssuer(claims)
	}
	// Each secret in turn. A token that is out of its time is refused at once: no other secret could make it good.
	err = jwt.ErrTokenUnverifiable
	for _, s := range v.cfg.Secrets {
		if s.Empty() {
			continue
		}
		err = parse(func(t *jwt.Token) (any, error) {
			if _, ok := t.Method.(*jwt.SigningMethodHMAC); !ok {
				return nil, errOtherKind
			}
			return []byte(s.Reveal()), nil
		})
		if err == nil || errors.Is(err, jwt.ErrTokenExpired) || errors.Is(err, jwt.ErrTokenNotValidYet) {
			return claims, k, err
		}
	}
	if v.cfg.PublicKey == nil && v.cfg.Keys == nil {
		return nil, k, err
	}
	k.issued = true
	err = parse(func(t *jwt.Token) (any, error) {
		if _, ok := t.Method.(*jwt.SigningMethodHMAC); ok {
			return nil, errOtherKind
		}
		if v.cfg.PublicKey != nil {
			return v.cfg.PublicKey, nil
		}
		kid, _ := t.Header["kid"].(string)
		if kid == "" {
			return nil, errors.New("JWT without kid inside headers")
		}
		key, err := v.cfg.Keys.key(ctx, kid)
		if err != nil {
			return nil, err
		}
		if key.Algorithm != "" && key.Algorithm != t.Method.Alg() {
			return nil, errOtherKind
		}
		k.key = &key
		return key.Key, nil
	})
	return claims, k, err
}

// errOtherKind says that a key is of another kind than the algorithm of a token: who may choose that may forge.
var errOtherKind = errors.New("no key of the kind of the token's algorithm")

// issued makes sc that of an issuer's subject (OIDC Core §5.7). An issuer that is no URL gets a realm of its own, which
// is none of ours.
func (v *Verifier) issued(sc *securitycontext.Context) {
	subject, _ := sc.Claims["sub"].(string)
	issuer, _ := sc.Claims["iss"].(string)
	if sc.Username == "" {
		sc.Username = subject
	}
	if subject == "" {
		sc.Username = "" // a name alone is nobody
		return
	}
	if !strings.Contains(issuer, "://") {
		issuer = "issuer:" + issuer
	}
	sc.Principal = securitycontext.Principal{Realm: issuer, Subject: subject}
}

func (v *Verifier) checkIssuer(claims jwt.MapClaims) error {
	if len(v.cfg.Issuers) == 0 {
		return nil
	}
	if iss, err := claims.GetIssuer(); err != nil || !slices.Contains(v.cfg.Issuers, iss) {
		return jwt.ErrTokenInvalidIssuer
	}
	return nil
}

// reason names why a token was refused, without a word of the token.
func reason(err error) string {
	for _, known := range []error{
		jwt.ErrTokenMalformed, jwt.ErrTokenExpired, jwt.ErrTokenNotValidYet, jwt.ErrTokenInvalidAudience,
		jwt.ErrTokenInvalidIssuer, jwt.ErrTokenSignatureInvalid, errUnknownKey, errOtherKind, jwt.ErrTokenUnverifiable,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "invalid claims"
}

func (v *Verifier) anonymous() securitycontext.Context {
	return securitycontext.Context{Domain: v.cfg.Domain, Claims: map[string]any{}, Template: map[string]any{}}
}

// Context makes the security context of claims that somebody else vouches for, such as a hook. Nobody is its principal
// yet. It takes access tokens out of the claims, and keeps those that may be used.
func (v *Verifier) Context(claims map[string]any) securitycontext.Context { return v.context(claims) }

// context makes the security context of verified claims, which the principal is not in yet.
func (v *Verifier) context(claims map[string]any) securitycontext.Context {
	sc := v.anonymous()
	legacy, _ := claims["u"].(map[string]any)
	inner, _ := claims[v.cfg.ClaimsNamespace].(map[string]any)
	for _, object := range []map[string]any{claims, legacy, inner} {
		v.takeCredentials(object, &sc)
	}
	sc.Claims, sc.Template = claims, v.template(claims, legacy)
	sc.Groups = groups(sc.Claims, legacy, sc.Template)
	if sc.Username = text(claims, v.name); sc.Username == "" {
		sc.Username = text(legacy, v.name)
	}
	return sc
}

// groups returns the groups of the first of these objects that says some: in groups, or in cubeCloud.groups
// (cube-data-model.md §16.2).
func groups(objects ...map[string]any) []string {
	for _, o := range objects {
		cloud, _ := o["cubeCloud"].(map[string]any)
		for _, v := range []any{o["groups"], cloud["groups"]} {
			list, ok := v.([]any)
			if !ok {
				continue
			}
			var names []string
			for _, item := range list {
				if name, ok := item.(string); ok {
					names = append(names, name)
				}
			}
			return names
		}
	}
	return nil
}

// identify says whose context it is: nobody's without a name, a local person's, or a name's that is nobody's here.
func (v *Verifier) identify(ctx context.Context, sc securitycontext.Context) (securitycontext.Context, error) {
	if sc.Username == "" {
		return sc, nil
	}
	userID, disabled, err := v.cfg.People(ctx, sc.Username)
	switch {
	case errors.Is(err, fault.NotFound):
		sc.Principal = securitycontext.Principal{Realm: securitycontext.APISecret, Subject: sc.Username}
	case err != nil:
		return securitycontext.Context{}, err
	case disabled:
		return securitycontext.Context{}, &fault.Error{
			Kind: fault.Denied, Code: "user_disabled", Owner: fault.Admin,
			Detail: "The account " + sc.Username + " is disabled. An admin can enable it again.",
		}
	default:
		sc.Principal = securitycontext.Principal{Realm: securitycontext.Local, Subject: userID}
	}
	return sc, nil
}

// template is what a model sees as SECURITY_CONTEXT (cube-rest-api.md §2.4).
func (v *Verifier) template(claims, legacy map[string]any) map[string]any {
	if v.cfg.ClaimsNamespace != "" {
		inner, _ := claims[v.cfg.ClaimsNamespace].(map[string]any)
		if inner == nil {
			inner = map[string]any{}
		}
		return inner
	}
	if legacy == nil {
		return claims
	}
	merged := make(map[string]any, len(claims)+len(legacy))
	for k, c := range claims {
		if k != "u" {
			merged[k] = c
		}
	}
	for k, c := range legacy {
		merged[k] = c
	}
	return merged
}

// takeCredentials moves the access tokens of cubeCloud.userCredentials out of claims, so that no rule, cache key or
// log can hold one, and into sc if they may be used.
func (v *Verifier) takeCredentials(claims map[string]any, sc *securitycontext.Context) {
	cloud, _ := claims["cubeCloud"].(map[string]any)
	entries, _ := cloud["userCredentials"].(map[string]any)
	for key, entry := range entries {
		e, _ := entry.(map[string]any)
		token, _ := e["accessToken"].(string)
		delete(e, "accessToken")
		delete(e, "refreshToken")
		if !v.cfg.TrustUserCredentials || token == "" {
			continue
		}
		c := securitycontext.Credential{AccessToken: secret.New(token)}
		c.Status, _ = e["status"].(string)
		if at, ok := e["accessTokenExpiresAt"].(string); ok {
			c.ExpiresAt, _ = time.Parse(time.RFC3339, at)
		}
		if sc.Credentials == nil {
			sc.Credentials = map[string]securitycontext.Credential{}
		}
		sc.Credentials[key] = c
	}
}

// text returns the string at path, or "".
func text(claims map[string]any, path []string) string {
	var at any = claims
	for _, key := range path {
		m, _ := at.(map[string]any)
		at = m[key]
	}
	s, _ := at.(string)
	return s
}

// plainNumbers replaces each json.Number in v by an int64 where it is one, else by a float64: what a driver can bind.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = plainNumbers(e)
		}
	case []any:
		for i, e := range v {
			v[i] = plainNumbers(e)
		}
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, err := v.Float64()
		if err != nil {
			return v.String() // out of range: its text is all that can be compared
		}
		return f
	}
	return v
}

// Issue returns a token that v takes as one of the person with this username: signed as v demands, by the issuer and for
// the audience that it demands, with the name in the claim where it looks. It is what a signed-in person gets for the
// query API of their own browser; a name where nobody looks would make them anonymous there.
func (v *Verifier) Issue(username string, life time.Duration) (secret.Text, error) {
	var key secret.Text
	for _, s := range v.cfg.Secrets {
		if key.Empty() {
			key = s
		}
	}
	claims := map[string]any{}
	at := claims
	for _, step := range v.name[:len(v.name)-1] {
		inner := map[string]any{}
		at[step] = inner
		at = inner
	}
	at[v.name[len(v.name)-1]] = username
	if len(v.cfg.Issuers) > 0 {
		claims["iss"] = v.cfg.Issuers[0]
	}
	if v.cfg.Audience != "" {
		claims["aud"] = v.cfg.Audience
	}
	i := slices.IndexFunc(v.cfg.Algorithms, func(a string) bool { return slices.Contains(symmetric, a) })
	if i < 0 {
		return secret.Text{}, fault.New(fault.Unavailable, "Tokens are verified by their issuer's keys alone, so none can be signed here. "+
			"Set auth.api_secret and add HS256 to auth.jwt.algorithms, and tokens of both kinds are taken.")
	}
	return signWith(jwt.GetSigningMethod(v.cfg.Algorithms[i]), key, claims, v.cfg.Now(), life)
}

// Sign returns a token with these claims and an expiry, which a Verifier with the same secret and nothing else to
// demand takes.
func Sign(key secret.Text, claims map[string]any, now time.Time, life time.Duration) (secret.Text, error) {
	return signWith(jwt.SigningMethodHS256, key, claims, now, life)
}

func signWith(method jwt.SigningMethod, key secret.Text, claims map[string]any, now time.Time, life time.Duration) (secret.Text, error) {
	if key.Empty() {
		return secret.Text{}, fault.New(fault.Unavailable, "There is no API secret, so no token can be signed. Set auth.api_secret or CUBEJS_API_SECRET.")
	}
	payload := jwt.MapClaims{"iat": now.Unix(), "exp": now.Add(life).Unix()}
	for k, c := range claims {
		payload[k] = c
	}
	signed, err := jwt.NewWithClaims(method, payload).SignedString([]byte(key.Reveal()))
	if err != nil {
		return secret.Text{}, err
	}
	return secret.New(signed), nil
}

package driverfactory

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

// Choice is a credential at a source, chosen for one caller and operation. It holds no token of a grant: the Driver
// asks for that when a statement runs.
type Choice struct {
	Key   PoolKey
	RunAs RunAs

	src     Source
	account *ServiceAccount             // for the service account
	carried *securitycontext.Credential // for a token that came in the JWT
}

// Source returns the source that the choice is for.
func (c Choice) Source() Source { return c.src }

// Status words of a credential (ux.md §1.0) that this package tells apart. All others pass through as they come.
const (
	statusActive       = "active"
	statusNotConnected = "not_connected"
)

// Choose picks the credential for what sc wants of src, in the one order there is (design.md §2.4): the person's own
// grant if it is usable; else an active credential that came in their JWT; else, and only where the source's policy
// says so, the service account; else a refusal that says why. A source with no OAuth app at all, with nothing personal
// in the JWT, and that does not say FallbackDeny, runs as its service account.
//
// Liveness checks and background work use the service account and nothing else. The refusals are those of
// Credentials with Params "data_source" and "oauth_app" added, fault.AuthorizationRequired for somebody who cannot
// have a grant, and fault.Unavailable with code "no_service_account" where there is none to use, or "no_oauth_app"
// where there must not be. A failure to find
// out whether there is a usable grant is returned as it is: nobody stands in for a person because of it.
func (f *Factory) Choose(ctx context.Context, sc SecurityContext, src Source, op Operation) (Choice, error) {
	if _, err := f.warehouse(src); err != nil {
		return Choice{}, err
	}
	switch op {
	case UserQuery:
		return f.chooseForPerson(ctx, sc, src)
	case LivenessCheck, Background:
		return f.serviceAccount(src, "", "", string(op))
	}
	return Choice{}, fault.New(fault.Invalid, "%q is not an operation", op)
}

func (f *Factory) chooseForPerson(ctx context.Context, sc SecurityContext, src Source) (Choice, error) {
	if !sc.Principal.Anonymous() {
		if err := f.cfg.Allowed(ctx, sc.Principal); err != nil {
			return Choice{}, withSource(err, src, "")
		}
	}
	own, refusal, err := f.personal(ctx, sc, src)
	if err != nil {
		return Choice{}, err
	}
	if f.cfg.AsUser != nil {
		return f.chooseAsToldTo(ctx, sc, src, own, refusal)
	}
	switch {
	case own != nil:
		return *own, nil
	case refusal == nil && src.Fallback == FallbackDeny:
		// The app was deleted, or nobody has registered one yet: that must not open the source to everybody.
		return Choice{}, noOAuthApp(src)
	case refusal == nil:
		return f.serviceAccount(src, sc.Username, "", "no_oauth_app")
	case src.Fallback == FallbackServiceAccount && f.account(src) != nil:
		status := StatusOf(refusal)
		return f.serviceAccount(src, sc.Username, status, status)
	}
	return Choice{}, refusal
}

// chooseAsToldTo asks Config.AsUser. The person's own credential is theirs to use or not; the service account is what
// the policy of the source lets it be.
func (f *Factory) chooseAsToldTo(ctx context.Context, sc SecurityContext, src Source, own *Choice, refusal error) (Choice, error) {
	status := ""
	switch {
	case own != nil:
		status = statusActive // usable: what is below that word is for its owner (design.md §2.4)
	case refusal != nil:
		status = StatusOf(refusal)
	}
	asUser, err := f.cfg.AsUser(ctx, sc, src, status)
	if err != nil {
		return Choice{}, withSource(err, src, "")
	}
	switch {
	case asUser && own != nil:
		return *own, nil
	case asUser && refusal != nil:
		return Choice{}, refusal
	case src.Fallback == FallbackServiceAccount, src.Fallback == "" && status == "":
		return f.serviceAccount(src, sc.Username, status, "hook")
	case refusal != nil:
		return Choice{}, refusal
	case own == nil:
		return Choice{}, noOAuthApp(src)
	}
	return Choice{}, &fault.Error{
		Kind: fault.Denied, Code: "fallback_denied", Owner: fault.Admin,
		Detail: fmt.Sprintf("driverFactory chose the service account of data source %q, which does not allow it. "+
			"An admin can write fallback: service_account at the data source.", src.Name),
		Params: map[string]string{"data_source": src.Name},
	}
}

// personal looks for the person's own credential. Where there can be one and is none that is usable, the refusal says
// why; where there can be none, both are nil.
func (f *Factory) personal(ctx context.Context, sc SecurityContext, src Source) (own *Choice, refusal, err error) {
	person := !sc.Principal.Anonymous()
	app, hasApp, err := f.app(ctx, src)
	if err != nil {
		return nil, nil, withSource(err, src, "")
	}
	if hasApp {
		refusal = notConnected(sc, src, app)
		if person && f.cfg.Credentials != nil {
			tok, err := f.cfg.Credentials.Token(ctx, sc.Principal, app)
			if err == nil {
				return new(grantChoice(sc, src, app, tok)), nil, nil
			}
			if !endsTheGrant(err) {
				return nil, nil, withSource(err, src, app)
			}
			refusal = withSource(err, src, app)
		}
	}
	key := CredentialsKey(src)
	if cred, ok := sc.Credentials[key]; ok {
		if person && f.usable(cred) {
			return new(carriedChoice(sc, src, cred)), nil, nil
		}
		// Whoever sends a credential expects queries to run as that person: a source that asks for no OAuth app is no
		// reason to use another identity in silence.
		switch {
		case refusal != nil:
		case person:
			refusal = carriedRefusal(src, key, f.carriedStatus(cred))
		default:
			refusal = carriedByNobody(src, key)
		}
	}
	return nil, refusal, nil
}

// app returns the slug of the OAuth app that people connect for src.
func (f *Factory) app(ctx context.Context, src Source) (string, bool, error) {
	if src.OAuthApp != "" {
		return src.OAuthApp, true, nil
	}
	slug, ok, err := f.cfg.App(ctx, src)
	if err != nil {
		return "", false, fmt.Errorf("OAuth app of data source %s: %w", src.Name, err)
	}
	return slug, ok && slug != "", nil
}

// CredentialsKey returns the key below cubeCloud.userCredentials that holds a credential for src.
func CredentialsKey(src Source) string {
	if src.CredentialsKey != "" {
		return src.CredentialsKey
	}
	return strings.TrimSuffix(src.Type, "-jdbc")
}

func grantChoice(sc SecurityContext, src Source, app string, tok Token) Choice {
	status := tok.Status
	if status == "" {
		status = statusActive
	}
	return Choice{
		Key: PoolKey{
			Domain: src.Domain, Source: src.Name, SourceRev: src.Rev,
			Principal: sc.Principal, App: app, Epoch: tok.Epoch,
		},
		RunAs: RunAs{
			Identity: IdentityUser, Username: sc.Username, DataSource: src.Name, Credential: status, Reason: "grant",
		},
		src: src,
	}
}

// carriedChoice is for a token that came in the JWT. Its epoch is taken from the token itself, so that another token
// is another pool: it cannot be refreshed here, and nothing else tells us when it was replaced.
func carriedChoice(sc SecurityContext, src Source, cred securitycontext.Credential) Choice {
	sum := sha256.Sum256([]byte("behalf: epoch of a carried token\x00" + cred.AccessToken.Reveal()))
	return Choice{
		Key: PoolKey{
			Domain: src.Domain, Source: src.Name, SourceRev: src.Rev,
			Principal: sc.Principal, Epoch: int64(binary.BigEndian.Uint64(sum[:8]) >> 1),
		},
		RunAs: RunAs{
			Identity: IdentityUser, Username: sc.Username, DataSource: src.Name, Credential: statusActive, Reason: "jwt",
		},
		src: src, carried: &cred,
	}
}

// usable reports whether a credential that came in a JWT may run a query.
func (f *Factory) usable(cred securitycontext.Credential) bool {
	return f.carriedStatus(cred) == statusActive
}

func (f *Factory) carriedStatus(cred securitycontext.Credential) string {
	switch {
	case cred.Status == "":
		return "unknown"
	case cred.Status != statusActive:
		return cred.Status
	case cred.AccessToken.Empty():
		return statusNotConnected
	case !cred.ExpiresAt.IsZero() && !f.cfg.Now().Before(cred.ExpiresAt):
		return "expired"
	}
	return statusActive
}

// account returns the service account of src, or nil. Where nobody logs in it is the server itself.
func (f *Factory) account(src Source) *ServiceAccount {
	if src.ServiceAccount != nil {
		return src.ServiceAccount
	}
	if free, ok := f.cfg.Warehouses[src.Type].(LoginFree); ok && free.LoginFree() {
		return &ServiceAccount{Name: "server"}
	}
	return nil
}

func (f *Factory) serviceAccount(src Source, username, credential, reason string) (Choice, error) {
	account := f.account(src)
	if account == nil {
		return Choice{}, &fault.Error{
			Kind: fault.Unavailable, Code: "no_service_account", Owner: fault.Admin,
			Detail: fmt.Sprintf("data source %q has no service account, and this needs one; "+
				"an admin can add service_account to the data source, or an OAuth app that people connect", src.Name),
			Params: map[string]string{"data_source": src.Name},
		}
	}
	return Choice{
		Key: PoolKey{Domain: src.Domain, Source: src.Name, SourceRev: src.Rev, Service: true},
		RunAs: RunAs{
			Identity: IdentityServiceAccount, Username: username, Account: AccountName(account),
			DataSource: src.Name, Credential: credential, Reason: reason,
		},
		src: src, account: account,
	}, nil
}

// AccountName returns what RunAs.Account shows for a.
func AccountName(a *ServiceAccount) string {
	switch {
	case a.Name != "":
		return a.Name
	case a.User != "":
		return a.User
	}
	return "service account"
}

// endsTheGrant reports whether err says that the person has no usable grant. A person who is disabled, a store that
// does not answer and every other failure say nothing of the kind: they end the query.
func endsTheGrant(err error) bool {
	switch fault.KindOf(err) {
	case fault.AuthorizationRequired, fault.ReauthorizationRequired, fault.AppDisabled, fault.RefreshFailing:
		return true
	case fault.Unavailable:
		e, ok := errors.AsType[*fault.Error](err)
		return ok && e.Code == "invalid_client" // the app is broken, and no live token is left (design.md §5)
	}
	return false
}

// StatusOf returns the status word (ux.md §1.0) of the grant behind a refusal: its Params "status", or else the word
// that its kind implies.
func StatusOf(refusal error) string {
	if e, ok := errors.AsType[*fault.Error](refusal); ok && e.Params["status"] != "" {
		return e.Params["status"]
	}
	switch fault.KindOf(refusal) {
	case fault.AuthorizationRequired:
		return statusNotConnected
	case fault.ReauthorizationRequired:
		return "expired"
	case fault.AppDisabled:
		return "disabled"
	}
	return "refresh_failing"
}

// notConnected refuses somebody who has no grant and whom Credentials was not asked about: a request without a
// username, or a server without Credentials.
func notConnected(sc SecurityContext, src Source, app string) error {
	detail := fmt.Sprintf("Data source %q runs queries as the person who asks. "+
		"Connect the OAuth app %q, then run the query again.", src.Name, app)
	if sc.Principal.Anonymous() {
		detail = fmt.Sprintf("Data source %q runs queries as the person who asks, and this request does not say who "+
			"that is. Sign in, or send a token that names a user.", src.Name)
	}
	return &fault.Error{
		Kind: fault.AuthorizationRequired, Owner: fault.User, Detail: detail,
		Params: map[string]string{"data_source": src.Name, "oauth_app": app, "status": statusNotConnected},
	}
}

// carriedRefusal refuses somebody whose JWT carries a credential that cannot be used.
func carriedRefusal(src Source, key, status string) error {
	return &fault.Error{
		Kind: fault.ReauthorizationRequired, Owner: fault.User,
		Detail: fmt.Sprintf("The credential %q in your token for data source %q is %s. "+
			"Sign in again where your token comes from.", key, src.Name, status),
		Params: map[string]string{"data_source": src.Name, "status": status},
	}
}

// carriedByNobody refuses a JWT that carries a credential and does not say whose it is: no pool could be that person's.
func carriedByNobody(src Source, key string) error {
	return &fault.Error{
		Kind: fault.AuthorizationRequired, Owner: fault.User,
		Detail: fmt.Sprintf("Your token carries the credential %q for data source %q, and does not say who you are. "+
			"Send one that names a user.", key, src.Name),
		Params: map[string]string{"data_source": src.Name, "status": statusNotConnected},
	}
}

// noOAuthApp refuses everybody at a source that says FallbackDeny while there is no OAuth app to connect.
func noOAuthApp(src Source) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "no_oauth_app", Owner: fault.Admin,
		Detail: fmt.Sprintf("Data source %q runs queries as the person who asks (fallback: deny), and there is no OAuth app "+
			"for it to connect. An admin can register one.", src.Name),
		Params: map[string]string{"data_source": src.Name},
	}
}

// withSource returns err with the source, and the OAuth app if there is one, in its Params. An error that is no
// fault.Error is named after the source and stays internal.
func withSource(err error, src Source, app string) error {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return fmt.Errorf("data source %s: %w", src.Name, err)
	}
	named := *e
	named.Params = map[string]string{"data_source": src.Name}
	if app != "" {
		named.Params["oauth_app"] = app
	}
	maps.Copy(named.Params, e.Params)
	return &named
}

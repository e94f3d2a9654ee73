package connectedapps

import (
	"context"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

// Key names a grant: whose it is, and for which OAuth app.
type Key struct {
	Principal securitycontext.Principal
	AppID     string
}

// Grant is one person's authorization of one OAuth app, with the facts that its status is derived from.
type Grant struct {
	ID     string // con_…
	Key    Key
	Domain string // of the OAuth app

	// Epoch changes when the grant itself does: new consent, another account, other scopes. It is the time of the
	// consent in unix milliseconds, and always larger than any epoch this key had before.
	Epoch int64
	// Revision grows with each refresh. Rev is the row's own counter, for compare-and-swap.
	Revision int64
	Rev      int64

	AccessToken  secret.Text
	DPoPKey      secret.Text // private key that the tokens are bound to (RFC 9449); empty when they are bearer tokens
	RefreshToken secret.Text // empty when the authorization server gave none

	// SpareRefreshToken came with a second answer to the same refresh token, and is tried before the grant is called
	// dead. Empty but for a process that slept in mid-refresh.
	SpareRefreshToken secret.Text

	TokenType string   // "Bearer", as the server wrote it, or "DPoP"
	Scopes    []string // granted (RFC 6749 §5.1)
	Requested []string // asked for at the consent; compared with the app's, for needs_consent
	Account   string   // who the person is at the provider, as far as it told us: display data
	Subject   string   // sub of the verified ID token of the consent (OIDC Core §12.2); empty when there was none
	Identity  string   // Account in the form in which names are compared; empty when nobody said one that can be
	Mismatch  string   // who the person was here, when that was somebody else and they have not kept it

	// Exchanged says that it began by token exchange (RFC 8693) and not by a consent in a browser: so it is renewed, too,
	// where there is no refresh token.
	Exchanged bool

	ConnectedAt      time.Time // of the consent, or the exchange
	RefreshedAt      time.Time // when the access token was asked for
	ExpiresAt        time.Time // of the access token: that + expires_in; zero when unknown
	RefreshExpiresAt time.Time // of the refresh token or the consent; zero when unknown
	RefreshEndKnown  time.Time // since when RefreshExpiresAt is what it is: it moves with each refresh, or never
	UsedAt           time.Time // last hand-out, to the minute

	// Refused is set once the authorization server answered invalid_grant: the refresh token is dead.
	RefusedAt time.Time
	// Failure of the last refresh attempt, cleared by a success. Code is one of the codes of oauthapps; NextTryAt is
	// when the next attempt may be made.
	FailureCode string
	FailedAt    time.Time
	Failures    int
	NextTryAt   time.Time

	// Intent of the refresh under way: written before the call and cleared with its outcome. While IntentUntil is in
	// the future nobody else may try; after it, the call's outcome is unknown.
	IntentAt    time.Time
	IntentUntil time.Time
	IntentBy    string // the process that claimed it
	Fence       int64  // grows with every claim
}

// Store keeps grants. It is all that this package asks of a database; connectedappstest.TestStore says what each
// method must do. Tokens are sealed by the store, bound to their row (design.md §2.13). Each method is one
// transaction and commits its audit entry with it; what changes a grant is announced as notify.GrantChanged before the
// method returns.
type Store interface {
	// Get returns the grant, or an error that is fault.NotFound.
	Get(ctx context.Context, k Key) (Grant, error)

	// List returns the grants of one principal, or of one app for everybody, ordered by id: the filter names exactly
	// one of the two.
	List(ctx context.Context, f Filter) ([]Grant, error)

	// Connect stores g as the grant of its key, in place of any there is, with an Epoch that is at least g.Epoch and
	// larger than the one it replaces, and Revision and Rev one higher than the ones it replaces. It returns what it
	// stored. The ID of a replaced grant is kept. A claim under way on the replaced grant can no longer be saved.
	//
	// authorization is the id of the one that a callback took and g comes from; with g, its outcome is stored. It is
	// fault.Gone, and nothing is stored, when that is over or was removed meanwhile, by a revocation or because its app
	// was moved: what began before such an act brings nothing back. A grant that comes from none has "".
	Connect(ctx context.Context, g Grant, authorization string, e audit.Entry) (Grant, error)

	// KeepAccount clears Mismatch of the grant with this epoch and returns it, Rev one higher; fault.Conflict when it
	// was replaced or deleted.
	KeepAccount(ctx context.Context, k Key, epoch int64, e audit.Entry) (Grant, error)

	// Delete removes the grant and returns it as it was last, or an error that is fault.NotFound. The jobs that then
	// says follow are added in the same transaction.
	Delete(ctx context.Context, k Key, e audit.Entry, then ...Follow) (Grant, error)
}

// Filter selects grants. An app may have ten thousands of them: read those in pages, each After the last id of the
// one before.
type Filter struct {
	Principal securitycontext.Principal
	AppID     string
	After     string // only grants with a larger id
	Limit     int    // at most so many; 0 means all
}

// RefreshStore is the part of the database that a refresh needs. The claim is a fenced lease on the grant's own row.
// What a refresh ended with is announced as Store says; a claim is not.
type RefreshStore interface {
	// Claim writes the intent to refresh g and returns the grant with it, its Fence one higher. It is fault.Conflict
	// when the row's Rev is not g.Rev any more, or when somebody else's intent is not over at now: read it again.
	Claim(ctx context.Context, g Grant, by string, now, until time.Time) (Grant, error)

	// SaveRefreshed stores the tokens, scopes and times of g with Revision and Rev one higher, and RefusedAt,
	// FailureCode and FailedAt as g has them, which a success does not; it clears intent and back-off. It is fault.Conflict when the row's Fence is not g.Fence any more, or the grant was
	// replaced or deleted meanwhile. Saving an answer again is allowed, for who did not hear that it was stored.
	SaveRefreshed(ctx context.Context, g Grant, e audit.Entry) (Grant, error)

	// SaveRefusal stores RefusedAt, FailureCode, FailedAt, Failures and NextTryAt of g with Rev one higher, and
	// clears the intent unless keepIntent is set: the outcome stays unknown. Conflict as for SaveRefreshed.
	SaveRefusal(ctx context.Context, g Grant, keepIntent bool, e audit.Entry) (Grant, error)

	// Adopt stores everything of g that a refresh or its failure changes, its spare, Revision and Fence among it, with
	// Rev one higher. It is fault.Conflict when the row's Rev is not g.Rev any more, or the grant was replaced or
	// deleted.
	Adopt(ctx context.Context, g Grant, e audit.Entry) (Grant, error)

	// Due returns grants of an app whose DueAt has come at now, at most limit, what ends first before the rest: the
	// refresh token, or the access token when it was handed out since it came. What has ended already, or has no known
	// end, comes last, the ones due for longest first. The store keeps DueAt up to date whenever it changes a grant.
	Due(ctx context.Context, appID string, now time.Time, limit int) ([]Grant, error)

	// Touch sets UsedAt of the grant when at is at least a minute later than what is stored. It does not change Rev.
	Touch(ctx context.Context, k Key, at time.Time) error
}

// Authorization is one attempt to connect an OAuth app, from the moment its page is asked for until its callback.
type Authorization struct {
	ID        string // cs_…: the session of the authorize URL
	Principal securitycontext.Principal
	AppID     string
	ReturnTo  string // path on our own origin where the person goes on

	// Browser is the hash of the browser session that may finish it; empty until the person pressed Authorize.
	Browser   string
	StateHash string      // SHA-256 of the state, in hex; unique; empty until then
	Verifier  secret.Text // PKCE code verifier (RFC 7636 §4.1)
	Nonce     secret.Text // OIDC nonce, when openid is asked for
	DPoPKey   secret.Text // private key that the tokens will be bound to, when they will (RFC 9449 §10)

	CreatedAt time.Time
	ExpiresAt time.Time // 10 min later
	TakenAt   time.Time // when a callback took it; zero until then
	DoneAt    time.Time // when its outcome was known
	Outcome   string    // "", "connected", or the code of the refusal
}

// AuthorizationStore keeps pending authorizations.
type AuthorizationStore interface {
	// CreateAuthorization stores a new one.
	CreateAuthorization(ctx context.Context, a Authorization) error

	// GetAuthorization returns the one with this id, or fault.NotFound.
	GetAuthorization(ctx context.Context, id string) (Authorization, error)

	// BeginAuthorization stores browser, state, verifier, nonce and key of a. It is fault.Gone when the authorization is
	// over, taken, expired at now, or gone. Beginning one again replaces its state: the older one is dead.
	BeginAuthorization(ctx context.Context, a Authorization, now time.Time) error

	// TakeAuthorization returns the authorization with this state and marks it taken, once: a second call, however
	// concurrent, is fault.Gone, as is an expired or unknown state. It is taken whatever browser is named: the
	// caller compares afterwards, so that a state that was seen elsewhere is dead.
	TakeAuthorization(ctx context.Context, stateHash string, now time.Time) (Authorization, error)

	// FinishAuthorization stores DoneAt and Outcome.
	FinishAuthorization(ctx context.Context, id, outcome string, now time.Time) error
}

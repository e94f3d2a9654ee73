package driverfactory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/spelling"
)

// Config is what a Factory needs. Warehouses is required.
type Config struct {
	// Credentials hands out what people have authorized. Without it nobody has a personal grant.
	Credentials Credentials

	// Warehouses are the adapters by Source.Type, such as {"databricks": databricks.New(databricks.Config{})}.
	Warehouses map[string]Warehouse

	// App returns the slug of the OAuth app that people connect for src, and false when there is none. It is asked
	// for sources that name no app themselves. Default: none.
	App func(ctx context.Context, src Source) (slug string, ok bool, err error)

	// Allowed is asked before a person's query whether they may still act at all; its refusal, fault.Denied for a
	// disabled person, ends the query and no credential is looked for. Default: everybody may.
	Allowed func(ctx context.Context, p Principal) error

	// AsUser decides, before a person's query, whether it runs under their own credential, or as the service account where
	// the policy of src allows that. status is that of their own credential (ux.md §1.0), empty where there can be none.
	// Its error ends the query. Default: what the policy says.
	AsUser func(ctx context.Context, sc SecurityContext, src Source, status string) (bool, error)

	// ClientCredentials calls the token endpoint of a service account that has an OAuth client (RFC 6749 §4.4).
	// Value and ExpiresAt of the token are read. Required where a source has one.
	ClientCredentials func(ctx context.Context, c ClientCredentials) (Token, error)

	// Admit is asked before a session is dialled, and may wait for capacity as long as ctx lasts, or until a session of key
	// is idle: then it fails with ErrAskAgain, and that one is lent. The session's release is called once, when its
	// physical connection has closed or could not be made. Default: no limit but the source's own.
	//
	// ctx is that of the statement that the session is for.
	Admit func(ctx context.Context, key PoolKey) (release func(), err error)

	// Stage hears of sessions that are opened. Default: nobody hears.
	Stage StageFunc

	// IdleTimeout is how long an unused session stays open. Default 60 s.
	IdleTimeout time.Duration

	Log *zap.Logger      // default: no logging
	Now func() time.Time // default: time.Now
}

// ErrAskAgain is what a session is not opened with, because one is idle, or because nobody in particular was to have it: whoever
// waits asks again, and is not told.
var ErrAskAgain = errors.New("driverfactory: ask for a session again")

// Factory chooses credentials and opens drivers. It is safe for concurrent use.
type Factory struct {
	cfg Config

	mu       sync.Mutex
	accounts map[accountKey]*accountTokens // of service accounts with an OAuth client
}

// accountKey names a service account, whatever its revision.
type accountKey struct{ domain, source string }

// New returns a Factory over cfg. It starts nothing.
func New(cfg Config) *Factory {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.IdleTimeout <= 0 {
		cfg.IdleTimeout = 60 * time.Second
	}
	if cfg.App == nil {
		cfg.App = func(context.Context, Source) (string, bool, error) { return "", false, nil }
	}
	if cfg.Allowed == nil {
		cfg.Allowed = func(context.Context, Principal) error { return nil }
	}
	if cfg.Admit == nil {
		cfg.Admit = func(context.Context, PoolKey) (func(), error) { return func() {}, nil }
	}
	cfg.Warehouses = maps.Clone(cfg.Warehouses)
	return &Factory{cfg: cfg, accounts: map[accountKey]*accountTokens{}}
}

// Check returns what is wrong with src, as fault.Invalid with a Field for each wrong place, or nil. It does no I/O.
func (f *Factory) Check(src Source) error {
	wh, err := f.warehouse(src)
	if err != nil {
		return err
	}
	err = wh.Check(src)
	wrong, ok := f.wrongScope(src, wh)
	if !ok {
		return err
	}
	c := &Checker{src: src}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		c.fields = append(c.fields, e.Fields...)
	}
	c.Wrong("cache_scope", "unsupported", "%s", wrong)
	return c.Err()
}

// warehouse returns the adapter of src.
func (f *Factory) warehouse(src Source) (Warehouse, error) {
	if wh, ok := f.cfg.Warehouses[src.Type]; ok {
		return wh, nil
	}
	known := slices.Sorted(maps.Keys(f.cfg.Warehouses))
	detail := fmt.Sprintf("%q is not a type of data source here%s; the types are %s",
		src.Type, spelling.DidYouMean(src.Type, known), strings.Join(known, ", "))
	return nil, &fault.Error{
		Kind: fault.Invalid, Code: "unknown_type", Owner: fault.Admin, Detail: detail,
		Fields: []fault.Field{{Pointer: "type", Code: "unknown_type", Detail: detail}},
		Params: map[string]string{"data_source": src.Name},
	}
}

// Open turns a Choice into a Driver. It does no I/O: sessions are opened when a statement needs one and closed when
// none did for Config.IdleTimeout, and an unused Driver costs a few hundred bytes. Close it when the credential of
// its key has ended.
func (f *Factory) Open(c Choice) (Driver, error) {
	if c.src.Name == "" {
		return nil, fault.New(fault.Invalid, "this choice was not made by Factory.Choose")
	}
	wh, err := f.warehouse(c.src)
	if err != nil {
		return nil, err
	}
	return &pool{f: f, choice: c, wh: wh, tokens: f.tokensOf(c)}, nil
}

// reachTimeout bounds Reach, whose caller may not.
const reachTimeout = 10 * time.Second

// Reach reports whether src answers at all, without logging in: what can be said of a source that has no service
// account. It fails with fault.Unavailable when nothing answers there.
func (f *Factory) Reach(ctx context.Context, src Source) error {
	wh, err := f.warehouse(src)
	if err != nil {
		return err
	}
	r, ok := wh.(Reacher)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := r.Reach(ctx, src); err != nil {
		p := &pool{f: f, wh: wh, choice: Choice{src: src, account: f.account(src)}}
		if _, ours := errors.AsType[*fault.Error](err); ours {
			return withSource(err, src, "")
		}
		return &fault.Error{
			Kind: fault.Unavailable, Code: "data_source_unreachable", Owner: fault.Database, Err: p.scrubbed(err, Token{}),
			Detail: fmt.Sprintf("Data source %q does not answer. Try again in a moment.", src.Name),
			Params: map[string]string{"data_source": src.Name},
		}
	}
	return nil
}

package orchestrator

import (
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/internal/rowset"
)

// CacheMode says how far a cached result may be used (cube-rest-api.md §5.1). A fresh one is served in every mode but
// NoCache; the modes differ in what becomes of another.
//
// A result is fresh if its statement ran no longer than Request.FreshFor ago and not before Request.FreshSince, and if
// the answers of Request.RefreshKeys are those that they were when it was asked for (orchestrator.md §6.2).
type CacheMode string

// The modes. The zero value is StaleIfSlow.
const (
	StaleIfSlow          CacheMode = "stale-if-slow"          // it is served when no new one is ready within Request.Wait
	StaleWhileRevalidate CacheMode = "stale-while-revalidate" // it is served at once; keys are asked, and a new one fetched, behind
	MustRevalidate       CacheMode = "must-revalidate"        // it is not served
	NoCache              CacheMode = "no-cache"               // nothing is served; the new result is stored
)

// Request is one statement to be answered.
type Request struct {
	Source    driverfactory.Source
	Statement driverfactory.Statement
	Operation driverfactory.Operation // default UserQuery
	Cache     CacheMode

	FreshFor    time.Duration // how old a fresh result may be; default 10 s, the refresh key of Cube's SQL dialects
	FreshSince  time.Time     // before which no fresh result ran; default any time
	RefreshKeys []RefreshKey  // default none
	Rollup      *Rollup       // which answers in place of the source, where its rows are there; nil for none

	MaxRows   int           // more rows are fault.Invalid with code "result_too_large"; default 50,000
	RequestID string        // for the log and for cancelling; the part before "-span-" names the interaction
	Wait      time.Duration // how long to wait before answering ContinueWait; default 10 s
}

// withDefaults returns r with its defaults in place, or what is wrong with it.
func (r Request) withDefaults() (Request, error) {
	if r.Operation == "" {
		r.Operation = driverfactory.UserQuery
	}
	switch r.Cache {
	case "":
		r.Cache = StaleIfSlow
	case StaleIfSlow, StaleWhileRevalidate, MustRevalidate, NoCache:
	default:
		return r, fault.New(fault.Invalid, "The cache mode %q does not exist: use %s, %s, %s or %s.",
			string(r.Cache), StaleIfSlow, StaleWhileRevalidate, MustRevalidate, NoCache)
	}
	if r.FreshFor <= 0 {
		r.FreshFor = 10 * time.Second
	}
	if r.MaxRows <= 0 {
		r.MaxRows = 50_000
	}
	if r.Wait <= 0 {
		r.Wait = defaultWait
	}
	return r, nil
}

// interaction returns the part of a request id that all requests of one interaction share: the polls of a statement,
// and the statements of a dashboard's tile (cube-rest-api.md §6).
func interaction(requestID string) string {
	before, _, _ := strings.Cut(requestID, "-span-")
	return before
}

// Rows are the rows of a Result. All yields them, First returns the first; Len says how many there are.
type Rows = rowset.Rows

// Result is the answer to a Request. Its columns and rows are shared by everybody who is served from the cache: read
// them only. Close it when it was read: until then what it takes counts, and when too much is held queries are refused.
type Result struct {
	Columns     []driverfactory.Column
	Rows        *Rows // one element per column, of the types driverfactory.Rows promises
	RunAs       driverfactory.RunAs
	Cached      bool         // it came from the cache
	OfRole      bool         // where somebody of the same role may have fetched it, under their credential
	Stale       bool         // and is not known to be fresh: a newer one, or the answer of a refresh key, was not ready in time
	RefreshedAt time.Time    // when the statement ran; of a rollup, when the oldest of its rows were fetched
	Rollup      string       // the name of the pre-aggregation that answered; empty for the source
	Rollups     []UsedRollup // whose rows were read: that one, or those that it is read from
	Bytes       int64        // estimate of its size in memory

	// RefreshKeys are the answers of Request.RefreshKeys, in their order. There are none where the answer did not wait for
	// them: at a poll, and where it is Stale.
	RefreshKeys []Answer

	entry  *resultcache.Entry
	reader string // who reads it; see resultcache.Entry.Lend
	held   atomic.Bool
}

// UsedRollup is a rollup that a Result was read from.
type UsedRollup struct {
	Name        string    // "orders.main"
	Type        string    // Rollup.Type
	Schema      string    // of its tables in the source; empty where they are kept here
	RefreshedAt time.Time // when the oldest of its rows were fetched
}

// NewResult returns a Result of these rows, for programs and tests that answer without Load. Nobody counts it.
func NewResult(rows [][]any) (*Result, error) {
	packed, err := rowset.Of(rows)
	if err != nil {
		return nil, err
	}
	return &Result{Rows: packed, Bytes: packed.Size()}, nil
}

// Close says that the result was read. It may be called again.
func (r *Result) Close() {
	if r != nil && r.held.CompareAndSwap(true, false) {
		r.entry.Return(r.reader)
	}
}

// Encoded returns what encode writes of the columns and rows, in parts, and keeps it as long as the result is in the
// cache, so that a second hit costs a write. name must say everything that is written depends on besides columns, rows
// and RefreshedAt: the same name always means the same bytes, whoever asks. Nobody may change the parts. ok is false
// where a form that large is not kept: encode it to where it is needed, piece by piece.
func (r *Result) Encoded(name string, encode func(io.Writer) error) (parts [][]byte, ok bool, err error) {
	if r.entry == nil { // a Result that no Load returned
		return nil, false, nil
	}
	return r.entry.Encoded(name, encode)
}

// result returns e as the answer to a, or a refusal when it has too many rows for it, or its caller reads too much. The
// answer holds e.
func (o *Orchestrators) result(a *asked, e *resultcache.Entry) (*Result, error) {
	if e.Rows.Len() > a.MaxRows {
		return nil, tooManyRows(a.MaxRows)
	}
	r := &Result{
		Columns: e.Columns, Rows: e.Rows, RunAs: a.choice.RunAs, RefreshedAt: e.RanAt, Bytes: e.Size(), entry: e,
	}
	if !a.sc.Principal.Anonymous() {
		r.reader = a.sc.Principal.Key()
	}
	if err := e.Lend(r.reader); err != nil {
		return nil, o.noMemory(err)
	}
	r.held.Store(true)
	return r, nil
}

// ContinueWait is the error of Load when the answer is not ready within Request.Wait. The statement goes on; the
// same request, asked again, joins it (cube-rest-api.md §6).
type ContinueWait struct {
	Stage   string        // such as "#3 in queue" or "Executing query"
	Elapsed time.Duration // in that stage
}

// Error returns Cube's words for it.
func (*ContinueWait) Error() string { return "Continue wait" }

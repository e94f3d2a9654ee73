package driverfactory

import (
	"context"
	"database/sql/driver"
)

// Statement is SQL text with bound parameters, in the dialect and placeholder style of its source.
type Statement struct {
	SQL  string
	Args []any // bool, int64, float64, string, time.Time, []byte or nil
}

// Column is one column of a result.
type Column struct {
	Name string
	Type string // the database's own name of the type, upper case, such as "DECIMAL"
}

// Decimal is an exact number as the database wrote it, its scale kept: "27.50".
type Decimal string

// Rows are the rows of a result, read once from first to last. They are not safe for concurrent use.
type Rows interface {
	// Columns returns the columns, in order.
	Columns() []Column

	// Next reads the next row into dest, which has one element per column, and reports whether there was one. The
	// values are nil, bool, int64, float64, Decimal, string, time.Time or []byte, whatever the warehouse's driver
	// returned, and belong to the caller.
	Next(dest []any) (bool, error)

	// Close ends the statement at the warehouse if it still runs, and gives the session back.
	Close() error
}

// Driver runs statements at one source under one credential. It is safe for concurrent use.
type Driver interface {
	// Query runs one statement. When the warehouse refuses the token before the statement ran, the token is
	// refreshed and the statement run once more; a second refusal is fault.ReauthorizationRequired. It fails with
	// fault.Conflict when the credential of the driver's key is no longer the current one: choose again.
	// When ctx ends, the statement is cancelled at the warehouse as far as it can be.
	Query(ctx context.Context, s Statement) (Rows, error)

	// Ping opens a session if none is idle and shows that the source answers.
	Ping(ctx context.Context) error

	// Stats returns the number of open and of idle sessions.
	Stats() (open, idle int)

	// Close lends no more sessions and closes the idle ones; those in use close when their rows do.
	Close() error
}

// Maker is a Driver that can make tables. Everything else that a Driver runs only reads, where the warehouse can be told so. The
// Drivers of Factory.Open are.
type Maker interface {
	// Exec runs one statement that may write and has no rows, such as CREATE TABLE, under the same credential and with the same
	// failures as Query, but is never run twice: whether one of which no answer came had its effect is for the caller to find out.
	// It is fault.Invalid with the code source_read_only where the source cannot be written.
	Exec(ctx context.Context, s Statement) error
}

// Login is the credential a Warehouse's connections log in with.
type Login struct {
	// Account is set for the service account, and then Token is nil unless the account has a token.
	Account *ServiceAccount

	// Username is what people call the person who asked, for a Warehouse whose login names the role beside the
	// token. It proves nothing: the warehouse checks it against the token.
	Username string

	// Token returns the current token. A Warehouse that reads it only at login calls it in Connect; one that sends
	// it with each request calls it there. Its error is returned as it is and never retried by a warehouse's driver.
	Token func(ctx context.Context) (Token, error)

	// Refused is called by a Warehouse whose token is read with each request, when the answer says that the token
	// is refused: it returns a newer token to repeat the request with, or the refusal.
	Refused func(ctx context.Context, tok Token) (Token, error)
}

// Class is what an error of a warehouse means for the session and the credential (drivers.md §2 rule 4).
type Class int

// The classes.
const (
	StatementFailed Class = iota // the statement is wrong, or may not read what it names: return it as it is
	SessionLost                  // the session is gone and the statement did not run: another session may run it
	AuthExpired                  // the token is refused and the statement did not run: refresh once, then again
	AccessDenied                 // a permission is missing: never refresh, never fall back
	Canceled                     // the caller's context ended, or the statement was cancelled at the warehouse
	TransportFailed              // the warehouse did not answer; whether the statement ran is unknown
	Misconfigured                // the source's settings are wrong, such as an unknown warehouse or role
)

// Warehouse is an adapter for one type of data source. It is safe for concurrent use and starts nothing. It may also
// be a LoginFree, an Explainer, a Reacher, a Namer, a Writer and a RoleTeller.
type Warehouse interface {
	// Check returns what is wrong with the options and the service account of src, as fault.Invalid with a Field
	// for each wrong place, or nil. It does no I/O.
	Check(src Source) error

	// Connector returns a connector whose connections log in with login. It does no I/O where the driver permits.
	Connector(src Source, login Login) (driver.Connector, error)

	// Classify says what err means. err may be wrapped.
	Classify(err error) Class

	// TokenAtLogin reports whether a session keeps its rights after its token was replaced: a session is then closed
	// when it logged in with a superseded revision.
	TokenAtLogin() bool

	// Value converts v, as the driver returned it for a column of the named database type and scale (-1 when the
	// driver does not know it), to one of the types Rows.Next promises.
	Value(dbType string, scale int64, v any) any
}

// LoginFree is a Warehouse where nobody logs in, such as a file. Its sources need no service account: everything
// runs as the server itself, which RunAs shows as the service account.
type LoginFree interface {
	LoginFree() bool
}

// Explainer is a Warehouse that finds the database's own sentence in an error, without what its driver put around it.
type Explainer interface {
	// Explain returns the sentence, or "" when err holds none.
	Explain(err error) string
}

// Reacher is a Warehouse that can find out whether a source answers at all, without logging in.
type Reacher interface {
	// Reach returns nil when something answers where src is, whatever it says.
	Reach(ctx context.Context, src Source) error
}

// Writer is a Warehouse whose sources can be written: what Maker.Exec does at the others is to refuse.
type Writer interface {
	// Writing returns the statement after which a session may write, and the one that ends this: what was written counts once that
	// has succeeded. Both are empty where a session is not told.
	Writing() (allow, forbid string)
}

// IdleCloser is a Driver whose idle sessions can be taken away, when somebody else needs their place. The Drivers of
// Factory.Open are.
type IdleCloser interface {
	// CloseIdle closes the idle sessions and returns how many there were. It may wait for the warehouse.
	CloseIdle() int

	// Drain closes the idle sessions, and from now on every other one as soon as its statement has ended. It may wait for the
	// warehouse.
	Drain()
}

type startKey struct{}

// BeforeStart returns a context whose statements ask may once they have a session, which they may have waited for, and before they
// are sent. Where it fails, they fail so, and the session is as good as before.
func BeforeStart(ctx context.Context, may func() error) context.Context {
	return context.WithValue(ctx, startKey{}, may)
}

// MayStart asks what BeforeStart was given. A Driver calls it.
func MayStart(ctx context.Context) error {
	if may, ok := ctx.Value(startKey{}).(func() error); ok {
		return may()
	}
	return nil
}

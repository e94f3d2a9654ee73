package driverfactory

import (
	"context"
	"database/sql"
	"errors"

	"github.com/behalf-project/behalf/internal/fault"
)

// Namer is a Warehouse that can say whose a session is.
type Namer interface {
	// CurrentUser returns a statement whose only value is the name of the session's user.
	CurrentUser() string
}

// WhoAmI asks src whose token is: it logs in with it, once, outside of any pool, and asks for the current user. It
// returns "" when sources of this type cannot say. ctx bounds it; a warehouse that sleeps may take minutes to wake up.
func (f *Factory) WhoAmI(ctx context.Context, src Source, token Token) (string, error) {
	wh, err := f.warehouse(src)
	if err != nil {
		return "", err
	}
	namer, ok := wh.(Namer)
	if !ok {
		return "", nil
	}
	connector, err := wh.Connector(src, Login{
		Token: func(context.Context) (Token, error) { return token, nil },
		Refused: func(context.Context, Token) (Token, error) {
			return Token{}, fault.New(fault.Denied, "The data source %q does not accept the new token.", src.Name)
		},
	})
	if err != nil {
		return "", err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	var name string
	if err := db.QueryRowContext(ctx, namer.CurrentUser()).Scan(&name); err != nil {
		// The driver's text may quote what it sent.
		return "", errors.New("the data source did not say who the token's user is: " + classText(wh.Classify(err)))
	}
	return name, nil
}

func classText(c Class) string {
	switch c {
	case AuthExpired, AccessDenied:
		return "it refused the token"
	case Canceled:
		return "it took too long"
	case Misconfigured:
		return "its settings are wrong"
	}
	return "it did not answer as it should"
}

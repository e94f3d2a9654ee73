// Command embed is Behalf inside a program of its own: it builds a driver factory and an orchestrator from the public
// packages, brings its own credentials and its own kind of data source, and runs one query as two people.
//
// It is a module by itself and imports nothing internal. It prints:
//
//	alice: alice-token, run by user
//	bob: bob-token, run by user
//	carol: Connect the example app first.
package main

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/orchestrator"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	factory := driverfactory.New(driverfactory.Config{
		Credentials: vault{"alice": "alice-token", "bob": "bob-token"},
		Warehouses:  map[string]driverfactory.Warehouse{"whoami": whoami{}},
	})
	orchestrators := orchestrator.New(orchestrator.Config{Drivers: factory})
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- orchestrators.Run(ctx) }()
	defer func() {
		stop()
		<-done
	}()

	source := driverfactory.Source{
		Name: "default", Type: "whoami", OAuthApp: "example", Fallback: driverfactory.FallbackDeny,
	}
	for _, name := range []string{"alice", "bob", "carol"} {
		who := driverfactory.SecurityContext{
			Principal: driverfactory.Principal{Realm: "https://idp.example.com", Subject: name}, Username: name,
		}
		result, err := orchestrators.Load(ctx, who, orchestrator.Request{
			Source: source, Statement: driverfactory.Statement{SQL: "SELECT who_am_i()"},
		})
		if errors.Is(err, driverfactory.ErrAuthorizationRequired) {
			fmt.Printf("%s: Connect the example app first.\n", name)
			continue
		}
		if err != nil {
			return err
		}
		fmt.Printf("%s: %v, run by %s\n", name, result.Rows.First()[0], result.RunAs.Identity)
		result.Close()
	}
	return nil
}

// vault is this program's own driverfactory.Credentials: it knows one token of each person.
type vault map[string]string

// Token implements driverfactory.Credentials.
func (v vault) Token(_ context.Context, p driverfactory.Principal, _ string) (driverfactory.Token, error) {
	token, ok := v[p.Subject]
	if !ok {
		return driverfactory.Token{}, driverfactory.ErrAuthorizationRequired
	}
	return driverfactory.Token{Value: driverfactory.NewSecret(token), Status: "active", Epoch: 1, Revision: 1}, nil
}

// Refused implements driverfactory.Credentials. This vault cannot refresh.
func (v vault) Refused(context.Context, driverfactory.Principal, string, driverfactory.Token) (driverfactory.Token, error) {
	return driverfactory.Token{}, driverfactory.ErrReauthorizationRequired
}

// whoami is a data source with one answer: the token that the connection logged in with.
type whoami struct{}

// Check implements driverfactory.Warehouse.
func (whoami) Check(driverfactory.Source) error { return nil }

// Connector implements driverfactory.Warehouse.
func (whoami) Connector(_ driverfactory.Source, login driverfactory.Login) (driver.Connector, error) {
	return connector{login}, nil
}

// Classify implements driverfactory.Warehouse.
func (whoami) Classify(error) driverfactory.Class { return driverfactory.StatementFailed }

// TokenAtLogin implements driverfactory.Warehouse.
func (whoami) TokenAtLogin() bool { return true }

// Value implements driverfactory.Warehouse.
func (whoami) Value(_ string, _ int64, v any) any { return v }

type connector struct{ login driverfactory.Login }

func (c connector) Driver() driver.Driver { return nil }

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	token, err := c.login.Token(ctx)
	if err != nil {
		return nil, err
	}
	return conn{token}, nil
}

type conn struct{ token driverfactory.Token }

func (conn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not needed") }
func (conn) Begin() (driver.Tx, error)           { return nil, errors.New("not needed") }
func (conn) Close() error                        { return nil }

// QueryContext answers every query with the token. A real source would never show it.
func (c conn) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return &rows{value: c.token.Value.Reveal()}, nil
}

type rows struct {
	value string
	read  bool
}

func (*rows) Columns() []string { return []string{"who"} }
func (*rows) Close() error      { return nil }

func (r *rows) Next(dest []driver.Value) error {
	if r.read {
		return io.EOF
	}
	dest[0], r.read = r.value, true
	return nil
}

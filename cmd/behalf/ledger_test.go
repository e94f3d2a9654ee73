package main

import (
	"context"
	"fmt"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/behalf-project/behalf/internal/sqlstore/postgrestest"
)

// newLedger returns a world with one data source more: ledger, an empty database of a real Postgres, which its service account reads, and to
// which db is connected as its owner. more of the configuration follows that of the source.
func newLedger(t *testing.T, more string) (w *world, db *pgx.Conn) {
	t.Helper()
	at, err := url.Parse(postgrestest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	db, err = pgx.Connect(t.Context(), at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(context.WithoutCancel(t.Context())) })
	password, _ := at.User.Password()
	return newWorld(t, worldConfig{yaml: fmt.Sprintf("  - name: ledger\n    type: postgres\n    options: {host: %q, port: %q, database: %q, sslmode: disable}\n"+
		"    service_account: {user: %q, password: %q}\n", at.Hostname(), at.Port(), at.Path[1:], at.User.Username(), password) + more}), db
}

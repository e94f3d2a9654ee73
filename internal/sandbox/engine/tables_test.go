//go:build cgo

package engine_test

import (
	"context"
	"errors"
	"testing"

	"github.com/behalf-project/behalf/internal/sandbox/engine"
)

func TestWhatSomebodyMakesHoldsWhatTheySeeAndIsTheirs(t *testing.T) {
	for _, tt := range []struct {
		dialect                    engine.Dialect
		schema, table, read, drops string
	}{
		{engine.Databricks, "CREATE SCHEMA IF NOT EXISTS `Rollups`", "CREATE TABLE `rollups`.`t 1` AS SELECT region, count(*) AS n FROM orders WHERE id < ? GROUP BY 1",
			"SELECT region FROM `demo`.`rollups`.`T 1`", "DROP TABLE `rollups`.`t 1`"},
		{engine.Snowflake, `CREATE SCHEMA IF NOT EXISTS "Rollups"`, `CREATE TABLE "rollups"."t 1" AS SELECT region, count(*) AS n FROM orders WHERE id < ? GROUP BY 1`,
			`SELECT region FROM "rollups"."t 1"`, `DROP TABLE "rollups"."t 1"`},
	} {
		t.Run([]string{"Databricks", "Snowflake"}[tt.dialect], func(t *testing.T) {
			e := open(t)
			want := func(who, sql, rows string, kind engine.ErrorKind, args ...any) {
				t.Helper()
				got, err := query(t, e, who, tt.dialect, sql, args...)
				failed, ok := errors.AsType[*engine.Error](err)
				switch {
				case kind < 0 && err != nil:
					t.Fatalf("%s: %s = %v", who, sql, err)
				case kind < 0 && rows != "" && got != rows:
					t.Errorf("%s: %s = %q, want %q", who, sql, got, rows)
				case kind >= 0 && (!ok || failed.Kind != kind):
					t.Errorf("%s: %s = %q, %v, want an error of kind %d", who, sql, got, err, kind)
				}
			}
			const fine = engine.ErrorKind(-1)
			want("alice", tt.table, "", engine.SchemaAbsent, 5000)
			want("alice", tt.schema, "", fine)
			want("bob", tt.schema, "", fine)
			want("alice", tt.read, "", engine.TableAbsent)
			want("alice", tt.drops, "", engine.TableAbsent)
			want("alice", tt.table, "", fine, 5000)
			want("alice", tt.read, "EMEA", fine)
			want("alice", tt.table, "", engine.Exists, 5000)
			want("bob", tt.table, "", engine.Exists, 5000)
			want("bob", tt.read, "", engine.NotAllowed)
			want("carol", tt.read, "", engine.NotAllowed)
			want("bob", "SELECT 1 WHERE EXISTS ("+tt.read+")", "", engine.NotAllowed)
			want("bob", tt.drops, "", engine.NotAllowed)

			if err := e.Grant(t.Context(), "bob", engine.Rights{Regions: []string{"AMER"}, Reads: []string{"rollups.t 1"}}); err != nil {
				t.Fatal(err)
			}
			want("bob", tt.read, "EMEA", fine) // what alice saw
			want("bob", tt.drops, "", engine.NotAllowed)
			want("alice", tt.drops, "", fine)
			want("bob", tt.read, "", engine.TableAbsent)
			want("bob", tt.table, "", fine, 5000)
			want("bob", tt.read, "AMER", fine)
			want("alice", tt.read, "", engine.NotAllowed)
		})
	}
}

func TestWhoOnlyReadsMakesNothing(t *testing.T) {
	e := open(t)
	if err := e.Grant(t.Context(), "alice", engine.Rights{Regions: []string{"EMEA"}, OnlyReads: true}); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"CREATE SCHEMA IF NOT EXISTS s", "CREATE TABLE s.t AS SELECT 1 AS a", "DROP TABLE IF EXISTS s.t"} {
		_, err := query(t, e, "alice", engine.Snowflake, sql)
		if failed, ok := errors.AsType[*engine.Error](err); !ok || failed.Kind != engine.NotAllowed {
			t.Errorf("%s = %v, want it refused", sql, err)
		}
	}
}

func TestATableThatIsNotFinishedIsNotThere(t *testing.T) {
	e := open(t)
	if _, err := query(t, e, "alice", engine.Snowflake, "CREATE SCHEMA s"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		var err error
		for failed, ok := (&engine.Error{Kind: engine.Exists}), true; ok && failed.Kind == engine.Exists; failed, ok = errors.AsType[*engine.Error](err) { // bob was first
			_, err = e.Query(ctx, engine.Query{Identity: "alice", Dialect: engine.Snowflake, SQL: "CREATE TABLE s.t AS SELECT count(*) AS n FROM range(100000) a(x), range(10000000) b(y) WHERE x * y % 7 = 3"})
		}
		done <- err
	}()
	for { // its name is taken from its begin on
		_, err := query(t, e, "bob", engine.Snowflake, "CREATE TABLE s.t AS SELECT 1 AS a")
		if failed, ok := errors.AsType[*engine.Error](err); ok && failed.Kind == engine.Exists {
			break
		}
		if _, gone := query(t, e, "bob", engine.Snowflake, "DROP TABLE s.t"); err != nil || gone != nil {
			t.Fatal(err, gone)
		}
	}
	_, err := query(t, e, "alice", engine.Snowflake, "SELECT * FROM s.t")
	if failed, ok := errors.AsType[*engine.Error](err); !ok || failed.Kind != engine.TableAbsent {
		t.Errorf("reading it = %v, want that it is not there", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the statement = %v, want it cancelled", err)
	}
	if _, err := query(t, e, "bob", engine.Snowflake, "CREATE TABLE s.t AS SELECT 1 AS a"); err != nil {
		t.Errorf("its name is not free again: %v", err)
	}
}

package driverfactory_test

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

// teller is a warehouse whose sessions tell roles.
type teller struct{ *warehouse }

func (teller) AskRole() string          { return "role?" }
func (teller) Role(row []string) string { return row[0] }

// roleWorld is a world where role answers the question of each session.
func roleWorld(t *testing.T, scope driverfactory.CacheScope, now *time.Time, role func(c *fakeConn) ([][]driver.Value, error)) (w *world, asked func() int) {
	t.Helper()
	var mu sync.Mutex
	n := 0
	w = newWorld(t, &warehouse{}, func(c *driverfactory.Config) {
		c.Now = func() time.Time { return *now }
		c.Warehouses = map[string]driverfactory.Warehouse{"fake": teller{c.Warehouses["fake"].(*warehouse)}}
	})
	w.answer(func(c *fakeConn, query string) ([][]driver.Value, error) {
		if query != "role?" {
			return [][]driver.Value{{c.token}}, nil
		}
		mu.Lock()
		defer mu.Unlock()
		n++
		return role(c)
	})
	src := source()
	src.CacheScope = scope
	w.driver = w.open(t, src, driverfactory.UserQuery)
	return w, func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

func numbered(c *fakeConn) ([][]driver.Value, error) {
	return [][]driver.Value{{fmt.Sprint("R", c.n)}}, nil
}

func roleOf(t *testing.T, d driverfactory.Driver) (role string, rows driverfactory.Rows) {
	t.Helper()
	rows, err := d.Query(t.Context(), driverfactory.Statement{SQL: "x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rows.Close() })
	return rows.(driverfactory.RoleRows).Role(), rows
}

func TestRowsKnowTheRoleOfTheirSession(t *testing.T) {
	now := epoch
	w, _ := roleWorld(t, driverfactory.CacheRole, &now, numbered)
	one, rows := roleOf(t, w.driver)
	two, other := roleOf(t, w.driver) // beside it
	if one != "R1" || two != "R2" {
		t.Errorf("the roles of two sessions are %q and %q, want R1 and R2", one, two)
	}
	for _, r := range []driverfactory.Rows{rows, other} {
		for more := true; more; {
			more, _ = r.Next(make([]any, 1))
		}
	}
	if got := rows.(driverfactory.RoleRows).Role(); got != "R1" {
		t.Errorf("after the last row the role is %q, want R1", got)
	}
}

func TestASessionIsBelievedToHaveItsRoleForABoundedTime(t *testing.T) {
	now := epoch
	role := "R"
	w, asked := roleWorld(t, driverfactory.CacheRole, &now, func(*fakeConn) ([][]driver.Value, error) {
		if role == "" {
			return nil, errStatement
		}
		return [][]driver.Value{{role}}, nil
	})
	expect := func(what, want string, questions int) {
		t.Helper()
		r, rows := roleOf(t, w.driver)
		for more := true; more; {
			more, _ = rows.Next(make([]any, 1))
		}
		if r != want || asked() != questions {
			t.Errorf("%s: the role is %q after %d questions, want %q after %d", what, r, asked(), want, questions)
		}
	}
	expect("at first", "R", 1)
	role = "S"
	now = epoch.Add(driverfactory.RoleLife - 1)
	expect("just before the end", "R", 1)
	now = epoch.Add(driverfactory.RoleLife)
	expect("at the end", "S", 2)
	role = "T"
	if got, err := w.driver.(driverfactory.Roles).Role(t.Context()); got != "T" || err != nil {
		t.Errorf("Role = %q, %v; want T, asked now", got, err)
	}
	expect("from then on", "T", 3)
	role = ""
	now = now.Add(driverfactory.RoleLife)
	expect("when it is told no more", "", 4)
}

func TestARoleThatIsNotToldIsUnknown(t *testing.T) {
	for _, tt := range []struct {
		name string
		tell func(*fakeConn) ([][]driver.Value, error)
		want string
	}{
		{"a question that fails", func(*fakeConn) ([][]driver.Value, error) { return nil, errStatement }, ""},
		{"a question that is denied", func(*fakeConn) ([][]driver.Value, error) { return nil, errDenied }, ""},
		{"no answer", func(*fakeConn) ([][]driver.Value, error) { return [][]driver.Value{}, nil }, ""},
		{"NULL", func(*fakeConn) ([][]driver.Value, error) { return [][]driver.Value{{nil}}, nil }, ""},
		{"a session that is lost is replaced", func(c *fakeConn) ([][]driver.Value, error) {
			if c.n == 1 {
				return nil, errLost
			}
			return numbered(c)
		}, "R2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := epoch
			w, _ := roleWorld(t, driverfactory.CacheRole, &now, tt.tell)
			if got, _ := roleOf(t, w.driver); got != tt.want {
				t.Errorf("the role of the rows is %q, want %q", got, tt.want)
			}
			if got, err := w.driver.(driverfactory.Roles).Role(t.Context()); got != tt.want && got != "R3" || err != nil {
				t.Errorf("Role = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestNobodyIsAskedForARoleThatDoesNotMatter(t *testing.T) {
	now := epoch
	w, asked := roleWorld(t, driverfactory.CacheUser, &now, numbered)
	w.wants(t, "token-1-1")
	src := source()
	src.CacheScope, src.ServiceAccount = driverfactory.CacheRole, &driverfactory.ServiceAccount{Token: driverfactory.NewSecret("svc")}
	service := w.open(t, src, driverfactory.Background)
	for _, d := range []driverfactory.Driver{w.driver, service} {
		if got, _ := roleOf(t, d); got != "" {
			t.Errorf("the role of the rows is %q, want none", got)
		}
		if got, err := d.(driverfactory.Roles).Role(t.Context()); got != "" || err != nil {
			t.Errorf("Role = %q, %v; want none", got, err)
		}
	}
	if n := asked(); n != 0 {
		t.Errorf("sessions were asked %d times, want never", n)
	}
}

func TestCheckRefusesACacheScope(t *testing.T) {
	f := driverfactory.New(driverfactory.Config{Warehouses: map[string]driverfactory.Warehouse{
		"fake": &warehouse{}, "telling": teller{&warehouse{}},
	}})
	for _, tt := range []struct {
		name, kind string
		scope      driverfactory.CacheScope
		host       string
		want       []string // of each field
	}{
		{"role, of a type that tells it", "telling", "role", "h", nil},
		{"user, of one that does not", "fake", "user", "h", nil},
		{"role, of one that does not", "fake", "role", "h", []string{"cache_scope: role needs sessions that tell which role decides what they read, and those of fake cannot; sources of these types can: telling. Use user"}},
		{"another word, beside another mistake", "telling", "rolle", "", []string{"options/host: fake", `cache_scope: "rolle" is neither user nor role`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := f.Check(driverfactory.Source{Name: "sales", Type: tt.kind, CacheScope: tt.scope, Options: map[string]string{"host": tt.host}})
			var got []string
			if e, ok := errors.AsType[*fault.Error](err); ok {
				for _, field := range e.Fields {
					got = append(got, field.Pointer+": "+field.Detail)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(tt.want) {
				t.Fatalf("Check = %q, want %q", got, tt.want)
			}
			for i := range got {
				if got[i] != tt.want[i] && !strings.HasPrefix(got[i], strings.TrimSuffix(tt.want[i], "fake")) {
					t.Errorf("Check = %q, want %q", got[i], tt.want[i])
				}
			}
		})
	}
}

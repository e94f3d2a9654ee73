package datamodel_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
)

// perTenant is a model whose cube reads a table of the tenant.
const perTenant = "cubes:\n  - name: a\n    sql_table: t_{{ COMPILE_CONTEXT.securityContext.tenant }}\n"

// folder is a folder whose one file changes.
type folder struct {
	mu   sync.Mutex
	text string
	rev  int
}

func (f *folder) write(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.text, f.rev = text, f.rev+1
}

// Open implements fs.FS.
func (f *folder) Open(name string) (fs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fstest.MapFS{"a.yml": {Data: []byte(f.text), ModTime: time.Unix(int64(f.rev), 0)}}.Open(name)
}

// compiler opens Live models and counts what is compiled for somebody.
type compiler struct {
	compiled, running atomic.Int64
	atOnce            atomic.Bool   // more than one was
	hold              chan struct{} // unless nil, compiling for somebody waits for it
}

func (c *compiler) open(t *testing.T, f fs.FS, limit int) *datamodel.Live {
	t.Helper()
	live, err := datamodel.Open(t.Context(), datamodel.LiveConfig{Files: f, ByAppID: true, Max: limit, Load: func(ctx context.Context, m *datamodel.Compilation, f fs.FS) (*datamodel.Model, error) {
		if m.Asker != nil {
			if c.running.Add(1) > 1 {
				c.atOnce.Store(true)
			}
			defer c.running.Add(-1)
			c.compiled.Add(1)
			if c.hold != nil {
				<-c.hold
			}
		}
		return m.Load(ctx, f)
	}})
	if err != nil {
		t.Fatal(err)
	}
	return live
}

// ask returns the table that the model of an application id reads, for somebody of a tenant.
func ask(ctx context.Context, live *datamodel.Live, appID, tenant string) (string, error) {
	m, err := live.Model(ctx, appID, func() map[string]any {
		return map[string]any{"securityContext": map[string]any{"tenant": tenant, "sub": fmt.Sprint(ctx)}}
	})
	if err != nil {
		return "", err
	}
	return m.Cube("a").SQLTable.Source, nil
}

func TestNobodyGetsAModelOfAnothersContext(t *testing.T) {
	c := &compiler{}
	live := c.open(t, &folder{text: perTenant}, 0)
	for _, who := range [][2]string{{"one", "acme"}, {"two", "evil"}, {"one", "acme"}} {
		if got, err := ask(t.Context(), live, who[0], who[1]); got != "t_"+who[1] || err != nil {
			t.Errorf("%s reads %q, %v", who, got, err)
		}
	}
	if n := c.compiled.Load(); n != 2 {
		t.Errorf("compiled %d times, want once for each application id", n)
	}
	for _, who := range [][3]string{{"one", "evil", "acme"}, {"two", "acme", "evil"}} {
		got, err := ask(t.Context(), live, who[0], who[1])
		said := detail(err)
		if got != "" || !errors.Is(err, fault.Denied) || !strings.Contains(said, "COMPILE_CONTEXT.securityContext.tenant") || !strings.Contains(said, "contextToAppId") || strings.Contains(said, who[2]) {
			t.Errorf("%s with the application id of %s: %q, %v", who[1], who[2], got, err)
		}
	}
}

// detail returns what a caller reads of an error.
func detail(err error) string {
	e, _ := errors.AsType[*fault.Error](err)
	if e == nil {
		return ""
	}
	return e.Detail
}

func TestOneModelServesAllWhereNothingIsReadOfWhoAsks(t *testing.T) {
	c := &compiler{}
	live := c.open(t, &folder{text: "cubes:\n  - {name: a, sql_table: t}\n"}, 0)
	one, _ := live.Model(t.Context(), "acme", nil)
	other, _ := live.Model(t.Context(), "evil", nil)
	if one == nil || one != other || c.compiled.Load() != 0 {
		t.Errorf("models %p and %p, %d compiled for somebody", one, other, c.compiled.Load())
	}
}

// Whoever asks at the same time gets the model of their own application id, and each is compiled once, one after another.
func TestModelsAreCompiledOneAtATime(t *testing.T) {
	const tenants = 8
	c := &compiler{}
	live := c.open(t, &folder{text: perTenant}, tenants)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			id := fmt.Sprint("tenant", i%tenants)
			as := id
			if i%5 == 0 {
				as = "evil" // by whomever it is compiled first, the others are refused
			}
			if got, err := ask(t.Context(), live, id, as); got != "t_"+as && (got != "" || !errors.Is(err, fault.Denied)) {
				t.Errorf("%s of %s reads %q, %v", as, id, got, err)
			}
		})
	}
	wg.Wait()
	if c.atOnce.Load() || c.compiled.Load() != tenants {
		t.Errorf("compiled %d models, want %d; several at once: %t", c.compiled.Load(), tenants, c.atOnce.Load())
	}
}

func TestAtMostSoManyModelsAreKept(t *testing.T) {
	c := &compiler{}
	live := c.open(t, &folder{text: perTenant}, 2)
	for _, step := range []struct {
		appID    string
		compiled int64
	}{{"a", 1}, {"b", 2}, {"a", 2}, {"c", 3}, {"a", 3}, {"b", 4}} {
		if got, err := ask(t.Context(), live, step.appID, step.appID); got != "t_"+step.appID || err != nil || c.compiled.Load() != step.compiled {
			t.Errorf("%s reads %q, %v, after %d compilations, want %d", step.appID, got, err, c.compiled.Load(), step.compiled)
		}
	}
}

// What fails for one fails once, and not for others of the same application id.
func TestACompilationThatFailsIsOfWhomItFailedFor(t *testing.T) {
	c := &compiler{}
	live := c.open(t, &folder{text: perTenant}, 0)
	for range 3 {
		if got, err := ask(t.Context(), live, "acme", "no word"); !errors.Is(err, fault.Unavailable) || strings.Contains(detail(err), "a.yml") {
			t.Errorf("somebody with a tenant that is no word: %q, %v", got, err)
		}
	}
	if p := live.State().Problem; p == nil || !strings.Contains(p.Error(), `for the application id "acme": Compile errors:`) || !strings.Contains(p.Error(), "a.yml:3:1") {
		t.Errorf("Problem = %v", p)
	}
	if got, err := ask(t.Context(), live, "acme", "acme"); got != "t_acme" || err != nil || c.compiled.Load() != 2 {
		t.Errorf("somebody else: %q, %v, after %d compilations", got, err, c.compiled.Load())
	}
	if p := live.State().Problem; p != nil {
		t.Errorf("Problem = %v, and all is well", p)
	}
}

func TestWhoWaitsForAModelWaitsForATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &compiler{hold: make(chan struct{})}
		live := c.open(t, &folder{text: perTenant}, 0)
		var first, second error
		go func() { _, first = ask(t.Context(), live, "a", "a") }()
		synctest.Wait()
		ctx, leave := context.WithCancel(t.Context())
		go func() { _, second = ask(ctx, live, "a", "a") }()
		synctest.Wait()
		leave()
		synctest.Wait()
		if !errors.Is(second, context.Canceled) {
			t.Errorf("who left: %v", second)
		}
		_, err := ask(t.Context(), live, "b", "b") // the clock of the bubble goes to the end of their patience
		if e, ok := errors.AsType[*fault.Error](err); !ok || e.Kind != fault.Unavailable || e.RetryAfter <= 0 {
			t.Errorf("who waited: %v", err)
		}
		time.Sleep(5 * time.Minute)
		close(c.hold)
		synctest.Wait()
		if !errors.Is(first, context.DeadlineExceeded) {
			t.Errorf("who it was compiled for, for too long: %v", first)
		}
		if got, err := ask(t.Context(), live, "a", "a"); got != "t_a" || err != nil {
			t.Errorf("who comes back: %q, %v", got, err)
		}
	})
}

func TestAnEditServesEachApplicationID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := &compiler{}, &folder{text: "cubes:\n  - {name: a, sql_table: all}\n"}
		live := c.open(t, f, 0)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = live.Run(ctx) }()
		edit := func(text string) {
			f.write(text)
			time.Sleep(2500 * time.Millisecond) // two looks
			synctest.Wait()
		}
		reads := func(want map[string]string) {
			t.Helper()
			for tenant, table := range want {
				if got, err := ask(t.Context(), live, tenant, tenant); got != table || (err == nil) != (table != "") {
					t.Errorf("%s reads %q, %v, want %q", tenant, got, err, table)
				}
			}
		}
		broken := func(for_ ...string) string {
			return perTenant + "    {% if COMPILE_CONTEXT.securityContext.tenant in ['" + strings.Join(for_, "','") + "'] %}sql_tabel: x{% endif %}\n"
		}

		reads(map[string]string{"a": "all", "b": "all"})
		edit(broken("a")) // the first version that depends on who asks
		reads(map[string]string{"a": "all", "b": "t_b", "c": "t_c"})
		edit(strings.Replace(broken("b"), "t_", "u_", 1))
		reads(map[string]string{"a": "u_a", "b": "t_b", "c": "u_c"})
		if p := fmt.Sprint(live.State().Problem); !strings.Contains(p, `"b"`) || strings.Contains(p, `"a"`) || !strings.Contains(p, "sql_tabel") {
			t.Errorf("Problem = %s, want that of b", p)
		}
		edit(strings.Replace(broken("b", "d"), "t_", "v_", 1))
		reads(map[string]string{"a": "v_a", "b": "t_b", "d": ""}) // d has no last good one
		edit("cubes: 1")
		reads(map[string]string{"a": "v_a", "b": "t_b", "c": "v_c"})
		if p := fmt.Sprint(live.State().Problem); !strings.Contains(p, "a.yml:1:8") {
			t.Errorf("Problem = %s", p)
		}
		before := c.compiled.Load()
		edit(strings.Replace(perTenant, "t_", "w_", 1))
		if n := c.compiled.Load() - before; n != 3 {
			t.Errorf("an edit compiled %d models, want those of a, b and c", n)
		}
		reads(map[string]string{"a": "w_a", "b": "w_b", "c": "w_c", "d": "w_d"})
		if p := live.State().Problem; p != nil {
			t.Errorf("Problem = %v, and all is well", p)
		}
		edit("cubes:\n  - {name: a, sql_table: all}\n")
		reads(map[string]string{"a": "all", "b": "all", "e": "all"})
	})
}

package objectstoretest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/objectstore"
)

// TestObjects checks the promises of objectstore.Objects. open returns an empty place that lives until the test ends.
func TestObjects(t *testing.T, open func(*testing.T) objectstore.Objects) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, objectstore.Objects)
	}{
		{"what was put is got and listed", putAndGet},
		{"an object that is not there", missing},
		{"what does not come whole is not kept", halves},
		{"a name is put again", again},
		{"lists are in order and of one prefix", lists},
		{"who leaves ends the call", canceled},
		{"many at once", many},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, open(t)) })
	}
}

func put(t *testing.T, o objectstore.Objects, name string, content []byte) {
	t.Helper()
	if err := o.Put(t.Context(), name, int64(len(content)), bytes.NewReader(content)); err != nil {
		t.Fatalf("Put(%s) = %v, want no error", name, err)
	}
}

func want(t *testing.T, o objectstore.Objects, name string, content []byte) {
	t.Helper()
	var got bytes.Buffer
	if err := o.Get(t.Context(), name, int64(len(content)), &got); err != nil || !bytes.Equal(got.Bytes(), content) {
		t.Errorf("Get(%s) = %d bytes, %v, want the %d that were put", name, got.Len(), err, len(content))
	}
}

// names lists what begins with prefix.
func names(t *testing.T, o objectstore.Objects, prefix string) (all []string) {
	t.Helper()
	for object, err := range o.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("List = %v, want no error", err)
		}
		all = append(all, object.Name)
	}
	return all
}

func putAndGet(t *testing.T, o objectstore.Objects) {
	for _, size := range []int{0, 1, 100, 12 << 20} { // the last comes in parts where there are such
		content := make([]byte, size)
		_, _ = rand.Read(content)
		name := fmt.Sprintf("scopes/a/p_%d.parquet", size)
		before := time.Now()
		put(t, o, name, content)
		want(t, o, name, content)
		for object, err := range o.List(t.Context(), name) {
			if err != nil || object.Name != name || object.Size != int64(size) || object.PutAt.Sub(before).Abs() > time.Minute {
				t.Errorf("List = %+v, %v, want %s with %d bytes of now", object, err, name, size)
			}
		}
		if size > 1 {
			if err := o.Get(t.Context(), name, int64(size-1), io.Discard); fault.KindOf(err) != fault.Invalid {
				t.Errorf("Get of more than it may have = %v, want invalid", err)
			}
		}
	}
}

func missing(t *testing.T, o objectstore.Objects) {
	put(t, o, "scopes/a/b", []byte("x"))
	for _, name := range []string{"scopes/a/c", "scopes/b/c", "owners/a"} {
		if err := o.Get(t.Context(), name, 10, io.Discard); fault.KindOf(err) != fault.NotFound {
			t.Errorf("Get(%s) = %v, want not_found", name, err)
		}
		if err := o.Delete(t.Context(), name); err != nil {
			t.Errorf("Delete(%s) = %v, want no error", name, err)
		}
	}
	for range 2 {
		if err := o.Delete(t.Context(), "scopes/a/b"); err != nil {
			t.Errorf("Delete = %v, want no error", err)
		}
	}
	if got := names(t, o, ""); got != nil {
		t.Errorf("what is left is %v, want nothing", got)
	}
}

func halves(t *testing.T, o objectstore.Objects) {
	for name, from := range map[string]io.Reader{
		"less": strings.NewReader("12345"), "more": strings.NewReader("1234567"),
		"fails": io.MultiReader(strings.NewReader("123"), iotest.ErrReader(errors.New("canary"))),
	} {
		if err := o.Put(t.Context(), name, 6, from); err == nil {
			t.Errorf("Put of what comes otherwise (%s) = no error", name)
		}
	}
	if got := names(t, o, ""); got != nil {
		t.Errorf("what was kept is %v, want nothing", got)
	}
}

func again(t *testing.T, o objectstore.Objects) {
	put(t, o, "a", []byte("first, and longer"))
	put(t, o, "a", []byte("second"))
	want(t, o, "a", []byte("second"))
	if err := o.Put(t.Context(), "a", 6, strings.NewReader("x")); err == nil {
		t.Error("Put of a half = no error")
	}
	want(t, o, "a", []byte("second"))
}

func lists(t *testing.T, o objectstore.Objects) {
	var all []string
	for i := range 2*3 + 1 {
		all = append(all, fmt.Sprintf("scopes/a/p%02d_1.json", i))
	}
	for _, name := range append([]string{"owners/a", "scopes/ab/p_1.json", "scopes/b/p_1.json"}, all...) {
		put(t, o, name, []byte("x"))
	}
	if got := names(t, o, "scopes/a/"); fmt.Sprint(got) != fmt.Sprint(all) {
		t.Errorf("List(scopes/a/) = %v, want %v", got, all)
	}
	if got := names(t, o, "scopes/c/"); got != nil {
		t.Errorf("List of nothing = %v", got)
	}
	for range o.List(t.Context(), "scopes/") {
		break // whoever has enough leaves
	}
}

func canceled(t *testing.T, o objectstore.Objects) {
	put(t, o, "there", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	err := o.Put(ctx, "a", 2, readerFunc(func(p []byte) (int, error) {
		cancel()
		p[0] = 'x'
		return 1, nil
	}))
	if err == nil {
		t.Error("Put, and the caller leaves = no error")
	}
	if err := o.Get(ctx, "there", 1, io.Discard); err == nil {
		t.Error("Get, and the caller has left = no error")
	}
	for _, err = range o.List(ctx, "") {
		break
	}
	if err == nil {
		t.Error("List, and the caller has left = no error")
	}
	if got := names(t, o, ""); len(got) != 1 {
		t.Errorf("what is there is %v, want one", got)
	}
}

func many(t *testing.T, o objectstore.Objects) {
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			name, content := fmt.Sprint("many/", i), bytes.Repeat([]byte{byte(i)}, 1000+i)
			for range 10 {
				put(t, o, name, content)
				want(t, o, name, content)
				names(t, o, "many/")
			}
		})
	}
	group.Wait()
	if got := names(t, o, "many/"); len(got) != 8 {
		t.Errorf("what is there is %v, want 8", got)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

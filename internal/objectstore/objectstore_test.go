package objectstore_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/objectstore"
	"github.com/behalf-project/behalf/internal/objectstore/objectstoretest"
)

func open(t *testing.T, url string) *objectstore.Bucket {
	t.Helper()
	b, err := objectstore.Open(t.Context(), url)
	if err != nil {
		t.Fatalf("Open = %v, want no error", err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func TestFolder(t *testing.T) {
	objectstoretest.TestObjects(t, func(t *testing.T) objectstore.Objects {
		return open(t, "file:"+filepath.Join(t.TempDir(), "objects"))
	})
}

func TestMemory(t *testing.T) {
	objectstoretest.TestObjects(t, func(t *testing.T) objectstore.Objects {
		b := objectstore.Memory()
		t.Cleanup(func() { _ = b.Close() })
		return b
	})
}

func TestS3(t *testing.T) {
	objectstoretest.TestObjects(t, func(t *testing.T) objectstore.Objects { return open(t, objectstoretest.NewS3(t).URL) })
}

func TestPrefix(t *testing.T) {
	s3 := objectstoretest.NewS3(t)
	objectstoretest.TestObjects(t, func(t *testing.T) objectstore.Objects {
		return open(t, s3.URL+"&prefix="+strings.ReplaceAll(t.Name(), "/", "-")+"/")
	})
	all := open(t, s3.URL)
	for object, err := range all.List(t.Context(), "") {
		if err != nil || !strings.HasPrefix(object.Name, "TestPrefix-") {
			t.Errorf("outside of a prefix there is %q, %v", object.Name, err)
		}
	}
}

func TestAFolderIsItsOwnersAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "objects")
	b := open(t, "file:"+dir)
	if err := b.Put(t.Context(), "scopes/a/b", 1, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"", "scopes", "scopes/a"} {
		if info, err := os.Stat(filepath.Join(dir, d)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the folder %q: %v, %v, want 0700", d, info, err)
		}
	}
	if err := b.Delete(t.Context(), "scopes/a/b"); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("what is left is %v, %v, want nothing", left, err)
	}
}

func TestAURLThatIsWrong(t *testing.T) {
	if _, err := objectstore.Open(t.Context(), "s3://canary:canary@b"); fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), "canary") {
		t.Errorf("Open = %v, want invalid", err)
	}
	if _, err := objectstore.Open(t.Context(), "s3://b?nonsense=1"); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "s3://b") {
		t.Errorf("Open with what there is not = %v, want the place", err)
	}
}

// What fails names the place, why and what to do, and nothing with which somebody could get there.
func TestWhatFailsIsNamed(t *testing.T) {
	s3 := objectstoretest.NewS3(t)
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<Error><Code>AccessDenied</Code><Message>canary?sig=canary-sig</Message></Error>`)
	}))
	defer refusing.Close()
	for name, tt := range map[string]struct {
		bucket *objectstore.Bucket
		kind   fault.Kind
		place  string
		cause  string
	}{
		"no such bucket": {open(t, strings.Replace(s3.URL, "rollups", "others", 1)), "", "s3://others", "NoSuchBucket"},
		"refused":        {open(t, "s3://b?region=r&endpoint="+refusing.URL), fault.Unavailable, "s3://b", "403"},
		"nobody there":   {open(t, "s3://b?region=r&endpoint=http://127.0.0.1:1"), fault.Unavailable, "s3://b", "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			var listed error
			for _, listed = range tt.bucket.List(t.Context(), "a") {
				break
			}
			for call, err := range map[string]error{
				"Put":    tt.bucket.Put(t.Context(), "a", 1, strings.NewReader("x")),
				"Get":    tt.bucket.Get(t.Context(), "a", 1, new(bytes.Buffer)),
				"List":   listed,
				"Delete": tt.bucket.Delete(context.WithoutCancel(t.Context()), "a"),
			} {
				if err == nil && call == "Delete" && tt.kind == "" {
					continue // what is not there is deleted
				}
				if err == nil || tt.kind != "" && fault.KindOf(err) != tt.kind {
					t.Errorf("%s = %v, want %s", call, err, tt.kind)
					continue
				}
				for _, want := range []string{tt.place + " ", tt.cause, "Check"} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%s says %q, want %q", call, err, want)
					}
				}
				if strings.Contains(err.Error(), "canary-s") {
					t.Errorf("%s says %q, with a secret", call, err)
				}
			}
		})
	}
}

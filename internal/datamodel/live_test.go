package datamodel_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
)

func loadYAML(ctx context.Context, c *datamodel.Compilation, files fs.FS) (*datamodel.Model, error) {
	return c.Load(ctx, files)
}

func TestAnEditServesAndAWrongOneDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		write := func(name, text string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cube := func(name string) string { return "cubes:\n  - {name: " + name + ", sql_table: t}\n" }
		write("a.yml", cube("a"))
		live, err := datamodel.Open(t.Context(), datamodel.LiveConfig{Files: os.DirFS(folder), Load: loadYAML})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = live.Run(ctx) }()
		settle := func() {
			time.Sleep(2500 * time.Millisecond) // two looks
			synctest.Wait()
		}

		model := func() *datamodel.Model {
			t.Helper()
			m, err := live.Model(t.Context(), "", func() map[string]any { return nil })
			if err != nil {
				t.Fatal(err)
			}
			return m
		}

		first := model()
		if settle(); model() != first {
			t.Fatal("the model was read again without a change")
		}
		write("b.yml", cube("b"))
		if settle(); model().Cube("b") == nil || model().Cube("a") == nil {
			t.Fatal("a new file does not serve")
		}

		good := model()
		write("b.yml", "cubes:\n  - {name: b, sql_tabel: t}\n")
		if settle(); model() != good {
			t.Fatal("a wrong edit took the model away")
		}
		if p := live.State().Problem; p == nil || !strings.Contains(p.Error(), `b.yml:2:15: a cube has no key "sql_tabel"`) {
			t.Fatalf("Problem = %v, want the place of the edit", p)
		}
		write("b.yml", "cubes: []\n")
		if settle(); model().Cube("b") != nil || live.State().Problem != nil {
			t.Fatalf("after the edit was mended: %+v", live.State())
		}

		if err := os.Remove(filepath.Join(folder, "a.yml")); err != nil {
			t.Fatal(err)
		}
		live.Reload()
		synctest.Wait()
		if model().Cube("a") != nil {
			t.Fatal("Reload did not read the folder")
		}
		cancel()
		synctest.Wait()
	})
}

func TestAModelThatIsWrongAtFirstDoesNotOpen(t *testing.T) {
	if _, err := datamodel.Open(t.Context(), datamodel.LiveConfig{Files: files("cubes: 1"), Load: loadYAML}); err == nil {
		t.Fatal("Open took a model that is wrong")
	}
}

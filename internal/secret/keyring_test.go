package secret

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"
	"pgregory.net/rapid"

	"github.com/behalf-project/behalf/internal/fault"
)

var place = Place{Table: "grants", Domain: "dom_1", ID: "con_1", Owner: "alice", Field: "access_token"}

func newKeyring(t testing.TB) *Keyring {
	t.Helper()
	k, err := NewKeyring()
	if err != nil {
		t.Fatalf("NewKeyring = %v, want no error", err)
	}
	return k
}

func TestSealedTextOpensInItsPlaceOnly(t *testing.T) {
	k := newKeyring(t)
	sealed, err := k.Seal(New("hunter2"), place)
	if err != nil {
		t.Fatalf("Seal = %v, want no error", err)
	}
	if bytes.Contains(sealed, []byte("hunter2")) {
		t.Error("the sealed value holds the secret")
	}
	if got, err := k.Open(sealed, place); err != nil || got.Reveal() != "hunter2" {
		t.Errorf("Open in its place = %v, want the secret", err)
	}
	for _, tt := range []struct {
		name  string
		place Place
	}{
		{"another table", Place{"authorizations", "dom_1", "con_1", "alice", "access_token"}},
		{"another domain", Place{"grants", "dom_2", "con_1", "alice", "access_token"}},
		{"another row", Place{"grants", "dom_1", "con_2", "alice", "access_token"}},
		{"another person", Place{"grants", "dom_1", "con_1", "bob", "access_token"}},
		{"another field", Place{"grants", "dom_1", "con_1", "alice", "refresh_token"}},
		{"no place", Place{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := k.Open(sealed, tt.place); err == nil || !got.Empty() {
				t.Errorf("Open = %v, want an error and no secret", err)
			}
		})
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := k.Open(changed, place); err == nil {
			t.Fatalf("Open with byte %d changed = no error, want one", i)
		}
	}
	if _, err := newKeyring(t).Open(sealed, place); err == nil {
		t.Error("another keyring opens the value")
	}
}

func TestADerivedKeyIsOfItsPurposeAndOfTheKeyThatSeals(t *testing.T) {
	k := newKeyring(t)
	derive := func(k *Keyring, purpose string) [32]byte {
		t.Helper()
		key, err := k.Derive(purpose)
		if err != nil || key == [32]byte{} {
			t.Fatalf("Derive = %x, %v, want a key", key, err)
		}
		return key
	}
	next, id, err := k.WithNewKey()
	if err != nil {
		t.Fatal(err)
	}
	if derive(k, "a") != derive(next, "a") {
		t.Error("a key that only opens changed what is derived")
	}
	promoted, err := next.WithPrimary(id)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[[32]byte]string{}
	for name, key := range map[string][32]byte{
		"a": derive(k, "a"), "another purpose": derive(k, "b"), "another key that seals": derive(promoted, "a"), "another keyring": derive(newKeyring(t), "a"),
	} {
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s derive the same key", name, other)
		}
		seen[key] = name
	}
}

func TestNothingSealsToNothing(t *testing.T) {
	k := newKeyring(t)
	sealed, err := k.Seal(Text{}, place)
	if err != nil || sealed != nil {
		t.Errorf("Seal of nothing = %d bytes, %v, want none", len(sealed), err)
	}
	if got, err := k.Open(nil, place); err != nil || !got.Empty() {
		t.Errorf("Open of nothing = %v, want the empty Text", err)
	}
}

func TestDifferentPlacesHaveDifferentTexts(t *testing.T) {
	part := rapid.StringOfN(rapid.RuneFrom([]rune(":|0123ab\x00")), 0, 6, -1)
	draw := func(t *rapid.T, name string) Place {
		return Place{part.Draw(t, name+".table"), part.Draw(t, name+".domain"), part.Draw(t, name+".id"), part.Draw(t, name+".owner"), part.Draw(t, name+".field")}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw(t, "a"), draw(t, "b")
		if (a.String() == b.String()) != (a == b) {
			t.Fatalf("%#v is %q and %#v is %q", a, a, b, b)
		}
	})
	rapid.Check(t, func(t *rapid.T) { // the same characters, with the borders elsewhere
		var p [6]string
		for i := range p {
			p[i] = part.Draw(t, "part")
		}
		border := rapid.SampledFrom([]string{"", "|", "|:", fmt.Sprintf("|%d:", len(p[1])), fmt.Sprintf("|%d:", len(p[5]))}).Draw(t, "border")
		a := Place{p[0], p[1], p[2], p[3], p[4] + border + p[5]}
		b := Place{p[0] + border + p[1], p[2], p[3], p[4], p[5]}
		if (a.String() == b.String()) != (a == b) {
			t.Fatalf("%#v is %q and %#v is %q", a, a, b, b)
		}
	})
}

// TestARotationGoesThroughKeyringsThatOpenEachOthersValues is what lets replicas be a step apart.
func TestARotationGoesThroughKeyringsThatOpenEachOthersValues(t *testing.T) {
	steps := []*Keyring{newKeyring(t)}
	next, id, err := steps[0].WithNewKey()
	if err != nil || next.Primary() != steps[0].Primary() || !slices.Contains(next.IDs(), id) {
		t.Fatalf("WithNewKey = %v, primary %d, keys %v, want %d to open and %d to seal", err, next.Primary(), next.IDs(), id, steps[0].Primary())
	}
	steps = append(steps, next)
	if next, err = next.WithPrimary(id); err != nil || next.Primary() != id || len(next.IDs()) != 2 {
		t.Fatalf("WithPrimary = %v, primary %d of %v, want %d of two", err, next.Primary(), next.IDs(), id)
	}
	steps = append(steps, next)
	if next, err = next.WithOnly(id); err != nil || !slices.Equal(next.IDs(), []uint32{id}) {
		t.Fatalf("WithOnly = %v, %v, want %d alone", next.IDs(), err, id)
	}
	steps = append(steps, next)
	for i, from := range steps {
		sealed, err := from.Seal(New("hunter2"), place)
		if err != nil {
			t.Fatal(err)
		}
		if key, ok := KeyID(sealed); !ok || key != from.Primary() || !bytes.HasPrefix(sealed, KeyPrefix(key)) {
			t.Errorf("KeyID = %d, %v, want %d", key, ok, from.Primary())
		}
		for j, to := range steps {
			_, err := to.Open(sealed, place)
			if near := j >= i-1 && j <= i+1; near && err != nil {
				t.Errorf("step %d does not open what step %d sealed: %v", j, i, err)
			}
			if _, missing := errors.AsType[*MissingKeyError](err); j == 3 && i < 2 && !missing {
				t.Errorf("Open of a value of a removed key = %v, want that its key is missing", err)
			}
		}
	}
}

func TestAValueOfAnUnknownKeyIsTriedAgainWithNewerKeys(t *testing.T) {
	old := newKeyring(t)
	next, id, err := old.WithNewKey()
	if err != nil {
		t.Fatal(err)
	}
	if next, err = next.WithPrimary(id); err != nil {
		t.Fatal(err)
	}
	sealed, err := next.Seal(New("hunter2"), place)
	if err != nil {
		t.Fatal(err)
	}
	calls, useful := 0, false
	old.Reload(func() {
		calls++
		if useful {
			old.Use(next)
		}
	})
	if _, err := old.Open(sealed, place); err == nil || calls != 1 || !strings.Contains(err.Error(), strconv.FormatUint(uint64(id), 10)) {
		t.Errorf("Open = %v after %d reloads, want an error that names the key %d, after one", err, calls, id)
	}
	useful = true
	if got, err := old.Open(sealed, place); err != nil || got.Reveal() != "hunter2" || calls != 2 {
		t.Errorf("Open = %v, %v after %d reloads, want the secret after another one", got, err, calls)
	}
	if _, err := old.Open(append(sealed, 0), place); err == nil || calls != 2 {
		t.Errorf("Open of a changed value = %v after %d reloads, want an error and no reload: its key is here", err, calls)
	}
}

func TestAnotherMasterDoesNotOpenDataKeys(t *testing.T) {
	folder := t.TempDir()
	one, err := CreateMaster(filepath.Join(folder, "1"))
	if err != nil {
		t.Fatalf("CreateMaster = %v, want no error", err)
	}
	two, err := CreateMaster(filepath.Join(folder, "2"))
	if err != nil {
		t.Fatalf("CreateMaster = %v, want no error", err)
	}
	k := newKeyring(t)
	wrapped, err := k.Wrap(t.Context(), one)
	if err != nil {
		t.Fatalf("Wrap = %v, want no error", err)
	}
	if _, err := OpenKeyring(t.Context(), two, wrapped); !errors.Is(err, fault.Denied) || !errors.Is(err, ErrWrongMaster) {
		t.Errorf("OpenKeyring = %v, want denied, and that it is another master", err)
	}
	if _, err := OpenKeyring(t.Context(), one, wrapped[:len(wrapped)/2]); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "data_keys") {
		t.Errorf("OpenKeyring of half a keyset = %v, want denied, and what to restore", err)
	}
	opened, err := OpenKeyring(t.Context(), one, wrapped)
	if err != nil || opened.Primary() != k.Primary() {
		t.Errorf("OpenKeyring = %v, want the same keys", err)
	}
}

func TestTheMasterIsMadeOnceAndForItsOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	if _, err := OpenMaster(path); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), path) {
		t.Errorf("OpenMaster = %v, want not_found naming %s", err, path)
	}
	const n = 8
	masters, errs := make([]*Master, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { masters[i], errs[i] = CreateMaster(path) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("CreateMaster %d = %v, want no error", i, err)
		}
	}
	wrapped, err := newKeyring(t).Wrap(t.Context(), masters[0])
	if err != nil {
		t.Fatalf("Wrap = %v, want no error", err)
	}
	for i, m := range masters {
		if _, err := OpenKeyring(t.Context(), m, wrapped); err != nil {
			t.Errorf("master %d is another one: %v", i, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v, want 0600", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".keyset-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestAFileThatIsNoMasterIsRefusedWithoutQuotingIt(t *testing.T) {
	macs, err := keyset.NewHandle(mac.HMACSHA256Tag256KeyTemplate())
	if err != nil {
		t.Fatal(err)
	}
	var wrongKind bytes.Buffer
	if err := writeClear(macs, &wrongKind); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, content string }{
		{"an empty file", ""},
		{"text", "canary-canary"},
		{"other JSON", `{"key":"canary-canary"}`},
		{"half a keyset", `{"primaryKeyId":1,"key":[{"keyData":{"value":"canary-canary`},
		{"a keyset of another kind", wrongKind.String()},
		{"far too much", strings.Repeat(" ", 2*maxKeyset)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.json")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := OpenMaster(path)
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "canary") {
				t.Errorf("OpenMaster = %v, want invalid naming %s and not quoting it", err, path)
			}
			if e, ok := errors.AsType[*fault.Error](err); ok && e.Err != nil && strings.Contains(e.Err.Error(), "canary") {
				t.Errorf("the cause quotes the file: %v", e.Err)
			}
		})
	}
	t.Run("a folder that is not there", func(t *testing.T) {
		if _, err := CreateMaster(filepath.Join(t.TempDir(), "none", "keys.json")); !errors.Is(err, fault.Unavailable) {
			t.Errorf("CreateMaster = %v, want unavailable", err)
		}
	})
}

package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keys returns a new keyring.
func keys(t *testing.T) *secret.Keyring {
	t.Helper()
	ring, err := secret.NewKeyring()
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// open opens the journal in dir until the test ends.
func open(t *testing.T, dir string, ring *secret.Keyring) *Journal {
	t.Helper()
	j, err := Open(Config{Dir: dir, Sealer: ring})
	if err != nil {
		t.Fatalf("Open = %v, want no error", err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// kill leaves the files as a process does that is killed: the system closes them, and nobody tidies up.
func kill(t *testing.T, j *Journal) {
	t.Helper()
	for _, f := range j.files {
		if err := errors.Join(f.f.Close(), f.unlock()); err != nil {
			t.Fatal(err)
		}
	}
	j.files, j.closed = nil, true
}

func add(t *testing.T, j *Journal, id, payload string) {
	t.Helper()
	if err := j.Append(Record{ID: id, Owner: "alice", Payload: secret.New(payload)}); err != nil {
		t.Fatalf("Append = %v, want no error", err)
	}
}

// wantPending compares what is pending, written "id=payload id=payload".
func wantPending(t *testing.T, j *Journal, want string) {
	t.Helper()
	records, err := j.Pending()
	if err != nil {
		t.Fatalf("Pending = %v, want no error", err)
	}
	var got []string
	for _, r := range records {
		got = append(got, r.ID+"="+r.Payload.Reveal())
	}
	if s := strings.Join(got, " "); s != want || j.Len() != len(records) {
		t.Errorf("pending: %q (%d), want %q", s, j.Len(), want)
	}
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestWhatWasAppendedSurvivesTheProcess(t *testing.T) {
	dir, ring := filepath.Join(t.TempDir(), "journal"), keys(t)
	first := open(t, dir, ring)
	add(t, first, "con_1", "one")
	add(t, first, "con_2", "two")
	add(t, first, "con_1", "newer")
	if err := first.Done("con_2"); err != nil {
		t.Fatalf("Done = %v, want no error", err)
	}
	wantPending(t, first, "con_1=newer")
	kill(t, first)

	second := open(t, dir, ring)
	if gone := second.Gone(); !slices.Equal(gone, []string{first.Process()}) {
		t.Errorf("%v are said to be gone, want %s", gone, first.Process())
	}
	wantPending(t, second, "con_1=newer")
	add(t, second, "con_3", "three")
	kill(t, second)

	third := open(t, dir, ring)
	wantPending(t, third, "con_1=newer con_3=three")
	for _, id := range []string{"con_1", "con_3", "con_nothing"} {
		if err := third.Done(id); err != nil {
			t.Errorf("Done(%s) = %v, want no error", id, err)
		}
	}
	wantPending(t, third, "")
	if err := third.Close(); err != nil {
		t.Errorf("Close = %v, want no error", err)
	}
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("%v are left in the folder, want none", left)
	}
}

// A newer record of the same refresh stands in another file than the older, and names of files say nothing of their order.
func TestTheNewerOfTwoRecordsCountsInWhicheverFileItIs(t *testing.T) {
	ring := keys(t)
	for range 8 {
		dir := t.TempDir()
		first := open(t, dir, ring)
		add(t, first, "con_1", "older")
		add(t, first, "con_2", "two")
		kill(t, first)
		second := open(t, dir, ring)
		add(t, second, "con_1", "newer")
		add(t, second, "con_3", "three")
		kill(t, second)
		wantPending(t, open(t, dir, ring), "con_2=two con_1=newer con_3=three")
	}
}

func TestTheFilesOfALivingProcessAreLeftToIt(t *testing.T) {
	dir, ring := t.TempDir(), keys(t)
	living := open(t, dir, ring)
	add(t, living, "con_1", "one")
	other := open(t, dir, ring)
	wantPending(t, other, "")
	if gone := other.Gone(); len(gone) != 0 {
		t.Errorf("%v are said to be gone, want nobody", gone)
	}
	if err := other.Close(); err != nil {
		t.Errorf("Close = %v, want no error", err)
	}
	wantPending(t, living, "con_1=one")
	if err := living.Close(); err != nil {
		t.Errorf("Close = %v, want no error", err)
	}
	wantPending(t, open(t, dir, ring), "con_1=one")
	if err := living.Append(Record{ID: "x"}); !errors.Is(err, fault.Unavailable) {
		t.Errorf("Append after Close = %v, want unavailable", err)
	}
}

// Wherever the process dies while it writes, what was appended before is there, and nothing half.
func TestACrashInTheMiddleOfARecordLosesThatOneAlone(t *testing.T) {
	ring := keys(t)
	dir := t.TempDir()
	j := open(t, dir, ring)
	add(t, j, "con_1", "one")
	whole := j.own.size
	add(t, j, "con_2", "two")
	content, err := os.ReadFile(j.own.path)
	if err != nil {
		t.Fatal(err)
	}
	for n := len(content); n >= 0; n -= 1 + n%3 { // each file costs some waits for the disk
		want := ""
		switch {
		case n == len(content):
			want = "con_1=one con_2=two"
		case int64(n) >= whole:
			want = "con_1=one"
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.journal"), content[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		again := open(t, dir, ring)
		wantPending(t, again, want)
		add(t, again, "con_3", "three")
		kill(t, again)
		wantPending(t, open(t, dir, ring), strings.TrimSpace(want+" con_3=three"))
	}
}

func TestADamagedFileGivesWhatCanBeReadAndIsKept(t *testing.T) {
	ring, dir := keys(t), t.TempDir()
	j := open(t, dir, ring)
	add(t, j, "con_1", "one")
	at := j.own.size
	add(t, j, "con_2", "two")
	add(t, j, "con_3", "three")
	content, err := os.ReadFile(j.own.path)
	if err != nil {
		t.Fatal(err)
	}
	content[at+frameHead+3] ^= 1
	damaged := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(damaged, "a.journal"), content, 0o600),
		os.WriteFile(filepath.Join(damaged, "b.journal"), []byte("somebody's notes"), 0o600)); err != nil {
		t.Fatal(err)
	}
	again := open(t, damaged, ring)
	wantPending(t, again, "con_1=one")
	if err := again.Done("con_1"); err != nil {
		t.Errorf("Done = %v, want no error", err)
	}
	if err := again.Close(); err != nil {
		t.Errorf("Close = %v, want no error", err)
	}
	for name, want := range map[string][]byte{"a.journal.damaged": content, "b.journal.damaged": []byte("somebody's notes")} {
		got, err := os.ReadFile(filepath.Join(damaged, name))
		if err != nil || !bytes.HasPrefix(got, want) {
			t.Errorf("%s holds %d bytes, %v, want it as it was", name, len(got), err)
		}
	}
}

// The folder alone opens nothing, and a record moved to another grant or person opens nowhere.
func TestRecordsAreSealedForTheirPlace(t *testing.T) {
	ring, dir := keys(t), t.TempDir()
	j := open(t, dir, ring)
	add(t, j, "con_1", "canary")
	for _, f := range files(t, dir) {
		content, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte("canary")) {
			t.Errorf("%s holds the payload in clear", f)
		}
		info, err := os.Stat(filepath.Join(dir, f))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v, want 0600", f, info.Mode(), err)
		}
	}
	e := j.pending["con_1"]
	for _, change := range []func(){
		func() { e.Owner = "bob" },
		func() { e.Owner, e.ID = "alice", "con_2" },
		func() { e.ID, e.Sealed = "con_1", append([]byte{}, e.Sealed[:len(e.Sealed)-1]...) },
	} {
		change()
		if records, err := j.Pending(); err == nil || len(records) != 0 {
			t.Errorf("Pending = %d records, %v, want an error and none", len(records), err)
		}
	}
	kill(t, j)
	other := open(t, dir, keys(t))
	if records, err := other.Pending(); err == nil || len(records) != 0 {
		t.Errorf("with other keys Pending = %d records, %v, want an error and none", len(records), err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	wantPending(t, open(t, dir, ring), "con_1=canary")
}

func TestAFullJournalTakesNothingMoreAndEmptiesAgain(t *testing.T) {
	j, err := Open(Config{Dir: t.TempDir(), Sealer: keys(t), MaxBytes: 2000})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	n := 0
	for err == nil && n < 100 {
		err = j.Append(Record{ID: fmt.Sprint("con_", n), Payload: secret.New(strings.Repeat("x", 200))})
		n++
	}
	if e, _ := errors.AsType[*fault.Error](err); e == nil || e.Code != "journal_full" || j.Len() != n-1 {
		t.Fatalf("Append %d = %v with %d pending, want journal_full", n, err, j.Len())
	}
	for i := range n {
		if err := j.Done(fmt.Sprint("con_", i)); err != nil && j.Len() > 0 {
			t.Logf("Done = %v", err) // a full file takes no word of what is done either: the record comes back after a crash
		}
	}
	if err := j.Append(Record{ID: "con_again", Payload: secret.New("y")}); err != nil {
		t.Errorf("Append to the empty journal = %v, want no error", err)
	}
}

func TestAFolderThatCannotBeWrittenIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Config{Dir: filepath.Join(path, "journal"), Sealer: keys(t)})
	if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "store.journal") {
		t.Errorf("Open = %v, want unavailable, naming the setting", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	j := open(t, t.TempDir(), keys(t))
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			id := fmt.Sprint("con_", i)
			for n := range 10 {
				if err := j.Append(Record{ID: id, Payload: secret.New(fmt.Sprint(n))}); err != nil {
					t.Errorf("Append = %v, want no error", err)
				}
			}
			if i%2 == 0 {
				if err := j.Done(id); err != nil {
					t.Errorf("Done = %v, want no error", err)
				}
			}
			_, _ = j.Pending() // beside the others
		})
	}
	wg.Wait()
	records, err := j.Pending()
	if err != nil || len(records) != 8 {
		t.Fatalf("Pending = %d records, %v, want 8", len(records), err)
	}
	for _, r := range records {
		if r.Payload.Reveal() != "9" {
			t.Errorf("%s holds %q, want the last", r.ID, r.Payload.Reveal())
		}
	}
}

// Files may hold anything. What is read of one is the same when it is read again, and nothing is read past its damage.
func FuzzDecode(f *testing.F) {
	one, err := record{ID: "con_1", Owner: "o", Sealed: []byte("s")}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(header))
	f.Add(append([]byte(header), one...))
	f.Add(append(append([]byte(header), one...), one[:5]...))
	f.Add([]byte(header + "\xff\xff\xff\xff\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, content []byte) {
		records, good, err := decode(content)
		if good < 0 || good > len(content) || err == nil && good != len(content) {
			t.Fatalf("decode ends at %d of %d with %v", good, len(content), err)
		}
		if good == 0 {
			return
		}
		again, end, err := decode(content[:good])
		if err != nil || end != good || len(again) != len(records) {
			t.Fatalf("what was good is not: %d records to %d, then %d to %d, %v", len(records), good, len(again), end, err)
		}
	})
}

// TestARecordBehindAHalfWrittenOneIsNotLost: a disk that fails may refuse to take back what it took by half.
func TestARecordBehindAHalfWrittenOneIsNotLost(t *testing.T) {
	dir, ring := t.TempDir(), keys(t)
	j := open(t, dir, ring)
	add(t, j, "con_1", "one")
	disk := j.own.f
	readOnly, err := os.Open(j.own.path)
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	j.own.f = readOnly
	if err := j.Append(Record{ID: "con_2", Owner: "alice", Payload: secret.New("two")}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Append on a disk that fails = %v, want it unavailable", err)
	}
	j.own.f = disk
	if _, err := disk.Write([]byte{0, 0, 1, 0, 7, 7}); err != nil { // the half of con_2 that was written
		t.Fatal(err)
	}
	add(t, j, "con_3", "three")
	kill(t, j)
	wantPending(t, open(t, dir, ring), "con_1=one con_3=three")
}

// TestADamagedLengthIsNoTornRecord: what follows it is whole, and is not cut off as if it had never been there.
func TestADamagedLengthIsNoTornRecord(t *testing.T) {
	dir, ring := t.TempDir(), keys(t)
	j := open(t, dir, ring)
	add(t, j, "con_1", "one")
	at := j.own.size
	add(t, j, "con_2", "two")
	add(t, j, "con_3", "three")
	path := j.own.path
	kill(t, j)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[at+1] = 0x0f // longer than what is there
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	wantPending(t, open(t, dir, ring), "con_1=one")
	if kept, err := os.ReadFile(path + ".damaged"); err != nil || !bytes.Equal(kept, content) {
		t.Errorf("the damaged file: %d bytes, %v; want all %d of it kept for a person to look at", len(kept), err, len(content))
	}
}

package main

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
)

// failpointFolder names the folder where a process finds what to do at a failpoint: a file with the failpoint's name
// that says kill, freeze or hold. It is done once: the file is taken away. While the process holds, and before it is
// frozen or killed, there is a file with "reached" after the name; a process that holds goes on when that is removed.
const failpointFolder = "TEST_FAILPOINTS"

// atFailpoints returns what does as the files in folder say, in this process.
func atFailpoints(folder string) func(connectedapps.Failpoint) {
	return func(p connectedapps.Failpoint) {
		name := filepath.Join(folder, string(p))
		what, err := os.ReadFile(name)
		if err != nil {
			return
		}
		reached := name + " reached"
		if os.Rename(name, reached) != nil {
			return // somebody else's refresh came first
		}
		switch string(what) {
		case "kill":
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		case "freeze":
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
			time.Sleep(time.Second) // it stops a moment after the call, and the refresh must not go on until then
		case "hold":
			for range 3000 {
				if _, err := os.Stat(reached); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
	}
}

// at makes replica i do what at a failpoint of its next refresh.
func (f *fleet) atFailpoint(i int, p connectedapps.Failpoint, what string) {
	f.t.Helper()
	if !slices.Contains(connectedapps.Failpoints(), p) {
		f.t.Fatalf("there is no failpoint %s", p)
	}
	f.must(os.WriteFile(filepath.Join(f.failpoints(i), string(p)), []byte(what), 0o600))
}

// reached waits until replica i has come to a failpoint.
func (f *fleet) reached(i int, p connectedapps.Failpoint) {
	f.t.Helper()
	eventually(f.t, "the refresh reaches "+string(p), func() bool {
		_, err := os.Stat(filepath.Join(f.failpoints(i), string(p)+" reached"))
		return err == nil
	})
}

// release lets replica i go on from a failpoint where it holds.
func (f *fleet) release(i int, p connectedapps.Failpoint) {
	f.t.Helper()
	f.must(os.Remove(filepath.Join(f.failpoints(i), string(p)+" reached")))
}

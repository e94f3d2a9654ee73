// Package ramdisk is where the tests keep what they throw away: databases that flush each commit, on a disk that is busy
// with other tests, make a test of a second one of a minute. What is in memory survives a killed process as a disk
// does.
package ramdisk

import (
	"os"
	"testing"
)

// TempDir returns a folder that lives until the test ends, in memory where Folder is.
func TempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(Folder(), "behalf")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("ramdisk: %v", err)
		}
	})
	return dir
}

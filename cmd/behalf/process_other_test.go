//go:build unix && !linux

package main

import (
	"errors"
	"syscall"
)

// mortal makes a process an ordinary one: only Linux ends it with us when we are killed.
func mortal() *syscall.SysProcAttr { return nil }

// limitFiles makes every write to a file fail as on a full disk, which needs Linux.
func (p *process) limitFiles(bool) error {
	return errors.New("this system cannot limit the files of another process")
}

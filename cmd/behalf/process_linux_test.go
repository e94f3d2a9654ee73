package main

import (
	"syscall"
	"unsafe"
)

// mortal makes a process end with us, even when we are killed.
func mortal() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// limitFiles makes every write to a file fail as on a full disk, or lets it work again: no file may grow, nor be
// written beyond its first byte (prlimit(2), RLIMIT_FSIZE). Pipes are no files, so it goes on to log.
func (p *process) limitFiles(on bool) error {
	limit := syscall.Rlimit{Cur: ^uint64(0), Max: ^uint64(0)}
	if on {
		limit.Cur = 1
	}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(p.cmd.Process.Pid), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

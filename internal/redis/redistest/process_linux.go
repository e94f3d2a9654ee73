package redistest

import "syscall"

// attributes makes the server end with us, even when we are killed.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

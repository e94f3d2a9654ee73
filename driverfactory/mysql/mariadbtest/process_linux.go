package mariadbtest

import "syscall"

const terminate = syscall.SIGTERM

// attributes makes the server end with us, even when we are killed.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

package postgrestest

import "syscall"

// attributes makes a process of the server run as owner and end with us, even when we are killed.
func attributes(owner *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: owner, Pdeathsig: syscall.SIGQUIT} // Postgres's immediate shutdown
}

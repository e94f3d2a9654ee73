//go:build unix && !linux

package postgrestest

import "syscall"

// attributes makes a process of the server run as owner.
func attributes(owner *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: owner}
}

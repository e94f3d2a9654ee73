//go:build unix && !linux

package mariadbtest

import "syscall"

const terminate = syscall.SIGTERM

// attributes are none: where the system cannot end the server with us, a killed test leaves it.
func attributes() *syscall.SysProcAttr { return nil }

// Package filelock keeps a second process off a file. The lock is one of the operating system's, which ends with the
// process that holds it, however that ends.
package filelock

import "errors"

// ErrLocked says that another process holds the lock.
var ErrLocked = errors.New("another process holds the lock")

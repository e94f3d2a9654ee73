// Package resultcache keeps the results of statements in memory: one cache for the process, bounded in bytes.
//
// What keeps people apart is the Key. It holds the whole driverfactory.PoolKey of the credential that ran the
// statement, so a lookup under one credential cannot find what another one fetched, however equal their statements
// are. The statement itself is in the key as a digest: the cache holds neither SQL nor arguments, and a value of any
// type but those of a row is refused, so no secret can be put into it by mistake.
//
//	Put ─▶ [ newest … oldest use ] ─▶ evicted when all bytes, one owner's bytes or the time to live are used up
//	              │
//	              └─ index by owner ─▶ Purge, when a grant is revoked or replaced
//
// An Entry remembers the Values of the refresh keys under which it was fetched: it is found by its key whatever they are
// now, and whoever finds it decides whether that is fresh enough.
//
// An Entry is also where an answer's encoded form is kept (Encoded), so that a second hit costs a write and not an
// encoding. Those bytes count like the rows do.
package resultcache

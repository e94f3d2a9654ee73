// Package resultcache keeps the results of statements in memory: one cache for the process, bounded in bytes.
//
// What keeps people apart is the Key. It holds the whole driverfactory.PoolKey of the credential that ran the
// statement, so a lookup under one credential cannot find what another one fetched, however equal their statements
// are. What was fetched under a role of a warehouse may be kept for everybody of that role (Key.OfRole): under the same
// without the person, and only if its Entry says that a session of that role fetched it, and by which credential, with which it
// goes. The statement itself is in the key as a digest: the cache holds neither SQL nor arguments, and a value of any
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
//
// Beside what it keeps the cache counts what is held: results that are read into a Draft, wait for whoever asked, or are
// sent after they were evicted. What is cached is not held, so that the sum of both is what results take:
//
//	Draft ─▶ Entry, held ─▶ Put: cached ─▶ evicted ─┬─▶ nobody reads it: gone
//	           └─▶ too large ─▶ held until Release ◀┘
//
// A Draft that would go over the bound of everybody or of its owner is refused. Nothing waits for room.
package resultcache

// Package sqlstore keeps everything Behalf must remember, in SQLite or in Postgres.
//
// Open connects, brings the schema up to date, and unlocks the data keys with the master key. From then on each area
// has its own small type (Grants, OAuthApps, Users, …) that implements the Store interface of the package that asks
// for it; one implementation serves both databases, and one suite per interface holds it to its promises on both.
//
//	SQLite     one file, one process. A writer handle with one connection, and a handle for readers beside it (WAL).
//	Postgres   any number of processes. Two that change one row meet at its revision, not at a lock held over a call.
//
// Each method is one transaction, and the audit entry of an act commits with it, in the hash chain of this process
// (chain.go). Failures that go away by themselves (a busy file, a deadlock) are retried inside; whoever gives no deadline
// gets ours. Callers see kinds of internal/fault, never an error of a driver.
//
// What changes a grant, an OAuth app or a person is announced on the bus that News returns, once and here: in this
// process before the method returns, and with NOTIFY in the transaction itself in every other process on the same
// Postgres, as long as Run listens there.
//
// Secrets rest sealed. Their columns hold ciphertext that opens only in its own field of its own row
// (secret.Place), so neither a dump of the database nor a row moved to another person is worth anything.
package sqlstore

// Package driverfactory goes from who is asking and what for to a driver under the right credential.
//
// A Source is one warehouse or database. For each request Factory.Choose picks the credential, in an order that is
// written down once (design.md §2.4): the person's own grant, a credential that a trusted issuer put into their JWT,
// the service account where the operation and the source's policy allow it, and otherwise a refusal that says where
// to authorize. The Choice carries a PoolKey, which names the credential, and a RunAs, which tells everybody which
// identity that is. Factory.Open turns a Choice into a Driver: a small pool of sessions which log in with that
// credential and no other.
//
//	Choose ──▶ Choice{Key, RunAs} ──▶ Open ──▶ Driver.Query ──refused──▶ refresh once ──▶ Query ──▶ rows or refusal
//
// Two rules hold by construction. A Driver asks for its token through a source that is bound to the epoch of its key,
// so a statement never starts on a grant that was replaced or revoked. And a session remembers the revision it logged
// in with: where a warehouse reads the token only at login, a session of a superseded revision is not lent again.
//
// A Driver only reads, where the warehouse can be told so. Maker.Exec makes tables, on a session that may write for one statement:
// one that could go on to do so is closed and never lent again, and what was sent is not run a second time.
//
// Where Source.CacheScope asks for it, a session is asked which role it has before its first statement, and its Rows know it:
// whoever keeps them for others of that role knows whose they are.
//
// The adapters are in the folders beside: one per kind of warehouse, each a Warehouse and each held to the suite in
// drivertest. A Driver that nobody uses costs half a kilobyte: no session, no sql.DB, no goroutine. This package knows
// no OAuth app, no HTTP of ours and no cache; it asks for Credentials, which connectedapps.Tokens satisfies.
package driverfactory

// Package orchestrator answers a statement: from the result cache, or by its turn in the queue and a session of the
// right pool.
//
// Everybody has an Orchestrator of their own, found by its id (CUBE_APP_<username>) in an LRU: their pools, their
// waiting line, their view of the result cache. It is small, opened on first use, and counted: an evicted one drains,
// the next request for its id finds and revives it, and it closes when nobody holds it, so a process never has two
// for one id.
//
//	Load ─▶ Choose credential ─▶ refresh keys ─▶ cached? ─▶ line of this person ─▶ slot of the source ─▶ pool[PoolKey] ─▶ rows
//
// A refresh key is a statement too, and takes the same way under the same credential. What it is answered is kept like any
// result, for as long as it is good, and becomes part of what a result is found by: another answer, another result.
//
// Where a source has driverfactory.CacheRole, what was fetched is kept for everybody whose sessions have the role that the
// session told which fetched it. A person's own role is asked for before their refresh keys are, and believed for a minute.
//
// Where a Request has a Rollup, its rows may be here already: grouped by the source, kept by PreAggregations for the
// credential that fetched them, and read in place of the source.
//
//	Load ─▶ Choose credential ─▶ all tables of the rollup there? ─▶ slot of the processor ─▶ rows
//	                                  └ no, or old ─▶ the source, as above ─▶ behind the second answer: fetched, for the next
//
// A Rollup may be read from others, its Parts: joined, or of different times. Each of these is fetched and kept by itself, and answers
// whatever holds it; all of them are of one credential.
//
// One that the model keeps in its source is made there, as tables, by the credential that asks for it, and read by statements of the
// source; which tables those are is in SourceTables. Other statements only read.
//
// Who uses a rollup is told to Config.Used, and Refresh fetches it again for them before they ask. With Config.Shared, what another
// replica fetched under the same credential is found before the source is asked. A source that does not answer is left alone for a
// while, and whoever asks it is told so at once.
//
// The id only finds the orchestrator. What keeps people apart is the driverfactory.PoolKey in every key below it, but for
// that of a result that is for a role: two people with one name share nothing but the moment when they are forgotten. A slot is given over people in turn, so
// that one person's thousand statements delay another's one by a single turn.
//
// The rows are read to their end at once, packed and within bounds of memory, and the session is given back before the
// first byte of the answer is written: whoever reads it slowly holds some memory, and nothing at the warehouse.
//
// Credentials come and go through Forget: a new epoch lets running statements finish on the old pool and lends it no
// more; a revocation cuts them. What was fetched under it goes with it: results, and the rows of rollups.
package orchestrator

// Package preagg keeps rollups: rows that a source has grouped, as Parquet files, and reads them with DuckDB.
//
// A rollup belongs to the credential that fetched its rows. Its ID holds the whole driverfactory.PoolKey, and each
// PoolKey has a folder of its own, so what one credential built is not found under another. It is built in partitions,
// each a Table, and a Table that is built again takes the place of the one before:
//
//	rows of a source ─▶ Write ─▶ DuckDB, which may spill ─▶ a Parquet file, fsynced ─▶ renamed: the newest Table
//	                                                                                      │
//	Query ─▶ the newest Tables ─▶ an instance of DuckDB that reaches this one folder ─▶ rows
//
// On disk:
//
//	<Dir>/lock                                       held while a process has the store open
//	<Dir>/scopes/<scope>/owner.json                  whose folder it is: a PoolKey
//	<Dir>/scopes/<scope>/<structure>/p<partition>_<version>.parquet
//	<Dir>/scopes/<scope>/<structure>/p<partition>_<version>.json      what is in it, with a checksum
//	<Dir>/scopes/<scope>/<structure>/p<partition>_<version>.shared    empty: the object store has it too
//	<Dir>/builds/, <Dir>/trash/                      emptied when the store is opened
//
// A scope is a hash of a PoolKey, so that no name of a person is in a path. A Table is there once its .json is: it is
// written last and removed first, so a crash at any moment leaves the Table before or the new one. What was not written
// by this process is compared with its checksum before it is read; what is damaged is dropped and named in the log.
//
// What keeps owners apart is not only the path. SQL runs in an instance of DuckDB that is locked to the folder of its
// scope (internal/duckdbinstance), and no statement runs but a single SELECT that calls nothing which does more than
// return rows. Instances are few, shared by the readers of a scope, and closed when nobody used them for some minutes;
// together they stay within Config.MaxMemory.
//
//	Drop ─▶ scope is marked ─▶ statements and builds under way are cancelled ─▶ its folder leaves, in one rename ─▶ Run deletes it
//
// Whoever read or built finds the mark: rows that were read already are not handed out any more, and a build keeps
// nothing. Tables that nobody reads for a day, and those that were superseded, are swept by Run.
//
// With Config.Objects there are other replicas, each with a Dir of its own, which is a cache then:
//
//	Write ─▶ the Table is here ─▶ Run puts its rows there, then its note
//	Tables ─▶ what is here, and what is known of there; every half a minute Run looks again
//	Query ─▶ what is there only is fetched whole by Run; the source answers meanwhile
//	Drop ─▶ what is there is deleted by Run, whoever put it
//
// Nobody waits for the object store but Refresh, which a build asks first: what another replica has just built is not built again.
// What is there is not trusted: see shared. What it has too makes way here when there is no room and nobody read it for an hour.
// There it goes when nobody has read it for a day: who reads a rollup puts an empty object beside its tables every hour, and the
// first replica in an hour sweeps for all.
package preagg

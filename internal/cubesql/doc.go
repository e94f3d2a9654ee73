// Package cubesql turns SELECTs over cubes into queries of the query API (cube-rest-api.md §11.3).
//
// Names are those of Cube's SQL API: a cube or a view is a table, its dimensions and measures are columns, a segment is
// a boolean column, MEASURE(x) aggregates a measure, and the types of times and their literals are those of PostgreSQL.
// A Catalog has what /v1/meta shows one caller, so that what is hidden from them is not there to be named.
//
//	text ──lex──▶ tokens ──parse──▶ statement ──names, groups, conditions──▶ query.Query
//
// The query has the rows of the SELECT, or there is none: what the query API says in another way is refused, at its line
// and column, with what can be written instead. SQL takes no NULL for different from a value, where notEquals does; it
// compares times to the microsecond, where a date range ends with a millisecond; its LIKE minds case. Times without an
// offset are local to the query's time zone, as everywhere in the query API.
//
// Nothing here runs a query or knows HTTP.
package cubesql

// Package sqlgen turns a query into SQL: (data model, security context, query) → Plan. It is pure: it reads no clock,
// no network and no configuration, and the same input gives the same plan.
//
// A query is planned in four steps, each of which may refuse it by name:
//
//	resolve: names → members ▸ restrict: what access policies grant, filter and mask ▸ join: which cubes, in which tree
//	▸ render: one SELECT, or several that are joined
//
// Several SELECTs are needed where a join repeats the rows of a measure's cube. Such a measure is computed from the
// distinct primary keys of its rows, and joined to the rest on the dimensions (cube-data-model.md §13). A sub-query
// dimension and a rolling window are SELECTs of their own too, in which the context filters and policies hold again.
//
// A query may be held by a rollup of the model: then the plan says how that is built at the source, as a query of nobody, and how
// the query is answered from what was built, in DuckDB. Where a rollup would give other rows than the source, and be it because
// DuckDB compares, orders or divides in another way, it does not hold the query, and the plan says why.
//
// SQL text is never concatenated with values. What is built is a fragment: a list of pieces, each a text of the model
// or of a dialect, or a bound value. Placeholders are numbered when the whole statement is known, so a value cannot
// become text, and every table repeats the context filters of its cube wherever it appears.
//
// The templates of a model are evaluated here, for one query and one security context at a time, into fragments of
// that query alone. Dialects differ in few places: one file each, behind Dialect.
//
// Sessions must run in UTC: a timestamp without a zone counts as UTC, as it does for Cube.
package sqlgen

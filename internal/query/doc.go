// Package query reads the Cube query format (cube-rest-api.md §7 to §9): what a client wants to know, in names of
// the data model.
//
// Decode takes the text as it came: an object, an array of objects, or a JSON string that holds either. It is strict:
// an unknown key, a wrong type and an oversized or overly nested query are refused with a sentence that names the
// place. Normalize gives the query the one form in which the rest of the server, and the answers, know it: relative
// dates resolved at a fixed moment in the query's time zone, filter values as text, defaults filled in.
//
//	bytes ──Decode──▶ Batch ──Normalize(now, zone, limits)──▶ Batch of Query ──▶ internal/sqlgen
//
// Nothing here knows the data model: whether a member exists is for sqlgen to say.
package query

// Package jsmodel reads data models in JavaScript (cube-data-model.md §4) into what YAML gives, so that the rest of the
// program knows one kind of model.
//
// A file is run once, alone, when the model is loaded. SQL in it is a template over names that JavaScript does not
// know, such as CUBE or the members of the cube:
//
//	sql: `${CUBE}.user_id = ${users.id}`
//
// Before a file runs, each such value becomes a function of these names (rewrite.go):
//
//	sql: __lazy(7, (CUBE, users) => (`${CUBE}.user_id = ${users.id}`))
//
// The function is called once, at load, with objects that stand for the names. Their text is a mark that nobody can
// guess, and the text that the function returns is taken apart at the marks into the very nodes that a YAML template
// has (record.go). So the model stays a static, checked and immutable tree; no JavaScript runs for a query, and no
// value of a query was there to get into it.
//
// A function that decides by a value of the security context cannot be taken apart like this: it calls unsafeValue()
// to compare it, gives filter() a function that looks at it, or asks for the time. What such a function returns at load
// means nothing. It becomes a datamodel.Script, which runs for each query in a runtime of its own, with that query's
// context and nobody else's, and gives nodes again (query.go): values are bound by sqlgen as ever. Which functions these
// are is decided by their text, and in doubt a function that touches the security context is one of them.
package jsmodel

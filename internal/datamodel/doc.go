// Package datamodel reads a Cube data model: cubes and views in YAML files, or in those of another Language, and what refers
// to what in them.
//
// Load reads a folder once, checks everything it can without a query, and returns all problems together, each with
// file, line, column and the text in question. What it returns is an immutable Model, shared by every query.
//
//	files ──parse──▶ nodes ──▶ definitions ──extends──▶ cubes ──resolve──▶ views, references, joins ──▶ Model
//
// SQL in a model is a template: "{CUBE}.amount * {users.rate}". It is parsed into a small tree when the model is
// loaded and evaluated by internal/sqlgen for each query, with the security context of that query. A template holds
// no value of any query, so two queries cannot mix. A Script is the exception that proves it: SQL that a program makes
// for one query, as nodes of that query alone.
//
// Files may read of who asks first under an application id, and variables of the machine: a Compilation says what is there,
// and records what was read. Live keeps the models that come of it, and serves each to those whom it is for.
//
// A file with marks of Jinja is rendered first, once. Problems of what was rendered are told at the lines of the template.
//
// What Cube knows and this package does not build is refused by name and place, because a rule that is silently
// ignored gives wrong rows. What only costs speed (pre-aggregations of types that are not built) is read, checked, and named by
// Model.Notices; such queries go to the source. Comments name the sections of cube-data-model.md.
package datamodel

// Package audit keeps the promise that nobody can change what was recorded and stay unnoticed.
//
// An Entry says who did what. An act and its entry commit together: a Store method that changes something takes the
// Entry and writes both in one transaction. What changes nothing, such as a hand-out or an admin's look at other
// people's grants, goes through Writer, which commits many at once. Entries never hold a secret, a row of a result or
// the text of a query.
//
// Each entry becomes a Record in the hash chain of the process that writes it:
//
//	hash(n) = SHA-256(hash(n-1) || entry n)        hash(0) = 32 zero bytes
//
// so a record that is edited, removed, inserted, moved or repeated no longer fits its neighbours. A chain alone does
// not notice that its end was cut off, or that all of it is gone. For that a chain begins with a checkpoint, and goes on
// to make one every minute in which something happened: a record that holds the ends of the other chains, and that
// also goes to the log. The chains are a braid:
//
//	A  ●──1──2──3──●──4──5──●──6
//	               ▲ ╲      ▲
//	B      ●──1──2─┘  ╲──●──┘──3      ● checkpoint; it knows the end of the other chain
//
// Cutting A back to 3 breaks what B remembers of it, and what the log does. Verifier follows all chains in one pass,
// over a store or over an export of it, and names the first record that is wrong.
//
// The hash has no key: whoever can write the whole database can compute all chains anew from the record they want to
// be rid of. What convicts them is a checkpoint kept where they cannot write, in the log or by an auditor.
package audit

// Package caps keeps limits that several replicas have in common: so many statements or sessions at a source, so many of one
// person there.
//
// Each replica holds a share of a cap, in memory, under a lease: the way of a statement compares two numbers. The shares of all
// replicas that live never add up to more than the cap. What is moved between them goes through a Store, in one batch, every
// few seconds and whenever somebody waits:
//
//	count ─▶ lend no more than what is kept ─▶ Exchange: keep, want ─▶ given ─▶ what waited may begin
//	                                               └─▶ news: somebody else may take, or is to give back
//
// A replica lowers its share by itself, before it says so, and to no less than what runs; the store raises it, and only by what
// nobody has. So whatever is lost on the way, an answer or a replica, the sum is too small for a while and never too large.
//
// A replica that is alone has all of every cap, and stores nothing but that it lives. Another one that comes gets nothing until
// the first has noticed, and begins to share, or its lease ends. A replica that has a cap for itself, as where a person is served
// by one, gets the whole of it. When it is wanted elsewhere, each is to have a fair part (Divide), and gives back what is above
// that as its statements end and its idle sessions are closed: of those, no more at each than others wait for. Where there is less
// than one for each, they take turns: a share that was used once goes on.
//
// The lease is counted from before it was asked for, by the clock that does not jump and by the one that knows of sleep. A
// replica whose lease has ended begins nothing, and what had its turn and has not begun goes back into the line, until the store
// has answered, or has failed after that end: then it cannot be asked, and the replica goes on with its part of each cap,
// divided by as many as there were, and at least one.
package caps

// Package sharedcache keeps results where every replica finds them.
//
// A replica that has fetched a result puts it here, and the others take it instead of asking the warehouse again. The Store
// behind it, a Redis as a rule, is believed in nothing and needed for nothing:
//
//	name   a hash, under a key of ours, of the credential with its epoch, the source as it is configured, and the statement
//	value  the rows, sealed for that name: changed, or copied to another name, it does not open
//
// So nobody finds what another credential fetched, and whoever reads the Store learns neither a row nor a name. A Store that
// is slow, full or gone is one where nothing is found: each call has an end, and after a few that failed none is made until
// Run finds that it answers again.
//
// # Purges
//
// Everybody together, and each owner of results, has a generation in the Store: a random number of which the keys of their
// values are made.
//
//	everybody's ─┐
//	             ├─▶ key ─▶ values of the owner
//	the owner's ─┘
//
// Purge removes it. What was put before opens never again, and neither does what somebody puts later who began before. Every
// replica purges when it hears of a revocation, so none waits for another. A replica whose purge does not reach the Store
// goes without that owner's values until it does.
//
// # Roles
//
// A result that is for everybody of a role lies where every other result of its credential does, with the role in it. Under a
// name made of the role is only which credential that is, sealed like a value:
//
//	role ─▶ who fetched it last ─▶ the owner's value, if it is of that role
//
// So it goes with the generation of who fetched it, and what the same credential fetched under another role since is not found.
//
// # One loader
//
// Of several replicas that miss the same result at once, one runs the statement and the others wait for its value:
//
//	Begin ─┬─▶ Mine: run the statement ─▶ Put or End
//	       └─▶ Follow ─┬─▶ the loader's value
//	                   └─▶ the loader ended without one, or the Store is gone: run the statement
//
// The loader holds a lease, which it renews until it has ended. Who follows waits for one loader, and not for a second one
// after it: a loader that dies costs the others the rest of its lease, a second at most, and one that fails costs them its
// time and not that of a row of failures.
package sharedcache

// Package connectedapps owns the grants that people give us to their data sources.
//
// A person connects an OAuth app once. Flow sends the browser to the authorization server with a state and a PKCE
// challenge (RFC 6749 §4.1, RFC 7636); the callback takes the pending authorization for that state, once and only in
// the same browser session, checks who answers (RFC 9207), trades the code for tokens, and stores them sealed. From
// then on Tokens hands out a fresh access token whenever a query needs one.
//
//	not_connected ──callback──▶ active ⇄ expiring, refresh_failing ──refresh refused──▶ revoked, expired
//	      ▲                        └──────────────── disconnect ───────────────┐
//	      └────────────────────────────────────────────────────────────────────┘
//
// A refresh is a small state machine on the grant's own row, so that one caller in the whole cluster makes the call
// and a crash is classified instead of guessed:
//
//	Claim (intent and lease written) ──▶ token endpoint ──▶ SaveRefreshed │ SaveRefusal (compare and swap on the claim)
//
// A grant that ended is kept, so that the person is asked to reauthorize rather than to start over. What a grant is
// worth at any moment, its Status, is derived from its facts by one pure function and never stored.
// Nothing here knows about queries, cubes or warehouses.
package connectedapps

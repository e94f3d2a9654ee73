// Package oauthapps owns our client registrations at authorization servers (RFC 6749 §2).
//
// An admin registers an App: where its authorization and token endpoints are, our client id and secret there, the
// scopes to ask for and the data sources it is for. A preset knows the URLs and quirks of a provider; discovery reads
// them from an issuer's metadata (RFC 8414). Registry checks, stores and audits apps and derives their redirect URI;
// Client makes every call to their endpoints, through one function with one answer parser, so that client
// authentication, limits and the meaning of errors are decided in one place.
//
// Client secrets are write-only: they come in through the API or the configuration file, rest sealed, and leave only
// towards the endpoints of their server. A private key never leaves: what it signs does, and its public half. Nothing here knows about people or their grants.
package oauthapps

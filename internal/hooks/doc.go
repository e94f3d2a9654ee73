// Package hooks runs the functions of a deployment's cube.js: who asks, what may be asked, and under which credential
// (cube-rest-api.md §2.5, §2.6; cube-data-model.md §17; design.md §2.21, §2.23).
//
//	request ▸ checkAuth, or the verifier ▸ extendContext ▸ contextToGroups, contextToAppId ▸ contextToApiScopes
//	query   ▸ decode, normalize ▸ queryRewrite ▸ decode, normalize ▸ plan
//	run     ▸ contextToOrchestratorId ▸ driverFactory ▸ a credential
//
// A hook gets copies and gives plain data back, which is read again as if a client had sent it. Each call has a time
// and a depth; a hook that throws, hangs or returns something else refuses the request, and is never skipped.
//
// No hook sees a token of a warehouse. Where driverFactory reads one it finds a handle: a text that nobody can guess,
// which means the credential for this one call. Beside the language, hooks have fetch to hosts that are allowed by
// name, process.env of names that are, console, and the few functions of the packages jsonwebtoken, jwk-to-pem and
// lodash that such files use. They have no files, processes or timers: what needs Node is refused by name at start.
package hooks

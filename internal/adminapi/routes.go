package adminapi

import "net/http"

// routes lists every operation. Their ids are names in generated clients: they never change.
func (h *Handler) routes() {
	const auth, apps, connected, mine, sources, records, dataKeys = "Sign-in", "OAuth apps", "Connected apps", "Tokens", "Data sources", "Audit", "Data keys"
	const revocations, notices, running = "Containment", "Notices", "What runs"

	register(h, route{"login", http.MethodPost, "/auth/login", "Sign in with a password", auth, everybody, 200}, h.login)
	register(h, route{"me", http.MethodGet, "/auth/me", "Who is signed in", auth, signedIn, 200}, h.me)
	register(h, route{"logout", http.MethodPost, "/auth/logout", "Sign out", auth, signedIn, 204}, h.logout)

	register(h, route{"list-oauth-apps", http.MethodGet, "/oauth-apps", "List the OAuth apps", apps, admins, 200}, h.listApps)
	register(h, route{"create-oauth-app", http.MethodPost, "/oauth-apps", "Register an OAuth app", apps, admins, 201}, h.createApp)
	register(h, route{"list-oauth-app-presets", http.MethodGet, "/oauth-apps/presets", "List what is known about providers", apps, admins, 200}, h.presets)
	register(h, route{"discover-issuer", http.MethodPost, "/oauth-apps/discover", "Read the metadata of an issuer", apps, admins, 200}, h.discover)
	register(h, route{"get-redirect-uri", http.MethodGet, "/oauth-apps/redirect-uri", "The redirect URI that a slug has", apps, admins, 200}, h.redirectURI)
	register(h, route{"get-oauth-app", http.MethodGet, "/oauth-apps/{id}", "Get an OAuth app by id or slug", apps, admins, 200}, h.getApp)
	register(h, route{"update-oauth-app", http.MethodPatch, "/oauth-apps/{id}", "Change an OAuth app", apps, admins, 200}, h.updateApp)
	register(h, route{"delete-oauth-app", http.MethodDelete, "/oauth-apps/{id}", "Delete an OAuth app", apps, admins, 204}, h.deleteApp)
	register(h, route{"pause-oauth-app", http.MethodPost, "/oauth-apps/{id}/pause", "Pause an OAuth app", apps, admins, 200}, h.pauseApp)
	register(h, route{"resume-oauth-app", http.MethodPost, "/oauth-apps/{id}/resume", "Resume a paused OAuth app", apps, admins, 200}, h.resumeApp)
	register(h, route{"test-new-oauth-app", http.MethodPost, "/oauth-apps/test", "Try a registration that is not saved yet", apps, admins, 200}, h.testNewApp)
	register(h, route{"test-oauth-app", http.MethodPost, "/oauth-apps/{id}/test", "Try the registration of an OAuth app", apps, admins, 200}, h.testApp)

	register(h, route{"list-connected-apps", http.MethodGet, "/connected-apps", "List the apps one can connect, with the status of one's own grants", connected, account, 200}, h.listConnected)
	register(h, route{"get-connected-app", http.MethodGet, "/connected-apps/{app}", "Get one of them", connected, account, 200}, h.getConnected)
	register(h, route{"authorize-connected-app", http.MethodPost, "/connected-apps/{app}/authorize", "Begin to authorize an OAuth app", connected, account, 200}, h.authorize)
	register(h, route{"exchange-connected-app", http.MethodPost, "/connected-apps/{app}/exchange", "Connect an app by a token of another issuer (RFC 8693), without a browser", connected, connect, 200}, h.exchange)
	register(h, route{"refresh-connected-app", http.MethodPost, "/connected-apps/{app}/refresh", "Refresh a grant now, at most once in 30 seconds", connected, account, 200}, h.refresh)
	register(h, route{"introspect-connected-app", http.MethodPost, "/connected-apps/{app}/introspection", "Ask the provider whether a grant is still good there, at most once in 30 seconds", connected, account, 200}, h.introspect)
	register(h, route{"keep-connected-account", http.MethodPost, "/connected-apps/{app}/keep-account", "Keep an account at the provider that is called otherwise than oneself here", connected, account, 200}, h.keepAccount)
	register(h, route{"revoke-connected-app", http.MethodDelete, "/connected-apps/{app}", "Revoke a grant, here and at the provider", connected, account, 204}, h.revoke)
	register(h, route{"get-connect-session", http.MethodGet, "/connect-sessions/{id}", "The outcome of an attempt to authorize", connected, account, 200}, h.connectSession)

	register(h, route{"hand-out-access-token", http.MethodGet, "/connected-apps/{app}/token", "Be handed an access token of a connected app, as it is or exchanged for one audience (RFC 8693)", connected, handOut, 200}, h.handOut)

	register(h, route{"create-token", http.MethodPost, "/tokens", "Make a personal access token", mine, account, 201}, h.createToken)
	register(h, route{"list-tokens", http.MethodGet, "/tokens", "List one's personal access tokens", mine, account, 200}, h.listTokens)
	register(h, route{"revoke-token", http.MethodDelete, "/tokens/{id}", "Revoke a personal access token", mine, account, 204}, h.revokeToken)
	register(h, route{"get-current-token", http.MethodGet, "/tokens/current", "The token that asks, and whose it is", mine, holders, 200}, h.currentToken)
	register(h, route{"revoke-current-token", http.MethodDelete, "/tokens/current", "Revoke the token that asks", mine, holders, 204}, h.revokeCurrentToken)

	register(h, route{"create-revocation", http.MethodPost, "/revocations", "End the access of a person, of everybody with an app, or of everybody", revocations, admins, 201}, h.createRevocation)
	register(h, route{"list-revocations", http.MethodGet, "/revocations", "List the last revocations and how far they are at the providers", revocations, admins, 200}, h.listRevocations)
	register(h, route{"get-revocation", http.MethodGet, "/revocations/{id}", "How far a revocation is at the providers", revocations, admins, 200}, h.getRevocation)

	register(h, route{"list-deliveries", http.MethodGet, "/deliveries", "List what was told to webhooks and people", notices, admins, 200}, h.listDeliveries)
	register(h, route{"replay-delivery", http.MethodPost, "/deliveries/{id}/replay", "Deliver an event again", notices, admins, 201}, h.replayDelivery)

	register(h, route{"list-data-sources", http.MethodGet, "/data-sources", "List the data sources and whether they answer", sources, account, 200}, h.listSources)

	register(h, route{"list-queries", http.MethodGet, "/queries", "List one's queries that wait or run", running, account, 200}, h.listQueries)
	register(h, route{"cancel-query", http.MethodDelete, "/queries/{id}", "Cancel a query", running, account, 200}, h.cancelQuery)
	register(h, route{"list-orchestrators", http.MethodGet, "/orchestrators", "List the open orchestrators", running, operators, 200}, h.listOrchestrators)
	register(h, route{"drain-orchestrator", http.MethodPost, "/orchestrators/{id}/drain", "Close idle sessions, and forget the orchestrator once its queries have ended", running, operators, 200}, h.drainOrchestrator)
	register(h, route{"flush-orchestrator", http.MethodPost, "/orchestrators/{id}/flush", "Drop the results and pre-aggregations of its people", running, operators, 200}, h.flushOrchestrator)
	register(h, route{"watch-events", http.MethodGet, "/events", "Watch queries or orchestrators: what there is, and then what changes", running, account, 200}, h.watch)
	register(h, route{"list-preaggregations", http.MethodGet, "/preaggregations", "List one's pre-aggregations that are kept or built", running, account, 200}, h.listPreAggregations)

	register(h, route{"list-audit", http.MethodGet, "/audit", "List who did what, the newest first", records, admins, 200}, h.listAudit)
	register(h, route{"export-audit", http.MethodGet, "/audit/export", "Export the records, the oldest first", records, admins, 200}, h.exportAudit)
	register(h, route{"verify-audit", http.MethodPost, "/audit/verify", "Check that no record was changed or removed", records, admins, 200}, h.verifyAudit)

	register(h, route{"get-keys", http.MethodGet, "/keys", "How the data keys are, and how far their rotation is", dataKeys, admins, 200}, h.dataKeys)
	register(h, route{"rotate-keys", http.MethodPost, "/keys/rotate", "Begin to replace the data keys by a new one", dataKeys, admins, 202}, h.rotateKeys)
}

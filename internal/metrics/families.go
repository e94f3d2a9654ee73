package metrics

import (
	"slices"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/oauthapps"
	"github.com/behalf-project/behalf/orchestrator"
)

// family is one metric: everything that its table in the documentation says of it.
type family struct {
	name, kind string
	labels     []string
	help       string
}

// The metrics. Their names and labels are a contract: they are added to, never renamed.
var (
	buildInfo = family{"behalf_build_info", "gauge", []string{"version", "revision", "go_version"}, "1: what runs."}

	httpRequests = family{"behalf_http_requests_total", "counter", []string{"route", "method", "code"}, "Requests that were answered, at both listeners."}
	httpDuration = family{"behalf_http_request_duration_seconds", "histogram", []string{"route", "method"}, "From a request to the end of its answer; of a stream or a WebSocket, its life."}

	queries       = family{"behalf_queries_total", "counter", []string{"source", "outcome", "cache"}, "Statements that were answered or refused; who is told to ask again is counted at the answer."}
	stageDuration = family{"behalf_query_stage_duration_seconds", "histogram", []string{"source", "stage"}, "Stages of queries. connect lies within execute; verify has no source."}
	queueDepth    = family{"behalf_query_queue_depth", "gauge", []string{"source"}, "Statements that wait for their turn."}
	queueWait     = family{"behalf_query_queue_wait_seconds", "histogram", nil, "How long statements waited that got their turn."}
	fallbacks     = family{"behalf_fallback_queries_total", "counter", []string{"source", "reason"}, "Queries of people that the service account ran."}

	orchestrators = family{"behalf_orchestrators", "gauge", []string{"state"}, "Orchestrators in memory: one for each person, as a rule."}
	evictions     = family{"behalf_orchestrator_evictions_total", "counter", []string{"reason"}, "Orchestrators that were forgotten."}
	connections   = family{"behalf_pool_connections", "gauge", []string{"source", "state"}, "Open sessions at a source."}
	cacheBytes    = family{"behalf_cache_bytes", "gauge", []string{"kind"}, "Results and pre-aggregations that are kept."}
	builds        = family{"behalf_preagg_builds_total", "counter", []string{"outcome"}, "Builds of pre-aggregations."}

	authorizations = family{"behalf_authorizations", "gauge", []string{"app", "status"}, "Grants of people, as of the last minute, the same at every replica; absent where there are more than 50,000."}
	flows          = family{"behalf_authorization_flows_total", "counter", []string{"app", "outcome"}, "Authorizations that came back from a provider."}
	refreshes      = family{"behalf_token_refreshes_total", "counter", []string{"app", "outcome"}, "Calls for a newer token."}

	auditErrors = family{"behalf_audit_write_errors_total", "counter", nil, "Commits of the audit log that failed. Each is tried again, and nothing is handed out meanwhile."}
	keyAge      = family{"behalf_key_age_seconds", "gauge", nil, "Age of the data key that seals."}
)

// families are all of them.
var families = []family{
	buildInfo, httpRequests, httpDuration, queries, stageDuration, queueDepth, queueWait, fallbacks, orchestrators, evictions, connections,
	cacheBytes, builds, authorizations, flows, refreshes, auditErrors, keyAge,
}

// other stands for a value that is not among those that a label may have: what comes from outside names no series.
const other = "other"

// The values of labels that have a list.
var (
	methods    = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	outcomes   = append([]string{"ok", "internal"}, texts(fault.Kinds())...)
	stages     = texts(driverfactory.Stages())
	reasons    = append([]string{"hook", "no_oauth_app", "shared_rollup", "unknown"}, texts(connectedapps.Statuses())...)
	whyEvicted = texts(orchestrator.Evictions())

	refreshOutcomes = []string{
		connectedapps.RefreshOK, oauthapps.CodeInvalidGrant, oauthapps.CodeInvalidClient, oauthapps.CodeRateLimited,
		oauthapps.CodeProviderError, oauthapps.CodeNetworkError, oauthapps.CodeUnknownOutcome,
	}
	flowOutcomes = []string{
		connectedapps.OutcomeConnected, "consent_denied", "flow_expired", "response_mismatch", "provider_refused", "code_refused", "id_token_invalid",
		"identity_mismatch", "identity_unknown", oauthapps.CodeInvalidClient, oauthapps.CodeProviderError, string(fault.AppDisabled), "user_disabled",
	}
)

// What a query was answered from.
const (
	fromSource = "miss"
	fromCache  = "hit"
	fromOld    = "stale" // the cache, and nobody knows whether it is fresh
	fromRollup = "rollup"
	fromNone   = "none" // it was not answered
)

var caches = []string{fromSource, fromCache, fromOld, fromRollup, fromNone}

func texts[T ~string](values []T) []string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = string(v)
	}
	return all
}

// among returns v if it is one of list, and other if not.
func among(list []string, v string) string {
	if slices.Contains(list, v) {
		return v
	}
	return other
}

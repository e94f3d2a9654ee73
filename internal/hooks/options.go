package hooks

import (
	"maps"
	"slices"

	"github.com/behalf-project/behalf/internal/spelling"
)

// The hooks, by their names in cube.js.
const (
	checkAuth               = "checkAuth"
	extendContext           = "extendContext"
	contextToAppID          = "contextToAppId"
	contextToOrchestratorID = "contextToOrchestratorId"
	contextToAPIScopes      = "contextToApiScopes"
	contextToGroups         = "contextToGroups"
	queryRewrite            = "queryRewrite"
	driverFactory           = "driverFactory"
)

// run are the hooks that run, and under which name: some have an old one.
var run = map[string]string{
	checkAuth: checkAuth, extendContext: extendContext, contextToAppID: contextToAppID, contextToOrchestratorID: contextToOrchestratorID,
	contextToAPIScopes: contextToAPIScopes, contextToGroups: contextToGroups, "contextToRoles": contextToGroups,
	queryRewrite: queryRewrite, "queryTransformer": queryRewrite, driverFactory: driverFactory,
}

// idle are the settings that decide nothing about anybody's rows and mean nothing here, and why.
var idle = map[string]string{
	"dbType":                       "the type of a data source is that of its configuration",
	"externalDbType":               "pre-aggregations are Parquet, in objects.url",
	"externalDriverFactory":        "pre-aggregations are Parquet, in objects.url",
	"externalDialectFactory":       "pre-aggregations are Parquet, in objects.url",
	"preAggregationsSchema":        "pre-aggregations are Parquet, in objects.url",
	"scheduledRefreshContexts":     "what people use is fetched again in time, for each of them",
	"scheduledRefreshTimer":        "what people use is fetched again in time, for each of them",
	"scheduledRefreshTimeZones":    "what people use is fetched again in time, for each of them",
	"scheduledRefreshConcurrency":  "what people use is fetched again in time, for each of them",
	"scheduledRefreshBatchSize":    "what people use is fetched again in time, for each of them",
	"refreshWorkerConcurrency":     "what people use is fetched again in time, for each of them",
	"contextToCubeStoreRouterId":   "there is no Cube Store",
	"cacheAndQueueDriver":          "there is no Cube Store",
	"orchestratorOptions":          "queues and caches are bounded by data_sources[].limits, orchestrator and cache",
	"schemaVersion":                "the model is compiled again when a file of it changes",
	"compilerCacheSize":            "models.max_variants says how many compiled models are kept",
	"maxCompilerCacheKeepAlive":    "compiled models are kept until others need their place",
	"updateCompilerCacheKeepAlive": "compiled models are kept until others need their place",
	"logger":                       "the log is that of Behalf",
	"telemetry":                    "there is no telemetry",
	"http":                         "any origin may call, with a token",
	"webSockets":                   "api.web_sockets says it; they are on",
	"webSocketsBasePath":           "clients connect to /, or to /cubejs-api/v1/ws",
	"processSubscriptionsInterval": "subscriptions are asked every 5 s",
	"gracefulShutdown":             "server.grace says how long running work may take",
	"devServer":                    "server.dev_mode says it",
	"serverless":                   "this is a server",
	"fastReload":                   "the model is compiled again when a file of it changes",
	"sqlCache":                     "there is no SQL API yet",
	"sqlPort":                      "there is no SQL API yet",
	"pgSqlPort":                    "there is no SQL API yet",
	"sqlUser":                      "there is no SQL API yet",
	"sqlPassword":                  "there is no SQL API yet",
}

// refused are the settings that would need something that is not here, or whose loss could open something.
var refused = map[string]string{
	"canSwitchSqlUser":                    "it is of the SQL API, which this version does not have",
	"checkSqlAuth":                        "it is of the SQL API, which this version does not have",
	"checkAuthMiddleware":                 "it is middleware of Express; write checkAuth, which replaced it in Cube too",
	"initApp":                             "it is given an app of Express, which needs Node",
	"dialectFactory":                      "it returns a class of Node; the dialect follows from the type of the source",
	"repositoryFactory":                   "it reads files with Node; all files are in models.path, and what differs for an application id is written with COMPILE_CONTEXT",
	"jwt":                                 "write auth.jwt in behalf.yaml",
	"apiSecret":                           "write auth.api_secret in behalf.yaml, or set CUBEJS_API_SECRET",
	"schemaPath":                          "write models.path in behalf.yaml",
	"basePath":                            "the API is at /cubejs-api",
	"allowUngroupedWithoutPrimaryKey":     "ungrouped queries are always allowed without a primary key; leave it out",
	"allowJsDuplicatePropsInSchema":       "leave it out: a key that is given twice is an error",
	"semanticLayerSync":                   "it is a part of Cube Cloud",
	"allowNodeRequire":                    "nothing requires Node here; leave it out",
	"fileRepository":                      "it reads files with Node; all files are in models.path",
	"contextToExternalId":                 "pre-aggregations are not built yet",
	"standalone":                          "leave it out",
	"disableExternalPreAggregationsCheck": "leave it out",
}

// unknown says what is wrong with a key that no list has.
func unknown(key string) string {
	known := slices.Concat(slices.Sorted(maps.Keys(run)), slices.Sorted(maps.Keys(idle)), slices.Sorted(maps.Keys(refused)))
	return "there is no such setting" + spelling.DidYouMean(key, known)
}

import { createRootRoute, createRoute, createRouter, lazyRouteComponent, redirect } from "@tanstack/react-router";
import { validateSearch as validateLiveSearch } from "./activity/search";
import { basePath } from "./api/client";
import { validateSearch as validateAuditSearch } from "./audit/search";
import { validateSearch } from "./query/draft";
import { NotFound } from "./shell/Refusals";
import { Shell } from "./shell/Shell";
import { ErrorBlock } from "./ui/ErrorBlock";

// The paths here and webui.Routes in Go are the same; a test on the Go side compares them.
const root = createRootRoute({
  component: Shell,
  notFoundComponent: NotFound,
  errorComponent: ({ error, reset }) => <ErrorBlock error={error} onRetry={reset} />,
});

const home = createRoute({
  getParentRoute: () => root,
  path: "/",
  beforeLoad: () => {
    throw redirect({ to: "/query", replace: true });
  },
});

const query = createRoute({ getParentRoute: () => root, path: "/query", component: lazyRouteComponent(() => import("./query/QueryPage"), "QueryPage"), validateSearch });

const connectedApps = createRoute({ getParentRoute: () => root, path: "/connected-apps", component: lazyRouteComponent(() => import("./connectedapps/ConnectedAppsPage"), "ConnectedAppsPage") });

const tokens = createRoute({ getParentRoute: () => root, path: "/tokens", component: lazyRouteComponent(() => import("./tokens/TokensPage"), "TokensPage") });

const preAggregations = createRoute({
  getParentRoute: () => root,
  path: "/pre-aggregations",
  component: lazyRouteComponent(() => import("./preaggs/PreAggregationsPage"), "PreAggregationsPage"),
  validateSearch: validateLiveSearch,
});

const activity = createRoute({
  getParentRoute: () => root,
  path: "/activity",
  beforeLoad: () => {
    throw redirect({ to: "/activity/queries", replace: true });
  },
});

const queries = createRoute({
  getParentRoute: () => root,
  path: "/activity/queries",
  component: lazyRouteComponent(() => import("./activity/QueriesPage"), "QueriesPage"),
  validateSearch: validateLiveSearch,
});

const orchestrators = createRoute({
  getParentRoute: () => root,
  path: "/activity/orchestrators",
  component: lazyRouteComponent(() => import("./activity/OrchestratorsPage"), "OrchestratorsPage"),
  validateSearch: validateLiveSearch,
});

const admin = createRoute({
  getParentRoute: () => root,
  path: "/admin",
  beforeLoad: () => {
    throw redirect({ to: "/admin/oauth-apps", replace: true });
  },
});

const oauthApps = createRoute({
  getParentRoute: () => root,
  path: "/admin/oauth-apps",
  component: lazyRouteComponent(() => import("./oauthapps/ListPage"), "ListPage"),
});

const newOAuthApp = createRoute({
  getParentRoute: () => root,
  path: "/admin/oauth-apps/new",
  component: lazyRouteComponent(() => import("./oauthapps/FormPage"), "NewPage"),
  validateSearch: (search: Record<string, unknown>): { preset?: string } =>
    typeof search.preset === "string" ? { preset: search.preset } : {},
});

const editOAuthApp = createRoute({
  getParentRoute: () => root,
  path: "/admin/oauth-apps/$app",
  component: lazyRouteComponent(() => import("./oauthapps/FormPage"), "EditPage"),
  validateSearch: (search: Record<string, unknown>): { created?: boolean; test?: 1 } =>
    search.created === true ? { created: true } : search.test === 1 ? { test: 1 } : {},
});

const audit = createRoute({
  getParentRoute: () => root,
  path: "/admin/audit",
  component: lazyRouteComponent(() => import("./audit/AuditPage"), "AuditPage"),
  validateSearch: validateAuditSearch,
});

const revocations = createRoute({
  getParentRoute: () => root,
  path: "/admin/revocations",
  component: lazyRouteComponent(() => import("./containment/RevocationsPage"), "RevocationsPage"),
});

const tree = root.addChildren([home, query, connectedApps, tokens, preAggregations, activity, queries, orchestrators, admin, oauthApps, newOAuthApp, editOAuthApp, audit, revocations]);

export function makeRouter() {
  return createRouter({ routeTree: tree, basepath: basePath(), defaultPreload: "intent", scrollRestoration: true });
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
}

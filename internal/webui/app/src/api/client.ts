import createClient, { type Middleware } from "openapi-fetch";
import { asProblem, Problem, problemOf } from "./problem";
import type { components, paths } from "./schema";
import { leaveToSignIn } from "./signin";

export type Me = components["schemas"]["Me"];
export type OAuthApp = components["schemas"]["OAuthApp"];
export type NewOAuthApp = components["schemas"]["NewOAuthApp"];
export type OAuthAppPatch = components["schemas"]["OAuthAppPatch"];
export type Preset = components["schemas"]["Preset"];
export type TestReport = components["schemas"]["TestReport"];
export type Discovered = components["schemas"]["Discovered"];
export type ConnectedApp = components["schemas"]["ConnectedApp"];
export type ConnectSession = components["schemas"]["ConnectSession"];
export type DataSource = components["schemas"]["DataSource"];
export type Token = components["schemas"]["Token"];
export type MadeToken = components["schemas"]["MadeToken"];
export type NewToken = components["schemas"]["NewToken"];
export type Revocation = components["schemas"]["Revocation"];
export type RevocationPreview = components["schemas"]["RevocationPreview"];
export type NewRevocation = components["schemas"]["NewRevocation"];
export type AuditRecord = components["schemas"]["AuditRecord"];
export type AuditReport = components["schemas"]["AuditReport"];
export type RunningQuery = components["schemas"]["Query"];
export type CanceledQuery = components["schemas"]["CanceledQuery"];
export type Orchestrator = components["schemas"]["Orchestrator"];
export type Totals = components["schemas"]["Totals"];
export type PreAggregation = components["schemas"]["PreAggregation"];
export type Person = components["schemas"]["Person"];
export type Status = ConnectedApp["status"];

/** The address below which this server is, with no slash at its end. */
export function origin(): string {
  return document.baseURI.replace(/\/[^/]*$/, "");
}

/** The path of the base, "" at the root of a host. */
export function basePath(): string {
  return new URL(document.baseURI).pathname.replace(/\/[^/]*$/, "");
}

// Every failure leaves here as a Problem, so that screens know one kind of error.
const failAsProblem: Middleware = {
  async onResponse({ response }) {
    if (response.ok) return;
    if (response.status === 401) await leaveToSignIn();
    throw await problemOf(response);
  },
  onError({ error }) {
    return asProblem(error);
  },
};

function client() {
  const c = createClient<paths>({
    baseUrl: origin(),
    credentials: "same-origin",
    fetch: (request) => globalThis.fetch(request), // looked up at each call: tests replace it
  });
  c.use(failAsProblem);
  return c;
}

let made: ReturnType<typeof client> | undefined;

function http() {
  made ??= client();
  return made;
}

async function body<T>(call: Promise<{ data?: T }>): Promise<T> {
  const { data } = await call;
  if (data === undefined) throw new Problem({ code: "ui_error", detail: "The answer was empty." });
  return data;
}

const everybodys = (all: boolean) => (all ? { all } : {});

/** The calls of our own API (/api/v1), each named as its operation. */
export const api = {
  me: (signal?: AbortSignal) => body(http().GET("/api/v1/auth/me", { signal })),
  logout: async () => {
    await http().POST("/api/v1/auth/logout", { body: {} });
  },

  connectedApps: async (signal?: AbortSignal) => (await body(http().GET("/api/v1/connected-apps", { signal }))).items,
  connectedApp: (app: string) => body(http().GET("/api/v1/connected-apps/{app}", { params: { path: { app } } })),
  authorize: (app: string, returnTo: string) =>
    body(http().POST("/api/v1/connected-apps/{app}/authorize", { params: { path: { app } }, body: { return_to: returnTo } })),
  refreshGrant: (app: string) => body(http().POST("/api/v1/connected-apps/{app}/refresh", { params: { path: { app } } })),
  keepAccount: async (app: string) => {
    await http().POST("/api/v1/connected-apps/{app}/keep-account", { params: { path: { app } } });
  },
  revoke: async (app: string) => {
    await http().DELETE("/api/v1/connected-apps/{app}", { params: { path: { app } } });
  },
  connectSession: (id: string, signal?: AbortSignal) =>
    body(http().GET("/api/v1/connect-sessions/{id}", { params: { path: { id } }, signal })),

  oauthApps: async (signal?: AbortSignal) => (await body(http().GET("/api/v1/oauth-apps", { signal }))).items,
  oauthApp: (id: string, signal?: AbortSignal) =>
    body(http().GET("/api/v1/oauth-apps/{id}", { params: { path: { id } }, signal })),
  createOAuthApp: (app: NewOAuthApp) => body(http().POST("/api/v1/oauth-apps", { body: app })),
  updateOAuthApp: (id: string, patch: OAuthAppPatch) =>
    body(http().PATCH("/api/v1/oauth-apps/{id}", { params: { path: { id } }, body: patch })),
  pauseOAuthApp: (id: string, note: string) =>
    body(http().POST("/api/v1/oauth-apps/{id}/pause", { params: { path: { id } }, body: { note } })),
  resumeOAuthApp: (id: string) => body(http().POST("/api/v1/oauth-apps/{id}/resume", { params: { path: { id } } })),
  deleteOAuthApp: async (id: string, revoke: boolean) => {
    await http().DELETE("/api/v1/oauth-apps/{id}", {
      params: { path: { id }, query: revoke ? { revoke: true } : {} },
    });
  },
  presets: async (signal?: AbortSignal) => (await body(http().GET("/api/v1/oauth-apps/presets", { signal }))).items,
  discover: (issuer: string) => body(http().POST("/api/v1/oauth-apps/discover", { body: { issuer } })),
  redirectURI: (slug: string, signal?: AbortSignal) =>
    body(http().GET("/api/v1/oauth-apps/redirect-uri", { params: { query: { slug } }, signal })),
  testOAuthApp: (id: string, signal?: AbortSignal) =>
    body(http().POST("/api/v1/oauth-apps/{id}/test", { params: { path: { id } }, signal })),
  testNewOAuthApp: (app: NewOAuthApp, signal?: AbortSignal) => body(http().POST("/api/v1/oauth-apps/test", { body: app, signal })),

  tokens: async (signal?: AbortSignal) => (await body(http().GET("/api/v1/tokens", { signal }))).items,
  createToken: (token: NewToken) => body(http().POST("/api/v1/tokens", { body: token })),
  revokeToken: async (id: string) => {
    await http().DELETE("/api/v1/tokens/{id}", { params: { path: { id } } });
  },

  revocations: async (signal?: AbortSignal) => (await body(http().GET("/api/v1/revocations", { signal }))).items,
  revokeFor: (whose: NewRevocation) => body(http().POST("/api/v1/revocations", { body: whose })),

  audit: (query: NonNullable<paths["/api/v1/audit"]["get"]["parameters"]["query"]>, signal?: AbortSignal) =>
    body(http().GET("/api/v1/audit", { params: { query }, signal })),
  verifyAudit: () => body(http().POST("/api/v1/audit/verify", { body: {} })),

  cancelQuery: (id: string, all: boolean) => body(http().DELETE("/api/v1/queries/{id}", { params: { path: { id }, query: everybodys(all) } })),
  orchestrators: (cursor: string) => body(http().GET("/api/v1/orchestrators", { params: { query: { limit: 200, cursor: cursor || undefined } } })),
  drainOrchestrator: (id: string) => body(http().POST("/api/v1/orchestrators/{id}/drain", { params: { path: { id } } })),
  flushOrchestrator: (id: string) => body(http().POST("/api/v1/orchestrators/{id}/flush", { params: { path: { id } } })),
  preAggregations: (all: boolean, cursor: string, signal?: AbortSignal) =>
    body(http().GET("/api/v1/preaggregations", { params: { query: { ...everybodys(all), limit: 200, cursor: cursor || undefined } }, signal })),

  dataSources: async (signal?: AbortSignal) => (await body(http().GET("/api/v1/data-sources", { signal }))).items,
};

import type { Query } from "../query/draft";
import { origin } from "./client";
import { cubeProblem, Problem, problemOf } from "./problem";
import { type RunAs, runAsOf } from "./runas";
import { leaveToSignIn } from "./signin";

export type Kind = "measure" | "dimension" | "time" | "segment";

export interface MetaMember {
  name: string;
  title: string;
  shortTitle: string;
  type?: string;
  description?: string;
  aggType?: string;
  format?: unknown;
  granularities?: { name: string; title: string }[];
}

export interface MetaCube {
  name: string;
  title: string;
  type?: string;
  description?: string;
  measures: MetaMember[];
  dimensions: MetaMember[];
  segments: MetaMember[];
}

export type Value = string | number | boolean | null | object;
export type Row = Record<string, Value>;

export interface Annotation {
  title?: string;
  shortTitle?: string;
  type?: string;
  format?: unknown;
  granularity?: { name: string };
}

export interface LoadResult {
  rows: Row[];
  annotations: Record<string, Annotation>;
  runAs?: RunAs;
  dataSource: string;
  dbType: string;
  lastRefreshTime?: string;
  slowQuery: boolean;
  rollups: string[];
  total?: number;
  requestID: string;
  milliseconds: number;
  body: unknown;
}

export interface SQLResult {
  sql: string;
  params: unknown[];
  dataSource: string;
}

/** What a query that has not finished is doing, as far as the server says. */
export interface Stage {
  text: string;
  elapsed: number;
}

// The JWT is in memory and nowhere else: a tab that is closed takes it along.
let held: { token: string; expires: number } | undefined;
let asking: Promise<string> | undefined;

const spare = 60_000; // a token is replaced this long before it ends

/** Returns a Cube JWT for the signed-in person; callers at the same time share one request. */
export async function token(now = Date.now()): Promise<string> {
  if (held !== undefined && held.expires - now > spare) return held.token;
  asking ??= fetchToken(now).finally(() => {
    asking = undefined;
  });
  return asking;
}

export function dropToken() {
  held = undefined;
}

async function fetchToken(now: number): Promise<string> {
  const response = await fetch(`${origin()}/auth/cubejs-token`, { credentials: "same-origin" });
  if (response.status === 401) await leaveToSignIn();
  if (!response.ok) throw await problemOf(response);
  const { token: t } = (await response.json()) as { token: string };
  held = { token: t, expires: endOf(t) ?? now + 5 * spare };
  return t;
}

/** When a JWT ends, in milliseconds. It is read, not believed: the server checks it. */
function endOf(jwt: string): number | undefined {
  try {
    const payload = (jwt.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/");
    const { exp } = JSON.parse(atob(payload)) as { exp?: number };
    return typeof exp === "number" ? exp * 1000 : undefined;
  } catch {
    return undefined;
  }
}

async function call(path: string, init: RequestInit & { requestID?: string } = {}): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    const headers = new Headers(init.headers);
    headers.set("Authorization", await token());
    headers.set("Accept", "application/json");
    if (init.body !== undefined) headers.set("Content-Type", "application/json");
    if (init.requestID !== undefined) headers.set("X-Request-Id", init.requestID);
    const response = await fetch(`${origin()}/cubejs-api/v1${path}`, { ...init, headers, credentials: "omit" });
    if (response.ok) return response;
    const problem = await problemOf(response);
    // The secret may have been rotated, or the machine slept past the token's end: one new token, one more try.
    if (attempt === 1 && response.status === 403 && /token/i.test(problem.detail) && !problem.needsConnection) {
      dropToken();
      continue;
    }
    throw problem;
  }
}

export async function meta(signal?: AbortSignal): Promise<MetaCube[]> {
  const response = await call("/meta", { signal });
  const { cubes } = (await response.json()) as { cubes?: MetaCube[] };
  return (cubes ?? []).map((c) => ({
    ...c,
    measures: c.measures ?? [],
    dimensions: c.dimensions ?? [],
    segments: c.segments ?? [],
  }));
}

/**
 * Runs a query to its end. The server holds each call for some seconds and answers "Continue wait" while it works;
 * the same question is then asked again at once, under one request id, and onStage hears what it is doing.
 */
export async function load(
  query: Query,
  { signal, onStage }: { signal?: AbortSignal; onStage?: (s: Stage) => void } = {},
): Promise<LoadResult> {
  const started = performance.now();
  const span = crypto.randomUUID();
  for (let n = 1; ; n++) {
    const asked = performance.now();
    const response = await call("/load", {
      method: "POST",
      body: JSON.stringify({ query }),
      signal,
      requestID: `${span}-span-${n}`,
    });
    const body = (await response.json()) as LoadBody;
    const milliseconds = performance.now() - started;
    if (typeof body.error === "string") {
      if (body.error.includes("Continue wait")) {
        onStage?.(stageOf(body, milliseconds));
        // The server holds each call, so asking again at once is right. One that does not hold is not hammered.
        if (performance.now() - asked < 500) await pause(500, signal);
        continue;
      }
      throw cubeProblem(response.status, body, response.headers.get("X-Request-Id") ?? span);
    }
    if (!Array.isArray(body.data)) {
      throw new Problem({ status: 200, code: "ui_error", detail: "The answer holds no rows." });
    }
    return {
      rows: body.data,
      annotations: {
        ...body.annotation?.dimensions,
        ...body.annotation?.timeDimensions,
        ...body.annotation?.measures,
      },
      runAs: runAsOf(body.runAs, response.headers.get("Behalf-Run-As")),
      dataSource: body.dataSource ?? body.runAs?.dataSource ?? "",
      dbType: body.dbType ?? "",
      lastRefreshTime: body.lastRefreshTime,
      slowQuery: body.slowQuery ?? false,
      rollups: Object.entries(body.usedPreAggregations ?? {}).map(([table, used]) => used.preAggregationId ?? table),
      total: body.total ?? undefined,
      requestID: body.requestId ?? response.headers.get("X-Request-Id") ?? span,
      milliseconds,
      body,
    };
  }
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

interface LoadBody {
  error?: string;
  code?: string;
  stage?: string | { stage?: string; timeElapsed?: number };
  timeElapsed?: number;
  data?: Row[];
  annotation?: Partial<Record<"measures" | "dimensions" | "timeDimensions" | "segments", Record<string, Annotation>>>;
  runAs?: Parameters<typeof runAsOf>[0];
  dataSource?: string;
  dbType?: string;
  lastRefreshTime?: string;
  slowQuery?: boolean;
  usedPreAggregations?: Record<string, { preAggregationId?: string }>;
  total?: number | null;
  requestId?: string;
}

function stageOf(body: LoadBody, elapsed: number): Stage {
  const stage = typeof body.stage === "object" ? body.stage : { stage: body.stage, timeElapsed: body.timeElapsed };
  return { text: stage.stage ?? "", elapsed: stage.timeElapsed ?? elapsed };
}

export async function sql(query: Query, signal?: AbortSignal): Promise<SQLResult> {
  const response = await call("/sql", { method: "POST", body: JSON.stringify({ query }), signal });
  const body = (await response.json()) as {
    sql?: { sql?: [string, unknown[]]; dataSource?: string };
    dataSource?: string;
  };
  const [text = "", params = []] = body.sql?.sql ?? [];
  return { sql: text, params, dataSource: body.dataSource ?? body.sql?.dataSource ?? "" };
}

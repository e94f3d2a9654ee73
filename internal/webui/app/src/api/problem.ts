import { strings } from "../strings";
import type { components } from "./schema";

type Body = Partial<components["schemas"]["Problem"]>;

/** Cube's own shape of a refusal, with what ours adds to it (design.md §4). */
interface CubeBody {
  error?: unknown;
  code?: string;
  requestId?: string;
  oauthApp?: string;
  dataSource?: string;
}

export type Owner = "user" | "admin" | "provider" | "database";

/**
 * Problem is every way in which a call can fail, in one shape: what a person reads, what a program compares, and what
 * to quote when asking for help. Both dialects of the server (RFC 9457 and Cube's) become one.
 */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly owner?: Owner;
  readonly retryable: boolean;
  readonly requestID: string;
  readonly fields: readonly { pointer: string; code: string; detail: string }[];
  readonly actions: readonly { rel: string; href?: string; label: string }[];
  /** The OAuth app to connect, when that is what is missing. */
  readonly app?: string;
  readonly dataSource?: string;

  constructor(
    p: Partial<Omit<Problem, "name" | "message" | "stack" | "cause">> & { code: string; detail: string },
    options?: ErrorOptions,
  ) {
    super(p.detail, options);
    this.name = "Problem";
    this.status = p.status ?? 0;
    this.code = p.code;
    this.title = p.title ?? strings.problem.title;
    this.owner = p.owner;
    this.retryable = p.retryable ?? false;
    this.requestID = p.requestID ?? "";
    this.fields = p.fields ?? [];
    this.actions = p.actions ?? [];
    this.app = p.app;
    this.dataSource = p.dataSource;
  }

  get detail(): string {
    return this.message;
  }

  /** Whether connecting an OAuth app is what helps. */
  get needsConnection(): boolean {
    return this.app !== undefined && (this.code === "authorization_required" || this.code === "reauthorization_required");
  }
}

/** Reads a refusal. What is not JSON did not come from us: a proxy in between has answered. */
export async function problemOf(response: Response): Promise<Problem> {
  const requestID = response.headers.get("X-Request-Id") ?? "";
  let body: unknown;
  try {
    body = await response.clone().json();
  } catch {
    body = undefined;
  }
  if (typeof body !== "object" || body === null) {
    return new Problem({
      status: response.status,
      code: `http_${response.status}`,
      title: strings.problem.title,
      detail: strings.problem.notOurs(response.status),
      owner: "admin",
      retryable: response.status >= 500,
      requestID,
    });
  }
  if ("error" in body) return cubeProblem(response.status, body, requestID);
  const p = body as Body;
  return new Problem({
    status: p.status ?? response.status,
    code: p.code ?? `http_${response.status}`,
    title: p.title ?? strings.problem.title,
    detail: p.detail ?? strings.problem.noDetail,
    owner: p.owner,
    retryable: p.retryable ?? false,
    requestID: p.request_id ?? requestID,
    fields: p.errors,
    actions: p.actions,
  });
}

export function cubeProblem(status: number, body: CubeBody, requestID: string): Problem {
  const code = body.code ?? `http_${status}`;
  return new Problem({
    status,
    code,
    title: strings.problem.queryTitle[code] ?? strings.problem.queryFailed,
    detail: typeof body.error === "string" ? body.error.replace(/^Error: /, "") : strings.problem.noDetail,
    owner: code.endsWith("authorization_required") ? "user" : undefined,
    retryable: status >= 500,
    requestID: body.requestId ?? requestID,
    app: body.oauthApp,
    dataSource: body.dataSource,
  });
}

/** Makes a Problem of whatever was thrown: a Problem as it is, a failed fetch as "not reachable". */
export function asProblem(thrown: unknown): Problem {
  if (thrown instanceof Problem) return thrown;
  if (thrown instanceof TypeError && /fetch|network|load failed/i.test(thrown.message)) {
    return new Problem(
      { code: "unreachable", title: strings.problem.unreachableTitle, detail: strings.problem.unreachable, retryable: true },
      { cause: thrown },
    );
  }
  return new Problem({ code: "ui_error", detail: strings.problem.ours }, { cause: thrown });
}

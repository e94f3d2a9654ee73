/** RunAs says whose identity ran a query, and how it came to that. */
export interface RunAs {
  identity: "user" | "service_account";
  username: string;
  dataSource: string;
  /** The service account's name, where there is one to show. */
  account: string;
  /** Status of the person's grant when the query ran. */
  credential: string;
  /** Why it was the service account. */
  reason: string;
  /** Whether the result was kept from an earlier run. */
  cached: boolean;
}

interface RunAsBody {
  identity?: string;
  username?: string;
  dataSource?: string;
  account?: string;
  credential?: string;
  reason?: string;
  cached?: boolean;
}

/** Joins the body's runAs with the header Behalf-Run-As: each knows things that the other does not. */
export function runAsOf(body: RunAsBody | undefined, header: string | null): RunAs | undefined {
  const first = parseRunAs(header ?? "")[0];
  const identity = body?.identity ?? first?.item;
  if (identity !== "user" && identity !== "service_account") return undefined;
  const text = (name: string) => {
    const v = first?.params[name];
    return typeof v === "string" ? v : "";
  };
  return {
    identity,
    username: body?.username ?? text("username"),
    dataSource: body?.dataSource ?? text("data_source"),
    account: body?.account ?? text("account"),
    credential: body?.credential ?? "",
    reason: body?.reason ?? text("reason"),
    cached: body?.cached ?? first?.params.cached === true,
  };
}

interface Item {
  item: string;
  params: Record<string, string | true>;
}

/** Reads a structured field list of tokens with parameters (RFC 9651 §4.2.1), as far as the server writes it. */
export function parseRunAs(header: string): Item[] {
  const items: Item[] = [];
  let rest = header.trim();
  while (rest !== "") {
    const token = /^[A-Za-z*][\w:/.!#$%&'*+^`|~-]*/.exec(rest)?.[0];
    if (token === undefined) return items;
    rest = rest.slice(token.length);
    const params: Item["params"] = {};
    for (;;) {
      const m = /^\s*;\s*([a-z*][a-z0-9_.*-]*)(?:=(?:"((?:[^"\\]|\\["\\])*)"|\?1|([^\s;,"]+)))?/.exec(rest);
      if (m === null) break;
      const [whole, name = "", quoted, bare] = m;
      params[name] = quoted !== undefined ? quoted.replace(/\\(.)/g, "$1") : (bare ?? true);
      rest = rest.slice(whole.length);
    }
    items.push({ item: token, params });
    const comma = /^\s*,\s*/.exec(rest)?.[0];
    if (comma === undefined) return items;
    rest = rest.slice(comma.length);
  }
  return items;
}

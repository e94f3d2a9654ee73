/** What the address of the page says is wanted. */
export interface Search {
  action?: string;
  actor?: string;
  object?: string;
  refused?: boolean;
  since?: string;
}

const hours: Record<string, number> = { "1h": 1, "24h": 24, "7d": 168, "30d": 720 };

export function validateSearch(search: Record<string, unknown>): Search {
  const text = (name: string) => (typeof search[name] === "string" && search[name] !== "" ? { [name]: search[name] } : {});
  return {
    ...text("action"),
    ...text("actor"),
    ...text("object"),
    ...(search.refused === true ? { refused: true } : {}),
    ...(typeof search.since === "string" && search.since in hours ? { since: search.since } : {}),
  };
}

/** search as the API takes it. The beginning is rounded to a minute, so that one question has one answer in the cache. */
export function filterOf({ action, actor, object, refused, since }: Search, now = Date.now()) {
  const from = since === undefined ? undefined : hours[since];
  return {
    action,
    actor,
    object,
    refused,
    since: from === undefined ? undefined : new Date(Math.floor(now / 60_000) * 60_000 - from * 3_600_000).toISOString(),
  };
}

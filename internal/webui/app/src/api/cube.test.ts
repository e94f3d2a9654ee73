import { beforeEach, expect, test } from "vitest";
import { server } from "../testing";
import { dropToken, load, type Stage } from "./cube";

const jwt = (exp: number) => `h.${btoa(JSON.stringify({ exp }))}.s`;
const later = () => Math.floor(Date.now() / 1000) + 900;
const rows = { data: [{ "orders.count": "3" }], annotation: {}, dataSource: "lake" };

beforeEach(dropToken);

test("asks again while the server says Continue wait, under one request id", async () => {
  let n = 0;
  const calls = server({
    "GET /auth/cubejs-token": { token: jwt(later()) },
    "POST /cubejs-api/v1/load": () => (++n < 3 ? { error: "Continue wait", stage: "#1 in queue", timeElapsed: 10 } : rows),
  });
  const stages: Stage[] = [];
  const result = await load({ measures: ["orders.count"] }, { onStage: (s) => stages.push(s) });
  expect(result.rows).toEqual(rows.data);
  expect(stages.map((s) => s.text)).toEqual(["#1 in queue", "#1 in queue"]);
  const ids = calls.filter((c) => c.route.endsWith("/load")).map((c) => c.headers.get("X-Request-Id"));
  expect(new Set(ids.map((id) => id?.replace(/\d+$/, ""))).size).toBe(1);
  expect(calls.filter((c) => c.route.includes("token")).length).toBe(1);
});

test("gets one new token when the old one is refused, and only one", async () => {
  let refused = 1;
  const calls = server({
    "GET /auth/cubejs-token": () => ({ token: jwt(later()) }),
    "POST /cubejs-api/v1/load": () => (refused-- > 0 ? new Response('{"error":"Invalid token"}', { status: 403 }) : rows),
  });
  await load({ measures: ["orders.count"] });
  expect(calls.filter((c) => c.route.includes("token")).length).toBe(2);

  refused = 9;
  await expect(load({ measures: ["orders.count"] })).rejects.toMatchObject({ status: 403, detail: "Invalid token" });
  expect(refused).toBe(7);
});

test("a token near its end is replaced before it is used", async () => {
  const calls = server({
    "GET /auth/cubejs-token": () => ({ token: jwt(Math.floor(Date.now() / 1000) + 30) }),
    "POST /cubejs-api/v1/load": rows,
  });
  await load({ measures: ["orders.count"] });
  await load({ measures: ["orders.count"] });
  expect(calls.filter((c) => c.route.includes("token")).length).toBe(2);
});

test("a refusal for lack of a grant names the app, and is not taken for a bad token", async () => {
  const calls = server({
    "GET /auth/cubejs-token": { token: jwt(later()) },
    "POST /cubejs-api/v1/load": () =>
      new Response(JSON.stringify({ error: "Authorization required: token missing", code: "authorization_required", oauthApp: "dbx" }), { status: 403 }),
  });
  await expect(load({ measures: ["orders.count"] })).rejects.toMatchObject({ needsConnection: true, app: "dbx" });
  expect(calls.filter((c) => c.route.endsWith("/load")).length).toBe(1);
});

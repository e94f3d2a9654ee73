import { describe, expect, test } from "vitest";
import { asProblem, Problem, problemOf } from "./problem";

const json = (status: number, body: unknown, type = "application/json") =>
  new Response(JSON.stringify(body), { status, headers: { "Content-Type": type, "X-Request-Id": "from-header" } });

describe("problemOf", () => {
  test("reads a problem of our API", async () => {
    const p = await problemOf(json(409, { title: "Taken", status: 409, code: "conflict", detail: "It is taken.", request_id: "r1", owner: "admin" }));
    expect(p).toMatchObject({ status: 409, code: "conflict", detail: "It is taken.", requestID: "r1", owner: "admin" });
  });
  test("reads a refusal of the Cube API that wants a connection", async () => {
    const p = await problemOf(json(403, { error: "Connect", code: "authorization_required", oauthApp: "dbx", dataSource: "lake", requestId: "r2" }));
    expect(p).toMatchObject({ code: "authorization_required", app: "dbx", dataSource: "lake", requestID: "r2", needsConnection: true });
  });
  test("takes Cube's own prefix off", async () => {
    expect((await problemOf(json(500, { error: "Error: boom" }))).detail).toBe("boom");
  });
  test("says that a page of HTML came from a proxy", async () => {
    const p = await problemOf(new Response("<html>Bad gateway</html>", { status: 502, headers: { "X-Request-Id": "from-header" } }));
    expect(p).toMatchObject({ code: "http_502", owner: "admin", retryable: true, requestID: "from-header" });
    expect(p.detail).not.toContain("<html>");
  });
});

test("asProblem names a network that is down, and keeps a Problem as it is", () => {
  expect(asProblem(new TypeError("Failed to fetch")).code).toBe("unreachable");
  const p = new Problem({ code: "x", detail: "y" });
  expect(asProblem(p)).toBe(p);
  expect(asProblem(new Error("secret stack")).detail).not.toContain("secret");
});

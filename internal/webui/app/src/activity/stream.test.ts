import { expect, test, vi } from "vitest";
import { browser } from "../api/signin";
import { problem, server } from "../testing";
import { type Change, follow } from "./stream";

const event = (id: string) => `event: queries\ndata: ${JSON.stringify({ whole: false, items: [{ id }], gone: [], more: false })}\n\n`;

/** What is told of an answer that comes in these pieces. */
async function told(pieces: string[], onChange: (change: Change<{ id: string }>, stop: AbortController) => void = () => {}) {
  const stop = new AbortController();
  const body = new ReadableStream({
    start(c) {
      for (const piece of pieces) c.enqueue(new TextEncoder().encode(piece));
      c.close();
    },
  });
  server({ "GET /api/v1/events": () => new Response(body) });
  const ids: string[] = [];
  await follow<{ id: string }>("queries", false, stop.signal, (change) => {
    ids.push(...change.items.map(({ id }) => id));
    onChange(change, stop);
  });
  return ids;
}

test("events are read however they are cut, and signs of life between them are none", async () => {
  const text = `${event("a")}: still here\n\n${event("ü")}`;
  expect(await told([text.slice(0, 9), text.slice(9, 80), text.slice(80)])).toEqual(["a", "ü"]);
});

test("nothing is told once the view is gone, though it came in the same piece", async () => {
  expect(await told([event("a") + event("b"), event("c")], (_, stop) => stop.abort())).toEqual(["a"]);
});

test("the end of a right is a problem, and the end of the session leads to sign-in", async () => {
  const end = (status: number, code: string) => [`event: end\ndata: ${JSON.stringify({ status, code, detail: "No more." })}\n\n`];
  await expect(told(end(403, "admin_required"))).rejects.toMatchObject({ code: "admin_required", detail: "No more.", retryable: false });
  const go = vi.spyOn(browser, "go").mockImplementation(() => {});
  void told(end(401, "session_ended"));
  await vi.waitFor(() => expect(go).toHaveBeenCalledWith(expect.stringContaining("/login?rd=")));
});

test("a refusal is what the server said", async () => {
  server({ "GET /api/v1/events": problem(429, "too_many_streams", "Close one.", { retryable: true }) });
  await expect(follow("queries", true, new AbortController().signal, () => {})).rejects.toMatchObject({ code: "too_many_streams", retryable: true });
});

import { act, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { useState } from "react";
import { expect, test, vi } from "vitest";
import type { RunningQuery } from "../api/client";
import { alice, problem, server, show, stream } from "../testing";
import { Queries } from "./QueriesPage";
import type { Search } from "./search";
import { live as l, queries as t } from "./strings";

const query = (part: Partial<RunningQuery>): RunningQuery => ({
  id: "qry_1",
  person: { principal: "usr_1", username: "alice" },
  request_id: "req_1",
  data_source: "default",
  domain: "dom_1",
  kind: "statement",
  of: "",
  statement: "7dfda7e86851d0c2",
  run_as: "user",
  account: "",
  state: "running",
  place: 0,
  since: "2026-01-01T00:00:00Z",
  askers: 1,
  ...part,
});

const change = (items: RunningQuery[], gone: string[] = [], whole = false) => ({ whole, items, gone, more: false });
const open = (person = "", state = "Running") => screen.findByRole("button", { name: `Query ${person}(${state})` });

/** The page with an address of its own. */
function Page({ first = {} }: { first?: Search }) {
  const [search, setSearch] = useState<Search>(first);
  return <Queries search={search} onSearch={setSearch} />;
}

test("rows come, change and end where they are, and none takes the focus", async () => {
  const events = stream("queries");
  server({ "GET /api/v1/events": () => events.response });
  show(<Page />);
  events.send(change([query({})], [], true));
  const name = await open();
  expect(await screen.findByText(t.summary(1, 0))).toBeTruthy();
  name.focus();
  events.send(change([query({ id: "qry_2", state: "waiting", place: 3 })], ["qry_1"]));
  await open("", t.place(3));
  expect((await open("", "Ended")).contains(document.activeElement)).toBe(true);
  await userEvent.keyboard("{ArrowDown}");
  expect(document.activeElement?.textContent).toContain(t.place(3));
});

test("Pause holds the view, and says what it does not show", async () => {
  const events = stream("queries");
  server({ "GET /api/v1/events": () => events.response });
  show(<Page />);
  events.send(change([], [], true));
  await screen.findByText(t.emptyTitle);
  await userEvent.click(screen.getByRole("button", { name: l.pause }));
  events.send(change([query({})]));
  await screen.findByText(l.waiting(t.news(1, 0)));
  expect(screen.queryByRole("table")).toBeNull();
  await userEvent.click(screen.getByRole("button", { name: l.resume }));
  await open();
});

test("off, the view asks once for each Refresh", async () => {
  let events = stream("queries");
  const calls = server({ "GET /api/v1/events": () => events.response });
  show(<Page first={{ every: "off" }} />);
  events.send(change([], [], true));
  await screen.findByText(t.emptyTitle);
  await screen.findByText(l.phases.off);
  events = stream("queries");
  await userEvent.click(screen.getByRole("button", { name: l.refresh }));
  events.send(change([query({})], [], true));
  await open();
  expect(calls.length).toBe(2);
});

test("a connection that ends is made again, and what was missed has ended", async () => {
  let events = stream("queries");
  server({ "GET /api/v1/events": () => events.response });
  show(<Page />);
  events.send(change([query({})], [], true));
  await open();
  const first = events;
  events = stream("queries");
  first.end({ status: 503, code: "stopping", title: "Stopping", detail: "The server is stopping. Connect again.", retryable: true });
  await screen.findByText(l.phases.reconnecting);
  await screen.findByText("The server is stopping. Connect again.");
  expect(screen.getByRole("table")).toBeTruthy(); // what was known stays
  events.send(change([query({ id: "qry_2" })], [], true));
  await open("", "Ended");
  await screen.findByText(l.phases.live);
});

test("a view that is refused says why, and is not asked for again", async () => {
  const calls = server({ "GET /api/v1/events": problem(403, "admin_required", "Only an admin may do this.") });
  show(<Page first={{ all: true }} />);
  expect((await screen.findByRole("alert")).textContent).toContain("Only an admin may do this.");
  await screen.findByText(l.phases.failed);
  expect(calls.length).toBe(1);
});

test("what may no longer be seen is not shown any more", async () => {
  const events = stream("queries");
  server({ "GET /api/v1/events": () => events.response });
  show(<Page first={{ all: true }} />);
  events.send(change([query({ person: { principal: "usr_2", username: "bob" } })], [], true));
  await screen.findAllByText(/bob/);
  events.end({ status: 403, code: "admin_required", title: "Denied", detail: "Only an admin may do this." });
  expect((await screen.findByRole("alert")).textContent).toContain("Only an admin may do this.");
  expect(screen.queryByText(/bob/)).toBeNull();
});

test("everybody's is for admins, whatever the address says", async () => {
  const events = stream("queries");
  const urls: string[] = [];
  server({ "GET /api/v1/events": () => events.response });
  const fetched = globalThis.fetch;
  vi.stubGlobal("fetch", (input: RequestInfo | URL, init?: RequestInit) => {
    urls.push(String(input instanceof Request ? input.url : input));
    return fetched(input, init);
  });
  show(<Page first={{ all: true }} />, { ...alice, roles: [] });
  events.send(change([], [], true));
  await screen.findByText(t.emptyTitle);
  expect(urls.some((u) => u.includes("all="))).toBe(false);
  expect(screen.queryByRole("radio", { name: l.everybodys })).toBeNull();
});

test.each([
  ["the database let go", { confirmed: true, goes_on: false }, t.confirmed],
  ["it has not let go yet", { confirmed: false, goes_on: false }, t.asked],
  ["others wait for it too", { confirmed: false, goes_on: true }, t.goesOn],
])("cancelling: %s", async (_, answer, says) => {
  const events = stream("queries");
  const calls = server({ "GET /api/v1/events": () => events.response, "DELETE /api/v1/queries/qry_1": { query: query({}), ...answer } });
  show(<Page />);
  events.send(change([query({ askers: 2 })], [], true));
  (await open()).focus();
  await userEvent.keyboard("{Delete}");
  const dialog = await screen.findByRole("dialog");
  within(dialog).getByText(t.cancelOthers(2));
  await userEvent.click(within(dialog).getByRole("button", { name: t.cancelOf("query") }));
  await vi.waitFor(() => expect(screen.getAllByText(says).length).toBe(2)); // shown, and announced
  expect(calls.filter((c) => c.route.startsWith("DELETE")).length).toBe(1);
});

test("what has ended meanwhile is named as that, with when it was seen to", async () => {
  const events = stream("queries");
  server({ "GET /api/v1/events": () => events.response, "DELETE /api/v1/queries/qry_1": problem(404, "not_found", "It has ended.") });
  show(<Page />);
  events.send(change([query({})], [], true));
  (await open()).focus();
  await userEvent.keyboard("{Delete}");
  await userEvent.click(await screen.findByRole("button", { name: t.cancelOf("query") }));
  await vi.waitFor(() => expect(screen.getAllByText(/^Already finished at \d\d:\d\d:\d\d/).length).toBe(2));
});

test("filters are the address, and a row opens from it", async () => {
  const events = stream("queries");
  server({ "GET /api/v1/events": () => events.response });
  show(<Page first={{ text: "orders", row: "qry_2" }} />);
  events.send(change([query({}), query({ id: "qry_2", kind: "rollup_build", of: "orders.main", run_as: "service_account", account: "svc" })], [], true));
  const details = await screen.findByRole("dialog");
  expect(details.textContent).toContain(t.service("svc"));
  expect(screen.getByRole("table").textContent).not.toContain("Query (");
  await userEvent.keyboard("{Escape}");
  await act(async () => {});
  await userEvent.clear(screen.getByRole("searchbox", { name: l.search }));
  await open();
});

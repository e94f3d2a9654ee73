import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { useState } from "react";
import { expect, test } from "vitest";
import type { Search } from "../activity/search";
import { live as l } from "../activity/strings";
import type { PreAggregation } from "../api/client";
import { alice, problem, server, show } from "../testing";
import { PreAggregations } from "./PreAggregationsPage";
import { stateOf } from "./state";
import { preaggs as t } from "./strings";

const of = (part: Partial<PreAggregation> = {}): PreAggregation => ({
  id: "rol_1",
  name: "orders.main",
  owner: { principal: "usr_1", username: "alice" },
  shared: false,
  data_source: "default",
  domain: "dom_1",
  state: "done",
  structure: "4097d5968a46",
  partitions: 9,
  rows: 731,
  bytes: 14_336,
  built_at: "2026-01-02T00:00:00Z",
  oldest_built_at: "2026-01-01T00:00:00Z",
  ...part,
});

function Page({ first = {} }: { first?: Search }) {
  const [search, setSearch] = useState<Search>(first);
  return <PreAggregations search={search} onSearch={setSearch} />;
}

test.each<[string, Partial<PreAggregation>]>([
  ["done", {}],
  ["empty", { rows: 0 }],
  ["stale", { state: "failed" }],
  ["failed", { state: "failed", partitions: 0 }],
  ["kept", { state: "unknown" }],
  ["none", { state: "unknown", partitions: 0 }],
  ["running", { state: "running" }],
  ["waiting", { state: "waiting" }],
])("%s is a state that people have a word and a meaning for", (state, part) => {
  expect(stateOf(of(part))).toBe(state);
  expect(t.states[state]).toBeTruthy();
  expect(t.meanings[state]).toBeTruthy();
});

test("rows say whose they are, how much there is, and open to all of it", async () => {
  server({ "GET /api/v1/preaggregations": { items: [of(), of({ id: "rol_2", name: "", shared: true, owner: { principal: "", username: "" }, rows: 0 })], next_cursor: "" } });
  show(<Page />);
  const row = (await screen.findByRole("button", { name: "orders.main (Ready)" })).closest("tr") as HTMLElement;
  for (const text of [t.you, "731", "9", "14 KiB"]) within(row).getByText(text);
  const other = screen.getByRole("button", { name: `${t.unnamed} (${t.states.empty})` }).closest("tr") as HTMLElement;
  within(other).getByText(t.shared);
  expect(other.querySelector("[data-tone=warn]")).toBeTruthy(); // no row is a warning
  await userEvent.click(within(row).getByRole("button"));
  const details = await screen.findByRole("dialog");
  within(details).getByText(t.meanings.done ?? "");
  within(details).getByText(t.ownWhy("alice"));
});

test("everybody's is looked at once for each Refresh, because each look is recorded", async () => {
  const calls = server({ "GET /api/v1/preaggregations": { items: [], next_cursor: "" } });
  show(<Page first={{ all: true }} />);
  await screen.findByText(t.emptyTitle);
  await screen.findByText(l.phases.off);
  expect(calls.length).toBe(1);
  await userEvent.click(screen.getByRole("button", { name: l.refresh }));
  await expect.poll(() => calls.length).toBe(2);
});

test("the next page is fetched with the cursor, and filters look at what is here", async () => {
  const calls = server({
    "GET /api/v1/preaggregations": () => ({ items: [of({ id: `rol_${calls.length}`, name: `orders.p${calls.length}` })], next_cursor: calls.length > 1 ? "" : "rol_1" }),
  });
  show(<Page first={{ every: "off" }} />, { ...alice, roles: [] });
  await userEvent.click(await screen.findByRole("button", { name: t.next }));
  await screen.findByText("orders.p2");
  await userEvent.type(screen.getByRole("searchbox", { name: l.search }), "P1");
  expect(screen.queryByText("orders.p2")).toBeNull();
  screen.getByText("orders.p1");
  await userEvent.selectOptions(screen.getByLabelText(l.state), "failed");
  await screen.findByText(t.noMatch);
});

test("a list that cannot be shown says why", async () => {
  server({ "GET /api/v1/preaggregations": problem(503, "audit_unavailable", "The audit log cannot be written.") });
  show(<Page />);
  expect((await screen.findByRole("alert")).textContent).toContain("The audit log cannot be written.");
});

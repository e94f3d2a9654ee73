import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { useState } from "react";
import { expect, test } from "vitest";
import type { Orchestrator, Totals } from "../api/client";
import { server, show, stream } from "../testing";
import { Orchestrators } from "./OrchestratorsPage";
import type { Search } from "./search";
import { orchestrators as t } from "./strings";

const of = (name: string, part: Partial<Orchestrator> = {}): Orchestrator => ({
  id: `orc_${name}`,
  name: `CUBE_APP_${name}`,
  username: name,
  people: [{ principal: `usr_${name}`, username: name }],
  more_people: false,
  state: "warm",
  sessions: { open: 2, idle: 1 },
  waiting: 0,
  running: 1,
  cache: { results: 3, bytes: 2048 },
  used_at: "2026-01-01T00:00:00Z",
  ...part,
});

const totals: Totals = {
  orchestrators: 2,
  max_orchestrators: 10_000,
  sessions: { open: 4, idle: 2, waiting: 0, max: 256 },
  waiting: 5,
  running: 2,
  cache: { results: 6, bytes: 4096, max_bytes: 268_435_456 },
};

const change = (items: Orchestrator[], part: object = {}) => ({ whole: true, items, gone: [], more: false, totals, ...part });
const personal = { items: [{ name: "default", oauth_app: "databricks" }] };

function Page() {
  const [search, setSearch] = useState<Search>({});
  return <Orchestrators search={search} onSearch={setSearch} />;
}

/** The page over these orchestrators, once it shows them. */
async function over(items: Orchestrator[], sources: object = personal, more: object = {}, answers: Record<string, unknown> = {}) {
  const events = stream("orchestrators");
  const calls = server({ "GET /api/v1/events": () => events.response, "GET /api/v1/data-sources": sources, ...answers });
  show(<Page />);
  events.send(change(items, more));
  return { calls, isolation: await screen.findByRole("region", { name: t.isolation.title }) };
}

test("totals stand against what bounds them", async () => {
  await over([of("alice"), of("bob")]);
  const all = screen.getByText(t.totals.waiting(5)).closest("dl")?.textContent ?? "";
  for (const text of ["2 / 10,000", "4 / 256", "4 KiB / 256 MiB", t.totals.running(2)]) expect(all).toContain(text);
});

test("the isolation panel is the proof that nobody shares an orchestrator", async () => {
  const { isolation } = await over([of("alice"), of("bob")]);
  expect(isolation.textContent).toContain(t.isolation.apart);
  expect(isolation.textContent).toContain(t.isolation.proof(2, 2));
});

test("people who share one are named in red, where credentials are personal", async () => {
  const both = of("tenant", { people: [{ principal: "usr_1", username: "alice" }, { principal: "usr_2", username: "bob" }] });
  const { isolation } = await over([both, of("carol")]);
  await within(isolation).findByText(t.isolation.merged(1));
  expect(isolation.querySelector("[data-tone=bad]")).toBeTruthy();
  expect(isolation.textContent).toContain("CUBE_APP_tenant: alice and bob");
});

test("more people than are named are several, too", async () => {
  const { isolation } = await over([of("tenant", { more_people: true })]);
  await within(isolation).findByText(t.isolation.merged(1));
});

test("without personal credentials a shared one is no alarm", async () => {
  const both = of("tenant", { more_people: true });
  await over([both], { items: [{ name: "default", oauth_app: "" }] });
  await screen.findByText(t.isolation.harmless);
});

test("those beyond the view are compared when it is asked for", async () => {
  const both = of("zoe", { more_people: true });
  const page = { "GET /api/v1/orchestrators": { items: [of("alice"), both], totals, next_cursor: "" } };
  const { isolation } = await over([of("alice")], personal, { more: true }, page);
  expect(isolation.textContent).toContain(t.isolation.partly(1, 2));
  await userEvent.click(within(isolation).getByRole("button", { name: t.isolation.checkAll }));
  await screen.findByText(t.isolation.merged(1));
});

test("at the bounds it says who waits, and whose goes next", async () => {
  const full = { totals: { ...totals, orchestrators: 10_000, sessions: { ...totals.sessions, waiting: 3 } } };
  await over([of("alice", { running: 0, used_at: "2026-01-02T00:00:00Z" }), of("bob", { running: 0 }), of("carol")], personal, full);
  await screen.findByText(t.sessionsFull(3));
  await screen.findByText(t.orchestratorsFullWhy("bob"));
});

test("draining and flushing say what they do before, and what they did after", async () => {
  const acts = {
    "POST /api/v1/orchestrators/orc_alice/drain": { name: "CUBE_APP_alice", closed: 1, under_way: 1 },
    "POST /api/v1/orchestrators/orc_alice/flush": { name: "CUBE_APP_alice", results: 3, pre_aggregations: 2 },
  };
  await over([of("alice")], personal, {}, acts);
  const row = async (item: string) => {
    await userEvent.click(screen.getByRole("button", { name: "Actions: alice" }));
    await userEvent.click(await screen.findByRole("menuitem", { name: `${item}…` }));
    return screen.findByRole("dialog");
  };
  let dialog = await row(t.drain);
  for (const step of t.drainWill(1, 1)) within(dialog).getByText(step);
  await userEvent.click(within(dialog).getByRole("button", { name: t.drain }));
  await screen.findAllByText(`alice: ${t.drained(1, 1)}`);
  dialog = await row(t.flush);
  for (const step of t.flushWill(3, "2 KiB")) within(dialog).getByText(step);
  await userEvent.click(within(dialog).getByRole("button", { name: t.flush }));
  await screen.findAllByText(`alice: ${t.flushed(3, 2)}`);
});

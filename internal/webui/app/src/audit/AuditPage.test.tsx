import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";
import type { AuditRecord, AuditReport } from "../api/client";
import { problem, server, show } from "../testing";
import { Log } from "./AuditPage";
import { filterOf, validateSearch } from "./search";
import { audit as t } from "./strings";

const record = (part: Partial<AuditRecord>): AuditRecord => ({
  id: "aud_1",
  seq: 1,
  at: "2026-01-01T00:00:00Z",
  actor: "usr_1",
  actor_name: "alice",
  action: "grant.created",
  object: "con_1",
  outcome: "ok",
  writer: "w1",
  position: 7,
  hash: "ab".repeat(32),
  ...part,
});
const report: AuditReport = { intact: true, records: 48211, chains: 7, last_seq: 48211, breaks: [], ends: [{ writer: "w1", position: 9, hash: "cd".repeat(32) }], verified_at: "2026-01-01T00:00:00Z" };

test("records say in words who did what, and open to their facts", async () => {
  server({
    "GET /api/v1/audit": {
      items: [record({}), record({ id: "aud_2", actor: "system", actor_name: "", action: "grant.refresh_refused", outcome: "invalid_grant", detail: { oauth_app: "dbx" } })],
      next_cursor: "",
    },
  });
  show(<Log search={{}} onSearch={() => {}} />);
  const row = (await screen.findByText(t.actions["grant.refresh_refused"] ?? "", { selector: "th span" })).closest("tr") as HTMLElement;
  expect(within(row).getByText(t.system)).toBeTruthy();
  expect(within(row).getByText("invalid_grant")).toBeTruthy();
  await userEvent.click(within(row).getByRole("button", { expanded: false }));
  expect(screen.getByText("w1 #7")).toBeTruthy();
  expect(within(row).getByRole("button", { expanded: true })).toBeTruthy();
});

test("older records are fetched with the cursor and the filter of the page before", async () => {
  const calls = server({
    "GET /api/v1/audit": () => ({ items: [record({ id: calls.length > 1 ? "aud_2" : "aud_1" })], next_cursor: calls.length > 1 ? "" : "17" }),
  });
  show(<Log search={{ action: "grant.created" }} onSearch={() => {}} />);
  await userEvent.click(await screen.findByRole("button", { name: t.older }));
  await vi.waitFor(() => expect(calls.length).toBe(2));
  await vi.waitFor(() => expect(screen.queryByRole("button", { name: t.older })).toBeNull());
});

test("filters are the address, entered when they are finished", async () => {
  server({ "GET /api/v1/audit": { items: [], next_cursor: "" } });
  const onSearch = vi.fn();
  show(<Log search={{ refused: true }} onSearch={onSearch} />);
  await screen.findByText(t.emptyFiltered);
  await userEvent.type(screen.getByLabelText(t.object), "con_1");
  expect(onSearch).not.toHaveBeenCalled();
  await userEvent.keyboard("{Enter}");
  expect(onSearch).toHaveBeenLastCalledWith({ refused: true, object: "con_1" });
  await userEvent.click(screen.getByRole("button", { name: t.clear }));
  expect(onSearch).toHaveBeenLastCalledWith({});
});

test("an address of somebody else's making becomes no filter that the API would refuse", () => {
  expect(validateSearch({ action: "x", actor: 7, since: "yesterday", refused: "yes", evil: 1 })).toEqual({ action: "x" });
  expect(filterOf({ since: "1h" }, Date.UTC(2026, 0, 1, 12, 0, 30)).since).toBe("2026-01-01T11:00:00.000Z");
});

test("a verification names what to keep, or the first bad record of each chain", async () => {
  let answer = report;
  server({ "GET /api/v1/audit": { items: [record({})], next_cursor: "" }, "POST /api/v1/audit/verify": () => answer });
  show(<Log search={{}} onSearch={() => {}} />);
  await userEvent.click(await screen.findByRole("button", { name: t.verify }));
  await screen.findByText("cd".repeat(32));
  answer = { ...report, intact: false, breaks: [{ reason: "missing", id: "", writer: "w1", position: 5, detail: "It was removed." }] };
  await userEvent.click(screen.getByRole("button", { name: t.verify }));
  expect((await screen.findByRole("alert")).textContent).toContain(t.brokenAt("w1", 5));
});

test("a list that cannot be shown says why", async () => {
  server({ "GET /api/v1/audit": problem(503, "audit_unavailable", "The audit log cannot be written.") });
  show(<Log search={{}} onSearch={() => {}} />);
  expect((await screen.findByRole("alert")).textContent).toContain("The audit log cannot be written.");
});

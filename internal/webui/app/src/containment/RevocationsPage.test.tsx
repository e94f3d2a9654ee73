import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import type { NewRevocation, Revocation } from "../api/client";
import { problem, server, show } from "../testing";
import { Revocations } from "./RevocationsPage";
import { containment as t } from "./strings";

const revocation = (part: Partial<Revocation>): Revocation => ({
  id: "rev_1",
  actor: "usr_1",
  oauth_app: "dbx",
  reason: "",
  people: 34,
  connections: 34,
  created_at: "2026-01-01T00:00:00Z",
  provider: { total: 34, done: 30, failed: 1, unsupported: 0, waiting: 3 },
  ...part,
});

test("a revocation says who lost access, and how far the providers are", async () => {
  server({ "GET /api/v1/revocations": { items: [revocation({}), revocation({ id: "rev_2", oauth_app: undefined, principal: "alice", reason: "laptop stolen", people: 1, connections: 2 })] } });
  show(<Revocations />);
  await screen.findByText(t.ofApp("dbx"));
  expect(screen.getByText(t.ofPerson("alice"))).toBeTruthy();
  expect(screen.getByText("laptop stolen")).toBeTruthy();
  expect(screen.getAllByText(t.told(30, 34)).length).toBe(2);
  expect(screen.getAllByText(t.failed(1)).length).toBe(2);
});

test("access ends for the very set that was shown, and only once its name is typed", async () => {
  const asked: NewRevocation[] = [];
  server({
    "GET /api/v1/revocations": { items: [] },
    "GET /api/v1/oauth-apps": { items: [] },
    "POST /api/v1/revocations": (body: unknown) => {
      asked.push(body as NewRevocation);
      return (body as NewRevocation).dry_run ? { preview: { confirm: 3, connections: 3, people: 1 } } : { revocation: revocation({}) };
    },
  });
  const user = userEvent.setup();
  show(<Revocations />);
  await user.click(await screen.findByRole("button", { name: t.begin }));
  const dialog = await screen.findByRole("dialog");
  await user.click(within(dialog).getByRole("button", { name: t.preview }));
  expect(within(dialog).getByText(t.missing)).toBeTruthy();
  await user.type(within(dialog).getByLabelText(t.principal), "mallory");
  await user.type(within(dialog).getByLabelText(t.reason), "laptop stolen");
  await user.click(within(dialog).getByRole("button", { name: t.preview }));
  await within(dialog).findByText(t.loses(1, 3));
  const go = within(dialog).getByRole("button", { name: t.doIt });
  expect((go as HTMLButtonElement).disabled).toBe(true);
  await user.type(within(dialog).getByLabelText(t.typeTo("mallory")), "mallory");
  await user.click(go);
  expect(asked).toEqual([
    { principal: "mallory", dry_run: true },
    { principal: "mallory", reason: "laptop stolen", confirm: 3 },
  ]);
});

test("a set that changed meanwhile ends nothing, and says so", async () => {
  server({
    "GET /api/v1/revocations": { items: [] },
    "GET /api/v1/oauth-apps": { items: [] },
    "POST /api/v1/revocations": (body: unknown) =>
      (body as NewRevocation).dry_run ? { preview: { confirm: 3, connections: 3, people: 3 } } : problem(409, "revocation_changed", "Now 4 connections would end, not 3."),
  });
  const user = userEvent.setup();
  show(<Revocations />);
  await user.click(await screen.findByRole("button", { name: t.begin }));
  const dialog = await screen.findByRole("dialog");
  await user.selectOptions(within(dialog).getByLabelText(t.kind), "everything");
  await user.click(within(dialog).getByRole("button", { name: t.preview }));
  await user.type(await within(dialog).findByLabelText(t.typeTo("everything")), "everything");
  await user.click(within(dialog).getByRole("button", { name: t.doIt }));
  expect((await within(dialog).findByRole("alert")).textContent).toContain("not 3");
});

import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import type { MadeToken, Token } from "../api/client";
import { problem, server, show } from "../testing";
import { tokens as t } from "./strings";
import { TokensPage } from "./TokensPage";

const token = (part: Partial<Token>): Token => ({
  id: "tok_1",
  name: "nightly report",
  scopes: ["token:dbx"],
  origin: "api",
  active: true,
  created_at: "2026-01-01T00:00:00Z",
  expires_at: "2099-01-01T00:00:00Z",
  ...part,
});
const apps = { items: [{ app: "dbx", name: "Databricks", preset: "databricks", status: "active", reason: "", account: "", scopes: [], data_sources: [], paused_note: "", actions: [] }] };
const made: MadeToken = { ...token({}), token: "bhf_pat_secret" };

test("a token is made for what was chosen, shown once, and gone with its dialog", async () => {
  const calls = server({ "GET /api/v1/tokens": { items: [] }, "GET /api/v1/connected-apps": apps, "POST /api/v1/tokens": made });
  const user = userEvent.setup();
  show(<TokensPage />);
  await user.click(await screen.findByRole("button", { name: t.create }));
  const dialog = await screen.findByRole("dialog");
  await user.click(within(dialog).getByRole("button", { name: t.create }));
  expect(within(dialog).getByText(t.nameMissing)).toBeTruthy();
  expect(within(dialog).getByText(t.scopesMissing)).toBeTruthy();
  await user.type(within(dialog).getByLabelText(t.name), "nightly report");
  await user.click(await within(dialog).findByLabelText(t.handOut("Databricks")));
  await user.click(within(dialog).getByRole("button", { name: t.create }));
  const field = await within(dialog).findByDisplayValue("bhf_pat_secret");
  expect(field.getAttribute("readonly")).not.toBeNull();
  expect(calls.find((c) => c.route === "POST /api/v1/tokens")?.body).toEqual({ name: "nightly report", scopes: ["token:dbx"], expires_in_seconds: 30 * 86_400 });
  await user.click(within(dialog).getByRole("button", { name: "Close" }));
  await within(dialog).findByText(t.closeWarn);
  await user.click(within(dialog).getByRole("button", { name: t.closeDo }));
  expect(screen.queryByDisplayValue("bhf_pat_secret")).toBeNull();
});

test("who has copied the token is not asked again", async () => {
  server({ "GET /api/v1/tokens": { items: [] }, "GET /api/v1/connected-apps": apps, "POST /api/v1/tokens": made });
  const user = userEvent.setup();
  show(<TokensPage />);
  await user.click(await screen.findByRole("button", { name: t.create }));
  const dialog = await screen.findByRole("dialog");
  await user.type(within(dialog).getByLabelText(t.name), "x");
  await user.click(within(dialog).getByLabelText(t.account));
  await user.click(within(dialog).getByRole("button", { name: t.create }));
  await user.click(await within(dialog).findByRole("button", { name: t.copied }));
  expect(screen.queryByText(t.closeWarn)).toBeNull();
  expect(screen.queryByDisplayValue("bhf_pat_secret")).toBeNull();
});

test("tokens say what they may do and whether they live, and only living ones can be revoked", async () => {
  const calls = server({
    "GET /api/v1/tokens": {
      items: [token({}), token({ id: "tok_2", name: "old", active: false, expires_at: "2020-01-01T00:00:00Z" }), token({ id: "tok_3", name: "lost", active: false, revoked_at: "2026-01-02T00:00:00Z", scopes: ["account"] })],
    },
    "GET /api/v1/connected-apps": apps,
    "DELETE /api/v1/tokens/tok_1": () => new Response(null, { status: 204 }),
  });
  const user = userEvent.setup();
  show(<TokensPage />);
  expect((await screen.findAllByText(t.handOut("Databricks"), { exact: false })).length).toBe(2);
  expect(screen.getByText(t.expired)).toBeTruthy();
  expect(screen.getByText(t.revoked)).toBeTruthy();
  expect(screen.getAllByRole("button", { name: /^Revoke/ }).length).toBe(1);
  await user.click(screen.getByRole("button", { name: t.revokeOf("nightly report") }));
  await user.click(within(await screen.findByRole("dialog")).getByRole("button", { name: t.revokeOf("nightly report") }));
  expect(calls.some((c) => c.route === "DELETE /api/v1/tokens/tok_1")).toBe(true);
});

test("what the server refuses stays in the dialog, with what was typed", async () => {
  server({ "GET /api/v1/tokens": { items: [] }, "GET /api/v1/connected-apps": apps, "POST /api/v1/tokens": problem(429, "too_many", "You have 100 tokens that live. Revoke one first.") });
  const user = userEvent.setup();
  show(<TokensPage />);
  await user.click(await screen.findByRole("button", { name: t.create }));
  const dialog = await screen.findByRole("dialog");
  await user.type(within(dialog).getByLabelText(t.name), "kept");
  await user.click(within(dialog).getByLabelText(t.account));
  await user.click(within(dialog).getByRole("button", { name: t.create }));
  expect((await within(dialog).findByRole("alert")).textContent).toContain("You have 100 tokens");
  expect(within(dialog).getByDisplayValue("kept")).toBeTruthy();
});

test("a token may connect an app by exchange only where the app can be", async () => {
  const exchanges = { ...apps.items[0], app: "lake", name: "Lake", actions: [{ rel: "exchange", label: "" }] };
  const calls = server({ "GET /api/v1/tokens": { items: [] }, "GET /api/v1/connected-apps": { items: [...apps.items, exchanges] }, "POST /api/v1/tokens": made });
  const user = userEvent.setup();
  show(<TokensPage />);
  await user.click(await screen.findByRole("button", { name: t.create }));
  const dialog = await screen.findByRole("dialog");
  await user.type(within(dialog).getByLabelText(t.name), "nightly report");
  await user.click(await within(dialog).findByLabelText(t.connect("Lake")));
  expect(within(dialog).queryByLabelText(t.connect("Databricks"))).toBeNull();
  await user.click(within(dialog).getByRole("button", { name: t.create }));
  await within(dialog).findByDisplayValue("bhf_pat_secret");
  expect(calls.find((c) => c.route === "POST /api/v1/tokens")?.body).toMatchObject({ scopes: ["connect:lake"] });
});

import { screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { beforeEach, expect, test, vi } from "vitest";
import type { ConnectedApp } from "../api/client";
import { browser } from "../api/signin";
import { strings } from "../strings";
import { problem, server, show } from "../testing";
import { AppCard } from "./AppCard";
import { connectedApps } from "./strings";

const t = strings.connect;

const app = (part: Partial<ConnectedApp>): ConnectedApp => ({
  app: "dbx",
  name: "Databricks",
  preset: "databricks",
  status: "not_connected",
  reason: "",
  account: "",
  scopes: ["sql"],
  data_sources: ["lake"],
  paused_note: "",
  actions: [{ rel: "authorize", label: "Authorize" }],
  ...part,
});
const active = app({ status: "active", account: "alice@corp", actions: [{ rel: "reauthorize", label: "" }, { rel: "revoke", label: "" }] });
const authorize = { authorize_url: "http://localhost:3000/connect/dbx?session=cs_1", session: "cs_1" };

class Channel {
  static all: Channel[] = [];
  onmessage: ((e: { data: unknown }) => void) | null = null;
  constructor() {
    Channel.all.push(this);
  }
  close() {
    Channel.all = Channel.all.filter((c) => c !== this);
  }
}

beforeEach(() => {
  Channel.all = [];
  vi.stubGlobal("BroadcastChannel", Channel);
});

function popup() {
  const opened = { location: { href: "about:blank" }, opener: {} as unknown, close: vi.fn() };
  const open = vi.spyOn(window, "open").mockReturnValue(opened as never);
  return { opened, open };
}

test("authorize opens a window in the click, cuts its opener off, and learns from the server that it is done", async () => {
  const { opened, open } = popup();
  let done = false;
  server({
    "POST /api/v1/connected-apps/dbx/authorize": authorize,
    "GET /api/v1/connect-sessions/cs_1": () => ({ id: "cs_1", app: "dbx", done, outcome: done ? "connected" : "", expires_at: "" }),
    "GET /api/v1/connected-apps/dbx": active,
  });
  show(<AppCard app={app({})} />);
  await userEvent.click(await screen.findByRole("button", { name: "Authorize Databricks" }));
  expect(open).toHaveBeenCalledWith("about:blank", "behalf-connect", expect.any(String));
  expect(opened.opener).toBeNull();
  await screen.findByText(t.waiting("Databricks"));
  expect(opened.location.href).toBe(authorize.authorize_url);
  done = true;
  expect((await screen.findAllByText(t.connected("Databricks", "alice@corp"), {}, { timeout: 4000 })).length).toBeGreaterThan(0);
});

test("the broadcast of the callback page is checked with the server before it is believed", async () => {
  popup();
  let status: ConnectedApp["status"] = "not_connected";
  const calls = server({
    "POST /api/v1/connected-apps/dbx/authorize": authorize,
    "GET /api/v1/connect-sessions/cs_1": { id: "cs_1", app: "dbx", done: false, outcome: "", expires_at: "" },
    "GET /api/v1/connected-apps/dbx": () => ({ ...active, status }),
  });
  show(<AppCard app={app({})} />);
  await userEvent.click(await screen.findByRole("button", { name: "Authorize Databricks" }));
  await screen.findByText(t.waiting("Databricks"));
  const say = (data: unknown) => Channel.all.forEach((c) => c.onmessage?.({ data }));
  say({ type: "behalf:connected", app: "other" });
  expect(calls.some((c) => c.route === "GET /api/v1/connected-apps/dbx")).toBe(false);
  say({ type: "behalf:connected", app: "dbx" });
  await waitFor(() => expect(calls.some((c) => c.route === "GET /api/v1/connected-apps/dbx")).toBe(true));
  expect(screen.getByText(t.waiting("Databricks"))).toBeTruthy();
  status = "active";
  say({ type: "behalf:connected", app: "dbx" });
  expect((await screen.findAllByText(t.connected("Databricks", "alice@corp"))).length).toBeGreaterThan(0);
});

test("a blocked window leads to this tab, and only by a click", async () => {
  vi.spyOn(window, "open").mockReturnValue(null);
  const go = vi.spyOn(browser, "go").mockImplementation(() => {});
  server({ "POST /api/v1/connected-apps/dbx/authorize": authorize });
  show(<AppCard app={app({})} />);
  await userEvent.click(await screen.findByRole("button", { name: "Authorize Databricks" }));
  await screen.findByText(t.blockedTitle);
  expect(go).not.toHaveBeenCalled();
  await userEvent.click(screen.getByRole("button", { name: t.continueHere }));
  expect(go).toHaveBeenCalledWith(authorize.authorize_url);
});

test("a refusal at the provider is told in words", async () => {
  popup();
  server({
    "POST /api/v1/connected-apps/dbx/authorize": authorize,
    "GET /api/v1/connect-sessions/cs_1": { id: "cs_1", app: "dbx", done: true, outcome: "consent_denied", expires_at: "" },
  });
  show(<AppCard app={app({})} />);
  await userEvent.click(await screen.findByRole("button", { name: "Authorize Databricks" }));
  expect((await screen.findByRole("alert")).textContent).toContain(t.outcomes.consent_denied);
});

test("a window that was opened for nothing is closed again", async () => {
  const { opened } = popup();
  server({ "POST /api/v1/connected-apps/dbx/authorize": problem(409, "app_disabled", "This app is paused.") });
  show(<AppCard app={app({})} />);
  await userEvent.click(await screen.findByRole("button", { name: "Authorize Databricks" }));
  expect((await screen.findByRole("alert")).textContent).toContain("This app is paused.");
  expect(opened.close).toHaveBeenCalled();
});

test("revoking names its consequences, starts on Cancel, and ends the access", async () => {
  const calls = server({ "DELETE /api/v1/connected-apps/dbx": () => new Response(null, { status: 204 }) });
  const user = userEvent.setup();
  show(<AppCard app={active} />);
  await user.click(await screen.findByRole("button", { name: "Revoke Databricks" }));
  const dialog = await screen.findByRole("dialog");
  expect(dialog.textContent).toContain("lake");
  await waitFor(() => expect(document.activeElement?.textContent).toBe(strings.common.cancel));
  await user.keyboard("{Enter}");
  expect(calls).toEqual([]);
  await user.click(screen.getByRole("button", { name: "Revoke Databricks" }));
  const [, confirm] = await screen.findAllByRole("button", { name: "Revoke Databricks", hidden: true });
  await user.click(confirm as HTMLElement);
  await waitFor(() => expect(calls.map((c) => c.route)).toEqual(["DELETE /api/v1/connected-apps/dbx"]));
});

test("somebody else at the provider is told, and may be kept or changed", async () => {
  const mismatch = { here: "alice@corp.example", there: "bob@corp.example", detail: "You signed in to Databricks as bob@corp.example but here as alice@corp.example.", actions: [{ rel: "reauthorize", href: "http://localhost:3000/connect/dbx?account=another", label: "Use another account" }, { rel: "keep_account", label: "Keep bob@corp.example" }] };
  const calls = server({ "POST /api/v1/connected-apps/dbx/keep-account": {} });
  show(<AppCard app={{ ...active, account: "bob@corp.example", identity_mismatch: mismatch }} />);
  await screen.findByText(mismatch.detail);
  expect(screen.getByRole("link", { name: "Use another account" }).getAttribute("href")).toBe(mismatch.actions[0]?.href);
  await userEvent.click(screen.getByRole("button", { name: connectedApps.keep("bob@corp.example") }));
  await waitFor(() => expect(calls.some((c) => c.route === "POST /api/v1/connected-apps/dbx/keep-account")).toBe(true));
});

test("what is renewed by token exchange offers no page, and says how and until when", async () => {
  server({});
  const reason = "Your Databricks access ends at 15:04 UTC. Exchange a token again: behalf connect exchange dbx --subject-token-file FILE.";
  const exchanged = app({ status: "expiring", reason, connected_at: "2026-01-01T00:00:00Z", access_expires_at: "2099-01-01T00:00:00Z", reauthorize_by: "2099-01-01T00:00:00Z", actions: [{ rel: "exchange", label: "" }, { rel: "revoke", label: "" }] });
  show(<AppCard app={exchanged} />);
  await screen.findByText(reason);
  expect(screen.queryByRole("button", { name: /uthorize/ })).toBeNull();
  expect(screen.getByText(connectedApps.exchangeBy)).toBeTruthy();
  expect(screen.queryByText(connectedApps.accessEndsWhy, { exact: false })).toBeNull();
});

import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { beforeEach, expect, test, vi } from "vitest";
import type { NewOAuthApp, OAuthApp, Preset, TestReport } from "../api/client";
import { Problem } from "../api/problem";
import { problem, server, show } from "../testing";
import { AppForm } from "./AppForm";
import { startOf, valuesOf } from "./form";
import { oauthApp as t } from "./strings";

const preset: Preset = {
  name: "databricks",
  title: "Databricks",
  host_label: "Workspace host",
  host_example: "dbc-1.cloud.databricks.com",
  issuer_example: "",
  scopes: [{ name: "offline_access", title: "Stay connected", default: true }],
  auth_methods: ["client_secret_basic", "none"],
  default_auth_method: "client_secret_basic",
  docs_url: "https://docs.example",
  provider_steps: "Run:\n\n```sh\nregister {redirect_uri}\n```",
  derived: { auth_url: "https://{host}/authorize", token_url: "https://{host}/token" },
  params: [],
  quirks: [
    { text: "A refresh token works once.", source: "https://docs.example/tokens" },
    { text: "Sessions end.", source: "https://docs.example/sessions" },
    { text: "A third one.", source: "javascript:alert(1)" },
    { text: "A fourth one.", source: "https://docs.example/fourth" },
  ],
};
const stored = {
  ...startOf(preset),
  id: "oap_1",
  host: "dbc-1.example",
  client_id: "id",
  client_secret: { set: true, set_at: "2026-02-12T00:00:00Z", ends_in: "9f2a" },
  client_secret_next: { set: false },
  client_secret_in_use: "client_secret",
  private_key: { set: false },
  token_exchange: { audiences: [], subject_issuers: [] },
  hand_out: "allow",
  redirect_uri: "http://localhost:3000/oauth/callback/databricks",
  auth_params: {},
  origin: "api",
  rev: 1,
  people: { active: 3 },
} as unknown as OAuthApp;

const answers = {
  "GET /api/v1/oauth-apps/redirect-uri": {
    redirect_uri: "http://localhost:3000/oauth/callback/databricks",
    jwks_uri: "http://localhost:3000/oauth/jwks/databricks",
  },
  "GET /api/v1/data-sources": { items: [] },
};

beforeEach(() => {
  server(answers);
});

/** Pastes, which is one event: typing is an event for each letter. */
const fill = async (user: ReturnType<typeof userEvent.setup>, field: HTMLElement, text: string) => {
  await user.click(field);
  await user.paste(text);
};

const form = (props: Partial<React.ComponentProps<typeof AppForm>> = {}) => {
  const onSubmit = vi.fn();
  show(<AppForm preset={preset} start={startOf(preset)} submitLabel={t.create} saving={false} error={null} onSubmit={onSubmit} {...props} />);
  return onSubmit;
};

test("the redirect URI is there to copy, and filled into what the provider wants", async () => {
  form();
  const uri = "http://localhost:3000/oauth/callback/databricks";
  await waitFor(() => expect((screen.getByLabelText(t.redirectURI) as HTMLInputElement).value).toBe(uri));
  expect((screen.getByLabelText(t.redirectURI) as HTMLInputElement).readOnly).toBe(true);
  expect(screen.getByText(`register ${uri}`)).toBeTruthy();
});

test("mistakes are listed with ways to them, and nothing is sent", async () => {
  const onSubmit = form();
  const user = userEvent.setup({ pointerEventsCheck: 0 });
  await user.click(await screen.findByRole("button", { name: t.create }));
  const summary = await screen.findByRole("alert");
  await waitFor(() => expect(document.activeElement).toBe(summary));
  expect(onSubmit).not.toHaveBeenCalled();
  await user.click(within(summary).getByRole("button", { name: t.clientID }));
  expect(document.activeElement).toBe(screen.getByLabelText(/Client ID/));
});

test("a good form is sent with its secret, and URLs show as they will be", async () => {
  const onSubmit = form();
  const user = userEvent.setup({ pointerEventsCheck: 0 });
  await fill(user, await screen.findByLabelText(/Workspace host/), "https://dbc-9.example/?o=1");
  await user.tab();
  expect(screen.getByText("https://dbc-9.example/token")).toBeTruthy();
  await fill(user, screen.getByLabelText(/Client ID/), "abc");
  await fill(user, screen.getByLabelText(/Client secret/), "s3cret");
  await user.click(screen.getByRole("button", { name: t.create }));
  expect(onSubmit).toHaveBeenCalledWith(expect.objectContaining({ host: "dbc-9.example", client_id: "abc", client_secret: "s3cret" }));
});

test("the server's refusal stands at its field, and what was typed stays", async () => {
  const error = new Problem({ status: 422, code: "invalid", detail: "No", fields: [{ pointer: "/client_id", code: "taken", detail: "Databricks uses it already." }] });
  form({ error, start: { ...startOf(preset), client_id: "abc" } });
  expect((await screen.findAllByText(/Databricks uses it already/)).length).toBe(2);
  const field = screen.getByLabelText(/Client ID/) as HTMLInputElement;
  expect(field.value).toBe("abc");
  await fill(userEvent.setup({ pointerEventsCheck: 0 }), field, "d");
  expect(screen.queryByText(/Databricks uses it already/)).toBeNull();
});

test("a stored secret shows its date and end, is never in the page, and can be replaced", async () => {
  form({ app: stored, start: valuesOf(stored, preset) });
  expect(await screen.findByText(/ends in …9f2a/)).toBeTruthy();
  await userEvent.setup({ pointerEventsCheck: 0 }).click(screen.getByRole("button", { name: t.replace }));
  expect((screen.getByLabelText(/Client secret/) as HTMLInputElement).value).toBe("");
  await userEvent.setup({ pointerEventsCheck: 0 }).click(screen.getByRole("button", { name: t.keep }));
  expect(screen.getByText(/ends in …9f2a/)).toBeTruthy();
});

test("an app of the file can be read and not changed", async () => {
  form({ app: { ...stored, origin: "file" }, start: valuesOf(stored, preset), readOnly: true });
  expect((await screen.findByLabelText<HTMLInputElement>(/Client ID/)).readOnly).toBe(true);
  expect(screen.queryByRole("button", { name: t.create })).toBeNull();
  expect(screen.queryByRole("button", { name: t.replace })).toBeNull();
});

const setup = () => userEvent.setup({ pointerEventsCheck: 0 });
const keyed: Preset = { ...preset, auth_methods: ["private_key_jwt", "client_secret_basic"], default_auth_method: "private_key_jwt" };
const draft = { ...startOf(preset), host: "dbc-1.example", client_id: "abc", client_secret: "s3cret" };
const report: TestReport = {
  ok: false,
  stages: [
    { name: "dns", state: "pass", detail: "dbc-1.example is 192.0.2.1.", fix: "", duration_ms: 4 },
    { name: "tls", state: "warn", detail: "A certificate ends soon.", fix: "Its administrator must renew it.", duration_ms: 31 },
    { name: "metadata", state: "skipped", detail: "No issuer is given.", fix: "", duration_ms: 0 },
    { name: "credentials", state: "fail", detail: "The server does not accept them.", fix: "Copy both again.", duration_ms: 1500 },
    { name: "redirect_uri", state: "fail", detail: "It is not registered.", fix: "Register it.", duration_ms: 9 },
    { name: "scopes", state: "pass", detail: "All are offered.", fix: "", duration_ms: 0 },
  ],
};

test("what is special about a provider is a short list with its sources, and the rest on request", async () => {
  form();
  const guide = await screen.findByRole("complementary", { name: t.guide("Databricks") });
  expect(within(guide).getByText(/A refresh token works once/)).toBeTruthy();
  expect(within(guide).getByRole("link", { name: t.quirkSourceOf(2) }).getAttribute("href")).toBe("https://docs.example/sessions");
  expect(within(guide).queryByRole("link", { name: t.quirkSourceOf(3) })).toBeNull(); // no page
  expect(within(guide).queryByText(/A fourth one/)).toBeNull();
  await setup().click(within(guide).getByRole("button", { name: t.quirksMore(1) }));
  expect(within(guide).getByText(/A fourth one/)).toBeTruthy();
});

test("a parameter that the preset needs is a field of its own, named where it is missing", async () => {
  const auth0: Preset = { ...preset, params: [{ name: "audience", title: "Identifier of the API", example: "https://wh.example", required: true }] };
  const onSubmit = form({ preset: auth0, start: { ...draft, params: { audience: "" } } });
  const user = setup();
  await user.click(await screen.findByRole("button", { name: t.create }));
  const summary = await screen.findByRole("alert");
  await user.click(within(summary).getByRole("button", { name: t.presetParams }));
  const field = screen.getByLabelText(/Identifier of the API/);
  expect(document.activeElement).toBe(field);
  await fill(user, field, "https://api.example");
  await user.click(screen.getByRole("button", { name: t.create }));
  expect(onSubmit).toHaveBeenCalledWith(expect.objectContaining({ params: { audience: "https://api.example" } }));
});

test("a key is made here unless one is pasted, and the provider's URL for it is there to copy", async () => {
  const onSubmit = form({ preset: keyed, start: { ...startOf(keyed), host: "dbc-1.example", client_id: "abc" } });
  const user = setup();
  await waitFor(() => expect((screen.getByLabelText(t.key.jwks) as HTMLInputElement).value).toBe("http://localhost:3000/oauth/jwks/databricks"));
  expect(screen.getByRole("button", { name: "Copy JWKS URL of this app" })).toBeTruthy();
  expect(screen.queryByLabelText(/Client secret/)).toBeNull();
  expect(screen.queryByRole("button", { name: t.test.start })).toBeNull(); // the provider cannot know the key yet
  await user.click(screen.getByRole("button", { name: t.create }));
  expect(onSubmit).toHaveBeenLastCalledWith(expect.objectContaining({ generate_private_key: "ES256" }));

  await user.click(screen.getByRole("combobox", { name: t.key.label }));
  await user.click(screen.getByRole("option", { name: t.key.paste }));
  await user.click(screen.getByRole("button", { name: t.create }));
  expect(onSubmit).toHaveBeenCalledTimes(1);
  expect(screen.getAllByText(new RegExp(t.errors.keyNeeded)).length).toBe(2);
  await fill(user, screen.getByLabelText(new RegExp(t.key.pasted)), "-----BEGIN PRIVATE KEY-----");
  await user.click(screen.getByRole("button", { name: t.create }));
  expect(onSubmit).toHaveBeenLastCalledWith(expect.objectContaining({ generate_private_key: "", private_key: "-----BEGIN PRIVATE KEY-----" }));
});

const rolling = {
  ...stored,
  client_secret_next: { set: true, set_at: "2026-03-01T00:00:00Z", ends_in: "77aa" },
  client_secret_in_use: "client_secret_next",
} as OAuthApp;

test("a rollover is begun with a second secret, which can be left out again", async () => {
  const onSubmit = form({ app: stored, start: valuesOf(stored, preset), submitLabel: t.save });
  const user = setup();
  await user.click(await screen.findByRole("button", { name: t.rolloverAdd }));
  await fill(user, screen.getByLabelText(t.nextSecret), "n3xt");
  await user.click(screen.getByRole("button", { name: "Cancel" }));
  expect(screen.queryByLabelText(t.nextSecret)).toBeNull();
  await user.click(screen.getByRole("button", { name: t.rolloverAdd }));
  await fill(user, screen.getByLabelText(t.nextSecret), "n3xt");
  await user.click(screen.getByRole("button", { name: t.save }));
  expect(onSubmit).toHaveBeenCalledWith(expect.objectContaining({ client_secret: "", client_secret_next: "n3xt" }));
});

test("during a rollover it says which secret is in use, and ending it forgets the other", async () => {
  const onSubmit = form({ app: rolling, start: valuesOf(rolling, preset), submitLabel: t.save });
  const user = setup();
  const next = (await screen.findByText(/ends in …77aa/)).parentElement!;
  expect(within(next).getByText(t.secretInUse)).toBeTruthy();
  expect(screen.getAllByText(t.secretInUse).length).toBe(1);
  await user.click(screen.getByRole("button", { name: t.rolloverEnd }));
  expect(screen.getByText(t.rolloverEnds)).toBeTruthy();
  await user.click(screen.getByRole("button", { name: t.save }));
  expect(onSubmit).toHaveBeenCalledWith(expect.objectContaining({ end_rollover: true }));
});

test("what is advanced is folded away, says what of it is in use, and opens where something is wrong", async () => {
  form({ start: { ...draft, dpop: "auto", resource: ["https://sql.example"] } });
  const user = setup();
  const fold = await screen.findByRole("button", { name: t.advanced });
  expect(fold.getAttribute("aria-expanded")).toBe("false");
  expect(screen.getByText(t.advancedInUse([t.resources, t.dpop]))).toBeTruthy();
  await user.click(fold);
  await user.click(screen.getByLabelText(t.parRequired));
  await user.click(fold);
  await user.click(screen.getByRole("button", { name: t.create }));
  await waitFor(() => expect(fold.getAttribute("aria-expanded")).toBe("true"));
  await user.click(within(screen.getByRole("alert")).getByRole("button", { name: t.parURL }));
  expect(document.activeElement).toBe(screen.getByLabelText(t.parURL));
});

test("an app of the file shows its key and its secrets, and nothing to change them", async () => {
  const app = { ...rolling, origin: "file" } as OAuthApp;
  form({ app, start: valuesOf(app, preset), readOnly: true });
  expect(await screen.findByText(/ends in …77aa/)).toBeTruthy();
  for (const name of [t.replace, t.rolloverAdd, t.rolloverEnd, t.test.start]) {
    expect(screen.queryByRole("button", { name: new RegExp(name) })).toBeNull();
  }
  await setup().click(screen.getByRole("button", { name: t.advanced }));
  expect(screen.queryByRole("button", { name: t.addParam })).toBeNull();
  expect((screen.getByLabelText(t.parRequired) as HTMLInputElement).disabled).toBe(true);
});

test("a draft is tested with its secret: the stages in their order, said once, and the first failure has the focus", async () => {
  const calls = server({ ...answers, "POST /api/v1/oauth-apps/test": report });
  form({ start: draft });
  await setup().click(await screen.findByRole("button", { name: t.test.start }));
  const stages = await screen.findByRole("list", { name: t.test.title });
  const items = within(stages).getAllByRole("listitem");
  expect(items.map((li) => within(li).getByRole("heading").textContent)).toEqual(report.stages.map((s) => t.test.stages[s.name]));
  expect(items[3]!.textContent).toBe("CredentialsFailedThe server does not accept them.What to do: Copy both again.1.5 s");
  expect(items[2]!.textContent).toBe("MetadataNot testedNo issuer is given.");
  expect(document.activeElement).toBe(items[3]);
  expect(screen.getByRole("status").textContent).toBe(t.test.done(report));
  const sent = calls.find((c) => c.route === "POST /api/v1/oauth-apps/test")?.body as NewOAuthApp;
  expect(sent).toMatchObject({ slug: "databricks", client_id: "abc", client_secret: "s3cret" });
  await fill(setup(), screen.getByLabelText(/Client ID/), "d"); // what was found is not about that one
  expect(screen.getByText(t.test.outdated)).toBeTruthy();
});

test("a draft that cannot be right is not sent to be tested", async () => {
  const calls = server(answers);
  form();
  await setup().click(await screen.findByRole("button", { name: t.test.start }));
  const summary = await screen.findByRole("alert");
  await waitFor(() => expect(document.activeElement).toBe(summary));
  expect(calls.some((c) => c.route.endsWith("/test"))).toBe(false);
});

test("a Test that is refused says why, and can be begun again", async () => {
  let tries = 0;
  server({
    ...answers,
    "POST /api/v1/oauth-apps/test": () => (tries++ === 0 ? problem(429, "too_many", "4 registrations are being tested.") : { ...report, ok: true, stages: report.stages.slice(0, 1) }),
  });
  form({ start: draft });
  const user = setup();
  await user.click(await screen.findByRole("button", { name: t.test.start }));
  expect((await screen.findByRole("alert")).textContent).toContain("4 registrations are being tested.");
  await user.click(screen.getByRole("button", { name: t.test.again }));
  expect(await screen.findByText("Everything passed.")).toBeTruthy();
  expect(screen.queryByRole("alert")).toBeNull();
});

test("a Test is stopped: its request ends, and nothing is reported as failed", async () => {
  let signal: AbortSignal | undefined;
  const others = globalThis.fetch;
  vi.stubGlobal("fetch", (input: Request) => {
    if (!input.url.endsWith("/test")) return others(input);
    signal = input.signal;
    return new Promise((_, fail) => input.signal.addEventListener("abort", () => fail(input.signal.reason)));
  });
  form({ start: draft });
  const user = setup();
  await user.click(await screen.findByRole("button", { name: t.test.start }));
  expect(screen.getByText(t.test.running)).toBeTruthy();
  const stop = screen.getByRole("button", { name: t.test.stop });
  expect(document.activeElement).toBe(stop); // one button, whose focus is kept
  await user.click(stop);
  expect(signal?.aborted).toBe(true);
  expect(screen.getByRole("button", { name: t.test.start })).toBeTruthy();
  expect(screen.getByRole("status").textContent).toBe(t.test.stopped);
  expect(screen.queryByRole("alert")).toBeNull();
});

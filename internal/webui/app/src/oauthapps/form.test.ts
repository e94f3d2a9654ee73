import { describe, expect, test } from "vitest";
import type { OAuthApp, Preset } from "../api/client";
import { Problem } from "../api/problem";
import { advancedInUse, afterTest, derivedURL, hostOf, newApp, patchOf, scopesOf, serverErrors, slugOf, startOf, validate, valuesOf, warnings, yamlOf } from "./form";
import { blocksOf } from "./Guide";

const preset = (name: string, template = ""): Preset => ({
  name,
  title: name,
  host_label: template ? "Host" : "",
  host_example: "dbc-1.cloud.databricks.com",
  issuer_example: "",
  scopes: [
    { name: "sql", title: "Run SQL", default: true },
    { name: "all-apis", title: "All", default: false },
  ],
  auth_methods: ["client_secret_basic", "none"],
  default_auth_method: "client_secret_basic",
  docs_url: "",
  provider_steps: "",
  derived: template ? { auth_url: `${template}/authorize`, token_url: `${template}/token` } : {},
  params: [],
  quirks: [],
});
const databricks = preset("databricks", "https://{host}/oidc/v1");
const snowflake = preset("snowflake", "https://{host}.snowflakecomputing.com/oauth");
const good = { ...startOf(databricks), host: "dbc-1.cloud.databricks.com", client_id: "id", client_secret: "s3cret" };

const app: OAuthApp = {
  id: "oap_1",
  name: "Databricks",
  slug: "databricks",
  domain: "dom_1",
  preset: "databricks",
  host: "dbc-1.cloud.databricks.com",
  issuer: "",
  auth_url: "https://dbc-1.cloud.databricks.com/oidc/v1/authorize",
  token_url: "https://dbc-1.cloud.databricks.com/oidc/v1/token",
  revocation_url: "",
  userinfo_url: "",
  jwks_url: "",
  client_id: "id",
  client_secret: { set: true, ends_in: "9f2a" },
  token_endpoint_auth_method: "client_secret_basic",
  scopes: ["sql"],
  auth_params: {},
  data_sources: [],
  introspection_url: "",
  client_secret_next: { set: false },
  client_secret_in_use: "client_secret",
  private_key: { set: false },
  assertion_audience: "",
  par_url: "",
  par_required: false,
  resource: [],
  identity_match: "warn",
  dpop: "false",
  dpop_offered: false,
  token_exchange: { audiences: [], subject_issuers: [] },
  hand_out: "allow",
  redirect_uri: "https://b.example/oauth/callback/databricks",
  paused: false,
  paused_note: "",
  broken: null,
  origin: "api",
  rev: 4,
  people: {},
  created_at: "2026-01-01T00:00:00Z",
  updated_at: "2026-01-01T00:00:00Z",
};

test("a new form begins with the preset's default scopes, and no others", () => {
  expect(startOf(databricks)).toMatchObject({ name: "databricks", slug: "databricks", scopes: ["sql"] });
});

test.each([
  ["https://dbc-1.cloud.databricks.com/?o=1", "dbc-1.cloud.databricks.com"],
  ["  dbc-1.cloud.databricks.com/ ", "dbc-1.cloud.databricks.com"],
  ["http://127.0.0.1:8443/x", "http://127.0.0.1:8443"],
  ["http://evil.example", "evil.example"],
])("hostOf(%j) is %j", (text, want) => {
  expect(hostOf(text)).toBe(want);
});

test.each([
  [databricks, "DBC-1.example", "https://dbc-1.example/oidc/v1/token"],
  [databricks, "http://127.0.0.1:8443", "http://127.0.0.1:8443/oidc/v1/token"],
  [snowflake, "org-my_acc", "https://org-my-acc.snowflakecomputing.com/oauth/token"],
  [snowflake, "https://org-acc.snowflakecomputing.com", "https://org-acc.snowflakecomputing.com/oauth/token"],
  [preset("oauth2"), "x", ""],
  [databricks, "", ""],
])("derivedURL %#", (p, host, want) => {
  expect(derivedURL(p, "token_url", host)).toBe(want);
});

test("slugOf and scopesOf", () => {
  expect(slugOf("Databricks (Prod) ümlaut")).toBe("databricks-prod-u-mlaut");
  expect(scopesOf(["sql", "sql offline_access", " ", "a,b"])).toEqual(["sql", "offline_access", "a", "b"]);
});

describe("validate", () => {
  test("a good form has no mistakes", () => expect(validate(good, databricks)).toEqual({}));
  test.each([
    ["no name", { name: " " }, "name"],
    ["a slug with a capital", { slug: "Prod" }, "slug"],
    ["no host", { host: "" }, "host"],
    ["a URL on plain http", { token_url: "http://idp.example/token" }, "token_url"],
    ["a URL with a fragment", { auth_url: "https://idp.example/a#b" }, "auth_url"],
    ["a URL with a password", { auth_url: "https://u:p@idp.example/a" }, "auth_url"],
    ["half a URL", { revocation_url: "idp.example" }, "revocation_url"],
    ["no client id", { client_id: "" }, "client_id"],
    ["no secret", { client_secret: "" }, "client_secret"],
    ["a parameter of ours", { auth_params: [{ name: "state", value: "x" }] }, "auth_params"],
    ["a resource as a parameter", { auth_params: [{ name: "resource", value: "https://sql.example" }] }, "auth_params"],
    ["a parameter of ours in capitals", { auth_params: [{ name: "State", value: "x" }] }, "auth_params"],
    ["a resource that is no URI", { resource: ["sql.example"] }, "resource"],
    ["a resource with a fragment", { resource: ["https://sql.example/#x"] }, "resource"],
    ["pushed requests only, and nowhere to push them", { par_required: true }, "par_url"],
    ["the same secret twice", { client_secret_next: "s3cret" }, "client_secret_next"],
    ["no key", { token_endpoint_auth_method: "private_key_jwt" as const, generate_private_key: "" as const }, "private_key"],
    ["the public half of a key", { token_endpoint_auth_method: "private_key_jwt" as const, generate_private_key: "" as const, private_key: "-----BEGIN PUBLIC KEY-----" }, "private_key"],
    ["a parameter twice", { auth_params: [{ name: "a", value: "1" }, { name: "a", value: "2" }] }, "auth_params"],
  ])("%s", (_, part, field) => {
    expect(Object.keys(validate({ ...good, ...part }, databricks))).toEqual([field]);
  });
  test("http is allowed on this machine", () => {
    expect(validate({ ...good, token_url: "http://127.0.0.1:9000/token" }, databricks)).toEqual({});
  });
  test("a stored secret need not be typed again, and no method needs none", () => {
    expect(validate({ ...good, client_secret: "" }, databricks, app)).toEqual({});
    expect(validate({ ...good, client_secret: "", token_endpoint_auth_method: "none" }, databricks)).toEqual({});
  });
  test("an issuer stands for the endpoints of an OpenID provider", () => {
    const oidc = preset("oidc");
    const values = { ...good, preset: "oidc", host: "" };
    expect(validate({ ...values, issuer: "https://idp.example" }, oidc)).toEqual({});
    expect(Object.keys(validate(values, oidc))).toEqual(["auth_url"]);
  });
});

test("what the preset needs as a parameter is asked for by its title, and sent with the others", () => {
  const auth0 = { ...databricks, params: [{ name: "audience", title: "Identifier of the API", example: "https://x", required: true }] };
  const values = { ...good, params: { audience: " " } };
  expect(validate(values, auth0).params).toContain("Identifier of the API");
  const filled = { ...values, params: { audience: " https://wh.example" }, auth_params: [{ name: "prompt", value: "login" }] };
  expect(validate(filled, auth0)).toEqual({});
  expect(newApp(filled).auth_params).toEqual({ audience: "https://wh.example", prompt: "login" });
  const stored = valuesOf({ ...app, auth_params: { audience: "a", prompt: "login" } }, auth0);
  expect([stored.params, stored.auth_params]).toEqual([{ audience: "a" }, [{ name: "prompt", value: "login" }]]);
});

test("only the credentials of the chosen way to authenticate are sent", () => {
  const all = { ...good, client_secret_next: "n3xt", private_key: "PEM", assertion_audience: "issuer" as const };
  const sent = (part: Partial<typeof all>) =>
    Object.keys(newApp({ ...all, ...part })).filter((k) => /secret|key|assertion/.test(k));
  expect(sent({})).toEqual(["client_secret", "client_secret_next"]);
  expect(sent({ token_endpoint_auth_method: "none" })).toEqual([]);
  expect(sent({ token_endpoint_auth_method: "private_key_jwt" })).toEqual(["assertion_audience", "generate_private_key"]);
  expect(sent({ token_endpoint_auth_method: "private_key_jwt", generate_private_key: "" })).toEqual(["assertion_audience", "private_key"]);
});

const corp = { issuer: "https://idp.corp.example", audience: "lake" };

test("what is folded away is sent, counted as in use, and read again", () => {
  const part = { resource: ["https://sql.example"], par_url: "https://b.example/par", par_required: true, dpop: "auto" as const, audiences: ["reports"], subject_issuers: [corp], hand_out: "deny" as const, identity_match: "enforce" as const };
  const values = { ...good, ...part };
  expect(newApp(values)).toMatchObject({ resource: part.resource, par_url: part.par_url, par_required: true, dpop: "auto", token_exchange: { audiences: ["reports"], subject_issuers: [corp] }, hand_out: "deny", identity_match: "enforce" });
  expect(advancedInUse(values)).toEqual(["resource", "par_url", "par_required", "dpop", "audiences", "subject_issuers", "hand_out"]);
  expect(advancedInUse(good)).toEqual([]);
  const stored = valuesOf(app, databricks);
  expect(patchOf({ ...stored, ...part }, app, databricks)).toEqual({
    rev: 4,
    resource: part.resource,
    par_url: part.par_url,
    par_required: true,
    dpop: "auto",
    token_exchange: { audiences: ["reports"], subject_issuers: [corp] },
    hand_out: "deny",
    identity_match: "enforce",
  });
  expect(patchOf({ ...stored, subject_issuers: [corp, { issuer: " ", audience: "" }] }, app, databricks)).toEqual({ rev: 4, token_exchange: { subject_issuers: [corp] } });
});

test("an issuer needs its audience, and is an address", () => {
  const wrong = (issuer: string, audience: string) => validate({ ...good, subject_issuers: [{ issuer, audience }] }, databricks).subject_issuers;
  expect(wrong("https://idp.corp.example", "")).toContain("audience");
  expect(wrong("", "lake")).toContain("issuer");
  expect(wrong("http://idp.corp.example", "lake")).toContain("https");
  expect(wrong("https://idp.corp.example", "lake")).toBeUndefined();
  expect(wrong("", "")).toBeUndefined();
});

test("a rollover begins, ends, and keeps what nobody typed", () => {
  const values = valuesOf(app, databricks);
  expect(patchOf({ ...values, client_secret_next: "n3xt" }, app, databricks)).toEqual({ rev: 4, client_secret_next: "n3xt" });
  expect(patchOf({ ...values, end_rollover: true }, app, databricks)).toEqual({ rev: 4, client_secret_next: "" });
});

test("a stored key stays until another one is made, and its audience goes with it", () => {
  const keyed: OAuthApp = { ...app, token_endpoint_auth_method: "private_key_jwt", private_key: { set: true }, assertion_audience: "token_endpoint" };
  const values = valuesOf(keyed, databricks);
  expect(validate(values, databricks, keyed)).toEqual({});
  expect(patchOf(values, keyed, databricks)).toEqual({ rev: 4 });
  expect(patchOf({ ...values, generate_private_key: "RS256" }, keyed, databricks)).toEqual({ rev: 4, generate_private_key: "RS256" });
  expect(patchOf({ ...values, token_endpoint_auth_method: "none" }, keyed, databricks)).toEqual({ rev: 4, token_endpoint_auth_method: "none", assertion_audience: "" });
});

test("after a Test one goes on with the app as it is, unless somebody edited it meanwhile", () => {
  const broken = { code: "invalid_client", since: "2026-01-02T00:00:00Z" };
  expect(afterTest(app, { ...app, broken, rev: 5 }, databricks)).toMatchObject({ broken, rev: 5 });
  expect(afterTest(app, { ...app, broken, rev: 6, name: "Other" }, databricks)).toMatchObject({ broken, rev: 4, name: "Databricks" });
  expect(afterTest(app, { ...app, rev: 6, client_secret: { set: true, ends_in: "0000" } }, databricks).rev).toBe(4);
});

test("an app that cannot refresh is warned of", () => {
  const staying = (name: string): Preset => ({ ...databricks, scopes: [{ name, title: "Stay connected", default: true }] });
  expect(warnings({ ...good, scopes: ["sql"] }, staying("offline_access")).length).toBe(1);
  expect(warnings({ ...good, scopes: ["sql", "offline_access"] }, staying("offline_access"))).toEqual([]);
  expect(warnings({ ...good, scopes: ["sql"] }, databricks)).toEqual([]); // a provider without such a scope
  expect(warnings({ ...good, scopes: ["refresh_token", "session:role:ACCOUNTADMIN"] }, staying("refresh_token")).length).toBe(1);
});

test("URLs that are always the same need no host", () => {
  const google = { ...preset("google"), derived: { auth_url: "https://idp.example/a", token_url: "https://idp.example/t" } };
  expect(derivedURL(google, "token_url", "")).toBe("https://idp.example/t");
  expect(validate({ ...good, preset: "google", host: "" }, google)).toEqual({});
});

test("a new app leaves out what the preset derives", () => {
  const sent = newApp(good);
  expect(sent).toMatchObject({ preset: "databricks", host: "dbc-1.cloud.databricks.com", client_secret: "s3cret" });
  expect(sent).not.toHaveProperty("auth_url");
});

test("a change sends what changed and nothing else, and never an old secret", () => {
  const values = valuesOf(app, databricks);
  expect(patchOf(values, app, databricks)).toEqual({ rev: 4 });
  expect(patchOf({ ...values, host: "dbc-2.cloud.databricks.com", scopes: ["sql", "offline_access"] }, app, databricks)).toEqual({
    rev: 4,
    host: "dbc-2.cloud.databricks.com",
    scopes: ["sql", "offline_access"],
  });
  expect(patchOf({ ...values, client_secret: "new" }, app, databricks)).toEqual({ rev: 4, client_secret: "new" });
});

test("the server's mistakes find their fields", () => {
  const p = new Problem({
    code: "invalid",
    detail: "no",
    fields: [
      { pointer: "/client_id", code: "taken", detail: "Taken." },
      { pointer: "/auth_params/state", code: "reserved", detail: "Ours." },
      { pointer: "/token_exchange/audiences/0", code: "invalid", detail: "Too long." },
      { pointer: "/token_exchange/subject_issuers/0/audience", code: "required", detail: "Missing." },
      { pointer: "/nowhere", code: "x", detail: "?" },
    ],
  });
  expect(serverErrors(p)).toEqual({ client_id: "Taken.", auth_params: "Ours.", audiences: "Too long.", subject_issuers: "Missing." });
});

test("the YAML quotes what YAML would read as something else, and refers to the secret", () => {
  const text = yamlOf({ ...app, name: "yes", scopes: ["session:role:X"] });
  expect(text).toContain('name: "yes"');
  expect(text).toContain('["session:role:X"]');
  expect(text).toContain("client_secret: {env: DATABRICKS_CLIENT_SECRET}");
  expect(text).not.toContain("9f2a");
});

test("the YAML has all that was set", () => {
  const text = yamlOf({
    ...app,
    client_secret_next: { set: true },
    auth_params: { prompt: "login" },
    resource: ["https://sql.example"],
    par_required: true,
    dpop: "true",
    identity_match: "off",
    token_exchange: { audiences: ["reports"], subject_issuers: [corp] },
    hand_out: "deny",
  });
  for (const line of [
    "client_secret_next: {env: DATABRICKS_CLIENT_SECRET_NEXT}",
    "auth_params: {prompt: login}",
    'resource: ["https://sql.example"]',
    "par_required: true",
    'dpop: "true"',
    'identity_match: "off"',
    'token_exchange: {audiences: [reports], subject_issuers: [{issuer: "https://idp.corp.example", audience: lake}]}',
    "hand_out: deny",
  ]) {
    expect(text).toContain(`    ${line}\n`);
  }
});

test("the steps of a preset are paragraphs and code", () => {
  expect(blocksOf("As an admin,\nrun:\n\n```sh\na\n  b\n```\n\nThen wait.")).toEqual([
    { code: false, text: "As an admin, run:" },
    { code: true, text: "a\n  b" },
    { code: false, text: "Then wait." },
  ]);
});

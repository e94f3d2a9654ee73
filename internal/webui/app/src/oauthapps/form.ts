import type { NewOAuthApp, OAuthApp, OAuthAppPatch, Preset } from "../api/client";
import type { Problem } from "../api/problem";
import { oauthApp } from "./strings";

const t = oauthApp.errors;

export type AuthMethod = OAuthApp["token_endpoint_auth_method"];
export type KeyAlgorithm = NonNullable<NewOAuthApp["generate_private_key"]>;
export const keyAlgorithms: readonly [KeyAlgorithm, ...KeyAlgorithm[]] = ["ES256", "RS256", "PS256", "EdDSA"];

/** What the form holds: text as it was typed. */
export interface Values {
  preset: string;
  name: string;
  slug: string;
  host: string;
  issuer: string;
  auth_url: string;
  token_url: string;
  revocation_url: string;
  userinfo_url: string;
  jwks_url: string;
  introspection_url: string;
  client_id: string;
  token_endpoint_auth_method: AuthMethod;
  client_secret: string;
  client_secret_next: string;
  /** Ends the rollover: of the two secrets, the one in use stays. */
  end_rollover: boolean;
  private_key: string;
  /** The key is made at the server; empty where it is pasted, or stays as it is. */
  generate_private_key: KeyAlgorithm | "";
  scopes: string[];
  /** The parameters that the preset names. */
  params: Record<string, string>;
  identity_match: OAuthApp["identity_match"];
  data_sources: string[];
  /** The other parameters. */
  auth_params: { name: string; value: string }[];
  resource: string[];
  par_url: string;
  par_required: boolean;
  dpop: OAuthApp["dpop"];
  assertion_audience: OAuthApp["assertion_audience"];
  audiences: string[];
  subject_issuers: { issuer: string; audience: string }[];
  hand_out: OAuthApp["hand_out"];
}

export type Field = keyof Values;
export type Errors = Partial<Record<Field, string>>;
/** The fields that are one line of text. */
export type TextField = { [F in Field]: string extends Values[F] ? F : never }[Field];

export const endpointFields = ["auth_url", "token_url", "revocation_url", "userinfo_url", "jwks_url", "introspection_url"] as const;
export const urlFields = [...endpointFields, "par_url"] as const;
export type URLField = (typeof urlFields)[number];

/** What is folded away: rarely needed, and never to begin with. */
export const advancedFields = ["auth_params", "resource", "par_url", "par_required", "dpop", "assertion_audience", "audiences", "subject_issuers", "hand_out"] as const;

/** In the order of the page: the summary lists mistakes as one meets them. */
export const labels: Record<Field, string> = {
  preset: oauthApp.provider,
  name: oauthApp.name,
  slug: oauthApp.slug,
  host: "Host",
  issuer: oauthApp.issuer,
  auth_url: oauthApp.authURL,
  token_url: oauthApp.tokenURL,
  revocation_url: oauthApp.revocationURL,
  userinfo_url: oauthApp.userinfoURL,
  jwks_url: oauthApp.jwksURL,
  introspection_url: oauthApp.introspectionURL,
  client_id: oauthApp.clientID,
  token_endpoint_auth_method: oauthApp.authMethod,
  client_secret: oauthApp.clientSecret,
  client_secret_next: oauthApp.nextSecret,
  end_rollover: oauthApp.rollover,
  private_key: oauthApp.key.label,
  generate_private_key: oauthApp.key.algorithm,
  scopes: oauthApp.scopes,
  params: oauthApp.presetParams,
  identity_match: oauthApp.identityMatch,
  data_sources: oauthApp.sources,
  auth_params: oauthApp.params,
  resource: oauthApp.resources,
  par_url: oauthApp.parURL,
  par_required: oauthApp.parRequired,
  dpop: oauthApp.dpop,
  assertion_audience: oauthApp.assertionAudience,
  audiences: oauthApp.audiences,
  subject_issuers: oauthApp.subjectIssuers,
  hand_out: oauthApp.handOut,
};

/** The form of a new app, with what the preset knows. */
export function startOf(preset: Preset): Values {
  return {
    preset: preset.name,
    name: preset.host_label === "" ? "" : preset.title,
    slug: preset.host_label === "" ? "" : slugOf(preset.title),
    host: "",
    issuer: "",
    auth_url: "",
    token_url: "",
    revocation_url: "",
    userinfo_url: "",
    jwks_url: "",
    introspection_url: "",
    client_id: "",
    token_endpoint_auth_method: preset.default_auth_method as AuthMethod,
    client_secret: "",
    client_secret_next: "",
    end_rollover: false,
    private_key: "",
    generate_private_key: keyAlgorithms[0], // counts for private_key_jwt alone
    scopes: preset.scopes.filter((s) => s.default).map((s) => s.name),
    params: Object.fromEntries(preset.params.map((p) => [p.name, ""])),
    identity_match: "warn",
    data_sources: [],
    auth_params: [],
    resource: [],
    par_url: "",
    par_required: false,
    dpop: "false",
    assertion_audience: "",
    audiences: [],
    subject_issuers: [],
    hand_out: "allow",
  };
}

/** The form of an app that exists. Secrets stay where they are. */
export function valuesOf(app: OAuthApp, preset: Preset | undefined): Values {
  const named = new Set(preset?.params.map((p) => p.name));
  const values: Values = {
    preset: app.preset,
    name: app.name,
    slug: app.slug,
    host: app.host,
    issuer: app.issuer,
    auth_url: app.auth_url,
    token_url: app.token_url,
    revocation_url: app.revocation_url,
    userinfo_url: app.userinfo_url,
    jwks_url: app.jwks_url,
    introspection_url: app.introspection_url,
    client_id: app.client_id,
    token_endpoint_auth_method: app.token_endpoint_auth_method,
    client_secret: "",
    client_secret_next: "",
    end_rollover: false,
    private_key: "",
    generate_private_key: app.private_key.set ? "" : keyAlgorithms[0],
    scopes: app.scopes,
    params: Object.fromEntries([...named].map((name) => [name, app.auth_params[name] ?? ""])),
    identity_match: app.identity_match,
    data_sources: app.data_sources,
    auth_params: Object.entries(app.auth_params)
      .filter(([name]) => !named.has(name))
      .map(([name, value]) => ({ name, value })),
    resource: app.resource,
    par_url: app.par_url,
    par_required: app.par_required,
    dpop: app.dpop,
    assertion_audience: app.assertion_audience,
    audiences: app.token_exchange.audiences,
    subject_issuers: app.token_exchange.subject_issuers,
    hand_out: app.hand_out,
  };
  // What follows from the host is shown as derived, and goes on following it.
  for (const field of urlFields) {
    if (values[field] !== "" && values[field] === derivedURL(preset, field, app.host)) values[field] = "";
  }
  return values;
}

/** What the preset makes of a host, as the server will: the form shows it while somebody types. */
export function derivedURL(preset: Preset | undefined, field: URLField, host: string): string {
  const template = preset?.derived[field] ?? "";
  if (!template.includes("{host}")) return template; // it is always the same
  let name = hostOf(host);
  if (template === "" || name === "") return "";
  if (name.startsWith("http://")) return template.replace(/^https:\/\/\{host\}[^/]*/, name);
  const suffix = /\{host\}([^/]*)/.exec(template)?.[1] ?? "";
  if (suffix !== "" && name.endsWith(suffix)) name = name.slice(0, -suffix.length); // the full host was pasted
  if (preset?.name === "snowflake") name = name.replaceAll("_", "-"); // valid in account names, not in host names
  return template.replaceAll("{host}", name.toLowerCase());
}

export function slugOf(name: string): string {
  return name
    .normalize("NFKD")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 63)
    .replace(/-+$/, "");
}

/** The host in what somebody pasted: the address of the workspace, mostly. Plain http on this machine is kept. */
export function hostOf(text: string): string {
  const trimmed = text.trim();
  const local = /^http:\/\/(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?/i.exec(trimmed)?.[0];
  if (local !== undefined) return local;
  return trimmed.replace(/^https?:\/\//i, "").replace(/[/?#].*$/, "");
}

/** Whether a way to authenticate sends a client secret. */
export function usesSecret(method: AuthMethod): boolean {
  return method.startsWith("client_secret");
}

export function scopesOf(scopes: string[]): string[] {
  return [...new Set(scopes.flatMap((s) => s.split(/[\s,]+/)).filter((s) => s !== ""))];
}

function urlError(text: string): string | undefined {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return t.urlForm;
  }
  const loopback = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && loopback)) return t.urlScheme;
  if (url.hash !== "" || url.username !== "" || url.password !== "") return t.urlParts;
  return undefined;
}

// Parameters that are the protocol's own: an admin who sets one would break the flow, or weaken it.
const reserved = [
  "response_type",
  "response_mode",
  "client_id",
  "client_secret",
  "redirect_uri",
  "scope",
  "state",
  "nonce",
  "code_challenge",
  "code_challenge_method",
  "code",
  "request",
  "request_uri",
  "dpop_jkt",
  "client_assertion",
  "client_assertion_type",
  "resource", // a field of its own, which token requests carry too
];

/** Every mistake in values, each at its field. app is what is stored, undefined for a new one. */
export function validate(values: Values, preset: Preset | undefined, app?: OAuthApp): Errors {
  const errors: Errors = {};
  if (values.name.trim() === "") errors.name = t.nameRequired;
  if (!/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(values.slug)) errors.slug = t.slugForm;
  for (const field of ["issuer", ...urlFields] as const) {
    const text = values[field].trim();
    if (text === "") continue;
    const error = urlError(text);
    if (error !== undefined) errors[field] = error;
  }
  const host = hostOf(values.host);
  if (host !== "" && !/^(http:\/\/)?[a-z0-9.[\]_:-]+$/i.test(host)) errors.host = t.hostForm(preset?.host_example ?? "idp.example.com");
  const given = (field: URLField) => values[field].trim() !== "" || derivedURL(preset, field, host) !== "";
  if (!given("auth_url") || !given("token_url")) {
    if (preset !== undefined && preset.host_label !== "") {
      if (host === "") errors.host ??= t.hostNeeded(preset.host_label);
    } else if (values.issuer.trim() === "") {
      errors[given("auth_url") ? "token_url" : "auth_url"] ??= t.endpointsNeeded;
    }
  }
  if (values.client_id.trim() === "") errors.client_id = t.required;
  if (usesSecret(values.token_endpoint_auth_method)) {
    if (!app?.client_secret.set && values.client_secret === "") errors.client_secret = t.secretNeeded;
    if (values.client_secret_next !== "" && values.client_secret_next === values.client_secret) errors.client_secret_next = t.secretSame;
  }
  if (values.token_endpoint_auth_method === "private_key_jwt") {
    if (!app?.private_key.set && values.private_key === "" && values.generate_private_key === "") errors.private_key = t.keyNeeded;
    else if (/PUBLIC KEY|CERTIFICATE/.test(values.private_key)) errors.private_key = t.keyPublic;
  }
  const missing = preset?.params.find((p) => p.required && values.params[p.name]?.trim() === "");
  if (missing !== undefined) errors.params = t.paramNeeded(missing.title);
  const names = values.auth_params.map((p) => p.name.trim()).filter((n) => n !== "");
  if (new Set(names).size < names.length) errors.auth_params = t.paramTwice;
  if (names.some((n) => reserved.includes(n.toLowerCase()))) errors.auth_params = t.paramReserved;
  if (values.resource.some((r) => !/^[a-z][a-z0-9+.-]*:[^\s#]+$/i.test(r))) errors.resource = t.resourceForm;
  const issuer = issuers(values)
    .map((s) => (s.issuer === "" || s.audience === "" ? t.issuerNeeds : urlError(s.issuer)))
    .find((e) => e !== undefined);
  if (issuer !== undefined) errors.subject_issuers = issuer;
  if (values.par_required && values.par_url.trim() === "" && values.issuer.trim() === "" && preset?.derived.issuer === undefined) {
    errors.par_url = t.parNeeded;
  }
  return errors;
}

/** What the admin should know, and may ignore. */
export function warnings(values: Values, preset: Preset | undefined): string[] {
  const all: string[] = [];
  const refresh = preset?.scopes.find((s) => s.default && (s.name === "offline_access" || s.name === "refresh_token"))?.name;
  if (refresh !== undefined && !values.scopes.includes(refresh)) all.push(oauthApp.noRefresh(refresh));
  for (const scope of values.scopes) {
    const role = /^session:role:(ACCOUNTADMIN|SECURITYADMIN|ORGADMIN)$/i.exec(scope)?.[1];
    if (role !== undefined) all.push(oauthApp.adminRole(role));
  }
  return all;
}

/** The issuers that were written, without rows that were left empty. */
function issuers(values: Values): Values["subject_issuers"] {
  return values.subject_issuers.map((s) => ({ issuer: s.issuer.trim(), audience: s.audience.trim() })).filter((s) => s.issuer !== "" || s.audience !== "");
}

function params(values: Values): Record<string, string> {
  return Object.fromEntries([
    ...Object.entries(values.params).filter(([, value]) => value.trim() !== "").map(([name, value]) => [name, value.trim()]),
    ...values.auth_params.filter((p) => p.name.trim() !== "").map((p) => [p.name.trim(), p.value]),
  ]);
}

/** The credentials that values bring, for the way of authenticating that they choose. */
function credentials(values: Values): Pick<NewOAuthApp, "client_secret" | "client_secret_next" | "private_key" | "generate_private_key"> {
  const { token_endpoint_auth_method: method, generate_private_key: algorithm } = values;
  if (method === "private_key_jwt") {
    if (algorithm !== "") return { generate_private_key: algorithm };
    return values.private_key === "" ? {} : { private_key: values.private_key };
  }
  if (!usesSecret(method)) return {};
  return {
    ...(values.client_secret !== "" && { client_secret: values.client_secret }),
    ...(values.client_secret_next !== "" && { client_secret_next: values.client_secret_next }),
  };
}

/** To whom an assertion is addressed, which only one way of authenticating asks. */
function audienceOf(values: Values): OAuthApp["assertion_audience"] {
  return values.token_endpoint_auth_method === "private_key_jwt" ? values.assertion_audience : "";
}

/** The fields of the advanced part that are in use, folded away or not. */
export function advancedInUse(values: Values): Field[] {
  const empty: Partial<Record<Field, unknown>> = { par_required: false, dpop: "false", hand_out: "allow" };
  return advancedFields.filter((f) => {
    const value = f === "assertion_audience" ? audienceOf(values) : values[f];
    return Array.isArray(value) ? value.length > 0 : value !== (empty[f] ?? "");
  });
}

/** The request that makes the app. What is empty is left out: the preset fills it in. */
export function newApp(values: Values): NewOAuthApp {
  const app: NewOAuthApp = {
    name: values.name.trim(),
    slug: values.slug,
    preset: values.preset,
    client_id: values.client_id.trim(),
    token_endpoint_auth_method: values.token_endpoint_auth_method,
    scopes: values.scopes,
    identity_match: values.identity_match,
    data_sources: values.data_sources,
  };
  if (hostOf(values.host) !== "") app.host = hostOf(values.host);
  for (const field of ["issuer", ...urlFields] as const) {
    if (values[field].trim() !== "") app[field] = values[field].trim();
  }
  if (Object.keys(params(values)).length > 0) app.auth_params = params(values);
  if (values.resource.length > 0) app.resource = values.resource;
  if (values.par_required) app.par_required = true;
  if (values.dpop !== "false") app.dpop = values.dpop;
  const audience = audienceOf(values);
  if (audience !== "") app.assertion_audience = audience;
  if (values.audiences.length > 0) app.token_exchange = { audiences: values.audiences };
  if (issuers(values).length > 0) app.token_exchange = { ...app.token_exchange, subject_issuers: issuers(values) };
  if (values.hand_out !== "allow") app.hand_out = values.hand_out;
  return { ...app, ...credentials(values) };
}

/**
 * The request that changes the app to what the form says: what changed, and nothing else. The server then derives
 * anew what followed from a host that was changed, and keeps secrets that were not replaced.
 */
export function patchOf(values: Values, app: OAuthApp, preset: Preset | undefined): OAuthAppPatch {
  const before = valuesOf(app, preset);
  const patch: OAuthAppPatch = { rev: app.rev };
  if (values.name.trim() !== before.name) patch.name = values.name.trim();
  if (hostOf(values.host) !== before.host) patch.host = hostOf(values.host);
  for (const field of ["issuer", "client_id", ...urlFields] as const) {
    if (values[field].trim() !== before[field]) patch[field] = values[field].trim();
  }
  if (values.token_endpoint_auth_method !== before.token_endpoint_auth_method) {
    patch.token_endpoint_auth_method = values.token_endpoint_auth_method;
  }
  if (!same(values.scopes, before.scopes)) patch.scopes = values.scopes;
  if (!same(values.data_sources, before.data_sources)) patch.data_sources = values.data_sources;
  if (!same(params(values), params(before))) patch.auth_params = params(values);
  if (values.identity_match !== before.identity_match) patch.identity_match = values.identity_match;
  if (!same(values.resource, before.resource)) patch.resource = values.resource;
  if (values.par_required !== before.par_required) patch.par_required = values.par_required;
  if (values.dpop !== before.dpop) patch.dpop = values.dpop;
  if (audienceOf(values) !== before.assertion_audience) patch.assertion_audience = audienceOf(values);
  if (!same(values.audiences, before.audiences)) patch.token_exchange = { audiences: values.audiences };
  if (!same(issuers(values), before.subject_issuers)) patch.token_exchange = { ...patch.token_exchange, subject_issuers: issuers(values) };
  if (values.hand_out !== before.hand_out) patch.hand_out = values.hand_out;
  Object.assign(patch, credentials(values));
  if (values.end_rollover && usesSecret(values.token_endpoint_auth_method)) patch.client_secret_next = "";
  return patch;
}

/**
 * What to go on with after a Test: the app as it is now if only what a Test changes has changed. Else somebody edited it
 * meanwhile, and saving must say so.
 */
export function afterTest(app: OAuthApp, fresh: OAuthApp, preset: Preset | undefined): OAuthApp {
  const edited = (a: OAuthApp) => [valuesOf(a, preset), a.client_secret, a.client_secret_next, a.private_key];
  return same(edited(app), edited(fresh)) ? fresh : { ...app, broken: fresh.broken };
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** The server's mistakes at their fields. A pointer is "/client_id", or "/scopes/0" for a place in a list. */
export function serverErrors(problem: Problem): Errors {
  const errors: Errors = {};
  for (const { pointer, detail } of problem.fields) {
    const [first, second] = pointer.replace(/^body\.|^\/?(?:body\/)?/, "").split(/[/.]/);
    const name = (first === "token_exchange" ? second : first) ?? "";
    if (name in labels) errors[name as Field] ??= detail;
  }
  return errors;
}

/** The app as it stands in a configuration file. Secrets are references: they are known to nobody here. */
export function yamlOf(app: OAuthApp): string {
  const lines = ["oauth_apps:", `  - name: ${yamlText(app.name)}`];
  const put = (key: string, value: string) => value !== "" && lines.push(`    ${key}: ${yamlText(value)}`);
  const list = (key: string, values: string[]) => values.length > 0 && lines.push(`    ${key}: [${values.map(yamlText).join(", ")}]`);
  const map = (key: string, values: Record<string, string>) => {
    const pairs = Object.entries(values).map(([name, value]) => `${yamlText(name)}: ${yamlText(value)}`);
    if (pairs.length > 0) lines.push(`    ${key}: {${pairs.join(", ")}}`);
  };
  put("slug", app.slug);
  put("preset", app.preset);
  put("host", app.host);
  put("issuer", app.issuer);
  put("auth_url", app.auth_url);
  put("token_url", app.token_url);
  put("revocation_url", app.revocation_url);
  put("userinfo_url", app.userinfo_url);
  put("jwks_url", app.jwks_url);
  put("introspection_url", app.introspection_url);
  put("client_id", app.client_id);
  put("token_endpoint_auth_method", app.token_endpoint_auth_method);
  const secret = (key: string, set: boolean) => set && lines.push(`    ${key}: {env: ${`${app.slug}_${key}`.toUpperCase().replaceAll("-", "_")}}`);
  secret("client_secret", app.client_secret.set);
  secret("client_secret_next", app.client_secret_next.set);
  secret("private_key", app.private_key.set);
  put("assertion_audience", app.assertion_audience);
  list("scopes", app.scopes);
  list("resource", app.resource);
  map("auth_params", app.auth_params);
  put("identity_match", app.identity_match === "warn" ? "" : app.identity_match);
  put("par_url", app.par_url);
  if (app.par_required) lines.push("    par_required: true");
  put("dpop", app.dpop === "false" ? "" : app.dpop);
  const exchange: string[] = [];
  const { audiences, subject_issuers: subjects } = app.token_exchange;
  if (audiences.length > 0) exchange.push(`audiences: [${audiences.map(yamlText).join(", ")}]`);
  if (subjects.length > 0) exchange.push(`subject_issuers: [${subjects.map((s) => `{issuer: ${yamlText(s.issuer)}, audience: ${yamlText(s.audience)}}`).join(", ")}]`);
  if (exchange.length > 0) lines.push(`    token_exchange: {${exchange.join(", ")}}`);
  put("hand_out", app.hand_out === "allow" ? "" : app.hand_out);
  list("data_sources", app.data_sources);
  return `${lines.join("\n")}\n`;
}

function yamlText(text: string): string {
  return /^[A-Za-z][\w .\-/]*$/.test(text) && !/^(?:true|false|yes|no|on|off|null)$/i.test(text) && text === text.trim()
    ? text
    : JSON.stringify(text);
}

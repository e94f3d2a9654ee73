import { Button, Group, Modal, MultiSelect, Select, TagsInput, Text, TextInput } from "@mantine/core";
import { IconAlertTriangle, IconWorldSearch } from "@tabler/icons-react";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useBlocker } from "@tanstack/react-router";
import { type FormEvent, type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { api, type OAuthApp, type Preset } from "../api/client";
import { asProblem, Problem } from "../api/problem";
import { strings } from "../strings";
import { useAnnounce } from "../ui/Announcer";
import { CopyButton } from "../ui/CopyButton";
import { ErrorBlock } from "../ui/ErrorBlock";
import { Notice } from "../ui/Notice";
import { Advanced } from "./Advanced";
import { Fold } from "./Fold";
import classes from "./Form.module.css";
import {
  advancedFields,
  type AuthMethod,
  derivedURL,
  endpointFields,
  type Errors,
  type Field,
  hostOf,
  labels,
  newApp,
  scopesOf,
  serverErrors,
  slugOf,
  type TextField,
  urlFields,
  usesSecret,
  validate,
  type Values,
  warnings,
} from "./form";
import { Guide } from "./Guide";
import { KeyField } from "./KeyField";
import { dataSourcesQuery, redirectURIQuery } from "./queries";
import { Rollover } from "./Rollover";
import { SecretField } from "./SecretField";
import { TestButton, TestPanel } from "./TestPanel";
import { useTest } from "./useTest";
import { scopeWords } from "../connectedapps/scopes";
import { oauthApp as t } from "./strings";

interface Props {
  /** The app as it is stored; undefined for a new one. */
  app?: OAuthApp;
  preset?: Preset;
  start: Values;
  readOnly?: boolean;
  submitLabel: string;
  saving: boolean;
  saved?: boolean;
  error: unknown;
  people?: number;
  onReload?: () => void;
  onSubmit: (values: Values) => void;
}

/** The one form of an OAuth app. What was typed stays through every failure. */
export function AppForm({ app, preset, start, readOnly = false, submitLabel, saving, saved, error, people = 0, onReload, onSubmit }: Props) {
  const announce = useAnnounce();
  const [values, setValues] = useState(start);
  const [touched, setTouched] = useState<Partial<Record<Field, boolean>>>({});
  const [tried, setTried] = useState(false);
  const [slugEdited, setSlugEdited] = useState(app !== undefined);
  const [open, setOpen] = useState(preset === undefined || Object.keys(preset.derived).length === 0 || endpointFields.some((f) => start[f] !== ""));
  const [advanced, setAdvanced] = useState(false);
  const test = useTest();
  const summary = useRef<HTMLDivElement>(null);

  const problem = error ? asProblem(error) : undefined;
  const [fixed, setFixed] = useState<{ problem?: Problem; fields: Partial<Record<Field, boolean>> }>({ fields: {} });
  const refused = useMemo(() => (problem ? serverErrors(problem) : {}), [problem]);
  const fromServer: Errors = Object.fromEntries(
    Object.entries(refused).filter(([f]) => !(fixed.problem === problem && fixed.fields[f as Field])),
  );
  const local = validate(values, preset, app);
  const shown = (field: Field) => fromServer[field] ?? (tried || touched[field] ? local[field] : undefined);
  const mistakes = (Object.keys(labels) as Field[]).filter((f) => (tried ? local[f] : undefined) ?? fromServer[f]);
  const dirty = !readOnly && JSON.stringify(values) !== JSON.stringify(start);

  const set = <F extends Field>(field: F, value: Values[F]) => {
    setValues((v) => {
      const next = { ...v, [field]: value };
      if (field === "name" && !slugEdited) next.slug = slugOf(value as string);
      return next;
    });
    setFixed((f) => ({ problem, fields: { ...(f.problem === problem ? f.fields : {}), [field]: true } }));
  };
  const blur = (field: Field) => setTouched((s) => ({ ...s, [field]: true }));
  const text = (field: TextField) => ({
    id: `field-${field}`,
    label: labels[field],
    value: values[field],
    error: shown(field),
    readOnly,
    onChange: (e: { currentTarget: { value: string } }) => set(field, e.currentTarget.value),
    onBlur: () => {
      const trimmed = values[field].trim();
      if (trimmed !== values[field]) {
        set(field, trimmed);
        announce(t.trimmed);
      }
      blur(field);
    },
  });

  /** Goes on with what the form says, or shows what is wrong with it. */
  const whenValid = (go: () => void) => {
    setTried(true);
    if (Object.keys(local).length === 0) go();
    else requestAnimationFrame(() => summary.current?.focus());
  };
  const submit = (e: FormEvent) => {
    e.preventDefault();
    whenValid(() => onSubmit(values));
  };
  const [tested, setTested] = useState(values);
  const tryDraft = () =>
    whenValid(() => {
      setTested(values);
      test.start((signal) => api.testNewOAuthApp(newApp(values), signal));
    });
  useEffect(() => {
    if (Object.keys(refused).length > 0) summary.current?.focus();
  }, [refused]);
  useEffect(() => {
    if (endpointFields.some((f) => mistakes.includes(f))) setOpen(true);
    if (advancedFields.some((f) => mistakes.includes(f))) setAdvanced(true);
  }, [mistakes]);

  const redirect = useQuery(redirectURIQuery(local.slug === undefined ? values.slug : ""));
  const redirectURI = app?.redirect_uri ?? redirect.data?.redirect_uri ?? "";
  const jwksURI = app?.private_key.jwks_uri ?? redirect.data?.jwks_uri ?? "";
  const makesKey = values.token_endpoint_auth_method === "private_key_jwt" && values.generate_private_key !== "";
  const first = app === undefined ? 2 : 1; // of a new one, the provider is the first step
  const addedScopes = app !== undefined && values.scopes.some((s) => !app.scopes.includes(s));

  return (
    <form onSubmit={submit} noValidate autoComplete="off">
      {mistakes.length > 0 && (
        <div ref={summary} tabIndex={-1} role="alert" className={classes.summary}>
          <p>
            <IconAlertTriangle size={16} aria-hidden /> {t.summary(mistakes.length)}
          </p>
          <ul>
            {mistakes.map((f) => (
              <li key={f}>
                <button type="button" onClick={() => focusField(f)}>
                  {f === "host" ? preset?.host_label || labels.host : labels[f]}
                </button>
                : {fromServer[f] ?? local[f]}
              </li>
            ))}
          </ul>
        </div>
      )}

      <Section n={first + 0} title={t.steps.where} id="where">
        <div className={classes.pair}>
          <TextInput {...text("name")} description={t.nameHelp} withAsterisk={!readOnly} maxLength={100} />
          <TextInput
            {...text("slug")}
            description={app ? t.slugFrozen : t.slugHelp}
            readOnly={readOnly || app !== undefined}
            withAsterisk={!readOnly && app === undefined}
            maxLength={63}
            onChange={(e) => {
              setSlugEdited(true);
              set("slug", e.currentTarget.value);
            }}
          />
        </div>
        {preset && preset.host_label !== "" && (
          <TextInput
            {...text("host")}
            label={preset.host_label}
            placeholder={preset.host_example}
            spellCheck={false}
            onBlur={() => {
              if (hostOf(values.host) !== values.host) set("host", hostOf(values.host));
              blur("host");
            }}
          />
        )}
        {(preset === undefined || preset.host_label === "" || values.issuer !== "") && (
          <Discover preset={preset} values={values} text={text("issuer")} readOnly={readOnly} onFound={(found) => setValues((v) => ({ ...v, ...found }))} />
        )}
        <Fold
          id="endpoints"
          label={t.endpoints}
          open={open}
          onToggle={() => setOpen(!open)}
          summary={preset && preset.host_label !== "" && <DerivedURLs preset={preset} values={values} />}
        >
          <div className={classes.fields}>
            {endpointFields.map((f) => {
              const derived = derivedURL(preset, f, values.host);
              return <TextInput key={f} {...text(f)} placeholder={derived || (f === "auth_url" ? "https://idp.example.com/oauth/authorize" : undefined)} spellCheck={false} inputMode="url" />;
            })}
          </div>
        </Fold>
      </Section>

      <Section n={first + 1} title={t.steps.register} id="register">
        <div className={classes.fields}>
          <div className={classes.fields}>
            <div className={classes.copyField}>
              <TextInput
                id="field-redirect"
                label={t.redirectURI}
                description={t.redirectURIHelp}
                value={redirectURI}
                placeholder={t.redirectPending}
                readOnly
                onFocus={(e) => e.currentTarget.select()}
                classNames={{ input: classes.mono }}
              />
              {redirectURI !== "" && <CopyButton text={redirectURI} what={t.redirectURI} labelled />}
            </div>
            {redirect.isError && <ErrorBlock error={redirect.error} onRetry={() => void redirect.refetch()} />}
            <OriginNotice redirectURI={redirectURI} />
          </div>
          {preset && <Guide preset={preset} redirectURI={redirectURI} host={values.host} />}
        </div>
      </Section>

      <Section n={first + 2} title={t.steps.credentials} id="credentials">
        <div className={classes.pair}>
          <TextInput {...text("client_id")} withAsterisk={!readOnly} spellCheck={false} classNames={{ input: classes.mono }} />
          <Select
            id="field-token_endpoint_auth_method"
            label={t.authMethod}
            value={values.token_endpoint_auth_method}
            error={shown("token_endpoint_auth_method")}
            readOnly={readOnly}
            allowDeselect={false}
            data={[...new Set([...(preset?.auth_methods ?? ["client_secret_basic", "client_secret_post", "none"]), values.token_endpoint_auth_method])].map(
              (m) => ({ value: m, label: t.authMethods[m] ?? m }),
            )}
            onChange={(m) => m && set("token_endpoint_auth_method", m as AuthMethod)}
          />
        </div>
        {usesSecret(values.token_endpoint_auth_method) && (
          <SecretField
            name="client_secret"
            label={t.clientSecret}
            help={t.clientSecretHelp}
            state={app?.client_secret}
            inUse={app?.client_secret_next.set && app.client_secret_in_use === "client_secret"}
            value={values.client_secret}
            error={shown("client_secret")}
            readOnly={readOnly}
            onChange={(v) => set("client_secret", v)}
            onBlur={() => blur("client_secret")}
          />
        )}
        {usesSecret(values.token_endpoint_auth_method) && app?.client_secret.set && (
          <Rollover
            app={app}
            value={values.client_secret_next}
            error={shown("client_secret_next")}
            ending={values.end_rollover}
            readOnly={readOnly}
            onChange={(v) => set("client_secret_next", v)}
            onEnd={(v) => setValues((all) => ({ ...all, end_rollover: v, client_secret_next: "" }))}
            onBlur={() => blur("client_secret_next")}
          />
        )}
        {values.token_endpoint_auth_method === "private_key_jwt" && (
          <KeyField
            state={app?.private_key}
            jwksURI={jwksURI}
            value={values.private_key}
            algorithm={values.generate_private_key}
            error={shown("private_key") ?? shown("generate_private_key")}
            readOnly={readOnly}
            onChange={(v) => set("private_key", v)}
            onAlgorithm={(v) => set("generate_private_key", v)}
            onBlur={() => blur("private_key")}
          />
        )}
      </Section>

      <Section n={first + 3} title={t.steps.permissions} id="permissions">
        <TagsInput
          id="field-scopes"
          label={t.scopes}
          description={readOnly ? undefined : t.scopesHelp}
          value={values.scopes}
          error={shown("scopes")}
          readOnly={readOnly}
          splitChars={[",", " "]}
          data={(preset?.scopes ?? []).map((s) => s.name).filter((s) => !s.includes("<"))}
          renderOption={({ option }) => (
            <div>
              <code>{option.value}</code>
              <Text size="xs" c="dimmed">
                {preset?.scopes.find((s) => s.name === option.value)?.title}
              </Text>
            </div>
          )}
          onChange={(v) => set("scopes", scopesOf(v))}
        />
        {values.scopes.length > 0 && (
          <ul className={classes.meanings}>
            {values.scopes.map((s) => {
              const words = preset?.scopes.find((p) => p.name === s)?.title ?? scopeWords(s);
              return words ? (
                <li key={s}>
                  <code>{s}</code> {words}
                </li>
              ) : null;
            })}
          </ul>
        )}
        {!readOnly &&
          warnings(values, preset).map((w) => (
            <Notice key={w} tone="warn" icon={IconAlertTriangle} title={w} />
          ))}
        {addedScopes && people > 0 && (
          <Notice tone="info" icon={IconAlertTriangle} title={t.consentTitle}>
            <p>{t.consent(people)}</p>
          </Notice>
        )}
        {preset?.params.map((p, i) => (
          <TextInput
            key={p.name}
            id={i === 0 ? "field-params" : undefined}
            label={p.title}
            description={<code>{p.name}</code>}
            placeholder={p.example}
            value={values.params[p.name] ?? ""}
            error={p.required && values.params[p.name]?.trim() === "" && shown("params")}
            readOnly={readOnly}
            spellCheck={false}
            withAsterisk={p.required && !readOnly}
            onChange={(e) => set("params", { ...values.params, [p.name]: e.currentTarget.value })}
            onBlur={() => blur("params")}
          />
        ))}
        <Select
          id="field-identity_match"
          label={t.identityMatch}
          description={t.identityMatchHelp}
          value={values.identity_match}
          error={shown("identity_match")}
          readOnly={readOnly}
          allowDeselect={false}
          data={Object.entries(t.identityMatches).map(([value, label]) => ({ value, label }))}
          onChange={(m) => m && set("identity_match", m as Values["identity_match"])}
        />
      </Section>

      <Section n={first + 4} title={t.steps.sources} id="sources">
        <SourcesField value={values.data_sources} slug={values.slug} error={shown("data_sources")} readOnly={readOnly} onChange={(v) => set("data_sources", v)} />
      </Section>

      <Advanced app={app} values={values} open={advanced} onToggle={() => setAdvanced(!advanced)} shown={shown} parURL={text("par_url")} readOnly={readOnly} set={set} />

      {app === undefined && (
        <Section n={first + 5} title={t.steps.test} id="test">
          <p className={classes.hint}>{makesKey ? t.test.afterCreate : t.test.lead}</p>
          {!makesKey && (
            <div>
              <TestButton test={test} onStart={tryDraft} />
            </div>
          )}
          {!makesKey && <TestPanel test={test} outdated={values !== tested} onRetry={tryDraft} />}
        </Section>
      )}

      {problem && Object.keys(fromServer).length === 0 && Object.keys(refused).length === 0 && (
        <ErrorBlock
          error={problem.code === "conflict" && app ? new Problem({ ...problem, code: problem.code, detail: t.conflict }) : problem}
          action={
            problem.status === 409 && onReload ? (
              <Button size="xs" variant="default" onClick={onReload}>
                {strings.common.reload}
              </Button>
            ) : undefined
          }
        />
      )}
      {!readOnly && (
        <div className={classes.footer}>
          <Button type="submit" loading={saving}>
            {submitLabel}
          </Button>
          {saved && !dirty && (
            <Text c="dimmed" role="status">
              {t.saved}
            </Text>
          )}
        </div>
      )}
      <UnsavedGuard when={dirty && !saving} />
    </form>
  );
}

function focusField(field: Field) {
  const element = document.getElementById(`field-${field}`);
  element?.focus();
  element?.scrollIntoView({ block: "center" });
}

function Section({ n, title, id, children }: { n: number; title: string; id: string; children: ReactNode }) {
  return (
    <section className={`card ${classes.section}`} aria-labelledby={`step-${id}`}>
      <h2 id={`step-${id}`} className={classes.step}>
        <span aria-hidden>{n}</span> {title}
      </h2>
      <div className={classes.fields}>{children}</div>
    </section>
  );
}

function DerivedURLs({ preset, values }: { preset: Preset; values: Values }) {
  const urls = endpointFields.map((f) => [f, values[f] || derivedURL(preset, f, values.host)] as const).filter(([, url]) => url !== "");
  if (urls.length === 0) return null;
  return (
    <dl className={classes.derived}>
      {urls.map(([f, url]) => (
        <div key={f}>
          <dt>{labels[f]}</dt>
          <dd>
            <code>{url}</code>
          </dd>
        </div>
      ))}
    </dl>
  );
}

/** The issuer and its metadata, which fill in the endpoints. */
function Discover({
  preset,
  values,
  text,
  readOnly,
  onFound,
}: {
  preset: Preset | undefined;
  values: Values;
  text: React.ComponentProps<typeof TextInput>;
  readOnly: boolean;
  onFound: (found: Partial<Values>) => void;
}) {
  const announce = useAnnounce();
  const discover = useMutation({
    mutationFn: () => api.discover(values.issuer.trim()),
    onSuccess: (d) => {
      const found: Partial<Values> = {};
      for (const f of [...urlFields, "issuer"] as const) {
        if (d[f] !== "" && d[f] !== values[f]) found[f] = d[f];
      }
      if (d.par_required) found.par_required = true;
      onFound(found);
      announce(t.discovered(Object.keys(found).length));
      return found;
    },
  });
  const changes = useRef<string[]>([]);
  if (discover.isPending) changes.current = urlFields.map((f) => values[f]);
  const changed = urlFields.filter((f, i) => values[f] !== changes.current[i]);
  return (
    <div className={classes.fields}>
      <div className={classes.copyField}>
        <TextInput {...text} description={t.issuerHelp} placeholder={preset?.issuer_example || preset?.derived.issuer || "https://idp.example.com"} spellCheck={false} inputMode="url" />
        {!readOnly && (
          <Button
            variant="default"
            leftSection={<IconWorldSearch size={16} aria-hidden />}
            disabled={values.issuer.trim() === ""}
            loading={discover.isPending}
            onClick={() => discover.mutate()}
          >
            {t.discover}
          </Button>
        )}
      </div>
      {discover.isError && <ErrorBlock error={discover.error} />}
      {discover.isSuccess && (
        <Text size="sm" c="dimmed">
          {t.discovered(changed.length)} {changed.length > 0 && strings.list(changed.map((f) => labels[f]))}
        </Text>
      )}
    </div>
  );
}

/** Names a public URL that is not where this page was opened: nobody would come back to it. */
function OriginNotice({ redirectURI }: { redirectURI: string }) {
  if (redirectURI === "") return null;
  const there = new URL(redirectURI);
  if (there.origin !== window.location.origin) {
    return <Notice tone="warn" icon={IconAlertTriangle} title={t.otherOrigin(window.location.origin, there.origin)} />;
  }
  if (/^(localhost|127\.|\[::1\])/.test(there.hostname)) return <p className={classes.hint}>{t.localOrigin}</p>;
  return null;
}

interface SourcesProps {
  value: string[];
  slug: string;
  error?: string;
  readOnly: boolean;
  onChange: (v: string[]) => void;
}

function SourcesField({ value, slug, error, readOnly, onChange }: SourcesProps) {
  const sources = useQuery(dataSourcesQuery);
  const names = new Set([...(sources.data ?? []).map((s) => s.name), ...value]);
  return (
    <>
      <MultiSelect
        id="field-data_sources"
        label={t.sources}
        description={t.sourcesHelp}
        data={[...names]}
        value={value}
        error={error}
        readOnly={readOnly}
        searchable
        clearable
        nothingFoundMessage={strings.common.none}
        renderOption={({ option }) => {
          const source = sources.data?.find((s) => s.name === option.value);
          return (
            <Group gap="xs" justify="space-between" w="100%">
              <code>{option.value}</code>
              <Text size="xs" c="dimmed">
                {source?.type}
                {source && source.oauth_app !== "" && source.oauth_app !== slug && ` · ${t.sourceTaken(source.oauth_app)}`}
              </Text>
            </Group>
          );
        }}
        onChange={onChange}
      />
      {sources.isError && <ErrorBlock error={sources.error} onRetry={() => void sources.refetch()} />}
    </>
  );
}

/** Asks before what was typed is lost: in the app by a dialog, and by the browser's own on leaving the page. */
function UnsavedGuard({ when }: { when: boolean }) {
  const blocker = useBlocker({
    shouldBlockFn: ({ current, next }) => when && current.pathname !== next.pathname,
    enableBeforeUnload: when,
    withResolver: true,
  });
  return (
    <Modal
      opened={blocker.status === "blocked"}
      onClose={() => blocker.reset?.()}
      title={t.unsavedTitle}
      closeButtonProps={{ "aria-label": strings.common.close }}
    >
      <Text>{t.unsaved}</Text>
      <Group justify="flex-end" mt="lg" gap="xs">
        <Button variant="default" data-autofocus onClick={() => blocker.reset?.()}>
          {t.unsavedStay}
        </Button>
        <Button color="red" onClick={() => blocker.proceed?.()}>
          {t.unsavedLeave}
        </Button>
      </Group>
    </Modal>
  );
}

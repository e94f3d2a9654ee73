import { Button, Group } from "@mantine/core";
import { IconAlertTriangle, IconArrowLeft, IconCircleCheck, IconFileText, IconKeyOff } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { useCallback, useEffect, useState } from "react";
import { api, type OAuthApp } from "../api/client";
import { connectedAppsQuery } from "../connectedapps/queries";
import { Page } from "../shell/Page";
import { AdminOnly } from "../shell/Refusals";
import { useAnnounce } from "../ui/Announcer";
import { CopyButton } from "../ui/CopyButton";
import { ErrorBlock } from "../ui/ErrorBlock";
import { Loading } from "../ui/Loading";
import { Notice } from "../ui/Notice";
import { RelativeTime } from "../ui/RelativeTime";
import { AppForm } from "./AppForm";
import { connectedPeople } from "./Dialogs";
import classes from "./Form.module.css";
import { afterTest, newApp, patchOf, startOf, valuesOf, yamlOf } from "./form";
import { PresetTiles } from "./PresetTiles";
import { oauthAppQuery, oauthAppsQuery, presetsQuery } from "./queries";
import { oauthApps } from "./strings";
import { oauthApp as t } from "./strings";
import { TestButton, TestPanel } from "./TestPanel";
import { useTest } from "./useTest";

export function NewPage() {
  return (
    <AdminOnly>
      <New />
    </AdminOnly>
  );
}

export function EditPage() {
  const { app } = useParams({ from: "/admin/oauth-apps/$app" });
  return (
    <AdminOnly>
      <Edit key={app} id={app} />
    </AdminOnly>
  );
}

function BackLink() {
  return (
    <Link to="/admin/oauth-apps" className={classes.back}>
      <IconArrowLeft size={15} aria-hidden /> {t.back}
    </Link>
  );
}

function New() {
  const { preset: chosen } = useSearch({ from: "/admin/oauth-apps/new" });
  const presets = useQuery(presetsQuery);
  const queries = useQueryClient();
  const navigate = useNavigate();
  const preset = presets.data?.find((p) => p.name === chosen);
  const create = useMutation({
    mutationFn: api.createOAuthApp,
    onSuccess: (app) => {
      queries.setQueryData(oauthAppQuery(app.slug).queryKey, app);
      void queries.invalidateQueries({ queryKey: oauthAppsQuery.queryKey, exact: true });
      void queries.invalidateQueries({ queryKey: connectedAppsQuery.queryKey });
      void navigate({ to: "/admin/oauth-apps/$app", params: { app: app.slug }, search: { created: true }, ignoreBlocker: true });
    },
  });
  return (
    <>
      <BackLink />
      <Page title={t.newTitle} lead={t.newLead}>
        <section className={classes.section} aria-labelledby="step-provider">
          <h2 id="step-provider" className={classes.step}>
            <span aria-hidden>1</span> {t.steps.provider}
          </h2>
          <PresetTiles chosen={chosen ?? ""} />
        </section>
        {preset && (
          <AppForm
            key={preset.name}
            preset={preset}
            start={startOf(preset)}
            submitLabel={t.create}
            saving={create.isPending}
            error={create.error}
            onSubmit={(values) => create.mutate(newApp(values))}
          />
        )}
      </Page>
    </>
  );
}

function Edit({ id }: { id: string }) {
  const app = useQuery(oauthAppQuery(id));
  const presets = useQuery(presetsQuery);
  const failed = app.error ?? presets.error;
  if (failed && (app.data === undefined || presets.data === undefined)) {
    return (
      <Page title={t.back}>
        <ErrorBlock error={failed} onRetry={() => void Promise.all([app.refetch(), presets.refetch()])} />
      </Page>
    );
  }
  // What is edited was read just now, and no later reading replaces what is being typed.
  if (app.data === undefined || presets.data === undefined || !app.isFetchedAfterMount) {
    return (
      <Page title={t.back}>
        <Loading lines={8} height={22} />
      </Page>
    );
  }
  return <EditLoaded read={app.data} reload={async () => (await app.refetch()).data} />;
}

function EditLoaded({ read, reload }: { read: OAuthApp; reload: () => Promise<OAuthApp | undefined> }) {
  const [app, setApp] = useState(read);
  const [edition, setEdition] = useState(0);
  const { created, test: testNow } = useSearch({ from: "/admin/oauth-apps/$app" });
  const navigate = useNavigate();
  const presets = useQuery(presetsQuery);
  const preset = presets.data?.find((p) => p.name === app.preset);
  const queries = useQueryClient();
  const announce = useAnnounce();
  const [saved, setSaved] = useState(false);
  // A Test may mark the app as broken, or heal it. That is shown, and what is being typed stays.
  const test = useTest(() => {
    void reload().then((fresh) => fresh && setApp((a) => afterTest(a, fresh, preset)));
    void queries.invalidateQueries({ queryKey: oauthAppsQuery.queryKey, exact: true });
  });
  const { start, forget } = test;
  const run = useCallback(() => start((signal) => api.testOAuthApp(app.id, signal)), [start, app.id]);
  useEffect(() => {
    if (testNow === undefined) return;
    run();
    // Once: to read the page again is not to test again.
    void navigate({ to: "/admin/oauth-apps/$app", params: { app: app.slug }, search: {}, replace: true, resetScroll: false });
  }, [testNow, run, navigate, app.slug]);
  const save = useMutation({
    mutationFn: (patch: Parameters<typeof api.updateOAuthApp>[1]) => api.updateOAuthApp(app.id, patch),
    onMutate: () => setSaved(false),
    onSuccess: (fresh) => {
      setApp(fresh);
      setEdition((n) => n + 1);
      void queries.invalidateQueries({ queryKey: oauthAppsQuery.queryKey });
      void queries.invalidateQueries({ queryKey: connectedAppsQuery.queryKey });
      setSaved(true);
      forget();
      announce(t.saved);
    },
  });
  const tested = test.running || test.report !== undefined || test.error !== null;
  const managed = app.origin === "file";
  return (
    <>
      <BackLink />
      <Page title={app.name} lead={managed ? undefined : t.editLead(app.slug)} actions={<TestButton test={test} onStart={run} />}>
        <div className={classes.notices}>
          {created && (
            <Notice tone="ok" icon={IconCircleCheck} title={t.createdTitle(app.name)}>
              <p>{t.created}</p>
              <Group gap="xs" mt="sm">
                <CopyButton text={app.redirect_uri} what="redirect URI" labelled="full" />
                {app.private_key.jwks_uri !== undefined && <CopyButton text={app.private_key.jwks_uri} what="JWKS URL" labelled="full" />}
                <Button renderRoot={(props) => <Link to="/connected-apps" {...props} />}>{t.authorizeAsMe}</Button>
              </Group>
            </Notice>
          )}
          {managed && (
            <Notice tone="info" icon={IconFileText} title={t.managed}>
              <p>{t.managedWhy}</p>
              <Group mt="sm">
                <CopyButton text={yamlOf(app)} what="YAML" labelled="full" />
              </Group>
            </Notice>
          )}
          {app.broken && (
            <Notice tone="bad" icon={IconKeyOff} title={t.broken}>
              <p>
                {t.brokenWhy(app.broken.code)} {t.brokenBegan} <RelativeTime at={app.broken.since} />.
              </p>
            </Notice>
          )}
          {app.paused && (
            <Notice tone="warn" icon={IconAlertTriangle} title={oauthApps.paused}>
              {app.paused_note !== "" && <p>“{app.paused_note}”</p>}
            </Notice>
          )}
        </div>
        {tested && (
          <section className={`card ${classes.section}`} aria-labelledby="test-title">
            <h2 id="test-title" className={classes.step}>
              {t.test.saved}
            </h2>
            <TestPanel test={test} onRetry={run} />
          </section>
        )}
        <AppForm
          key={edition} // a saved form starts anew from what the server made of it
          app={app}
          preset={preset}
          start={valuesOf(app, preset)}
          readOnly={managed}
          submitLabel={t.save}
          saving={save.isPending}
          saved={saved}
          error={save.error}
          onReload={() =>
            void reload().then((fresh) => {
              if (fresh === undefined) return;
              setApp(fresh);
              setEdition((n) => n + 1);
            })
          }
          people={connectedPeople(app)}
          onSubmit={(values) => save.mutate(patchOf(values, app, preset))}
        />
      </Page>
    </>
  );
}

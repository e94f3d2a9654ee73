import { ActionIcon, Button, Menu } from "@mantine/core";
import { IconApps, IconCircleCheck, IconDots, IconFileText, IconKeyOff, IconPlayerPause, IconPlus } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { api, type OAuthApp, type Status } from "../api/client";
import { connectedAppsQuery } from "../connectedapps/queries";
import { Page } from "../shell/Page";
import { AdminOnly } from "../shell/Refusals";
import { strings } from "../strings";
import { useAnnounce } from "../ui/Announcer";
import { Badge } from "../ui/Badge";
import { useCopy } from "../ui/CopyButton";
import { EmptyState } from "../ui/EmptyState";
import { ErrorBlock } from "../ui/ErrorBlock";
import { Listing } from "../ui/Listing";
import { ProviderMark } from "../ui/ProviderMark";
import { RelativeTime } from "../ui/RelativeTime";
import { toneOf } from "../ui/StatusBadge";
import { Dim, Table } from "../ui/Table";
import { DeleteDialog, PauseDialog } from "./Dialogs";
import classes from "./OAuthApps.module.css";
import { PresetTiles } from "./PresetTiles";
import { oauthAppsQuery } from "./queries";
import { oauthApps as t } from "./strings";

export function ListPage() {
  return (
    <AdminOnly>
      <List />
    </AdminOnly>
  );
}

function List() {
  const apps = useQuery(oauthAppsQuery);
  const some = apps.data !== undefined && apps.data.length > 0;
  const add = (
    <Button leftSection={<IconPlus size={16} aria-hidden />} renderRoot={(props) => <Link to="/admin/oauth-apps/new" {...props} />}>
      {t.add}
    </Button>
  );
  return (
    <Page title={t.title} lead={t.lead} actions={some && add}>
      <Listing
        query={apps}
        empty={
          <EmptyState icon={IconApps} title={t.emptyTitle} action={<PresetTiles />}>
            {t.empty}
          </EmptyState>
        }
      >
        {(rows) => (
          <Table
            label={t.title}
            rows={rows}
            keyOf={(app) => app.id}
            columns={[
              { name: t.columns.app, cell: (app) => <Name app={app} /> },
              { name: t.columns.state, cell: (app) => <State app={app} /> },
              { name: t.columns.people, cell: (app) => <People people={app.people} /> },
              { name: t.columns.sources, cell: (app) => <Sources names={app.data_sources} /> },
            ]}
            actions={{ name: t.columns.actions, cell: (app) => <RowMenu app={app} /> }}
          />
        )}
      </Listing>
    </Page>
  );
}

function Name({ app }: { app: OAuthApp }) {
  return (
    <div className={classes.app}>
      <ProviderMark preset={app.preset} />
      <div>
        <Link to="/admin/oauth-apps/$app" params={{ app: app.slug }} className={classes.name}>
          {app.name}
        </Link>
        <div className={classes.slug}>
          <code>{app.slug}</code>
          {app.origin === "file" && (
            <span className={classes.origin}>
              <IconFileText size={13} aria-hidden /> {t.byFile}
            </span>
          )}
        </div>
      </div>
    </div>
  );
}

function Sources({ names }: { names: string[] }) {
  if (names.length === 0) return <Dim>{t.byKey}</Dim>;
  return (
    <ul className={classes.sources}>
      {names.map((s) => (
        <li key={s}>
          <code>{s}</code>
        </li>
      ))}
    </ul>
  );
}

export function State({ app }: { app: OAuthApp }) {
  if (app.broken) {
    return (
      <div className={classes.state}>
        <Badge tone="bad" icon={IconKeyOff}>
          {t.rejected}
        </Badge>
        <Dim>
          {t.rejectedSince(app.broken.code)} <RelativeTime at={app.broken.since} />
        </Dim>
      </div>
    );
  }
  if (app.paused) {
    return (
      <div className={classes.state}>
        <Badge tone="calm" icon={IconPlayerPause}>
          {t.paused}
        </Badge>
        {app.paused_note !== "" && <Dim>“{app.paused_note}”</Dim>}
      </div>
    );
  }
  return (
    <Badge tone="ok" icon={IconCircleCheck}>
      {t.enabled}
    </Badge>
  );
}

/** How many people there are by status: a bar for the eye, and the same in words. */
function People({ people }: { people: Record<string, number> }) {
  const counts = Object.entries(people).filter(([status, n]) => n > 0 && status !== "not_connected") as [Status, number][];
  if (counts.length === 0) return <Dim>{t.nobody}</Dim>;
  return (
    <div className={classes.people}>
      <div className={classes.bar} aria-hidden>
        {counts.map(([status, n]) => (
          <span key={status} data-tone={toneOf(status)} style={{ flexGrow: n }} />
        ))}
      </div>
      <span>{counts.map(([status, n]) => t.statusCount(n, strings.status[status] ?? status)).join(", ")}</span>
    </div>
  );
}

function RowMenu({ app }: { app: OAuthApp }) {
  const [dialog, setDialog] = useState<"pause" | "delete">();
  const queries = useQueryClient();
  const announce = useAnnounce();
  const { copy } = useCopy();
  const close = () => setDialog(undefined);
  const done = (text: string) => {
    close();
    announce(text);
    void queries.invalidateQueries({ queryKey: oauthAppsQuery.queryKey });
    void queries.invalidateQueries({ queryKey: connectedAppsQuery.queryKey });
  };
  const resume = useMutation({ mutationFn: () => api.resumeOAuthApp(app.id), onSuccess: () => done(t.resumedDone(app.name)) });
  const managed = app.origin === "file";
  return (
    <>
      <Menu position="bottom-end">
        <Menu.Target>
          <ActionIcon variant="subtle" color="gray" size={36} aria-label={t.actionsOf(app.name)}>
            <IconDots size={18} aria-hidden />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item renderRoot={(props) => <Link to="/admin/oauth-apps/$app" params={{ app: app.slug }} {...props} />}>
            {managed ? t.view : t.edit}
          </Menu.Item>
          <Menu.Item renderRoot={(props) => <Link to="/admin/oauth-apps/$app" params={{ app: app.slug }} search={{ test: 1 }} {...props} />}>{t.test}</Menu.Item>
          <Menu.Item onClick={() => void copy(app.redirect_uri)}>{t.copyRedirect}</Menu.Item>
          {!managed && app.paused && <Menu.Item onClick={() => resume.mutate()}>{t.resume}</Menu.Item>}
          {!managed && !app.paused && <Menu.Item onClick={() => setDialog("pause")}>{t.pause}</Menu.Item>}
          {!managed && <Menu.Divider />}
          {!managed && (
            <Menu.Item color="red" onClick={() => setDialog("delete")}>
              {t.remove}
            </Menu.Item>
          )}
        </Menu.Dropdown>
      </Menu>
      {resume.isError && <ErrorBlock error={resume.error} onRetry={() => resume.mutate()} />}
      <PauseDialog app={app} opened={dialog === "pause"} onClose={close} onDone={() => done(t.pausedDone(app.name))} />
      <DeleteDialog app={app} opened={dialog === "delete"} onClose={close} onDone={() => done(t.deletedDone(app.name))} />
    </>
  );
}

import { ActionIcon, Button, Menu } from "@mantine/core";
import { IconCheck, IconDots, IconPoint, IconRefresh, IconUserQuestion } from "@tabler/icons-react";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useId, useRef, useState } from "react";
import { api, type ConnectedApp } from "../api/client";
import { ConnectPanel } from "../connect/ConnectPanel";
import { inBrowser, useConnect } from "../connect/useConnect";
import { strings } from "../strings";
import { useAnnounce } from "../ui/Announcer";
import { ErrorBlock } from "../ui/ErrorBlock";
import { Notice } from "../ui/Notice";
import { ProviderMark } from "../ui/ProviderMark";
import { RelativeTime } from "../ui/RelativeTime";
import { needsAttention, StatusBadge } from "../ui/StatusBadge";
import classes from "./ConnectedApps.module.css";
import { connectedAppsQuery } from "./queries";
import { RevokeDialog } from "./RevokeDialog";
import { scopeWords } from "./scopes";
import { connectedApps as t } from "./strings";

/** One app: how it stands, until when, what it may do, and what the person can do about it. */
export function AppCard({ app }: { app: ConnectedApp }) {
  const announce = useAnnounce();
  const queries = useQueryClient();
  const heading = useRef<HTMLHeadingElement>(null);
  const titleID = useId();
  const [asking, setAsking] = useState(false);
  const [notice, setNotice] = useState("");

  const changed = (text: string) => {
    setNotice(text);
    announce(text);
    void queries.invalidateQueries({ queryKey: connectedAppsQuery.queryKey });
  };
  const { phase, connect, reset } = useConnect(app.app, (fresh) => changed(strings.connect.connected(fresh.name, fresh.account)));
  const refresh = useMutation({ mutationFn: () => api.refreshGrant(app.app), onSuccess: () => changed(t.refreshed_done(app.name)) });

  const can = (rel: string) => app.actions.some((a) => a.rel === rel);
  const authorize = inBrowser(app);
  const verb = authorize?.rel === "authorize" ? strings.connect.authorize : strings.connect.reauthorize;
  const busy = phase.step === "starting" || phase.step === "waiting";
  const urgent = app.status === "not_connected" || needsAttention(app.status);

  return (
    <li className={`card ${classes.card}`} aria-labelledby={titleID}>
      <div className={classes.top}>
        <ProviderMark preset={app.preset} size={44} />
        <div className={classes.heading}>
          <h2 id={titleID} ref={heading} tabIndex={-1} className={classes.name}>
            {app.name}
          </h2>
          <StatusBadge status={app.status} />
        </div>
        <div className={classes.actions}>
          {authorize && (
            <Button variant={urgent ? "filled" : "default"} onClick={() => void connect()} loading={phase.step === "starting"} disabled={busy} aria-label={`${verb} ${app.name}`}>
              {verb}
            </Button>
          )}
          {can("revoke") && (
            <Button variant="subtle" color="red" className={classes.revoke} onClick={() => setAsking(true)} aria-label={t.revokeOf(app.name)}>
              {t.revoke}
            </Button>
          )}
          {can("refresh") && (
            <Menu position="bottom-end">
              <Menu.Target>
                <ActionIcon variant="subtle" color="gray" size={36} aria-label={`${strings.common.more}: ${app.name}`}>
                  <IconDots size={18} aria-hidden />
                </ActionIcon>
              </Menu.Target>
              <Menu.Dropdown>
                <Menu.Item leftSection={<IconRefresh size={16} aria-hidden />} onClick={() => refresh.mutate()}>
                  {t.refresh}
                </Menu.Item>
              </Menu.Dropdown>
            </Menu>
          )}
        </div>
      </div>

      <p className={classes.meaning}>
        {app.reason || strings.statusMeaning[app.status]}
        {app.status === "disabled" && app.paused_note !== "" && <span> {t.pausedNote(app.paused_note)}</span>}
      </p>
      {app.identity_mismatch && <Mismatch app={app} onKept={() => changed(t.kept(app.account))} />}
      {notice !== "" && phase.step !== "waiting" && (
        <p className={classes.notice}>
          <IconCheck size={16} aria-hidden /> {notice}
        </p>
      )}
      <ConnectPanel name={app.name} phase={phase} connect={() => void connect()} reset={reset} />
      {refresh.isError && <ErrorBlock error={refresh.error} onRetry={() => refresh.mutate()} />}

      <Facts app={app} />
      <Permissions app={app} />

      <RevokeDialog
        app={app}
        opened={asking}
        onClose={() => setAsking(false)}
        onRevoked={() => {
          setAsking(false);
          reset();
          changed(t.revoked(app.name));
          heading.current?.focus(); // the button that opened the dialog is gone
        }}
      />
    </li>
  );
}

/** Somebody else there than here: a second account on purpose, or the wrong one. */
function Mismatch({ app, onKept }: { app: ConnectedApp; onKept: () => void }) {
  const keep = useMutation({ mutationFn: () => api.keepAccount(app.app), onSuccess: onKept });
  const another = app.identity_mismatch?.actions.find((a) => a.rel === "reauthorize");
  return (
    <div className={classes.mismatch}>
      <Notice tone="warn" icon={IconUserQuestion} title={app.identity_mismatch?.detail ?? ""}>
        <div className={classes.actions}>
          {another?.href && (
            <Button size="compact-sm" variant="default" component="a" href={another.href}>
              {another.label}
            </Button>
          )}
          <Button size="compact-sm" variant="subtle" loading={keep.isPending} onClick={() => keep.mutate()}>
            {t.keep(app.account)}
          </Button>
        </div>
        {keep.isError && <ErrorBlock error={keep.error} />}
      </Notice>
    </div>
  );
}

function Facts({ app }: { app: ConnectedApp }) {
  const facts: [string, ReactNode][] = [];
  if (app.account !== "") facts.push([t.account, app.account]);
  if (app.reauthorize_by) facts.push([inBrowser(app) ? t.reauthorizeBy : t.exchangeBy, <RelativeTime key="by" at={app.reauthorize_by} asDay />]);
  if (app.connected_at) {
    facts.push([t.lastUsed, app.used_at ? <RelativeTime key="used" at={app.used_at} /> : t.never]);
    if (app.refreshed_at) facts.push([t.refreshed, <RelativeTime key="refreshed" at={app.refreshed_at} />]);
    facts.push([t.connected, <RelativeTime key="connected" at={app.connected_at} />]);
  }
  if (app.next_try_at) facts.push([t.nextTry, <RelativeTime key="next" at={app.next_try_at} />]);
  if (facts.length === 0) return null;
  return (
    <dl className={classes.facts}>
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Permissions({ app }: { app: ConnectedApp }) {
  if (app.scopes.length === 0 && app.data_sources.length === 0) return null;
  const granted = app.status !== "not_connected";
  return (
    <div className={classes.columns}>
      {app.scopes.length > 0 && (
        <div>
          <h3>{granted ? t.permissions : strings.connect.willAsk}</h3>
          <ul className={classes.scopes}>
            {app.scopes.map((scope) => {
              const words = scopeWords(scope);
              return (
                <li key={scope}>
                  {granted ? <IconCheck size={14} aria-hidden /> : <IconPoint size={14} aria-hidden />}
                  <span>
                    {words} <code>{scope}</code>
                  </span>
                </li>
              );
            })}
          </ul>
        </div>
      )}
      {app.data_sources.length > 0 && (
        <div>
          <h3>{t.dataSources}</h3>
          <ul className={classes.sources}>
            {app.data_sources.map((source) => (
              <li key={source}>
                <code>{source}</code>
              </li>
            ))}
          </ul>
        </div>
      )}
      {app.access_expires_at && app.access_expires_at !== app.reauthorize_by && (
        <details className={classes.details}>
          <summary>{strings.common.details}</summary>
          <p>
            {t.accessEnds} <RelativeTime at={app.access_expires_at} />. {t.accessEndsWhy}
          </p>
        </details>
      )}
    </div>
  );
}

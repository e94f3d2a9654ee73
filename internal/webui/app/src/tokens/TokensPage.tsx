import { Button, Group, Modal, Text } from "@mantine/core";
import { IconBan, IconClockOff, IconKey, IconPlus } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, type Token } from "../api/client";
import { connectedAppsQuery } from "../connectedapps/queries";
import { Page } from "../shell/Page";
import { strings } from "../strings";
import { useAnnounce } from "../ui/Announcer";
import { Badge } from "../ui/Badge";
import { EmptyState } from "../ui/EmptyState";
import { ErrorBlock } from "../ui/ErrorBlock";
import { Listing } from "../ui/Listing";
import { RelativeTime, useNow } from "../ui/RelativeTime";
import { Dim, Table } from "../ui/Table";
import { CreateDialog } from "./CreateDialog";
import { tokensQuery } from "./queries";
import { tokens as t } from "./strings";
import classes from "./Tokens.module.css";

/** The personal access tokens of the signed-in person. */
export function TokensPage() {
  const tokens = useQuery(tokensQuery);
  const [creating, setCreating] = useState(false);
  const create = (
    <Button leftSection={<IconPlus size={16} aria-hidden />} onClick={() => setCreating(true)}>
      {t.create}
    </Button>
  );
  const some = tokens.data !== undefined && tokens.data.length > 0;
  return (
    <Page title={t.title} lead={t.lead} actions={some && create}>
      <Listing
        query={tokens}
        empty={
          <EmptyState icon={IconKey} title={t.emptyTitle} action={create}>
            {t.empty}
          </EmptyState>
        }
      >
        {(rows) => (
          <Table
            label={t.title}
            rows={rows}
            keyOf={(token) => token.id}
            columns={[
              { name: t.columns.name, cell: (token) => <Name token={token} /> },
              { name: t.columns.scopes, cell: (token) => <Scopes scopes={token.scopes} /> },
              { name: t.columns.used, cell: (token) => (token.used_at ? <RelativeTime at={token.used_at} /> : <Dim>{t.never}</Dim>) },
              { name: t.columns.ends, cell: (token) => <End token={token} /> },
            ]}
            actions={{ name: t.columns.actions, cell: (token) => <Revoke token={token} /> }}
          />
        )}
      </Listing>
      <CreateDialog opened={creating} onClose={() => setCreating(false)} />
    </Page>
  );
}

function Name({ token }: { token: Token }) {
  const origin = t.origins[token.origin];
  return (
    <div className={classes.name}>
      <span>{token.name}</span>
      <Dim>
        <RelativeTime at={token.created_at} /> {origin}
      </Dim>
    </div>
  );
}

/** What each scope allows, in words. */
function Scopes({ scopes }: { scopes: string[] }) {
  const words = useScopeWords();
  return (
    <ul className={classes.scopes}>
      {scopes.map((s) => (
        <li key={s}>
          {words(s)} <code>{s}</code>
        </li>
      ))}
    </ul>
  );
}

export function useScopeWords() {
  const apps = useQuery(connectedAppsQuery);
  return (scope: string) => {
    if (scope === "account") return t.account;
    if (scope === "operate") return t.operate;
    const [kind, slug = ""] = scope.split(":");
    const name = apps.data?.find((a) => a.app === slug)?.name ?? slug;
    return kind === "token" ? t.handOut(name) : kind === "connect" ? t.connect(name) : "";
  };
}

function End({ token }: { token: Token }) {
  const now = useNow(30_000);
  if (token.revoked_at) {
    return (
      <div className={classes.end}>
        <Badge tone="bad" icon={IconBan}>
          {t.revoked}
        </Badge>
        <Dim>
          <RelativeTime at={token.revoked_at} />
        </Dim>
      </div>
    );
  }
  if (!token.expires_at) return <Dim>{t.noEnd}</Dim>;
  if (new Date(token.expires_at) <= now) {
    return (
      <div className={classes.end}>
        <Badge tone="calm" icon={IconClockOff}>
          {t.expired}
        </Badge>
        <Dim>
          <RelativeTime at={token.expires_at} />
        </Dim>
      </div>
    );
  }
  return <RelativeTime at={token.expires_at} asDay />;
}

function Revoke({ token }: { token: Token }) {
  const [asking, setAsking] = useState(false);
  const queries = useQueryClient();
  const announce = useAnnounce();
  const revoke = useMutation({
    mutationFn: () => api.revokeToken(token.id),
    onSuccess: () => {
      setAsking(false);
      announce(t.revokedDone(token.name));
      void queries.invalidateQueries({ queryKey: tokensQuery.queryKey });
    },
  });
  if (!token.active) return null;
  return (
    <>
      <Button variant="subtle" color="red" size="compact-sm" onClick={() => setAsking(true)} aria-label={t.revokeOf(token.name)}>
        {t.revoke}
      </Button>
      <Modal opened={asking} onClose={() => setAsking(false)} title={t.revokeTitle(token.name)} closeButtonProps={{ "aria-label": strings.common.close }}>
        <Text>{t.revokeWill}</Text>
        {revoke.isError && <ErrorBlock error={revoke.error} />}
        <Group justify="flex-end" mt="lg" gap="xs">
          <Button variant="default" data-autofocus onClick={() => setAsking(false)}>
            {strings.common.cancel}
          </Button>
          <Button color="red" onClick={() => revoke.mutate()} loading={revoke.isPending}>
            {t.revokeOf(token.name)}
          </Button>
        </Group>
      </Modal>
    </>
  );
}

import { Button, Group, Modal, NativeSelect, Stack, TextInput } from "@mantine/core";
import { IconAlertTriangle, IconShieldOff } from "@tabler/icons-react";
import { queryOptions, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, type NewRevocation, type Revocation, type RevocationPreview } from "../api/client";
import { oauthAppsQuery } from "../oauthapps/queries";
import { Page } from "../shell/Page";
import { AdminOnly } from "../shell/Refusals";
import { strings } from "../strings";
import { useAnnounce } from "../ui/Announcer";
import { EmptyState } from "../ui/EmptyState";
import { ErrorBlock } from "../ui/ErrorBlock";
import { Listing } from "../ui/Listing";
import { RelativeTime } from "../ui/RelativeTime";
import { Dim, Table } from "../ui/Table";
import classes from "./Containment.module.css";
import { containment as t } from "./strings";

const revocationsQuery = queryOptions({
  queryKey: ["revocations"],
  queryFn: ({ signal }) => api.revocations(signal),
  // The providers are told one after the other: it goes on by itself, until all are.
  refetchInterval: ({ state }) => (state.data?.some((r) => r.provider.waiting > 0) ? 3_000 : false),
});

export function RevocationsPage() {
  return (
    <AdminOnly>
      <Revocations />
    </AdminOnly>
  );
}

export function Revocations() {
  const all = useQuery(revocationsQuery);
  const [opened, setOpened] = useState(false);
  const begin = (
    <Button color="red" variant="light" onClick={() => setOpened(true)}>
      {t.begin}
    </Button>
  );
  return (
    <Page title={t.title} lead={t.lead} actions={begin}>
      <Listing
        query={all}
        empty={
          <EmptyState icon={IconShieldOff} title={t.emptyTitle}>
            {t.empty}
          </EmptyState>
        }
      >
        {(rows) => (
          <Table
            label={t.title}
            rows={rows}
            keyOf={(r) => r.id}
            columns={[
              { name: t.columns.what, cell: (r) => <strong>{what(r)}</strong> },
              { name: t.columns.why, cell: (r) => (r.reason === "" ? <Dim>{t.noReason}</Dim> : r.reason) },
              { name: t.columns.people, cell: (r) => t.lost(r.people, r.connections) },
              { name: t.columns.provider, cell: (r) => <Provider of={r} /> },
              { name: t.columns.when, cell: (r) => <RelativeTime at={r.created_at} /> },
            ]}
          />
        )}
      </Listing>
      {opened && <Dialog onClose={() => setOpened(false)} />}
    </Page>
  );
}

function what(r: Revocation): string {
  if (r.everything) return t.everything;
  return r.oauth_app ? t.ofApp(r.oauth_app) : t.ofPerson(r.principal ?? "");
}

function Provider({ of: { provider: p } }: { of: Revocation }) {
  return (
    <div className={classes.provider}>
      <span>{t.told(p.done, p.total - p.unsupported)}</span>
      {p.total > 0 && <progress aria-hidden value={p.done + p.failed + p.unsupported} max={p.total} />}
      {p.failed > 0 && <Dim>{t.failed(p.failed)}</Dim>}
      {p.unsupported > 0 && <Dim>{t.unsupported(p.unsupported)}</Dim>}
    </div>
  );
}

/** First whose access, then who that is and what it means, with a word to type: the set is what was shown, or nothing ends. */
function Dialog({ onClose }: { onClose: () => void }) {
  const queries = useQueryClient();
  const announce = useAnnounce();
  const apps = useQuery(oauthAppsQuery);
  const [kind, setKind] = useState("principal");
  const [principal, setPrincipal] = useState("");
  const [app, setApp] = useState("");
  const [reason, setReason] = useState("");
  const [tried, setTried] = useState(false);
  const [typed, setTyped] = useState("");
  const [preview, setPreview] = useState<RevocationPreview>();
  const slug = app || (apps.data?.[0]?.slug ?? "");
  const whose: NewRevocation = kind === "everything" ? { everything: true } : kind === "oauth_app" ? { oauth_app: slug } : { principal: principal.trim() };
  const word = kind === "everything" ? "everything" : kind === "oauth_app" ? slug : principal.trim();
  const ask = useMutation({ mutationFn: () => api.revokeFor({ ...whose, dry_run: true }), onSuccess: (answer) => setPreview(answer.preview) });
  const end = useMutation({
    mutationFn: () => api.revokeFor({ ...whose, reason: reason.trim(), confirm: preview?.confirm }),
    onSuccess: () => {
      announce(t.done);
      void queries.invalidateQueries();
      onClose();
    },
  });
  return (
    <Modal opened onClose={onClose} title={t.dialogTitle} closeButtonProps={{ "aria-label": strings.common.close }}>
      {preview === undefined ? (
        <form
          noValidate
          onSubmit={(e) => {
            e.preventDefault();
            setTried(true);
            if (word !== "") ask.mutate();
          }}
        >
          <Stack gap="md">
            <NativeSelect
              label={t.kind}
              value={kind}
              data={Object.entries(t.kinds).map(([value, label]) => ({ value, label }))}
              data-autofocus
              onChange={(e) => setKind(e.currentTarget.value)}
            />
            {kind === "principal" && (
              <TextInput
                label={t.principal}
                value={principal}
                autoComplete="off"
                spellCheck={false}
                error={tried && word === "" && t.missing}
                onChange={(e) => setPrincipal(e.currentTarget.value)}
              />
            )}
            {kind === "oauth_app" && (
              <NativeSelect label={t.app} value={slug} data={(apps.data ?? []).map((a) => ({ value: a.slug, label: a.name }))} onChange={(e) => setApp(e.currentTarget.value)} />
            )}
            <TextInput label={t.reason} description={t.reasonHelp} placeholder={t.reasonExample} value={reason} maxLength={500} onChange={(e) => setReason(e.currentTarget.value)} />
            {ask.isError && <ErrorBlock error={ask.error} />}
          </Stack>
          <Group justify="flex-end" mt="lg" gap="xs">
            <Button variant="default" onClick={onClose}>
              {strings.common.cancel}
            </Button>
            <Button type="submit" loading={ask.isPending}>
              {t.preview}
            </Button>
          </Group>
        </form>
      ) : (
        <form
          onSubmit={(e) => {
            e.preventDefault();
            if (typed.trim() === word) end.mutate();
          }}
        >
          <p className={classes.loses}>
            <IconAlertTriangle size={18} aria-hidden />
            {preview.connections === 0 ? t.nobody : t.loses(preview.people, preview.connections)}
          </p>
          <ul className={classes.steps}>
            {t.steps.map((step) => (
              <li key={step}>{step}</li>
            ))}
          </ul>
          <TextInput label={t.typeTo(word)} value={typed} autoComplete="off" spellCheck={false} autoFocus onChange={(e) => setTyped(e.currentTarget.value)} />
          {end.isError && <ErrorBlock error={end.error} />}
          <Group justify="flex-end" mt="lg" gap="xs">
            <Button
              variant="default"
              onClick={() => {
                setPreview(undefined);
                setTyped("");
                end.reset();
              }}
            >
              {t.back}
            </Button>
            <Button type="submit" color="red" disabled={typed.trim() !== word} loading={end.isPending}>
              {t.doIt}
            </Button>
          </Group>
        </form>
      )}
    </Modal>
  );
}

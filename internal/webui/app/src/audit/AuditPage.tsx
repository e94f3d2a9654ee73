import { Button, Checkbox, NativeSelect, TextInput } from "@mantine/core";
import { IconChevronDown, IconChevronUp, IconCircleCheck, IconCircleX, IconHistory, IconShieldCheck, IconShieldX } from "@tabler/icons-react";
import { useInfiniteQuery, useMutation } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { type AuditRecord, type AuditReport, api, origin } from "../api/client";
import { Page } from "../shell/Page";
import { AdminOnly } from "../shell/Refusals";
import { Badge } from "../ui/Badge";
import { CopyButton } from "../ui/CopyButton";
import { EmptyState } from "../ui/EmptyState";
import { ErrorBlock } from "../ui/ErrorBlock";
import { Loading } from "../ui/Loading";
import { Notice } from "../ui/Notice";
import { RelativeTime } from "../ui/RelativeTime";
import { Dim, Table } from "../ui/Table";
import classes from "./Audit.module.css";
import { auditQuery } from "./queries";
import { filterOf, type Search } from "./search";
import { audit as t } from "./strings";

const route = getRouteApi("/admin/audit");

export function AuditPage() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  return (
    <AdminOnly>
      <Log search={search} onSearch={(next) => void navigate({ search: next, replace: true })} />
    </AdminOnly>
  );
}

/** The records that search wants. A test gives its own search; the page takes it from the address. */
export function Log({ search, onSearch }: { search: Search; onSearch: (s: Search) => void }) {
  const pages = useInfiniteQuery(auditQuery(search));
  const records = pages.data?.pages.flatMap((p) => p.items);
  const [open, setOpen] = useState<string>();
  const filtered = Object.keys(search).length > 0;
  const verify = useMutation({ mutationFn: () => api.verifyAudit() });
  return (
    <Page
      title={t.title}
      lead={t.lead}
      actions={
        <Button variant="default" leftSection={<IconShieldCheck size={16} aria-hidden />} loading={verify.isPending} onClick={() => verify.mutate()}>
          {t.verify}
        </Button>
      }
    >
      {verify.data && <Verification report={verify.data} />}
      {verify.isError && <ErrorBlock error={verify.error} onRetry={() => verify.mutate()} />}
      <Filters search={search} onSearch={onSearch} />
      {pages.isPending && <Loading lines={8} height={20} />}
      {pages.isError && records === undefined && <ErrorBlock error={pages.error} onRetry={() => void pages.refetch()} />}
      {records?.length === 0 && (
        <div className="card">
          <EmptyState
            icon={IconHistory}
            title={t.empty}
            action={
              filtered && (
                <Button variant="default" onClick={() => onSearch({})}>
                  {t.clear}
                </Button>
              )
            }
          >
            {filtered ? t.emptyFiltered : t.emptyWhy}
          </EmptyState>
        </div>
      )}
      {records !== undefined && records.length > 0 && (
        <Table
          label={t.title}
          rows={records}
          keyOf={(r) => r.id}
          columns={[
            { name: t.columns.what, cell: (r) => <What record={r} /> },
            { name: t.columns.who, cell: (r) => <Who record={r} /> },
            { name: t.columns.outcome, cell: (r) => <Outcome outcome={r.outcome} /> },
            { name: t.columns.at, cell: (r) => <RelativeTime at={r.at} /> },
          ]}
          actions={{
            name: t.columns.more,
            cell: (r) => (
              <Button
                variant="subtle"
                color="gray"
                size="compact-sm"
                aria-expanded={open === r.id}
                aria-label={`${open === r.id ? t.hide : t.show}: ${t.actions[r.action] ?? r.action}`}
                onClick={() => setOpen(open === r.id ? undefined : r.id)}
              >
                {open === r.id ? <IconChevronUp size={16} aria-hidden /> : <IconChevronDown size={16} aria-hidden />}
              </Button>
            ),
          }}
          below={(r) => (open === r.id ? <Facts record={r} /> : undefined)}
        />
      )}
      {pages.hasNextPage && (
        <div className={classes.more}>
          <Button variant="default" loading={pages.isFetchingNextPage} onClick={() => void pages.fetchNextPage()}>
            {t.older}
          </Button>
        </div>
      )}
      {pages.isError && records !== undefined && <ErrorBlock error={pages.error} onRetry={() => void pages.fetchNextPage()} />}
    </Page>
  );
}

function Filters({ search, onSearch }: { search: Search; onSearch: (s: Search) => void }) {
  const set = (part: Partial<Search>) =>
    onSearch(Object.fromEntries(Object.entries({ ...search, ...part }).filter(([, v]) => v !== undefined && v !== "" && v !== false)));
  const actions = { ...t.actions, ...(search.action && !t.actions[search.action] ? { [search.action]: search.action } : {}) };
  const query = new URLSearchParams(Object.entries(filterOf(search)).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]])));
  const exported = (format: string) => `${origin()}/api/v1/audit/export?${new URLSearchParams([...query, ["format", format]])}`;
  return (
    <section className={classes.filters} aria-label={t.filters}>
      <NativeSelect
        label={t.action}
        value={search.action ?? ""}
        data={[{ value: "", label: t.anyAction }, ...Object.entries(actions).map(([value, label]) => ({ value, label }))]}
        onChange={(e) => set({ action: e.currentTarget.value })}
      />
      <Entry label={t.actor} hint={t.actorHint} value={search.actor ?? ""} onEnter={(actor) => set({ actor })} />
      <Entry label={t.object} hint={t.objectHint} value={search.object ?? ""} onEnter={(object) => set({ object })} />
      <NativeSelect
        label={t.since}
        value={search.since ?? ""}
        data={Object.entries(t.sinces).map(([value, label]) => ({ value, label }))}
        onChange={(e) => set({ since: e.currentTarget.value })}
      />
      <Checkbox className={classes.check} label={t.refused} checked={search.refused ?? false} onChange={(e) => set({ refused: e.currentTarget.checked })} />
      <div className={classes.exports}>
        {["jsonl", "csv"].map((format) => (
          <Button key={format} variant="subtle" size="compact-sm" component="a" href={exported(format)} download>
            {t.exportAs(format.toUpperCase())}
          </Button>
        ))}
      </div>
    </section>
  );
}

/** A text that counts when it is finished, not at every letter. */
function Entry({ label, hint, value, onEnter }: { label: string; hint: string; value: string; onEnter: (v: string) => void }) {
  const [draft, setDraft] = useState(value);
  const [shown, setShown] = useState(value);
  if (shown !== value) {
    setShown(value); // the address changed: cleared, or back
    setDraft(value);
  }
  const enter = () => draft.trim() !== value && onEnter(draft.trim());
  return (
    <TextInput
      label={label}
      placeholder={hint}
      value={draft}
      spellCheck={false}
      autoComplete="off"
      onChange={(e) => setDraft(e.currentTarget.value)}
      onBlur={enter}
      onKeyDown={(e) => e.key === "Enter" && enter()}
    />
  );
}

function What({ record }: { record: AuditRecord }) {
  return (
    <div className={classes.what}>
      <span>{t.actions[record.action] ?? record.action}</span>
      <Dim>{record.detail?.oauth_app ?? record.detail?.slug ?? record.detail?.operation ?? record.object}</Dim>
    </div>
  );
}

function Who({ record }: { record: AuditRecord }) {
  const words: Record<string, string> = { system: t.system, config: t.config, anonymous: t.anonymous };
  return <span>{record.actor_name || words[record.actor] || record.actor}</span>;
}

function Outcome({ outcome }: { outcome: string }) {
  if (outcome === "ok") {
    return (
      <Badge tone="ok" icon={IconCircleCheck}>
        {t.ok}
      </Badge>
    );
  }
  return (
    <Badge tone="warn" icon={IconCircleX}>
      {outcome}
    </Badge>
  );
}

function Facts({ record: r }: { record: AuditRecord }) {
  const facts: [string, string][] = [
    [t.facts.object, r.object],
    [t.facts.by, r.actor],
    ...Object.entries(r.detail ?? {}),
    [t.facts.request, r.request_id ?? ""],
    [t.facts.id, r.id],
    [t.facts.writer, `${r.writer} #${r.position.toLocaleString("en")}`],
    [t.facts.hash, r.hash],
  ];
  return (
    <dl className={classes.facts}>
      {facts
        .filter(([, value]) => value !== "")
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>
              <code>{value}</code>
            </dd>
          </div>
        ))}
    </dl>
  );
}

/** What a verification came to: the first bad record of each chain, or what to keep elsewhere. */
export function Verification({ report }: { report: AuditReport }) {
  if (!report.intact) {
    return (
      <div className={classes.notice} role="alert">
        <Notice tone="bad" icon={IconShieldX} title={t.broken}>
          <ul className={classes.breaks}>
            {report.breaks.map((b) => (
              <li key={`${b.writer} ${b.position} ${b.reason}`}>
                <strong>{t.brokenAt(b.writer ?? "", b.position ?? 0)}</strong> {b.detail}
              </li>
            ))}
          </ul>
        </Notice>
      </div>
    );
  }
  return (
    <div className={classes.notice} role="status">
      <Notice tone="info" icon={IconShieldCheck} title={t.verified(report.records, report.chains, report.last_seq)}>
        <p>
          {t.verifiedAt} <RelativeTime at={report.verified_at} />. {report.ends.length > 0 && t.keep}
        </p>
        <ul className={classes.ends}>
          {report.ends.map((e) => (
            <li key={e.hash}>
              <code>{e.hash}</code>
              <CopyButton text={e.hash} what={t.facts.hash} />
            </li>
          ))}
        </ul>
      </Notice>
    </div>
  );
}

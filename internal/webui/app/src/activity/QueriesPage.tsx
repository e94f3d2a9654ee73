import { Button, Group, Modal, Text } from "@mantine/core";
import { IconActivity, IconCheck, IconCircleCheck, IconClock, IconHelpHexagon, IconHourglass, IconPlayerPlay, IconPlayerStop, IconUserCog } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { api, type CanceledQuery, type RunningQuery } from "../api/client";
import { asProblem } from "../api/problem";
import { isAdmin, useMe } from "../shell/me";
import { Page } from "../shell/Page";
import { strings } from "../strings";
import { useAnnounce } from "../ui/Announcer";
import { Badge, type Tone } from "../ui/Badge";
import { ErrorBlock } from "../ui/ErrorBlock";
import { Notice } from "../ui/Notice";
import { RelativeTime } from "../ui/RelativeTime";
import { Dim, Table } from "../ui/Table";
import type { Row as LiveRow } from "./book";
import { Details, Fact, Facts } from "./Details";
import { Filters, matches } from "./Filters";
import classes from "./Live.module.css";
import { RowName, Rows } from "./Rows";
import { change, type Search } from "./search";
import { live as l, queries as t } from "./strings";
import { useLive } from "./useLive";
import { Bar, clock, List } from "./View";
import { kind, lasting, stage, who } from "./words";

type Row = LiveRow<RunningQuery>;

const route = getRouteApi("/activity/queries");

export function QueriesPage() {
  const navigate = route.useNavigate();
  return <Queries search={route.useSearch()} onSearch={(search) => void navigate({ search, replace: true })} />;
}

/** What waits and runs. A test gives its own search; the page takes it from the address. */
export function Queries({ search, onSearch }: { search: Search; onSearch: (search: Search) => void }) {
  const me = useMe();
  const all = search.all === true && isAdmin(me);
  const [paused, setPaused] = useState(false);
  const [asked, setAsked] = useState<Row>();
  const [asking, setAsking] = useState(false);
  const [outcome, setOutcome] = useState<Outcome>();
  const live = useLive<RunningQuery>("queries", { all, rate: search.every ?? "live", paused, open: search.row, says: t.news });
  const rows = live.rows;
  const fitting = (rows ?? []).filter(
    ({ item: q, ended }) =>
      (search.state === undefined || (ended ? "ended" : q.state) === search.state) &&
      (search.source === undefined || q.data_source === search.source) &&
      matches(search.text, who(q.person), q.person.principal, q.request_id, q.id, kind(q)),
  );
  const going = (rows ?? []).filter((r) => !r.ended);
  const waiting = going.filter((r) => r.item.state === "waiting").length;
  const sources = useMemo(() => [...new Set((rows ?? []).map((r) => r.item.data_source))].sort(), [rows]);
  const open = search.row === undefined ? undefined : rows?.find((r) => r.item.id === search.row);
  const openRow = (row?: string) => onSearch(change(search, { row }));
  const ask = (id: string) => {
    const row = rows?.find((r) => r.item.id === id);
    if (row === undefined || !cancelable(row)) return;
    setAsked(row);
    setAsking(true);
  };
  return (
    <Page wide title={t.title} lead={all ? `${t.lead} ${l.recorded}` : t.lead}>
      <Bar live={live} search={search} onSearch={onSearch} paused={paused} onPause={setPaused} says={t.news}>
        {t.summary(going.length - waiting, waiting)}
      </Bar>
      <Filters search={search} onSearch={onSearch} states={t.states} sources={sources} hint={t.searchHint} />
      {outcome && (
        <div className={classes.notice}>
          <Told outcome={outcome} />
        </div>
      )}
      <List
        rows={rows}
        fitting={fitting}
        problem={live.problem}
        onRetry={live.refresh}
        icon={IconActivity}
        emptyTitle={t.emptyTitle}
        empty={t.empty}
        noMatch={t.noMatch}
        search={search}
        onSearch={onSearch}
        mayAll={isAdmin(me)}
      >
        {(some) => (
          <Rows onDelete={ask}>
            <Table
              dense
              label={t.title}
              rows={some}
              keyOf={(r) => r.item.id}
              past={(r) => r.ended !== undefined}
              columns={[
                {
                  name: t.columns.query,
                  cell: (r) => (
                    <RowName
                      more={t.more(all ? who(r.item.person) : "", stage(r.item, r.ended !== undefined))}
                      keys={cancelable(r) ? "Enter Delete" : "Enter"}
                      detail={<code>{r.item.statement}</code>}
                      onOpen={() => openRow(r.item.id)}
                    >
                      {kind(r.item)}
                    </RowName>
                  ),
                },
                ...(all ? [{ name: t.columns.person, cell: (r: Row) => who(r.item.person) || <Dim>{t.nobody}</Dim> }] : []),
                { name: t.columns.source, cell: (r) => r.item.data_source },
                { name: t.columns.as, cell: (r) => <As query={r.item} /> },
                { name: t.columns.state, cell: (r) => <State row={r} /> },
                { name: t.columns.since, cell: (r) => <span className={classes.number}>{lasting((r.ended ?? live.now) - Date.parse(r.item.since))}</span> },
                { name: t.columns.askers, cell: (r) => (r.item.askers === 0 ? <Dim>{t.ahead}</Dim> : <span className={classes.number}>{r.item.askers}</span>) },
              ]}
              actions={{
                name: l.actions,
                cell: (r) =>
                  cancelable(r) && (
                    <Button className={classes.act} variant="subtle" color="red" size="compact-sm" tabIndex={-1} aria-label={t.cancelOf(kind(r.item))} onClick={() => ask(r.item.id)}>
                      {t.cancel}
                    </Button>
                  ),
              }}
            />
            <p className={classes.hint}>{t.keys}</p>
            {live.more && <p className={classes.hint}>{l.more(rows?.length ?? 0)}</p>}
          </Rows>
        )}
      </List>
      <Details title={open ? kind(open.item) : l.goneTitle} opened={search.row !== undefined && rows !== undefined} onClose={() => openRow(undefined)}>
        {open ? <Query row={open} now={live.now} outcome={outcome} onCancel={() => ask(open.item.id)} /> : l.gone}
      </Details>
      <Modal opened={asking} onClose={() => setAsking(false)} title={t.cancelTitle} closeButtonProps={{ "aria-label": strings.common.close }}>
        {asked && <Cancel row={asked} current={rows?.find((r) => r.item.id === asked.item.id)} all={all} onClose={() => setAsking(false)} onDone={setOutcome} />}
      </Modal>
    </Page>
  );
}

function cancelable({ item, ended }: Row): boolean {
  return ended === undefined && item.state !== "stopping";
}

const looks: Record<string, { tone: Tone; icon: typeof IconCheck }> = {
  waiting: { tone: "calm", icon: IconHourglass },
  running: { tone: "info", icon: IconPlayerPlay },
  stopping: { tone: "warn", icon: IconPlayerStop },
  ended: { tone: "calm", icon: IconCheck },
};

function State({ row: { item, ended } }: { row: Row }) {
  const look = looks[ended === undefined ? item.state : "ended"];
  return (
    <Badge tone={look?.tone ?? "calm"} icon={look?.icon}>
      {stage(item, ended !== undefined)}
    </Badge>
  );
}

/** Whose credential it runs under. The service account is amber, as it is beside a result. */
function As({ query: q }: { query: RunningQuery }) {
  const me = useMe();
  if (q.run_as === "user") return who(q.person) === me.username ? t.you : who(q.person);
  return (
    <Badge tone="warn" icon={IconUserCog}>
      {t.service(q.account)}
    </Badge>
  );
}

/** What a cancellation came to, of the query with this id. */
interface Outcome {
  id: string;
  tone: Tone;
  text: string;
}

export function outcomeOf(id: string, c: CanceledQuery): Outcome {
  if (c.goes_on) return { id, tone: "info", text: t.goesOn };
  return c.confirmed ? { id, tone: "ok", text: t.confirmed } : { id, tone: "warn", text: t.asked };
}

const outcomeIcons: Partial<Record<Tone, typeof IconCheck>> = { ok: IconCircleCheck, warn: IconHelpHexagon };

function Told({ outcome }: { outcome: Outcome }) {
  return <Notice tone={outcome.tone} icon={outcomeIcons[outcome.tone] ?? IconClock} title={outcome.text} />;
}

/** One query in full. */
function Query({ row, now, outcome, onCancel }: { row: Row; now: number; outcome?: Outcome; onCancel: () => void }) {
  const { item: q, ended } = row;
  return (
    <>
      <div className={classes.head}>
        <State row={row} />
        <span>{lasting((ended ?? now) - Date.parse(q.since))}</span>
        {cancelable(row) && (
          <Button variant="light" color="red" size="xs" onClick={onCancel}>
            {t.cancel}
          </Button>
        )}
      </div>
      {outcome?.id === q.id && (
        <div className={classes.notice}>
          <Told outcome={outcome} />
        </div>
      )}
      <Facts>
        <Fact name={t.facts.person}>{who(q.person) || t.nobody}</Fact>
        {q.person.principal !== who(q.person) && (
          <Fact name={t.facts.principal} copy={q.person.principal}>
            <code>{q.person.principal}</code>
          </Fact>
        )}
        <Fact name={t.facts.as}>
          <As query={q} />
        </Fact>
        <Fact name={t.facts.source}>{q.data_source}</Fact>
        <Fact name={t.facts.domain}>
          <code>{q.domain}</code>
        </Fact>
        {q.asked_at && (
          <Fact name={t.facts.asked}>
            <RelativeTime at={q.asked_at} />
          </Fact>
        )}
        <Fact name={t.facts.since}>
          <RelativeTime at={q.since} />
        </Fact>
        {ended !== undefined && <Fact name={t.facts.ended}>{clock(ended)}</Fact>}
        <Fact name={t.facts.askers}>{q.askers === 0 ? t.ahead : q.askers}</Fact>
        <Fact name={t.facts.statement} copy={q.statement}>
          <code>{q.statement}</code>
        </Fact>
        <Fact name={t.facts.request} copy={q.request_id}>
          <code>{q.request_id}</code>
        </Fact>
        <Fact name={t.facts.id} copy={q.id}>
          <code>{q.id}</code>
        </Fact>
      </Facts>
    </>
  );
}

interface CancelProps {
  row: Row;
  /** The same row as it is now, for when it has ended meanwhile. */
  current?: Row;
  all: boolean;
  onClose: () => void;
  onDone: (outcome: Outcome) => void;
}

/** Asks before a query is cancelled, and waits for what the database says: five seconds at most. */
function Cancel({ row: { item: q }, current, all, onClose, onDone }: CancelProps) {
  const announce = useAnnounce();
  const done = (outcome: Outcome) => {
    announce(outcome.text);
    onDone(outcome);
    onClose();
  };
  const cancel = useMutation({
    mutationFn: () => api.cancelQuery(q.id, all),
    onSuccess: (c) => done(outcomeOf(q.id, c)),
    onError: (e) => {
      if (asProblem(e).code === "not_found") done({ id: q.id, tone: "info", text: t.finished(clock(current?.ended ?? Date.now())) });
    },
  });
  return (
    <>
      <Text>{t.cancelWill(kind(q), all ? who(q.person) : "", q.data_source)}</Text>
      {q.askers > 1 && (
        <Text mt="xs" fw={600}>
          {t.cancelOthers(q.askers)}
        </Text>
      )}
      {q.run_as === "service_account" && !all && (
        <Text mt="xs" c="dimmed">
          {t.cancelShared}
        </Text>
      )}
      {cancel.isError && <ErrorBlock error={cancel.error} />}
      <Group justify="flex-end" mt="lg" gap="xs">
        <Button variant="default" data-autofocus onClick={onClose}>
          {t.keep}
        </Button>
        <Button color="red" loading={cancel.isPending} onClick={() => cancel.mutate()}>
          {t.cancelOf(kind(q).toLowerCase())}
        </Button>
      </Group>
    </>
  );
}

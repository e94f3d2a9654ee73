import { ActionIcon, Button, Group, Menu, Modal, Text } from "@mantine/core";
import { IconAlertTriangle, IconBan, IconDots, IconDroplet, IconFlame, IconPlayerPlay, IconSnowflake, IconTopologyStar3 } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { api, type Orchestrator, type Totals } from "../api/client";
import { Page } from "../shell/Page";
import { AdminOnly } from "../shell/Refusals";
import { strings } from "../strings";
import { useAnnounce } from "../ui/Announcer";
import { Badge, type Tone } from "../ui/Badge";
import { ErrorBlock } from "../ui/ErrorBlock";
import { Notice } from "../ui/Notice";
import { RelativeTime } from "../ui/RelativeTime";
import { size } from "../ui/size";
import { Table } from "../ui/Table";
import type { Row as LiveRow } from "./book";
import { Details, Fact, Facts } from "./Details";
import { Filters, matches } from "./Filters";
import { Isolation } from "./Isolation";
import classes from "./Live.module.css";
import { RowName, Rows } from "./Rows";
import { change, type Search } from "./search";
import { live as l, orchestrators as t } from "./strings";
import { useLive } from "./useLive";
import { Bar, List } from "./View";
import { who, whose } from "./words";

type Row = LiveRow<Orchestrator>;
type Act = "drain" | "flush";

const route = getRouteApi("/activity/orchestrators");

export function OrchestratorsPage() {
  const navigate = route.useNavigate();
  const search = route.useSearch();
  return (
    <AdminOnly>
      <Orchestrators search={search} onSearch={(next) => void navigate({ search: next, replace: true })} />
    </AdminOnly>
  );
}

/** Whose sessions and results there are. A test gives its own search; the page takes it from the address. */
export function Orchestrators({ search, onSearch }: { search: Search; onSearch: (search: Search) => void }) {
  const [paused, setPaused] = useState(false);
  const [asked, setAsked] = useState<{ act: Act; of: Orchestrator }>();
  const [asking, setAsking] = useState(false);
  const [done, setDone] = useState("");
  const live = useLive<Orchestrator>("orchestrators", { all: false, rate: search.every ?? "live", paused, open: search.row, says: t.news });
  const { rows, totals } = live;
  const there = (rows ?? []).filter((r) => r.ended === undefined).map((r) => r.item);
  const fitting = (rows ?? []).filter(
    ({ item: o, ended }) => (search.state === undefined || (ended ? "ended" : o.state) === search.state) && matches(search.text, whose(o), o.username, o.name, o.id),
  );
  const open = search.row === undefined ? undefined : rows?.find((r) => r.item.id === search.row);
  const ask = (act: Act, of: Orchestrator) => {
    setAsked({ act, of });
    setAsking(true);
  };
  const openRow = (row?: string) => onSearch(change(search, { row }));
  return (
    <Page wide title={t.title} lead={`${t.lead} ${l.recorded}`}>
      <Bar live={live} search={search} onSearch={onSearch} paused={paused} onPause={setPaused} says={t.news} />
      {totals && <TotalsRow totals={totals} />}
      {totals && <Full totals={totals} there={there} />}
      {rows && <Isolation there={there} more={live.more} total={totals?.orchestrators ?? there.length} />}
      <Filters search={search} onSearch={onSearch} states={t.states} hint={t.searchHint} whose={false} />
      {done !== "" && (
        <div className={classes.notice}>
          <Notice tone="ok" icon={IconPlayerPlay} title={done} />
        </div>
      )}
      <List
        rows={rows}
        fitting={fitting}
        problem={live.problem}
        onRetry={live.refresh}
        icon={IconTopologyStar3}
        emptyTitle={t.emptyTitle}
        empty={t.empty}
        noMatch={t.noMatch}
        search={search}
        onSearch={onSearch}
        mayAll={false}
      >
        {(some) => (
          <Rows>
            <Table
              dense
              label={t.title}
              rows={some}
              keyOf={(r) => r.item.id}
              past={(r) => r.ended !== undefined}
              columns={[
                {
                  name: t.columns.who,
                  cell: (r) => (
                    <RowName more={t.more(stateOf(r))} detail={<code>{r.item.name}</code>} onOpen={() => openRow(r.item.id)}>
                      {whose(r.item)}
                    </RowName>
                  ),
                },
                { name: t.columns.state, cell: (r) => <State row={r} /> },
                { name: t.columns.sessions, cell: (r) => t.sessions(r.item.sessions.open, r.item.sessions.idle) },
                { name: t.columns.queries, cell: (r) => t.queries(r.item.running, r.item.waiting) },
                { name: t.columns.cache, cell: (r) => t.cached(r.item.cache.results, size(r.item.cache.bytes)) },
                { name: t.columns.used, cell: (r) => <RelativeTime at={r.item.used_at} /> },
              ]}
              actions={{ name: l.actions, cell: (r) => r.ended === undefined && <RowMenu of={r.item} onAct={(act) => ask(act, r.item)} /> }}
            />
            <p className={classes.hint}>{t.keys}</p>
            {live.more && <p className={classes.hint}>{l.more(rows?.length ?? 0)}</p>}
          </Rows>
        )}
      </List>
      <Details title={open ? whose(open.item) : l.goneTitle} opened={search.row !== undefined && rows !== undefined} onClose={() => openRow(undefined)}>
        {open ? <One row={open} onAct={(act) => ask(act, open.item)} /> : l.gone}
      </Details>
      <Modal
        opened={asking}
        onClose={() => setAsking(false)}
        title={asked && (asked.act === "drain" ? t.drainOf : t.flushOf)(whose(asked.of))}
        closeButtonProps={{ "aria-label": strings.common.close }}
      >
        {asked && <Doing {...asked} onClose={() => setAsking(false)} onDone={setDone} />}
      </Modal>
    </Page>
  );
}

const looks: Record<string, { tone: Tone; icon: typeof IconBan }> = {
  cold: { tone: "calm", icon: IconSnowflake },
  warm: { tone: "ok", icon: IconFlame },
  busy: { tone: "info", icon: IconPlayerPlay },
  draining: { tone: "warn", icon: IconDroplet },
  ended: { tone: "calm", icon: IconBan },
};

function stateOf({ item, ended }: Row): string {
  return (ended === undefined ? t.states[item.state] : t.states.ended) ?? item.state;
}

function State({ row }: { row: Row }) {
  const look = looks[row.ended === undefined ? row.item.state : "ended"];
  return (
    <Badge tone={look?.tone ?? "calm"} icon={look?.icon}>
      {stateOf(row)}
    </Badge>
  );
}

/** How near the process is to its bounds: in words, with a bar for the eye. */
function TotalsRow({ totals: all }: { totals: Totals }) {
  const tt = t.totals;
  const n = (value: number) => value.toLocaleString("en");
  return (
    <dl className={classes.totals} aria-label={tt.label}>
      <Total name={tt.orchestrators} used={all.orchestrators} max={all.max_orchestrators} says={n} more={room(all.orchestrators, all.max_orchestrators)} />
      <Total name={tt.sessions} used={all.sessions.open} max={all.sessions.max} says={n} more={tt.idle(all.sessions.idle)} />
      <Total name={tt.cache} used={all.cache.bytes} max={all.cache.max_bytes} says={size} more={tt.results(all.cache.results)} />
      <Total name={tt.queries} used={all.running} max={0} says={() => tt.running(all.running)} more={tt.waiting(all.waiting)} />
    </dl>
  );
}

function room(used: number, max: number): string {
  return used < max ? t.totals.free(max - used) : max > 0 ? t.totals.full : "";
}

function Total({ name, used, max, says, more }: { name: string; used: number; max: number; says: (n: number) => string; more: string }) {
  return (
    <div className="card">
      <dt>{name}</dt>
      <dd>
        <strong>{says(used)}</strong> {max > 0 && <span className={classes.detail}>{`/ ${says(max)}`}</span>}
      </dd>
      <dd className={classes.detail}>{more}</dd>
      {max > 0 && <progress aria-hidden data-full={used >= max} value={Math.min(used, max)} max={max} />}
    </div>
  );
}

/** At a bound: who waits, and whose goes for whom. */
function Full({ totals, there }: { totals: Totals; there: Orchestrator[] }) {
  const next = there.filter((o) => o.running + o.waiting === 0).sort((a, b) => a.used_at.localeCompare(b.used_at))[0];
  const full = totals.max_orchestrators > 0 && totals.orchestrators >= totals.max_orchestrators;
  if (!full && totals.sessions.waiting === 0) return null;
  return (
    <div className={classes.notice}>
      {totals.sessions.waiting > 0 && (
        <Notice tone="warn" icon={IconAlertTriangle} title={t.sessionsFull(totals.sessions.waiting)}>
          <p>{t.sessionsFullWhy}</p>
        </Notice>
      )}
      {full && (
        <Notice tone="warn" icon={IconAlertTriangle} title={t.orchestratorsFull}>
          <p>{t.orchestratorsFullWhy(next ? whose(next) : "")}</p>
        </Notice>
      )}
    </div>
  );
}

function RowMenu({ of, onAct }: { of: Orchestrator; onAct: (act: Act) => void }) {
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <ActionIcon className={classes.act} variant="subtle" color="gray" size={28} aria-label={`${l.actions}: ${whose(of)}`}>
          <IconDots size={18} aria-hidden />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item onClick={() => onAct("drain")}>{t.drain}…</Menu.Item>
        <Menu.Item onClick={() => onAct("flush")}>{t.flush}…</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

/** One orchestrator in full. */
function One({ row, onAct }: { row: Row; onAct: (act: Act) => void }) {
  const { item: o, ended } = row;
  return (
    <>
      <div className={classes.head}>
        <State row={row} />
        {ended === undefined && (
          <>
            <Button variant="default" size="xs" onClick={() => onAct("drain")}>
              {t.drain}…
            </Button>
            <Button variant="default" size="xs" onClick={() => onAct("flush")}>
              {t.flush}…
            </Button>
          </>
        )}
      </div>
      <p className={classes.meaning}>{t.meanings[ended === undefined ? o.state : "ended"]}</p>
      <Facts>
        <Fact name={t.facts.people}>
          <ul>
            {o.people.map((p) => (
              <li key={p.principal}>
                {who(p) || t.anonymous} {p.principal !== who(p) && <code>{p.principal}</code>}
              </li>
            ))}
          </ul>
        </Fact>
        <Fact name={t.facts.sessions}>{t.sessions(o.sessions.open, o.sessions.idle)}</Fact>
        <Fact name={t.facts.queries}>{t.queries(o.running, o.waiting)}</Fact>
        <Fact name={t.facts.cache}>{t.cached(o.cache.results, size(o.cache.bytes))}</Fact>
        <Fact name={t.facts.used}>
          <RelativeTime at={o.used_at} />
        </Fact>
        <Fact name={t.facts.name} copy={o.name}>
          <code>{o.name}</code>
        </Fact>
        <Fact name={t.facts.id} copy={o.id}>
          <code>{o.id}</code>
        </Fact>
      </Facts>
    </>
  );
}

/** Says what draining or flushing does before it is done, and what it did after. */
function Doing({ act, of, onClose, onDone }: { act: Act; of: Orchestrator; onClose: () => void; onDone: (text: string) => void }) {
  const announce = useAnnounce();
  const doIt = useMutation({
    mutationFn: async () => {
      if (act === "drain") {
        const d = await api.drainOrchestrator(of.id);
        return t.drained(d.closed, d.under_way);
      }
      const f = await api.flushOrchestrator(of.id);
      return t.flushed(f.results, f.pre_aggregations);
    },
    onSuccess: (did) => {
      const text = `${whose(of)}: ${did}`;
      announce(text);
      onDone(text);
      onClose();
    },
  });
  const steps = act === "drain" ? t.drainWill(of.sessions.idle, of.running + of.waiting) : t.flushWill(of.cache.results, size(of.cache.bytes));
  return (
    <>
      <ul className={classes.steps}>
        {steps.map((step) => (
          <li key={step}>
            <Text>{step}</Text>
          </li>
        ))}
      </ul>
      {doIt.isError && <ErrorBlock error={doIt.error} />}
      <Group justify="flex-end" mt="lg" gap="xs">
        <Button variant="default" data-autofocus onClick={onClose}>
          {strings.common.cancel}
        </Button>
        <Button color={act === "flush" ? "red" : undefined} loading={doIt.isPending} onClick={() => doIt.mutate()}>
          {act === "drain" ? t.drain : t.flush}
        </Button>
      </Group>
    </>
  );
}

import { Button } from "@mantine/core";
import { IconAlertTriangle, IconCircleCheck, IconCircleDashed, IconDatabaseExclamation, IconHammer, IconHourglass, IconStack3, IconX } from "@tabler/icons-react";
import { infiniteQueryOptions, useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { Details, Fact, Facts } from "../activity/Details";
import { Filters, matches } from "../activity/Filters";
import classes from "../activity/Live.module.css";
import { LiveBar, type Shown } from "../activity/LiveBar";
import { RowName, Rows } from "../activity/Rows";
import { change, type Search } from "../activity/search";
import { live as l } from "../activity/strings";
import { clock, List } from "../activity/View";
import { who } from "../activity/words";
import { api, type PreAggregation } from "../api/client";
import { asProblem } from "../api/problem";
import { isAdmin, useMe } from "../shell/me";
import { Page } from "../shell/Page";
import { Badge, type Tone } from "../ui/Badge";
import { RelativeTime } from "../ui/RelativeTime";
import { size } from "../ui/size";
import { Dim, Table } from "../ui/Table";
import { stateOf } from "./state";
import { preaggs as t } from "./strings";

const route = getRouteApi("/pre-aggregations");

const preAggregationsQuery = (all: boolean) =>
  infiniteQueryOptions({
    queryKey: ["pre-aggregations", all],
    queryFn: ({ pageParam, signal }) => api.preAggregations(all, pageParam, signal),
    initialPageParam: "",
    getNextPageParam: (last) => last.next_cursor || undefined,
  });

export function PreAggregationsPage() {
  const navigate = route.useNavigate();
  return <PreAggregations search={route.useSearch()} onSearch={(search) => void navigate({ search, replace: true })} />;
}

const rates = ["5s", "30s", "off"] as const; // nothing tells when they change

/** What is kept and built. A test gives its own search; the page takes it from the address. */
export function PreAggregations({ search, onSearch }: { search: Search; onSearch: (search: Search) => void }) {
  const me = useMe();
  const all = search.all === true && isAdmin(me);
  const [paused, setPaused] = useState(false);
  // Each look at everybody's is recorded, so that one is taken when it is asked for.
  const rate = rates.find((r) => r === search.every) ?? (all ? "off" : "5s");
  const found = useInfiniteQuery({ ...preAggregationsQuery(all), refetchInterval: paused || rate === "off" ? false : Number.parseInt(rate, 10) * 1000 });
  const rows = found.data?.pages.flatMap((p) => p.items);
  const fitting = (rows ?? []).filter(
    (p) =>
      (search.state === undefined || stateOf(p) === search.state) &&
      (search.source === undefined || p.data_source === search.source) &&
      matches(search.text, p.name, who(p.owner), p.id, p.structure),
  );
  const open = search.row === undefined ? undefined : rows?.find((p) => p.id === search.row);
  const openRow = (row?: string) => onSearch(change(search, { row }));
  const shown: Shown = found.isError ? "reconnecting" : rows === undefined ? "connecting" : paused ? "paused" : rate === "off" ? "off" : "live";
  const at = found.dataUpdatedAt > 0 ? l.asOf(clock(found.dataUpdatedAt)) : "";
  const note = found.isError && rows !== undefined ? `${asProblem(found.error).detail} ${at}` : shown === "live" ? "" : at;
  return (
    <Page wide title={t.title} lead={all ? `${t.lead} ${l.recorded}` : t.lead}>
      <LiveBar
        shown={shown}
        note={note}
        rate={rate}
        rates={rates}
        paused={paused}
        onRate={(every) => {
          setPaused(false);
          onSearch(change(search, { every }));
        }}
        onPause={setPaused}
        onRefresh={() => void found.refetch()}
      >
        {rows && rows.length > 0 && t.summary(rows.length, sum(rows, "rows"), size(sum(rows, "bytes")))}
      </LiveBar>
      <Filters
        search={search}
        onSearch={onSearch}
        states={t.states}
        sources={[...new Set((rows ?? []).map((p) => p.data_source))].sort()}
        hint={t.searchHint}
      />
      <List
        rows={rows}
        fitting={fitting}
        problem={found.error ?? undefined}
        onRetry={() => void found.refetch()}
        icon={IconStack3}
        emptyTitle={t.emptyTitle}
        empty={t.empty}
        noMatch={t.noMatch}
        search={search}
        onSearch={onSearch}
        mayAll={isAdmin(me)}
      >
        {(some) => (
          <Rows>
            <Table
              dense
              label={t.title}
              rows={some}
              keyOf={(p) => p.id}
              columns={[
                {
                  name: t.columns.name,
                  cell: (p) => (
                    <RowName more={t.more(t.states[stateOf(p)] ?? p.state)} detail={<code>{p.structure}</code>} onOpen={() => openRow(p.id)}>
                      {nameOf(p)}
                    </RowName>
                  ),
                },
                { name: t.columns.owner, cell: (p) => <Owner of={p} /> },
                { name: t.columns.source, cell: (p) => p.data_source },
                { name: t.columns.state, cell: (p) => <State of={p} /> },
                { name: t.columns.partitions, cell: (p) => <span className={classes.number}>{t.number(p.partitions)}</span> },
                { name: t.columns.rows, cell: (p) => <span className={classes.number}>{t.number(p.rows)}</span> },
                { name: t.columns.bytes, cell: (p) => <span className={classes.number}>{size(p.bytes)}</span> },
                { name: t.columns.built, cell: (p) => (p.built_at ? <RelativeTime at={p.built_at} /> : <Dim>{t.never}</Dim>) },
              ]}
            />
            <p className={classes.hint}>{t.keys}</p>
          </Rows>
        )}
      </List>
      {found.hasNextPage && (
        <div className={classes.notice}>
          <Button variant="default" loading={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>
            {t.next}
          </Button>
        </div>
      )}
      <Details title={open ? nameOf(open) : l.goneTitle} opened={search.row !== undefined && rows !== undefined} onClose={() => openRow(undefined)}>
        {open ? <One of={open} /> : l.gone}
      </Details>
    </Page>
  );
}

function sum(rows: PreAggregation[], what: "rows" | "bytes"): number {
  return rows.reduce((n, p) => n + p[what], 0);
}

function nameOf(p: PreAggregation): string {
  return p.name || t.unnamed;
}

function Owner({ of }: { of: PreAggregation }) {
  const me = useMe();
  if (of.shared) return t.shared;
  return who(of.owner) === me.username ? t.you : who(of.owner);
}

const looks: Record<string, { tone: Tone; icon: typeof IconX }> = {
  waiting: { tone: "calm", icon: IconHourglass },
  running: { tone: "info", icon: IconHammer },
  done: { tone: "ok", icon: IconCircleCheck },
  empty: { tone: "warn", icon: IconCircleDashed },
  stale: { tone: "warn", icon: IconAlertTriangle },
  failed: { tone: "bad", icon: IconX },
  kept: { tone: "calm", icon: IconCircleCheck },
  none: { tone: "calm", icon: IconDatabaseExclamation },
};

function State({ of }: { of: PreAggregation }) {
  const state = stateOf(of);
  return (
    <Badge tone={looks[state]?.tone ?? "calm"} icon={looks[state]?.icon}>
      {t.states[state] ?? state}
    </Badge>
  );
}

/** One pre-aggregation in full. */
function One({ of: p }: { of: PreAggregation }) {
  return (
    <>
      <div className={classes.head}>
        <State of={p} />
      </div>
      <p className={classes.meaning}>{t.meanings[stateOf(p)]}</p>
      <Facts>
        <Fact name={t.facts.owner}>
          <Owner of={p} />
        </Fact>
        <Fact name={t.facts.fetched}>{p.shared ? t.sharedWhy : t.ownWhy(who(p.owner))}</Fact>
        <Fact name={t.facts.source}>{p.data_source}</Fact>
        <Fact name={t.facts.domain}>
          <code>{p.domain}</code>
        </Fact>
        <Fact name={t.facts.partitions}>{t.number(p.partitions)}</Fact>
        <Fact name={t.facts.rows}>{t.number(p.rows)}</Fact>
        <Fact name={t.facts.bytes}>{size(p.bytes)}</Fact>
        <Fact name={t.facts.built}>{p.built_at && <RelativeTime at={p.built_at} />}</Fact>
        <Fact name={t.facts.oldest}>{p.oldest_built_at && p.oldest_built_at !== p.built_at && <RelativeTime at={p.oldest_built_at} />}</Fact>
        <Fact name={t.facts.structure} copy={p.structure}>
          <code>{p.structure}</code>
        </Fact>
        <Fact name={t.facts.id} copy={p.id}>
          <code>{p.id}</code>
        </Fact>
      </Facts>
    </>
  );
}

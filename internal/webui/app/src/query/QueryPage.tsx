import { Drawer, Tabs } from "@mantine/core";
import { useMediaQuery } from "@mantine/hooks";
import { IconBinaryTree2, IconPlugConnected } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { meta } from "../api/cube";
import { Page } from "../shell/Page";
import { strings } from "../strings";
import { EmptyState } from "../ui/EmptyState";
import { ErrorBlock } from "../ui/ErrorBlock";
import { Loading } from "../ui/Loading";
import { Notice } from "../ui/Notice";
import { Builder } from "./Builder";
import { has, isRunnable, membersOf, names, type Query, starters, type Tab, tidy, toggle, toQuery, toSend } from "./draft";
import { JSONTab } from "./JSONTab";
import { MemberTree } from "./MemberTree";
import classes from "./QueryPage.module.css";
import { takeRerun } from "./rerun";
import { Results } from "./Results";
import { SQLTab } from "./SQLTab";
import { useRun } from "./useRun";

const t = strings.query;

/** The query page. The address holds the draft and the tab: reload, back and share restore them. */
export function QueryPage() {
  const search = useSearch({ from: "/query" });
  const navigate = useNavigate({ from: "/query" });
  const query = useMemo(() => search.query ?? {}, [search.query]);
  const tab = search.tab ?? "results";
  const model = useQuery({ queryKey: ["meta"], queryFn: ({ signal }) => meta(signal), staleTime: 60_000 });
  const members = useMemo(() => membersOf(model.data ?? []), [model.data]);
  const { run, start, stop } = useRun();
  const narrow = useMediaQuery("(max-width: 74em)") ?? false;
  const [picking, setPicking] = useState(false);
  const [connected, setConnected] = useState(""); // what was connected so that the present run could be

  const change = useCallback(
    (q: Query) => void navigate({ search: (s) => ({ ...s, query: Object.keys(q).length > 0 ? q : undefined }), replace: true, resetScroll: false }),
    [navigate],
  );
  const setTab = useCallback(
    (next: Tab) => void navigate({ search: (s) => ({ ...s, tab: next === "results" ? undefined : next }), replace: true, resetScroll: false }),
    [navigate],
  );
  const runNow = useCallback(
    (q: Query) => {
      if (!isRunnable(toSend(q))) return;
      setTab("results");
      setConnected("");
      void start(q);
    },
    [start, setTab],
  );
  const runChanged = (q: Query) => {
    void navigate({ search: { query: tidy(q) }, replace: true, resetScroll: false });
    setConnected("");
    void start(q);
  };

  // Back from the provider in this very tab: the query that asked for it goes on.
  const came = useRef(false);
  useEffect(() => {
    if (came.current) return;
    came.current = true;
    if (takeRerun() && isRunnable(query)) void start(query);
  }, [query, start]);

  const latest = useRef({ query, runNow, stop });
  latest.current = { query, runNow, stop };
  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) {
        e.preventDefault();
        latest.current.runNow(latest.current.query);
      } else if (e.key === "." && (e.ctrlKey || e.metaKey)) {
        e.preventDefault();
        latest.current.stop();
      } else if (e.key === "F6") {
        e.preventDefault();
        nextPane(e.shiftKey ? -1 : 1);
      }
    };
    const onPaste = (e: ClipboardEvent) => {
      if (e.target instanceof HTMLInputElement || e.target instanceof HTMLTextAreaElement) return;
      const pasted = fromClipboard(e.clipboardData?.getData("text") ?? "");
      if (pasted) change(pasted);
    };
    window.addEventListener("keydown", onKey);
    window.addEventListener("paste", onPaste);
    return () => {
      window.removeEventListener("keydown", onKey);
      window.removeEventListener("paste", onPaste);
    };
  }, [change]);

  const title = members.get(query.measures?.[0] ?? "")?.title;
  const unknown = model.data ? names(query).filter((n) => !members.has(n)) : [];
  const first = useMemo(
    () =>
      starters(model.data ?? []).map(({ measure, dimension, time }) => ({
        label: dimension ? t.starterBy(measure.title, dimension.shortTitle) : time ? t.starterOver(measure.title, "month") : t.starterCount(measure.title),
        query: tidy({
          measures: [measure.name],
          dimensions: dimension ? [dimension.name] : [],
          timeDimensions: time ? [{ dimension: time.name, granularity: "month" }] : [],
        }),
      })),
    [model.data],
  );

  const sort = (member: string) => {
    const dir = query.order?.find(([id]) => id === member)?.[1];
    const isMeasure = members.get(member)?.kind === "measure";
    const next = dir === undefined ? (isMeasure ? "desc" : "asc") : dir === "asc" ? "desc" : "asc";
    runChanged({ ...query, order: [[member, next]] });
  };

  const tree = (
    <MemberTree cubes={model.data ?? []} isChosen={(m) => has(query, m)} onToggle={(m) => change(toggle(query, m))} />
  );
  const changed = "query" in run && JSON.stringify(run.query) !== JSON.stringify(toSend(query));

  return (
    <div className={classes.layout} data-narrow={narrow}>
      {!narrow && (
        <section className={classes.side} aria-label={t.members} data-pane tabIndex={-1}>
          {model.isPending && <Loading lines={10} />}
          {model.data && model.data.length > 0 && tree}
        </section>
      )}
      <div className={classes.main}>
        <Page title={t.title} documentTitle={title ? `${title} · ${t.title}` : undefined} wide>
          {model.isError && model.data === undefined ? (
            <ErrorBlock error={model.error} onRetry={() => void model.refetch()} />
          ) : model.data?.length === 0 ? (
            <div className="card">
              <EmptyState icon={IconBinaryTree2} title={t.modelEmptyTitle}>
                {t.modelEmpty}
              </EmptyState>
            </div>
          ) : (
            <div className={classes.stack}>
              <Builder
                query={query}
                members={members}
                running={run.step === "running"}
                onChange={change}
                onRun={() => runNow(query)}
                onStop={stop}
                onPick={narrow ? () => setPicking(true) : undefined}
              />
              {connected !== "" && <Notice tone="ok" icon={IconPlugConnected} title={connected} />}
              {unknown.length > 0 && <p role="status">{t.unknownMembers(strings.list([...new Set(unknown)]))}</p>}
              <section className={`card ${classes.results}`} aria-label={t.results} aria-busy={run.step === "running"} data-pane tabIndex={-1}>
                <Tabs value={tab} onChange={(v) => setTab((v ?? "results") as Tab)} keepMounted={false}>
                  <Tabs.List>
                    <Tabs.Tab value="results">{t.results}</Tabs.Tab>
                    <Tabs.Tab value="sql">{t.sqlTab}</Tabs.Tab>
                    <Tabs.Tab value="json">{t.jsonTab}</Tabs.Tab>
                  </Tabs.List>
                  <Tabs.Panel value="results">
                    <Results
                      run={run}
                      changed={changed && isRunnable(query)}
                      starters={isRunnable(query) ? [] : first}
                      onStart={runChanged}
                      onRun={() => runNow(query)}
                      onRerun={(q, said = "") => {
                        setConnected(said);
                        void start(q);
                      }}
                      onSort={sort}
                      onDropFilters={() => runChanged({ ...query, filters: [] })}
                    />
                  </Tabs.Panel>
                  <Tabs.Panel value="sql">
                    <SQLTab query={query} />
                  </Tabs.Panel>
                  <Tabs.Panel value="json">
                    <JSONTab query={query} run={run} onApply={change} />
                  </Tabs.Panel>
                </Tabs>
              </section>
            </div>
          )}
        </Page>
      </div>
      <Drawer opened={narrow && picking} onClose={() => setPicking(false)} title={t.members} size={340} closeButtonProps={{ "aria-label": strings.common.close }}>
        {tree}
      </Drawer>
    </div>
  );
}

/** A Cube query, or an address that holds one, in what somebody pasted onto the page. */
function fromClipboard(text: string): Query | undefined {
  const trimmed = text.trim();
  if (trimmed.startsWith("{")) {
    const q = toQuery(trimmed);
    return q && names(q).length > 0 ? q : undefined;
  }
  try {
    const q = toQuery(new URL(trimmed).searchParams.get("query") ?? undefined);
    return q && names(q).length > 0 ? q : undefined;
  } catch {
    return undefined;
  }
}

/** F6 goes round the panes: members, form, results. */
function nextPane(step: 1 | -1) {
  const panes = [...document.querySelectorAll<HTMLElement>("[data-pane]")];
  const at = panes.findIndex((p) => p.contains(document.activeElement));
  panes[(at + step + panes.length) % panes.length]?.focus();
}

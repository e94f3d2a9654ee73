import { Button, Loader } from "@mantine/core";
import { IconBolt, IconDatabase, IconHistory, IconRefresh, IconScissors, IconStack3, IconTableOff, IconTableSpark } from "@tabler/icons-react";
import type { LoadResult } from "../api/cube";
import { strings } from "../strings";
import { Badge } from "../ui/Badge";
import { CopyButton } from "../ui/CopyButton";
import { EmptyState } from "../ui/EmptyState";
import { ErrorBlock } from "../ui/ErrorBlock";
import { useNow } from "../ui/RelativeTime";
import { duration, relative } from "../ui/time";
import { ConnectPrompt } from "./ConnectPrompt";
import { defaultLimit, type Query } from "./draft";
import { RanAs } from "./RanAs";
import { ResultGrid } from "./ResultGrid";
import classes from "./Results.module.css";
import type { Run } from "./useRun";

const t = strings.query;

interface Props {
  run: Run;
  /** Whether the form has moved on from what ran. */
  changed: boolean;
  starters: { label: string; query: Query }[];
  onStart: (q: Query) => void;
  onRun: () => void;
  onRerun: (q: Query, said?: string) => void;
  onSort: (member: string) => void;
  onDropFilters: () => void;
}

export function Results({ run, changed, starters, onStart, onRun, onRerun, onSort, onDropFilters }: Props) {
  switch (run.step) {
    case "idle":
      return (
        <EmptyState
          icon={IconTableSpark}
          title={starters.length > 0 ? t.starters : t.idle}
          action={
            starters.length > 0 && (
              <ul className={classes.starters}>
                {starters.map((s) => (
                  <li key={s.label}>
                    <Button variant="default" onClick={() => onStart(s.query)}>
                      {s.label}
                    </Button>
                  </li>
                ))}
              </ul>
            )
          }
        >
          {starters.length === 0 && t.idleHint}
        </EmptyState>
      );
    case "running":
      return <Running run={run} />;
    case "stopped":
      return (
        <EmptyState
          icon={IconTableOff}
          title={t.stopped}
          action={
            <Button variant="default" onClick={onRun}>
              {t.run}
            </Button>
          }
        />
      );
    case "failed":
      return (
        <div className={classes.pane}>
          {run.problem.needsConnection ? (
            <ConnectPrompt key={run.problem.app} problem={run.problem} onConnected={(said) => onRerun(run.query, said)} />
          ) : (
            <ErrorBlock error={run.problem} onRetry={() => onRerun(run.query)} />
          )}
        </div>
      );
    case "done":
      return (
        <>
          <Header query={run.query} result={run.result} />
          {changed && (
            <p className={classes.changed} role="status">
              {t.changed}{" "}
              <Button size="compact-sm" variant="light" onClick={onRun} leftSection={<IconRefresh size={14} aria-hidden />}>
                {t.run}
              </Button>
            </p>
          )}
          {run.result.rows.length === 0 ? (
            <EmptyState
              icon={IconTableOff}
              title={t.noRows}
              action={
                run.query.filters?.length ? (
                  <Button variant="default" onClick={onDropFilters}>
                    {t.dropFilters}
                  </Button>
                ) : undefined
              }
            >
              {run.query.filters?.length ? t.noRowsFilters : t.noRowsPlain}
            </EmptyState>
          ) : (
            <ResultGrid key={run.result.requestID} query={run.query} result={run.result} onSort={onSort} />
          )}
        </>
      );
  }
}

function Running({ run }: { run: Extract<Run, { step: "running" }> }) {
  const now = useNow(100);
  const elapsed = now.getTime() - run.started;
  if (elapsed < 300) return <div className={classes.running} />;
  return (
    <div className={classes.running}>
      <Loader size={26} aria-hidden />
      <p className={classes.stage}>{run.stage ? t.stages(run.stage.text) : t.running}</p>
      <p className={classes.dim}>{t.elapsed(duration(Math.max(elapsed, 0)))}</p>
    </div>
  );
}

/** Whose query it was, where it ran, how fresh it is, how much there is, and what to quote about it. */
function Header({ query, result }: { query: Query; result: LoadResult }) {
  const now = useNow(30_000);
  const limit = query.limit ?? defaultLimit;
  const age = result.lastRefreshTime ? relative(new Date(result.lastRefreshTime), now) : undefined;
  const cached = result.runAs?.cached === true;
  return (
    <div className={classes.header}>
      {result.runAs && <RanAs runAs={result.runAs} />}
      {result.rollups.length > 0 ? (
        <Badge tone="info" icon={IconStack3}>
          {t.rollup(result.rollups.join(", "))}
        </Badge>
      ) : result.slowQuery ? (
        <Badge tone="warn" icon={IconHistory}>
          {t.stale(age ?? "")}
        </Badge>
      ) : cached ? (
        <Badge tone="info" icon={IconHistory}>
          {age ? t.cached(age) : t.cachedPlain}
        </Badge>
      ) : (
        <Badge tone="calm" icon={IconBolt}>
          {t.fresh}
        </Badge>
      )}
      {result.rows.length >= limit && (
        <Badge tone="warn" icon={IconScissors}>
          {t.truncated(limit)}
        </Badge>
      )}
      <dl className={classes.facts}>
        {result.dataSource !== "" && (
          <div>
            <dt className={classes.hidden}>{t.source}</dt>
            <dd className={classes.source}>
              <IconDatabase size={14} aria-hidden /> {result.dataSource}
            </dd>
          </div>
        )}
        <div>
          <dd>{strings.counts.rows(result.rows.length)}</dd>
        </div>
        <div>
          <dd>{duration(result.milliseconds)}</dd>
        </div>
        <div>
          <dt className={classes.hidden}>{strings.common.requestID}</dt>
          <dd className={classes.source}>
            <code className={classes.id} title={result.requestID}>
              {result.requestID}
            </code>
            <CopyButton text={result.requestID} what={strings.common.requestID.toLowerCase()} />
          </dd>
        </div>
      </dl>
    </div>
  );
}

import { Button } from "@mantine/core";
import type { ComponentType, ReactNode } from "react";
import { ErrorBlock } from "../ui/ErrorBlock";
import { EmptyState } from "../ui/EmptyState";
import { Loading } from "../ui/Loading";
import { LiveBar, type Shown } from "./LiveBar";
import { change, type Search } from "./search";
import { live as t } from "./strings";
import type { Live } from "./useLive";

interface BarProps {
  live: Omit<Live<unknown>, "totals">;
  search: Search;
  onSearch: (search: Search) => void;
  paused: boolean;
  onPause: (paused: boolean) => void;
  says: (came: number, went: number) => string;
  children?: ReactNode;
}

/** The bar of a view that follows a topic. */
export function Bar({ live, search, onSearch, paused, onPause, says, children }: BarProps) {
  const shown: Shown = live.phase === "live" && paused ? "paused" : live.phase;
  const { came, went } = live.waiting;
  const note =
    shown === "paused" && came + went > 0 ? t.waiting(says(came, went)) : shown === "paused" || shown === "off" ? t.asOf(clock(live.now)) : live.problem?.detail;
  return (
    <LiveBar
      shown={shown}
      note={note}
      rate={search.every ?? "live"}
      paused={paused}
      onRate={(rate) => {
        onPause(false);
        onSearch(change(search, { every: rate === "live" ? undefined : rate }));
      }}
      onPause={onPause}
      onRefresh={live.refresh}
    >
      {live.rows && children}
    </LiveBar>
  );
}

export function clock(ms: number): string {
  return new Date(ms).toLocaleTimeString("en-GB");
}

interface ListProps<Row> {
  rows?: Row[];
  /** The rows that fit the filters. */
  fitting: Row[];
  problem?: unknown;
  onRetry: () => void;
  icon: ComponentType<{ size?: number; stroke?: number; "aria-hidden"?: boolean }>;
  emptyTitle: string;
  empty: string;
  noMatch: string;
  search: Search;
  onSearch: (search: Search) => void;
  /** Whether everybody's could be shown. */
  mayAll: boolean;
  children: (rows: Row[]) => ReactNode;
}

/** What there is to see, or why there is nothing. */
export function List<Row>({ rows, fitting, problem, onRetry, icon, emptyTitle, empty, noMatch, search, onSearch, mayAll, children }: ListProps<Row>) {
  if (rows === undefined) return problem === undefined ? <Loading lines={6} height={22} /> : <ErrorBlock error={problem} onRetry={onRetry} />;
  if (fitting.length > 0) return children(fitting);
  const filtered = Boolean(search.text || search.state || search.source);
  return (
    <div className="card">
      {rows.length > 0 && filtered ? (
        <EmptyState
          icon={icon}
          title={noMatch}
          action={
            <Button variant="default" onClick={() => onSearch(change(search, { text: "", state: "", source: "" }))}>
              {t.clear}
            </Button>
          }
        />
      ) : (
        <EmptyState
          icon={icon}
          title={emptyTitle}
          action={
            mayAll &&
            !search.all && (
              <Button variant="default" onClick={() => onSearch(change(search, { all: true }))}>
                {t.showAll}
              </Button>
            )
          }
        >
          {empty}
        </EmptyState>
      )}
    </div>
  );
}

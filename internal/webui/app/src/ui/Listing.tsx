import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { ErrorBlock } from "./ErrorBlock";
import { Loading } from "./Loading";

interface Props<Row> {
  query: UseQueryResult<Row[]>;
  /** What stands there while there are none: an EmptyState. */
  empty: ReactNode;
  children: (rows: Row[]) => ReactNode;
}

/** What a page found. Rows that are shown stay when asking for them again fails. */
export function Listing<Row>({ query, empty, children }: Props<Row>) {
  if (query.data === undefined) {
    return query.isError ? <ErrorBlock error={query.error} onRetry={() => void query.refetch()} /> : <Loading lines={6} height={22} />;
  }
  return query.data.length === 0 ? <div className="card">{empty}</div> : children(query.data);
}

import { Button } from "@mantine/core";
import { IconArrowDown, IconArrowUp, IconChevronLeft, IconChevronRight } from "@tabler/icons-react";
import { type KeyboardEvent, useRef, useState } from "react";
import type { LoadResult } from "../api/cube";
import { strings } from "../strings";
import { useAnnounce } from "../ui/Announcer";
import { useCopy } from "../ui/CopyButton";
import { columns, type Query } from "./draft";
import { cell } from "./format";
import classes from "./Results.module.css";

const t = strings.query;
const pageSize = 100;

interface Props {
  query: Query;
  result: LoadResult;
  onSort: (member: string) => void;
}

/** The rows as a grid: arrow keys move, Ctrl+C copies a cell, a header orders the query by its column. */
export function ResultGrid({ query, result, onSort }: Props) {
  const [page, setPage] = useState(0);
  const [at, setAt] = useState({ row: 0, column: 0 });
  const grid = useRef<HTMLTableElement>(null);
  const announce = useAnnounce();
  const { copy } = useCopy();

  const names = columns(query);
  const pages = Math.ceil(result.rows.length / pageSize);
  const rows = result.rows.slice(page * pageSize, (page + 1) * pageSize);
  const cols = names.map((name) => {
    const a = result.annotations[name];
    const td = query.timeDimensions?.find((x) => `${x.dimension}.${x.granularity}` === name);
    const member = td?.dimension ?? name;
    const type = query.measures?.includes(name) ? (a?.type ?? "number") : (a?.type ?? (td ? "time" : "string"));
    const dir = query.order?.find(([id]) => id === member)?.[1];
    return { name, member, type, granularity: td?.granularity, title: a?.shortTitle ?? a?.title ?? name, full: a?.title ?? name, dir };
  });

  const move = (row: number, column: number) => {
    const next = { row: Math.max(0, Math.min(row, rows.length)), column: Math.max(0, Math.min(column, cols.length - 1)) };
    setAt(next);
    const element = grid.current?.rows[next.row]?.cells[next.column];
    (element?.querySelector("button") ?? element)?.focus();
  };
  const onKeyDown = (e: KeyboardEvent) => {
    if ((e.ctrlKey || e.metaKey) && e.key === "c" && at.row > 0 && window.getSelection()?.isCollapsed !== false) {
      const c = cols[at.column];
      const value = c && rows[at.row - 1]?.[c.name];
      const text = value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
      void copy(text).then(() => announce(t.cellCopied(text)));
      e.preventDefault();
      return;
    }
    if (e.altKey || e.metaKey) return;
    const keys: Record<string, [number, number]> = {
      ArrowDown: [at.row + 1, at.column],
      ArrowUp: [at.row - 1, at.column],
      ArrowLeft: [at.row, at.column - 1],
      ArrowRight: [at.row, at.column + 1],
      Home: [e.ctrlKey ? 0 : at.row, 0],
      End: [e.ctrlKey ? rows.length : at.row, cols.length - 1],
      PageDown: [at.row + 15, at.column],
      PageUp: [at.row - 15, at.column],
    };
    const to = keys[e.key];
    if (to === undefined) return;
    e.preventDefault();
    move(...to);
  };
  const stop = (row: number, column: number) => (at.row === row && at.column === column ? 0 : -1);

  return (
    <>
      <div className={classes.scroll}>
        <table
          ref={grid}
          role="grid"
          aria-label={t.grid}
          aria-rowcount={result.rows.length + 1}
          aria-colcount={cols.length}
          className={classes.grid}
          onKeyDown={onKeyDown}
        >
          <thead>
            <tr>
              {cols.map((c, i) => (
                <th
                  key={c.name}
                  scope="col"
                  data-type={c.type}
                  aria-sort={c.dir === "asc" ? "ascending" : c.dir === "desc" ? "descending" : undefined}
                  onFocus={() => setAt({ row: 0, column: i })}
                >
                  <button type="button" tabIndex={stop(0, i)} onClick={() => onSort(c.member)} title={t.sortBy(c.full)}>
                    {c.title}
                    {c.dir === "asc" && <IconArrowUp size={14} aria-hidden />}
                    {c.dir === "desc" && <IconArrowDown size={14} aria-hidden />}
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row, r) => (
              <tr key={page * pageSize + r} aria-rowindex={page * pageSize + r + 2}>
                {cols.map((c, i) => {
                  const value = row[c.name];
                  const missing = value === null || value === undefined;
                  return (
                    <td key={c.name} data-type={c.type} tabIndex={stop(r + 1, i)} onFocus={() => setAt({ row: r + 1, column: i })}>
                      {missing ? <span className={classes.null}>{t.nullValue}</span> : cell(value, c.type, c.granularity)}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {pages > 1 && (
        <nav className={classes.pager} aria-label={t.results}>
          <span>{t.pageOf(page * pageSize + 1, Math.min((page + 1) * pageSize, result.rows.length), result.rows.length)}</span>
          <Button size="xs" variant="default" disabled={page === 0} onClick={() => setPage(page - 1)} leftSection={<IconChevronLeft size={14} aria-hidden />}>
            {t.previousPage}
          </Button>
          <Button size="xs" variant="default" disabled={page === pages - 1} onClick={() => setPage(page + 1)} rightSection={<IconChevronRight size={14} aria-hidden />}>
            {t.nextPage}
          </Button>
        </nav>
      )}
    </>
  );
}

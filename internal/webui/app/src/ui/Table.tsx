import type { ReactNode } from "react";
import classes from "./Table.module.css";

export interface Column<Row> {
  name: string;
  cell: (row: Row) => ReactNode;
}

interface Props<Row> {
  label: string;
  /** The first column names the row. */
  columns: [Column<Row>, ...Column<Row>[]];
  rows: Row[];
  keyOf: (row: Row) => string;
  /** A last column without a visible name, for the row's menu or button. */
  actions?: Column<Row>;
  /** What stands below a row, over its whole width; undefined where nothing does. */
  below?: (row: Row) => ReactNode;
  /** For many short rows: less air between them. */
  dense?: boolean;
  /** Whether a row tells of something that is over. */
  past?: (row: Row) => boolean;
}

/** Rows of things. Narrow screens stack the cells; the roles keep it a table for screen readers all the same. */
export function Table<Row>({ label, columns: [first, ...rest], rows, keyOf, actions, below, dense = false, past }: Props<Row>) {
  const width = 1 + rest.length + (actions ? 1 : 0);
  return (
    <div className={`card ${classes.card}`}>
      <table className={classes.table} role="table" aria-label={label} data-dense={dense}>
        <thead role="rowgroup">
          <tr role="row">
            {[first, ...rest].map(({ name }) => (
              <th key={name} scope="col" role="columnheader">
                {name}
              </th>
            ))}
            {actions && (
              <th scope="col" role="columnheader">
                <span className={classes.hidden}>{actions.name}</span>
              </th>
            )}
          </tr>
        </thead>
        {rows.map((row) => {
          const more = below?.(row);
          return (
            <tbody key={keyOf(row)} role="rowgroup" data-row={keyOf(row)} data-past={past?.(row)}>
              <tr role="row">
                <th scope="row" role="rowheader">
                  {first.cell(row)}
                </th>
                {rest.map(({ name, cell }) => (
                  <td key={name} role="cell" data-label={name}>
                    {cell(row)}
                  </td>
                ))}
                {actions && (
                  <td role="cell" className={classes.actions}>
                    {actions.cell(row)}
                  </td>
                )}
              </tr>
              {more !== undefined && more !== null && (
                <tr role="row" className={classes.below}>
                  <td role="cell" colSpan={width}>
                    {more}
                  </td>
                </tr>
              )}
            </tbody>
          );
        })}
      </table>
    </div>
  );
}

/** A second line of a cell, or what is not there. */
export function Dim({ children }: { children: ReactNode }) {
  return <span className={classes.dim}>{children}</span>;
}

import { VisuallyHidden } from "@mantine/core";
import type { KeyboardEvent, ReactNode } from "react";
import classes from "./Live.module.css";

/** The rows of a live table by keyboard: the arrows move from name to name, Del asks what onDelete does. */
export function Rows({ onDelete, children }: { onDelete?: (id: string) => void; children: ReactNode }) {
  const onKeyDown = (e: KeyboardEvent<HTMLDivElement>) => {
    const name = (e.target as HTMLElement).closest<HTMLElement>("[data-open]");
    if (name === null) return;
    const all = [...e.currentTarget.querySelectorAll<HTMLElement>("[data-open]")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (step !== undefined) {
      e.preventDefault();
      all[all.indexOf(name) + step]?.focus();
    }
    const id = name.closest("[data-row]")?.getAttribute("data-row");
    if (e.key === "Delete" && id) onDelete?.(id);
  };
  return (
    <div className={classes.rows} onKeyDown={onKeyDown}>
      {children}
    </div>
  );
}

interface NameProps {
  children: ReactNode;
  /** What is said beside it to who does not see the row: whose it is, and its state. */
  more: string;
  /** A second line. */
  detail?: ReactNode;
  keys?: string;
  onOpen: () => void;
}

/** What a row is called, as the button that opens it; the mouse may press anywhere in the row. */
export function RowName({ children, more, detail, keys = "Enter", onOpen }: NameProps) {
  return (
    <>
      <button type="button" className={classes.name} data-open aria-haspopup="dialog" aria-keyshortcuts={keys} onClick={onOpen}>
        {children} <VisuallyHidden component="span">{more}</VisuallyHidden>
      </button>
      {detail && <div className={classes.detail}>{detail}</div>}
    </>
  );
}

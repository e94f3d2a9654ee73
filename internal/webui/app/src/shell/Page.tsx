import { type ReactNode, useEffect, useRef } from "react";
import { strings } from "../strings";
import classes from "./Page.module.css";

interface Props {
  title: string;
  /** What the tab is called, when that is more than the title. */
  documentTitle?: string;
  lead?: ReactNode;
  actions?: ReactNode;
  wide?: boolean;
  children: ReactNode;
}

let first = true;

/** One screen: its title in the tab, its h1 focused after a navigation, so that a screen reader knows where it is. */
export function Page({ title, documentTitle, lead, actions, wide = false, children }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = strings.title(documentTitle ?? title);
  }, [title, documentTitle]);
  useEffect(() => {
    if (!first) heading.current?.focus({ preventScroll: true });
    first = false;
  }, []);
  return (
    <div className={classes.page} data-wide={wide}>
      <header className={classes.header}>
        <div className={classes.heading}>
          <h1 ref={heading} tabIndex={-1} className={classes.title}>
            {title}
          </h1>
          {lead && <p className={classes.lead}>{lead}</p>}
        </div>
        {actions && <div className={classes.actions}>{actions}</div>}
      </header>
      {children}
    </div>
  );
}

import type { ComponentType, ReactNode } from "react";
import type { Tone } from "./Badge";
import classes from "./Notice.module.css";

interface Props {
  tone: Tone;
  icon: ComponentType<{ size?: number; "aria-hidden"?: boolean }>;
  title: string;
  children?: ReactNode;
}

/** Something to know about the screen below it. It is not an alert: it was there when the screen was opened. */
export function Notice({ tone, icon: Icon, title, children }: Props) {
  return (
    <div className={classes.notice} data-tone={tone}>
      <Icon size={18} aria-hidden />
      <div className={classes.body}>
        <p className={classes.title}>{title}</p>
        {children}
      </div>
    </div>
  );
}

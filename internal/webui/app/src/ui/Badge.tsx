import type { ComponentType, ReactNode } from "react";
import classes from "./Badge.module.css";

export type Tone = "ok" | "warn" | "bad" | "info" | "calm";

interface Props {
  tone: Tone;
  icon?: ComponentType<{ size?: number; "aria-hidden"?: boolean }>;
  children: ReactNode;
}

export function Badge({ tone, icon: Icon, children }: Props) {
  return (
    <span className={classes.badge} data-tone={tone}>
      {Icon && <Icon size={14} aria-hidden />}
      {children}
    </span>
  );
}

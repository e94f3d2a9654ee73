import { Drawer } from "@mantine/core";
import type { ReactNode } from "react";
import { strings } from "../strings";
import { CopyButton } from "../ui/CopyButton";
import classes from "./Live.module.css";

interface Props {
  title: string;
  opened: boolean;
  onClose: () => void;
  children: ReactNode;
}

/** One row in full, beside the list, which goes on. */
export function Details({ title, opened, onClose, children }: Props) {
  return (
    <Drawer opened={opened} onClose={onClose} position="right" size={480} padding="lg" title={<strong>{title}</strong>} closeButtonProps={{ "aria-label": strings.common.close }}>
      {children}
    </Drawer>
  );
}

/** Facts of a row: those that are not there are left out. */
export function Facts({ children }: { children: ReactNode }) {
  return <dl className={classes.facts}>{children}</dl>;
}

export function Fact({ name, children, copy }: { name: string; children?: ReactNode; copy?: string }) {
  if (copy === "" || children === undefined || children === "" || children === null || children === false) return null;
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {children}
        {copy !== undefined && <CopyButton text={copy} what={name.toLowerCase()} />}
      </dd>
    </div>
  );
}

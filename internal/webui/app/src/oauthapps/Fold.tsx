import { Button, Collapse } from "@mantine/core";
import { IconChevronRight } from "@tabler/icons-react";
import type { ReactNode } from "react";
import classes from "./Form.module.css";

interface Props {
  id: string;
  label: string;
  open: boolean;
  onToggle: () => void;
  /** What stands in its place while it is closed. */
  summary?: ReactNode;
  children: ReactNode;
}

/** What most people need not see, behind a button that says whether it is open. */
export function Fold({ id, label, open, onToggle, summary, children }: Props) {
  return (
    <div>
      <Button
        variant="subtle"
        color="gray"
        size="compact-md"
        px={4}
        aria-expanded={open}
        aria-controls={id}
        onClick={onToggle}
        leftSection={<IconChevronRight size={16} aria-hidden className={classes.chevron} data-open={open} />}
      >
        {label}
      </Button>
      {!open && summary}
      <Collapse expanded={open} id={id}>
        <div className={classes.unfolded}>{children}</div>
      </Collapse>
    </div>
  );
}

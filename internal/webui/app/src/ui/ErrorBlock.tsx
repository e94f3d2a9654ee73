import { Anchor, Button } from "@mantine/core";
import { IconAlertCircle } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { asProblem } from "../api/problem";
import { strings } from "../strings";
import { CopyButton } from "./CopyButton";
import classes from "./ErrorBlock.module.css";

interface Props {
  /** Whatever was thrown. */
  error: unknown;
  /** The one main action; default, for what may pass by itself, trying again. */
  action?: ReactNode;
  onRetry?: () => void;
}

/** A failure in full: what happened, why, who can fix it, one action, and what to quote when asking for help. */
export function ErrorBlock({ error, action, onRetry }: Props) {
  const p = asProblem(error);
  const link = p.actions.find((a) => a.href !== undefined);
  return (
    <section className={classes.block} role="alert">
      <IconAlertCircle size={20} aria-hidden className={classes.icon} />
      <div className={classes.body}>
        <p className={classes.title}>{p.title}</p>
        <p className={classes.detail}>{p.detail}</p>
        {p.fields.length > 0 && (
          <ul className={classes.fields}>
            {p.fields.map((f) => (
              <li key={f.pointer + f.code}>
                <code>{f.pointer}</code> {f.detail}
              </li>
            ))}
          </ul>
        )}
        {p.owner && <p className={classes.owner}>{strings.problem.owner[p.owner]}</p>}
        <div className={classes.actions}>
          {action ??
            (onRetry ? (
              <Button size="xs" variant="default" onClick={onRetry}>
                {strings.common.retry}
              </Button>
            ) : (
              link && <Anchor href={link.href}>{link.label}</Anchor>
            ))}
        </div>
        <dl className={classes.meta}>
          <div>
            <dt>{strings.common.code}</dt>
            <dd>
              <code>{p.code}</code>
            </dd>
          </div>
          {p.requestID !== "" && (
            <div>
              <dt>{strings.common.requestID}</dt>
              <dd>
                <code>{p.requestID}</code>
                <CopyButton text={p.requestID} what={strings.common.requestID.toLowerCase()} />
              </dd>
            </div>
          )}
        </dl>
      </div>
    </section>
  );
}

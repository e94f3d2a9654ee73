import { Button, Group, Loader } from "@mantine/core";
import { IconExternalLink } from "@tabler/icons-react";
import { type ReactNode, useEffect, useState } from "react";
import { browser } from "../api/signin";
import { strings } from "../strings";
import { CopyButton } from "../ui/CopyButton";
import { ErrorBlock } from "../ui/ErrorBlock";
import classes from "./ConnectPanel.module.css";
import type { Phase } from "./useConnect";

const t = strings.connect;

interface Props {
  name: string;
  phase: Phase;
  connect: () => void;
  reset: () => void;
}

/** What there is to see of an attempt to connect; nothing before it began and after it succeeded. */
export function ConnectPanel({ name, phase, connect, reset }: Props): ReactNode {
  switch (phase.step) {
    case "idle":
    case "connected":
      return null;
    case "starting":
      return <Waiting text={t.opening} />;
    case "waiting":
      return (
        <Waiting text={t.waiting(name)} hint={t.waitingHint} onStop={reset}>
          <RedirectHint name={name} uri={phase.redirectURI} />
        </Waiting>
      );
    case "blocked":
      return (
        <div className={classes.panel} role="alert">
          <div>
            <p className={classes.title}>{t.blockedTitle}</p>
            <p className={classes.hint}>{t.blocked}</p>
            <Group gap="xs" mt="sm">
              <Button rightSection={<IconExternalLink size={16} aria-hidden />} onClick={() => browser.go(phase.url)}>
                {t.continueHere}
              </Button>
              <Button variant="default" onClick={reset}>
                {strings.common.cancel}
              </Button>
            </Group>
          </div>
        </div>
      );
    case "failed":
      return <ErrorBlock error={phase.problem} onRetry={connect} />;
  }
}

function Waiting({ text, hint, onStop, children }: { text: string; hint?: string; onStop?: () => void; children?: ReactNode }) {
  return (
    <div className={classes.panel} role="status">
      <Loader size={20} aria-hidden />
      <div className={classes.body}>
        <p className={classes.title}>{text}</p>
        {hint && <p className={classes.hint}>{hint}</p>}
        {children}
        {onStop && (
          <Button mt="sm" size="xs" variant="default" onClick={onStop}>
            {t.stop}
          </Button>
        )}
      </div>
    </div>
  );
}

/** After a minute somebody may be looking at the provider's error page, which we cannot see. */
function RedirectHint({ name, uri }: { name: string; uri: string }) {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), 60_000);
    return () => clearTimeout(timer);
  }, []);
  if (!late) return null;
  return (
    <div className={classes.redirect}>
      {t.redirectHint(name)}
      <div className={classes.uri}>
        <code>{uri}</code>
        <CopyButton text={uri} what="redirect URI" />
      </div>
    </div>
  );
}

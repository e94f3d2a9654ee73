import { Button, Loader } from "@mantine/core";
import { IconAlertTriangle, IconCircleCheck, IconCircleDashed, IconCircleX, IconPlugConnected } from "@tabler/icons-react";
import { type ComponentType, useEffect, useRef } from "react";
import type { TestReport } from "../api/client";
import { Badge, type Tone } from "../ui/Badge";
import { ErrorBlock } from "../ui/ErrorBlock";
import { duration } from "../ui/time";
import { oauthApp } from "./strings";
import classes from "./Test.module.css";
import type { Test } from "./useTest";

const t = oauthApp.test;

type Stage = TestReport["stages"][number];

// The icons differ in shape, so that the colour is never all there is.
const looks: Record<Stage["state"], { tone: Tone; icon: ComponentType<{ size?: number; "aria-hidden"?: boolean }> }> = {
  pass: { tone: "ok", icon: IconCircleCheck },
  warn: { tone: "warn", icon: IconAlertTriangle },
  fail: { tone: "bad", icon: IconCircleX },
  skipped: { tone: "calm", icon: IconCircleDashed },
};

/** Begins a Test, and stops it: one button in one place, so that the focus on it is not lost. */
export function TestButton({ test, onStart }: { test: Test; onStart: () => void }) {
  return (
    <Button
      variant="default"
      leftSection={test.running ? <Loader size={16} aria-hidden /> : <IconPlugConnected size={16} aria-hidden />}
      onClick={test.running ? test.stop : onStart}
    >
      {test.running ? t.stop : test.report || test.error ? t.again : t.start}
    </Button>
  );
}

interface Props {
  test: Test;
  /** What was tested has been edited since. */
  outdated?: boolean;
  onRetry: () => void;
}

/** What a Test found, stage by stage in their order. Nothing until one was begun. */
export function TestPanel({ test, outdated = false, onRetry }: Props) {
  const failed = useRef<HTMLLIElement>(null);
  useEffect(() => failed.current?.focus(), [test.report]);
  if (test.running) return <p className={classes.running}>{t.running}</p>;
  if (test.error) return <ErrorBlock error={test.error} onRetry={onRetry} />;
  if (test.report === undefined) return null;
  const first = test.report.stages.find((s) => s.state === "fail");
  return (
    <div>
      <p className={classes.outcome}>{outdated ? t.outdated : t.outcome(test.report)}</p>
      <ol className={classes.stages} aria-label={t.title}>
        {test.report.stages.map((stage) => (
          <li key={stage.name} ref={stage === first ? failed : undefined} tabIndex={stage === first ? -1 : undefined}>
            <StageRow stage={stage} />
          </li>
        ))}
      </ol>
    </div>
  );
}

function StageRow({ stage }: { stage: Stage }) {
  const { tone, icon } = looks[stage.state];
  return (
    <>
      <h3>{t.stages[stage.name] ?? stage.name}</h3>
      <Badge tone={tone} icon={icon}>
        {t.states[stage.state]}
      </Badge>
      <div className={classes.found}>
        <p>{stage.detail}</p>
        {stage.fix !== "" && (
          <p>
            <strong>{t.fix}</strong> {stage.fix}
          </p>
        )}
      </div>
      <span className={classes.took}>{stage.state !== "skipped" && took(stage.duration_ms)}</span>
    </>
  );
}

function took(ms: number): string {
  return ms === 0 ? t.instant : duration(ms);
}

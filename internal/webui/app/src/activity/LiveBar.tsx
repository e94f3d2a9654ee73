import { Button } from "@mantine/core";
import { IconBroadcast, IconClockPause, IconLoader, IconPlayerPause, IconPlayerPlay, IconPlugConnectedX, IconRefresh, IconRefreshAlert } from "@tabler/icons-react";
import type { ComponentType, ReactNode } from "react";
import { Badge, type Tone } from "../ui/Badge";
import { Segments } from "../ui/Segments";
import classes from "./Live.module.css";
import { type Rate, rates as allRates } from "./search";
import { live as t } from "./strings";

export type Shown = keyof typeof t.phases;

const looks: Record<Shown, { tone: Tone; icon: ComponentType<{ size?: number; "aria-hidden"?: boolean }> }> = {
  connecting: { tone: "calm", icon: IconLoader },
  live: { tone: "ok", icon: IconBroadcast },
  reconnecting: { tone: "warn", icon: IconRefreshAlert },
  paused: { tone: "info", icon: IconPlayerPause },
  off: { tone: "calm", icon: IconClockPause },
  failed: { tone: "bad", icon: IconPlugConnectedX },
};

interface Props {
  shown: Shown;
  /** What is said beside the state: since when it stands still, and what has come meanwhile. */
  note?: string;
  rate: Rate;
  /** Those there are to choose from. */
  rates?: readonly Rate[];
  paused: boolean;
  onRate: (rate: Rate) => void;
  onPause: (paused: boolean) => void;
  onRefresh: () => void;
  children?: ReactNode;
}

/** What stands before live rows, in the order of Tab too: how to stop them, how often they change, and whether they do. */
export function LiveBar({ shown, note, rate, rates = allRates, paused, onRate, onPause, onRefresh, children }: Props) {
  const { tone, icon } = looks[shown];
  return (
    <section className={classes.bar} aria-label={t.label}>
      {rate === "off" ? (
        <Button variant="default" leftSection={<IconRefresh size={16} aria-hidden />} onClick={onRefresh}>
          {t.refresh}
        </Button>
      ) : (
        <Button
          variant="default"
          leftSection={paused ? <IconPlayerPlay size={16} aria-hidden /> : <IconPlayerPause size={16} aria-hidden />}
          onClick={() => onPause(!paused)}
        >
          {paused ? t.resume : t.pause}
        </Button>
      )}
      <Segments label={t.rate} value={rate} choices={rates.map((value) => ({ value, label: t.rates[value], name: t.rateNames[value] }))} onChange={onRate} />
      <span className={classes.phase}>
        <Badge tone={tone} icon={icon}>
          {t.phases[shown]}
        </Badge>
        {note !== undefined && note !== "" && <span className={classes.note}>{note}</span>}
      </span>
      {children && <span className={classes.summary}>{children}</span>}
    </section>
  );
}

import { Tooltip } from "@mantine/core";
import { useEffect, useState } from "react";
import { absolute, day, relative } from "./time";

interface Props {
  at: string;
  /** The day instead of the distance: for an end that somebody must plan for. */
  asDay?: boolean;
}

/** A time as people say it, with the exact one in UTC and local time in its tooltip. */
export function RelativeTime({ at, asDay = false }: Props) {
  const now = useNow(30_000);
  const t = new Date(at);
  return (
    <Tooltip label={<span style={{ whiteSpace: "pre-line" }}>{absolute(t)}</span>}>
      <time dateTime={at} tabIndex={0}>
        {asDay ? day(t, now) : relative(t, now)}
      </time>
    </Tooltip>
  );
}

export function useNow(every: number): Date {
  const [now, setNow] = useState(() => new Date());
  useEffect(() => {
    const t = setInterval(() => setNow(new Date()), every);
    return () => clearInterval(t);
  }, [every]);
  return now;
}

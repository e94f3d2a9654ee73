import { strings } from "../strings";

const units: [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 365 * 86_400],
  ["month", 30 * 86_400],
  ["week", 7 * 86_400],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
];

/** "3 minutes ago", "in 2 days"; "now" within half a minute. */
export function relative(t: Date, now: Date): string {
  const seconds = (t.getTime() - now.getTime()) / 1000;
  const format = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  for (const [unit, size] of units) {
    if (Math.abs(seconds) >= size) return format.format(Math.trunc(seconds / size), unit);
  }
  return Math.abs(seconds) < 30 ? format.format(0, "second") : format.format(Math.trunc(seconds), "second");
}

/** "14 Mar", with the year when it is not this one. */
export function day(t: Date, now: Date): string {
  const year = t.getFullYear() === now.getFullYear() ? undefined : "numeric";
  return t.toLocaleDateString("en-GB", { day: "numeric", month: "short", year });
}

/** The exact time, in UTC and in the zone of this device. */
export function absolute(t: Date): string {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const utc = strings.time.utc(t.toISOString().replace("T", " ").slice(0, 19));
  if (zone === "UTC") return utc;
  const local = t.toLocaleString("sv-SE", { timeZone: zone }); // ISO order
  return `${utc}\n${strings.time.local(local, zone)}`;
}

/** How long something took: "214 ms", "3.4 s", "2 min 5 s". */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

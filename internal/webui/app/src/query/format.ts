import type { Value } from "../api/cube";

/**
 * A cell as people read it. Numbers keep every digit that the database sent: they are grouped as text, because a
 * decimal of 38 digits does not survive a JavaScript number.
 */
export function cell(value: Value | undefined, type: string | undefined, granularity?: string): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "object") return JSON.stringify(value);
  const text = String(value);
  if (type === "number" || typeof value === "number") return grouped(text);
  if (type === "time") return time(text, granularity);
  return text;
}

function grouped(text: string): string {
  const m = /^(-?)(\d+)((?:\.\d+)?)$/.exec(text);
  if (m === null) return text;
  const [, sign = "", whole = "", rest = ""] = m;
  return sign + whole.replace(/\B(?=(?:\d{3})+$)/g, "\u202f") + rest;
}

function time(text: string, granularity?: string): string {
  const m = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})/.exec(text);
  if (m === null) return text;
  const [, y, mo, d, h, mi, s] = m;
  switch (granularity) {
    case "year":
      return `${y}`;
    case "quarter":
      return `${y} Q${Math.ceil(Number(mo) / 3)}`;
    case "month":
      return `${y}-${mo}`;
    case "day":
    case "week":
      return `${y}-${mo}-${d}`;
    case "hour":
    case "minute":
      return `${y}-${mo}-${d} ${h}:${mi}`;
    default:
      return h === "00" && mi === "00" && s === "00" ? `${y}-${mo}-${d}` : `${y}-${mo}-${d} ${h}:${mi}:${s}`;
  }
}

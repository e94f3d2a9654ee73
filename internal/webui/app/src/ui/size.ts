const units = ["B", "KiB", "MiB", "GiB", "TiB"];

/** How much, in the units of the configuration: "214 B", "3.4 MiB". */
export function size(bytes: number): string {
  let n = bytes;
  let unit = 0;
  for (; n >= 1024 && unit < units.length - 1; unit++) n /= 1024;
  return `${n.toLocaleString("en", { maximumFractionDigits: n < 10 && unit > 0 ? 1 : 0 })} ${units[unit]}`;
}

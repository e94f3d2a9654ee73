import { NativeSelect, TextInput } from "@mantine/core";
import { strings } from "../strings";
import classes from "./Builder.module.css";
import type { Member, TimeDimension } from "./draft";
import { Pill } from "./Pill";

const t = strings.query;
const custom = "custom";

interface Props {
  value: TimeDimension;
  member: Member;
  known: boolean;
  onChange: (v: TimeDimension) => void;
  onRemove: () => void;
}

/** A time dimension: how it is grouped, and which part of it counts. */
export function TimeRow({ value, member, known, onChange, onRemove }: Props) {
  const { granularity, dateRange, dimension } = value;
  const range = Array.isArray(dateRange) ? custom : (dateRange ?? "");
  const granularities: Record<string, string> = {
    ...t.granularities,
    ...Object.fromEntries((member.granularities ?? []).map((g) => [g.name, t.byCustom(g.title)])),
  };
  const ranges: Record<string, string> = { ...t.ranges };
  if (range !== custom && ranges[range] === undefined) ranges[range] = range; // from a pasted query
  const set = (part: Partial<TimeDimension>) => {
    const next = { dimension, granularity, dateRange, ...part };
    if (!next.granularity) delete next.granularity;
    if (!next.dateRange) delete next.dateRange;
    onChange(next);
  };
  return (
    <div className={classes.line}>
      <Pill member={member} known={known} onRemove={onRemove} />
      <NativeSelect
        aria-label={`${member.title}: ${t.granularity}`}
        value={granularity ?? ""}
        data={[{ value: "", label: t.noGranularity }, ...Object.entries(granularities).map(([v, label]) => ({ value: v, label }))]}
        onChange={(e) => set({ granularity: e.currentTarget.value })}
      />
      <NativeSelect
        aria-label={`${member.title}: ${t.range}`}
        value={range}
        data={[...Object.entries(ranges).map(([v, label]) => ({ value: v, label })), { value: custom, label: t.custom }]}
        onChange={(e) => set({ dateRange: e.currentTarget.value === custom ? lastMonth() : e.currentTarget.value })}
      />
      {Array.isArray(dateRange) && (
        <>
          <TextInput
            type="date"
            aria-label={`${member.title}: ${t.from}`}
            value={dateRange[0].slice(0, 10)}
            onChange={(e) => e.currentTarget.value && set({ dateRange: [e.currentTarget.value, dateRange[1]] })}
          />
          <TextInput
            type="date"
            aria-label={`${member.title}: ${t.to}`}
            value={dateRange[1].slice(0, 10)}
            onChange={(e) => e.currentTarget.value && set({ dateRange: [dateRange[0], e.currentTarget.value] })}
          />
        </>
      )}
    </div>
  );
}

function lastMonth(): [string, string] {
  const now = new Date();
  const day = (d: Date) => d.toISOString().slice(0, 10);
  return [day(new Date(now.getTime() - 30 * 86_400_000)), day(now)];
}

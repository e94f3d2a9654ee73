import { IconAbc, IconClock, IconFilter, IconMapPin, IconNumbers, IconSum, IconToggleLeft } from "@tabler/icons-react";
import { strings } from "../strings";
import type { Member } from "./draft";
import classes from "./MemberTree.module.css";

/** What a member is, by shape and colour; its word stands beside it, or in the name of its group. */
export function MemberIcon({ member, size = 16 }: { member: Pick<Member, "kind" | "type">; size?: number }) {
  const Icon = iconOf(member);
  return (
    <span className={classes.icon} data-kind={member.kind}>
      <Icon size={size} stroke={1.8} aria-hidden />
    </span>
  );
}

function iconOf({ kind, type }: Pick<Member, "kind" | "type">) {
  if (kind === "measure") return IconSum;
  if (kind === "time") return IconClock;
  if (kind === "segment") return IconFilter;
  if (type === "number") return IconNumbers;
  if (type === "boolean") return IconToggleLeft;
  if (type === "geo") return IconMapPin;
  return IconAbc;
}

export function typeWord({ kind, type, aggType }: Pick<Member, "kind" | "type" | "aggType">): string {
  if (kind === "measure") return aggType ? aggType.replace(/([A-Z])/g, " $1").toLowerCase() : strings.query.kinds.measure.toLowerCase();
  if (kind === "segment") return strings.query.kinds.segment.toLowerCase();
  return type ?? strings.query.kinds.dimension.toLowerCase();
}

import { IconX } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { strings } from "../strings";
import classes from "./Builder.module.css";
import type { Member } from "./draft";
import { MemberIcon } from "./MemberIcon";

interface Props {
  member: Member;
  known: boolean;
  onRemove: () => void;
  children?: ReactNode;
}

/** A chosen member, with what belongs to it and a way to take it out. */
export function Pill({ member, known, onRemove, children }: Props) {
  return (
    <span className={classes.pill} data-known={known} title={member.name}>
      <MemberIcon member={member} />
      <span className={classes.pillText}>{member.title}</span>
      {children}
      <button type="button" className={classes.x} aria-label={strings.common.remove(member.title)} onClick={onRemove}>
        <IconX size={14} aria-hidden />
      </button>
    </span>
  );
}

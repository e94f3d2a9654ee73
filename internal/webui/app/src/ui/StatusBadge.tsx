import {
  IconAlertTriangle,
  IconBan,
  IconCircleCheck,
  IconCircleDashed,
  IconClockExclamation,
  IconHelpHexagon,
  IconPlayerPause,
  IconRefreshAlert,
  IconShieldQuestion,
} from "@tabler/icons-react";
import type { ComponentType } from "react";
import type { Status } from "../api/client";
import { strings } from "../strings";
import { Badge, type Tone } from "./Badge";

const looks: Record<Status, { tone: Tone; icon: ComponentType<{ size?: number; "aria-hidden"?: boolean }> }> = {
  not_connected: { tone: "calm", icon: IconCircleDashed },
  active: { tone: "ok", icon: IconCircleCheck },
  expiring: { tone: "warn", icon: IconClockExclamation },
  refresh_failing: { tone: "warn", icon: IconRefreshAlert },
  needs_consent: { tone: "info", icon: IconShieldQuestion },
  expired: { tone: "bad", icon: IconAlertTriangle },
  revoked: { tone: "bad", icon: IconBan },
  disabled: { tone: "calm", icon: IconPlayerPause },
  unknown_outcome: { tone: "warn", icon: IconHelpHexagon },
};

/** The state of a grant: an icon of its own shape, the word, and a colour. Never the colour alone. */
export function StatusBadge({ status }: { status: Status }) {
  const { tone, icon } = looks[status] ?? looks.unknown_outcome;
  return (
    <Badge tone={tone} icon={icon}>
      {strings.status[status] ?? status}
    </Badge>
  );
}

export function toneOf(status: Status): Tone {
  return (looks[status] ?? looks.unknown_outcome).tone;
}

/** Whether the person has something to do about it. */
export function needsAttention(status: Status): boolean {
  return ["expiring", "needs_consent", "expired", "revoked", "unknown_outcome"].includes(status);
}

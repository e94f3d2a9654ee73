import { IconUserCheck, IconUserCog } from "@tabler/icons-react";
import type { RunAs } from "../api/runas";
import { strings } from "../strings";
import { Badge } from "../ui/Badge";
import classes from "./Results.module.css";

const t = strings.query;

/** Whose identity ran the query. The service account is amber, and says why it was not the person. */
export function RanAs({ runAs }: { runAs: RunAs }) {
  if (runAs.identity === "user") {
    return (
      <Badge tone="ok" icon={IconUserCheck}>
        {t.ranAsUser(runAs.username)}
      </Badge>
    );
  }
  const reason = runAs.reason || (runAs.credential !== "active" ? runAs.credential : "");
  return (
    <span className={classes.ranAs}>
      <Badge tone="warn" icon={IconUserCog}>
        {t.ranAsService(runAs.account)}
      </Badge>
      {reason !== "" && <span className={classes.dim}>{t.because(t.ranAsWhy[reason] ?? reason.replaceAll("_", " "))}</span>}
    </span>
  );
}

import { IconDatabase, IconFingerprint, IconKey, IconSnowflake, IconStack2 } from "@tabler/icons-react";
import classes from "./ProviderMark.module.css";

const icons = { databricks: IconStack2, snowflake: IconSnowflake, oidc: IconFingerprint, oauth2: IconKey };

/** A neutral tile with a sign for the kind of provider. Its name stands beside it: this is decoration. */
export function ProviderMark({ preset, size = 40 }: { preset: string; size?: number }) {
  const Icon = icons[preset as keyof typeof icons] ?? IconDatabase;
  return (
    <span className={classes.mark} style={{ width: size, height: size }} data-preset={preset} aria-hidden>
      <Icon size={Math.round(size * 0.55)} stroke={1.7} />
    </span>
  );
}

import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { ErrorBlock } from "../ui/ErrorBlock";
import { Loading } from "../ui/Loading";
import { ProviderMark } from "../ui/ProviderMark";
import classes from "./OAuthApps.module.css";
import { presetsQuery } from "./queries";

/** The kinds of provider to choose from. Each leads to the form, filled in as far as the preset knows. */
export function PresetTiles({ chosen }: { chosen?: string }) {
  const presets = useQuery(presetsQuery);
  if (presets.isPending) return <Loading lines={2} />;
  if (presets.isError) return <ErrorBlock error={presets.error} onRetry={() => void presets.refetch()} />;
  return (
    <ul className={classes.tiles}>
      {presets.data.map((p) => (
        <li key={p.name}>
          <Link
            to="/admin/oauth-apps/new"
            search={{ preset: p.name }}
            replace={chosen !== undefined}
            resetScroll={chosen === undefined}
            className={classes.tile}
            data-chosen={p.name === chosen}
            aria-current={p.name === chosen ? "true" : undefined}
          >
            <ProviderMark preset={p.name} size={36} />
            <span>{p.title}</span>
          </Link>
        </li>
      ))}
    </ul>
  );
}

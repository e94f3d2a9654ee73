import { Button } from "@mantine/core";
import { IconPlugConnected } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import type { Problem } from "../api/problem";
import { ConnectPanel } from "../connect/ConnectPanel";
import { inBrowser, useConnect } from "../connect/useConnect";
import { connectedAppsQuery } from "../connectedapps/queries";
import { scopeWords } from "../connectedapps/scopes";
import { strings } from "../strings";
import { useAnnounce } from "../ui/Announcer";
import { ProviderMark } from "../ui/ProviderMark";
import { rememberRerun } from "./rerun";
import classes from "./Results.module.css";

const t = strings.connect;

/**
 * Stands where the result would be: connect, and the query runs by itself. Nothing opens without a click, and closing
 * the window loses nothing: the query is in the address.
 */
export function ConnectPrompt({ problem, onConnected }: { problem: Problem; onConnected: (said: string) => void }) {
  const slug = problem.app ?? "";
  const announce = useAnnounce();
  const apps = useQuery(connectedAppsQuery);
  const app = apps.data?.find((a) => a.app === slug);
  const name = app?.name ?? slug;
  const { phase, connect, reset } = useConnect(slug, (fresh) => {
    const said = `${t.connected(fresh.name, fresh.account)} ${t.rerun}`;
    announce(said);
    onConnected(said);
  });
  const begin = () => {
    rememberRerun(); // should this tab leave for the provider, the query runs when it comes back
    void connect();
  };
  const again = problem.code === "reauthorization_required";
  const quiet = phase.step === "idle" || phase.step === "starting" || phase.step === "connected";
  return (
    <section className={classes.prompt} aria-label={problem.title}>
      <ProviderMark preset={app?.preset ?? ""} size={52} />
      <h2>{problem.title}</h2>
      <p>{again ? app?.reason || withoutURL(problem.detail) : t.prompt(name)}</p>
      <p className={classes.dim}>
        {t.asYou} {t.forRun(problem.dataSource ?? "")}
      </p>
      {again && app && !inBrowser(app) ? null : quiet ? (
        <Button size="md" mt="md" leftSection={<IconPlugConnected size={18} aria-hidden />} loading={phase.step === "starting"} onClick={begin}>
          {again ? `${t.reauthorize} ${name}` : t.connect(name)}
        </Button>
      ) : (
        <div className={classes.panel}>
          <ConnectPanel name={name} phase={phase} connect={begin} reset={reset} />
        </div>
      )}
      {app && app.scopes.length > 0 && quiet && (
        <p className={classes.dim}>
          {strings.connect.willAsk}: {app.scopes.map((s) => scopeWords(s) ?? s).join(" · ")}
        </p>
      )}
    </section>
  );
}

/** The address in the text is for programs and terminals; here a button stands for it. */
function withoutURL(text: string): string {
  return text.replace(/:? (?:at )?https?:\/\/\S+$/, "");
}

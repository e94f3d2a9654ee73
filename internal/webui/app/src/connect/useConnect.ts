import { useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useRef, useState } from "react";
import { api, type ConnectedApp } from "../api/client";
import { asProblem, Problem } from "../api/problem";
import { browser } from "../api/signin";
import { connectedAppsQuery } from "../connectedapps/queries";
import { strings } from "../strings";

/** What leads to the connect page; undefined where the connection is renewed by token exchange, or not at all. */
export function inBrowser(app: ConnectedApp) {
  return app.actions.find((a) => a.rel === "authorize" || a.rel === "reauthorize");
}

/**
 * Phase is how far one attempt to connect an app is.
 *
 *	idle ──connect──▶ starting ──▶ waiting ──▶ connected
 *	                     │            └─────▶ failed
 *	                     └─ no window ──▶ blocked (go on in this tab)
 */
export type Phase =
  | { step: "idle" }
  | { step: "starting" }
  | { step: "waiting"; session: string; expires: number; redirectURI: string }
  | { step: "blocked"; url: string }
  | { step: "failed"; problem: Problem }
  | { step: "connected"; app: ConnectedApp };

const pollEvery = 1500;
const longestAttempt = 10 * 60_000;

/** The states in which queries run as the person (design.md §2.5). */
export const usable: readonly ConnectedApp["status"][] = ["active", "expiring", "refresh_failing", "needs_consent"];

/** The message that the callback page sends to every tab of this server. */
interface ConnectedMessage {
  type: "behalf:connected";
  app: string;
}

/**
 * useConnect connects one app in a window of its own, and falls back to this tab. That it is done is learned by the
 * broadcast of the callback page, and by asking the server, which is the truth: never by watching the window, which
 * a provider's page may cut off from us.
 */
export function useConnect(app: string, onConnected: (app: ConnectedApp) => void) {
  const [phase, setPhase] = useState<Phase>({ step: "idle" });
  const queries = useQueryClient();
  const done = useRef(onConnected);
  done.current = onConnected;

  const finish = useCallback(async () => {
    const fresh = await api.connectedApp(app);
    void queries.invalidateQueries({ queryKey: connectedAppsQuery.queryKey });
    if (!usable.includes(fresh.status)) return false;
    setPhase({ step: "connected", app: fresh });
    done.current(fresh);
    return true;
  }, [app, queries]);

  /** Must be called in the click itself: only then may a window open. */
  const connect = useCallback(async () => {
    const popup = wantsThisTab() ? null : window.open("about:blank", "behalf-connect", "popup,width=560,height=760");
    if (popup !== null) popup.opener = null; // the provider's page must not steer this one
    setPhase({ step: "starting" });
    try {
      const here = window.location.pathname + window.location.search;
      const { authorize_url: url, session } = await api.authorize(app, here);
      if (popup !== null) {
        popup.location.href = url;
        setPhase({ step: "waiting", session, expires: Date.now() + longestAttempt, redirectURI: redirectURIOf(url, app) });
      } else if (wantsThisTab()) {
        browser.go(url);
      } else {
        setPhase({ step: "blocked", url });
      }
    } catch (e) {
      popup?.close();
      setPhase({ step: "failed", problem: asProblem(e) });
    }
  }, [app]);

  const reset = useCallback(() => setPhase({ step: "idle" }), []);

  // Another tab, or the window itself, connected this app.
  useEffect(() => {
    if (phase.step === "connected" || typeof BroadcastChannel === "undefined") return;
    const channel = new BroadcastChannel("behalf");
    channel.onmessage = (e: MessageEvent<ConnectedMessage>) => {
      if (e.data?.type === "behalf:connected" && e.data.app === app) void finish().catch(() => {});
    };
    return () => channel.close();
  }, [app, finish, phase.step]);

  const session = phase.step === "waiting" ? phase.session : undefined;
  const expires = phase.step === "waiting" ? phase.expires : 0;
  useEffect(() => {
    if (session === undefined) return;
    const abort = new AbortController();
    void watch(session, expires, abort.signal).then(async (outcome) => {
      if (outcome === undefined || abort.signal.aborted) return;
      if (outcome === "connected") {
        await finish();
        return;
      }
      setPhase({ step: "failed", problem: refusal(outcome) });
    });
    return () => abort.abort();
  }, [session, expires, finish]);

  return { phase, connect, reset };
}

/** Asks for the outcome of an attempt until there is one. A call that fails is asked again: the attempt may live on. */
async function watch(session: string, expires: number, signal: AbortSignal): Promise<string | undefined> {
  while (!signal.aborted) {
    if (Date.now() > expires) return "flow_expired";
    try {
      const s = await api.connectSession(session, signal);
      if (s.done) return s.outcome;
    } catch (e) {
      if (signal.aborted) return undefined;
      if (e instanceof Problem && (e.status === 404 || e.status === 410)) return "flow_expired";
    }
    await new Promise((resolve) => setTimeout(resolve, pollEvery));
  }
  return undefined;
}

function refusal(code: string): Problem {
  return new Problem({
    code,
    title: strings.connect.failedTitle,
    detail: strings.connect.outcomes[code] ?? strings.connect.outcome(code),
    owner: code === "invalid_client" ? "admin" : "user",
  });
}

/** Phones and installed apps have no windows: there the whole page goes, and comes back. */
function wantsThisTab(): boolean {
  return (
    window.matchMedia?.("(display-mode: standalone)").matches === true ||
    window.matchMedia?.("(pointer: coarse) and (max-width: 48em)").matches === true
  );
}

/** The redirect URI that belongs to an authorize_url: both are below the public URL. */
export function redirectURIOf(authorizeURL: string, app: string): string {
  const url = new URL(authorizeURL, document.baseURI);
  return url.origin + url.pathname.replace(new RegExp(`/connect/${app}$`), `/oauth/callback/${app}`);
}

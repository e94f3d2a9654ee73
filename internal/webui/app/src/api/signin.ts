import { strings } from "../strings";
import { basePath } from "./client";
import { Problem } from "./problem";

const key = "behalf-sign-in-bounces";
const limit = 3;
const within = 30_000;

/** Where the browser is sent; a test watches it instead. */
export const browser = { go: (url: string) => window.location.assign(url) };

/**
 * Sends the browser to the sign-in page, to come back to this very address. Three bounces in half a minute mean that
 * the session does not hold: then it throws what is known, because a fourth would not help.
 */
export async function leaveToSignIn(): Promise<never> {
  const now = Date.now();
  const bounces = recent(now);
  if (bounces.length >= limit) {
    forget();
    throw new Problem({
      status: 401,
      code: "sign_in_loop",
      title: strings.signIn.loopTitle,
      detail: strings.signIn.loop,
      owner: "admin",
    });
  }
  remember([...bounces, now]);
  const here = window.location.pathname + window.location.search;
  browser.go(`${basePath()}/login?rd=${encodeURIComponent(here)}`);
  return new Promise<never>(() => {}); // the page is leaving; nothing on it may go on
}

function recent(now: number): number[] {
  try {
    const all: unknown = JSON.parse(sessionStorage.getItem(key) ?? "[]");
    return Array.isArray(all) ? all.filter((t): t is number => typeof t === "number" && now - t < within) : [];
  } catch {
    return [];
  }
}

function remember(bounces: number[]) {
  try {
    sessionStorage.setItem(key, JSON.stringify(bounces));
  } catch {
    // Without storage there is no loop breaker, and no reason not to sign in.
  }
}

function forget() {
  remember([]);
}

import { origin, type Totals } from "../api/client";
import { problemOf } from "../api/problem";
import { leaveToSignIn } from "../api/signin";

export type Topic = "queries" | "orchestrators";

/** The data of an event: see QueryEvent and OrchestratorEvent of the API. */
export interface Change<Item> {
  whole: boolean;
  items: Item[];
  gone: string[];
  more: boolean;
  totals?: Totals;
}

/** The server gives a sign of life every ten seconds; after so long without one the connection is taken for dead. */
const silence = 25_000;

/**
 * Tells onChange what there is of topic, and then what changes (server-sent events of GET /api/v1/events). It returns when the
 * connection ends or signal is aborted, and throws the Problem for which the server refuses or ends it. Not an EventSource:
 * that one keeps to itself why it was refused.
 */
export async function follow<Item>(topic: Topic, all: boolean, signal: AbortSignal, onChange: (change: Change<Item>) => void): Promise<void> {
  const connection = new AbortController();
  const leave = () => connection.abort();
  signal.addEventListener("abort", leave);
  let timer = setTimeout(leave, silence);
  try {
    const response = await fetch(`${origin()}/api/v1/events?topics=${topic}${all ? "&all=true" : ""}`, { credentials: "same-origin", signal: connection.signal });
    if (response.status === 401) await leaveToSignIn();
    if (!response.ok) throw await problemOf(response);
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value = "" } = (await reader?.read()) ?? { done: true };
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(leave, silence);
      const events = (rest + value).split("\n\n");
      rest = events.pop() ?? "";
      for (const event of events) {
        if (connection.signal.aborted) return; // what was on its way is for a view that is no longer shown
        const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(event) ?? [];
        if (name === "end") await refuse(data ?? "");
        if (name === topic) onChange(JSON.parse(data ?? "") as Change<Item>);
      }
    }
  } catch (e) {
    if (!connection.signal.aborted) throw e;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", leave);
    leave();
  }
}

/** Throws the problem with which the server ended the view; who is not signed in any more goes to sign in. */
async function refuse(data: string): Promise<never> {
  const { status } = JSON.parse(data) as { status: number };
  if (status === 401) await leaveToSignIn();
  throw await problemOf(new Response(data, { status }));
}

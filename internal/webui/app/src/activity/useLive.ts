import { useCallback, useEffect, useRef, useState } from "react";
import type { Totals } from "../api/client";
import { asProblem, type Problem } from "../api/problem";
import { useAnnounce } from "../ui/Announcer";
import { Book, type Row } from "./book";
import type { Rate } from "./search";
import { follow, type Topic } from "./stream";

export type Phase = "connecting" | "live" | "reconnecting" | "off" | "failed";

export interface Live<Item> {
  phase: Phase;
  /** What is shown, undefined until there is something. */
  rows?: Row<Item>[];
  more: boolean;
  totals?: Totals;
  /** The moment that is shown: it stands still while the view does. */
  now: number;
  /** Why the view is not live, if it was refused. */
  problem?: Problem;
  /** What came and went while the view stood still. */
  waiting: { came: number; went: number };
  refresh: () => void;
}

interface Options {
  all: boolean;
  rate: Rate;
  paused: boolean;
  /** The row that stays though it has ended, because it is open. */
  open?: string;
  /** What is announced: "3 new, 1 ended". */
  says: (came: number, went: number) => string;
}

const announceEvery = 10_000;
const longestWait = 30_000;

/** Follows a topic. Rows stay where they are, and the one with the focus stays even when it has ended. */
export function useLive<Item extends { id: string }>(topic: Topic, { all, rate, paused, open, says }: Options): Live<Item> {
  const announce = useAnnounce();
  const book = useRef(new Book<Item>());
  const totals = useRef<Totals>(undefined);
  const [phase, setPhase] = useState<Phase>("connecting");
  const [problem, setProblem] = useState<Problem>();
  const [round, setRound] = useState(0);
  const [shown, setShown] = useState<Pick<Live<Item>, "rows" | "more" | "totals" | "now">>({ more: false, now: Date.now() });
  const [waiting, setWaiting] = useState({ came: 0, went: 0 });
  const said = useRef(Date.now());
  const still = useRef(paused);
  still.current = paused;
  const opened = useRef(open);
  opened.current = open;

  const publish = useCallback(() => {
    const { came, went } = book.current;
    if (!book.current.begun) return;
    if (still.current) {
      setWaiting((was) => (was.came === came && was.went === went ? was : { came, went }));
      return;
    }
    const now = Date.now();
    const focused = document.activeElement?.closest("[data-row]")?.getAttribute("data-row");
    setShown({ rows: book.current.show(now, (id) => id === focused || id === opened.current), more: book.current.more, totals: totals.current, now });
    if (now - said.current < announceEvery) return;
    said.current = now;
    if (came + went > 0) announce(says(came, went));
    book.current.came = book.current.went = 0;
  }, [announce, says]);

  useEffect(() => {
    book.current = new Book(); // somebody else's things, or another view: nothing of the one before is true here
    setShown({ more: false, now: Date.now() });
  }, [topic, all]);

  useEffect(() => {
    const stop = new AbortController();
    const tell = { now: publish, once: rate === "off", live: rate === "live" };
    setPhase("connecting");
    setProblem(undefined);
    void (async () => {
      for (let tries = 0; !stop.signal.aborted; tries++) {
        let first = true;
        try {
          await follow<Item>(topic, all, stop.signal, (change) => {
            tries = 0;
            book.current.take(change, Date.now());
            totals.current = change.totals;
            setProblem(undefined);
            setPhase(tell.once ? "off" : "live");
            if (first || tell.live) tell.now();
            first = false;
            if (tell.once) stop.abort();
          });
        } catch (e) {
          const why = asProblem(e);
          setProblem(why);
          if (!why.retryable) {
            book.current = new Book(); // what may not be looked at any more is not left for others to see
            setShown({ more: false, now: Date.now() });
            setPhase("failed");
            return;
          }
        }
        if (stop.signal.aborted) return;
        setPhase("reconnecting");
        await new Promise((over) => setTimeout(over, Math.min(longestWait, 1000 * 2 ** tries)));
      }
    })();
    return () => stop.abort();
  }, [topic, all, rate, round, publish]);

  // Times go on once a second, or as often as was chosen; what stands still does so altogether (WCAG 2.2.2).
  useEffect(() => {
    if (rate === "off") return;
    const timer = setInterval(publish, rate === "live" ? 1000 : Number.parseInt(rate, 10) * 1000);
    return () => clearInterval(timer);
  }, [rate, publish]);

  useEffect(() => {
    if (!paused) publish();
    book.current.came = book.current.went = 0;
    setWaiting({ came: 0, went: 0 });
  }, [paused, publish]);

  return { phase, problem, waiting, refresh: () => setRound((n) => n + 1), ...shown };
}


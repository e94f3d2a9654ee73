import { useCallback, useEffect, useRef, useState } from "react";
import { load, type LoadResult, type Stage } from "../api/cube";
import { asProblem, type Problem } from "../api/problem";
import { strings } from "../strings";
import { useAnnounce } from "../ui/Announcer";
import { duration } from "../ui/time";
import { type Query, toSend } from "./draft";

/** Run is one run of one query and what became of it. */
export type Run =
  | { step: "idle" }
  | { step: "running"; query: Query; started: number; stage?: Stage }
  | { step: "done"; query: Query; result: LoadResult }
  | { step: "stopped"; query: Query }
  | { step: "failed"; query: Query; problem: Problem };

const announceEvery = 10_000;

/** Runs queries one at a time: a new one takes the place of the one before. */
export function useRun() {
  const [run, setRun] = useState<Run>({ step: "idle" });
  const current = useRef<AbortController>(undefined);
  const announce = useAnnounce();

  const start = useCallback(
    async (draft: Query) => {
      const query = toSend(draft);
      current.current?.abort();
      const abort = new AbortController();
      current.current = abort;
      const started = Date.now();
      let said = started;
      setRun({ step: "running", query, started });
      announce(strings.query.announceRunning);
      try {
        const result = await load(query, {
          signal: abort.signal,
          onStage: (stage) => {
            if (abort.signal.aborted) return;
            setRun({ step: "running", query, started, stage });
            if (Date.now() - said >= announceEvery) {
              said = Date.now();
              announce(`${strings.query.stages(stage.text)}, ${strings.query.elapsed(duration(stage.elapsed))}`);
            }
          },
        });
        if (abort.signal.aborted) return;
        setRun({ step: "done", query, result });
        announce(strings.query.announceDone(strings.counts.rows(result.rows.length), duration(result.milliseconds)));
      } catch (e) {
        if (abort.signal.aborted) return;
        setRun({ step: "failed", query, problem: asProblem(e) });
        announce(strings.query.announceFailed);
      }
    },
    [announce],
  );

  const stop = useCallback(() => {
    current.current?.abort();
    setRun((r) => (r.step === "running" ? { step: "stopped", query: r.query } : r));
    announce(strings.query.stopped);
  }, [announce]);

  useEffect(() => () => current.current?.abort(), []);
  return { run, start, stop };
}

import { useMutation } from "@tanstack/react-query";
import { useCallback, useEffect, useRef } from "react";
import type { TestReport } from "../api/client";
import { useAnnounce } from "../ui/Announcer";
import { oauthApp } from "./strings";

const t = oauthApp.test;

type Ask = (signal: AbortSignal) => Promise<TestReport>;

export interface Test {
  running: boolean;
  report?: TestReport;
  error: unknown;
  start: (ask: Ask) => void;
  stop: () => void;
  /** Forgets what was found: it is about an app that is another one now. */
  forget: () => void;
}

/** A Test of a registration: one at a time, which ends when its screen is left. The end of one is said once. */
export function useTest(onDone?: () => void): Test {
  const announce = useAnnounce();
  const under = useRef<AbortController>(undefined);
  const { mutate, reset, isPending, data, error } = useMutation({
    mutationFn: (ask: Ask) => {
      under.current?.abort();
      under.current = new AbortController();
      return ask(under.current.signal);
    },
    onSuccess: (report) => {
      announce(t.done(report));
      onDone?.();
    },
  });
  useEffect(() => () => under.current?.abort(), []);
  const stop = useCallback(() => {
    reset(); // first, so that nobody is told that what was stopped has failed
    under.current?.abort();
    announce(t.stopped);
  }, [reset, announce]);
  return { running: isPending, report: data, error, start: mutate, stop, forget: reset };
}

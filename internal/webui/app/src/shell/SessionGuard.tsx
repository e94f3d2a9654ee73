import { Button, Group, Modal, Text } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { api, type Me } from "../api/client";
import { leaveToSignIn } from "../api/signin";
import { strings } from "../strings";
import { meQuery } from "./me";

const warnBefore = 120_000;
const longest = 2 ** 31 - 1; // setTimeout overflows beyond it

/** Warns two minutes before the session ends, with a way to stay (WCAG 2.2.1). */
export function SessionGuard({ session }: { session: Me["session"] }) {
  const queries = useQueryClient();
  const [warned, setWarned] = useState(false);
  const idle = Date.parse(session.idle_expires_at);
  const hard = Date.parse(session.absolute_expires_at);
  const end = Math.min(idle, hard);

  useEffect(() => {
    setWarned(false);
    const wait = end - Date.now() - warnBefore;
    if (Number.isNaN(wait) || wait > longest) return;
    // What was used meanwhile, here or in another tab, may have moved the end: ask before warning.
    const timer = setTimeout(async () => {
      const me = await api.me().catch(() => undefined);
      if (me === undefined) return;
      queries.setQueryData(meQuery.queryKey, me);
      const now = Math.min(Date.parse(me.session.idle_expires_at), Date.parse(me.session.absolute_expires_at));
      if (now - Date.now() <= warnBefore) setWarned(true);
    }, Math.max(wait, 0));
    return () => clearTimeout(timer);
  }, [end, queries]);

  const minutes = Math.max(1, Math.round((end - Date.now()) / 60_000));
  const isHard = hard <= idle;
  return (
    <Modal opened={warned} onClose={() => setWarned(false)} title={strings.signIn.sessionEnds}>
      <Text>{isHard ? strings.signIn.sessionEndsHard(minutes) : strings.signIn.sessionEndsIdle(minutes)}</Text>
      <Group justify="flex-end" mt="lg">
        {isHard ? (
          <Button data-autofocus onClick={() => void leaveToSignIn()}>
            {strings.signIn.signInAgain}
          </Button>
        ) : (
          <Button data-autofocus onClick={() => void queries.invalidateQueries({ queryKey: meQuery.queryKey }).then(() => setWarned(false))}>
            {strings.signIn.stay}
          </Button>
        )}
      </Group>
    </Modal>
  );
}

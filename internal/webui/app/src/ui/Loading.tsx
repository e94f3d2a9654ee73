import { Button, Skeleton, Text } from "@mantine/core";
import { type ReactNode, useEffect, useState } from "react";
import { strings } from "../strings";

/** Shows its children after 300 ms: what is quicker than that needs no skeleton, only flickers. */
export function Delayed({ children, by = 300 }: { children: ReactNode; by?: number }) {
  const late = useElapsed(by);
  return late ? children : null;
}

/** A skeleton of lines that says after five seconds that it still works, with a way out. */
export function Loading({ lines = 4, height = 16, onCancel }: { lines?: number; height?: number; onCancel?: () => void }) {
  const long = useElapsed(5000);
  return (
    <Delayed>
      <div role="status" aria-label={strings.common.loading}>
        {Array.from({ length: lines }, (_, i) => (
          <Skeleton key={i} height={height} mt={i === 0 ? 0 : 12} width={`${95 - ((i * 17) % 40)}%`} />
        ))}
        {long && (
          <Text c="dimmed" mt="md">
            {strings.common.stillWorking}{" "}
            <Button variant="subtle" size="compact-sm" onClick={onCancel ?? (() => window.location.reload())}>
              {onCancel ? strings.common.cancel : strings.common.reload}
            </Button>
          </Text>
        )}
      </div>
    </Delayed>
  );
}

function useElapsed(ms: number): boolean {
  const [done, setDone] = useState(false);
  useEffect(() => {
    const t = setTimeout(() => setDone(true), ms);
    return () => clearTimeout(t);
  }, [ms]);
  return done;
}

import { VisuallyHidden } from "@mantine/core";
import { createContext, type ReactNode, useCallback, useContext, useState } from "react";

const Announce = createContext<(text: string) => void>(() => {});

/** Says things to screen readers without moving the focus (WCAG 4.1.3). */
export function Announcer({ children }: { children: ReactNode }) {
  const [said, setSaid] = useState({ text: "", n: 0 });
  const announce = useCallback((text: string) => setSaid((s) => ({ text, n: s.n + 1 })), []);
  return (
    <Announce value={announce}>
      {children}
      <VisuallyHidden role="status" aria-live="polite">
        {/* A new element for each text, so that the same words are said again. */}
        <span key={said.n}>{said.text}</span>
      </VisuallyHidden>
    </Announce>
  );
}

export function useAnnounce() {
  return useContext(Announce);
}

import { cleanup, configure } from "@testing-library/react";
import { afterEach, vi } from "vitest";

// Patience is for busy machines: what a test waits for comes, or never does. Whether an element is hidden is a question
// of style sheets, which jsdom does not have; asking it for each element is most of the time of a test.
configure({ asyncUtilTimeout: 15_000, defaultHidden: true });

if (typeof window !== "undefined") {
  // What jsdom leaves out of a browser and the components ask for.
  window.matchMedia ??= (query: string) =>
    ({
      matches: false,
      media: query,
      onchange: null,
      addEventListener: () => {},
      removeEventListener: () => {},
      addListener: () => {},
      removeListener: () => {},
      dispatchEvent: () => false,
    }) as MediaQueryList;
  globalThis.ResizeObserver ??= class {
    observe() {}
    unobserve() {}
    disconnect() {}
  };
  Element.prototype.scrollIntoView ??= () => {};

  const base = document.createElement("base");
  base.href = "/";
  document.head.append(base);
}

afterEach(() => {
  vi.unstubAllGlobals();
  if (typeof window === "undefined") return; // a test of files, in plain Node
  cleanup();
  sessionStorage.clear();
});

import "./mantine.css";
import "./styles.css";
import { MantineProvider } from "@mantine/core";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Problem } from "./api/problem";
import { makeRouter } from "./router";
import { colorSchemeManager, cssVariables, theme } from "./theme";
import { Announcer } from "./ui/Announcer";

const nonce = document.querySelector<HTMLMetaElement>("meta[name=style-nonce]")?.nonce;

// Scroll locking of dialogs writes a style element too; its library takes the nonce from this global.
Object.assign(globalThis, { __webpack_nonce__: nonce });

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      // Only what may pass by itself is asked again; a refusal is shown at once.
      retry: (n, error) => n < 2 && error instanceof Problem && error.retryable,
    },
  },
});

const router = makeRouter();

createRoot(document.getElementById("root") as HTMLElement).render(
  <StrictMode>
    <MantineProvider
      theme={theme}
      cssVariablesResolver={cssVariables}
      colorSchemeManager={colorSchemeManager}
      defaultColorScheme="auto"
      getStyleNonce={() => nonce ?? ""}
    >
      <QueryClientProvider client={queries}>
        <Announcer>
          <RouterProvider router={router} />
        </Announcer>
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
);

import { MantineProvider } from "@mantine/core";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { createMemoryHistory, createRootRoute, createRoute, createRouter, RouterProvider } from "@tanstack/react-router";
import { render } from "@testing-library/react";
import type { ReactNode } from "react";
import { vi } from "vitest";
import type { Me } from "./api/client";
import { MeContext } from "./shell/me";
import { Announcer } from "./ui/Announcer";

/** A server that answers what a test wrote down; what it did not is 404. Calls says what was asked of it. */
export function server(answers: Record<string, unknown | ((body: unknown) => unknown)>) {
  const calls: { route: string; body: unknown; headers: Headers }[] = [];
  vi.stubGlobal("fetch", async (input: RequestInfo | URL, init?: RequestInit) => {
    const request = input instanceof Request ? input : new Request(new URL(String(input), document.baseURI), init);
    const { pathname } = new URL(request.url);
    const text = await request.clone().text();
    const body: unknown = text === "" ? undefined : JSON.parse(text);
    const route = `${request.method} ${pathname}`;
    calls.push({ route, body, headers: request.headers });
    const answer = answers[route];
    const value = typeof answer === "function" ? (answer as (b: unknown) => unknown)(body) : answer;
    if (value instanceof Response) return value;
    if (value === undefined) return problem(404, "not_found", `no answer for ${route}`);
    return new Response(JSON.stringify(value), { headers: { "Content-Type": "application/json" } });
  });
  return calls;
}

export function problem(status: number, code: string, detail: string, more: object = {}): Response {
  return new Response(JSON.stringify({ type: `urn:behalf:${code}`, title: "No", status, code, detail, request_id: "req_1", retryable: false, ...more }), {
    status,
    headers: { "Content-Type": "application/problem+json" },
  });
}

/** A live view as the server sends it: its answer, what it tells, and how it ends. */
export function stream(topic: string) {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  writer.closed.catch(() => {}); // the page has left
  const write = (event: string, data: object) => writer.write(new TextEncoder().encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)).catch(() => {});
  return {
    response: new Response(readable, { headers: { "Content-Type": "text/event-stream" } }),
    send: (change: object) => void write(topic, change),
    end: (why: object) => void write("end", why),
  };
}

export const alice: Me = {
  id: "usr_1",
  username: "alice",
  email: "alice@corp.example",
  roles: ["admin"],
  methods: ["password"],
  session: {
    authenticated_at: "2026-01-01T00:00:00Z",
    idle_expires_at: "2099-01-01T00:00:00Z",
    absolute_expires_at: "2099-01-01T00:00:00Z",
  },
};

/** Draws ui inside what the application gives every screen. */
export function show(ui: ReactNode, me: Me = alice) {
  const root = createRootRoute();
  const screen = createRoute({ getParentRoute: () => root, path: "$", component: () => ui });
  const router = createRouter({ routeTree: root.addChildren([screen]), history: createMemoryHistory({ initialEntries: ["/x"] }) });
  const queries = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  return render(
    <MantineProvider env="test" withCssVariables={false}>
      <QueryClientProvider client={queries}>
        <Announcer>
          <MeContext value={me}>
            {/* A router of this test's own, not the registered one. */}
            <RouterProvider router={router as never} />
          </MeContext>
        </Announcer>
      </QueryClientProvider>
    </MantineProvider>,
  );
}

import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

export default defineConfig({
  // Relative, so that one build works below every path: the server fills in <base href>.
  base: "./",
  plugins: [react()],
  build: {
    outDir: "../dist",
    emptyOutDir: false, // dist/.keep is in the repository; scripts/clean.mjs removes the rest
    target: "es2022",
    assetsInlineLimit: 0, // the content security policy allows files, not data: URLs
    modulePreload: { polyfill: false },
  },
  server: {
    // `npm run dev` beside a server of `behalf demo`: BEHALF_URL=http://localhost:4000 npm run dev
    proxy: Object.fromEntries(
      ["/api", "/auth", "/cubejs-api", "/login", "/logout", "/connect", "/oauth"].map((path) => [
        path,
        { target: process.env.BEHALF_URL ?? "http://localhost:4000" },
      ]),
    ),
  },
  test: {
    environment: "jsdom",
    setupFiles: ["src/test-setup.ts"],
    include: ["src/**/*.test.{ts,tsx}"],
    restoreMocks: true,
    testTimeout: 60_000,
    pool: "threads",
    isolate: false, // one environment for all: half the time. Test files leave nothing behind.
  },
});

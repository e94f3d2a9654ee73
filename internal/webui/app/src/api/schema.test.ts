// @vitest-environment node
import { readFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";
import { expect, test } from "vitest";

test("schema.d.ts is what the OpenAPI document says; run npm run generate", async () => {
  const made = astToString(await openapiTS(new URL("../../../../adminapi/openapi.json", import.meta.url)));
  const kept = readFileSync(new URL("./schema.d.ts", import.meta.url), "utf8");
  expect(kept.slice(kept.indexOf("export interface paths")).trim()).toBe(made.slice(made.indexOf("export interface paths")).trim());
});

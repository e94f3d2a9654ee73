import { expect, test } from "vitest";
import { asCurl } from "./copyas";
import { cell } from "./format";
import { highlight } from "./highlight";

test.each([
  ["every digit of a long decimal is kept", "12345678901234567890123456.789", "number", undefined, "12 345 678 901 234 567 890 123 456.789"],
  ["a negative number", "-1234.50", "number", undefined, "-1 234.50"],
  ["what is no number stays", "1e5", "number", undefined, "1e5"],
  ["a month", "2026-03-01T00:00:00.000", "time", "month", "2026-03"],
  ["a quarter", "2026-08-01T00:00:00.000", "time", "quarter", "2026 Q3"],
  ["an hour", "2026-08-01T13:00:00.000", "time", "hour", "2026-08-01 13:00"],
  ["a time without granularity", "2026-08-01T13:05:09.000", "time", undefined, "2026-08-01 13:05:09"],
  ["text that looks like a time", "yesterday", "time", "day", "yesterday"],
  ["a boolean", true, "boolean", undefined, "true"],
  ["an object", { a: 1 }, "string", undefined, '{"a":1}'],
])("%s", (_, value, type, granularity, want) => {
  expect(cell(value, type, granularity).replaceAll("\u202f", " ")).toBe(want);
});

test("curl quotes what a shell would read, and holds no token", () => {
  const text = asCurl({ measures: ["a.b"], filters: [{ member: "a.c", operator: "equals", values: ["it's $(rm)"] }] });
  expect(text).toContain("it'\\''s $(rm)");
  expect(text).toContain("$CUBE_TOKEN");
});

test("highlighting loses no character", () => {
  const sql = "SELECT \"a\", 'it''s' -- why\nFROM `t` WHERE x >= 1.5 AND y = ? /* no */ LIMIT 10;";
  expect(highlight(sql).map((p) => p.text).join("")).toBe(sql);
  expect(highlight("SELECT 1").map((p) => p.kind)).toEqual(["keyword", "", "number"]);
});

import { describe, expect, test } from "vitest";
import type { MetaCube } from "../api/cube";
import { columns, has, isRunnable, type Member, membersOf, operatorsFor, starters, toggle, toQuery, toSend, validateSearch } from "./draft";

const cube: MetaCube = {
  name: "orders",
  title: "Orders",
  measures: [{ name: "orders.count", title: "Orders Count", shortTitle: "Count", type: "number", aggType: "count" }],
  dimensions: [
    { name: "orders.status", title: "Orders Status", shortTitle: "Status", type: "string" },
    { name: "orders.created_at", title: "Orders Created at", shortTitle: "Created at", type: "time" },
  ],
  segments: [{ name: "orders.done", title: "Orders Done", shortTitle: "Done" }],
};
const members = membersOf([cube]);
const member = (name: string) => members.get(name) as Member;

describe("toQuery", () => {
  test.each([
    ["an object", { measures: ["a.b"] }, { measures: ["a.b"] }],
    ["text", '{"dimensions":["a.b"]}', { dimensions: ["a.b"] }],
    ["order as an object keeps its order", { order: { "a.c": "desc", "a.b": "asc" } }, { order: [["a.c", "desc"], ["a.b", "asc"]] }],
    ["the old name of a filter's member", { filters: [{ dimension: "a.b", operator: "equals", values: [1, null, true] }] }, { filters: [{ member: "a.b", operator: "equals", values: ["1", "true"] }] }],
    ["a date range of one day", { timeDimensions: [{ dimension: "a.t", dateRange: ["2026-01-01"] }] }, { timeDimensions: [{ dimension: "a.t", dateRange: ["2026-01-01", "2026-01-01"] }] }],
    ["what does not fit is left out", { measures: [1, "a.b", null], limit: "10", filters: [3], timeDimensions: "x", order: [["a.b", "up"]] }, { measures: ["a.b"] }],
  ])("%s", (_, raw, want) => {
    expect(toQuery(raw)).toEqual(want);
  });
  test.each([[null], [[]], ["{"], [7], [undefined]])("%j is no query", (raw) => {
    expect(toQuery(raw)).toBeUndefined();
  });
});

test("an address that holds nonsense is an empty screen", () => {
  expect(validateSearch({ query: "{broken", tab: "evil" })).toEqual({});
  expect(validateSearch({ query: { measures: ["a.b"] }, tab: "sql" })).toEqual({ query: { measures: ["a.b"] }, tab: "sql" });
});

test("toggle adds a member where it belongs, and takes it out again", () => {
  for (const name of ["orders.count", "orders.status", "orders.created_at", "orders.done"]) {
    const added = toggle({}, member(name));
    expect(has(added, member(name))).toBe(true);
    expect(toggle(added, member(name))).toEqual({});
  }
  expect(toggle({}, member("orders.created_at"))).toEqual({ timeDimensions: [{ dimension: "orders.created_at", granularity: "month" }] });
});

test("toSend leaves out filters without values and order of what is not selected", () => {
  expect(
    toSend({
      measures: ["orders.count"],
      filters: [
        { member: "orders.status", operator: "equals", values: [] },
        { member: "orders.status", operator: "set" },
      ],
      order: [
        ["orders.status", "asc"],
        ["orders.count", "desc"],
      ],
    }),
  ).toEqual({ measures: ["orders.count"], filters: [{ member: "orders.status", operator: "set" }], order: [["orders.count", "desc"]] });
});

test("a query runs when it selects something", () => {
  expect(isRunnable({ segments: ["orders.done"] })).toBe(false);
  expect(isRunnable({ timeDimensions: [{ dimension: "orders.created_at", dateRange: "today" }] })).toBe(false);
  expect(isRunnable({ timeDimensions: [{ dimension: "orders.created_at", granularity: "day" }] })).toBe(true);
  expect(isRunnable({ measures: ["orders.count"] })).toBe(true);
});

test("columns come in the order of the select list", () => {
  expect(columns({ measures: ["o.c"], dimensions: ["o.s"], timeDimensions: [{ dimension: "o.t", granularity: "day" }, { dimension: "o.u" }] })).toEqual(["o.s", "o.t.day", "o.c"]);
});

test("operators follow the type; a count compares as a number", () => {
  expect(operatorsFor(member("orders.count"))).toContain("gt");
  expect(operatorsFor(member("orders.created_at"))).toContain("inDateRange");
  expect(operatorsFor(member("orders.status"))).toContain("contains");
  expect(operatorsFor(undefined)).toContain("equals");
});

test("starters are at most three, and none without a measure", () => {
  expect(starters([cube]).length).toBe(3);
  expect(starters([{ ...cube, measures: [] }])).toEqual([]);
});

import { expect, test } from "vitest";
import { size } from "../ui/size";
import { change, validateSearch } from "./search";
import { lasting } from "./words";

test("an address of somebody else's making becomes a search that the page knows", () => {
  expect(validateSearch({ all: "true", state: 7, text: "", source: "default", every: "1ms", evil: 1 })).toEqual({ source: "default" });
  expect(validateSearch({ all: true, every: "30s", row: "qry_1" })).toEqual({ all: true, every: "30s", row: "qry_1" });
});

test("what says nothing goes from the address", () => {
  expect(change({ text: "a", state: "running" }, { text: "", state: "waiting" })).toEqual({ state: "waiting" });
});

test.each([[-5, "0 s"], [59_999, "59 s"], [125_000, "2 min 5 s"], [3_780_000, "1 h 3 min"]])("lasting(%d) is %s", (ms, want) => expect(lasting(ms)).toBe(want));
test.each([[0, "0 B"], [1023, "1,023 B"], [1536, "1.5 KiB"], [268_435_456, "256 MiB"]])("size(%d) is %s", (bytes, want) => expect(size(bytes)).toBe(want));

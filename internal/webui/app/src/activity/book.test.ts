import { expect, test } from "vitest";
import { Book, lingers } from "./book";

const change = (items: string[], gone: string[] = [], whole = false) => ({ whole, items: items.map((id) => ({ id })), gone, more: false });
const shown = (book: Book<{ id: string }>, now: number, keep = "") => book.show(now, (id) => id === keep).map((r) => r.item.id + (r.ended === undefined ? "" : "†"));

test("what has ended stays for a moment, and longer while somebody holds it", () => {
  const book = new Book<{ id: string }>();
  book.take(change(["a", "b"], [], true), 0);
  book.take(change(["c"], ["a"]), 1000);
  expect(shown(book, 1000)).toEqual(["a†", "b", "c"]); // in its place
  expect(shown(book, 1001 + lingers, "a")).toEqual(["a†", "b", "c"]);
  expect(shown(book, 1001 + lingers)).toEqual(["b", "c"]);
});

test("what was missed while the connection was away has ended, and what came first is no news", () => {
  const book = new Book<{ id: string }>();
  expect(book.begun).toBe(false);
  book.take(change(["a", "b"], [], true), 0);
  expect([book.came, book.went]).toEqual([0, 0]);
  book.take(change(["b", "c"], [], true), 1000);
  expect([book.came, book.went]).toEqual([1, 1]);
  expect(shown(book, 1000)).toEqual(["a†", "b", "c"]);
  book.take(change(["b"]), 2000); // a change of what was there
  expect(book.came).toBe(1);
});

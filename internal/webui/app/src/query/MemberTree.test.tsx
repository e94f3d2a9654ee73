import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";
import type { MetaCube } from "../api/cube";
import { show } from "../testing";
import { MemberTree } from "./MemberTree";

const member = (name: string, shortTitle: string, more: object = {}) => ({ name, title: shortTitle, shortTitle, ...more });
const cubes: MetaCube[] = [
  {
    name: "orders",
    title: "Orders",
    measures: [member("orders.count", "Count", { type: "number", aggType: "count" })],
    dimensions: [member("orders.status", "Status", { type: "string" }), member("orders.created_at", "Created at", { type: "time" })],
    segments: [],
  },
  { name: "people", title: "People", measures: [], dimensions: [member("people.city", "City", { type: "string", description: "Where they live" })], segments: [] },
];

async function tree(onToggle = vi.fn()) {
  show(<MemberTree cubes={cubes} isChosen={(m) => m.name === "orders.status"} onToggle={onToggle} />);
  return { onToggle, user: userEvent.setup(), tree: await screen.findByRole("tree") };
}
const focused = () => document.activeElement?.textContent ?? "";

test("is one stop in the tab order, and arrows move in it", async () => {
  const { user, onToggle } = await tree();
  await user.tab(); // search
  await user.tab();
  expect(focused()).toContain("Orders");
  await user.keyboard("{ArrowDown}");
  expect(focused()).toContain("Count");
  await user.keyboard("{Enter}");
  expect(onToggle).toHaveBeenLastCalledWith(expect.objectContaining({ name: "orders.count", kind: "measure" }));
  await user.keyboard("{End}");
  expect(focused()).toContain("City");
  await user.keyboard("{ArrowLeft}");
  expect(focused()).toContain("People");
  await user.keyboard("{Home}{ArrowLeft}");
  expect(screen.queryByText("Status")).toBeNull();
  await user.keyboard("{ArrowRight}{ArrowRight}");
  expect(focused()).toContain("Count");
});

test("letters jump to what begins with them", async () => {
  const { user } = await tree();
  await user.tab();
  await user.tab();
  await user.keyboard("st");
  expect(focused()).toContain("Status");
});

test("says what is chosen and of which type it is", async () => {
  const { tree: t } = await tree();
  const status = within(t).getByRole("treeitem", { name: /Status/ });
  expect(status.getAttribute("aria-selected")).toBe("true");
  expect(status.textContent).toContain("string");
  expect(within(t).getByRole("treeitem", { name: /Created at/ }).getAttribute("aria-selected")).toBe("false");
});

test("search looks into descriptions, and Enter adds the first find", async () => {
  const { user, onToggle } = await tree();
  await user.type(screen.getByRole("searchbox"), "live{Enter}");
  expect(screen.queryByText("Count")).toBeNull();
  expect(onToggle).toHaveBeenCalledWith(expect.objectContaining({ name: "people.city" }));
  await user.type(screen.getByRole("searchbox"), "xyz");
  expect(screen.getByText("No member matches “livexyz”.")).toBeTruthy();
  expect(screen.queryByRole("tree")).toBeNull();
});

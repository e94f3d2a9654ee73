import { screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, test, vi } from "vitest";
import type { Status } from "../api/client";
import { Problem } from "../api/problem";
import { strings } from "../strings";
import { show } from "../testing";
import { CopyButton } from "./CopyButton";
import { ErrorBlock } from "./ErrorBlock";
import { StatusBadge } from "./StatusBadge";
import { absolute, day, duration, relative } from "./time";

test("every status has a word, a meaning, an icon and a tone", async () => {
  const all = Object.keys(strings.status) as Status[];
  expect(all.length).toBe(9);
  show(
    <>
      {all.map((s) => (
        <StatusBadge key={s} status={s} />
      ))}
    </>,
  );
  for (const s of all) {
    const badge = await screen.findByText(strings.status[s]);
    expect(badge.querySelector("svg")?.getAttribute("aria-hidden")).toBe("true");
    expect(badge.dataset.tone).toBeTruthy();
    expect(strings.statusMeaning[s]).not.toBe("");
  }
});

describe("ErrorBlock", () => {
  test("says what, who can fix it, the code and the request id, and tries again", async () => {
    const retry = vi.fn();
    show(<ErrorBlock error={new Problem({ code: "invalid_client", title: "Rejected", detail: "It said no.", owner: "admin", requestID: "req_7" })} onRetry={retry} />);
    const block = await screen.findByRole("alert");
    for (const text of ["Rejected", "It said no.", strings.problem.owner.admin, "invalid_client", "req_7"]) {
      expect(block.textContent).toContain(text);
    }
    await userEvent.click(screen.getByRole("button", { name: strings.common.retry }));
    expect(retry).toHaveBeenCalledOnce();
  });
  test("shows nothing of a mistake of our own", async () => {
    show(<ErrorBlock error={new Error("at foo (bar.js:1)")} />);
    expect((await screen.findByRole("alert")).textContent).not.toContain("bar.js");
  });
});

test("copying says so to a screen reader", async () => {
  const user = userEvent.setup(); // brings a clipboard
  show(<CopyButton text="https://b.example/oauth/callback/x" what="redirect URI" />);
  await user.click(await screen.findByRole("button", { name: "Copy redirect URI" }));
  expect(await navigator.clipboard.readText()).toBe("https://b.example/oauth/callback/x");
  expect((await screen.findByText(strings.common.copied, { selector: "[role=status] *" })).textContent).toBe("Copied");
});

describe("times", () => {
  const now = new Date("2026-03-10T12:00:00Z");
  const at = (text: string) => new Date(text);
  test.each([
    ["2026-03-10T11:59:50Z", "now"],
    ["2026-03-10T11:15:00Z", "45 minutes ago"],
    ["2026-03-09T11:00:00Z", "yesterday"],
    ["2026-03-12T13:00:00Z", "in 2 days"],
    ["2025-01-01T00:00:00Z", "last year"],
  ])("relative(%s) is %s", (text, want) => expect(relative(at(text), now)).toBe(want));
  test("a day has its year only when it is another one", () => {
    expect(day(at("2026-03-14T12:00:00Z"), now)).toBe("14 Mar");
    expect(day(at("2027-03-14T12:00:00Z"), now)).toBe("14 Mar 2027");
  });
  test("the exact time is in UTC first", () => expect(absolute(at("2026-03-14T12:00:00Z"))).toMatch(/^2026-03-14 12:00:00 UTC/));
  test.each([[214.4, "214 ms"], [3400, "3.4 s"], [125_000, "2 min 5 s"]])("duration(%d) is %s", (ms, want) => expect(duration(ms)).toBe(want));
});

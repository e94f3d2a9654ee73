import { describe, expect, test } from "vitest";
import { parseRunAs, runAsOf } from "./runas";

describe("parseRunAs", () => {
  test.each([
    ['user;username="alice"', [{ item: "user", params: { username: "alice" } }]],
    ['user;username="al\\"ice";cached', [{ item: "user", params: { username: 'al"ice', cached: true } }]],
    [
      'service_account;account="svc_ro";reason="not_connected", user;username="bob"',
      [
        { item: "service_account", params: { account: "svc_ro", reason: "not_connected" } },
        { item: "user", params: { username: "bob" } },
      ],
    ],
    ["", []],
    ['"quoted"', []],
    ["user;;;", [{ item: "user", params: {} }]],
  ])("%s", (header, want) => {
    expect(parseRunAs(header)).toEqual(want);
  });
});

test("runAsOf joins body and header, and does not believe an identity it does not know", () => {
  expect(runAsOf({ identity: "service_account", username: "alice", reason: "expired" }, 'service_account;account="svc"')).toMatchObject({
    identity: "service_account",
    account: "svc",
    reason: "expired",
    cached: false,
  });
  expect(runAsOf(undefined, 'user;username="alice";cached')).toMatchObject({ identity: "user", username: "alice", cached: true });
  expect(runAsOf(undefined, null)).toBeUndefined();
  expect(runAsOf({ identity: "root" }, null)).toBeUndefined();
});

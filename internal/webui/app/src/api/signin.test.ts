import { expect, test, vi } from "vitest";
import { browser, leaveToSignIn } from "./signin";

test("comes back to this very address, and stops after three bounces", async () => {
  const go = vi.spyOn(browser, "go").mockImplementation(() => {});
  window.history.replaceState(null, "", "/query?query=%7B%7D");
  for (let i = 0; i < 3; i++) void leaveToSignIn();
  expect(go).toHaveBeenCalledTimes(3);
  expect(go).toHaveBeenCalledWith("/login?rd=%2Fquery%3Fquery%3D%257B%257D");
  await expect(leaveToSignIn()).rejects.toMatchObject({ code: "sign_in_loop" });
  expect(go).toHaveBeenCalledTimes(3);
});

// When the sign-in window is blocked, this tab itself goes to the provider and comes back to the same address. A note
// in the tab's own storage then says that the query should run. It is not in the address: a link that somebody sends
// must not run anything by itself.
const key = "behalf-rerun";

export function rememberRerun() {
  try {
    sessionStorage.setItem(key, `${window.location.pathname}${window.location.search} ${Date.now()}`);
  } catch {
    // Without storage the person presses Run.
  }
}

/** Whether this address was left to connect an app, within the last ten minutes. It answers true once. */
export function takeRerun(): boolean {
  try {
    const [where, at] = (sessionStorage.getItem(key) ?? "").split(" ");
    sessionStorage.removeItem(key);
    return where === window.location.pathname + window.location.search && Date.now() - Number(at) < 600_000;
  } catch {
    return false;
  }
}

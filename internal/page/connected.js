// The one script of these pages; all of them work without it. It keeps codes out of the history, tells the other tabs
// of this browser that an app was connected, and closes the window if the web application opened it.
(function () {
  "use strict";
  var popup = "behalf-connect";

  // A provider's page may clear the name of the window, so it is remembered by the page before and after it.
  var opened = window.name === popup;
  try {
    if (opened) sessionStorage.setItem(popup, "1");
    opened = opened || sessionStorage.getItem(popup) === "1";
  } catch (e) {
    // Storage is switched off: the name alone says it.
  }

  var clean = document.querySelector("[data-clean-url]");
  if (clean) history.replaceState(null, "", clean.getAttribute("data-clean-url"));

  var done = document.getElementById("connected");
  if (!done) return;
  if ("BroadcastChannel" in window) {
    var channel = new BroadcastChannel("behalf");
    channel.postMessage({ type: "behalf:connected", app: done.dataset.app });
    channel.close();
  }
  if (opened) {
    try {
      sessionStorage.removeItem(popup);
    } catch (e) {
      // As above.
    }
    setTimeout(function () { window.close(); }, 500);
  } else if (done.dataset.next) {
    setTimeout(function () { location.replace(done.dataset.next); }, 700);
  }
})();

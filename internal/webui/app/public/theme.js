// Sets the theme before the first paint. A file of its own, not in the page: the content security policy allows no
// inline script. The key is that of src/theme.ts.
(function () {
  var choice = null;
  try {
    choice = localStorage.getItem("behalf-theme");
  } catch (e) {
    // Storage is switched off: the system's theme it is.
  }
  var dark = choice === "dark" || (choice !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
})();

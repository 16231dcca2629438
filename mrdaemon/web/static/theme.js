// Sets the theme before anything is drawn: the one that was chosen here, else the system's.
// A classic script in the head, so that no page flashes white in the dark.
"use strict";

(() => {
  const KEPT = "mrdaemon-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const kept = () => {
    try {
      return localStorage.getItem(KEPT);
    } catch {
      return null; // Storage is switched off: the system's it is.
    }
  };
  const keep = (theme) => {
    try {
      if (theme === null) localStorage.removeItem(KEPT);
      else localStorage.setItem(KEPT, theme);
    } catch {
      // It holds for as long as the page does.
    }
  };
  const systems = () => (system.matches ? "dark" : "light");
  const apply = (theme) => {
    document.documentElement.dataset.theme = theme;
    for (const button of document.querySelectorAll("[data-switch=theme]")) {
      button.setAttribute("aria-pressed", String(theme === "dark"));
    }
  };
  const current = () => document.documentElement.dataset.theme;

  apply(kept() ?? systems());
  system.addEventListener("change", () => apply(kept() ?? systems()));
  addEventListener("storage", () => apply(kept() ?? systems())); // Another tab switched.
  document.addEventListener("DOMContentLoaded", () => {
    apply(current());
    for (const button of document.querySelectorAll("[data-switch=theme]")) {
      button.addEventListener("click", () => {
        const theme = current() === "dark" ? "light" : "dark";
        keep(theme === systems() ? null : theme); // Whoever is back at the system's follows it again.
        apply(theme);
      });
    }
  });
})();

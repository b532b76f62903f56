"use strict";
// Settings in the address (#theme=dark&fault=RES-01%231), light and dark, and
// the filters of the checks.
const settings = new URLSearchParams(location.hash.slice(1));
const root = document.documentElement;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");

function remember(name, value) {
  if (value) settings.set(name, value); else settings.delete(name);
  const hash = settings.toString();
  history.replaceState(null, "", hash ? "#" + hash : location.pathname + location.search);
}

function showTheme() {
  root.dataset.theme = settings.get("theme") || (prefersDark.matches ? "dark" : "light");
  root.dispatchEvent(new Event("themed"));
}
showTheme();
prefersDark.addEventListener("change", showTheme);
document.getElementById("theme").addEventListener("click", () => {
  remember("theme", root.dataset.theme === "dark" ? "light" : "dark");
  showTheme();
});

const filters = document.getElementById("filters");
if (filters) {
  const must = document.getElementById("must"), find = document.getElementById("find");
  const buttons = [...filters.querySelectorAll("[data-status]")];
  let status = "";
  const apply = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const area of document.querySelectorAll(".area")) {
      let here = 0;
      for (const check of area.querySelectorAll(".check")) {
        const text = check.textContent.toLowerCase();
        check.hidden = (status && check.dataset.status !== status) || (must.checked && check.dataset.level === "SHOULD") || !words.every(w => text.includes(w));
        if (!check.hidden) here++;
      }
      area.hidden = here === 0;
      shown += here;
    }
    document.getElementById("none").hidden = shown > 0;
    for (const b of buttons) b.setAttribute("aria-pressed", String(b.dataset.status === status));
  };
  for (const b of buttons) b.addEventListener("click", () => { status = b.dataset.status; apply(); });
  must.addEventListener("change", apply);
  find.addEventListener("input", apply);
  filters.hidden = false;
}

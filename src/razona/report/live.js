"use strict";
// The served page alone has this script: it asks its own server whether the run has gone on, and if so loads the page
// again as the reader left it: place, filters, open folds, focus.
(() => {
  const KEY = "razona-place";
  const ASK_EVERY_MS = 2000;
  const FOLLOWED = "Followed live: the page loads itself again when the run has gone on.";
  const version = document.querySelector('meta[name="razona-version"]').content;
  const fields = () => [...document.querySelectorAll("form select[id], form input[id]")];
  const folds = () => [...document.querySelectorAll("details")];

  const remember = () => {
    // Who reads the latest step goes on to the next latest one.
    const isLatest = (field) => field.id === "browser-step" && field.selectedIndex === field.options.length - 1;
    const kept = fields().filter((field) => !isLatest(field));
    const place = {
      scroll: window.scrollY,
      fields: Object.fromEntries(kept.map((field) => [field.id, field.value])),
      open: folds().filter((fold) => fold.open).map((fold) => fold.firstElementChild.textContent),
      focus: document.activeElement?.id ?? "",
    };
    sessionStorage.setItem(KEY, JSON.stringify(place));
  };

  const restore = () => {
    const kept = sessionStorage.getItem(KEY);
    sessionStorage.removeItem(KEY);
    if (!kept) return;
    const place = JSON.parse(kept);
    for (const field of fields()) {
      const value = place.fields[field.id];
      const isThere = field.tagName === "INPUT" || [...field.options].some((option) => option.value === value);
      if (value === undefined || !isThere) continue;
      field.value = value;
      field.dispatchEvent(new Event(field.tagName === "INPUT" ? "input" : "change"));
    }
    for (const fold of folds()) fold.open = place.open.includes(fold.firstElementChild.textContent);
    const back = () => window.scrollTo({ top: place.scroll, behavior: "instant" });
    back();
    window.razonaDrawn.then(() => {
      if (place.focus) document.getElementById(place.focus)?.focus({ preventScroll: true });
      back();
    });
  };

  const status = document.createElement("p");
  status.className = "hint";
  status.id = "live-status";
  status.setAttribute("role", "status");
  status.textContent = FOLLOWED; // at once: a line that comes later would push the page down under the reader
  document.querySelector("header .subtitle").after(status);

  const ask = async () => {
    try {
      const answer = await fetch("version", { cache: "no-store" });
      const latest = answer.ok ? (await answer.text()).trim() : version;
      if (latest !== version) {
        remember();
        location.reload();
        return;
      }
      status.textContent = FOLLOWED;
    } catch {
      status.textContent = "No longer followed: razona report --watch has ended. This page stays as it is.";
    }
    setTimeout(ask, ASK_EVERY_MS);
  };

  history.scrollRestoration = "manual";
  restore();
  ask();
})();

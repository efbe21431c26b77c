// Reads the page again every few seconds and puts its live part in place; stops while nobody looks or the box is off.
"use strict";
const EVERY_MS = 4000;
const box = document.getElementById("live");
box.closest("label").hidden = false;

async function refresh() {
  if (!box.checked || document.hidden) return;
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(EVERY_MS) });
    if (answer.redirected) return location.reload();
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("now");
    const held = document.activeElement;
    if (fresh === null || (held instanceof Element && held.closest("#now") !== null)) return;
    document.getElementById("now").replaceWith(fresh);
  } catch {
    // Away for a moment: what is shown says of when it is.
  }
}

setInterval(refresh, EVERY_MS);

// The page: which view is open, what is typed, and the keys that move through it.

import { appName, count, h } from "./dom.js";
import { devices } from "./devices.js";
import { Feed } from "./feed.js";
import { mail, sms } from "./threads.js";
import { CHANNELS, inspect, timeline } from "./timeline.js";

const TOKEN_KEY = "clarion-inbox-token";
const SEARCH_DELAY_MS = 150;
const MAX_WHOLE = 200;
const CLOCK_MS = 30_000;
const VIEWS = ["all", "ios", "android", "browser", "sms", "mail"];
const STATES = {
  live: "Live",
  offline: "Sandbox not reached, trying again",
  connecting: "Connecting",
  denied: "Locked",
};

const at = (id) => document.getElementById(id);
const [panel, tabs, search, app, status, sheet, gate, announcer] = [
  "panel",
  "tabs",
  "search",
  "app",
  "status",
  "sheet",
  "gate",
  "announcer",
].map(at);
const tabButtons = [...tabs.querySelectorAll("[role=tab]")];

let view = "all";
let feed;

const ui = {
  expanded: new Set(),
  selected: { sms: null, mail: null },
  whole: new Map(),
  mailTab: "html",
  toggle(key) {
    if (!this.expanded.delete(key)) this.expanded.add(key);
    render();
  },
  select(where, key) {
    const before = this.selected[where];
    this.selected[where] = key;
    render();
    // On a narrow page the other pane is now the one to be seen.
    focusOn(key === null ? `${where} ${before}` : "back");
  },
  showTab(tab) {
    this.mailTab = tab;
    render();
  },
  /** Fetch a whole message once; of those fetched, the newest are kept. */
  async load(n) {
    if (this.whole.has(n)) return;
    this.whole.set(n, {});
    if (this.whole.size > MAX_WHOLE) this.whole.delete(this.whole.keys().next().value);
    this.whole.set(n, await feed.whole(n).catch(() => ({ failed: true })));
    render();
  },
  async inspect(n) {
    inspect(sheet, null);
    sheet.showModal();
    inspect(sheet, await feed.whole(n).catch(() => ({})));
  },
};

const views = {
  all: (messages) => timeline(messages, ui),
  ios: (messages) => devices("ios", messages, ui),
  android: (messages) => devices("android", messages, ui),
  browser: (messages) => devices("browser", messages, ui),
  sms: (messages) => sms(messages, ui),
  mail: (messages) => mail(messages, ui),
};

/** Draw the view anew; focus, scroll positions and the mail being read stay. */
function render() {
  drawFilters();
  if (!feed.loaded) return;
  const key = panel.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const scrolled = [...panel.querySelectorAll(".rows, .pane, .mail-body")].map((element) => [
    element.classList[0],
    element.scrollTop,
  ]);
  const children = views[view](feed.messages);
  if (feed.more)
    children.push(
      h(
        "button",
        { class: "more", "data-key": "older", onclick: () => feed.older().catch(() => setStatus("offline")) },
        "Show older messages",
      ),
    );
  if (showsSameFrame(children[0])) redrawRows(children[0]);
  else panel.replaceChildren(...children);
  for (const [name, top] of scrolled) panel.querySelector(`.${name}`)?.scrollTo({ top });
  if (key) focusOn(key);
}

function showsSameFrame(panes) {
  const [shown, next] = [panel, panes].map((element) => element.querySelector("iframe")?.getAttribute("src"));
  return shown !== undefined && shown === next;
}

/** A frame that is moved loads again, so beside an open mail only the list is replaced. */
function redrawRows(panes) {
  panel.querySelector(".rows").replaceWith(panes.querySelector(".rows"));
  panel.querySelector(".panes").toggleAttribute("data-open", panes.hasAttribute("data-open"));
}

function focusOn(key) {
  const found = [...panel.querySelectorAll("[data-key]")].find((element) => element.dataset.key === key);
  found?.focus({ preventScroll: found.dataset.item === undefined });
}

function drawFilters() {
  const { channels, apps } = feed.census;
  const total = Object.values(channels).reduce((sum, number) => sum + number, 0);
  for (const button of tabButtons) {
    const name = button.dataset.view;
    const number = name === "all" ? total : (channels[name] ?? 0);
    const label = name === "all" ? "All" : CHANNELS[name];
    button.replaceChildren(label, number > 0 ? h("span", { class: "number" }, number.toLocaleString()) : "");
    button.setAttribute("aria-selected", String(name === view));
    button.tabIndex = name === view ? 0 : -1;
  }
  const chosen = app.value;
  const names = [...new Set(apps.filter((one) => view === "all" || one.channel === view).map((one) => one.app))];
  if (chosen && !names.includes(chosen)) names.push(chosen);
  const options = names.map((name) =>
    h("option", { value: name }, name === appName(name) ? name : `${appName(name)} (${name})`),
  );
  if (
    options.map((option) => option.value).join("\n") !==
    [...app.options]
      .slice(1)
      .map((option) => option.value)
      .join("\n")
  ) {
    app.replaceChildren(h("option", { value: "" }, "All apps"), ...options);
    app.value = chosen;
  }
}

function setStatus(state) {
  if (state === "denied") return askForToken("That token is not the sandbox's.");
  if (status.dataset.state === state) return;
  status.dataset.state = state;
  status.textContent = STATES[state];
}

function changed(fresh) {
  if (fresh) announcer.textContent = count(fresh, "new message");
  panel.toggleAttribute("data-fresh", fresh > 0);
  render();
}

function reopen() {
  ui.expanded.clear();
  panel.setAttribute("aria-labelledby", `tab-${view}`);
  panel.dataset.view = view;
  feed.open({ channel: view === "all" ? "" : view, app: app.value, q: search.value.trim() });
  drawFilters();
}

function show(next) {
  if (next === view) return;
  location.hash = next;
}

function readHash() {
  const hash = location.hash.slice(1);
  const token = hash.startsWith("token=") ? new URLSearchParams(hash).get("token") : "";
  if (token) {
    // Out of sight and out of the history: the token stays with this tab.
    history.replaceState(null, "", `#${view}`);
    return start(token);
  }
  const next = VIEWS.includes(hash) ? hash : view;
  if (next !== view || !feed) {
    view = next;
    // Items of the view before must not take the keys meant for this one.
    panel.replaceChildren();
    if (feed) reopen();
  }
  return undefined;
}

function start(token) {
  sessionStorage.setItem(TOKEN_KEY, token);
  feed?.close();
  document.body.classList.remove("locked");
  gate.hidden = true;
  feed = new Feed(token, changed, setStatus);
  reopen();
}

function askForToken(note) {
  sessionStorage.removeItem(TOKEN_KEY);
  document.body.classList.add("locked");
  status.dataset.state = "denied";
  status.textContent = STATES.denied;
  gate.hidden = false;
  if (note) at("gate-note").textContent = note;
  at("token").focus();
}

gate.addEventListener("submit", (event) => {
  event.preventDefault();
  start(at("token").value.trim());
});

let typing;
search.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(reopen, SEARCH_DELAY_MS);
});
app.addEventListener("change", reopen);
addEventListener("hashchange", readHash);
sheet.addEventListener("click", (event) => event.target === sheet && sheet.close());
for (const button of tabButtons) button.addEventListener("click", () => show(button.dataset.view));

/** Left and right move along a row of tabs, up and down along the items of a view. */
function step(event) {
  const along = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const down = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  const list = event.target.closest("[role=tablist]");
  if (along && list) {
    const all = [...list.querySelectorAll("[role=tab]")];
    const next = all[(all.indexOf(event.target) + along + all.length) % all.length];
    next.focus();
    next.click();
  } else if (down && event.target.matches("[data-item]")) {
    const all = [...panel.querySelectorAll("[data-item]")];
    all[all.indexOf(event.target) + down]?.focus();
    event.preventDefault();
  } else if (down === 1 && list === tabs) {
    panel.querySelector("[data-item]")?.focus();
    event.preventDefault();
  }
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || sheet.open || !feed) return;
  if (event.target.matches("input, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "/") {
    event.preventDefault();
    search.focus();
  } else if (/^[1-6]$/.test(event.key)) show(VIEWS[event.key - 1]);
  else step(event);
});

setInterval(() => feed?.loaded && !document.hidden && !sheet.open && render(), CLOCK_MS);

readHash();
if (!feed) {
  const kept = sessionStorage.getItem(TOKEN_KEY);
  if (kept) start(kept);
  else askForToken("");
}

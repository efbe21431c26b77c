// Lock screens, notification shades and browsers: one frame per device, the newest message on top.

import { ago, appIcon, byDestination, count, empty, h, sender } from "./dom.js";

const DEVICES = 9;
const NOTES = 4;
const ICONS = 3;
const HINTS = {
  ios: ["No iPhone has a notification", "Pushes that the APNs door takes light up a lock screen here."],
  android: ["No Android phone has a notification", "Pushes that the FCM or Huawei door takes unfold here."],
  browser: ["No browser has a notification", "Messages that the Web Push door takes, decrypted, pop up here."],
};

/** A frame per device. ui: {expanded: Set, toggle(key), inspect(n)}. */
export function devices(view, messages, ui) {
  if (!messages.length) return [empty(...HINTS[view])];
  const groups = [...byDestination(messages)];
  const all = ui.expanded.has(view);
  const shown = all ? groups : groups.slice(0, DEVICES);
  const frames = shown.map(([destination, list]) => frame(view, destination, list, ui));
  const rest = groups.length - shown.length;
  return [
    h("div", { class: `devices devices-${view}` }, frames),
    rest > 0 &&
      h(
        "button",
        { class: "more", "data-key": view, onclick: () => ui.toggle(view) },
        `Show ${count(rest, "more device")}`,
      ),
  ].filter(Boolean);
}

function frame(view, destination, messages, ui) {
  const { visible, silent } = onScreen(messages);
  const key = `${view} ${destination}`;
  const open = ui.expanded.has(key);
  const notes = (open ? visible : visible.slice(0, NOTES)).map((entry) => note(view, entry, ui));
  const hidden = visible.length - notes.length;
  const screen = h(
    "div",
    { class: `screen screen-${view}` },
    tops[view](visible),
    h(
      "ol",
      { class: "notes" },
      notes.map((element) => h("li", {}, element)),
    ),
    (hidden > 0 || open) &&
      h(
        "button",
        { class: "stack", "data-key": key, "aria-expanded": String(open), onclick: () => ui.toggle(key) },
        open ? "Show fewer" : `${count(hidden, "more notification")}`,
      ),
    visible.length === 0 && h("p", { class: "quiet" }, "Nothing is shown"),
  );
  return h(
    "section",
    { class: "device", "aria-label": `${names[view]} ${destination}` },
    caption(view, destination, messages, silent),
    screen,
  );
}

const names = { ios: "iPhone", android: "Android phone", browser: "Browser" };

function caption(view, destination, messages, silent) {
  const apps = [...new Map(messages.toReversed().map((message) => [message.app, message])).values()]
    .reverse()
    .slice(0, ICONS);
  const badge = ({ app }) =>
    messages.find((message) => message.app === app && message.facts.badge !== undefined)?.facts.badge;
  const quiet = silent ? ` · ${silent} silent` : "";
  return h(
    "header",
    { class: "device-caption" },
    apps.map((message) => appIcon(message, badge(message))),
    h(
      "div",
      {},
      h("h2", { title: destination }, names[view], " ", h("code", {}, short(destination))),
      h("p", {}, count(messages.length, "message"), quiet),
    ),
  );
}

/** What is still to be seen: of messages that replace each other only the newest, and no silent ones. */
function onScreen(messages) {
  const places = new Map();
  const visible = [];
  let silent = 0;
  for (const message of messages) {
    const { replaces } = message.facts;
    const place = replaces && `${message.app} ${replaces}`;
    if (message.facts.silent) silent += 1;
    else if (place && places.has(place)) places.get(place).replaced += 1;
    else {
      const entry = { message, replaced: 0 };
      if (place) places.set(place, entry);
      visible.push(entry);
    }
  }
  return { visible, silent };
}

const LOCK_TIME = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const LOCK_DATE = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

const tops = {
  ios: () => [
    h("div", { class: "island", "aria-hidden": "true" }),
    h("p", { class: "lock-date" }, LOCK_DATE.format()),
    h("p", { class: "lock-time" }, LOCK_TIME.format().replace(/\s?[AP]M$/i, "")),
  ],
  android: () => [h("p", { class: "shade-top" }, h("span", {}, LOCK_TIME.format()), h("span", {}, LOCK_DATE.format()))],
  browser: (visible) => [
    h(
      "div",
      { class: "chrome", "aria-hidden": "true" },
      h("i"),
      h("i"),
      h("i"),
      h("span", {}, visible[0]?.message.facts.origin ?? "new tab"),
    ),
  ],
};

function note(view, { message, replaced }, ui) {
  const attributes = {
    class: `note note-${view}`,
    "data-item": true,
    "data-key": `n${message.n}`,
    onclick: () => ui.inspect(message.n),
  };
  return h(
    "button",
    attributes,
    notes[view](message),
    replaced > 0 && h("span", { class: "replaced" }, `Replaced ${count(replaced, "earlier message")}`),
  );
}

const LEVELS = { "time-sensitive": "Time Sensitive", critical: "Critical" };

const notes = {
  ios: (message) => [
    appIcon(message),
    h(
      "span",
      { class: "note-words" },
      LEVELS[message.facts.level] && h("span", { class: "level" }, LEVELS[message.facts.level]),
      h("span", { class: "note-title" }, h("strong", {}, message.title || sender(message)), ago(message.received_at)),
      message.subtitle && h("strong", { class: "note-subtitle" }, message.subtitle),
      h("span", { class: "note-body" }, message.body),
    ),
    thumbnail(message.facts.image),
    actions(message),
  ],
  android: (message) => [
    h(
      "span",
      { class: "note-from" },
      appIcon(message),
      h("span", {}, sender(message)),
      message.facts.channel && h("span", {}, message.facts.channel),
      ago(message.received_at),
    ),
    message.title && h("strong", { class: "note-title" }, message.title),
    h("span", { class: "note-body" }, message.body),
    picture(message.facts.image),
    actions(message),
  ],
  browser: (message) => [
    appIcon(message),
    h(
      "span",
      { class: "note-words" },
      h("span", { class: "note-title" }, h("strong", {}, message.title || sender(message)), ago(message.received_at)),
      h("span", { class: "note-body" }, message.body),
      h(
        "span",
        { class: "origin" },
        message.facts.origin ?? message.app,
        message.facts.sticky && " · stays until closed",
      ),
    ),
    picture(message.facts.image),
    actions(message),
  ],
};

/** The buttons under a notification. */
function actions({ facts }) {
  return (
    facts.actions &&
    h(
      "span",
      { class: "actions" },
      facts.actions.map((action) => h("span", {}, action)),
    )
  );
}

/** Pictures of the message itself are shown; those elsewhere are named, never fetched. */
function picture(url) {
  if (!url) return null;
  if (/^data:image\/(png|jpeg|gif|webp);/i.test(url)) return h("img", { class: "picture", src: url, alt: "" });
  return h(
    "span",
    { class: "picture picture-away" },
    h("span", {}, "Picture"),
    h("span", {}, url.replace(/^https?:\/\//i, "")),
  );
}

function thumbnail(url) {
  const image = picture(url);
  image?.classList.add("thumbnail");
  return image;
}

/** A token's beginning; a browser's seed without the hash of its key. */
function short(destination) {
  const name = destination.replace(/\.[A-Za-z0-9_-]{22}$/, "");
  return name.length > 16 ? `${name.slice(0, 10)}…${name.slice(-4)}` : name;
}

// Building elements. Everything that comes from a message becomes a text node or an attribute that cannot run.

/** An element; properties that start with "on" are listeners, children that are null or false are left out. */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

const REVERSE_DNS = /^(com|org|net|io|dev|app|[a-z]{2})\.[\w-]+\.[\w.-]+$/i;

/** A name for people: "com.example.clarion" gives "Clarion", "clarion-sandbox" gives "Clarion Sandbox". */
export function appName(app) {
  if (!REVERSE_DNS.test(app) && /[@.]/.test(app)) return app;
  return app
    .split(".")
    .at(-1)
    .replace(/[-_]+/g, " ")
    .replace(/(^|\s)\p{L}/gu, (letter) => letter.toUpperCase());
}

/** Who a message is from, as a person would say it. */
export const sender = (message) => message.facts.sender || message.facts.origin || appName(message.app);

/** A rounded square with the sender's letter, its colour from the app, and a badge if there is one. */
export function appIcon(message, badge) {
  const letter = [...sender(message)].find((character) => /[\p{L}\p{N}]/u.test(character)) ?? "•";
  const icon = h("span", { class: "app-icon", "aria-hidden": "true" }, letter.toUpperCase());
  let hue = 7;
  for (const character of message.app) hue = (hue * 31 + character.codePointAt(0)) % 360;
  icon.style.setProperty("--hue", hue);
  if (badge) icon.append(h("span", { class: "badge" }, badge > 99 ? "99+" : String(badge)));
  return icon;
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** When it arrived (Unix seconds): the time today, the day before that, all of it on hover. */
export function when(seconds) {
  const moment = new Date(seconds * 1000);
  const today = moment.toDateString() === new Date().toDateString();
  const words = today ? TIME.format(moment) : DAY.format(moment);
  return h("time", { datetime: moment.toISOString(), title: FULL.format(moment) }, words);
}

/** As phones say it: now, 5m, 2h, 3d. */
export function ago(seconds) {
  const past = Date.now() / 1000 - seconds;
  const words =
    past < 60
      ? "now"
      : past < 3600
        ? `${Math.floor(past / 60)}m`
        : past < 86400
          ? `${Math.floor(past / 3600)}h`
          : `${Math.floor(past / 86400)}d`;
  const moment = new Date(seconds * 1000);
  return h("time", { datetime: moment.toISOString(), title: FULL.format(moment) }, words);
}

/** "1 segment", "2 segments". */
export const count = (number, noun) => `${number.toLocaleString()} ${noun}${number === 1 ? "" : "s"}`;

/** Messages by destination, in order of the newest of each; a number is the same with and without its plus. */
export function byDestination(messages) {
  const groups = new Map();
  for (const message of messages) {
    const destination = message.destination.replace(/^\+(?=\d+$)/, "");
    if (!groups.has(destination)) groups.set(destination, []);
    groups.get(destination).push(message);
  }
  return groups;
}

export function empty(title, hint) {
  return h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), h("p", {}, hint));
}

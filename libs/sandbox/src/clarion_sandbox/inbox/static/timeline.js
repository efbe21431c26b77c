// Everything in the order it came, and the sheet that shows one message down to its source.

import { appIcon, count, empty, h, sender, when } from "./dom.js";

export const CHANNELS = {
  ios: "iOS",
  android: "Android",
  browser: "Browser",
  sms: "SMS",
  mail: "Mail",
  other: "Other",
};

export function timeline(messages, ui) {
  if (!messages.length)
    return [
      empty(
        "Nothing has arrived yet",
        "Send something, for example with clarion send, and it shows up here within a second.",
      ),
    ];
  const rows = messages.map((message) =>
    h(
      "li",
      {},
      h(
        "button",
        { class: "event", "data-item": true, "data-key": `n${message.n}`, onclick: () => ui.inspect(message.n) },
        appIcon(message),
        h(
          "span",
          { class: "event-words" },
          h(
            "span",
            { class: "event-top" },
            h("strong", {}, sender(message)),
            h("span", { class: "channel" }, CHANNELS[message.channel]),
          ),
          h(
            "span",
            { class: "event-text" },
            message.title && h("b", {}, message.title),
            message.facts.silent ? h("i", {}, "silent") : message.body,
          ),
        ),
        h(
          "span",
          { class: "event-side" },
          when(message.received_at),
          h("span", { class: "to", title: message.destination }, message.destination),
        ),
      ),
    ),
  );
  return [h("ol", { class: "timeline" }, rows)];
}

const FACTS = {
  replaces: "Replaces",
  badge: "Badge",
  level: "Level",
  thread: "Thread",
  channel: "Notification channel",
  color: "Colour",
  origin: "Origin",
  image: "Picture",
  link: "Link",
  alphabet: "Alphabet",
  units: "Units",
  segments: "Segments",
  attachments: "Attachments",
};

/** Fill the dialog; whole is null while it loads. */
export function inspect(dialog, whole) {
  const close = h("button", { class: "close", autofocus: true, onclick: () => dialog.close() }, "Close");
  if (!whole?.summary) {
    dialog.replaceChildren(
      h("header", {}, h("h2", { id: "sheet-title" }, whole ? "No longer kept" : "Loading"), close),
    );
    return;
  }
  const { summary } = whole;
  const told = [
    ["Number", summary.n],
    ["Provider", summary.provider],
    ["From", summary.app],
    ["To", summary.destination],
    ["Arrived", new Date(summary.received_at * 1000).toLocaleString()],
    ...Object.entries(summary.facts)
      .filter(([name, value]) => (FACTS[name] && value !== "" && value !== 0) || name === "badge")
      .map(([name, value]) => [FACTS[name], value]),
    ["Size", count(whole.size, "byte")],
  ];
  dialog.replaceChildren(
    h("header", {}, h("h2", { id: "sheet-title" }, summary.title || CHANNELS[summary.channel]), close),
    h(
      "div",
      { class: "sheet-body" },
      h("p", { class: "sheet-text" }, summary.body),
      h(
        "dl",
        {},
        told.map(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]),
      ),
      h("h3", {}, "Source"),
      h("pre", { tabindex: 0 }, whole.source),
    ),
  );
}

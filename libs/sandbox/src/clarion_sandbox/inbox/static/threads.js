// Two panes: what there is on the left, what is read on the right; a narrow page shows one of them.

import { appIcon, byDestination, count, empty, h, sender, when } from "./dom.js";

const TABS = [
  ["text", "Text"],
  ["html", "HTML"],
  ["headers", "Headers"],
  ["source", "Source"],
];

/** ui: {selected: {sms, mail}, select(view, key), expanded: Set, toggle(key), whole: Map, load(n), mailTab, showTab(tab)}. */
export function sms(messages, ui) {
  if (!messages.length)
    return [empty("No phone has a text message", "Texts that the SMSC or the Twilio door takes arrive here.")];
  const threads = byDestination(messages);
  const chosen = threads.has(ui.selected.sms) ? ui.selected.sms : null;
  const number = chosen ?? threads.keys().next().value;
  const list = [...threads].map(([destination, thread]) =>
    row("sms", destination, destination === number, ui, [
      h("span", { class: "row-top" }, h("strong", {}, phone(destination)), when(thread[0].received_at)),
      h("span", { class: "row-text" }, thread[0].body),
    ]),
  );
  const bubbles = threads
    .get(number)
    .toReversed()
    .map((message) => bubble(message, ui));
  return panes("sms", "Numbers", chosen, list, ui, [
    h(
      "header",
      { class: "pane-top" },
      back("sms", ui),
      h("h2", {}, phone(number)),
      h("p", {}, count(threads.get(number).length, "message")),
    ),
    h("ol", { class: "bubbles" }, bubbles),
  ]);
}

function bubble(message, ui) {
  const key = `segments ${message.n}`;
  const open = ui.expanded.has(key);
  const { segments, alphabet, units } = message.facts;
  const parts = open ? ui.whole.get(message.n)?.segments : null;
  const words = parts
    ? parts.map((part, place) => h("span", { class: "segment" }, part, h("sup", {}, `${place + 1}/${parts.length}`)))
    : message.body;
  const unit = alphabet === "GSM-7" ? "septet" : alphabet === "UCS-2" ? "unit" : "character";
  const toggle = () => {
    ui.toggle(key);
    ui.load(message.n);
  };
  return h(
    "li",
    { class: "bubble-line" },
    h("p", { class: "bubble-from" }, phone(message.app)),
    h("p", { class: "bubble" }, words),
    h(
      "p",
      { class: "bubble-meta" },
      when(message.received_at),
      h(
        "button",
        { "data-key": key, "data-item": true, "aria-expanded": String(open), onclick: toggle },
        count(segments, "segment"),
      ),
      open && h("span", {}, `${alphabet}, ${count(units, unit)}`),
    ),
  );
}

/** +49 170 1234567 reads better in groups. */
function phone(destination) {
  const digits = destination.replace(/^\+/, "");
  return /^\d{7,15}$/.test(digits)
    ? `+${digits.slice(0, 2)} ${digits.slice(2).replace(/(\d{3})(?=\d{3})/g, "$1 ")}`
    : destination;
}

export function mail(messages, ui) {
  if (!messages.length)
    return [empty("No mailbox has mail", "Mails that the SMTP, SES or SendGrid door takes arrive here.")];
  const chosen = messages.find((message) => message.n === ui.selected.mail);
  const open = chosen ?? messages[0];
  ui.load(open.n);
  const list = messages.map((message) =>
    row("mail", message.n, message === open, ui, [
      h("span", { class: "row-top" }, h("strong", {}, sender(message)), when(message.received_at)),
      h("span", { class: "row-subject" }, message.title || "(no subject)"),
      h("span", { class: "row-text" }, message.body),
    ]),
  );
  return panes("mail", "Mails", chosen, list, ui, reader(open, ui.whole.get(open.n), ui));
}

function reader(message, whole, ui) {
  const top = h(
    "header",
    { class: "pane-top mail-top" },
    back("mail", ui),
    h("h2", {}, message.title || "(no subject)"),
    h(
      "div",
      { class: "mail-people" },
      appIcon(message),
      h(
        "div",
        {},
        h("p", {}, h("strong", {}, sender(message)), sender(message) !== message.app && ` ${message.app}`),
        h("p", {}, "to ", message.destination),
      ),
      when(message.received_at),
    ),
  );
  if (!whole?.mail)
    return [top, h("p", { class: "loading" }, whole?.failed ? "This mail is no longer kept." : "Loading")];
  const there = TABS.filter(([name]) => name !== "html" || whole.mail.has_html).filter(
    ([name]) => name !== "text" || whole.mail.text !== null,
  );
  const tab = there.some(([name]) => name === ui.mailTab) ? ui.mailTab : there[0][0];
  const tabs = h(
    "div",
    { class: "mail-tabs", role: "tablist", "aria-label": "Parts of the mail" },
    there.map(([name, label]) =>
      h(
        "button",
        {
          role: "tab",
          "data-key": `tab ${name}`,
          "aria-selected": String(name === tab),
          tabindex: name === tab ? 0 : -1,
          onclick: () => ui.showTab(name),
        },
        label,
      ),
    ),
  );
  const body = h(
    "div",
    { class: `mail-body mail-${tab}`, role: "tabpanel", tabindex: 0, "data-key": "mail body", "aria-label": tab },
    bodies[tab](whole),
  );
  const files = whole.mail.attachments;
  return [
    top,
    tabs,
    body,
    files.length > 0 &&
      h(
        "ul",
        { class: "files", "aria-label": "Attachments" },
        files.map((file) =>
          h("li", {}, h("strong", {}, file.name), ` ${file.content_type}, ${count(file.size, "byte")}${file.inline ? ", in the text" : ""}`),
        ),
      ),
  ].filter(Boolean);
}

const bodies = {
  text: (whole) => h("pre", {}, whole.mail.text),
  html: (whole) =>
    h("iframe", { src: whole.html_path, sandbox: "", referrerpolicy: "no-referrer", title: "The mail's HTML" }),
  headers: (whole) =>
    h(
      "dl",
      {},
      whole.mail.headers.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
    ),
  source: (whole) =>
    [
      h("pre", {}, whole.source),
      whole.source_cut && h("p", { class: "cut" }, `Cut: the mail has ${count(whole.size, "byte")}.`),
    ].filter(Boolean),
};

function row(view, key, current, ui, children) {
  const attributes = {
    class: "row",
    "data-item": true,
    "data-key": `${view} ${key}`,
    "aria-current": current && "true",
    onclick: () => ui.select(view, key),
  };
  return h("li", {}, h("button", attributes, children));
}

function back(view, ui) {
  return h("button", { class: "back", "data-key": "back", onclick: () => ui.select(view, null) }, "Back");
}

function panes(view, label, chosen, list, ui, pane) {
  return [
    h(
      "div",
      { class: `panes panes-${view}`, "data-open": chosen != null && "true" },
      h("ol", { class: "rows", "aria-label": label }, list),
      h("article", { class: "pane" }, pane),
    ),
  ];
}

// The laboratory: all contexts, what each has, and what wants somebody's attention.

import { isLate, lockText, objectPath, tone } from "./status.js";
import { byId, bytes, duration, h, keyed, moment, number, pageData, setAttribute, setText, settled } from "./dom.js";
import { pushes } from "./push.js";

const MARKS = {
  failed: { label: "failed", tone: "bad", is: (object) => object.state === "failed" || object.state === "restarting" },
  locked: { label: "locked", tone: "busy", is: (object) => Boolean(object.lock) },
  late: { label: "late", tone: "busy", is: (object) => isLate(object.task) },
  busy: { label: "busy", tone: "", is: (object) => Boolean(object.busy) },
};
const isDown = (seen) => seen.state === "no answer" || (seen.state === "not running" && (seen.configured || seen.since));
let contexts = pageData();
let words = [];
let mark = "";

function wanted(seen, object) {
  if (mark && !MARKS[mark].is(object)) return false;
  if (!words.length) return true;
  const lock = object.lock ? `locked ${object.lock.holder} ${object.lock.user} ${object.lock.reason}` : "";
  const text = `${seen.name}.${object.name} ${object.category} ${object.class} ${object.state} ${lock} ${object.last_error?.error || ""}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

const objectsOf = (seen) => (seen.status?.objects || []).filter((object) => !object.name.startsWith("$"));

function makeContext(seen) {
  const state = h("span", { class: "state" });
  const facts = h("span", { class: "facts" });
  const note = h("p", { class: "note" });
  const body = h("tbody", { class: "live" });
  const table = h("div", { class: "scroll" }, h("table", { class: "objects", "aria-label": `Objects of ${seen.name}` },
    h("thead", {}, h("tr", {},
      h("th", { scope: "col" }, "Object"), h("th", { scope: "col", class: "middle" }, "Kind"), h("th", { scope: "col" }, "State"),
      h("th", { scope: "col" }, "Lock"), h("th", { scope: "col", class: "middle" }, "Now"),
      h("th", { scope: "col", class: "num wide" }, "Queue"), h("th", { scope: "col", class: "num wide" }, "Calls"),
      h("th", { scope: "col", class: "num wide" }, "Errors"), h("th", { scope: "col", class: "wide" }, "Last error"))),
    body));
  const heading = h("h2", { id: `context-${seen.name}` }, seen.name);
  const card = h("section", { class: "card", "aria-labelledby": heading.id }, h("header", {}, heading, state, facts), note, table);
  card.parts = { state, facts, note, body, table };
  return card;
}

function updateContext(card, { seen, objects }) {
  const { state, facts, note, body, table } = card.parts;
  setText(state, seen.since ? `${seen.state} since ${moment(seen.since)}` : seen.state);
  setAttribute(state, "class", `state ${isDown(seen) ? "bad" : tone(seen.state)}`);
  const status = seen.status;
  const told = [
    seen.address,
    seen.host && seen.host !== seen.address?.split(":")[0] && seen.host,
    seen.uptime !== null && `up ${duration(seen.uptime)}`,
    status?.process?.memory > 0 && bytes(status.process.memory),
    seen.round_trip !== null && `answers in ${duration(seen.round_trip)}`,
    seen.version && `qmi ${seen.version}`,
    seen.tls && "TLS",
  ].filter(Boolean);
  keyed(facts, told, (text) => told.indexOf(text), () => h("span"), setText);
  const all = objectsOf(seen).length;
  const said = seen.why || (status && !all ? "No objects." : all && !objects.length ? `None of its ${all} objects is meant by the search.` : "");
  setText(note, said);
  setAttribute(note, "class", isDown(seen) ? "note bad" : "note");
  note.hidden = !said;
  table.hidden = !objects.length;
  keyed(body, objects, (object) => object.name, (object) => makeObject(seen, object), (row, object) => updateObject(row, seen, object));
}

function makeObject(seen, object) {
  const cell = (name, ...children) => h("td", { class: name }, ...children);
  const parts = {
    state: h("span", { class: "state" }), kind: cell("middle"), lock: cell(""), now: cell("middle clip"),
    queue: cell("num wide"), calls: cell("num wide"), errors: cell("num wide"), error: cell("wide clip"),
    below: h("div", { class: "below" }),
  };
  const name = h("a", { href: objectPath(seen.name, object.name) }, object.name);
  const row = h("tr", {}, h("th", { scope: "row" }, name, object.simulated && [" ", h("span", { class: "tag" }, "simulated")], parts.below),
    parts.kind, h("td", {}, parts.state), parts.lock, parts.now, parts.queue, parts.calls, parts.errors, parts.error);
  row.parts = parts;
  return row;
}

function updateObject(row, seen, object) {
  const { parts } = row;
  const now = seen.status.now;
  setText(parts.kind, object.class?.split(".").pop() || object.category);
  setAttribute(parts.kind, "title", `${object.category} ${object.class}`);
  setText(parts.state, object.state || "unknown");
  setAttribute(parts.state, "class", `state ${tone(object.state)}`);
  setAttribute(parts.state, "title", object.why || null);
  setText(parts.lock, object.lock ? lockText(object.lock) : "");
  setAttribute(parts.lock, "class", object.lock ? "busy" : "");
  setAttribute(parts.lock, "title", object.lock ? `since ${duration(now - object.lock.since)}` : null);
  setText(parts.now, object.busy ? `${object.busy.what} ${duration(now - object.busy.since)}` : taskText(object.task));
  setAttribute(parts.now, "title", object.busy ? `for ${object.busy.for} ${object.busy.where}` : null);
  parts.now.classList.toggle("busy", isLate(object.task));
  setText(parts.queue, object.queue || "");
  setText(parts.calls, object.calls ? number(object.calls) : "");
  setText(parts.errors, object.errors ? number(object.errors) : "");
  const error = object.why || object.last_error?.error || object.task?.failure || "";
  setText(parts.error, error);
  setAttribute(parts.error, "title", error || null);
  setText(parts.below, object.state === "failed" ? error : "");
}

function taskText(task) {
  if (!task || !task.period) return "";
  const missed = task.missed ? `, ${number(task.missed)} missed` : "";
  return `each ${duration(task.period)}, late ${duration(task.lateness_p99)}${missed}`;
}

const buttons = {};

function makeMarks() {
  for (const [name, { label, tone: colour }] of Object.entries(MARKS)) {
    buttons[name] = h("button", { type: "button", class: colour, "aria-pressed": "false", onclick: () => choose(name) }, label);
    byId("marks").append(buttons[name]);
  }
}

function choose(name) {
  mark = mark === name ? "" : name;
  for (const [other, button] of Object.entries(buttons)) setAttribute(button, "aria-pressed", String(other === mark));
  show();
}

function show() {
  const all = contexts.flatMap(objectsOf);
  for (const [name, { label, is }] of Object.entries(MARKS)) {
    const count = all.filter(is).length;
    setText(buttons[name], `${count} ${label}`);
    setAttribute(buttons[name], "data-count", count);
  }
  const narrowed = Boolean(mark || words.length);
  const shown = contexts
    .map((seen) => ({ seen, objects: objectsOf(seen).filter((object) => wanted(seen, object)) }))
    .filter(({ seen, objects }) => !narrowed || objects.length || (!mark && words.every((word) => `${seen.name} ${seen.state}`.toLowerCase().includes(word))));
  keyed(byId("contexts"), shown.length ? shown : [null], (item) => item?.seen.name ?? "", (item) => (item ? makeContext(item.seen) : h("p", { class: "dim" })), (element, item) => {
    if (item) updateContext(element, item);
    else setText(element, narrowed ? "Nothing is meant by this." : "No context answers on the network, and the configuration has none.");
  });
  const objects = shown.reduce((sum, { objects: found }) => sum + found.length, 0);
  const down = contexts.filter(isDown).length;
  setText(byId("found"), narrowed ? `${objects} of ${all.length} objects` : `${contexts.length} context${contexts.length === 1 ? "" : "s"}, ${all.length} objects${down ? `, ${down} not running` : ""}`);
}

makeMarks();
byId("find").addEventListener("input", settled(() => {
  words = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  show();
}, 80));
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) {
    event.preventDefault();
    byId("find").focus();
  }
});
show();

// The list of contexts is one topic, and how each is, another one: only what has changed is sent.
const watched = new Map();

function watch() {
  for (const { name } of contexts) {
    if (!watched.has(name)) watched.set(name, pushes.on(`status:${name}`, (seen) => newer(seen)));
  }
  for (const [name, end] of watched) {
    if (!contexts.some((seen) => seen.name === name)) {
      end();
      watched.delete(name);
    }
  }
}

const showSoon = settled(show, 20);

function newer(seen) {
  if (seen.error) return;
  contexts = contexts.map((known) => (known.name === seen.name ? seen : known));
  showSoon();
}

watch();
pushes.on("site", (list) => {
  if (list.error) return;
  const known = new Map(contexts.map((seen) => [seen.name, seen]));
  contexts = list.map((seen) => (known.get(seen.name)?.state === seen.state ? known.get(seen.name) : seen));
  watch();
  showSoon();
});

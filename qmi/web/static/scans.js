// The scans that go on, wait and have ended: their progress, and what may be done with them and with their queues.

import { path, post, refused, remove, user } from "./api.js";
import { ask, byId, duration, h, keyed, moment, number, say, setAttribute, setText } from "./dom.js";
import { pushes } from "./push.js";
import { tone } from "./status.js";

const OVER = new Set(["done", "stopped", "aborted", "failed", "interrupted", "removed"]);
const ENDED_SHOWN = 20;

async function attempt(action, said) {
  setText(byId("problem"), "");
  try {
    await action();
    say(said);
  } catch (error) {
    refused(byId("problem"), error);
  }
}

async function act(scan, what, text) {
  if (what === "abort" && !(await ask(`Abort ${scan.id}?`, [h("p", {}, "It ends at once, in the middle of a point; the points so far are kept.")], "Abort", { danger: true }))) return;
  await attempt(() => post(path("scans", scan.context, scan.id, what)), `${scan.id}: ${text}`);
}

const ofQueue = (scan) => path("queues", scan.context, scan.queue, "scans", scan.id);

const move = (scan, position) => attempt(async () => newer(await post(`${ofQueue(scan)}/move`, { position })), `${scan.id} is number ${position + 1} of those that wait`);

async function drop(scan) {
  if (!(await ask(`Remove ${scan.id}?`, [h("p", {}, `${scan.what}${scan.comment ? ` (${scan.comment})` : ""} is not carried out then.`)], "Remove", { danger: true }))) return;
  await attempt(async () => newer(await remove(ofQueue(scan))), `${scan.id} is removed`);
}

function make(scan) {
  const parts = {
    state: h("span", { class: "state" }), reason: h("div", { class: "doc" }), bar: h("progress", { "aria-label": `Progress of ${scan.id}` }),
    points: h("div", { class: "doc" }), run: h("td", { role: "cell" }), actions: h("td", { role: "cell", class: "actions" }), buttons: {},
  };
  // On a phone its cells stand below each other; that it is a table has to be said then.
  const row = h("tr", { role: "row" }, h("th", { scope: "row", role: "rowheader" }, scan.comment || scan.id, h("div", { class: "doc" }, scan.comment && `${scan.id}: `, scan.what)),
    h("td", { role: "cell" }, parts.state, parts.reason), h("td", { role: "cell" }, parts.bar, parts.points),
    h("td", { role: "cell", class: "wide" }, [scan.user, scan.host].filter(Boolean).join("@"), h("div", { class: "doc clip" }, scan.program)), parts.run, parts.actions);
  const button = (what, text, onclick, danger) => {
    parts.buttons[what] = h("button", { type: "button", "aria-label": `${text}: ${scan.id}`, class: danger ? "danger" : null, onclick }, text);
    if (user) parts.actions.append(parts.buttons[what], " ");
  };
  for (const [what, text] of [["pause", "Pause"], ["resume", "Go on"], ["stop", "Stop"], ["abort", "Abort"]]) button(what, text, () => act(row.scan, what, text), what === "abort");
  button("earlier", "Earlier", () => move(row.scan, Math.max(0, row.scan.position - 1)));
  button("later", "Later", () => move(row.scan, row.scan.position + 1));
  button("remove", "Remove", () => drop(row.scan), true);
  row.parts = parts;
  return row;
}

function update(row, scan) {
  row.scan = scan;
  const { parts } = row;
  const waits = scan.position >= 0;
  const over = OVER.has(scan.state);
  setText(parts.state, waits && scan.state === "waiting" ? `waiting, number ${scan.position + 1}` : scan.state);
  setAttribute(parts.state, "class", `state ${scan.state === "running" ? "good" : tone(scan.state)}`);
  setText(parts.reason, scan.reason);
  if (scan.length) {
    parts.bar.max = scan.length;
    parts.bar.value = scan.points;
  } else parts.bar.removeAttribute("value");
  parts.bar.hidden = !scan.started || over;
  const ran = scan.started ? (scan.ended || Date.now() / 1000) - scan.started : 0;
  const left = scan.length && scan.points && !scan.ended ? (ran / scan.points) * (scan.length - scan.points) : 0;
  setText(parts.points, [`${number(scan.points)}${scan.length ? ` of ${number(scan.length)}` : ""} points`, scan.started ? duration(Math.floor(ran)) : scan.submitted && `since ${moment(scan.submitted)}`, left > 1 && `${duration(Math.floor(left))} left`, over && scan.ended && `ended ${moment(scan.ended)}`].filter(Boolean).join(", "));
  if (scan.run_id && !parts.run.firstChild) parts.run.append(h("a", { "aria-label": `Data of ${scan.id}`, href: `/runs/${encodeURIComponent(scan.run_id)}?context=${encodeURIComponent(scan.context)}` }, "Data"));
  const runs = !over && !waits;
  parts.buttons.pause.hidden = !runs || scan.state === "paused" || !scan.started;
  parts.buttons.resume.hidden = !runs || scan.state !== "paused";
  parts.buttons.stop.hidden = !runs;
  parts.buttons.abort.hidden = !runs;
  for (const what of ["earlier", "later", "remove"]) parts.buttons[what].hidden = !waits;
  const { earlier, later } = parts.buttons;
  const focused = document.activeElement;
  earlier.disabled = scan.position === 0;
  later.disabled = scan.position === scan.last;
  if (focused === earlier && earlier.disabled) later.focus();
  else if (focused === later && later.disabled) earlier.focus();
}

function table(label, rows) {
  return h("div", { class: "scroll" }, h("table", { role: "table", "aria-label": label, class: "scans" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Scan"), h("th", { scope: "col" }, "State"), h("th", { scope: "col" }, "Progress"), h("th", { scope: "col", class: "wide" }, "Who"), h("th", { scope: "col" }, "Run"), h("th", { scope: "col" }, h("span", { class: "unseen" }, "Actions")))), rows));
}

function makeGroup(group) {
  const parts = {
    state: h("span", { class: "state" }), why: h("span", { class: "facts" }), rows: h("tbody", { class: "live" }), ended: h("tbody", {}), note: h("p", { class: "note" }, "No scan runs, and none waits."),
    count: h("summary", { class: "dim" }), pause: null, resume: null, older: null,
  };
  const id = `group-${group.key}`;
  if (group.queue) {
    const name = `${group.context}.${group.queue}`;
    parts.pause = h("button", { type: "button", "aria-label": `Pause the queue ${name}`, onclick: async () => {
      const given = await ask(`Pause the queue ${name}?`, [h("p", {}, "The scan that runs goes on; no other one begins."), h("label", {}, "Why", h("input", { name: "reason", autocomplete: "off" }))], "Pause");
      if (given) attempt(async () => newer(await post(path("queues", group.context, group.queue, "pause"), { reason: given.get("reason") })), `The queue ${name} is paused`);
    } }, "Pause the queue");
    parts.resume = h("button", { type: "button", class: "primary", "aria-label": `Go on with the queue ${name}`, onclick: () => attempt(async () => newer(await post(path("queues", group.context, group.queue, "resume"))), `The queue ${name} goes on`) }, "Go on with the queue");
  }
  parts.table = table(group.title, parts.rows);
  parts.older = h("details", { class: "method" }, parts.count, table(`Scans of ${group.title} that have ended`, parts.ended));
  const card = h("section", { class: "card", "aria-labelledby": id },
    h("header", {}, h("h2", { id }, group.title), group.queue && parts.state, parts.why, user && group.queue && h("span", { class: "push-right" }, parts.pause, parts.resume)),
    parts.note, parts.table, parts.older);
  card.parts = parts;
  return card;
}

function updateGroup(card, group) {
  const { parts } = card;
  if (group.queue) {
    setText(parts.state, group.paused === null ? "goes on" : "paused");
    setAttribute(parts.state, "class", `state ${group.paused === null ? "good" : "busy"}`);
    setText(parts.why, group.paused);
    parts.pause.hidden = group.paused !== null;
    parts.resume.hidden = group.paused === null;
  }
  const present = group.scans.filter((scan) => !OVER.has(scan.state));
  const over = group.scans.filter((scan) => OVER.has(scan.state)).reverse().slice(0, ENDED_SHOWN);
  keyed(parts.rows, present, (scan) => scan.id, make, update);
  keyed(parts.ended, over, (scan) => scan.id, make, update);
  parts.note.hidden = present.length > 0;
  parts.table.hidden = !present.length;
  parts.older.hidden = !over.length;
  setText(parts.count, `${over.length} that ${over.length === 1 ? "has" : "have"} ended`);
}

let scans = [];
let queues = [];
const told = new Set();

function show() {
  const queued = new Set(queues.flatMap((queue) => queue.scans.map((scan) => `${scan.context} ${scan.id}`)));
  const groups = queues.map((queue) => {
    const waiting = queue.scans.filter((scan) => scan.started === null && !OVER.has(scan.state));
    return {
      ...queue, key: `${queue.context}-${queue.queue}`, title: `${queue.context}.${queue.queue}`,
      scans: queue.scans.map((scan) => ({ ...scan, queue: queue.queue, position: waiting.indexOf(scan), last: waiting.length - 1 })),
    };
  });
  const others = scans.filter((scan) => !queued.has(`${scan.context} ${scan.id}`));
  for (const name of new Set(others.map((scan) => scan.context))) {
    groups.push({ key: `of ${name}`.replace(" ", "-"), title: `Scans of ${name}`, context: name, queue: "", paused: null, scans: others.filter((scan) => scan.context === name).map((scan) => ({ ...scan, position: -1 })) });
  }
  keyed(byId("groups"), groups, (group) => group.key, makeGroup, updateGroup);
  byId("none").hidden = groups.length > 0 || told.size < 2;
}

/** A queue, as the answer to a change of it has it. */
function newer(queue) {
  queues = queues.map((known) => (known.context === queue.context && known.queue === queue.queue ? queue : known));
  show();
}

function take(topic, list, keep) {
  if (list.error) {
    setText(byId("problem"), list.error.message);
    return;
  }
  told.add(topic);
  keep(list);
  show();
}

pushes.on("scans", (list) => take("scans", list, (found) => { scans = found; }));
pushes.on("queues", (list) => take("queues", list, (found) => { queues = found; }));

// An object: its values, its methods, its lock, and what it does.

import { ApiError, get, path, user } from "./api.js";
import { byId, duration, h, keyed, moment, number, setAttribute, setText, valueText } from "./dom.js";
import { setGates } from "./gates.js";
import { showLock } from "./locks.js";
import { showMethods } from "./methods.js";
import { LivePlot, sourceOf } from "./plot.js";
import { pushes } from "./push.js";
import { Spark } from "./spark.js";
import { isLate, lockText, tone } from "./status.js";
import { showTask } from "./task.js";
import { showTraffic } from "./traffic.js";
import { showValues } from "./values.js";

const [, , context, object] = location.pathname.split("/").map(decodeURIComponent);
const address = `${context}.${object}`;
const api = (...parts) => path("objects", context, object, ...parts);

let plot = null;

function problem(error) {
  setText(byId("problem"), error instanceof ApiError ? error.text : error ? String(error) : "");
}

function toggle(button, text, unit) {
  const on = button.getAttribute("aria-pressed") !== "true";
  setAttribute(button, "aria-pressed", String(on));
  byId("plot-card").hidden = false;
  plot ||= new LivePlot(byId("plot"), []);
  if (on) plot.add({ ...sourceOf(text), unit: unit || "", label: text.slice(address.length + 1) });
  else plot.remove(text);
  byId("plot-card").hidden = !plot.sources.length;
}

// Signals

function showSignals(signals) {
  // The signals that publish parameters are shown as these.
  const shown = signals.filter((signal) => signal.name !== "sig_changed" && ![...byId("value-rows").children].some((row) => signal.name === `sig_${row.info.name}`));
  byId("signals").hidden = !shown.length;
  keyed(byId("signal-rows"), shown, (signal) => signal.name, (signal) => {
    const value = h("div", { class: "clip" }, "—");
    const isPlain = ["float", "int"].includes(signal.types[0]);
    const spark = isPlain && new Spark();
    pushes.on(`signal:${address}.${signal.name}`, (told) => {
      if (told.args) setText(value, told.args.map((entry) => valueText(entry)).join(", "));
      if (told.args && spark) spark.push(told.args[0]);
      else if (told.gap) setText(value, `(${told.gap})`);
    });
    const buttons = signal.types.map((type, index) => ["float", "int"].includes(type) && h("button", {
      type: "button", class: "quiet", "aria-pressed": "false", "aria-label": `Plot ${signal.name}, value ${index + 1}`,
      onclick: (event) => toggle(event.currentTarget, `${address}.${signal.name}[${index}]`, ""),
    }, signal.types.length > 1 ? `Plot ${index + 1}` : "Plot"));
    return h("tr", {}, h("th", { scope: "row" }, signal.name, h("div", { class: "doc" }, signal.types.join(", "))), h("td", {}, value, spark && spark.element), h("td", { class: "actions" }, buttons));
  }, () => {});
}

// State

function showState(seen) {
  byId("state-card").hidden = false;
  const status = seen.status;
  const entry = status?.objects.find((each) => each.name === object);
  const facts = [];
  const add = (name, text, kind = "") => text && facts.push({ name, text: String(text), kind });
  if (!entry) {
    add("State", status ? "not there" : `context ${seen.state}`, "state bad");
  } else {
    const now = status.now;
    add("State", entry.state, `state ${tone(entry.state)}`);
    add("Why", entry.why, "bad");
    add("Busy", entry.busy && now - entry.busy.since > 1 && `${entry.busy.what} for ${entry.busy.for || context}, ${duration(now - entry.busy.since)}`, "busy");
    add("At", entry.busy && now - entry.busy.since > 1 && entry.busy.where, "mono");
    add("Waiting calls", entry.queue);
    add("Calls", `${number(entry.calls)}${entry.errors ? `, ${number(entry.errors)} failed` : ""}`);
    add("Last error", entry.last_error && `${entry.last_error.what}: ${entry.last_error.error}`, "bad");
    add("", entry.last_error && `${moment(entry.last_error.time)}, called by ${entry.last_error.for || context}`, "dim");
    add("Device", entry.simulated && "simulated");
  }
  const names = facts.map((fact, index) => fact.name || `${facts[index - 1].name} when`);
  keyed(byId("state"), facts, (fact) => names[facts.indexOf(fact)], (fact) => h("div", {}, h("dt", {}, fact.name), h("dd")), (element, fact) => {
    setText(element.lastChild, fact.text);
    setAttribute(element.lastChild, "class", fact.kind || null);
  });
  showLost(seen, entry);
  if (entry) {
    byId("lock").hidden = false;
    showLock(byId("lock-body"), address, entry.lock, status.now, (isMine) => showAccess(entry.lock, isMine));
    byId("task").hidden = !entry.task;
    if (entry.task) showTask(byId("task-body"), context, object, entry.task, isLate(entry.task));
  }
}

let lost = "";
let held = "";
let wasThere = false;

const gate = () => setGates(lost, held);

/** Whether the program is not there, and since when. */
function showLost(seen, entry) {
  wasThere ||= Boolean(entry);
  const next = wasThere ? "What is shown is as it was then; the page goes on by itself when it is back." : "The page shows it as soon as it is there.";
  const since = seen.since ? ` since ${moment(seen.since)}` : "";
  lost = seen.status && entry ? "" : seen.status ? `There is no ${address}${wasThere ? " now" : ""}` : `Context ${context} is ${seen.state === "no answer" ? "not answering" : seen.state}`;
  setText(byId("lost"), lost && `${lost}${since}.${seen.why ? ` ${seen.why}.` : ""} ${next}`);
  byId("lost").hidden = !lost;
  setAttribute(document.body, "data-lost", lost ? "true" : null);
  gate();
}

/** Whether somebody else holds the lock: then nothing can be changed here. */
function showAccess(lock, isMine) {
  held = lock && !isMine ? `Locked by ${lockText(lock)}` : "";
  setText(byId("held"), held && `${held}. Values are shown as they come; they can be changed when it is released, or taken over.`);
  byId("held").hidden = !held;
  gate();
}

/** What is known of the parameters; of an object that somebody else has locked, what needs no question to it. */
async function infosOf(briefs) {
  try {
    return await get(api("parameters"));
  } catch (error) {
    if (error.status !== 423) throw error;
    return briefs.map((brief) => ({ ...brief, limits: null, values: null, step: null, time: null, value: null }));
  }
}

let isAsking = false;
let isWantedAgain = false;

/** Asks what the object offers, and shows it. Once at a time: of two answers, the older one may come last. */
async function begin() {
  isWantedAgain = isAsking;
  if (isAsking) return;
  isAsking = true;
  problem(null);
  try {
    const found = await get(api());
    document.title = `${address} · qmi`;
    const isTask = found.category === "task" && found.status;
    setText(byId("about"), isTask ? found.status.class : [found.class.split(".").pop(), found.doc.split("\n")[0]].filter(Boolean).join(": "));
    const infos = found.parameters.length ? await infosOf(found.parameters) : [];
    showValues(infos, toggle);
    setText(byId("values-note"), user ? "" : "Log in to change them");
    showSignals(found.signals);
    showMethods(byId("method-list"), context, object, found.methods, infos);
    byId("methods").hidden = !found.methods.length;
    isShown = true;
    lookAtTraffic();
  } catch (error) {
    problem(error);
  }
  isAsking = false;
  if (isWantedAgain) begin();
}

let isShown = false;
let incarnation = "";
let state = "";
const lookAtTraffic = showTraffic(context, object);
pushes.on(`status:${context}`, (seen) => {
  if (seen.error) return;
  showState(seen);
  const entry = seen.status?.objects.find((each) => each.name === object);
  if (!entry) return;
  // A program that was started again may offer something else; so may an object that was made anew.
  if ((!isShown && !isAsking) || (incarnation && seen.status.incarnation !== incarnation)) begin();
  if (state && entry.state !== state) lookAtTraffic(); // a transport may be made when the instrument is opened
  incarnation = seen.status.incarnation;
  state = entry.state;
});
begin();

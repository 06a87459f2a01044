// An object: its values, its methods, its lock, and what it does.

import { ApiError, errorText, get, path, put, refused, user } from "./api.js";
import { byId, duration, h, keyed, moment, number, setAttribute, setText, settled, valueText } from "./dom.js";
import { showLock } from "./locks.js";
import { showMethods } from "./methods.js";
import { LivePlot, sourceOf } from "./plot.js";
import { pushes } from "./push.js";
import { isLate, tone } from "./status.js";
import { showTask } from "./task.js";

const [, , context, object] = location.pathname.split("/").map(decodeURIComponent);
const address = `${context}.${object}`;
const api = (...parts) => path("objects", context, object, ...parts);

let plot = null;

function problem(error) {
  setText(byId("problem"), error instanceof ApiError ? error.text : error ? String(error) : "");
}

// Values

const limitsText = (info) => {
  if (info.values) return info.values.map(String).join(", ");
  const [low, high] = info.limits || [null, null];
  const unit = info.unit || "";
  const range = low !== null && high !== null ? `${number(low)} … ${number(high)} ${unit}`
    : low !== null ? `≥ ${number(low)} ${unit}` : high !== null ? `≤ ${number(high)} ${unit}` : "";
  return [range.trim(), info.step && `step ${number(info.step)}`].filter(Boolean).join(", ");
};

const isNumber = (info) => ["float", "int"].includes(info.type);

function makeValue(info) {
  const shown = h("button", { type: "button", class: "value", disabled: !(user && info.settable) });
  const place = h("span", { class: "place" }, shown);
  const wrong = h("div", { class: "error", role: "alert" });
  const age = h("td", { class: "wide dim" });
  const allowed = h("td", { class: "middle dim" });
  const actions = h("td", { class: "actions" },
    info.gettable && h("button", { type: "button", class: "quiet", "aria-label": `Read ${info.name}`, title: "Ask the device", onclick: () => read(row) }, "Read"),
    isNumber(info) && h("button", { type: "button", class: "quiet", "aria-pressed": "false", "aria-label": `Plot ${info.name}`, onclick: (event) => toggle(event.currentTarget, `${address}.${info.name}`, info.unit) }, "Plot"));
  const name = h("th", { scope: "row" }, h("span", { title: info.doc || null }, info.name), h("div", { class: "doc" }, info.doc?.split("\n")[0]));
  const row = h("tr", { class: /\[\d+\]/.test(info.name) ? "part" : "" }, name, h("td", {}, place, wrong), allowed, age, actions);
  Object.assign(row, { parts: { shown, place, wrong, age, allowed }, info, told: null });
  shown.addEventListener("click", () => edit(row));
  pushes.on(`value:${address}.${info.name}`, (told) => !told.gap && newest(row, told));
  if (info.time !== null) newest(row, info);
  else setText(shown, "—");
  return row;
}

function newest(row, told) {
  if (told.error) {
    setText(row.parts.wrong, told.error.message);
    return;
  }
  row.told = told;
  const text = valueText(told.member ?? told.value, told.member ? "" : row.info.unit);
  setText(row.parts.shown, text);
  setAttribute(row.parts.shown, "aria-label", row.parts.shown.disabled ? null : `${row.info.name}: ${text}. Change`);
  setAttribute(row.parts.shown, "title", typeof told.value === "number" ? `${told.value} ${row.info.unit || ""}` : null);
  aged(row);
}

function aged(row) {
  const seconds = row.told?.time ? Date.now() / 1000 - row.told.time : -1;
  setText(row.parts.age, seconds < 0 ? "" : seconds < 2 ? "now" : `${duration(Math.floor(seconds))}`);
}

async function read(row) {
  setText(row.parts.wrong, "");
  try {
    newest(row, { ...(await get(api("parameters", row.info.name))), time: Date.now() / 1000 });
  } catch (error) {
    setText(row.parts.wrong, errorText(error));
  }
}

function field(row) {
  const { info, told } = row;
  const label = `${info.name}${info.unit ? ` in ${info.unit}` : ""}`;
  const choices = info.values || (info.type === "bool" ? [true, false] : null);
  if (choices) {
    const now = told?.value;
    return h("select", { "aria-label": label }, choices.map((choice) =>
      h("option", { value: JSON.stringify(choice), selected: choice === now }, typeof choice === "boolean" ? (choice ? "on" : "off") : String(choice))));
  }
  return h("input", {
    type: "text", "aria-label": label, inputmode: isNumber(info) ? "decimal" : null, autocomplete: "off", spellcheck: "false",
    value: told && told.value !== null ? (typeof told.value === "object" ? JSON.stringify(told.value) : String(told.value)) : "",
  });
}

/** What was typed, as the server reads it: numbers as such, all else as it would be typed on a command line. */
function typed(input) {
  if (input.tagName === "SELECT") return JSON.parse(input.value);
  const text = input.value.trim();
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : input.value;
}

function edit(row) {
  const { shown, place, wrong } = row.parts;
  const input = field(row);
  const unit = row.info.unit && input.tagName === "INPUT" ? h("span", { class: "dim" }, ` ${row.info.unit}`) : null;
  const form = h("form", { class: "edit", novalidate: true }, input, unit,
    h("button", { class: "primary" }, "Set"), h("button", { type: "button", class: "quiet", onclick: () => end() }, "Cancel"));
  const end = () => {
    setText(wrong, "");
    place.replaceChildren(shown);
    shown.focus();
  };
  form.addEventListener("keydown", (event) => event.key === "Escape" && end());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    setText(wrong, "");
    setAttribute(input, "aria-invalid", null);
    const info = row.info;
    const value = info.type === "str" ? input.value : typed(input);
    try {
      newest(row, { ...(await put(api("parameters", info.name), { value })), time: Date.now() / 1000 });
      end();
      refreshLimits();
    } catch (error) {
      refused(wrong, error);
      setAttribute(input, "aria-invalid", "true");
      input.focus();
    }
  });
  place.replaceChildren(form);
  input.focus();
  input.select?.();
}

function showValues(infos) {
  byId("values").hidden = !infos.length;
  keyed(byId("value-rows"), infos, (info) => info.name, makeValue, (row, info) => {
    row.info = info;
    setText(row.parts.allowed, limitsText(info));
  });
}

// Limits may depend on other values, so they are asked for again when something was set.
const refreshLimits = settled(() => get(api("parameters")).then(showValues, problem), 200);

async function readAll() {
  byId("read-all").disabled = true;
  for (const row of byId("value-rows").children) if (row.info.gettable) await read(row);
  byId("read-all").disabled = false;
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
    const value = h("td", { class: "clip" }, "—");
    pushes.on(`signal:${address}.${signal.name}`, (told) => {
      if (told.args) setText(value, told.args.map((entry) => valueText(entry)).join(", "));
      else if (told.gap) setText(value, `(${told.gap})`);
    });
    const buttons = signal.types.map((type, index) => ["float", "int"].includes(type) && h("button", {
      type: "button", class: "quiet", "aria-pressed": "false", "aria-label": `Plot ${signal.name}, value ${index + 1}`,
      onclick: (event) => toggle(event.currentTarget, `${address}.${signal.name}[${index}]`, ""),
    }, signal.types.length > 1 ? `Plot ${index + 1}` : "Plot"));
    return h("tr", {}, h("th", { scope: "row" }, signal.name, h("div", { class: "doc" }, signal.types.join(", "))), value, h("td", { class: "actions" }, buttons));
  }, () => {});
}

// State

function showState(seen) {
  const status = seen.status;
  const entry = status?.objects.find((each) => each.name === object);
  const facts = [];
  const add = (name, text, kind = "") => text && facts.push({ name, text: String(text), kind });
  if (!entry) {
    add("State", seen.why || (status ? "There is no such object now" : `context ${seen.state}`), "state bad");
  } else {
    const now = status.now;
    add("State", entry.state, `state ${tone(entry.state)}`);
    add("Why", entry.why, "bad");
    add("Busy", entry.busy && `${entry.busy.what} for ${entry.busy.for || context}, ${duration(now - entry.busy.since)}`, "busy");
    add("At", entry.busy?.where, "mono");
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
  if (entry) {
    showLock(byId("lock-body"), address, entry.lock, status.now);
    byId("task").hidden = !entry.task;
    if (entry.task) showTask(byId("task-body"), context, object, entry.task, isLate(entry.task));
  }
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

async function begin() {
  problem(null);
  try {
    const found = await get(api());
    document.title = `${address} · qmi`;
    const isTask = found.category === "task" && found.status;
    setText(byId("about"), isTask ? found.status.class : [found.class.split(".").pop(), found.doc.split("\n")[0]].filter(Boolean).join(": "));
    const infos = found.parameters.length ? await infosOf(found.parameters) : [];
    showValues(infos);
    setText(byId("values-note"), user ? "" : "Log in to change them");
    showSignals(found.signals);
    showMethods(byId("method-list"), context, object, found.methods, found.parameters.map((each) => each.name));
    byId("methods").hidden = !found.methods.length;
  } catch (error) {
    problem(error);
  }
}

byId("read-all").addEventListener("click", readAll);
setInterval(() => {
  if (!document.hidden) for (const row of byId("value-rows").children) aged(row);
}, 1000);
let incarnation = "";
pushes.on(`status:${context}`, (seen) => {
  if (seen.error) return;
  showState(seen);
  // A program that was started again may offer something else.
  if (seen.status && incarnation && seen.status.incarnation !== incarnation) begin();
  incarnation = seen.status?.incarnation || incarnation;
});
begin();

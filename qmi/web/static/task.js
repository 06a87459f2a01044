// A task: its state, how punctual its loop is, its settings; starting and stopping it.

import { get, path, post, put, refused, user } from "./api.js";
import { duration, h, keyed, moment, number, setAttribute, setText } from "./dom.js";
import { applyGates, gated } from "./gates.js";
import { tone } from "./status.js";

const RUNS = new Set(["running", "restarting"]);
const CAN_START = new Set(["new", "failed"]); // what has ended is made anew by its program

function make(place, context, task) {
  const wrong = h("p", { class: "error", role: "alert" });
  const act = (what) => async () => {
    setText(wrong, "");
    try {
      await post(path("tasks", context, task, what));
    } catch (error) {
      refused(wrong, error);
    }
  };
  const shown = { state: "" };
  const start = gated(h("button", { type: "button", class: "primary", onclick: act("start") }, "Start"), () => CAN_START.has(shown.state));
  const stop = gated(h("button", { type: "button", onclick: act("stop") }, "Stop"), () => RUNS.has(shown.state));
  const facts = h("dl", { class: "facts-list flush" });
  const histogram = h("div", { class: "histogram" });
  const settings = h("div", {});
  place.replaceChildren(facts, user ? h("p", { class: "line" }, start, stop) : "", wrong, histogram, settings);
  place.qmiTask = { facts, shown, histogram };
  showSettings(settings, context, task);
}

/** Shows what the status of a task tells. */
export function showTask(place, context, name, task, late) {
  if (!place.qmiTask) make(place, context, name);
  const { facts, shown, histogram } = place.qmiTask;
  const told = [
    ["State", task.state, `state ${tone(task.state)}`],
    ["Why", task.reason],
    ["Error", task.failure && `${task.failure}${task.failed ? `, ${moment(task.failed)}` : ""}`, "bad"],
    ["Restarts", task.restarts ? `${task.restarts}${task.retry_in >= 0 ? `, again in ${duration(task.retry_in)}` : ""}` : ""],
    ["At", task.where, "mono"],
    ["Loop", task.period ? `each ${duration(task.period)}${task.policy ? `, ${task.policy.toLowerCase()}` : ""}` : ""],
    ["Iterations", task.period ? number(task.iterations) : ""],
    ["Missed", task.period ? number(task.missed) : "", task.missed ? "busy" : ""],
    ["Late", task.iterations ? `${duration(task.lateness_median)} (median), ${duration(task.lateness_p99)} (99 %), ${duration(task.lateness_worst)} (worst)` : "", late ? "busy" : ""],
  ].filter(([, text]) => text);
  keyed(facts, told, ([title]) => title, ([title]) => h("div", {}, h("dt", {}, title), h("dd")), (element, [, text, kind]) => {
    setText(element.lastChild, text);
    setAttribute(element.lastChild, "class", kind || null);
  });
  if (shown.state !== task.state) {
    shown.state = task.state;
    applyGates(place);
  }
  showHistogram(histogram, task.lateness || []);
}

/** How many iterations were how late, as a table whose rows have bars. */
function showHistogram(place, entries) {
  const shown = entries.map(([limit, count], index) => ({ limit, count, index })).filter(({ count }) => count);
  place.hidden = !shown.length;
  if (!shown.length) return;
  if (!place.firstChild) {
    place.append(h("table", {}, h("caption", {}, "Iterations by how late they began"),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Late"), h("th", { scope: "col", class: "num" }, "Iterations"), h("th", { scope: "col" }, h("span", { class: "unseen" }, "Part")))), h("tbody")));
  }
  const most = Math.max(...shown.map(({ count }) => count));
  keyed(place.querySelector("tbody"), shown, ({ limit }) => limit, ({ limit }) => h("tr", {}, h("th", { scope: "row" }, Number.isFinite(limit) && limit !== null ? `≤ ${duration(limit)}` : "more"), h("td", { class: "num" }), h("td", { class: "bar-cell" }, h("div", { class: "level" }))), (row, { count }) => {
    setText(row.children[1], number(count));
    row.children[2].firstChild.style.width = `${Math.max(1, (100 * count) / most)}%`;
  });
}

/** A field of the settings, with what its class says of it. */
function settingField(name, value, known = { type: "", unit: "", doc: "", default: "", choices: [], settable: true }) {
  const id = `setting-${name}`;
  const helped = known.doc ? { "aria-describedby": `${id}-help` } : {};
  const hint = [known.type.replace(/\b(?:\w+\.)+(\w+)/g, "$1"), known.unit && `in ${known.unit}`, known.default && `default ${known.default}`].filter(Boolean).join(", ");
  const input = typeof value === "boolean" ? h("input", { id, name, type: "checkbox", checked: value, ...helped })
    : known.choices.length ? h("select", { id, name, ...helped }, known.choices.map((choice) => h("option", { value: choice, selected: choice === String(value) }, choice)))
      : h("input", { id, name, type: "text", autocomplete: "off", spellcheck: "false", inputmode: typeof value === "number" && !known.unit ? "decimal" : null,
        value: value !== null && typeof value === "object" ? JSON.stringify(value) : String(value), ...helped });
  gated(input, () => Boolean(user) && known.settable);
  return h("div", { class: "argument" }, h("label", { for: id }, name, " ", h("span", { class: "dim" }, hint)),
    input,
    known.doc && h("div", { class: "doc", id: `${id}-help` }, known.doc));
}

async function showSettings(place, context, task) {
  let told;
  try {
    told = await get(path("tasks", context, task, "settings"));
  } catch {
    return; // it has none that could be shown
  }
  const settings = told.pending || told.settings;
  if (!settings || typeof settings !== "object" || Array.isArray(settings)) return;
  const wrong = h("p", { class: "error", role: "alert" });
  const done = h("span", { class: "good", role: "status" });
  const known = new Map((told.fields || []).map((field) => [field.name, field]));
  const fields = Object.entries(settings).map(([name, value]) => settingField(name, value, known.get(name)));
  const form = h("form", { novalidate: true }, h("h3", {}, "Settings"), fields, user && h("p", { class: "line" }, gated(h("button", {}, "Set")), done), wrong);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    setText(wrong, "");
    setText(done, "");
    const changes = {};
    for (const [name, value] of Object.entries(settings)) {
      const input = form.elements[name];
      setAttribute(input, "aria-invalid", null);
      const given = input.type === "checkbox" ? input.checked : input.value;
      if (given === value || String(value) === given || JSON.stringify(value) === given) continue;
      changes[name] = input.tagName === "SELECT" || typeof given === "boolean" ? given : typed(given, value, known.get(name)?.type || "");
    }
    try {
      Object.assign(settings, (await put(path("tasks", context, task, "settings"), changes)).settings);
      for (const name of Object.keys(changes)) show(form.elements[name], settings[name]); // 300 mV are 0.3 V
      setText(done, "Set");
    } catch (error) {
      refused(wrong, error);
      const input = error.argument && form.elements[error.argument];
      if (input) {
        setAttribute(input, "aria-invalid", "true");
        input.focus();
      }
    }
  });
  place.replaceChildren(form);
}

function show(input, value) {
  if (input.type === "checkbox") input.checked = value;
  else input.value = value !== null && typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** What was typed, as JSON for the server: it reads the rest by the declared type, as on a command line. */
function typed(text, value, type) {
  if (/\bNone\b/.test(type) && ["", "None", "null"].includes(text.trim())) return null;
  if (typeof value === "string" || /^str(\s*\|\s*None)?$/.test(type)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

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
  const fields = Object.entries(settings).map(([name, value]) => {
    const id = `setting-${name}`;
    const input = typeof value === "boolean" ? h("input", { id, name, type: "checkbox", checked: value })
      : h("input", { id, name, type: "text", autocomplete: "off", inputmode: typeof value === "number" ? "decimal" : null, value: typeof value === "object" ? JSON.stringify(value) : String(value) });
    gated(input, () => Boolean(user));
    return h("div", { class: "argument" }, h("label", { for: id }, name), input);
  });
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
      changes[name] = typeof value === "string" || typeof given === "boolean" ? given : parsed(given);
    }
    try {
      Object.assign(settings, (await put(path("tasks", context, task, "settings"), changes)).settings);
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

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

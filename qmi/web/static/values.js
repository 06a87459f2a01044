// The parameters of an object: their values as they come, with units and limits, and setting them.

import { errorText, get, path, put, refused, user } from "./api.js";
import { byId, duration, h, keyed, number, say, setAttribute, setText, settled, valueText } from "./dom.js";
import { applyGates, gated } from "./gates.js";
import { pushes } from "./push.js";
import { Spark } from "./spark.js";

const [, , context, object] = location.pathname.split("/").map(decodeURIComponent);
const address = `${context}.${object}`;
const api = (...parts) => path("objects", context, object, ...parts);

const limitsText = (info) => {
  if (info.values) return info.values.map(String).join(", ");
  const [low, high] = info.limits || [null, null];
  const unit = info.unit || "";
  const range = low !== null && high !== null ? `${number(low)} … ${number(high)} ${unit}`
    : low !== null ? `≥ ${number(low)} ${unit}` : high !== null ? `≤ ${number(high)} ${unit}` : "";
  return [range.trim(), info.step && `step ${number(info.step)}`].filter(Boolean).join(", ");
};

const isNumber = (info) => ["float", "int"].includes(info.type);

function makeValue(info, plotValue) {
  const shown = gated(h("button", { type: "button", class: "value" }), () => Boolean(user && info.settable));
  const spark = isNumber(info) && new Spark();
  const place = h("span", { class: "place" }, shown);
  const wrong = h("div", { class: "error", role: "alert", id: `wrong-${info.name}` });
  const age = h("td", { class: "wide dim" });
  const allowed = h("td", { class: "middle dim" });
  const below = h("div", { class: "doc only-narrow" });
  const actions = h("td", { class: "actions" },
    info.gettable && gated(h("button", { type: "button", class: "quiet", "aria-label": `Read ${info.name}`, title: "Ask the device", onclick: () => read(row) }, "Read")),
    isNumber(info) && h("button", { type: "button", class: "quiet", "aria-pressed": "false", "aria-label": `Plot ${info.name}`, onclick: (event) => plotValue(event.currentTarget, `${address}.${info.name}`, info.unit) }, "Plot"));
  const name = h("th", { scope: "row" }, h("span", { title: info.doc || null }, info.name), h("div", { class: "doc" }, info.doc?.split("\n")[0]), below);
  const row = h("tr", { class: /\[\d+\]/.test(info.name) ? "part" : "" }, name, h("td", {}, place, wrong), allowed, h("td", { class: "wide trend" }, spark && spark.element), age, actions);
  Object.assign(row, { parts: { shown, place, wrong, age, allowed, below, spark }, info, told: null });
  shown.addEventListener("click", () => edit(row));
  pushes.on(`value:${address}.${info.name}`, (told) => !told.gap && newest(row, told));
  if (info.time !== null) newest(row, info);
  else {
    setText(shown, "—");
    if (user && info.settable) setAttribute(shown, "aria-label", `${info.name}: not known. Change`);
  }
  return row;
}

function newest(row, told) {
  if (told.error) {
    setText(row.parts.wrong, told.error.message);
    return;
  }
  row.told = told;
  row.parts.spark && row.parts.spark.push(told.value);
  const text = valueText(told.member ?? told.value, told.member ? "" : row.info.unit);
  setText(row.parts.shown, text);
  setAttribute(row.parts.shown, "aria-label", user && row.info.settable ? `${row.info.name}: ${text}. Change` : null);
  row.parts.shown.qmiTitle = typeof told.value === "number" ? `${told.value} ${row.info.unit || ""}` : text.length > 20 ? text : null;
  setAttribute(row.parts.shown, "title", row.parts.shown.qmiTitle);
  aged(row);
}

function aged(row) {
  const seconds = row.told?.time ? Date.now() / 1000 - row.told.time : -1;
  setText(row.parts.age, seconds < 0 ? "" : seconds < 2 ? "now" : `${duration(Math.floor(seconds))}`);
}

async function read(row) {
  setText(row.parts.wrong, "");
  try {
    newest(row, { ...(await get(`${api("parameters", row.info.name)}?reduced=true`)), time: Date.now() / 1000 });
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
    value: told && told.value !== null && !told.value?.reduced ? (typeof told.value === "object" ? JSON.stringify(told.value) : String(told.value)) : "",
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
  setAttribute(input, "aria-describedby", wrong.id);
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
      say(`${info.name} is ${shown.textContent}`);
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

let plotOf = () => {};

/** Shows parameters; `plotValue(button, name, unit)` plots one of them. */
export function showValues(infos, plotValue = plotOf) {
  plotOf = plotValue;
  byId("values").hidden = !infos.length;
  keyed(byId("value-rows"), infos, (info) => info.name, (info) => makeValue(info, plotValue), (row, info) => {
    row.info = info;
    setText(row.parts.allowed, limitsText(info));
    setText(row.parts.below, limitsText(info));
  });
}

// Limits may depend on other values, so they are asked for again when something was set.
const refreshLimits = settled(() => get(api("parameters")).then((infos) => showValues(infos), () => {}), 200);

let isReading = false;

async function readAll() {
  isReading = true;
  applyGates(byId("values"));
  for (const row of byId("value-rows").children) if (row.info.gettable) await read(row);
  isReading = false;
  applyGates(byId("values"));
}

gated(byId("read-all"), () => !isReading);
byId("read-all").addEventListener("click", readAll);
setInterval(() => {
  if (!document.hidden) for (const row of byId("value-rows").children) aged(row);
}, 1000);

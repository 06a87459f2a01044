// Plots and values that a person has arranged: in the address of the page, or kept as a dashboard by the server.

import { errorText, get, path, put, refused, remove, user } from "./api.js";
import { ask, byId, h, say, setAttribute, setText, valueText } from "./dom.js";
import { LivePlot, sourceOf } from "./plot.js";
import { pushes } from "./push.js";

const parts = location.pathname.split("/").map(decodeURIComponent);
const kept = parts[1] === "dashboards" ? parts[2] : "";
const board = byId("board");
const wrong = h("p", { class: "error", role: "alert" });
const names = h("datalist", { id: "known-names" });
let panels = []; // {kind: "plot", sources: [{text, axis}], span} or {kind: "value", text}
let shown = [];
let isChanged = false;

/** A panel is a plot, or one value in large figures. */
function readAddress() {
  const query = new URLSearchParams(location.search);
  return [...query].filter(([key]) => key === "plot" || key === "value").map(([key, text]) => {
    if (key === "value") return { kind: "value", text };
    const [list, span] = text.split("@");
    return { kind: "plot", span: Number(span) || 60, sources: list.split(",").filter(Boolean).map((each) => ({ text: each.replace(/^!/, ""), axis: each.startsWith("!") ? "own" : "" })) };
  });
}

function writeAddress() {
  if (kept) return;
  const query = panels.map((panel) => (panel.kind === "value" ? `value=${encodeURIComponent(panel.text)}`
    : `plot=${encodeURIComponent(`${panel.sources.map(({ text, axis }) => (axis === "own" ? "!" : "") + text).join(",")}@${panel.span}`)}`)).join("&");
  history.replaceState(null, "", query ? `?${query}` : location.pathname);
}

function changed() {
  isChanged = true;
  writeAddress();
  setAttribute(keep, "class", "primary");
}

function showPlot(panel) {
  const title = h("h2", {}, panel.sources.map(({ text }) => text).join(", ") || "Plot");
  const body = h("div", { class: "body" });
  const card = h("section", { class: "card", "aria-label": "Plot" }, body);
  const plot = new LivePlot(body, panel.sources.map(({ text, axis }) => ({ ...sourceOf(text), axis })), { span: panel.span, height: 220, onChange: () => {
    panel.span = plot.span;
    changed();
  } });
  const input = nameInput("Value to add to this plot");
  const own = h("input", { type: "checkbox" });
  const form = h("form", { class: "line" }, input, h("label", { class: "dim" }, own, " own axis"), h("button", {}, "Add"), buttons(panel));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(() => {
      const source = { ...sourceOf(input.value.trim()), axis: own.checked ? "own" : "" };
      plot.add(source);
      panel.sources.push({ text: source.text, axis: source.axis });
      input.value = "";
      changed();
    });
  });
  const chips = h("p", { class: "line" });
  const showChips = () => chips.replaceChildren(...panel.sources.map(({ text }) => h("button", {
    type: "button", class: "quiet", "aria-label": `Take ${text} off this plot`, onclick: () => {
      plot.remove(text);
      panel.sources = panel.sources.filter((source) => source.text !== text);
      changed();
      showChips();
    },
  }, `${text} ×`)));
  form.addEventListener("submit", showChips);
  showChips();
  body.append(h("details", { class: "arrange" }, h("summary", { class: "dim" }, "Arrange"), chips, form));
  title.hidden = true;
  return { card, close: () => plot.close(), plot };
}

function showValue(panel) {
  const value = h("output", { class: "figure live" }, "—");
  const card = h("section", { class: "card value-card", "aria-label": panel.text }, h("div", { class: "body" }, h("div", { class: "dim" }, panel.text), value, h("details", { class: "arrange" }, h("summary", { class: "dim" }, "Arrange"), h("p", { class: "line" }, buttons(panel)))));
  const source = sourceOf(panel.text);
  const end = pushes.on(source.topic, (told) => {
    if (told.error) setText(value, told.error.message);
    else if (!told.gap) setText(value, valueText(told.member ?? source.read(told), told.unit || ""));
  });
  return { card, close: end };
}

function buttons(panel) {
  const move = (by) => {
    const at = panels.indexOf(panel);
    const to = at + by;
    if (to < 0 || to >= panels.length) return;
    panels.splice(at, 1);
    panels.splice(to, 0, panel);
    changed();
    show();
  };
  return [
    h("button", { type: "button", class: "quiet", onclick: () => move(-1) }, "Earlier"),
    h("button", { type: "button", class: "quiet", onclick: () => move(1) }, "Later"),
    h("button", { type: "button", class: "danger", onclick: () => {
      panels = panels.filter((other) => other !== panel);
      changed();
      show();
    } }, "Remove"),
  ];
}

function attempt(action) {
  setText(wrong, "");
  try {
    action();
  } catch (error) {
    setText(wrong, error.message);
  }
}

/** A field for the name of a value, which offers the names that there are. */
function nameInput(label) {
  const input = h("input", { type: "text", list: "known-names", "aria-label": label, placeholder: "lab.supply.current", autocomplete: "off", spellcheck: "false", required: true });
  input.addEventListener("input", () => offer(input.value));
  input.addEventListener("focus", () => offer(input.value));
  return input;
}

let objects = null;
const members = new Map();

async function offer(text) {
  objects ||= get("/api/contexts").then((contexts) => contexts.flatMap((seen) => (seen.status?.objects || []).map((entry) => `${seen.name}.${entry.name}`)), () => []);
  const all = await objects;
  const object = all.find((each) => text.startsWith(`${each}.`));
  if (!object) {
    names.replaceChildren(...all.map((each) => h("option", { value: `${each}.` })));
    return;
  }
  if (!members.has(object)) {
    members.set(object, get(path("objects", ...object.split("."))).then((found) => [
      ...found.parameters.filter((each) => each.gettable && ["float", "int", "bool"].includes(each.type)).map((each) => `${object}.${each.name}`),
      ...found.signals.flatMap((signal) => signal.types.map((type, index) => ["float", "int", "bool"].includes(type) && `${object}.${signal.name}${signal.types.length > 1 ? `[${index}]` : ""}`)).filter(Boolean),
    ], () => []));
  }
  names.replaceChildren(...(await members.get(object)).map((each) => h("option", { value: each })));
}

const grid = h("div", { class: "panels" });

function show() {
  for (const panel of shown) panel.close();
  attempt(() => {
    shown = panels.map((panel) => (panel.kind === "value" ? showValue(panel) : showPlot(panel)));
  });
  grid.replaceChildren(...shown.map(({ card }) => card));
  window.qmiPlots = shown.map(({ plot }) => plot).filter(Boolean); // what measures how much is drawn
}

const input = nameInput("Value to show");
const adder = h("form", { class: "tools" }, input, h("button", { name: "kind", value: "plot" }, "Add plot"), h("button", { name: "kind", value: "value" }, "Add value"));
adder.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(() => {
    const { text } = sourceOf(input.value.trim());
    panels.push(event.submitter?.value === "value" ? { kind: "value", text } : { kind: "plot", span: 60, sources: [{ text, axis: "" }] });
    input.value = "";
    changed();
    show();
  });
});

const keep = h("button", { type: "button", onclick: async () => {
  let name = kept;
  if (!name) {
    const given = await ask("Keep as a dashboard", [h("label", {}, "Name", h("input", { name: "name", required: true, pattern: "[A-Za-z0-9][A-Za-z0-9_.\\-]*", autocomplete: "off" }))], "Keep");
    if (!given) return;
    name = given.get("name");
  }
  try {
    await put(path("dashboards", name), { panels });
    isChanged = false;
    setAttribute(keep, "class", null);
    say(`Dashboard ${name} is kept`);
    if (!kept) location.assign(`/dashboards/${encodeURIComponent(name)}`);
  } catch (error) {
    refused(wrong, error);
  }
} }, "Keep");
const drop = h("button", { type: "button", class: "danger", onclick: async () => {
  if (!(await ask(`Delete the dashboard ${kept}?`, [], "Delete", { danger: true }))) return;
  try {
    await remove(path("dashboards", kept));
    location.assign("/dashboards");
  } catch (error) {
    setText(wrong, errorText(error));
  }
} }, "Delete");
adder.append(h("span", { class: "push-right" }), user ? keep : "", user && kept ? drop : "");
board.append(names, adder, wrong, grid);
window.addEventListener("beforeunload", (event) => kept && isChanged && event.preventDefault());

if (kept) {
  try {
    panels = (await get(path("dashboards", kept))).panels || [];
  } catch (error) {
    setText(wrong, errorText(error));
  }
} else panels = readAddress();
show();

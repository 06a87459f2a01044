// Plots and values that a person has arranged: in the address of the page, or kept as a dashboard by the server.

import { errorText, get, path, put, refused, remove, user } from "./api.js";
import { ask, byId, h, say, setAttribute, setText, valueText } from "./dom.js";
import { LivePlot, sourceOf } from "./plot.js";
import { pushes } from "./push.js";
import { Spark } from "./spark.js";

const parts = location.pathname.split("/").map(decodeURIComponent);
const kept = parts[1] === "dashboards" ? parts[2] : "";
const board = byId("board");
const wrong = h("p", { class: "error", role: "alert" });
const names = h("datalist", { id: "known-names" });
let panels = []; // {kind: "plot", sources: [{text, axis}], span} or {kind: "value", text}
const shown = new Map(); // panel -> {card, close, plot}
let isChanged = false;

/** A panel is a plot, or one value in large figures. */
function readAddress() {
  const query = new URLSearchParams(location.search);
  return [...query].filter(([key]) => key === "plot" || key === "value").map(([key, text]) => {
    if (key === "value") return { kind: "value", text };
    const [list, span = ""] = text.split("@");
    return { kind: "plot", span: Math.min(Math.max(parseInt(span, 10) || 60, 1), 86400), wide: span.endsWith("w"), sources: list.split(",").filter(Boolean).map((each) => ({ text: each.replace(/^!/, ""), axis: each.startsWith("!") ? "own" : "" })) };
  });
}

function writeAddress() {
  if (kept) return;
  const query = panels.map((panel) => (panel.kind === "value" ? `value=${encodeURIComponent(panel.text)}`
    : `plot=${encodeURIComponent(`${panel.sources.map(({ text, axis }) => (axis === "own" ? "!" : "") + text).join(",")}@${panel.span}${panel.wide ? "w" : ""}`)}`)).join("&");
  history.replaceState(null, "", query ? `?${query}` : location.pathname);
}

function changed() {
  isChanged = true;
  writeAddress();
  setAttribute(keep, "class", "primary");
}

function showPlot(panel) {
  const body = h("div", { class: "body" });
  const card = h("section", { class: "card panel plot-panel", "aria-label": "Plot" }, gripOf(panel), body);
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
  return { card, close: () => plot.close(), plot };
}

function showValue(panel) {
  const value = h("output", { class: "figure live" }, "—");
  const spark = new Spark();
  const card = h("section", { class: "card panel value-panel", "aria-label": panel.text }, gripOf(panel), h("div", { class: "body" }, h("div", { class: "dim" }, panel.text), value, spark.element, h("details", { class: "arrange" }, h("summary", { class: "dim" }, "Arrange"), h("p", { class: "line" }, buttons(panel)))));
  const source = sourceOf(panel.text);
  const end = pushes.on(source.topic, (told) => {
    if (told.error) setText(value, told.error.message);
    else if (!told.gap) {
      setText(value, valueText(told.member ?? source.read(told), told.unit || ""));
      spark.push(source.read(told));
    }
  });
  return { card, close: end };
}

const nameOf = (panel) => (panel.kind === "value" ? panel.text : panel.sources.map(({ text }) => text).join(", ") || "empty plot");

/** Moves a panel to another place. Its own element stays where it is, and the others go around it: so it keeps the focus
 * and the pointer. */
function moveTo(panel, to) {
  const at = panels.indexOf(panel);
  if (to < 0 || to >= panels.length || to === at) return;
  panels.splice(at, 1);
  panels.splice(to, 0, panel);
  const cards = panels.map((each) => shown.get(each).card);
  for (const card of cards.slice(0, to)) grid.insertBefore(card, cards[to]);
  grid.append(...cards.slice(to + 1));
  changed();
  say(`${nameOf(panel)} is number ${to + 1} of ${panels.length}`);
}

/** What a panel is held by: dragged with the mouse or a finger, or moved by the arrow keys. */
function gripOf(panel) {
  const grip = h("button", { type: "button", class: "grip quiet", "aria-label": `Move ${nameOf(panel)}`, "aria-describedby": "grip-help", title: "Drag, or use the arrow keys" }, "⠿");
  grip.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    const to = { Home: 0, End: panels.length - 1 }[event.key] ?? (by && panels.indexOf(panel) + by);
    if (to === undefined) return;
    event.preventDefault();
    moveTo(panel, to);
  });
  grip.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    grip.focus();
    grip.setPointerCapture(event.pointerId);
    const { card } = shown.get(panel);
    card.classList.add("dragged");
    const move = ({ clientX, clientY }) => {
      const over = document.elementFromPoint(clientX, clientY)?.closest(".panel");
      const other = over && over !== card && panels.find((each) => shown.get(each).card === over);
      if (!other) return;
      // Only when it would stand under the pointer then, so that panels of different sizes do not change places for ever.
      const box = over.getBoundingClientRect();
      const isLater = panels.indexOf(other) > panels.indexOf(panel);
      const [x, y] = [clientX - (box.left + box.width / 2), clientY - (box.top + box.height / 2)];
      const past = Math.abs(box.top - card.getBoundingClientRect().top) < 8 ? x : y;
      if (isLater ? past > 0 : past < 0) moveTo(panel, panels.indexOf(other));
    };
    const end = () => {
      card.classList.remove("dragged");
      grip.removeEventListener("pointermove", move);
    };
    grip.addEventListener("pointermove", move);
    grip.addEventListener("lostpointercapture", end, { once: true });
  });
  return grip;
}

function buttons(panel) {
  const wide = h("button", { type: "button", class: "quiet", "aria-pressed": String(Boolean(panel.wide)), onclick: () => {
    panel.wide = !panel.wide;
    setAttribute(wide, "aria-pressed", String(panel.wide));
    shown.get(panel).card.classList.toggle("wide-panel", panel.wide);
    changed();
  } }, "Wide");
  return [
    wide,
    h("button", { type: "button", class: "danger", "aria-label": `Remove ${nameOf(panel)}`, onclick: () => {
      const at = panels.indexOf(panel);
      panels = panels.filter((other) => other !== panel);
      changed();
      show();
      (panels.length ? shown.get(panels[Math.min(at, panels.length - 1)]).card.querySelector(".grip") : input).focus();
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
const empty = h("p", { class: "card note", hidden: true }, "Nothing is shown yet. Name a value or a signal above, such as lab.supply.current, and add it as a plot or in large figures.");

/** Shows the panels that there are now; those that were there stay, and with them what they have drawn. */
function show() {
  for (const [panel, made] of shown) {
    if (panels.includes(panel)) continue;
    made.close();
    made.card.remove();
    shown.delete(panel);
  }
  const faults = [];
  for (const panel of panels) {
    if (shown.has(panel)) continue;
    try {
      const made = panel.kind === "value" ? showValue(panel) : showPlot(panel);
      made.card.classList.toggle("wide-panel", Boolean(panel.wide));
      shown.set(panel, made);
      grid.append(made.card);
    } catch (error) {
      faults.push(errorText(error));
    }
  }
  if (faults.length) setText(wrong, faults.join(". "));
  panels = panels.filter((panel) => shown.has(panel)); // one that could not be shown has said why
  empty.hidden = panels.length > 0;
  window.qmiPlots = panels.map((panel) => shown.get(panel).plot).filter(Boolean); // what measures how much is drawn
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
adder.append(h("span", { class: "push-right" }), user ? keep : h("span", { class: "dim" }, "Log in to keep it"), user && kept ? drop : "");
board.append(names, adder, wrong, empty, grid, h("p", { id: "grip-help", hidden: true }, "Arrow keys move it; Home and End bring it to the beginning and the end."));
window.addEventListener("beforeunload", (event) => kept && isChanged && event.preventDefault());

if (kept) {
  try {
    const found = await get(path("dashboards", kept));
    panels = found.panels;
    if (found.faults) setText(wrong, `A part of this dashboard cannot be shown, since its file is damaged: ${found.faults.join("; ")}. “Keep” writes the file anew, without that part.`);
  } catch (error) {
    setText(wrong, errorText(error));
  }
} else panels = readAddress();
show();

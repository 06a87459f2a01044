// A run: what is known of it, its columns as a plot while it goes on and after, its rows, and its files.

import { errorText, get } from "./api.js";
import { byId, duration, h, keyed, moment, number, setText, settled, valueText } from "./dom.js";
import { pushes } from "./push.js";

const id = decodeURIComponent(location.pathname.split("/")[2]);
const context = new URLSearchParams(location.search).get("context") || "";
const query = context ? `?context=${encodeURIComponent(context)}` : "";
const api = (what = "") => `/api/runs/${encodeURIComponent(id)}${what}${query}`;
const SHOWN = 12;
const PAGE = 20_000;
const TIME = "time";
const LOOK_EACH = 2000; // ms

let run = null;
let rows = [];
let plot = null;
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const isNumber = (value) => typeof value === "number" || value === null;

function facts() {
  setText(byId("about"), [run.name, run.state, `${number(Math.max(run.rows, rows.length))} rows`, `started ${moment(run.started)}`, run.ended && `lasted ${duration((new Date(run.ended) - new Date(run.started)) / 1000)}`].filter(Boolean).join(" · "));
  const told = [
    ["Run", run.name], ["Columns", Object.entries(run.columns).map(([name, unit]) => (unit ? `${name} (${unit})` : name)).join(", ")],
    ["Coordinates", run.coordinates.join(", ")], ["Tags", run.tags.join(", ")], ["Comment", run.comments.length < 2 && run.comment],
    ["Gaps", run.gaps.length && `signals may be missing ${run.gaps.length} times`], ["Damaged", run.rows_lost && `${number(run.rows_lost)} rows are lost`],
  ].filter(([, text]) => text);
  // What has not changed stays: a link that is replaced while somebody presses it does nothing.
  const shown = [
    ...told.map(([name, text]) => ({ name, text })),
    run.comments.length > 1 && { name: "Comments", fill: () => run.comments.map(({ time, text }) => h("div", {}, h("span", { class: "dim" }, `${moment(time)} `), text)) },
    { name: "Download", fill: downloads },
  ].filter(Boolean);
  keyed(byId("facts"), shown, ({ name }) => name, ({ name }) => h("div", {}, h("dt", {}, name), h("dd")), ({ lastChild }, { text, fill }) => {
    if (fill) refill(lastChild, fill());
    else setText(lastChild, text);
  });
}

const downloads = () => [
  h("a", { class: "button", href: api("/csv"), download: true }, run.state === "running" ? "CSV so far" : "CSV"), " ",
  run.state === "running" ? h("span", { class: "dim" }, "netCDF when it has ended") : h("a", { class: "button", href: api("/file"), download: true }, "netCDF"),
];

/** Puts other children into an element, if they are not like those that it has. */
function refill(element, children) {
  const filled = h("div", {}, children);
  if (filled.innerHTML !== element.innerHTML) element.replaceChildren(...filled.childNodes);
}

/** Metadata as lists within lists; long texts and large parts are folded. */
function tree(value, depth = 1) {
  if (value === null || typeof value !== "object") {
    const text = valueText(value);
    return text.length > 200 || text.includes("\n") ? h("details", {}, h("summary", { class: "dim" }, `${text.split("\n").length} lines`), h("pre", { class: "result", tabindex: "0" }, text)) : text;
  }
  const entries = Object.entries(value);
  if (Array.isArray(value) && entries.every(([, entry]) => entry === null || typeof entry !== "object")) return value.map((entry) => valueText(entry)).join(", ") || "—";
  const list = h("dl", { class: "facts-list flush" }, entries.map(([name, entry]) => h("div", {}, h("dt", {}, name), h("dd", {}, tree(entry, 0)))));
  return depth && entries.length ? h("details", {}, h("summary", { class: "dim" }, Object.keys(value).slice(0, 4).join(", ") + (entries.length > 4 ? `, … (${entries.length})` : "")), list) : list;
}

function showMetadata() {
  const entries = Object.entries(run.metadata).filter(([, value]) => value !== null && value !== "");
  byId("metadata-card").hidden = !entries.length;
  byId("metadata").replaceChildren(...entries.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, tree(value)))));
}

function choices() {
  const names = Object.keys(run.columns);
  const numeric = names.filter((name) => !rows.length || isNumber(rows[0].values[name]));
  const coordinate = run.coordinates.find((name) => numeric.includes(name)) || TIME;
  byId("x").replaceChildren(...[TIME, ...numeric].map((name) => h("option", { selected: name === coordinate }, name)));
  const rest = numeric.filter((name) => name !== coordinate);
  byId("y").replaceChildren(...numeric.map((name, index) => {
    const box = h("input", { type: "checkbox", name: "y", value: name, checked: name === rest[0] });
    const mark = h("span", { class: "mark" });
    mark.style.background = `var(--series-${(index % 8) + 1})`;
    return h("label", {}, box, mark, h("span", { class: "name" }, withUnit(name)));
  }));
}

const withUnit = (name) => (run.columns[name] ? `${name} (${run.columns[name]})` : name);

function draw() {
  const x = byId("x").value;
  const boxes = [...byId("y").querySelectorAll("input")];
  const ys = boxes.filter((box) => box.checked).map((box) => box.value);
  const colour = (name) => style(`--series-${(boxes.findIndex((box) => box.value === name) % 8) + 1}`);
  const scanned = x !== TIME;
  const valueOf = (row, name) => (name === TIME ? Date.parse(row.time) / 1000 : row.values[name]);
  // uPlot wants its x in order; a scan may go there and back.
  const order = rows.filter((row) => Number.isFinite(valueOf(row, x)));
  if (scanned) order.sort((one, other) => one.values[x] - other.values[x]);
  const data = [order.map((row) => valueOf(row, x)), ...ys.map((name) => order.map((row) => row.values[name] ?? null))];
  const key = `${x} ${ys} ${matchMedia("(prefers-color-scheme: dark)").matches}`;
  if (plot?.key === key) {
    plot.setData(data);
    return;
  }
  plot?.destroy();
  const axis = { stroke: style("--dim"), grid: { stroke: style("--faint"), width: 1 }, ticks: { stroke: style("--line"), width: 1, size: 4 }, font: "11px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", labelSize: 18 };
  const units = [...new Set(ys.map((name) => run.columns[name] || ""))];
  plot = new window.uPlot({
    width: byId("plot").clientWidth - 26, height: 320, legend: { markers: { width: 0 } }, scales: { x: { time: !scanned } }, cursor: { drag: { x: true, y: true, uni: 20 } },
    series: [{ label: withUnit(x) }, ...ys.map((name) => ({ label: withUnit(name), stroke: colour(name), width: 1.5, scale: `y${run.columns[name] || ""}`, points: { show: order.length < 300, size: 5 } }))],
    axes: [{ ...axis, label: scanned ? withUnit(x) : undefined }, ...(units.length ? units : [""]).map((each, index) => ({ ...axis, scale: `y${each}`, side: index % 2 ? 1 : 3, size: 60, label: each || undefined, values: (_, ticks) => ticks.map((tick) => number(tick)) }))],
  }, data, byId("plot"));
  plot.key = key;
  window.qmiRun = { plot }; // what looks at what is drawn
}

function table() {
  const names = Object.keys(run.columns);
  refill(byId("row-head"), h("tr", {}, h("th", { scope: "col" }, "#"), h("th", { scope: "col" }, "Time"), names.map((name) => h("th", { scope: "col", class: "num" }, withUnit(name)))));
  keyed(byId("rows"), rows.slice(-SHOWN).reverse(), (row) => row.number, (row) => h("tr", {}, h("th", { scope: "row" }, row.number), h("td", {}, moment(row.time)), names.map((name) => h("td", { class: "num" }, valueText(row.values[name])))), () => {});
}

const show = settled(() => {
  facts();
  draw();
  table();
}, 150);

/** What is in the run and not here yet. */
async function fill() {
  let more = true;
  while (more) {
    const first = rows.length ? rows[rows.length - 1].number + 1 : 0;
    const found = await get(`/api/runs/${encodeURIComponent(id)}/rows?${new URLSearchParams({ ...(context && { context }), first, limit: PAGE, reduced: true })}`);
    rows.push(...found.rows);
    more = found.more && found.rows.length > 0;
  }
}

async function load() {
  try {
    run = await get(api());
    await fill();
    choices();
    show();
    showMetadata();
    if (run.state === "running") follow();
  } catch (error) {
    setText(byId("problem"), errorText(error));
  }
}

function follow() {
  let filling = false;
  async function fillOnce() {
    if (filling) return;
    filling = true;
    await fill().catch((error) => setText(byId("problem"), errorText(error)));
    filling = false;
  }
  pushes.on(`rows:${context ? `${context}/` : ""}${run.id}`, async (list) => {
    if (!Array.isArray(list) || filling) return; // what is being read has these, too
    const next = rows.length ? rows[rows.length - 1].number + 1 : 0;
    const fresh = list.filter((row) => row.number >= next);
    if (!fresh.length) return;
    if (fresh[0].number === next) rows.push(...fresh);
    else await fillOnce(); // more has come while the page was away than the server keeps for it
    show();
  });
  const looking = setInterval(look, LOOK_EACH);

  /** Whether it goes on. The list is asked: what is known of one run is copied from its computer as a whole. */
  async function look() {
    if (document.hidden) return;
    const found = await get(`/api/runs?${new URLSearchParams({ ...(context && { context }), name: run.name, limit: 50 })}`).catch(() => []);
    const now = found.find((each) => each.id === run.id);
    if (!now || now.state === "running") return;
    clearInterval(looking);
    run = await get(api()).catch(() => ({ ...run, ...now }));
    await fillOnce();
    show();
    showMetadata();
  }
}

byId("x").addEventListener("change", draw);
byId("y").addEventListener("change", draw);
window.addEventListener("resize", settled(() => plot?.setSize({ width: byId("plot").clientWidth - 26, height: 320 }), 100));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
load();

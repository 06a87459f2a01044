// A run: what is known of it, its columns as a plot while it goes on and after, its rows, and its files.

import { errorText, get } from "./api.js";
import { byId, duration, h, moment, number, setText, settled, valueText } from "./dom.js";
import { pushes } from "./push.js";

const id = decodeURIComponent(location.pathname.split("/")[2]);
const context = new URLSearchParams(location.search).get("context") || "";
const query = context ? `?context=${encodeURIComponent(context)}` : "";
const api = (what = "") => `/api/runs/${encodeURIComponent(id)}${what}${query}`;
const SHOWN = 12;
const PAGE = 20_000;
const TIME = "time";

let run = null;
let rows = [];
let plot = null;
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const isNumber = (value) => typeof value === "number" || value === null;

function facts() {
  setText(byId("about"), [run.name, run.state, `${number(Math.max(run.rows, rows.length))} rows`, `started ${moment(run.started)}`, run.ended && `lasted ${duration((new Date(run.ended) - new Date(run.started)) / 1000)}`].filter(Boolean).join(" · "));
  const told = [
    ["Columns", Object.entries(run.columns).map(([name, unit]) => (unit ? `${name} (${unit})` : name)).join(", ")],
    ["Coordinates", run.coordinates.join(", ")], ["Tags", run.tags.join(", ")], ["Comment", run.comment], ["Identifier", run.id],
  ].filter(([, text]) => text);
  const files = h("dd", {}, h("a", { class: "button", href: api("/csv"), download: true }, "CSV"), " ", run.state === "running" ? h("span", { class: "dim" }, "netCDF when it has ended") : h("a", { class: "button", href: api("/file"), download: true }, "netCDF"));
  byId("facts").replaceChildren(...told.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text))), h("div", {}, h("dt", {}, "Download"), files));
}

function choices() {
  const names = Object.keys(run.columns);
  const numeric = names.filter((name) => !rows.length || isNumber(rows[0].values[name]));
  const coordinate = run.coordinates.find((name) => numeric.includes(name)) || TIME;
  byId("x").replaceChildren(...[TIME, ...numeric].map((name) => h("option", { selected: name === coordinate }, name)));
  const rest = numeric.filter((name) => name !== coordinate);
  byId("y").size = Math.min(Math.max(rest.length, 1), 3);
  byId("y").replaceChildren(...numeric.map((name) => h("option", { selected: name === rest[0] }, name)));
}

function draw() {
  const x = byId("x").value;
  const ys = [...byId("y").selectedOptions].map((option) => option.value);
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
  const unit = (name) => (run.columns[name] ? `${name} (${run.columns[name]})` : name);
  const units = [...new Set(ys.map((name) => run.columns[name] || ""))];
  plot = new window.uPlot({
    width: byId("plot").clientWidth - 26, height: 320, scales: { x: { time: !scanned } }, cursor: { drag: { x: true, y: true, uni: 20 } },
    series: [{ label: unit(x) }, ...ys.map((name, index) => ({ label: unit(name), stroke: style(`--series-${(index % 8) + 1}`), width: 1.5, scale: run.columns[name] || "y", points: { show: order.length < 300, size: 5 } }))],
    axes: [{ ...axis, label: scanned ? unit(x) : undefined }, ...(units.length ? units : [""]).map((each, index) => ({ ...axis, scale: each || "y", side: index % 2 ? 1 : 3, size: 60, label: each || undefined, values: (_, ticks) => ticks.map((tick) => number(tick)) }))],
  }, data, byId("plot"));
  plot.key = key;
  window.qmiRun = { plot }; // what looks at what is drawn
}

function table() {
  const names = Object.keys(run.columns);
  byId("row-head").replaceChildren(h("tr", {}, h("th", { scope: "col" }, "#"), h("th", { scope: "col" }, "Time"), names.map((name) => h("th", { scope: "col", class: "num" }, run.columns[name] ? `${name} (${run.columns[name]})` : name))));
  byId("rows").replaceChildren(...rows.slice(-SHOWN).reverse().map((row) => h("tr", {}, h("th", { scope: "row" }, row.number), h("td", {}, moment(row.time)), names.map((name) => h("td", { class: "num" }, valueText(row.values[name]))))));
}

const show = settled(() => {
  facts();
  draw();
  table();
}, 60);

async function load() {
  try {
    run = await get(api());
    let more = true;
    while (more) {
      const found = await get(`/api/runs/${encodeURIComponent(id)}/rows?${new URLSearchParams({ ...(context && { context }), first: rows.length, limit: PAGE })}`);
      rows.push(...found.rows);
      more = found.more && found.rows.length > 0;
    }
    choices();
    show();
    if (run.state === "running") follow();
  } catch (error) {
    setText(byId("problem"), errorText(error));
  }
}

function follow() {
  pushes.on(`rows:${context ? `${context}/` : ""}${run.id}`, (list) => {
    const last = rows.length ? rows[rows.length - 1].number : -1;
    rows.push(...(Array.isArray(list) ? list : []).filter((row) => row.number > last));
    show();
  });
  pushes.on("scans", settled(async () => {
    run = await get(api()).catch(() => run);
    facts();
  }, 500));
}

byId("x").addEventListener("change", draw);
byId("y").addEventListener("change", draw);
window.addEventListener("resize", settled(() => plot?.setSize({ width: byId("plot").clientWidth - 26, height: 320 }), 100));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
load();

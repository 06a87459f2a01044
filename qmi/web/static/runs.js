// The runs that are kept: found by name, tag, comment and state.

import { errorText, get } from "./api.js";
import { byId, duration, h, keyed, moment, number, setAttribute, setText, settled } from "./dom.js";
import { pushes } from "./push.js";
import { tone } from "./status.js";

let runs = [];
const wanted = new URLSearchParams(location.search);

function make(run) {
  const parts = { state: h("span", { class: "state" }), rows: h("td", { class: "num" }), lasted: h("td", { class: "wide" }) };
  const where = run.context ? `?context=${encodeURIComponent(run.context)}` : "";
  const row = h("tr", {}, h("th", { scope: "row" }, h("a", { href: `/runs/${encodeURIComponent(run.id)}${where}` }, run.name || run.id), h("div", { class: "doc mono" }, run.id)),
    h("td", {}, parts.state), parts.rows, h("td", { class: "middle" }, moment(run.started)), parts.lasted,
    h("td", { class: "wide" }, run.tags.map((tag) => [h("span", { class: "tag" }, tag), " "])), h("td", { class: "middle" }, run.comment));
  row.parts = parts;
  return row;
}

function update(row, run) {
  setText(row.parts.state, run.state);
  setAttribute(row.parts.state, "class", `state ${tone(run.state)}`);
  setText(row.parts.rows, run.state === "running" && !run.rows ? "" : number(run.rows)); // the index counts them at the end
  setText(row.parts.lasted, run.ended ? duration((new Date(run.ended) - new Date(run.started)) / 1000) : "");
}

function show() {
  const words = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const state = byId("state").value;
  for (const each of new Set(runs.map((run) => run.state))) {
    if (![...byId("state").options].some((option) => option.value === each)) byId("state").append(h("option", {}, each));
  }
  const found = runs.filter((run) => (!state || run.state === state) && words.every((word) => `${run.name} ${run.id} ${run.tags.join(" ")} ${run.comment}`.toLowerCase().includes(word)));
  keyed(byId("runs"), found, (run) => run.id, make, update);
  setText(byId("found"), found.length === runs.length ? `${runs.length} runs` : `${found.length} of ${runs.length} runs`);
  byId("none").hidden = found.length > 0;
  setText(byId("none"), runs.length ? "None of the runs is meant by this." : byId("context").value ? `${byId("context").value} has kept no run.` : "No run is kept on this computer. Another one may have some: choose its context above.");
}

let loads = 0; // of two answers, the older one may come last

async function load() {
  const context = byId("context").value;
  loads += 1;
  const mine = loads;
  const [found, wrong] = await get(`/api/runs${context ? `?context=${encodeURIComponent(context)}` : ""}`).then((list) => [list, ""], (error) => [[], errorText(error)]);
  if (mine !== loads) return;
  runs = found;
  setText(byId("problem"), wrong);
  show();
}

for (const { name } of await get("/api/contexts").catch(() => [])) byId("context").append(h("option", { value: name, selected: wanted.get("context") === name }, name));
byId("context").addEventListener("change", load);
byId("state").addEventListener("change", show);
byId("find").addEventListener("input", settled(show, 80));
load();
// A scan that begins or ends is a run more, or another state.
pushes.on("scans", settled(load, 500));

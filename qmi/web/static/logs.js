// The logs of all contexts, as they are written.

import { byId, h, moment, setAttribute, setText, settled } from "./dom.js";
import { Numbered, pushes } from "./push.js";

const KEPT = 3000; // records
const SHOWN = 400;
const NAMES = [[40, "ERROR", "bad"], [30, "WARNING", "busy"], [20, "INFO", ""], [0, "DEBUG", "dim"]];
const wanted = new URLSearchParams(location.search);

let records = [];
let isPaused = false;
const watched = new Map();

const nameOf = (level) => NAMES.find(([least]) => level >= least);

function matches(record) {
  const words = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const context = byId("context").value;
  return record.level >= Number(byId("level").value) && (!context || record.from === context)
    && words.every((word) => `${record.message} ${record.logger} ${record.trace}`.toLowerCase().includes(word));
}

function makeRow(record) {
  if (record.lost) return h("tr", {}, h("td", { colspan: 5, class: "dim" }, `${record.lost} records of ${record.from} are lost`));
  const [, name, kind] = nameOf(record.level);
  return h("tr", {},
    h("td", { class: "mono" }, moment(record.time)), h("td", {}, h("span", { class: kind ? `tag ${kind}` : "dim" }, name)),
    h("td", { class: "middle" }, record.from), h("td", { class: "wide dim" }, record.logger),
    h("td", {}, h("span", { class: "message" }, record.message), record.trace && h("details", {}, h("summary", { class: "dim" }, "Traceback"), h("pre", {}, record.trace))));
}

function show() {
  if (isPaused) return;
  const found = records.filter((record) => record.lost || matches(record));
  const rows = byId("records");
  const wantedRows = found.slice(-SHOWN).reverse();
  // New ones go in above; what stands there already stays, and with it what is selected or unfolded.
  const present = new Set(wantedRows);
  for (const row of [...rows.children]) if (!present.has(row.qmiRecord)) row.remove();
  const known = new Map([...rows.children].map((row) => [row.qmiRecord, row]));
  let place = rows.firstChild;
  for (const record of wantedRows) {
    let row = known.get(record);
    if (!row) {
      row = makeRow(record);
      row.qmiRecord = record;
    }
    if (row === place) place = place.nextSibling;
    else rows.insertBefore(row, place);
  }
  byId("none").hidden = Boolean(found.length);
  setText(byId("found"), `${found.length} of ${records.length} records${found.length > SHOWN ? `, the newest ${SHOWN}` : ""}`);
}

const showSoon = settled(show, 60);

function take(context, list, numbered) {
  for (const record of numbered.fresh((Array.isArray(list) ? list : [list]).filter((each) => !each.error))) records.push({ ...record, from: context });
  records.sort((one, other) => (one.time ?? 0) - (other.time ?? 0)); // those of one moment stay in their order
  if (records.length > KEPT) records = records.slice(-KEPT);
  showSoon();
}

pushes.on("site", (list) => {
  if (list.error) return;
  for (const { name, state } of list) {
    if (watched.has(name) || state !== "running") continue;
    const numbered = new Numbered();
    watched.set(name, pushes.on(`log:${name}`, (value) => take(name, value, numbered)));
    byId("context").append(h("option", { value: name, selected: wanted.get("context") === name }, name));
  }
  showSoon();
});
for (const id of ["level", "context"]) byId(id).addEventListener("change", show);
byId("find").addEventListener("input", showSoon);
byId("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  setAttribute(byId("pause"), "aria-pressed", String(isPaused));
  setText(byId("pause"), isPaused ? "Go on" : "Pause");
  show();
});

// What an instrument and its device say to each other, as it happens; a switch has it kept.

import { get, path, put, refused, user } from "./api.js";
import { byId, h, moment, number, say, setAttribute, setText } from "./dom.js";
import { Numbered, pushes } from "./push.js";

const SHOWN = 300;
const LOOK_EACH = 5000; // ms
const ARROWS = { write: ["→", "written"], read: ["←", "read"] };

function makeRow(record) {
  if (record.lost) return h("tr", {}, h("td", { colspan: 4, class: "dim" }, `${number(record.lost)} exchanges are not kept any more`));
  const [, what, size, text] = record.message.match(/^(.*?)(?: (\d+) "([^]*)")?$/);
  const [arrow, name] = ARROWS[what] || ["", what];
  return h("tr", {}, h("td", { class: "mono dim" }, `${moment(record.time)}.${String(Math.floor((record.time % 1) * 1000)).padStart(3, "0")}`),
    h("td", { class: what === "write" || what === "read" ? `way ${what}` : "way busy" }, arrow && h("span", { "aria-hidden": "true" }, `${arrow} `), name),
    h("td", { class: "num middle dim" }, size ? number(Number(size)) : ""), h("td", { class: "mono message" }, text ?? ""));
}

/** Shows the traffic of an object, if its program has a transport for it. */
export function showTraffic(context, object) {
  const api = path("objects", context, object, "traffic");
  const rows = byId("traffic-rows");
  const toggle = byId("traffic-on");
  let end = null;
  let isPaused = false;
  let held = [];
  const numbered = new Numbered();

  const heard = (list) => take(numbered.fresh(list, false)); // numbers count the exchanges of all instruments

  function take(list) {
    if (!list.length) return;
    if (isPaused) {
      held = held.concat(list).slice(-SHOWN);
      setText(byId("traffic-pause"), `Go on (${held.length})`);
      return;
    }
    rows.prepend(...list.slice(-SHOWN).reverse().map(makeRow));
    while (rows.children.length > SHOWN) rows.lastChild.remove();
    byId("traffic-table").hidden = !rows.children.length;
  }

  function show(state) {
    byId("traffic").hidden = !(state.transport || state.on);
    toggle.checked = state.on;
    setText(byId("traffic-note"), state.on ? `since ${moment(state.since)}, as ${state.by.replace(/ \(.*/, "")} wants` : "");
    byId("traffic-off").hidden = state.on || rows.children.length > 0;
    byId("traffic-pause").hidden = byId("traffic-clear").hidden = !state.on && !rows.children.length;
    if (state.on && !end) end = pushes.on(`traffic:${context}.${object}`, heard);
  }

  let changes = 0; // an answer that was under way while somebody switched it says how it was before

  async function look() {
    const before = changes;
    const state = await get(`${api}?limit=1`).catch(() => null);
    if (state && before === changes) show(state);
  }

  toggle.disabled = !user;
  toggle.addEventListener("change", async () => {
    setText(byId("traffic-wrong"), "");
    changes += 1;
    try {
      show(await put(api, { on: toggle.checked }));
      say(toggle.checked ? "The traffic is shown" : "The traffic is not kept any more");
    } catch (error) {
      toggle.checked = !toggle.checked;
      refused(byId("traffic-wrong"), error);
    }
    changes += 1;
  });
  byId("traffic-clear").addEventListener("click", () => {
    rows.replaceChildren();
    held = [];
    byId("traffic-table").hidden = true;
  });
  byId("traffic-pause").addEventListener("click", () => {
    isPaused = !isPaused;
    setAttribute(byId("traffic-pause"), "aria-pressed", String(isPaused));
    setText(byId("traffic-pause"), isPaused ? "Go on" : "Pause");
    if (!isPaused) take(held.splice(0));
  });
  setInterval(() => document.hidden || look(), LOOK_EACH);
  return look;
}

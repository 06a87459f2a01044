// The scans that go on and that wait: their progress, and what may be done with them.

import { path, post, refused, user } from "./api.js";
import { ask, byId, duration, h, keyed, moment, number, say, setAttribute, setText } from "./dom.js";
import { pushes } from "./push.js";
import { tone } from "./status.js";

const OVER = new Set(["done", "stopped", "aborted", "failed", "interrupted", "removed"]);

async function act(scan, what) {
  if (what === "abort" && !(await ask(`Abort ${scan.id}?`, [h("p", {}, "It ends at once, in the middle of a point; the points so far are kept.")], "Abort", { danger: true }))) return;
  setText(byId("problem"), "");
  try {
    await post(path("scans", scan.context, scan.id, what));
    say(`${scan.id}: ${what}`);
  } catch (error) {
    refused(byId("problem"), error);
  }
}

function make(scan) {
  const parts = {
    state: h("span", { class: "state" }), reason: h("div", { class: "doc" }), bar: h("progress", { "aria-label": `Progress of ${scan.id}` }),
    points: h("div", { class: "doc" }), run: h("td", { class: "middle" }), actions: h("td", { class: "actions" }),
  };
  const row = h("tr", {}, h("th", { scope: "row" }, `${scan.context}: ${scan.id}`, h("div", { class: "doc" }, scan.what, scan.comment && ` (${scan.comment})`)),
    h("td", {}, parts.state, parts.reason), h("td", {}, parts.bar, parts.points),
    h("td", { class: "wide" }, [scan.user, scan.host].filter(Boolean).join("@"), h("div", { class: "doc" }, scan.program)), parts.run, parts.actions);
  Object.assign(parts, { buttons: {} });
  for (const [what, text] of [["pause", "Pause"], ["resume", "Go on"], ["stop", "Stop"], ["abort", "Abort"]]) {
    parts.buttons[what] = h("button", { type: "button", "aria-label": `${text}: ${scan.id}`, class: what === "abort" ? "danger" : null, onclick: () => act(row.scan, what) }, text);
    if (user) parts.actions.append(parts.buttons[what], " ");
  }
  row.parts = parts;
  return row;
}

function update(row, scan) {
  row.scan = scan;
  const { parts } = row;
  setText(parts.state, scan.state);
  setAttribute(parts.state, "class", `state ${scan.state === "running" ? "good" : tone(scan.state)}`);
  setText(parts.reason, scan.reason);
  if (scan.length) {
    parts.bar.max = scan.length;
    parts.bar.value = scan.points;
  } else parts.bar.removeAttribute("value");
  parts.bar.hidden = !scan.started;
  const ran = scan.started ? (scan.ended || Date.now() / 1000) - scan.started : 0;
  const left = scan.length && scan.points && !scan.ended ? (ran / scan.points) * (scan.length - scan.points) : 0;
  setText(parts.points, [`${number(scan.points)}${scan.length ? ` of ${number(scan.length)}` : ""} points`, scan.started ? duration(Math.floor(ran)) : scan.submitted && `since ${moment(scan.submitted)}`, left > 1 && `${duration(Math.floor(left))} left`].filter(Boolean).join(", "));
  if (scan.run_id && !parts.run.firstChild) parts.run.append(h("a", { href: `/runs/${encodeURIComponent(scan.run_id)}?context=${encodeURIComponent(scan.context)}` }, "Data"));
  const over = OVER.has(scan.state);
  parts.buttons.pause.hidden = over || scan.state === "paused" || !scan.started;
  parts.buttons.resume.hidden = scan.state !== "paused";
  parts.buttons.stop.hidden = over;
  parts.buttons.abort.hidden = over;
}

pushes.on("scans", (list) => {
  if (list.error) {
    setText(byId("problem"), list.error.message);
    return;
  }
  keyed(byId("scans"), list, (scan) => `${scan.context} ${scan.id}`, make, update);
  byId("none").hidden = Boolean(list.length);
});

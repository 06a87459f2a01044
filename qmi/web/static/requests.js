// Who asks for a lock of this user, or has taken it: shown on every page, so that the holder sees it wherever he is.

import { errorText, path, put, remove, user } from "./api.js";
import { byId, duration, h, keyed, moment, say, setText } from "./dom.js";
import { pushes } from "./push.js";

const api = (request) => path("objects", ...request.address.split("."), "lock");
const answer = (request, state) => put(`${api(request)}/request`, { id: request.id, state });

let requests = [];
const reported = new Set(); // what the server knows, or is just told, to be shown

function make(request) {
  const wrong = h("span", { class: "error", role: "alert" });
  const act = (what, done) => async () => {
    setText(wrong, "");
    try {
      await what();
      say(done);
    } catch (error) {
      setText(wrong, errorText(error));
    }
  };
  const [context, object] = request.address.split(".").map(encodeURIComponent);
  const where = h("a", { href: `/o/${context}/${object}` }, request.address);
  const ago = h("span", { class: "dim" });
  const buttons = request.taken
    ? [h("button", { type: "button", onclick: act(() => answer(request, "kept"), "Closed"), "aria-label": `Close what is said of ${request.address}` }, "Close")]
    : [
      h("button", { type: "button", class: "primary", onclick: act(() => remove(api(request)), `${request.address} is not locked any more`), "aria-label": `Unlock ${request.address} now` }, "Unlock now"),
      h("button", { type: "button", onclick: act(() => answer(request, "kept"), `You keep ${request.address}`), "aria-label": `Keep ${request.address}` }, "Keep"),
    ];
  const row = h("div", { class: `banner ${request.taken ? "bad" : "busy"}` },
    h("p", { class: "line flush" },
      h("span", {}, h("strong", {}, request.by), request.taken ? " has taken the lock on " : " asks for the lock on ", where, request.reason ? `: “${request.reason}”` : "", " ", ago),
      buttons),
    wrong);
  row.ago = ago;
  return row;
}

function show() {
  const mine = requests.filter((request) => request.holder === user && request.state !== "kept");
  keyed(byId("asked"), mine, (request) => request.id, make, (row, request) => {
    setText(row.ago, `since ${moment(request.time)} (${duration(Math.max(0, Math.floor(Date.now() / 1000 - request.time)))})`);
  });
  byId("asked").hidden = !mine.length;
  if (document.hidden) return; // nobody sees it yet
  for (const request of mine) {
    if (request.state !== "waiting" || reported.has(request.id)) continue;
    reported.add(request.id);
    answer(request, "shown").catch(() => reported.delete(request.id)); // told again with the next look
  }
}

/** What came of what this user has asked for, as a text; empty if he asks for nothing of that address. */
export function whatCameOf(address) {
  const request = requests.find((each) => each.address === address && each.user === user && !each.taken);
  if (!request) return "";
  const asked = `You asked ${request.holder} at ${moment(request.time)}${request.reason ? `: “${request.reason}”` : ""}.`;
  if (request.state === "kept") return `${asked} ${request.holder} keeps it (${moment(request.since)}).`;
  if (request.state === "shown") return `${asked} It was shown to ${request.holder} at ${moment(request.since)}.`;
  return `${asked} It has not been shown to ${request.holder} yet; that happens when a page of ${request.holder} is looked at.`;
}

const listeners = new Set();

/** Calls `listener()` when another request is there, or one has another state. */
export function onRequests(listener) {
  listeners.add(listener);
}

/** Begins to show them. */
export function showRequests() {
  pushes.on("locks", (found) => {
    if (!Array.isArray(found)) return;
    requests = found;
    show();
    for (const listener of listeners) listener();
  });
  document.addEventListener("visibilitychange", show);
  setInterval(() => byId("asked").hidden || show(), 1000);
}

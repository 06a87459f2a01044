// The lock of an object: who holds it and for what; taking, giving back, asking for it, taking it over.

import { get, path, post, refused, remove, user } from "./api.js";
import { gated } from "./gates.js";
import { ask, duration, h, moment, say, setText } from "./dom.js";
import { onRequests, whatCameOf } from "./requests.js";

let shown = null;

/** What came of asking: what the server knows of a user of the pages, else what was said of another program. */
const showAsked = () => shown && setText(shown.asked, whatCameOf(shown.address) || shown.said);
onRequests(showAsked);

/** Says who was told. Of a user of the pages, the server knows more, and tells it as it comes. */
function outcome(told, holder) {
  if (!shown) return;
  if (!told.web_user) {
    shown.said = told.web_user_elsewhere ? `${told.web_user_elsewhere} was told at ${moment(Date.now() / 1000)} by the other server, on the open pages of ${told.web_user_elsewhere} there.`
      : told.told ? `The program of ${holder} was told at ${moment(Date.now() / 1000)}. It logs that; whether somebody sees it is not known.`
      : "Nobody was told: nobody holds the lock any more.";
  }
  showAsked();
  say(told.web_user && !told.told ? `Nobody was told yet: no page of ${told.web_user} is open. It is shown when one is` : told.told ? `Told: ${told.web_user || told.web_user_elsewhere || holder}` : shown.said);
}

/** Shows a lock (as the status of the object tells it; null if there is none); `onAccess(isMine)` is told of another one. */
export async function showLock(place, address, lock, now, onAccess = () => {}) {
  const key = lock ? `${lock.holder} ${lock.since} ${lock.reason}` : "free";
  if (place.qmiLock === key) {
    if (lock && place.qmiSince) setText(place.qmiSince, duration(Math.floor(now - lock.since)));
    return;
  }
  place.qmiLock = key;
  const [context, object] = address.split(".");
  const api = path("objects", context, object, "lock");
  const wrong = h("p", { class: "error", role: "alert" });
  shown = null;

  async function act(what, said) {
    setText(wrong, "");
    try {
      await what();
      if (said) say(said);
    } catch (error) {
      refused(wrong, error);
    }
  }

  if (!lock) {
    const reason = h("input", { name: "reason", placeholder: "for what, and until when", autocomplete: "off", "aria-label": "Reason" });
    const form = h("form", { class: "line" }, reason, gated(h("button", {}, "Lock"), () => true, true));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      act(() => post(api, { reason: reason.value }), `${address} is locked`);
    });
    place.replaceChildren(h("p", { class: "dim" }, "Nobody has locked it."), user ? form : "", wrong);
    onAccess(false);
    return;
  }
  const since = h("span", {}, duration(Math.floor(now - lock.since)));
  place.qmiSince = since;
  const who = [lock.user && lock.host ? `${lock.user}@${lock.host}` : lock.user || lock.holder, lock.program].filter(Boolean).join(", ");
  const buttons = h("p", { class: "line" });
  place.replaceChildren(
    h("p", {}, h("strong", {}, lock.reason || "Locked"), h("br"), h("span", { class: "dim" }, `by ${who}${who.includes(lock.holder) ? "" : ` (context ${lock.holder})`} for `, since)),
    buttons, wrong);
  if (!user) {
    onAccess(false);
    return;
  }
  const held = await get(api).then((told) => told.lock, () => null);
  if (place.qmiLock !== key) return;
  const mine = Boolean(held?.mine);
  const holder = held?.web_user || (held?.web_user_elsewhere ? `${held.web_user_elsewhere}, at the pages of ${[held.context, held.host].filter(Boolean).join(" on ")}` : who);
  onAccess(mine);
  if (mine) {
    buttons.append(gated(h("button", { type: "button", onclick: () => act(() => remove(api), `${address} is not locked any more`) }, "Release"), () => true, true));
    return;
  }
  const asked = h("p", { role: "status" });
  shown = { asked, address, said: "" };
  wrong.before(asked);
  showAsked();
  buttons.append(
    gated(h("button", { type: "button", onclick: async () => {
      const given = await ask(`Ask for ${address}`, [h("p", {}, `${holder} is asked to unlock it. The lock stays until then.`), h("label", {}, "Why", h("input", { name: "reason", autocomplete: "off" }))], "Ask");
      if (given) act(async () => outcome(await post(`${api}/request`, { reason: given.get("reason") }), holder));
    } }, "Ask for it"), () => true, true),
    gated(h("button", { type: "button", class: "danger", onclick: async () => {
      const given = await ask(`Take ${address} over?`, [
        h("p", {}, `${holder} holds it${lock.reason ? ` for “${lock.reason}”` : ""}. A measurement that relies on it may be spoiled. The holder is told.`),
        h("label", {}, "Why", h("input", { name: "reason", required: true, autocomplete: "off" }))], "Take over", { danger: true });
      if (!given) return;
      const reason = given.get("reason");
      act(async () => {
        await remove(`${api}?${new URLSearchParams({ force: "true", reason })}`);
        await post(api, { reason });
      }, `You have locked ${address}`);
    } }, "Take over…"), () => true, true));
}

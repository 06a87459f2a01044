// The lock of an object: who holds it and for what; taking, giving back, asking for it, taking it over.

import { get, path, post, refused, remove, user } from "./api.js";
import { gated } from "./gates.js";
import { ask, duration, h, say, setText } from "./dom.js";

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

  async function act(what, said) {
    setText(wrong, "");
    try {
      await what();
      say(said);
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
  const mine = await get(api).then((told) => Boolean(told.lock?.mine), () => false);
  if (place.qmiLock !== key) return;
  onAccess(mine);
  if (mine) {
    buttons.append(gated(h("button", { type: "button", onclick: () => act(() => remove(api), `${address} is not locked any more`) }, "Release"), () => true, true));
    return;
  }
  buttons.append(
    gated(h("button", { type: "button", onclick: async () => {
      const given = await ask(`Ask for ${address}`, [h("p", {}, `${who} is told that you want it.`), h("label", {}, "Why", h("input", { name: "reason", autocomplete: "off" }))], "Ask");
      if (given) act(async () => setText(wrong, (await post(`${api}/request`, { reason: given.get("reason") })).told === false ? "The holder could not be told." : ""), "The holder was told");
    } }, "Ask for it"), () => true, true),
    gated(h("button", { type: "button", class: "danger", onclick: async () => {
      const given = await ask(`Take ${address} over?`, [
        h("p", {}, `${who} holds it${lock.reason ? ` for “${lock.reason}”` : ""}. A measurement that relies on it may be spoiled. The holder is told.`),
        h("label", {}, "Why", h("input", { name: "reason", required: true, autocomplete: "off" }))], "Take over", { danger: true });
      if (!given) return;
      const reason = given.get("reason");
      act(async () => {
        await remove(`${api}?${new URLSearchParams({ force: "true", reason })}`);
        await post(api, { reason });
      }, `You have locked ${address}`);
    } }, "Take over…"), () => true, true));
}

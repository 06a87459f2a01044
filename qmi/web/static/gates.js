// Which controls may be used now: those that change something are not, while somebody else holds the lock or the
// program is not there.

import { setAttribute } from "./dom.js";

let lost = "";
let held = "";

function apply(element) {
  const why = lost || (element.qmiDespiteLock ? "" : held);
  element.disabled = Boolean(why) || !element.qmiMay();
  setAttribute(element, "title", why || element.qmiTitle);
}

/** A control that may be used or not; `may()` says whether it makes sense by itself, `despiteLock` that it concerns the
 * lock of somebody else. */
export function gated(element, may = () => true, despiteLock = false) {
  element.qmiMay = may;
  element.qmiDespiteLock = despiteLock;
  element.qmiTitle = element.getAttribute("title");
  element.dataset.gated = "";
  apply(element);
  return element;
}

/** Looks again at the controls within an element. */
export function applyGates(root = document) {
  for (const element of root.querySelectorAll("[data-gated]")) apply(element);
}

/** Closes the gates, with the reason, or opens them again: why the program is not there, and who holds the lock. */
export function setGates(whyLost, whyHeld) {
  if (lost === whyLost && held === whyHeld) return;
  lost = whyLost;
  held = whyHeld;
  applyGates();
}

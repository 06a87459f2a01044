// Elements, texts and numbers: what all pages are made with.

/** An element. `properties` are attributes; `on…` are listeners; false, null and undefined are left out. */
export function h(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties || {})) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value") element.value = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** What stands in the page from the start. */
export const pageData = () => JSON.parse(byId("data").textContent);

/** Sets a text only if it is another one: what has not changed is neither laid out nor read out again. */
export function setText(node, text) {
  const shown = text === null || text === undefined ? "" : String(text);
  if (node.textContent !== shown) node.textContent = shown;
}

/** Sets an attribute only if it is another one; null removes it. */
export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** Shows a list in `parent`: elements that stay are kept, and with them the focus and what was typed. */
export function keyed(parent, items, keyOf, create, update) {
  const known = parent.qmiKnown || (parent.qmiKnown = new Map());
  const wanted = new Map(items.map((item) => [keyOf(item), item]));
  for (const [key, element] of known) {
    if (!wanted.has(key)) {
      element.remove();
      known.delete(key);
    }
  }
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  let place = parent.firstElementChild;
  for (const [key, item] of wanted) {
    let element = known.get(key);
    if (!element) {
      element = create(item);
      known.set(key, element);
    }
    if (element !== place) parent.insertBefore(element, place);
    else place = place.nextElementSibling;
    update(element, item);
  }
  // What is moved to another place loses the focus.
  if (focused && focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}

/** A text that is said to people who do not see the page. */
export function say(text) {
  setText(byId("said"), text);
}

const UNITS = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];

/** A duration in seconds as a person says it: "1 h 5 min". */
export function duration(seconds) {
  if (!(seconds >= 0)) return "";
  if (seconds > 0 && seconds < 1e-6) return `${Math.round(seconds * 1e9)} ns`;
  if (seconds > 0 && seconds < 1e-3) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  for (const [size, unit, smaller, name] of UNITS) {
    if (seconds >= size) {
      const rest = Math.floor((seconds % size) / smaller);
      return rest ? `${Math.floor(seconds / size)} ${unit} ${rest} ${name}` : `${Math.floor(seconds / size)} ${unit}`;
    }
  }
  return seconds < 10 ? `${Math.round(seconds * 10) / 10} s` : `${Math.floor(seconds)} s`;
}

const PREFIXES = { "-12": "p", "-9": "n", "-6": "µ", "-3": "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T" };
const SCALED = /^(V|A|W|Hz|s|F|H|Ω|ohm|Ohm|T|Pa|N|J|C|m|g|bar|K|eV|G|B|rad)$/;

/** A number with at most so many digits. */
export function number(value, digits = 6) {
  if (value === 0) return "0";
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e12) return String(value);
  return String(Number(value.toPrecision(digits)));
}

/** A value of an API as a text; numbers with their unit and its prefix. */
export function valueText(value, unit = "") {
  if (value === null || value === undefined) return "—";
  if (typeof value === "boolean") return value ? "on" : "off";
  if (typeof value === "number") return quantity(value, unit);
  if (typeof value === "string") return value;
  if (Array.isArray(value)) {
    const shown = value.slice(0, 8).map((entry) => valueText(entry));
    return `[${shown.join(", ")}${value.length > 8 ? `, … (${value.length})` : ""}]${unit ? ` ${unit}` : ""}`;
  }
  if (value.reduced?.type) return reducedText(value.reduced, unit);
  return Object.entries(value).map(([name, entry]) => `${name}: ${valueText(entry)}`).join(", ");
}

/** What is told of a value that is too large to be shown. */
function reducedText({ type, shape, dtype, length, min, max, first }, unit) {
  if (type === "str") return `${first.slice(0, 100)}… (${length} characters)`;
  const what = shape ? `${shape.join(" × ")} ${dtype}` : `${type} of ${length}`;
  return `${what}${min === undefined ? "" : `, ${quantity(min, unit)} to ${quantity(max, unit)}`}`;
}

/** A number with its unit: 0.0015 V is "1.5 mV". */
export function quantity(value, unit = "") {
  if (!unit) return number(value);
  if (!SCALED.test(unit) || value === 0 || !Number.isFinite(value)) return `${number(value)} ${unit}`;
  let exponent = Math.floor(Math.log10(Math.abs(Number(value.toPrecision(6)))) / 3) * 3;
  if (unit === "K" || unit === "m" || unit === "g" || unit === "C") exponent = Math.min(exponent, 0);
  exponent = Math.max(-12, Math.min(12, exponent));
  return `${number(value / 10 ** exponent)} ${PREFIXES[exponent]}${unit}`;
}

/** Bytes as a person says them. */
export function bytes(count) {
  if (!(count >= 0)) return "";
  const units = ["B", "kB", "MB", "GB"];
  let at = 0;
  while (count >= 1000 && at < units.length - 1) {
    count /= 1000;
    at += 1;
  }
  return `${count < 10 && at ? count.toFixed(1) : Math.round(count)} ${units[at]}`;
}

const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });

/** A moment (seconds since 1970, or ISO 8601): the time today, else date and time. */
export function moment(when) {
  if (when === null || when === undefined || when === "") return "";
  const date = typeof when === "number" ? new Date(when * 1000) : new Date(when);
  if (Number.isNaN(date.getTime())) return String(when);
  return date.toDateString() === new Date().toDateString() ? TIME.format(date) : DAY.format(date);
}

/** Calls `action` once for many calls, some time after the first of them and with what the last has given: so it is called
 * also while calls never cease. */
export function settled(action, milliseconds) {
  let timer = 0;
  let newest = [];
  return (...given) => {
    newest = given;
    timer ||= setTimeout(() => {
      timer = 0;
      action(...newest);
    }, milliseconds);
  };
}

/** A dialog that asks; resolves to the form's data, or null if the person thought better of it. */
export function ask(title, body, action, { danger = false } = {}) {
  return new Promise((resolve) => {
    const form = h("form", { method: "dialog" },
      h("h2", { id: "ask-title" }, title), body,
      h("p", { class: "buttons" },
        h("button", { value: "", formnovalidate: true }, "Cancel"),
        h("button", { value: "yes", class: danger ? "danger" : "primary" }, action)));
    const dialog = h("dialog", { "aria-labelledby": "ask-title" }, form);
    const [cancel, go] = form.querySelectorAll("button");
    cancel.value = "";
    go.value = "yes";
    cancel.type = "button";
    cancel.addEventListener("click", () => dialog.close(""));
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes" ? new FormData(form) : null);
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

// Methods as forms: a field for each argument, by its type and what its documentation says of it.

import { errorText, loginPath, path, post, user } from "./api.js";
import { h, keyed, setAttribute, setText, valueText } from "./dom.js";
import { applyGates, gated } from "./gates.js";

/** A docstring without its marks: `:meth:` and the like, and double backquotes. */
const plainDoc = (doc) => doc.replace(/:(?:\w+:)?\w+:`~?\.?([^`<]*?)(?:\s*<[^>`]*>)?`/g, "$1").replace(/``([^`]*)``/g, "$1");

/** A docstring: what it says, and what it says of each argument. */
export function readDoc(doc) {
  const told = { text: [], args: {} };
  let section = "";
  let last = "";
  for (const line of plainDoc(doc || "").split("\n")) {
    const head = line.match(/^\s*(Args|Arguments|Parameters|Returns|Yields|Raises):\s*$/);
    if (head) {
      section = head[1];
      continue;
    }
    if (!section) {
      told.text.push(line.trim());
    } else if (/^(Args|Arguments|Parameters)$/.test(section)) {
      const found = line.match(/^\s*\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s*(.*)$/);
      if (found) {
        last = found[1];
        told.args[last] = found[2];
      } else if (last && line.trim()) told.args[last] += ` ${line.trim()}`;
    }
  }
  return { text: told.text.join("\n").trim(), args: told.args };
}

const bare = (type) => (type || "").replace(/^(typing|builtins|numpy|np)\./, "").replace(/\s*\|\s*None$/, "");

/** What a value may be, where its type says that: of a Literal, of an enumeration that a parameter has, too. */
function choicesOf(type, infos) {
  const literal = type.match(/^(?:\w+\.)*Literal\[(.*)\]$/);
  if (literal) return [...literal[1].matchAll(/'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^,\s]+)/g)].map(([, one, two, bare]) => one ?? two ?? bare);
  const known = infos.find((info) => info.values && info.type === type.split(".").pop());
  return known ? known.values.map(String) : type === "bool" ? ["True", "False"] : null;
}

function field(parameter, help, infos) {
  const type = bare(parameter.type);
  const choices = choicesOf(type, infos);
  const id = `argument-${Math.random().toString(36).slice(2)}`;
  const needed = parameter.default === null || parameter.default === undefined;
  const usual = needed ? "" : parameter.default.replace(/^<[\w.]+: (.*)>$/, "$1"); // of an enumeration, the value
  const hint = [parameter.type, !needed && `default ${usual}`].filter(Boolean).join(", ");
  const input = choices
    ? h("select", { id, name: parameter.name }, !needed && h("option", { value: "" }, `default (${usual})`), choices.map((choice) => h("option", { value: type === "bool" ? choice.toLowerCase() : choice }, choice)))
    : h("input", {
      id, name: parameter.name, type: "text", autocomplete: "off", spellcheck: "false", placeholder: needed ? null : parameter.default,
      inputmode: ["float", "int"].includes(type) ? "decimal" : null, "aria-describedby": help ? `${id}-help` : null, "aria-required": needed ? "true" : null,
    });
  return h("div", { class: "argument" }, h("label", { for: id }, parameter.name, " ", h("span", { class: "dim" }, hint)), input,
    help && h("div", { class: "doc", id: `${id}-help` }, help));
}

/** What was typed, as JSON for the server: it reads the rest by the declared type, as on a command line. */
function typed(text, type) {
  if (bare(type) === "str") return text;
  try {
    return JSON.parse(text.trim());
  } catch {
    return text;
  }
}

function collect(form, parameters) {
  const named = {};
  for (const parameter of parameters) {
    const text = form.elements[parameter.name].value;
    if (text !== "" || (bare(parameter.type) === "str" && parameter.default === null)) named[parameter.name] = typed(text, parameter.type);
  }
  return named;
}

function showResult(output, result) {
  if (result === null || result === undefined) output.replaceChildren(h("span", { class: "good" }, "Done"));
  else if (typeof result === "object" && !result.reduced && JSON.stringify(result).length > 60) {
    output.replaceChildren(h("pre", { class: "result", tabindex: "0" }, JSON.stringify(result, null, Array.isArray(result) && typeof result[0] !== "object" ? 0 : 1)));
  } else output.replaceChildren(h("code", {}, valueText(result)));
}

function makeMethod(context, object, method, infos) {
  const { text, args } = readDoc(method.doc);
  const parameters = method.parameters.filter((parameter) => !parameter.kind.startsWith("var_"));
  const shown = parameters.map((parameter) => parameter.name).join(", ");
  const output = h("output", { class: "outcome" });
  const wrong = h("p", { class: "error", role: "alert" });
  let isRunning = false;
  const button = gated(h("button", { class: "primary", title: user ? null : "Log in to call methods" }, "Call"), () => Boolean(user) && !isRunning);
  const form = h("form", { novalidate: true }, parameters.map((parameter) => field(parameter, args[parameter.name], infos)), h("p", { class: "line" }, button, output), wrong);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    setText(wrong, "");
    output.replaceChildren(h("span", { class: "busy" }, "Running…"));
    isRunning = true;
    applyGates(form);
    for (const input of form.querySelectorAll("[aria-invalid]")) setAttribute(input, "aria-invalid", null);
    try {
      showResult(output, (await post(`${path("objects", context, object, "methods", method.name)}?reduced=true`, { arguments: collect(form, parameters) })).result);
    } catch (error) {
      if (error.status === 401) location.assign(loginPath());
      output.replaceChildren();
      setText(wrong, error.type && error.status === 502 ? `${error.type}: ${error.text}` : errorText(error));
      const field = error.argument && form.elements[error.argument];
      if (field) {
        setAttribute(field, "aria-invalid", "true");
        field.focus();
      }
    }
    isRunning = false;
    applyGates(form);
  });
  // The form is there when somebody unfolds it: objects may have a hundred methods.
  const unfold = (event) => {
    const details = event.currentTarget;
    if (details.open && !details.querySelector(".body")) {
      details.append(h("div", { class: "body" }, text.includes("\n") && h("pre", { class: "doc" }, text.split("\n").slice(1).join("\n").trim()), form));
      applyGates(details);
    }
  };
  return h("details", { class: "method", ontoggle: unfold },
    h("summary", {}, h("code", {}, method.name, h("span", { class: "dim" }, `(${shown})${method.returns && method.returns !== "None" ? ` → ${method.returns}` : ""}`)), " ", h("span", { class: "dim brief" }, text.split("\n")[0])));
}

// What all objects of a kind have stands apart from what this one can do.
const COMMON = new Set(["close", "open", "is_open", "is_simulated", "get_category", "get_name", "get_signals", "parameters", "snapshot", "restore",
  "get_last_failure", "get_pending_settings", "get_settings", "set_settings", "get_state", "get_statistics", "get_status", "get_task_class_name",
  "is_running", "join", "start", "stop", "get_loop_statistics"]);

const makeCommon = () => h("details", { class: "method common" }, h("summary", { class: "dim" }), h("div", {}));

/** Shows methods, without those that get and set parameters. Methods that were shown already stay, and with them what was
 * typed: an object is asked again when its program was started again. */
export function showMethods(place, context, object, methods, infos) {
  const accessors = new Set(infos.flatMap(({ name }) => {
    const [, group = "", own] = name.match(/^(.*\.)?([^.]+)$/);
    return [`${group}get_${own}`, `${group}set_${own}`];
  }));
  const shown = methods.filter((method) => !accessors.has(method.name));
  const common = shown.filter((method) => COMMON.has(method.name));
  const own = shown.filter((method) => !COMMON.has(method.name));
  const keyOf = (method) => JSON.stringify([method, method.parameters.map(({ type }) => choicesOf(bare(type), infos))]);
  const show = (where, list) => keyed(where, list, keyOf, (method) => makeMethod(context, object, method, infos), () => {});
  if (!place.firstChild) place.append(h("div", {}), makeCommon());
  const [first, rest] = place.children;
  show(first, own);
  show(rest.lastChild, common);
  setText(rest.firstChild, `${common.length} methods that all objects of this kind have`);
  rest.hidden = !common.length;
}

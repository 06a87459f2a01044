// What the doctor finds: faults first, and what to do about them.

import { errorText, get } from "./api.js";
import { byId, h, moment, setText } from "./dom.js";

const LEVELS = [["fault", "Faults", "bad"], ["warning", "Warnings", "busy"], ["ok", "In order", "good"]];

function section([level, title, kind], findings) {
  const found = findings.filter((finding) => finding.level === level);
  if (!found.length) return null;
  return h("section", { class: "card", "aria-labelledby": `level-${level}` },
    h("header", {}, h("h2", { id: `level-${level}`, class: kind }, `${title} (${found.length})`)),
    h("div", { class: "scroll" }, h("table", { class: "findings", "aria-labelledby": `level-${level}` },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "What"), h("th", { scope: "col" }, "Found"), level !== "ok" && h("th", { scope: "col" }, "What to do"))),
      h("tbody", {}, found.map((finding) => h("tr", {}, h("th", { scope: "row" }, finding.what), h("td", {}, finding.found), level !== "ok" && h("td", {}, finding.todo)))))));
}

async function look() {
  byId("again").disabled = true;
  setText(byId("note"), "Looking…");
  setText(byId("problem"), "");
  try {
    const findings = await get("/api/doctor");
    byId("findings").replaceChildren(...LEVELS.map((level) => section(level, findings)).filter(Boolean));
    const bad = findings.filter((finding) => finding.level !== "ok").length;
    setText(byId("note"), `${bad ? `${bad} of ${findings.length} want attention` : "All is in order"}, as of ${moment(Date.now() / 1000)}`);
  } catch (error) {
    setText(byId("note"), "");
    setText(byId("problem"), errorText(error));
  }
  byId("again").disabled = false;
}

byId("again").addEventListener("click", look);
look();

// The dashboards that are kept.

import { errorText, get } from "./api.js";
import { byId, h, setText } from "./dom.js";

try {
  const names = await get("/api/dashboards");
  byId("boards").replaceChildren(...names.map((name) => h("li", {}, h("a", { href: `/dashboards/${encodeURIComponent(name)}` }, name))));
  byId("none").hidden = Boolean(names.length);
} catch (error) {
  setText(byId("problem"), errorText(error));
}

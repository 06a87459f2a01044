// The bar above all pages: logging in and out.

import { loginPath, post, user } from "./api.js";
import { byId } from "./dom.js";
import { showRequests } from "./requests.js";

byId("login-link")?.addEventListener("click", (event) => {
  event.preventDefault();
  location.assign(loginPath());
});
byId("logout")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  await post("/api/logout");
  location.reload();
});
document.querySelector(".bar [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
if (user) showRequests();

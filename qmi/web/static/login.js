// Logs in, with what was typed or with the token of the address that qmi web has printed.

const form = document.getElementById("login");
const wrong = document.getElementById("wrong");

function next() {
  const wanted = new URLSearchParams(location.search).get("next") || "/";
  // A path of this server, and no other one: //elsewhere would be another.
  return /^\/(?![/\\])/.test(wanted) ? wanted : "/";
}

async function login(fields) {
  const answer = await fetch("/api/login", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(fields),
  });
  if (answer.ok) {
    location.replace(next());
  } else {
    wrong.textContent = (await answer.json()).error.message;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  login(Object.fromEntries(new FormData(form)));
});

const token = new URLSearchParams(location.hash.slice(1)).get("token");
if (token && form.dataset.by === "token") {
  history.replaceState(null, "", location.pathname + location.search);
  login({ token });
}

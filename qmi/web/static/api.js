// Requests to the server. Errors are what the server says: its type, its message, and what to do.

import { setText } from "./dom.js";

/** Why a request was not carried out. */
export class ApiError extends Error {
  constructor(status, told) {
    super(told.message || `The server answered ${status}`);
    this.status = status;
    this.type = told.type || "";
    this.hint = told.hint || "";
    this.argument = told.argument || "";
  }

  /** What a person reads. */
  get text() {
    return this.hint ? `${this.message}. ${this.hint}` : this.message;
  }
}

const token = () => document.querySelector('meta[name="csrf"]')?.content || "";

async function request(method, path, body) {
  const headers = { accept: "application/json" };
  const options = { method, headers, credentials: "same-origin", cache: "no-store" };
  if (method !== "GET") headers["X-QMI-Token"] = token();
  if (body !== undefined) {
    headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new ApiError(0, { type: "Unreachable", message: "The server of the pages does not answer" });
  }
  const text = await answer.text();
  let told = null;
  try {
    told = text ? JSON.parse(text) : null;
  } catch {
    told = { error: { message: text.slice(0, 200) } };
  }
  if (!answer.ok) throw new ApiError(answer.status, told?.error || {});
  return told;
}

/** Who is logged in; empty if nobody is. */
export const user = document.querySelector('meta[name="user"]')?.content || "";

/** Where somebody logs in and comes back from. */
export const loginPath = () => `/login?next=${encodeURIComponent(location.pathname + location.search)}`;

/** What a person reads of an error, of the server or of a script. */
export const errorText = (error) => error.text || error.message || String(error);

/** Says why a change was not made; whoever is not logged in any more is sent to the login. */
export function refused(place, error) {
  if (error.status === 401) location.assign(loginPath());
  setText(place, errorText(error));
}

export const get = (path) => request("GET", path);
export const put = (path, body) => request("PUT", path, body);
export const post = (path, body = {}) => request("POST", path, body);
export const remove = (path) => request("DELETE", path);

/** The address of something of an API: every part is encoded. */
export const path = (...parts) => `/api/${parts.map(encodeURIComponent).join("/")}`;

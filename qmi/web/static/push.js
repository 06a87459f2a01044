// What the server pushes: one stream for the page, whatever it shows. A browser that was away gets the newest values
// and is told how many it has missed.

import { byId, duration, moment, say, setAttribute, setText } from "./dom.js";

const SETTLE = 30; // ms: topics that are asked for together are one request
const BEATS_MISSED = 2.5;
const LONGEST_WAIT = 8000; // ms between two tries
const HIDDEN_FOR = 5000; // ms after which a page that nobody sees lets go of its stream
const SHOW_BACK = 8000; // ms
const SINGLE = /^(value|signal):/; // of these only the newest comes; lists have numbers of their own

/** Of a list whose items have numbers, those that are not there yet. A list may come again as a whole, or in part, when
 * a stream breaks or its program was away. */
export class Numbered {
  constructor() {
    this.highest = new Map(); // run -> the highest number so far
  }

  /** The items of a list that are new. Where numbers are left out, `{lost, time}` says how many, if `isWhole`: if items
   * have all numbers from the first on. */
  fresh(list, isWhole = true) {
    const found = [];
    for (const item of Array.isArray(list) ? list : []) {
      const run = item.run || "";
      const highest = this.highest.get(run);
      if (highest !== undefined && item.number <= highest) continue;
      if (isWhole && highest !== undefined && !item.lost && item.number > highest + 1) found.push({ lost: item.number - highest - 1, number: item.number - 1, time: item.time, run });
      this.highest.set(run, item.number);
      found.push(item);
    }
    return found;
  }
}

/** The pushes of this page. Browsers have few connections to a server, so a page has one stream for all its topics. */
export class Pushes {
  constructor() {
    this.topics = new Map(); // topic -> Set of listeners
    this.newest = new Map(); // topic -> the last push
    this.batches = new Set(); // called after all topics of an event have their newest value
    this.missed = new Map(); // topic -> how many were left out in all
    this.sources = new Map(); // topic -> what the server calls its source, in which values are counted
    this.numbers = new Map(); // topic -> how many values of that source have come, left out ones included
    this.back = null; // what was missed while the page was away
    this.source = null;
    this.heard = 0; // when something came last
    this.lostSince = 0;
    this.beat = 0; // ms between heartbeats, as the server says
    this.tries = 0;
    this.lastId = "";
    this.keepsInBackground = false;
    this.timer = 0;
    this.hiding = 0;
    this.showing = 0;
    document.addEventListener("visibilitychange", () => this.#seen());
    window.addEventListener("pagehide", () => this.#close());
    window.addEventListener("pageshow", (event) => event.persisted && this.#openSoon());
    window.addEventListener("online", () => this.lostSince && this.#open());
    setInterval(() => this.#look(), 1000);
  }

  /** Calls `listener(value, push)` with the newest value of a topic, now and whenever there is a newer one; returns
   * what ends that. `push` has `topic`, `time` and `missed`. */
  on(topic, listener) {
    const listeners = this.topics.get(topic) || new Set();
    listeners.add(listener);
    if (!this.topics.has(topic)) {
      this.topics.set(topic, listeners);
      this.#openSoon();
    } else if (this.newest.has(topic)) {
      const push = this.newest.get(topic);
      queueMicrotask(() => listeners.has(listener) && listener(push.value, push));
    }
    return () => {
      listeners.delete(listener);
      if (!listeners.size && this.topics.get(topic) === listeners) {
        this.topics.delete(topic);
        this.newest.delete(topic);
        this.numbers.delete(topic);
        this.#openSoon();
      }
    };
  }

  /** How many values were left out so far, of a topic or of all. */
  missedOf(topic) {
    return topic ? this.missed.get(topic) || 0 : [...this.missed.values()].reduce((sum, count) => sum + count, 0);
  }

  #openSoon(after = SETTLE) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#open(), after);
  }

  #open() {
    clearTimeout(this.timer);
    this.#close();
    if (!this.topics.size) return;
    if (document.hidden && !this.keepsInBackground) return;
    const topics = [...this.topics.keys()];
    const query = new URLSearchParams(topics.map((topic) => ["topic", topic]));
    // What is there already need not come again, and is counted on from.
    if (this.numbers.size) for (const topic of topics) query.append("after", this.numbers.has(topic) ? `${this.sources.get(topic)}.${this.numbers.get(topic)}` : "-");
    const source = new EventSource(`/api/events?${query}`);
    this.source = source;
    this.heard = performance.now();
    source.addEventListener("hello", (event) => this.#hello(event));
    source.addEventListener("beat", () => this.#here());
    source.addEventListener("push", (event) => this.#event(event));
    source.addEventListener("open", () => this.#here());
    source.addEventListener("error", () => source === this.source && this.#lost());
  }

  #close() {
    this.source?.close();
    this.source = null;
  }

  #hello(event) {
    const told = JSON.parse(event.data);
    this.beat = (told.beat || 0) * 1000;
    const unknown = (told.unknown || []).filter((topic) => SINGLE.test(topic)).length;
    for (const [topic, source] of Object.entries(told.sources || {})) {
      if (this.sources.get(topic) !== source) this.numbers.delete(topic);
      this.sources.set(topic, source);
    }
    if (this.lostSince) this.back = { since: this.lostSince, away: (Date.now() - this.lostSince) / 1000, unknown, missed: 0, first: new Set(this.topics.keys()) };
    this.#here();
  }

  /** What is said of the time away. All that waited comes at once: what comes first of each topic says how many there were. */
  #backText() {
    const { since, away, unknown, missed } = this.back;
    const counted = missed ? `${missed} value${missed === 1 ? " was" : "s were"} left out` : "";
    const left = unknown ? (counted ? `At least ${counted}, of ${unknown} it is not known` : "How many values were left out is not known") : counted || "No value was left out";
    return `Back. Was away for ${duration(away)}, since ${moment(since / 1000)}. ${left}`;
  }

  #here() {
    this.heard = performance.now();
    this.tries = 0;
    if (this.lostSince && this.back) {
      this.#show("back", this.#backText());
      say(`Connection is back after ${duration(this.back.away)}`);
      this.lostSince = 0;
      clearTimeout(this.showing);
      this.showing = setTimeout(() => {
        this.back = null;
        if (!this.lostSince) this.#show("live", "");
      }, SHOW_BACK);
      document.dispatchEvent(new CustomEvent("qmi-back"));
    } else if (!this.lostSince && byId("connection").dataset.state !== "back") this.#show("live", "");
  }

  #event(event) {
    this.#here();
    this.#push(JSON.parse(event.data));
    // The last of those that are sent together has an identifier of its own.
    if (event.lastEventId === this.lastId) return;
    this.lastId = event.lastEventId;
    for (const listener of this.batches) listener();
  }

  #push(push) {
    // Of a state, the newest is all that there is to know: only of what is measured or logged something is missed.
    if (push.missed && /^(value|signal|rows|log|traffic):/.test(push.topic)) this.missed.set(push.topic, this.missedOf(push.topic) + push.missed);
    if (this.back?.first.delete(push.topic) && push.missed && SINGLE.test(push.topic)) {
      this.back.missed += push.missed;
      this.#show("back", this.#backText());
    }
    this.numbers.set(push.topic, push.number);
    this.newest.set(push.topic, push);
    for (const listener of this.topics.get(push.topic) || []) listener(push.value, push);
  }

  #lost() {
    this.#close();
    if (!this.lostSince) {
      this.lostSince = Date.now();
      this.back = null;
      say("Connection to the server is lost");
    }
    this.tries += 1;
    this.#look();
    this.#openSoon(Math.min(500 * 2 ** (this.tries - 1), LONGEST_WAIT));
  }

  /** Once a second: how long it is lost, and whether a stream that says nothing is dead. */
  #look() {
    if (this.lostSince) {
      const since = (Date.now() - this.lostSince) / 1000;
      this.#show("lost", `Not connected since ${moment(this.lostSince / 1000)} (${duration(Math.floor(since))}). What is shown is as it was then`);
    } else if (this.source && this.beat && performance.now() - this.heard > this.beat * BEATS_MISSED) {
      this.#lost();
    }
    const missed = this.missedOf();
    setText(byId("missed"), missed ? `${missed} skipped` : "");
    setAttribute(byId("missed"), "title", missed ? "Values that came faster than this page could take them; it shows the newest" : null);
  }

  #show(state, text) {
    const place = byId("connection");
    setAttribute(place, "data-state", state);
    setText(byId("connection-text"), text || (state === "live" ? "live" : ""));
    setAttribute(document.documentElement, "data-connection", state);
  }

  #seen() {
    clearTimeout(this.hiding);
    if (!document.hidden) {
      if (!this.source) this.#openSoon(0);
    } else if (!this.keepsInBackground) {
      this.hiding = setTimeout(() => document.hidden && this.#close(), HIDDEN_FOR);
    }
  }
}

/** The pushes of this page. */
export const pushes = new Pushes();

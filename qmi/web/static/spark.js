// How a value went in the last minute, as a line beside it. Drawn once a second, and not while the page is hidden.

import { setAttribute } from "./dom.js";

const SECONDS = 60;
const MOST = 240; // points: four a second
const WIDTH = 84;
const HEIGHT = 20;
const SVG = "http://www.w3.org/2000/svg";
const all = new Set();

/** A small plot of a value. */
export class Spark {
  constructor() {
    this.points = [];
    this.element = document.createElementNS(SVG, "svg");
    this.line = document.createElementNS(SVG, "polyline");
    for (const [name, value] of [["class", "spark"], ["viewBox", `0 0 ${WIDTH} ${HEIGHT}`], ["aria-hidden", "true"]]) this.element.setAttribute(name, value);
    this.element.append(this.line);
    all.add(this);
  }

  /** A value that has come; what is no number is left out. */
  push(value) {
    if (typeof value !== "number" || !Number.isFinite(value)) return;
    const now = performance.now() / 1000;
    const last = this.points[this.points.length - 1];
    if (last && now - last[0] < SECONDS / MOST) last[1] = value;
    else this.points.push([now, value]);
    this.isNew = true;
  }

  draw() {
    if (!this.element.isConnected || !this.element.checkVisibility()) return;
    const now = performance.now() / 1000;
    while (this.points.length && now - this.points[0][0] > SECONDS) this.points.shift();
    if (!this.isNew && !this.points.length) return;
    this.isNew = false;
    const values = this.points.map(([, value]) => value);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const height = (value) => (high > low ? HEIGHT - 2 - ((value - low) / (high - low)) * (HEIGHT - 4) : HEIGHT / 2);
    setAttribute(this.line, "points", this.points.length < 2 ? "" : this.points.map(([time, value]) => `${(WIDTH * (1 - (now - time) / SECONDS)).toFixed(1)},${height(value).toFixed(1)}`).join(" "));
  }
}

setInterval(() => {
  if (!document.hidden) for (const spark of all) spark.draw();
}, 1000);

// Plots of live values, drawn by uPlot. A value is a row when it comes, and what has come together is one picture. No
// picture is drawn without a new value, and none where nobody sees it.

import { h, number, setAttribute, setText } from "./dom.js";
import { pushes } from "./push.js";

const KEPT = 40_000; // rows: half an hour at 20 Hz
const DRAW_EACH = 25; // ms; values come 20 times a second at most, and each is in a picture
const DRAW_EACH_CALM = 500;
const TELL_EACH = 200; // ms: nobody reads figures that change more often
const WINDOWS = [[10, "10 s"], [60, "1 min"], [300, "5 min"], [1800, "30 min"]];
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");

/** What a text such as "lab.supply.current" or "lab.hold.sig_temperature[0]" means. */
export function sourceOf(text) {
  const [, context, object, member] = text.match(/^([^.]+)\.([^.]+)\.(.+)$/) || [];
  if (!member) throw new Error(`It is written CONTEXT.OBJECT.NAME, such as lab.psu.voltage; got ${text}`);
  const signal = member.match(/^(sig_\w+?)(?:\[(\d+)\])?$/);
  if (signal) {
    const index = Number(signal[2] || 0);
    return { text, label: text, topic: `signal:${context}.${object}.${signal[1]}`, unit: "", read: (value) => value.args?.[index] };
  }
  return { text, label: text, topic: `value:${text}`, unit: "", read: (value) => value.value };
}

const pad = (value) => String(value).padStart(2, "0");

/** The times of an axis: with seconds where these tell them apart. */
function clock(_, ticks) {
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : 60;
  return ticks.map((tick) => {
    const at = new Date(tick * 1000);
    const minute = `${pad(at.getHours())}:${pad(at.getMinutes())}`;
    if (step >= 60) return minute;
    return `${minute}:${pad(at.getSeconds())}${step < 1 ? `.${pad(Math.floor(at.getMilliseconds() / 10))}` : ""}`;
  });
}

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const COLOURS = 8;

// One loop draws all plots of a page that are seen and have something new: one picture for what has come together.
const waiting = new Set();
let isDue = false;
let drawn = 0;

function drawSoon(plot) {
  waiting.add(plot);
  drawDue();
}

function drawDue() {
  if (isDue || document.hidden || !waiting.size) return;
  isDue = true;
  // What is to wait sleeps, and does not look at each picture of the screen whether it is time.
  const rest = (calm.matches ? DRAW_EACH_CALM : DRAW_EACH) - (performance.now() - drawn);
  if (rest > 4) setTimeout(() => requestAnimationFrame(drawAll), rest - 4);
  else requestAnimationFrame(drawAll);
}

function drawAll(now) {
  isDue = false;
  if (document.hidden) return; // one that was due is drawn when the page is seen again
  drawn = now;
  for (const plot of waiting) {
    if (!plot.isSeen) continue; // it says when it is
    waiting.delete(plot);
    plot.draw();
  }
}

document.addEventListener("visibilitychange", drawDue);

/** A plot of values as they come, or of columns that are given. */
export class LivePlot {
  /**
   * @param place Where it goes.
   * @param sources What it shows: `{text, label, topic, unit, read, axis}`; `axis: "own"` gives a value an axis of its own.
   */
  constructor(place, sources, { height = 240, span = 60, onChange = () => {} } = {}) {
    this.sources = [];
    this.ends = new Map();
    this.rows = [[]];
    this.pending = null;
    this.span = span;
    this.height = height;
    this.isPaused = false;
    this.isSeen = true;
    this.onChange = onChange;
    this.drawings = 0;
    this.told = 0; // when the legend had its values
    this.telling = 0;
    pushes.keepsInBackground = true; // what comes meanwhile is kept, so that there is no gap when it is looked at again
    this.pause = h("button", { type: "button", "aria-pressed": "false", onclick: () => this.#pause(!this.isPaused) }, "Pause");
    this.chosen = h("select", { "aria-label": "How much is shown", onchange: () => { this.span = Number(this.chosen.value); this.#follow(); this.onChange(); } },
      WINDOWS.map(([seconds, text]) => h("option", { value: seconds, selected: seconds === span }, text)));
    this.back = h("button", { type: "button", class: "quiet", hidden: true, onclick: () => this.#follow() }, "Back to now");
    this.legend = h("ul", { class: "legend" });
    this.canvas = h("div", {
      class: "plot-canvas", tabindex: "0", role: "img", "aria-label": "Plot", "aria-describedby": "plot-help",
    });
    if (!document.getElementById("plot-help")) {
      document.body.append(h("p", { id: "plot-help", hidden: true }, "Drag to zoom, Shift and drag to move, double click to go back to now. Keys: arrows move, plus and minus zoom, Escape goes back, space pauses."));
    }
    this.element = h("div", { class: "plot" }, h("div", { class: "plot-bar" }, this.legend, h("span", { class: "push-right" }), this.back, this.chosen, this.pause), this.canvas);
    place.append(this.element);
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.take = () => this.#take();
    pushes.batches.add(this.take);
    this.resizing = new ResizeObserver(() => this.#resize());
    this.resizing.observe(this.canvas);
    this.seeing = new IntersectionObserver((entries) => {
      this.isSeen = entries[entries.length - 1].isIntersecting;
      if (this.isSeen) drawSoon(this);
    });
    this.seeing.observe(this.canvas);
    this.recolour = () => this.#make();
    dark.addEventListener("change", this.recolour);
    for (const source of sources) this.#listen(source);
    this.#make();
  }

  add(source) {
    if (this.sources.some((known) => known.text === source.text)) return;
    this.#listen(source);
    this.#make();
  }

  remove(text) {
    const at = this.sources.findIndex((source) => source.text === text);
    if (at < 0) return;
    this.ends.get(text)();
    this.ends.delete(text);
    this.sources.splice(at, 1);
    this.rows.splice(at + 1, 1);
    if (!this.sources.length) this.rows = [[]];
    this.#make();
  }

  /** Ends it, with all that it listens to. */
  close() {
    for (const end of this.ends.values()) end();
    pushes.batches.delete(this.take);
    this.resizing.disconnect();
    this.seeing.disconnect();
    dark.removeEventListener("change", this.recolour);
    waiting.delete(this);
    clearTimeout(this.telling);
    this.plot?.destroy();
    this.element.remove();
  }

  #listen(source) {
    this.sources.push(source);
    this.rows.push(this.rows[0].map(() => null));
    this.ends.set(source.text, pushes.on(source.topic, (told, push) => this.#value(source, told, push)));
  }

  #value(source, told, push) {
    source.error = told.error?.message || "";
    if (source.error) this.#values(null);
    if (told.unit && !source.unit) {
      source.unit = told.unit;
      this.isStale = true;
    }
    let value = source.read(told);
    if (typeof value === "boolean") value = Number(value);
    if (typeof value !== "number") {
      if (!told.gap) return;
      value = null;
    }
    this.pending ||= { time: 0, values: new Map() };
    this.pending.time = Math.max(this.pending.time, told.time || push.time);
    this.pending.values.set(source, value);
  }

  /** One row of what has come together. */
  #take() {
    if (!this.pending) return;
    const { time, values } = this.pending;
    this.pending = null;
    const times = this.rows[0];
    // Times are by the clocks of several computers; a plot goes to the right.
    times.push(times.length && time <= times[times.length - 1] ? times[times.length - 1] + 1e-4 : time);
    this.sources.forEach((source, index) => this.rows[index + 1].push(values.has(source) ? values.get(source) : undefined));
    if (times.length > KEPT * 1.1) for (const column of this.rows) column.splice(0, column.length - KEPT);
    if (!this.isPaused) drawSoon(this);
  }

  #make() {
    this.isStale = false;
    this.plot?.destroy();
    this.canvas.replaceChildren();
    const colour = (index) => style(`--series-${(index % COLOURS) + 1}`);
    // With a letter in front: a unit may be called as the axis of time is.
    const scaleOf = (source) => `y${source.axis === "own" ? source.text : source.unit || ""}`;
    const scales = [...new Set(this.sources.map(scaleOf))];
    const axis = { stroke: style("--dim"), grid: { stroke: style("--faint"), width: 1 }, ticks: { stroke: style("--line"), width: 1, size: 4 }, font: "11px system-ui, sans-serif" };
    const options = {
      width: this.canvas.clientWidth || 600, height: this.height, legend: { show: false },
      cursor: { drag: { x: true, y: false, setScale: true }, points: { size: 5 } },
      scales: { x: { time: true }, ...Object.fromEntries(scales.map((name) => [name, {}])) },
      series: [{}, ...this.sources.map((source, index) => ({
        label: source.label, stroke: colour(index), width: 1.5, scale: scaleOf(source), spanGaps: false, points: { show: false },
      }))],
      axes: [{ ...axis, size: 28, space: 84, values: clock }, ...scales.map((name, index) => {
        const only = this.sources.filter((source) => scaleOf(source) === name);
        const stroke = scales.length > 1 && only.length === 1 ? colour(this.sources.indexOf(only[0])) : axis.stroke;
        return { ...axis, stroke, scale: name, side: index % 2 ? 1 : 3, grid: { ...axis.grid, show: index === 0 }, size: 58, values: (_, ticks) => ticks.map((tick) => number(tick)), label: only[0]?.unit || undefined, labelSize: 16, labelFont: "11px system-ui, sans-serif", labelGap: 0 };
      })],
      hooks: {
        setSelect: [() => { this.isZoomed = true; }],
        setScale: [(plot, key) => key === "x" && this.#zoomed()],
        setCursor: [(plot) => this.#values(plot.cursor.idx)],
      },
    };
    this.plot = new window.uPlot(options, this.rows, this.canvas);
    this.plot.over.addEventListener("dblclick", () => this.#follow());
    this.plot.over.addEventListener("mousedown", (event) => event.shiftKey && this.#pan(event), true);
    this.plot.over.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== this.canvas) return;
      event.preventDefault();
      this.#zoom(event.deltaY > 0 ? 1.25 : 0.8, event.offsetX / this.plot.over.clientWidth);
    }, { passive: false });
    this.legend.replaceChildren(...this.sources.map((source, index) => {
      const value = h("span", { class: "num" });
      const mark = h("span", { class: "mark" });
      mark.style.background = colour(index);
      const item = h("li", {}, mark, h("span", { class: "name" }, source.label), value);
      item.qmiValue = value;
      return item;
    }));
    this.#values(null);
    drawSoon(this);
  }

  /** The values under the cursor, else the newest, in the legend. */
  #values(index) {
    this.sources.forEach((source, at) => {
      const column = this.rows[at + 1];
      let place = index ?? column.length - 1;
      while (place >= 0 && column[place] === undefined) place -= 1;
      const value = column[place];
      const place_ = this.legend.children[at]?.qmiValue;
      if (place_) place_.classList.toggle("bad", Boolean(source.error));
      if (place_) setText(place_, source.error || (value === null || value === undefined ? "" : `${number(value, 5)}${source.unit ? ` ${source.unit}` : ""}`));
    });
  }

  /** The newest values in the legend, now or soon. */
  #tell() {
    if (this.telling) return;
    const rest = TELL_EACH - (performance.now() - this.told);
    if (rest > 0) {
      this.telling = setTimeout(() => {
        this.telling = 0;
        this.#tell();
      }, rest);
      return;
    }
    this.told = performance.now();
    if (this.plot.cursor.idx === null || this.plot.cursor.idx === undefined) this.#values(null);
  }

  draw() {
    if (this.isStale) this.#make();
    this.drawings += 1;
    const times = this.rows[0];
    if (this.isZoomed) {
      this.plot.setData(this.rows, false);
      this.plot.redraw(true, false);
    } else {
      const end = times.length ? times[times.length - 1] : Date.now() / 1000;
      // What is shown alone is handed over: to look through half an hour for each picture of ten seconds would be work.
      let begin = times.length;
      while (begin > 0 && times[begin - 1] >= end - this.span) begin -= 1;
      const from = Math.max(0, begin - 1);
      this.isFollowing = true;
      this.plot.batch(() => {
        this.plot.setData(from ? this.rows.map((column) => column.slice(from)) : this.rows, false);
        this.plot.setScale("x", { min: end - this.span, max: end });
      });
      this.isFollowing = false;
    }
    this.#tell();
  }

  #zoomed() {
    if (this.isFollowing || !this.isZoomed) return;
    if (this.plot.data !== this.rows) queueMicrotask(() => this.plot.setData(this.rows, false));
    this.back.hidden = false;
  }

  #range() {
    const { min, max } = this.plot.scales.x;
    return [min ?? 0, max ?? 1];
  }

  #show(min, max) {
    this.isZoomed = true;
    this.back.hidden = false;
    this.plot.setData(this.rows, false);
    this.plot.setScale("x", { min, max });
  }

  #zoom(factor, at = 0.5) {
    const [min, max] = this.#range();
    const centre = min + at * (max - min);
    this.#show(centre - (centre - min) * factor, centre + (max - centre) * factor);
  }

  #move(part) {
    const [min, max] = this.#range();
    this.#show(min + part * (max - min), max + part * (max - min));
  }

  #pan(begun) {
    begun.stopImmediatePropagation();
    begun.preventDefault();
    const [min, max] = this.#range();
    const width = this.plot.over.clientWidth;
    const move = (event) => {
      const shift = ((begun.clientX - event.clientX) / width) * (max - min);
      this.#show(min + shift, max + shift);
    };
    const end = () => {
      document.removeEventListener("mousemove", move);
      document.removeEventListener("mouseup", end);
    };
    document.addEventListener("mousemove", move);
    document.addEventListener("mouseup", end);
  }

  #follow() {
    this.isZoomed = false;
    this.back.hidden = true;
    this.plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    if (this.isPaused) this.draw();
    else drawSoon(this);
  }

  #pause(on) {
    this.isPaused = on;
    setAttribute(this.pause, "aria-pressed", String(on));
    setText(this.pause, on ? "Go on" : "Pause");
    if (on) waiting.delete(this);
    else drawSoon(this);
  }

  #key(event) {
    const done = {
      ArrowLeft: () => this.#move(-0.2), ArrowRight: () => this.#move(0.2), "+": () => this.#zoom(0.8), "=": () => this.#zoom(0.8),
      "-": () => this.#zoom(1.25), Escape: () => this.#follow(), " ": () => this.#pause(!this.isPaused),
    }[event.key];
    if (!done) return;
    event.preventDefault();
    done();
  }

  #resize() {
    const width = this.canvas.clientWidth;
    if (width && this.plot && Math.abs(width - this.plot.width) > 1) this.plot.setSize({ width, height: this.height });
  }
}

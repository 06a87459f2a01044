"""What ten plots of two values each at 20 Hz cost in a real Chromium, all of them in sight, each of ten seconds.

It is processor time in per cent of one processor: of the process that runs the page ("renderer") and of those that
bring its pictures to the screen ("others"), which here is done without a graphics processor, as on a remote desktop.
"pictures" is how often each plot is drawn in a second. ``live`` is the page of the plots. ``each frame`` is the same
page, drawn whenever the screen is, for curves that glide. ``uPlot`` and ``Plotly.js`` draw the same data, made in the
page itself, with what each library offers for it; one that cannot follow draws fewer, so what counts is the time that
a picture takes ("ms a picture", of all processes).
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.plan import Figures, Goal, Measure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

PLOTS = 10
RATE = 20
SPAN = 10
SIZE = {"width": 1280, "height": 3000}
_SETTLE = 3.0

_FEED = """
window.drawings = 0;
const plots = [], columns = [];
for (let number = 0; number < PLOTS; number += 1) {
  const place = document.createElement("div");
  place.style.cssText = "width: 600px; height: 220px; float: left";
  document.body.append(place);
  const times = [], first = [], second = [];
  for (let step = -SPAN * RATE; step < 0; step += 1) {
    const at = Date.now() / 1000 + step / RATE;
    times.push(at); first.push(Math.sin(at)); second.push(Math.cos(at));
  }
  columns.push([times, first, second]);
  plots.push(make(place, columns[number]));
}
setInterval(() => {
  const at = Date.now() / 1000;
  plots.forEach((plot, number) => {
    add(plot, columns[number], at, Math.sin(at + number), Math.cos(at + number));
    window.drawings += 1;
  });
}, 1000 / RATE);
"""
_UPLOT = """
const make = (place, data) => new uPlot({
  width: 600, height: 220, legend: { show: false }, scales: { x: { time: true } },
  series: [{}, { stroke: "#06c", width: 1.5 }, { stroke: "#c60", width: 1.5 }],
}, data, place);
const add = (plot, data, ...row) => {
  data.forEach((column, index) => { column.push(row[index]); column.shift(); });
  plot.setData(data);
};
"""
_PLOTLY = """
const dated = (times) => times.map((at) => new Date(at * 1000));
const make = (place, [times, first, second]) => {
  const line = (y) => ({ x: dated(times), y, mode: "lines", line: { width: 1.5 } });
  const margin = { l: 50, r: 10, t: 10, b: 30 };
  Plotly.newPlot(place, [line([...first]), line([...second])], { width: 600, height: 220, margin, showlegend: false });
  return place;
};
const add = (place, data, at, ...values) =>
  Plotly.extendTraces(place, { x: values.map(() => dated([at])), y: values.map((one) => [one]) }, [0, 1], SPAN * RATE);
"""
_EACH_FRAME = """
const draw = () => {
  const now = Date.now() / 1000;
  for (const plot of window.qmiPlots) {
    plot.plot.setScale("x", { min: now - plot.span, max: now });
    plot.drawings += 1;
  }
  requestAnimationFrame(draw);
};
requestAnimationFrame(draw);
"""
_PICTURES = "window.drawings ?? window.qmiPlots.reduce((sum, plot) => sum + plot.drawings, 0)"


def measure(system: Any, variant: str, seconds: float) -> Figures:
    from benchmarks.web.chromium import Usage, chromium

    with chromium() as browser, _shown(browser, variant) as page:
        page.wait_for_timeout(_SETTLE * 1000)
        usage, begin, before = Usage(), time.monotonic(), page.evaluate(_PICTURES)
        page.wait_for_timeout(seconds * 1000)
        pictures = (page.evaluate(_PICTURES) - before) / (time.monotonic() - begin) / PLOTS
        shares = usage.shares()
        return {**shares, "pictures": pictures, "ms a picture": sum(shares.values()) * 10.0 / pictures / PLOTS}


@contextmanager
def _shown(browser: Browser, variant: str) -> Iterator[Page]:
    """A page that shows the plots, for the length of the block."""
    from benchmarks.web.stage import laboratory, pages

    page = browser.new_page(viewport={"width": SIZE["width"], "height": SIZE["height"]})
    if variant in ("uPlot", "Plotly.js"):
        names = {"PLOTS": PLOTS, "RATE": RATE, "SPAN": SPAN}
        page.set_content("<!doctype html><body></body>")
        page.add_script_tag(path=_library(variant))
        constants = "".join(f"const {name} = {value};" for name, value in names.items())
        page.add_script_tag(content=constants + (_UPLOT if variant == "uPlot" else _PLOTLY) + _FEED)
        yield page
        return
    with laboratory("signals", rate=RATE) as (_, port), pages(port) as served:
        plots = [f"plot=lab.meter{number}.sig_v0,lab.meter{number}.sig_v1@{SPAN}" for number in range(PLOTS)]
        page.goto(f"{served.url}plots?{'&'.join(plots)}")
        page.wait_for_function("window.qmiPlots")
        if variant == "each frame":
            page.evaluate(_EACH_FRAME)
        yield page


def _library(variant: str) -> Path:
    """The file of a library, as its package carries it."""
    package, file = (
        ("uplot", "static/uPlot.iife.js") if variant == "uPlot" else ("plotly", "package_data/plotly.min.js")
    )
    found = find_spec(package)
    places = [] if found is None else found.submodule_search_locations or []
    return next(Path(place, file) for place in places)


MEASURE = Measure(
    title="10 live plots at 20 Hz",
    unit="% of a core",
    runs=("ours:live", "ours:each frame", "ours:uPlot", "ours:Plotly.js"),
    goals=(
        Goal(run="ours:live", figure="renderer", at_most=30.0),
        Goal(run="ours:live", figure="pictures", at_least=19.0),
        Goal(run="ours:live", figure="ms a picture", versus="ours:Plotly.js", at_most=0.5),
    ),
    measure=measure,
)

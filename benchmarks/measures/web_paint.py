"""Milliseconds until a page shows something, on loopback, in a real Chromium.

"cold" is a browser that runs and was never there, "warm" one that has the scripts and styles already; "silent" is a
cold one while a context of the configuration accepts connections and says nothing. Pages come with what they show
first: the first picture has the contexts, or the parameters, and is no empty frame.
"""

from __future__ import annotations

import socket
import statistics
import time
from contextlib import ExitStack
from typing import Any

from benchmarks.plan import Figures, Goal, Measure

PAGES = {"site": "", "instrument": "o/lab/meter0", "plots": "plots?plot=lab.meter0.v0@60"}
LIMIT = 500.0


def measure(system: Any, variant: str, seconds: float) -> Figures:
    from benchmarks.web.chromium import chromium, first_paint
    from benchmarks.web.stage import laboratory, pages

    found: dict[str, list[float]] = {name: [] for name in PAGES}
    with ExitStack() as stack:
        _, port = stack.enter_context(laboratory("values"))
        silent: socket.socket = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        served = stack.enter_context(pages(port, silent.getsockname()[1] if variant == "silent" else None))
        browser = stack.enter_context(chromium())
        first_paint(browser.new_page(), served.url + "login")  # the browser itself begins
        end = time.monotonic() + seconds
        context = browser.new_context()
        if variant == "warm":
            for path in PAGES.values():
                first_paint(context.new_page(), served.url + path)
        while time.monotonic() < end or not found["site"]:
            for name, path in PAGES.items():
                if variant != "warm":
                    context.close()
                    context = browser.new_context()
                page = context.new_page()
                found[name].append(first_paint(page, served.url + path))
                page.close()
    return {name: statistics.median(times) for name, times in found.items()}


MEASURE = Measure(
    title="first picture of a page",
    unit="ms",
    runs=("ours:cold", "ours:warm", "ours:silent"),
    goals=(
        *(Goal(run=run, figure=name, at_most=LIMIT) for run in ("ours:cold", "ours:warm") for name in PAGES),
        Goal(run="ours:silent", figure="site", at_most=LIMIT),
    ),
    measure=measure,
)

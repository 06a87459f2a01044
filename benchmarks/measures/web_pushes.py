"""What 100 values at 10 Hz cost when 20 browsers look at all of them.

It is processor time of the server of the pages and of the measuring program, in per cent of one processor.
``values`` are polled parameters, ``signals`` are published by tasks; "nobody" is the same measuring program with a
server of which nobody wants anything. The same with upstream QMI are programs that subscribe to the signals themselves,
as a window for each viewer would; there is no server, and the measuring program sends to each. They are five: twenty
keep each other waiting while they subscribe, on a busy machine for more than a minute.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks.plan import Figures, Goal, Measure

BROWSERS = 20
WINDOWS = 5


def measure(system: Any, variant: str, seconds: float) -> Figures:
    from benchmarks.web.stage import Meter, helper, laboratory, pages, topics

    kind = "signals" if variant == "signals" else "values"
    if system.name == "upstream":
        return _subscribers(seconds)
    with laboratory(kind) as (lab, port), pages(port) as served:
        if variant == "nobody":
            meter = Meter([served.pid, lab.pid])
            time.sleep(seconds)
            return dict(zip(("server", "measuring"), meter.shares(), strict=True))
        with helper("benchmarks.web.browsers", served.url, *topics(kind)) as browsers:
            browsers.ask(f"open {BROWSERS}")
            browsers.ask("count 0.5")
            meter = Meter([served.pid, lab.pid])
            counted = browsers.ask(f"count {seconds}")
            server, measuring = meter.shares()
    told = {name: counted[name] for name in ("pushes", "missed", "delay")}
    return {"server": server, "measuring": measuring, **told}


def _subscribers(seconds: float) -> Figures:
    from benchmarks.web.stage import Meter, helper, laboratory

    with laboratory("signals") as (lab, port), helper("benchmarks.web.subscribers", str(port), str(WINDOWS)) as others:
        others.answer()
        others.ask("0.5")
        meter = Meter([lab.pid, others.pid])
        counted = others.ask(str(seconds))
        measuring, subscribers = meter.shares()
    return {"measuring": measuring, "subscribers": subscribers, "signals": counted["signals"]}


MEASURE = Measure(
    title="100 values at 10 Hz to 20 browsers",
    unit="% of a core",
    runs=("ours:values", "ours:signals", "ours:nobody", "upstream:5 windows"),
    goals=(
        Goal(run="ours:values", figure="server", at_most=30.0),
        Goal(run="ours:signals", figure="server", at_most=30.0),
        Goal(run="ours:signals", figure="measuring", versus="upstream:5 windows", at_most=1.0),
    ),
    measure=measure,
)

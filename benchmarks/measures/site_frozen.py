"""How late signals are at one subscriber while another one is frozen (SIGSTOP).

20 MB/s of signals for as long as it takes the server to give the frozen one up, or the link to be full: milliseconds of
the latest signal, "before" the freeze and "value" during it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.plan import Figures, Goal, Measure

_SIZE = 200_000
_PERIOD = 0.01
_BEFORE = 100
_DURING = 400
DELAY = 300.0
"""ms."""


@contextmanager
def _publisher(kind: str) -> Iterator[tuple[Any, str, str]]:
    from benchmarks.site.server import bench_server, site_context
    from benchmarks.systems.qmi_script import context, free_port

    if kind == "links":
        port = free_port()
        with context("bench", port) as bench:
            yield bench, "", f"127.0.0.1:{port}"
    else:
        with bench_server(bytes=256 << 20) as server, site_context(server) as bench:
            yield bench, str(server.config), ""


def measure(system: Any, variant: str, seconds: float) -> Figures:
    import qmi
    from benchmarks.own_drivers import LargeDriver
    from benchmarks.web.stage import helper

    with _publisher(variant) as (bench, config, address):
        qmi.make_instrument("driver", LargeDriver)
        with (
            helper("benchmarks.site.desk", "desk1", config, address) as one,
            helper("benchmarks.site.desk", "desk2", config, address) as frozen,
        ):
            one.answer()
            frozen.answer()
            payload = bytes(_SIZE)

            def publish(count: int) -> float:
                one.ask("")
                due = time.monotonic()
                for _ in range(count):
                    bench.publish_signal("driver", "sig_large", payload)
                    due += _PERIOD
                    time.sleep(max(0.0, due - time.monotonic()))
                time.sleep(0.5)
                found = one.ask("")
                if found["count"] != count:
                    raise RuntimeError(f"{found['count']:g} of {count} signals came to the one that is not frozen")
                return float(found["worst"] * 1e3)

            publish(_BEFORE)
            before = publish(_BEFORE)
            os.kill(frozen.pid, signal.SIGSTOP)
            during = publish(_DURING)
    return {"before": before, "value": during}


MEASURE = Measure(
    title="latest signal at a subscriber while another one is frozen",
    unit="ms",
    runs=("ours:site", "ours:links"),
    goals=(Goal(run="ours:site", at_most=DELAY), Goal(run="ours:links", at_most=DELAY)),
    measure=measure,
)

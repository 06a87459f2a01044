"""How cost grows with how many there are: one point of the picture, named ``KIND-COUNT`` by the variant.

:mod:`benchmarks.growth` runs the points. What a figure is stands in its ``KINDS``. Each point has a process of its own,
which ends without taking anything down: stopping ten thousand threads may take longer than the measurement.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Never

from benchmarks.measures._calls import run_name
from benchmarks.meter import microseconds_per_call
from benchmarks.plan import Figures, Measure
from benchmarks.server import run_beside, served

_REPEATS = 3
_PERIOD = 1.0
_LISTENING = 20.0


def best(function: Callable[[], object], seconds: float) -> float:
    """The least time of several calls, in seconds: at least three, and for so many seconds."""
    clock = time.perf_counter
    found: list[float] = []
    end = clock() + seconds
    while len(found) < _REPEATS or clock() < end:
        begin = clock()
        function()
        found.append(clock() - begin)
    return min(found)


def calls(system: Any, asynchronous: bool, count: int, seconds: float) -> float:
    """µs for each of so many calls of another program that are under way at once."""
    stack = ExitStack()  # never left
    address = stack.enter_context(served(run_name(system)))
    target = stack.enter_context(system.remote(address))
    return best(lambda: target.flight(count), seconds) / count * 1e6


def signals(system: Any, asynchronous: bool, count: int, seconds: float) -> float:
    """µs of a signal for each of so many receivers in one program."""
    import qmi
    from benchmarks.drivers import Driver
    from qmi.core.pubsub import QMI_SignalReceiver

    qmi.start("bench", None, console_loglevel="ERROR")
    driver = qmi.make_instrument("driver", Driver)
    receivers: list[Any] = [QMI_SignalReceiver() for _ in range(count)]
    for receiver in receivers:
        driver.sig_tick.subscribe(receiver)

    def publish() -> None:
        driver.burst(1)
        for receiver in receivers:
            receiver.get_next_signal(timeout=_LISTENING)

    return best(publish, seconds) / count * 1e6


def objects(system: Any, asynchronous: bool, count: int, seconds: float) -> float:
    """µs to make one of so many objects."""
    import qmi
    from benchmarks.drivers import Driver

    kind: type[Any] = Driver
    if asynchronous:
        from benchmarks.own_drivers import AsyncDriver

        kind = AsyncDriver
    qmi.start("bench", None, console_loglevel="ERROR")
    qmi.make_instrument("first", kind)
    begin = time.perf_counter()
    for number in range(count):
        qmi.make_instrument(f"driver{number}", kind)
    return (time.perf_counter() - begin) / count * 1e6


def links(system: Any, asynchronous: bool, count: int, seconds: float) -> float:
    """µs of a call in one program to which so many contexts are connected."""
    import qmi
    from benchmarks.drivers import Driver
    from benchmarks.systems.qmi_script import free_port

    port = free_port()
    qmi.start(
        "bench", None, console_loglevel="ERROR", context_cfg={"bench": {"host": "127.0.0.1", "tcp_server_port": port}}
    )
    call = qmi.make_instrument("driver", Driver).nothing
    run_beside(run_name(system), "benchmarks.connected", f"127.0.0.1:{port}", str(count))
    return microseconds_per_call(call, seconds)


def loops(system: Any, asynchronous: bool, count: int, seconds: float) -> float:
    """µs of processor time for an iteration, where so many loops run once a second."""
    import qmi
    from benchmarks.drivers import IdleLoop

    kind: type[Any] = IdleLoop
    if asynchronous:
        from benchmarks.own_drivers import AsyncIdleLoop

        kind = AsyncIdleLoop
    qmi.start("bench", None, console_loglevel="ERROR")
    counter = [0]
    tasks: list[Any] = [qmi.make_task(f"loop{number}", kind, counter, _PERIOD) for number in range(count)]
    for task in tasks:
        task.start()
    time.sleep(_PERIOD / 2)
    before, begin = counter[0], time.process_time()
    time.sleep(2 * _PERIOD)
    return (time.process_time() - begin) / max(1, counter[0] - before) * 1e6


_KINDS = {"calls": calls, "signals": signals, "objects": objects, "links": links, "loops": loops}


def measure(system: Any, variant: str, seconds: float) -> Never:
    """Print the figure, and end."""
    *asynchronous, kind, count = variant.split("-")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    figures: Figures = {"value": _KINDS[kind](system, bool(asynchronous), int(count), seconds)}
    print(json.dumps(figures), flush=True)
    os._exit(0)


MEASURE = Measure(title="how cost grows", unit="µs", runs=(), goals=(), measure=measure)

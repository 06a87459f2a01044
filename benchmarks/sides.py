"""What calls and signals between processes cost either side: processor time, and switches of threads.

    python -m benchmarks.sides [--only flight,call,signals,tasks] [--rounds 7]

Other programs on the machine hardly move these figures, unlike the rates that ``benchmarks.run`` takes; so they show
what a change is worth before the machine is quiet. Linux only. Time spent looking for the next message counts, too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from benchmarks.measures._signals import BURST, signal_burst
from benchmarks.server import served
from benchmarks.systems.ours import SYSTEM

TASKS = 100
RECEIVERS = 10
BATCH = 20_000


def usage(process: int) -> tuple[float, int]:
    """Seconds of processor time that the threads of a process have used, and how often they were switched."""
    seconds, switches = 0.0, 0
    for thread in Path(f"/proc/{process}/task").iterdir():
        seconds += int((thread / "schedstat").read_text().split()[0]) / 1e9
        status = (thread / "status").read_text().splitlines()
        switches += sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)
    return seconds, switches


class Sides:
    """Two processes, of which this one calls the other.

    Args:
        server: The other one.
        rounds: How often each thing is measured.
    """

    def __init__(self, server: int, rounds: int) -> None:
        self._processes = os.getpid(), server
        self._rounds = rounds
        self._figures: list[list[float]] = []

    def _now(self) -> list[float]:
        here, there = map(usage, self._processes)
        return [time.perf_counter(), here[0], there[0], here[1], there[1]]

    def begin(self) -> None:
        """A round begins."""
        self._before = self._now()

    def end(self, count: int) -> None:
        """A round ends, in which so much was done."""
        self._figures.append(
            [(after - before) / count for before, after in zip(self._before, self._now(), strict=True)]
        )

    def measure(self, what: str, batch: Callable[[int], object], count: int) -> None:
        """Measure what ``batch(count)`` does so many of."""
        for _ in range(self._rounds):
            self.begin()
            batch(count)
            self.end(count)
        self.report(what)

    def report(self, what: str) -> None:
        """Print the medians."""
        took, here, there, *switches = map(statistics.median, zip(*self._figures, strict=True))
        self._figures.clear()
        print(
            f"{what:24} {took * 1e6:7.1f} µs; processor time {here * 1e6:6.1f} µs here, {there * 1e6:6.1f} there;"
            f" switches {switches[0]:5.2f} here, {switches[1]:5.2f} there"
        )


async def call_from_tasks(address: str, sides: Sides, rounds: int) -> None:
    """Awaited calls from many tasks at once."""

    async def caller(proxy: Any, count: int) -> None:
        for _ in range(count):
            await proxy.nothing()

    async with SYSTEM.remote_async(address) as proxy:
        for _ in range(rounds):
            sides.begin()
            async with trio.open_nursery() as nursery:
                for _ in range(TASKS):
                    nursery.start_soon(caller, proxy, BATCH // TASKS)
            sides.end(BATCH)
    sides.report(f"{TASKS} tasks, a call")


def _bursts(burst: Callable[[int], None], count: int) -> None:
    for _ in range(count // BURST):
        burst(BURST)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="flight,call,signals,tasks")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    names = options.only.split(",")
    with served("ours") as address:
        with SYSTEM.remote(address) as target:
            proxy: Any = target.proxy  # type: ignore[attr-defined]
            sides = Sides(proxy.process(), options.rounds)

            def flights(count: int) -> None:
                for _ in range(count // 1000):
                    target.flight(1000)

            def calls(count: int) -> None:
                for _ in range(count):
                    target.call()

            flights(1000)
            if "flight" in names:
                sides.measure("in flight, a call", flights, BATCH)
            if "call" in names:
                sides.measure("blocking, a call", calls, BATCH // 4)
            if "signals" in names:
                with signal_burst(proxy, RECEIVERS) as burst:
                    sides.measure(f"{RECEIVERS} receivers, a signal", lambda count: _bursts(burst, count), BATCH)
        if "tasks" in names:
            trio.run(partial(call_from_tasks, address, sides, options.rounds))


if __name__ == "__main__":
    main()

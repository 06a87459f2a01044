"""How a figure is taken inside a child: blocks of calls, of which the middle one counts, and memory in use."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

_WARM_UP = 100
_BLOCK = 0.01
"""Seconds that one block of calls is to take: long beside the clock, short beside other programs' time slices."""


def microseconds_per_call(function: Callable[[], object], seconds: float, *, warm_up: int = _WARM_UP) -> float:
    """The middle of the blocks' mean times, which a program that gets in between does not move."""
    clock = time.perf_counter
    begin = clock()
    for _ in range(warm_up):
        function()
    size = _block_size((clock() - begin) / warm_up)
    blocks = []
    end = clock() + seconds
    while (begin := clock()) < end:
        for _ in range(size):
            function()
        blocks.append((clock() - begin) / size)
    return statistics.median(blocks) * 1e6


async def microseconds_per_await(function: Callable[[], Awaitable[object]], seconds: float) -> float:
    """The same for what is awaited."""
    clock = time.perf_counter
    begin = clock()
    for _ in range(_WARM_UP):
        await function()
    size = _block_size((clock() - begin) / _WARM_UP)
    blocks = []
    end = clock() + seconds
    while (begin := clock()) < end:
        for _ in range(size):
            await function()
        blocks.append((clock() - begin) / size)
    return statistics.median(blocks) * 1e6


def _block_size(one: float) -> int:
    return max(1, int(_BLOCK / one))


def per_second(batch: Callable[[int], object], size: int, seconds: float) -> float:
    """How many of what ``batch(size)`` does so many of are done in a second: the middle of the batches."""
    clock = time.perf_counter
    batch(size)
    rates = []
    end = clock() + seconds
    while (begin := clock()) < end:
        batch(size)
        rates.append(size / (clock() - begin))
    return statistics.median(rates)


def quantile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def memory_now() -> int:
    """Bytes of memory that this process has in use; its peak is counted anew from here."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def memory_peak() -> int:
    """The most bytes that this process had in use since :func:`memory_now`."""
    return _status("VmHWM")


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status says nothing of {key}")

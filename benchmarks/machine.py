"""What machine the figures come from, without names of hosts or paths, and how busy it was."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

BUSY = 0.5
"""Load average per processor, before the benchmark adds its own, above which figures are doubtful."""


def describe() -> dict[str, object]:
    """Processor, memory, system, interpreter."""
    return {
        "processor": _first("/proc/cpuinfo", "model name") or platform.machine(),
        "processors": os.cpu_count() or 0,
        "used": len(os.sched_getaffinity(0)),
        "memory_gib": round(int((_first("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / 2**20),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def used(machine: Mapping[str, object]) -> str:
    """How many processors were used, as text."""
    if machine["used"] == machine["processors"]:
        return f"{machine['processors']} processors"
    return f"{machine['used']} of {machine['processors']} processors"


def use(count: int) -> None:
    """Keep this process, and those that it starts, to so many processors."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def load() -> float:
    """Processes that ran or wanted to, in the mean of the last minute."""
    return round(os.getloadavg()[0], 2)


def warning(before: float) -> str | None:
    """What to say about a machine that was busy already."""
    count = os.cpu_count() or 1
    if before / count <= BUSY:
        return None
    return f"the load was {before:g} on {count} processors before this run: its figures are doubtful"


def _first(file: str, key: str) -> str | None:
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)

"""How many processors this process may use at a time."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import PurePosixPath

_FRESH_AFFINITY = 1.0
_FRESH_QUOTA = 60.0
"""For how many seconds an answer holds: processors are given and taken while a program runs."""
_CGROUPS = "/sys/fs/cgroup"


def cpu_quota(text: str) -> float:
    """How many processors the content of ``cpu.max`` allows: a quota, or "max", and a period. Without sense: all."""
    quota, _, period = text.strip().partition(" ")
    try:
        found = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return math.inf
    return found if found > 0 else math.inf


def cgroup_paths(text: str) -> list[str]:
    """Where the limits of this process may be below the directory of all groups, by ``/proc/self/cgroup``.

    A limit holds for all groups in it. Version 2 has one tree (``0::/path``), version 1 one for the processors.
    """
    found = []
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        group = PurePosixPath(path or "/")
        found += [f"{'/cpu' if controllers else ''}{each}" for each in (group, *group.parents)]
    return found


def _quotas() -> Iterator[float]:
    for path in dict.fromkeys(cgroup_paths(_content("/proc/self/cgroup"))):
        place = f"{_CGROUPS}{path}".rstrip("/")
        yield cpu_quota(_content(f"{place}/cpu.max"))
        yield cpu_quota(f"{_content(f'{place}/cpu.cfs_quota_us')} {_content(f'{place}/cpu.cfs_period_us')}")


def _content(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(4096).decode("ascii", "replace").strip()
    except OSError:
        return ""


def _affinity() -> int:
    # A process has none, threads have: the main thread's, which is what most programs set, and that of who asks.
    affinity = getattr(os, "sched_getaffinity", None)
    return os.cpu_count() or 1 if affinity is None else min(len(affinity(os.getpid())), len(affinity(0)))


class Processors:
    """How many processors this process may use, by its affinity and by the quota of its group."""

    __slots__ = ("_ask_affinity", "_ask_quota", "_count", "_quota")

    def __init__(self) -> None:
        self._ask_affinity = self._ask_quota = -math.inf
        self._quota = math.inf
        self._count = 1

    def are_several(self, now: float) -> bool:
        """Whether there is more than one, as of at most a second ago; the quota as of a minute ago. For hot paths.

        Args:
            now: The time of the monotonic clock, in seconds.
        """
        if now >= self._ask_affinity:
            self._ask_affinity = now + _FRESH_AFFINITY  # first: other threads need not ask as well
            if now >= self._ask_quota:
                self._ask_quota = now + _FRESH_QUOTA
                self._quota = min(_quotas(), default=math.inf)
            self._count = math.floor(min(_affinity(), self._quota))
        return self._count > 1


PROCESSORS = Processors()

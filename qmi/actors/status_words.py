"""Times, classes and locks as they stand in a table."""

from __future__ import annotations

from typing import Protocol


class _Lock(Protocol):
    """Who holds a lock: a :class:`.LockStatus`."""

    @property
    def holder(self) -> str: ...
    @property
    def since(self) -> float: ...
    @property
    def reason(self) -> str: ...
    @property
    def user(self) -> str: ...


class _Busy(Protocol):
    """What an object does: a :class:`.BusyStatus`."""

    @property
    def what(self) -> str: ...
    @property
    def context(self) -> str: ...
    @property
    def since(self) -> float: ...


class _Error(Protocol):
    """What went wrong: an :class:`.ErrorStatus`."""

    @property
    def what(self) -> str: ...
    @property
    def error(self) -> str: ...
    @property
    def time(self) -> float: ...


class _Task(Protocol):
    """How punctual a task is: a :class:`.TaskStatus`."""

    @property
    def period(self) -> float: ...
    @property
    def iterations(self) -> int: ...
    @property
    def lateness_median(self) -> float: ...
    @property
    def lateness_p99(self) -> float: ...
    @property
    def lateness_worst(self) -> float: ...


class _Pages(Protocol):
    """How pages are served: a :class:`.PagesStatus`."""

    @property
    def address(self) -> str: ...
    @property
    def why(self) -> str: ...
    @property
    def token_file(self) -> str: ...


def duration(seconds: float) -> str:
    """A time as people say it, short: ``0.4 s``, ``12 s``, ``3 min``, ``2 h 10 min``, ``4 d 3 h``."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def short_time(seconds: float) -> str:
    """A short time with two or three digits and its unit: ``45 ns``, ``0.12 ms``, ``1.5 ms``, ``20 ms``, ``2.0 s``."""
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if abs(seconds) >= size:
            number = seconds / size
            return f"{number:.0f} {unit}" if abs(number) >= 9.95 else f"{number:.1f} {unit}"
    return "0 s" if seconds == 0 else f"{seconds * 1e9:.0f} ns"


def short_class(name: str) -> str:
    """A class without its module."""
    return name.rpartition(".")[2].rpartition(":")[2]


def lock_words(lock: _Lock | None, now: float) -> str:
    """Who holds a lock, for what, and for how long."""
    if lock is None:
        return ""
    who = f"{lock.user} ({lock.holder})" if lock.user else lock.holder
    what = f": {lock.reason}" if lock.reason else ""
    return f"{who}{_ago(lock.since, now)}{what}"


def busy_words(busy: _Busy | None, now: float) -> str:
    """What an object is busy with, for whom, and for how long."""
    if busy is None:
        return ""
    return f"{busy.what}{f' for {busy.context}' if busy.context else ''}{_ago(busy.since, now)}"


def error_words(error: _Error | None, now: float) -> str:
    """What went wrong the last time, and how long ago that is."""
    if error is None:
        return ""
    when = f" {duration(now - error.time)} ago" if error.time and now else ""
    return f"{error.what}{when}: {error.error}"


def late_words(task: _Task) -> str:
    """How late a loop is: median, 99th percentile, worst."""
    if not task.period or not task.iterations:
        return ""
    return " / ".join(map(short_time, (task.lateness_median, task.lateness_p99, task.lateness_worst)))


def _ago(since: float, now: float) -> str:
    return f", {duration(now - since)}" if since and now else ""


def pages_words(pages: _Pages) -> str:
    """Where pages are, and by what one logs in; or why they are not served."""
    if not pages.address:
        return f"not served: {pages.why}" if pages.why else "starting"
    return f"at {pages.address}" + (f" (token to log in: {pages.token_file})" if pages.token_file else "")

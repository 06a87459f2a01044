"""Makes any call fail that certain tasks make: the exception is raised where the called function begins, or goes on.

A trace function counts the calls of functions of this library in chosen tasks. Once it has raised, Python removes it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import trio

import qmi

ROOT = str(Path(qmi.__file__).parent)
_BOUNDARY = frozenset(
    {
        ("failures.py", None), ("log_limit.py", None), ("link.py", "_contain"), ("link.py", "fault"),
        ("link.py", "_note_fault"), ("link.py", "_end"), ("link.py", "_finish"), ("link.py", "_end_by_fault"),
        ("link.py", "finish"), ("acceptor.py", "_serve"), ("connections.py", "_dial"), ("rpc_server.py", "_send"),
        ("listener.py", "run"), ("udp.py", "run"), ("udp.py", "_serve"),
    }
)  # fmt: skip
"""What catches and tells a fault. A second fault at the same time is another matter."""


_SUSPENDS = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


class Site(NamedTuple):
    """A place in the code that calls something."""

    caller: str
    line: int
    callee: str


class Injector:
    """Counts calls, and makes one of them fail.

    Args:
        rooms: The files and folders of the library whose functions count.
    """

    def __init__(self, *rooms: str) -> None:
        self._rooms = tuple(f"{ROOT}/{room}" for room in rooms)
        self._known: dict[CodeType, bool] = {}
        self._victims: set[trio.lowlevel.Task] = set()
        self._nth = 0
        self._active = False
        self._error: Callable[[], Exception] = ValueError
        self.sites: list[Site] = []
        self.failed: Site | None = None

    def mark(self, function: Callable[..., Any], *, always: bool = False) -> Callable[..., Any]:
        """Wrap an async function: the tasks that begin it meanwhile, or always, and their children, count."""

        async def marked(*args: Any, **kwargs: Any) -> Any:
            if not (self._active or always):
                return await function(*args, **kwargs)
            task = trio.lowlevel.current_task()
            self._victims.add(task)
            try:
                return await function(*args, **kwargs)
            finally:
                self._victims.discard(task)

        return marked

    @contextmanager
    def failing(self, nth: int, error: Callable[[], Exception]) -> Iterator[None]:
        """Make the nth call fail, counted from 1; 0 only counts."""
        self._nth, self._error, self.sites, self.failed = nth, error, [], None
        self._active = True
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(before)
            self._active = False

    def _trace(self, frame: FrameType, event: str, arg: Any) -> None:
        code = frame.f_code
        if event != "call" or code.co_name == "<genexpr>" or not self._counts(code) or not self._is_victim():
            return
        if code.co_flags & _SUSPENDS and frame.f_lineno != code.co_firstlineno:
            return  # it only goes on; what waits within it could never end if this were to fail
        caller = frame.f_back
        where = ("", 0) if caller is None else (caller.f_code.co_qualname, caller.f_lineno)
        self.sites.append(Site(*where, frame.f_code.co_qualname))
        if len(self.sites) == self._nth:
            self.failed = self.sites[-1]
            raise self._error()

    def _counts(self, code: CodeType) -> bool:
        known = self._known.get(code)
        if known is None:
            name = Path(code.co_filename).name
            boundary = (name, code.co_name) in _BOUNDARY or (name, None) in _BOUNDARY
            known = self._known[code] = code.co_filename.startswith(self._rooms) and not boundary
        return known

    def _is_victim(self) -> bool:
        try:
            task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        except RuntimeError:
            return False
        while task is not None:
            if task in self._victims:
                return True
            task = task.parent_nursery.parent_task if task.parent_nursery is not None else None
        return False

    def numbers(self) -> list[int]:
        """The first call at each place, of the calls that were counted last."""
        first: dict[Site, int] = {}
        for number, site in enumerate(self.sites, 1):
            first.setdefault(site, number)
        return list(first.values())

"""Waiting for a condition: it is looked at again when something has happened that may have changed it.

What changes in a program of this library is changed by a task of an event loop or by a thread. So a wait is woken

- after each step of a task, in the loop of every context that runs,
- before a thread of the library sleeps, and when a thread ends,
- when somebody sets a :class:`threading.Event`, and after each record that is logged,
- by :func:`changed`, for what a test knows of and nobody else.

The hooks are there only while somebody waits: nothing is slower, or shows up in a stack, at other times.
"""

from __future__ import annotations

import _thread
import functools
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeVar

import trio

from qmi.contexts.base import ContextBase
from qmi.contexts.loop_thread import RUNNING
from qmi.runtime import wakeup
from qmi.runtime.wakeup import Loop

T = TypeVar("T")

LIMIT = 10.0
"""How long a condition may take to come true, in seconds, unless a test says otherwise."""

LOOK = 0.5
"""When to look again without a reason, in seconds: what none of the hooks notices makes a test late, and not fail."""


class _Announcer(trio.abc.Instrument):
    """Wakes those who wait, in whichever thread something has happened."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waits: tuple[Callable[[], object], ...] = ()
        self._looking: set[trio.lowlevel.Task] = set()
        self._loops: list[Loop] = []
        self._hooks = ExitStack()

    def changed(self) -> None:
        """Wake everybody; they look themselves whether that was a reason."""
        for wake in self._waits:
            wake()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task not in self._looking:  # those who wait would wake each other and themselves for ever
            self.changed()

    @contextmanager
    def waking(self, wake: Callable[[], object], task: trio.lowlevel.Task | None = None) -> Iterator[None]:
        """Call a function after each change, in any thread; the task is the one that waits, if it is a task."""
        with self._mutex:
            if not self._waits:
                self._install()
            self._waits = (*self._waits, wake)
            self._looking |= {task} if task is not None else set()
            self._watch_loops([Loop()] if task is not None else [])
        try:
            yield
        finally:
            with self._mutex:
                self._waits = tuple(other for other in self._waits if other is not wake)
                self._looking.discard(task)
                if not self._waits:
                    self._hooks.close()
                    for loop in self._loops:
                        loop.now_or_soon(self._forget)
                    self._loops.clear()

    def _watch_loops(self, loops: list[Loop]) -> None:
        loops += [context.loop for context in _running() if hasattr(context, "loop")]  # it has begun to run
        self._loops += [loop for loop in loops if loop.now_or_soon(self._watch)]

    def _watch(self) -> None:
        trio.lowlevel.add_instrument(self)  # does nothing if it is there, for another context in the same loop
        self.changed()  # the condition was looked at before this

    def _forget(self) -> None:
        with suppress(KeyError):  # as above
            trio.lowlevel.remove_instrument(self)

    def _install(self) -> None:
        self._hook_after(threading.Event, "set")
        self._hook_after(logging.Logger, "callHandlers")
        if hasattr(threading.Thread, "_delete"):  # the last step of a thread, in CPython
            self._hook_after(threading.Thread, "_delete")
        sleep = wakeup.wait_on
        for name, module in list(sys.modules.items()):
            if name.startswith("qmi.") and getattr(module, "wait_on", None) is sleep:
                self._replace(module, "wait_on", self._announcing_sleep(sleep))

    def _hook_after(self, owner: type, name: str) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def hooked(*args: Any, **kwargs: Any) -> Any:
            try:
                return original(*args, **kwargs)
            finally:
                self.changed()

        self._replace(owner, name, hooked)

    def _announcing_sleep(self, sleep: Callable[..., bool]) -> Callable[..., bool]:
        def wait_on(*args: Any) -> bool:
            self.changed()
            return sleep(*args)

        # Messages that say where a driver stands leave out the files of the library, and what is frozen.
        wait_on.__code__ = wait_on.__code__.replace(co_filename=f"<frozen {__name__}>")
        return wait_on

    def _replace(self, owner: Any, name: str, value: object) -> None:
        original = getattr(owner, name)
        setattr(owner, name, value)
        self._hooks.callback(setattr, owner, name, original)


def _running() -> list[ContextBase]:
    while True:
        with suppress(RuntimeError):  # another context has started or stopped in the midst of this
            return [context for context in RUNNING if isinstance(context, ContextBase)]


_ANNOUNCER = _Announcer()


def changed() -> None:
    """Have every condition that is waited for looked at again; may be called from any thread."""
    _ANNOUNCER.changed()


def wait_until(condition: Callable[[], T], limit: float = LIMIT) -> T:
    """Wait in a thread until a condition holds, and return what it gave.

    Args:
        condition: What is to be true. What it looks at is in this process, and it calls nothing over a link: that
            would be a change, after which it is looked at again.
        limit: How long that may take, in seconds.

    Raises:
        AssertionError: If it takes longer.
    """
    if value := condition():
        return value
    asleep = _thread.allocate_lock()
    end = time.monotonic() + limit

    def wake() -> None:
        with suppress(RuntimeError):  # woken twice
            asleep.release()

    with _ANNOUNCER.waking(wake):
        while not (value := condition()):
            assert time.monotonic() < end, f"this did not come true within {limit} s"
            asleep.acquire(timeout=min(LOOK, max(end - time.monotonic(), 0.0)))
    return value


async def until(condition: Callable[[], T], limit: float = LIMIT) -> T:
    """The same in a trio task.

    Raises:
        AssertionError: As for :func:`wait_until`.
    """
    if value := condition():
        return value
    loop, end = Loop(), trio.current_time() + limit
    event = trio.Event()

    def wake() -> None:
        loop.now_or_soon(event.set)

    with _ANNOUNCER.waking(wake, trio.lowlevel.current_task()):
        while not (value := condition()):
            assert trio.current_time() < end, f"this did not come true within {limit} s"
            with trio.move_on_after(LOOK):
                await event.wait()
            event = trio.Event()
    return value

"""How threads and the event loop wake each other: the only module in which they touch.

Whatever waits, a thread or a trio task, is a *waiter* with one method, ``wake()``, which any thread may call, any
number of times. Futures, mailboxes and links know nothing else about their waiters.
"""

from __future__ import annotations

import _thread
import logging
import math
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, Protocol

import trio

from qmi.errors import QMI_BlockingOnLoopException, QMI_UsageException
from qmi.runtime.flags import GLANCE as GLANCE
from qmi.runtime.forks import LoopDescriptors, abandon_in_child
from qmi.runtime.sigint import HANDLER, INTERRUPTS, SIGINT, current_handler

_logger = logging.getLogger("qmi.core.context")

_HOLD = 0.001

on_any_loop: Callable[[], bool] = trio.lowlevel.in_trio_run
in_task: Callable[[], bool] = trio.lowlevel.in_trio_task


class Waker(Protocol):
    """Something that wakes a waiting thread or task."""

    def wake(self) -> None:
        """End the wait; may be called from any thread, and more than once."""


class Interrupt:
    """A request that ends whatever its thread waits for, now and from now on.

    A task's thread has one: stopping the task must reach it wherever it waits.
    """

    __slots__ = ("_error", "_mutex", "_waiters")

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiters: list[Waker] = []
        self._error: Callable[[], BaseException] | None = None

    @property
    def requested(self) -> bool:
        """Whether the waits of this thread are to end."""
        return self._error is not None

    def request(self, error: Callable[[], BaseException]) -> None:
        """Make this and every later wait raise what the function returns."""
        with self._mutex:
            self._error = error
            waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.wake()

    def clear(self) -> None:
        """Let waits be waits again."""
        self._error = None

    def enter(self, waiter: Waker) -> None:
        """Register a wait; raises at once if there is a request."""
        with self._mutex:
            self._waiters.append(waiter)
        self.check(waiter)

    def check(self, waiter: Waker | None = None) -> None:
        """Raise if there is a request."""
        if self._error is not None:
            if waiter is not None:
                self.leave(waiter)
            raise self._error()

    def leave(self, waiter: Waker) -> None:
        """The wait is over."""
        with self._mutex, suppress(ValueError):
            self._waiters.remove(waiter)


class ThreadWaker:
    """A thread that waits once.

    A bare lock is the fastest thing that a thread can wait for, and Ctrl-C gets through it.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._lock.acquire()

    def wake(self) -> None:
        """End the wait."""
        try:  # noqa: SIM105 - this is on the way of every call, and suppress() would cost a tenth of it
            self._lock.release()
        except RuntimeError:  # woken twice
            pass

    def wait(self, timeout: float | None = None) -> bool:
        """Wait to be woken; False if that takes longer than the timeout in seconds."""
        return wait_on(self._lock, timeout)


def wait_on(lock: _thread.LockType, timeout: float | None) -> bool:
    """Wait until a bare lock can be had; False if that takes longer than the timeout in seconds."""
    if threading.current_thread() is not threading.main_thread():
        return lock.acquire() if timeout is None else lock.acquire(True, min(max(timeout, 0.0), threading.TIMEOUT_MAX))
    # A signal that comes after Python's last look and before the thread sleeps does not wake it. It happens when
    # threads compete; then Ctrl-C would be lost, were there not another look once in a while.
    if timeout is not None and timeout <= GLANCE:
        return lock.acquire(True, max(timeout, 0.0))
    end = time.monotonic() + (math.inf if timeout is None else timeout)
    while not lock.acquire(True, min(GLANCE, max(end - time.monotonic(), 0.0))):
        if time.monotonic() >= end:
            return False
    return True


class TaskWaker:
    """A trio task that waits once. Made in that task.

    Args:
        loop: A loop that may be the one of the task: it need not be looked for then.
    """

    __slots__ = ("_ident", "_task", "_token", "_woken")

    def __init__(self, loop: Loop | None = None) -> None:
        self._ident = threading.get_ident()
        self._token: trio.lowlevel.TrioToken | _EndedLoop
        if loop is not None and loop._ident == self._ident:
            self._token = loop._token
        else:
            self._token = trio.lowlevel.current_trio_token()
        self._task: trio.lowlevel.Task | None = None
        self._woken = False

    def wake(self) -> None:
        """End the wait. Does nothing if the loop has ended, in good order or not: then nobody waits any more."""
        try:
            if threading.get_ident() == self._ident:
                self._fire()
            else:
                self._token.run_sync_soon(self._fire)
        except (RuntimeError, OSError):  # what trio raises after its end, and after one by Ctrl-C in the midst of it
            pass

    def _fire(self) -> None:
        self._woken = True
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    @trio.lowlevel.enable_ki_protection  # else Ctrl-C could come between noting the task and its sleep
    async def wait(self) -> None:
        """Wait to be woken. A checkpoint; if cancelled, being woken later has no effect."""
        if self._woken:
            await trio.lowlevel.checkpoint()
            return
        self._task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)


class AsyncioWaker:
    """A task of asyncio that waits once. Made in that task."""

    __slots__ = ("_glance", "_loop", "_woken")

    def __init__(self) -> None:
        import asyncio  # loaded already, where its loop runs

        self._loop = asyncio.get_running_loop()
        self._woken = self._loop.create_future()
        self._glance: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """End the wait. Does nothing if the loop has ended: then nobody waits any more."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._fire)

    def _fire(self) -> None:
        if not self._woken.done():  # woken twice, or cancelled
            self._woken.set_result(None)

    async def wait(self) -> None:
        """Wait to be woken. If cancelled, being woken later has no effect."""
        if threading.current_thread() is not threading.main_thread():
            await self._woken
            return
        # As in wait_on: a signal between Python's last look and the sleep of the loop does not wake it, and the stop
        # button of a notebook would be lost.
        self._look_again()
        try:
            await self._woken
        finally:
            assert self._glance is not None
            self._glance.cancel()

    def _look_again(self) -> None:
        self._glance = self._loop.call_later(GLANCE, self._look_again)


class _EndedLoop:
    """The token of a loop that is not there."""

    def run_sync_soon(self, *_: object) -> None:
        raise trio.RunFinishedError


def _contained(function: Callable[..., object], args: tuple[object, ...]) -> None:
    # trio ends the whole run if a function that another thread has handed over raises: no such function is worth that.
    try:
        function(*args)
    except Exception:
        _logger.exception("A function that was handed to the event loop failed")


def is_scheduler(filename: str) -> bool:
    """Whether code of that file is what trio runs its tasks with."""
    return "/trio/_core/" in filename.replace("\\", "/")


class Loop:
    """A running event loop, as the threads beside it see it. Made on the loop itself."""

    __slots__ = ("__weakref__", "_breathed", "_descriptors", "_ident", "_token")

    def __init__(self) -> None:
        self._token: trio.lowlevel.TrioToken | _EndedLoop = trio.lowlevel.current_trio_token()
        self._ident = threading.get_ident()
        self._breathed = time.monotonic()
        self._descriptors = LoopDescriptors()
        abandon_in_child(self)

    def abandon(self) -> None:
        """This is a forked child, in which the loop does not run."""
        self._ident = -1
        self._token = _EndedLoop()
        self._descriptors.close()

    async def breathe(self) -> None:
        """Notice a cancellation, and now and then let others run: for calls that would not be a checkpoint else.

        A whole checkpoint costs more than a quick call. Once a millisecond is often enough for everybody else.
        """
        now = time.monotonic()
        if now - self._breathed > _HOLD:
            self._breathed = now
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()

    def is_here(self) -> bool:
        """Whether the calling thread is the one that runs this loop."""
        return threading.get_ident() == self._ident

    def waits(self) -> bool:
        """Whether the loop waits for input or for a time at this moment, so that nothing blocks it.

        For other threads. It wakes nobody: the answer is where the loop's thread stands. False also if that cannot be
        seen, as where trio is a guest of another loop.
        """
        frame = sys._current_frames().get(self._ident)
        # Every way of trio's to wait for input has this name. Seen a moment after it has ended, the loop lives as well.
        return frame is not None and frame.f_code.co_name == "get_events" and is_scheduler(frame.f_code.co_filename)

    def soon(self, function: Callable[..., object], *args: object) -> bool:
        """Have the loop call a function as soon as it can, in the order of these calls.

        Returns:
            False if the loop has ended, so that the function will never be called.
        """
        try:
            self._token.run_sync_soon(_contained, function, args)
        except trio.RunFinishedError:
            return False
        return True

    def now_or_soon(self, function: Callable[..., object], *args: object) -> bool:
        """Call the function at once if this is the loop's thread, else soon."""
        if self.is_here():
            function(*args)
            return True
        return self.soon(function, *args)


def refuse_outside_trio(what: str, blocking: str, instead: tuple[str, str] | None = None) -> None:
    """Raise unless the calling code runs in a trio task: nothing else can await what this library offers.

    For the beginning of whatever is awaited, before anything is sent.

    Args:
        what: What was awaited.
        blocking: The blocking function that does the same.
        instead: What to write where that is no function: without await, and as arguments of ``asyncio.to_thread``.

    Raises:
        QMI_UsageException: In asyncio (a notebook is such a program), or without any event loop.
    """
    if in_task():
        return
    written, in_thread = instead or (f"{blocking}(...)", f"{blocking}, ...")
    _refuse(f"{what} can be awaited in a trio program only, and this is {_where_else()}", written, in_thread)


class AsyncioAwaits:
    """Whether tasks of asyncio in this process may await proxies, their locks, streams and signals.

    They may not unless somebody asked for it: ``%load_ext qmi`` does, and takes it back when it is unloaded.
    """

    def __init__(self) -> None:
        self.allowed = False


ASYNCIO = AsyncioAwaits()


def refuse_outside_loops(what: str, blocking: str, instead: tuple[str, str] | None = None) -> None:
    """The same for what a task of asyncio can await as well where that is allowed, such as the calls of proxies.

    Raises:
        QMI_UsageException: In asyncio where it is not allowed, in another event loop, or without any.
    """
    if in_task() or (ASYNCIO.allowed and in_asyncio()):
        return
    written, in_thread = instead or (f"{blocking}(...)", f"{blocking}, ...")
    loops = "trio and in asyncio" if ASYNCIO.allowed else "a trio program only"
    _refuse(f"{what} can be awaited in {loops}, and this is {_where_else()}", written, in_thread, "'%load_ext qmi' or ")


def _refuse(what: str, written: str, in_thread: str, extension: str = "") -> NoReturn:
    raise QMI_UsageException(
        f"{what}. Nothing was done. "
        f"Instead write '{written}' without await; or 'await asyncio.to_thread({in_thread})' in asyncio; or "
        f"{extension}'%autoawait trio' once in IPython or Jupyter, and then await"
    )


def _where_else() -> str:
    return "asyncio (as in a notebook)" if in_asyncio() else "another event loop, or none"


def in_asyncio() -> bool:
    """Whether the calling code runs in an event loop of asyncio. Asked where it runs in no task of trio."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def refuse_on_loop(what: str, instead: str) -> None:
    """Raise if the calling thread runs an event loop: waiting here would stop everything else on it.

    For the beginning of whatever may block: an interrupt that is pending is raised here, too.

    Args:
        what: What would block.
        instead: What to write instead.

    Raises:
        QMI_BlockingOnLoopException: If this thread runs an event loop.
    """
    if on_any_loop():
        raise QMI_BlockingOnLoopException(f"{what} would block the event loop; write '{instead}'")
    if INTERRUPTS.pending or current_handler(SIGINT) is not HANDLER:
        INTERRUPTS.look()

"""What a scan does at its end, whatever has ended it: each part in its turn, with a deadline, and nothing tears it."""

from __future__ import annotations

import contextvars
import inspect
import logging
import math
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import cast

import trio

from qmi.core.exceptions import QMI_InvalidValueException, QMI_TimeoutException, QMI_UsageException
from qmi.core.rpc import QMI_RpcFuture
from qmi.runtime.call_context import EXECUTION
from qmi.runtime.wakeup import ThreadWaker
from qmi.scan.columns import Settable
from qmi.scan.lost import Patience
from qmi.scan.ramps import LONGEST, STEP, ramp_time, ramp_values

_logger = logging.getLogger("qmi.scan")


def result_of(found: object, what: str) -> object:
    """The result of what was called, in a thread.

    Raises:
        QMI_UsageException: If it has to be awaited.
    """
    if isinstance(found, QMI_RpcFuture):
        return found.wait()
    if inspect.isawaitable(found):
        if inspect.iscoroutine(found):
            found.close()
        raise QMI_UsageException(f"{what} has to be awaited: go through the scan by 'async for', in a trio program")
    return found


async def result_of_async(found: object) -> object:
    """The same in a trio task."""
    if inspect.isawaitable(found):
        return await cast("Awaitable[object]", found)
    return found


@dataclass(frozen=True)
class FinalCall:
    """A function that is called at the end.

    Attributes:
        function: It.
        deadline: How long it may take, in seconds.
    """

    function: Callable[[], object]
    deadline: float

    @property
    def name(self) -> str:
        """The name of what is set: there is none."""
        return ""

    def __str__(self) -> str:
        return f"{getattr(self.function, '__name__', None) or repr(self.function)}()"

    def longest(self, last: dict[str, object]) -> float:
        """How long it may take, in seconds."""
        return self.deadline

    def run(self, last: object, patience: Patience | None) -> None:
        """Call it; see :meth:`FinalSet.run`."""
        call = patiently(lambda: result_of(self.function(), str(self)), patience)
        within(self.deadline, str(self), call)

    async def run_async(self, last: object, patience: Patience | None) -> None:
        """Call it in a trio program."""
        async with _Deadline(self.deadline, str(self)):
            await patiently_async(self.function, patience)


@dataclass(frozen=True)
class FinalSet:
    """What is set at the end.

    Attributes:
        target: What to set.
        value: What to.
        ramp: How fast, in units per second; None for at once.
        deadline: How long it may take, in seconds, besides the ramp itself.
    """

    target: Settable
    value: object
    ramp: float | None
    deadline: float

    @property
    def name(self) -> str:
        """The name of what is set."""
        return self.target.name

    def __str__(self) -> str:
        return f"setting {self.target.name} to {self.value!r}{f' {self.target.unit}' if self.target.unit else ''}"

    def longest(self, last: dict[str, object]) -> float:
        """How long it may take, in seconds; a ramp as if it began at what the scan has set last."""
        if self.ramp is None:
            return self.deadline
        return 2 * self.deadline + ramp_time(*self._ends(None, last.get(self.target.name)), self.ramp)

    def run(self, last: object, patience: Patience | None) -> None:
        """Set it.

        Args:
            last: What the scan has set it to, if it has; where a ramp begins if it cannot be read.
            patience: Whether to wait for an instrument that is lost, until the deadline.
        """
        if self.ramp is None:
            within(self.deadline, str(self), patiently(lambda: self._set(self.value), patience))
            return
        found: list[object] = [None]
        get = self.target.get
        if get is not None:
            try:
                read = patiently(lambda: found.append(result_of(get(), self.target.name)), patience)
                within(self.deadline, str(self), read)
            except Exception as error:  # noqa: BLE001 - whatever it is, the safe state comes first
                self._tell_unread(error)
        start, stop = self._ends(found[-1], last)
        seconds = ramp_time(start, stop, self.ramp) + self.deadline
        within(seconds, str(self), lambda given_up: self._go(start, stop, given_up, patience))

    def _set(self, value: object) -> None:
        result_of(self.target.set(value), self.target.name)

    def _go(self, start: float, stop: float, given_up: threading.Event, patience: Patience | None) -> None:
        for value in ramp_values(start, stop, self.ramp or 1.0):
            if given_up.wait(STEP):
                return
            patiently(partial(self._set, value), patience)(given_up)

    async def run_async(self, last: object, patience: Patience | None) -> None:
        """Set it in a trio program; see :meth:`run`."""
        if self.ramp is None:
            async with _Deadline(self.deadline, str(self)):
                await patiently_async(lambda: self.target.set(self.value), patience)
            return
        found: object = None
        if self.target.get is not None:
            try:
                async with _Deadline(self.deadline, str(self)):
                    found = await patiently_async(self.target.get, patience)
            except Exception as error:  # noqa: BLE001 - whatever it is, the safe state comes first
                self._tell_unread(error)
        start, stop = self._ends(found, last)
        async with _Deadline(ramp_time(start, stop, self.ramp) + self.deadline, str(self)):
            for value in ramp_values(start, stop, self.ramp):
                await trio.sleep(STEP)
                await patiently_async(partial(self.target.set, value), patience)

    def _tell_unread(self, error: Exception) -> None:
        _logger.warning(
            "%s could not be read (%s: %s): it is ramped from what the scan has set",
            self.target.name,
            type(error).__name__,
            error,
        )

    def _ends(self, found: object, last: object) -> tuple[float, float]:
        # An instrument that has no reading says so by NaN or by 9.9e37, from where no ramp ever arrives. Where it is
        # not known where it is, it goes to its end at once: that is the safe state.
        stop = float(cast("float", self.value))
        for start in (found, last):
            try:
                first = float(cast("float", start))
            except (TypeError, ValueError):
                first = math.nan
            if math.isfinite(first) and (start is last or ramp_time(first, stop, self.ramp or 1.0) < LONGEST):
                return first, stop
            if start is not last and start is not None:
                _logger.warning("%s reads %r, from where nothing is ramped", self.target.name, start)
        return stop, stop


def patiently(function: Callable[[], object], patience: Patience | None) -> Callable[[threading.Event], object]:
    """A function that is called again as long as an instrument is lost, until nobody waits for it any more.

    Args:
        function: What is called.
        patience: That of the part of the end; None: it is called once.
    """

    def call(given_up: threading.Event) -> object:
        while True:
            try:
                found = function()
            except Exception as error:
                delay = None if patience is None else patience.delay_after(error, time.monotonic())
                if delay is None or given_up.wait(delay):
                    raise
            else:
                if patience is not None:
                    patience.over()
                return found

    return call


async def patiently_async(function: Callable[[], object], patience: Patience | None) -> object:
    """The same in a trio program, where a cancellation ends it: the result of the function."""
    while True:
        try:
            found = await result_of_async(function())
        except Exception as error:
            delay = None if patience is None else patience.delay_after(error, trio.current_time())
            if delay is None:
                raise
            await trio.sleep(delay)
        else:
            if patience is not None:
                patience.over()
            return found


class _Deadline:
    """A shielded block that may take some time."""

    def __init__(self, seconds: float, what: str) -> None:
        self._seconds = seconds
        self._what = what
        self._scope = trio.CancelScope(shield=True)

    async def __aenter__(self) -> None:
        self._scope.deadline = trio.current_time() + self._seconds
        self._scope.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        suppressed = self._scope.__exit__(kind, error, traceback)
        if self._scope.cancelled_caught:
            raise _too_late(self._what, self._seconds)
        return suppressed


def _too_late(what: str, seconds: float) -> QMI_TimeoutException:
    return QMI_TimeoutException(f"{what} at the end of the scan was not done within {seconds:g} s")


def within(seconds: float, what: str, function: Callable[[threading.Event], object]) -> None:
    """Have a function called in a thread of its own, and wait for its end.

    Neither Ctrl-C nor the end of a task reaches that thread. It counts as the calling thread where locks are concerned.

    Args:
        seconds: How long it may take.
        what: What it does.
        function: It; its argument is set when it has taken too long.

    Raises:
        QMI_TimeoutException: If it takes longer; it is left alone then.
        Exception: What it raises.
    """
    given_up, ended = threading.Event(), ThreadWaker()
    errors: list[BaseException] = []

    def run() -> None:
        execution = EXECUTION.get()
        if execution is not None:
            EXECUTION.set(execution._replace(interrupt=None))
        try:
            function(given_up)
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            errors.append(error)
        finally:
            ended.wake()

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run,), name="qmi scan end", daemon=True).start()
    if not ended.wait(seconds):
        given_up.set()
        raise _too_late(what, seconds)
    if errors:
        raise errors[0]


class Ending:
    """The parts of the end, in the order in which they were declared."""

    def __init__(self) -> None:
        self._parts: list[FinalCall | FinalSet] = []

    @property
    def parts(self) -> tuple[FinalCall | FinalSet, ...]:
        """All of them."""
        return tuple(self._parts)

    def longest(self, last: dict[str, object]) -> float:
        """How long all of it may take, in seconds.

        Args:
            last: What was set last, by the names of columns.
        """
        return sum(part.longest(last) for part in self._parts)

    def add(self, part: FinalCall | FinalSet) -> None:
        """One part more."""
        if isinstance(part.deadline, bool) or not isinstance(part.deadline, int | float) or not part.deadline > 0:
            raise QMI_InvalidValueException(f"deadline must be a positive number of seconds, got {part.deadline!r}")
        self._parts.append(part)

    def run(self, last: dict[str, object], patience: Patience | None) -> list[BaseException]:
        """Do all parts, whatever becomes of each.

        Args:
            last: What was set last, by the names of columns.
            patience: That of the scan, if it waits for instruments that are lost; then each part does, too.

        Returns:
            What they failed with.
        """
        errors: list[BaseException] = []
        for part in self._parts:
            try:
                part.run(last.get(part.name), None if patience is None else patience.of_part())
            except BaseException as error:  # noqa: BLE001 - the other parts are done all the same, also after exit()
                errors.append(told(part, error))
        return errors

    async def run_async(self, last: dict[str, object], patience: Patience | None) -> list[BaseException]:
        """The same in a trio program; see :meth:`run`."""
        errors: list[BaseException] = []
        for part in self._parts:
            try:
                await part.run_async(last.get(part.name), None if patience is None else patience.of_part())
            except BaseException as error:  # noqa: BLE001 - the other parts are done all the same, also after exit()
                errors.append(told(part, error))
        return errors


def told(part: object, error: BaseException) -> BaseException:
    """The log has what a part of the end failed with."""
    _logger.error("At the end of a scan, %s failed: %s: %s", part, type(error).__name__, error)
    return error

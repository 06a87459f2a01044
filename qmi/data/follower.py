"""Following a run while it is measured, from the program that measures, another one, or another computer."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any

import trio

from qmi.actors.future import check_timeout
from qmi.data.column_values import time_of
from qmi.data.follow_link import ask, connected, connected_run, linked_rows
from qmi.data.follow_rules import RunHead
from qmi.data.follow_steps import Steps, Told, Wait, local_rows, local_run
from qmi.data.rows import Row
from qmi.data.run_folder import RunFolder
from qmi.data.run_index import RunInfo
from qmi.data.run_metadata import active_context
from qmi.errors import (
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_NoActiveContextException,
    QMI_RpcTimeoutException,
    QMI_UnknownNameException,
)
from qmi.runtime.wakeup import on_any_loop, refuse_on_loop, refuse_outside_trio

if TYPE_CHECKING:
    from qmi.contexts.blocking_context import QMI_Context


def follow(
    run: str | RunInfo,
    *,
    context: str | None = None,
    folder: str | Path | None = None,
    first: int = 0,
    wait: float | None = None,
) -> Follower:
    """Follow a run: all rows so far, then each new one, no gap and none twice, until the run ends.

    ::

        for row in qmi.data.follow("cooldown"):
            print(row.number, row.time, row.T, row["V"])

    It may be recorded by this program, by another one of this computer, or on another computer. In a trio program,
    ``async for``. The one who follows may be slow: the run is never slowed or stopped by it. A run that has ended is
    read from its file, with the same rows. Where the link to another computer is lost, the rows go on when it is
    restored.

    Args:
        run: The id of a run; or a name, for the newest run of that name; or an entry of :func:`runs`.
        context: The context that records it, or that is connected to the one that does; None: a run of this computer,
            or else of a connected context. It is connected to if need be.
        folder: Where the run is on this computer; as for :func:`run`.
        first: The number of the first row that is wanted.
        wait: How long to wait for a run of that name to begin, in seconds, if there is none; None: not at all.

    Raises:
        QMI_InvalidValueException: If an argument will not do.
    """
    return Follower(run, context, folder, first, wait)


class Follower:
    """Follows a run; made by :func:`follow`.

    It is for one thread or task at a time. It frees all that it holds at the end of its ``with`` block, by
    :meth:`close`, or when nobody has it any more.
    """

    def __init__(
        self, run: str | RunInfo, context: str | None, folder: str | Path | None, first: int, wait: float | None
    ) -> None:
        name = run.run_id if isinstance(run, RunInfo) else run
        if not isinstance(name, str):
            raise QMI_InvalidValueException(f"run must be the id or the name of a run, got {run!r}")
        if isinstance(first, bool) or not isinstance(first, int) or first < 0:
            raise QMI_InvalidValueException(f"first must be the number of a row, 0 or more, got {first!r}")
        if wait is not None and not (isinstance(wait, int | float) and 0 <= wait < math.inf):
            raise QMI_InvalidValueException(f"wait must be None or a number of seconds, 0 or more, got {wait!r}")
        if context is not None and folder is not None:
            raise QMI_InvalidValueException("folder must be None where a context is given, which knows its own folder")
        if isinstance(run, RunInfo) and context is None and folder is None:
            folder = run.file.parent.parent
        self._wanted = _Wanted(name, context, folder, wait)
        self._told = Told()
        self._next = first
        self._steps: Steps | None = None
        self._pending: Wait | None = None
        self._ready: deque[Row] = deque()
        self._ended = False
        self._mutex = threading.Lock()

    def __repr__(self) -> str:
        return f"<follower of run {self._wanted.run}: {self._told.state}, next row {self._next - len(self._ready)}>"

    # What is known of the run

    def _known(self) -> RunHead:
        if self._told.head is None:
            if on_any_loop():
                raise QMI_InvalidOperationException(
                    f"run {self._wanted.run} is not followed yet: async with qmi.data.follow(...) as follower:"
                )
            self._open()
        assert self._told.head is not None
        return self._told.head

    @property
    def state(self) -> str:
        """How the run is: "running" until its last row was read; then "done", "failed" or "interrupted"."""
        return self._told.state

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self._known().run_id

    @property
    def name(self) -> str:
        """Its name."""
        return self._known().name

    @property
    def started(self) -> datetime:
        """When it began, in UTC."""
        return time_of(self._known().started)

    @property
    def columns(self) -> Mapping[str, str]:
        """The units of the columns by their names."""
        return MappingProxyType(self._known().columns)

    @property
    def coordinates(self) -> tuple[str, ...]:
        """The columns that were set rather than measured."""
        return self._known().coordinates

    @property
    def axes(self) -> Mapping[str, Mapping[str, tuple[str, Any]]]:
        """For columns of arrays whose axes were declared: the names of the axes, each with its unit and its values."""
        return MappingProxyType(self._known().axes)

    # The blocks

    def __enter__(self) -> Follower:
        self._open()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Follower:
        refuse_outside_trio("async with qmi.data.follow()", "qmi.data.follow", _INSTEAD)
        while self._told.head is None and not self._ended:
            await self._advance_async(None)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Follow the run no longer, and free all that this holds."""
        with self._mutex:
            self._ended = True
            self._drop()

    # Rows

    def read(self, timeout: float | None = None) -> list[Row]:
        """Return the rows that are there now; wait for one if there is none.

        Args:
            timeout: How long to wait at most, in seconds; None for as long as the run lasts.

        Returns:
            No rows if none came in time, or at the end; then :attr:`state` is not "running".

        Raises:
            QMI_UnknownNameException: If there is no such run.
            QMI_RecordingException: If its file cannot be read.
            QMI_MessageDeliveryException: If the link to its context is gone for good.
            QMI_BlockingOnLoopException: In an event loop, where :meth:`read_async` is the way.
        """
        refuse_on_loop("follower.read()", "await follower.read_async()")
        limit = check_timeout(timeout)
        deadline = None if limit is None else time.monotonic() + limit
        while not self._ready and not self._ended and self._advance(deadline):
            pass
        return self._take()

    async def read_async(self, timeout: float | None = None) -> list[Row]:
        """The same in a trio program."""
        refuse_outside_trio("follower.read_async()", "follower.read", _INSTEAD)
        limit = check_timeout(timeout)
        deadline = math.inf if limit is None else trio.current_time() + limit
        await trio.lowlevel.checkpoint()
        while not self._ready and not self._ended and await self._advance_async(deadline):
            pass
        return self._take()

    def __iter__(self) -> Follower:
        return self

    def __next__(self) -> Row:
        refuse_on_loop("for row in qmi.data.follow(...)", "async for row in qmi.data.follow(...)")
        while not self._ready:
            if self._ended:
                raise StopIteration
            self._advance(None)
        return self._ready.popleft()

    def __aiter__(self) -> Follower:
        refuse_outside_trio("async for row in qmi.data.follow()", "qmi.data.follow", _INSTEAD)
        return self

    async def __anext__(self) -> Row:
        await trio.lowlevel.checkpoint()
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            await self._advance_async(None)
        return self._ready.popleft()

    def _take(self) -> list[Row]:
        rows = list(self._ready)
        self._ready.clear()
        return rows

    # Its steps

    def _open(self) -> None:
        refuse_on_loop("with qmi.data.follow()", "async with qmi.data.follow(...) as follower:")
        while self._told.head is None and not self._ended:
            self._advance(None)

    def _advance(self, deadline: float | None) -> bool:
        """Take one step, or wait until there is one; False if the time is over."""
        if self._pending is None:
            self._step()
            return True
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0.0:
            return False
        delay = self._pending.delay
        with suppress(QMI_RpcTimeoutException):
            self._pending.woken().wait(delay if left is None else left if delay is None else min(delay, left))
        if self._pending.woken().done() or (delay is not None and (left is None or delay <= left)):
            self._pending = None
        return True

    async def _advance_async(self, deadline: float | None) -> bool:
        if self._pending is None:
            if self._told.quick:
                self._step()
            else:
                await trio.to_thread.run_sync(self._step)
            return True
        now = trio.current_time()
        end = math.inf if deadline is None else deadline
        if end <= now:
            return False
        due = math.inf if self._pending.delay is None else now + self._pending.delay
        with trio.move_on_at(min(due, end)):
            await self._pending.woken().ended()
        if self._pending.woken().done() or due <= end:
            self._pending = None
        return True

    def _step(self) -> None:
        """Have the source take one step, and keep what comes of it."""
        if not self._mutex.acquire(blocking=False):
            raise QMI_InvalidOperationException(f"{self!r} is read by another thread now: make one follower for each")
        try:
            if self._steps is None:
                self._steps = self._wanted.steps(self._next, self._told)
            step = next(self._steps, None)
            if isinstance(step, Wait):
                self._pending = step
            elif step is None:
                self._ended = True
                self._drop()
            else:
                self._keep(step)
        except BaseException:
            # Ctrl-C may have come at any point: the next read begins anew, at the row that follows.
            self._drop()
            raise
        finally:
            self._mutex.release()

    def _keep(self, rows: list[Row]) -> None:
        if rows and rows[0].number != self._next:  # some got lost when Ctrl-C came between two steps
            self._drop()
            return
        self._ready.extend(rows)
        self._next += len(rows)

    def _drop(self) -> None:
        steps, self._steps, self._pending = self._steps, None, None
        if steps is not None:
            steps.close()


@dataclass(frozen=True)
class _Wanted:
    """What is to be followed."""

    run: str
    context: str | None
    folder: str | Path | None
    wait: float | None

    def steps(self, first: int, told: Told) -> Steps:
        """Where the rows come from: a run of this computer, or of a context.

        It does not refer to the follower, which is freed as soon as nobody has it, and this with it.
        """
        context = active_context()
        run = self.run if told.head is None else told.head.run_id
        if self.context is not None and (context is None or self.context != context.name):
            yield from self._linked(context, self.context, run, first, told)
            return
        place = RunFolder(self.folder)
        place.recover_quietly()
        search = self.folder is None and self.context is None and context is not None
        run_id = yield from local_run(place, run, 0.0 if search else self.wait)
        if run_id is None and search:
            assert context is not None
            found = yield from connected_run(context.async_context, run)
            if found is not None:
                yield from linked_rows(context.async_context, found, first, told)
                return
            run_id = yield from local_run(place, run, self.wait)
        if run_id is None:
            raise QMI_UnknownNameException(place.why_not_there(run))
        yield from local_rows(place, run_id, first, told)

    def _linked(self, context: QMI_Context | None, name: str, run: str, first: int, told: Told) -> Steps:
        if context is None:
            raise QMI_NoActiveContextException(
                f"a run of context {name!r} is followed over a link: call qmi.start() first, which makes a context"
            )
        core = context.async_context
        yield from connected(core, name)
        deadline = time.monotonic() + (self.wait or 0.0)
        while True:
            try:
                found = yield from ask(core, name, "find", run)
                break
            except QMI_UnknownNameException:
                if time.monotonic() >= deadline:
                    raise
                yield Wait(delay=0.1)
        yield from linked_rows(core, {**found, "context": name}, first, told)


_INSTEAD = ("for row in qmi.data.follow(...)", "list, qmi.data.follow(...)")

"""Following a run as steps: what to hand out, and what to wait for, without saying how; for threads and for tasks.

A source is a generator of :data:`Step`. It never waits itself, and may be closed at any step, which frees all that it
holds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from qmi.actors.future import QMI_RpcFuture
from qmi.data import run_log
from qmi.data.file_rows import RunFile
from qmi.data.follow_rules import LogRows, Pace, RunHead
from qmi.data.rows import Row
from qmi.data.run_folder import RunFolder
from qmi.errors import QMI_RecordingException, QMI_RpcTimeoutException, QMI_UnknownNameException
from qmi.runtime.wakeup import refuse_on_loop

R = TypeVar("R")

PART: Final = 1 << 18
"""Bytes of a log that are read at once."""
QUICK: Final = 4096
"""Up to how many bytes of a log an event loop may take in; more are left to a thread."""
_PATIENCE: Final = 0.5
"""For how long a log must be quiet, in seconds, before it is looked whether its program lives."""


class Awaited(Protocol):
    """What ends, and then calls."""

    def add_done_callback(self, callback: Callable[[], object]) -> None:
        """Have a function called when it has ended."""


@dataclass
class Wait:
    """Something to wait for.

    Attributes:
        future: Ends the wait; None if there is only the time.
        delay: How long to wait at most, in seconds; None for ever.
    """

    future: Awaited | None = None
    delay: float | None = None
    _woken: QMI_RpcFuture[None] | None = field(default=None, init=False)

    def woken(self) -> QMI_RpcFuture[None]:
        """Ends when the future does, without its result; the same one for all who wait for this."""
        if self._woken is None:
            woken: QMI_RpcFuture[None] = QMI_RpcFuture("the next row")
            if self.future is not None:
                self.future.add_done_callback(lambda: woken.set_result(None))
            self._woken = woken
        return self._woken


Step: TypeAlias = "Wait | list[Row]"
"""What to wait for; or rows, which are none when only the head has become known."""
Steps: TypeAlias = Generator[Step, None, None]


@dataclass
class Told:
    """What a source tells besides the rows.

    Attributes:
        head: What is known of the run; None before that is.
        state: How the run is.
        quick: Whether the next step is quick enough for an event loop.
    """

    head: RunHead | None = None
    state: str = "running"
    quick: bool = False


def local_run(place: RunFolder, run: str, wait: float | None) -> Generator[Step, None, str | None]:
    """Find a run of this computer; the result is its id, None if there is none in time.

    Args:
        place: Where it is.
        run: Its id or name.
        wait: How long to wait for it to begin, in seconds.
    """
    deadline = time.monotonic() + (wait or 0.0)
    while (run_id := place.locate(run)) is None:
        left = deadline - time.monotonic()
        if left <= 0.0:
            return None
        yield Wait(delay=min(0.05, left))
    return run_id


def local_rows(place: RunFolder, run_id: str, first: int, to: Told) -> Steps:
    """The rows of a run of this computer."""
    path = place.log_of(run_id)
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed below
    except FileNotFoundError:
        yield from rows_of_file(place.file_of(run_id), first, to)
        return
    with file:  # from here on what is in the log can be read, also when it is deleted
        log = LogRows(first, run_id)
        while True:
            yield from _tail(place, run_id, file, log, to)
            to.quick = False
            if (rows := log.finish()) is not None:
                break
        log.check()
        if rows:
            yield rows
    to.state = str(log.end["state"]) if log.end is not None else _state_of(place.file_of(run_id))


def _tail(place: RunFolder, run_id: str, file: Any, log: LogRows, to: Told) -> Steps:
    """Rows of a log until it ends, or nobody writes it any more."""
    pace, path, last = Pace(time.monotonic), place.log_of(run_id), False
    checked = time.monotonic()
    while True:
        file.seek(log.offset)
        data = file.read(PART)
        writer = None if data else run_log.log_of_this_program(path)
        if data:
            pace.arrived()
            rows = log.feed(data)
            to.quick = len(data) < QUICK and run_log.log_of_this_program(path) is not None
            if to.head is None and log.head is not None:
                to.head = log.head
                yield []
            if rows:
                yield rows
        elif log.end is not None or last:
            return
        elif writer is not None:
            yield from _written(writer, file)
        elif to.quick or min(pace.quiet, time.monotonic() - checked) < _PATIENCE:
            to.quick = False
            yield Wait(delay=pace.delay())
        else:
            last = not place.is_running(run_id)  # then what was written just before is read
            checked = time.monotonic()


def _written(log: run_log.RunLog, file: Any) -> Steps:
    """Wait until this program has written more than was read."""
    written: QMI_RpcFuture[None] = QMI_RpcFuture("the next row")
    log.call_at_next_write(wake := lambda: written.set_result(None))
    try:
        # What was written before that is there now; what is written from now on ends the wait.
        if os.fstat(file.fileno()).st_size <= file.tell():
            yield Wait(written)
    finally:
        log.forget(wake)


def _state_of(file: Path) -> str:
    """How a run has ended whose log does not say so."""
    try:
        with RunFile(file) as opened:
            return opened.state
    except QMI_RecordingException:  # it is not recovered yet
        return "interrupted"


def rows_of_file(path: Path, first: int, to: Told) -> Steps:
    """The rows of a run that has ended."""
    to.quick = False
    if not path.exists():
        raise QMI_UnknownNameException(f"{path}, the file of the run, is not there")
    with closing(RunFile(path)) as file:
        if to.head is None:
            to.head = file.head
            yield []
        yield from file.parts(first)
    to.state = file.state


def finish(steps: Generator[Step, None, R], what: str) -> R:
    """Take all steps of a source that gives no rows, in a thread, and return its result.

    Args:
        steps: The source.
        what: What would block, for messages.

    Raises:
        QMI_BlockingOnLoopException: In an event loop.
    """
    refuse_on_loop(what, f"await trio.to_thread.run_sync(lambda: {what})")
    with closing(steps):
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                result: R = end.value
                return result
            if isinstance(step, Wait):
                with suppress(QMI_RpcTimeoutException):
                    step.woken().wait(step.delay)

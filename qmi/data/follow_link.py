"""Following a run of another computer: what its context, or a context that it is connected to, answers as ``$runs``."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Coroutine, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from qmi.actors.future import QMI_RpcFuture
from qmi.data.follow_rules import LogRows
from qmi.data.follow_steps import PART, QUICK, Step, Steps, Told, Wait, rows_of_file
from qmi.data.rows import Row
from qmi.errors import (
    QMI_ContextStoppedException,
    QMI_Exception,
    QMI_MessageDeliveryException,
    QMI_NotDeliveredException,
    QMI_ObjectRemovedException,
    QMI_RecordingException,
    QMI_TimeoutException,
    QMI_UnknownNameException,
    QMI_UnknownRpcException,
)
from qmi.messages import Call, Request
from qmi.names import Address
from qmi.runtime.wakeup import Loop

_logger = logging.getLogger("qmi.data")

T = TypeVar("T", bound="TailOfLog")

NAME: Final = "$runs"
_SHORTEST: Final = 0.02
_LONGEST: Final = 1.0
_FILE_PART: Final = 1 << 20
_ANSWER_TIME: Final = 5.0
_SILENCE: Final = 15.0
"""After so many seconds without even a sign of life the publisher of a run at a site is asked."""


class LinksOfContext(Protocol):
    """The links of a context."""

    def may_return(self, name: str) -> bool:
        """Whether there is a link to a context, or there may be one again."""

    def names(self) -> list[str]:
        """The contexts that are connected."""

    async def connect(
        self, name: str, address: str | None = None, *, ignore_duplicate: bool = False, reconnect: bool = False
    ) -> None:
        """Connect to another context."""


class TailOfLog(Protocol):
    """What comes of a log by a site."""

    @property
    def is_disturbed(self) -> bool:
        """Whether something may be missing."""

    def begin(self, offset: int) -> None:
        """What comes from an offset on comes by the site."""

    def take(self, offset: int) -> bytes | None:
        """What follows an offset; nothing if it is still to come, None if it is to be asked for."""

    def call_at_next(self, offset: int, wake: Callable[[], object]) -> None:
        """Have a function called once, when there is more to take."""

    def disturb(self) -> None:
        """Something may be missing."""


class RowsAtSite(Protocol[T]):
    """The rows of runs at a site."""

    @property
    def is_up(self) -> bool:
        """Whether there is a server."""

    async def follow(self, context: str, run: str) -> T:
        """Follow a run."""

    def unfollow(self, tail: T) -> None:
        """Follow it no more."""


class PartInSite(Protocol):
    """What a context does at its site."""

    @property
    def rows(self) -> RowsAtSite[Any] | None:
        """The rows of runs; None without a site."""


class Asker(Protocol):
    """The context that asks, as this sees it."""

    name: str
    loop: Loop

    @property
    def at_site(self) -> PartInSite:
        """Its part in a site."""

    @property
    def connections(self) -> LinksOfContext:
        """Its links."""

    def check_running(self) -> None:
        """Raise if it does not run."""

    def request(self, address: Address, message: Request) -> QMI_RpcFuture[Any]:
        """Send a message to an object, wherever it lives."""

    def run(self, function: Callable[..., Coroutine[object, object, None]], *args: object) -> QMI_RpcFuture[None]:
        """Run an async function in its nursery; giving up cancels it."""


def ask(core: Asker, context: str, method: str, *arguments: object, **named: object) -> Generator[Step, None, Any]:
    """Ask another context for something of its runs; where the link is lost, ask again when it is restored.

    Args:
        core: The context that asks.
        context: The one that is asked.
        method: The method of ``$runs``.
        arguments: Its arguments.
        named: The same, by their names.

    Raises:
        QMI_UnknownNameException: If that context keeps no runs, or has no such run.
        QMI_MessageDeliveryException: If there is no link to it, and none is to be restored.
    """
    delay, told = _SHORTEST, False
    while True:
        future = core.request(Address(context, NAME), Call(NAME, method, arguments, named))
        try:
            yield Wait(future)
            result = future.result()
        except (QMI_ObjectRemovedException, QMI_UnknownNameException, QMI_UnknownRpcException) as error:
            raise _not_there(context, error) from error
        except QMI_MessageDeliveryException as error:
            core.check_running()
            if not core.connections.may_return(context):
                raise
            if not told and not isinstance(error, QMI_ContextStoppedException):
                _logger.warning("Following a run of context %s goes on when its link is restored: %s", context, error)
            told = True
            yield Wait(delay=delay)
            delay = min(2 * delay, _LONGEST)
        else:
            return result
        finally:
            _give_up(core, future)


def _give_up(core: Asker, future: QMI_RpcFuture[Any]) -> None:
    # By the loop: whoever leaves may be the garbage collector, in the middle of the link's own code.
    if not future.done():
        core.loop.soon(future.cancel)


def connected(core: Asker, name: str) -> Steps:
    """Connect to another context, if need be, and have the link restored when it is lost.

    Raises:
        QMI_ConnectionException: If it cannot be reached.
    """
    made = core.run(partial(core.connections.connect, name, ignore_duplicate=True, reconnect=True))
    try:
        yield Wait(made)
        made.result()
    finally:
        _give_up(core, made)


def _not_there(context: str, error: QMI_Exception) -> QMI_Exception:
    text = str(error)
    if NAME not in text and not isinstance(error, QMI_UnknownRpcException):
        return error  # it has no such run, and says which it has
    why = text if "has not imported" in text else "its version of qmi-trio does not know how"
    return QMI_UnknownNameException(
        f"context {context!r} does not tell of runs ({why}). Ask the context that records, or one of the same "
        "computer: a program that imports qmi.data, or python -m qmi.tools.serve"
    )


def connected_run(core: Asker, run: str) -> Generator[Step, None, dict[str, Any] | None]:
    """Find a run at the contexts that are connected; the result is where, None if none of them has it."""
    asked = [(name, core.request(Address(name, NAME), Call(NAME, "find", (run,)))) for name in core.connections.names()]
    found: list[dict[str, Any]] = []
    try:
        for name, future in asked:
            yield Wait(future, delay=_ANSWER_TIME)
            if future.done() and future.error() is None:
                found.append({**future.result(), "context": name})
    finally:
        for _, future in asked:
            _give_up(core, future)
    return max(found, key=lambda each: str(each["run_id"])[: len("20261126-140501")], default=None)


def linked_rows(core: Asker, found: dict[str, Any], first: int, to: Told) -> Steps:
    """The rows of a run of another computer.

    Args:
        core: The context that asks.
        found: What was found: "context" is asked for the run "run_id", which it may get itself from its peer "via".
        first: The number of the first row.
        to: Who follows.
    """
    context, which = found["context"], (found["run_id"], found["via"])
    log = LogRows(first, found["run_id"])
    source = _LogElsewhere(core, context, which)
    rows: list[Row] | None
    try:
        while True:
            what, data = yield from source.read(log.offset)
            if what == "gone":  # what was not read yet is in the file
                yield from _rows_of_copy(core, context, which, log.next, to)
                return
            rows = log.feed(data)
            to.quick = len(data) < QUICK
            if to.head is None and log.head is not None:
                to.head = log.head
                yield []
            if rows:
                yield rows
            if (what == "ended" or log.end is not None) and (rows := log.finish()) is not None:
                break
    finally:
        source.leave()
        core.loop.soon(core.request, Address(context, NAME), Call(NAME, "leave", which))  # so that it need not find out
    log.check()
    if rows:
        yield rows
    to.state = "interrupted" if log.end is None else str(log.end.get("state"))


class _LogElsewhere:
    """The log of a run of another computer: it comes by the site, where there is one; else it is asked for.

    What is missing of what comes by the site is asked for, too: it is known by its place in the log.

    Args:
        core: The context that asks.
        context: The one that is asked.
        which: The id of the run, and where that context gets it from.
    """

    def __init__(self, core: Asker, context: str, which: tuple[str, str]) -> None:
        self._core = core
        self._context = context
        self._which = which
        self._site = core.at_site.rows
        self._tail: TailOfLog | None = None
        self._is_over = False

    def read(self, offset: int) -> Generator[Step, None, tuple[str, bytes]]:
        """What follows an offset, as ``$runs`` tells it."""
        while True:
            if self._tail is None and self._site is not None and self._site.is_up:
                yield from self._begin(self._site)
            data = None if self._tail is None else self._tail.take(offset)
            if self._tail is None or data is None:
                break
            if data:
                return "log", data
            yield from self._wait(self._tail, offset)
        if self._tail is not None and self._tail.is_disturbed:
            self._forget_tail()  # and begin anew when it has been asked
        answer = yield from ask(self._core, self._context, "read", *self._which, offset, PART)
        return _checked(answer, ("log", "ended", "gone"), self._context, self._which)

    def _wait(self, tail: TailOfLog, offset: int) -> Steps:
        more: QMI_RpcFuture[None] = QMI_RpcFuture("the next row")
        tail.call_at_next(offset, partial(more.set_result, None))
        yield Wait(more, delay=_SILENCE)
        if not more.done():
            tail.disturb()

    def _begin(self, site: RowsAtSite[Any]) -> Steps:
        """Hear the run, and have it published from where its log ends now."""
        run_id, via = self._which

        async def follow() -> None:
            tail = await site.follow(via or self._context, run_id)
            if self._is_over:
                site.unfollow(tail)
            else:
                self._tail = tail

        try:
            following = self._core.run(follow)
            try:
                yield Wait(following)
                following.result()
            finally:
                _give_up(self._core, following)
            offset = yield from ask(self._core, self._context, "publish_rows", *self._which)
        except (QMI_NotDeliveredException, QMI_TimeoutException):
            self._forget_tail()  # the server is lost again
            return
        except QMI_UnknownNameException:  # whoever keeps the run is of an older version
            offset = -1
        tail = self._tail
        if type(offset) is not int or offset < 0:  # or it is not at the site
            self._forget_tail()
            self._site = None
        elif tail is not None:
            tail.begin(offset)

    def _forget_tail(self) -> None:
        tail, self._tail = self._tail, None
        if tail is not None and self._site is not None:
            self._core.loop.soon(self._site.unfollow, tail)

    def leave(self) -> None:
        """Hear it no more. Whoever leaves may be the garbage collector, so that the loop does it."""
        self._is_over = True
        self._core.loop.soon(self._forget_tail)


def _checked(answer: Any, kinds: Sequence[str], context: str, which: Sequence[str]) -> tuple[str, bytes]:
    """What a context has answered, if it is of the form that is expected."""
    if isinstance(answer, tuple | list) and len(answer) == 2 and answer[0] in kinds and isinstance(answer[1], bytes):
        return str(answer[0]), answer[1]
    raise QMI_RecordingException(
        f"context {context!r} answered {answer!r:.100} where bytes of run {which[0]} were asked for"
    )


def _checked_part(answer: Any, context: str, which: Sequence[str]) -> tuple[int, bytes]:
    """The same for a part of a file, which comes with the size of the file."""
    if isinstance(answer, tuple | list) and answer and type(answer[0]) is int:
        return answer[0], _checked(("file", *answer[1:]), ("file",), context, which)[1]
    return 0, _checked(answer, (), context, which)[1]


def _rows_of_copy(core: Asker, context: str, which: Sequence[str], first: int, to: Told) -> Steps:
    with tempfile.TemporaryDirectory(prefix="qmi-run-", ignore_cleanup_errors=True) as folder:
        path = Path(folder, "run.nc")
        yield from copied_file(core, context, which, path)
        yield from rows_of_file(path, first, to)


def copied_file(core: Asker, context: str, which: Sequence[str], path: Path) -> Steps:
    """Copy the file of a run that has ended, part by part.

    Args:
        core: The context that asks.
        context: The one that is asked.
        which: The id of the run, and where that context gets it from.
        path: Where to copy it to.

    Raises:
        QMI_RecordingException: If it cannot be written, or has changed meanwhile.
    """
    at, size = 0, 1
    try:
        with open(path, "wb") as file:
            while at < size:
                answer = yield from ask(core, context, "read_file", *which, at, _FILE_PART)
                size, data = _checked_part(answer, context, which)
                if not data and at < size:
                    raise QMI_RecordingException(f"the file of run {which[0]} was cut short while it was copied")
                file.write(data)
                at += len(data)
    except OSError as error:
        if isinstance(error, QMI_Exception):
            raise
        raise QMI_RecordingException(f"run {which[0]} cannot be copied to {os.fspath(path)}: {error}") from error

"""``$runs``: what a context tells other programs of the runs of its computer. It changes nothing."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple, Protocol, TypeVar

import trio

from qmi.actors.future import QMI_RpcFuture, call_async
from qmi.actors.interface import Placement, answered_by, direct_method
from qmi.actors.rpc_object import QMI_RpcObject
from qmi.config.schema import CfgQmi
from qmi.contexts.internal import register_internal_object
from qmi.data import run_log
from qmi.data.follow_link import NAME
from qmi.data.follow_rules import Pace
from qmi.data.follow_steps import PART
from qmi.data.run_folder import RunFolder, folder_of
from qmi.data.run_index import RunInfo
from qmi.errors import QMI_Exception, QMI_InvalidValueException, QMI_RecordingException, QMI_UnknownNameException
from qmi.messages import Call, Request
from qmi.names import Address

R = TypeVar("R")

_logger = logging.getLogger("qmi.data")

_IDLE: Final = 60.0
"""After how many seconds in which nobody reads it a log is closed."""
_LONGEST_ANSWER: Final = 20.0
"""Seconds after which a request for rows is answered without any; whoever follows asks again."""
_PATIENCE: Final = 0.5
_SIGN_OF_LIFE: Final = 2.0
"""How often, in seconds, a run that is published at a site says how far it is, and learns whether anybody follows."""
_UNHEARD: Final = 2
"""How often nobody has heard that before it is published no more."""
_MOST: Final = 1 << 20
_CONDITIONS: Final = ("name", "tag", "since", "until", "state", "limit")
_MANY: Final = 64
"""How many logs are kept open at most."""


class Links(Protocol):
    """The links of the context."""

    def names(self) -> list[str]:
        """The contexts that are connected."""


class RowsAtSite(Protocol):
    """The rows of runs at a site."""

    @property
    def is_up(self) -> bool:
        """Whether there is a server."""

    @property
    def most(self) -> int:
        """How many bytes of a log are published at once, at most."""

    async def wait_for_room(self) -> None:
        """Wait until what was published is on its way."""

    def publish(self, run: str, offset: int, data: bytes) -> None:
        """Publish bytes of a log; none says how far it is."""

    def end(self, run: str) -> None:
        """Say that nothing more comes."""

    def call_when_unheard(self, run: str, function: Callable[[], object]) -> None:
        """Have a function called when nobody follows a run that is published."""

    def forget(self, run: str) -> None:
        """Take that back."""


class PartInSite(Protocol):
    """What a context does at its site."""

    @property
    def rows(self) -> RowsAtSite | None:
        """The rows of runs; None without a site."""


class Owner(Protocol):
    """The context behind the object."""

    name: str
    config: CfgQmi

    @property
    def at_site(self) -> PartInSite:
        """Its part in a site."""

    @property
    def connections(self) -> Links:
        """Its links."""

    def run(self, function: Callable[..., Coroutine[object, object, R]], *args: object) -> QMI_RpcFuture[R]:
        """Run an async function in its nursery; giving up cancels it."""

    def request(self, address: Address, message: Request) -> QMI_RpcFuture[Any]:
        """Send a message to an object, wherever it lives."""


class _OpenLog:
    """A log that is being followed. It is kept open, so that it can be read to its end when the run has ended."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by close()
        self.path = path
        self.readers = 0
        self.is_left = False
        self.used = trio.current_time()

    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def read(self, offset: int, limit: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(limit) or b""

    def close(self) -> None:
        self._file.close()


class _Found(NamedTuple):
    """A run of this computer."""

    place: RunFolder
    run_id: str


class RunService(QMI_RpcObject):
    """What a context tells other programs of the runs of its computer."""

    _rpc_placement = Placement.LOOP
    GUEST_METHODS: ClassVar[Collection[str]] = ("find", "leave", "list_runs", "publish_rows", "read", "read_file")

    def __init__(self, context: Any, name: str, owner: Owner) -> None:
        super().__init__(context, name)
        self._owner = owner
        self._logs: dict[str, _OpenLog] = {}
        self._unheard: dict[str, int] = {}  # of each run that is published, how often nobody has heard it

    @classmethod
    def get_category(cls) -> str:
        """What kind of object this is."""
        return "context"

    def release_rpc_object(self) -> None:
        """Close the logs."""
        while self._logs:
            self._logs.popitem()[1].close()

    def _places(self) -> list[RunFolder]:
        configured = folder_of(self._owner.config, self._owner.name)
        return [RunFolder(path) for path in dict.fromkeys([configured, *run_log.folders_of_this_program()])]

    @answered_by("_begin_list")
    def list_runs(self, conditions: dict[str, object]) -> list[tuple[object, ...]]:
        """The runs of this computer.

        Args:
            conditions: Those of :func:`qmi.data.runs`; times as texts in ISO 8601.

        Returns:
            The fields of a :class:`~qmi.data.RunInfo` for each, oldest first; times and the file as texts.
        """
        return self._begin_list(conditions).wait()

    def _begin_list(self, conditions: dict[str, object]) -> QMI_RpcFuture[list[tuple[object, ...]]]:
        return self._owner.run(self._in_thread, self._list, conditions)

    async def _in_thread(self, function: Callable[..., R], *arguments: object) -> R:
        return await trio.to_thread.run_sync(partial(function, *arguments))

    def _list(self, conditions: dict[str, Any]) -> list[tuple[object, ...]]:
        if not isinstance(conditions, dict) or not set(conditions) <= set(_CONDITIONS):
            raise QMI_InvalidValueException(
                f"conditions must be a dict of some of {', '.join(_CONDITIONS)}, got {conditions!r:.200}"
            )
        found: dict[str, RunInfo] = {}
        failed: list[QMI_RecordingException] = []
        for place in (places := self._places()):
            place.recover_quietly()
            try:
                found.update({info.run_id: info for info in place.index.find(**conditions)})
            except QMI_RecordingException as error:  # of one folder; the others are as good as before
                failed.append(error)
                _logger.warning("The runs in %s are left out: %s", place.path, error)
        if len(failed) == len(places):
            raise failed[0]
        infos = sorted(found.values(), key=lambda info: (info.started, info.run_id))
        limit = conditions.get("limit")
        return [_plain(info) for info in (infos if limit is None else infos[-limit:])]

    @answered_by("_begin_find")
    def find(self, run: str, *, relay: bool = True, ended: bool = False) -> dict[str, str]:
        """Find a run, of this computer or of what this context is connected to.

        Args:
            run: Its id, or its name for the newest one.
            relay: Whether connected contexts are asked, if it is not here.
            ended: Whether only runs count that have ended.

        Returns:
            Its "run_id", and "via", the connected context that has it; empty if it is here.

        Raises:
            QMI_UnknownNameException: If there is none.
        """
        return self._begin_find(run, relay=relay, ended=ended).wait()

    def _begin_find(self, run: str, *, relay: bool = True, ended: bool = False) -> QMI_RpcFuture[dict[str, str]]:
        return self._owner.run(self._find, run, relay, ended)

    async def _find(self, run: str, relay: bool, ended: bool) -> dict[str, str]:
        try:
            found: _Found = await self._in_thread(self._here, run, ended)
        except QMI_UnknownNameException:
            for name in self._owner.connections.names() if relay else []:
                try:
                    call = Call(NAME, "find", (run,), {"relay": False, "ended": ended})
                    there = await call_async(self._owner.request(Address(name, NAME), call))
                    return {"run_id": str(there["run_id"]), "via": name}
                except QMI_Exception:  # it has none, or is an older version
                    continue
            raise
        return {"run_id": found.run_id, "via": ""}

    def _here(self, run: str, ended: bool = False) -> _Found:
        places = self._places()
        for place in places:
            place.recover_quietly()
            if (run_id := place.locate(run, ended=ended)) is not None:
                return _Found(place, run_id)
        if ended and any(place.locate(run) is not None for place in places):
            raise QMI_UnknownNameException(f"run {run} still lasts: it can be loaded when it has ended")
        raise QMI_UnknownNameException("; ".join(place.why_not_there(run) for place in places))

    @answered_by("_begin_read")
    def read(self, run_id: str, via: str, offset: int, limit: int) -> tuple[str, bytes]:
        """Bytes of the log of a run; waits for some if there are none yet.

        Args:
            run_id: The run.
            via: As :meth:`find` has said.
            offset: The first byte.
            limit: How many bytes at most.

        Returns:
            "log" and bytes, none if nothing came for a while; "ended", if nothing will follow; or "gone", if there is
            no log any more, but the file.

        Raises:
            QMI_UnknownNameException: If there is no such run.
        """
        return self._begin_read(run_id, via, offset, limit).wait()

    def _begin_read(self, run_id: str, via: str, offset: int, limit: int) -> QMI_RpcFuture[tuple[str, bytes]]:
        if _is_elsewhere(via):
            return self._owner.request(Address(via, NAME), Call(NAME, "read", (run_id, "", offset, limit)))
        return self._owner.run(self._read, _checked_id(run_id), *_checked_range(offset, limit, PART))

    async def _log_of(self, run_id: str) -> _OpenLog | None:
        log = self._logs.get(run_id)
        if log is None:
            found: _Found = await self._in_thread(self._here, run_id)
            log = self._logs.get(run_id) or self._open(found)
        return log

    async def _read(self, run_id: str, offset: int, limit: int) -> tuple[str, bytes]:
        log = await self._log_of(run_id)
        if log is None:
            return "gone", b""
        log.readers += 1  # it is not closed meanwhile
        log.is_left = False
        try:
            return await self._wait_for_bytes(run_id, log, offset, limit)
        finally:
            log.readers -= 1
            log.used = trio.current_time()
            if log.is_left:
                self._close_left(run_id, log)

    def _open(self, found: _Found) -> _OpenLog | None:
        if len(self._logs) >= _MANY:
            self._close_idle(0.0)
        try:
            log = _OpenLog(found.place.log_of(found.run_id))
        except FileNotFoundError:
            return None
        if not self._logs:
            self._owner.run(self._close_idle_logs)
        self._logs[found.run_id] = log
        return log

    async def _wait_for_bytes(
        self, run_id: str, log: _OpenLog, offset: int, limit: int, longest: float = _LONGEST_ANSWER
    ) -> tuple[str, bytes]:
        pace, checked = Pace(trio.current_time), trio.current_time()
        end = checked + longest
        while True:
            if data := log.read(offset, limit):
                return "log", data
            left = end - trio.current_time()
            writer = run_log.log_of_this_program(log.path)
            if writer is not None and left > 0.0:
                await _written(writer, log, offset, left)
                continue
            if min(pace.quiet, trio.current_time() - checked) >= _PATIENCE:
                if not await self._in_thread(_is_running, log.path, run_id):
                    # It was deleted, or nobody writes it any more; what was written just before is read.
                    data = log.read(offset, limit)
                    return ("log", data) if data else ("ended", b"")
                checked = trio.current_time()
            if left <= 0.0:
                return "log", b""
            await trio.sleep(pace.delay())

    @answered_by("_begin_publish_rows")
    def publish_rows(self, run_id: str, via: str) -> int:
        """Publish the log of a run at the site from now on, as long as anybody follows it there.

        Args:
            run_id: The run.
            via: As :meth:`find` has said.

        Returns:
            From which byte on; -1 if its context is at no site, or the log is no more.

        Raises:
            QMI_UnknownNameException: If there is no such run.
        """
        return self._begin_publish_rows(run_id, via).wait()

    def _begin_publish_rows(self, run_id: str, via: str) -> QMI_RpcFuture[int]:
        if _is_elsewhere(via):
            return self._owner.request(Address(via, NAME), Call(NAME, "publish_rows", (run_id, "")))
        return self._owner.run(self._publish_rows, _checked_id(run_id))

    async def _publish_rows(self, run_id: str) -> int:
        rows = self._owner.at_site.rows
        log = None if rows is None or not rows.is_up else await self._log_of(run_id)
        if rows is None or log is None:
            return -1
        begin = log.size()
        is_new = run_id not in self._unheard
        self._unheard[run_id] = 0
        if is_new:  # else what is published from now on is not less than that
            log.readers += 1
            self._owner.run(self._go_on_publishing, rows, run_id, log, begin)
        return begin

    async def _go_on_publishing(self, rows: RowsAtSite, run_id: str, log: _OpenLog, offset: int) -> None:
        with trio.CancelScope() as scope:

            def count_unheard() -> None:
                # The first one may have been on its way when somebody has begun to follow.
                self._unheard[run_id] += 1
                if self._unheard[run_id] == _UNHEARD:
                    scope.cancel()

            rows.call_when_unheard(run_id, count_unheard)
            try:
                await self._publish_to_the_end(rows, run_id, log, offset)
            finally:
                rows.forget(run_id)
                del self._unheard[run_id]
                log.readers -= 1
                log.used = trio.current_time()
                if log.is_left:
                    self._close_left(run_id, log)

    async def _publish_to_the_end(self, rows: RowsAtSite, run_id: str, log: _OpenLog, offset: int) -> None:
        due = trio.current_time() + _SIGN_OF_LIFE
        while True:
            what, data = await self._wait_for_bytes(run_id, log, offset, rows.most, _SIGN_OF_LIFE)
            if what == "ended":
                rows.end(run_id)
                return
            if data:
                await rows.wait_for_room()
                rows.publish(run_id, offset, data)
                offset += len(data)
            if (now := trio.current_time()) >= due:
                rows.publish(run_id, offset, b"")
                due = now + _SIGN_OF_LIFE

    @direct_method
    def leave(self, run_id: str, via: str) -> None:
        """Say that the caller does not read a run any more."""
        if _is_elsewhere(via):
            self._owner.request(Address(via, NAME), Call(NAME, "leave", (run_id, "")))
        elif (log := self._logs.get(_checked_id(run_id))) is not None:
            log.is_left = True  # its last request may be ending only now
            self._close_left(run_id, log)

    def _close_left(self, run_id: str, log: _OpenLog) -> None:
        # Another one who follows opens it again; if the run has ended meanwhile, the file has what is left.
        if not log.readers and self._logs.get(run_id) is log:
            del self._logs[run_id]
            log.close()

    async def _close_idle_logs(self) -> None:
        while self._logs:
            await trio.sleep(_IDLE / 2)
            self._close_idle(_IDLE)

    def _close_idle(self, longest: float) -> None:
        before = trio.current_time() - longest
        for run_id, log in list(self._logs.items()):
            if not log.readers and log.used <= before:
                del self._logs[run_id]
                log.close()

    @answered_by("_begin_read_file")
    def read_file(self, run_id: str, via: str, offset: int, limit: int) -> tuple[int, bytes]:
        """Bytes of the file of a run that has ended.

        Returns:
            How many bytes the file has, and those that were asked for.

        Raises:
            QMI_UnknownNameException: If there is no such run, or it still lasts.
        """
        return self._begin_read_file(run_id, via, offset, limit).wait()

    def _begin_read_file(self, run_id: str, via: str, offset: int, limit: int) -> QMI_RpcFuture[tuple[int, bytes]]:
        if _is_elsewhere(via):
            return self._owner.request(Address(via, NAME), Call(NAME, "read_file", (run_id, "", offset, limit)))
        offset, limit = _checked_range(offset, limit, _MOST)
        return self._owner.run(self._in_thread, self._read_file, _checked_id(run_id), offset, limit)

    def _read_file(self, run_id: str, offset: int, limit: int) -> tuple[int, bytes]:
        found = self._here(run_id)
        path = found.place.file_of(found.run_id)
        try:
            with open(path, "rb") as file:
                file.seek(offset)
                return os.fstat(file.fileno()).st_size, file.read(limit)
        except FileNotFoundError:
            raise QMI_UnknownNameException(f"run {run_id} still lasts: it can be loaded when it has ended") from None


def _is_elsewhere(via: object) -> bool:
    if not isinstance(via, str):
        raise QMI_InvalidValueException(f"via must be the name of a context, or empty; got {via!r:.200}")
    return bool(via)


def _checked_id(run_id: object) -> str:
    if not isinstance(run_id, str):
        raise QMI_UnknownNameException(f"run_id must be the id of a run, got {run_id!r:.200}")
    return run_id


def _checked_range(offset: object, limit: object, most: int) -> tuple[int, int]:
    """The first byte that is wanted, and how many at most."""
    for name, value in (("offset", offset), ("limit", limit)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise QMI_InvalidValueException(f"{name} must be a number of bytes, got {value!r:.200}")
    assert isinstance(offset, int)
    assert isinstance(limit, int)
    if not 0 <= offset < 1 << 62:
        raise QMI_InvalidValueException(f"offset must be 0 or more, and below 2^62, got {offset}")
    return offset, max(1, min(limit, most))


async def _written(writer: run_log.RunLog, log: _OpenLog, offset: int, timeout: float) -> None:
    """Wait until this program has written more than was read."""
    written: QMI_RpcFuture[None] = QMI_RpcFuture("the next row")
    wake = partial(written.set_result, None)
    writer.call_at_next_write(wake)
    try:
        # What was written before that is there now; what is written from now on ends the wait.
        if log.size() <= offset:
            with trio.move_on_after(timeout):
                await written.ended()
    finally:
        writer.forget(wake)


def _is_running(path: Path, run_id: str) -> bool:
    return RunFolder(path.parent.parent).is_running(run_id)


def _plain(info: RunInfo) -> tuple[object, ...]:
    ended = None if info.ended is None else info.ended.isoformat()
    return (
        *(info.run_id, info.name, info.started.isoformat(), ended, info.state, info.rows),
        *(list(info.tags), info.comment, str(info.file)),
    )


register_internal_object(NAME, RunService)

"""Recordings: runs whose rows are the signals and the readings of parameters that come.

Who does what: signals come into one receiver, which costs their publishers what each subscriber costs them. One thread
of the recording takes them from there and adds the rows; everything that it knows of the sources is its own. Where
sources are to be looked for again, another thread does that, and tells by an event in the receiver what it has found.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import trio

from qmi.actors.call import Router
from qmi.actors.future import QMI_RpcFuture, call_async, call_blocking
from qmi.actors.pubsub.receiver import QMI_SignalReceiver, ReceivedSignal
from qmi.actors.pubsub.subscriptions import Topic
from qmi.data.record_gaps import Gap
from qmi.data.record_sources import Reading, Source, Values, Wanted, offer_of, sources_of, wanted_of
from qmi.data.recording import Run, note_event, run
from qmi.data.run_index import RunInfo
from qmi.data.run_metadata import active_context
from qmi.errors import (
    QMI_Exception,
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_SignalSubscriptionException,
    QMI_TimeoutException,
    QMI_UsageException,
)
from qmi.runtime.wakeup import refuse_on_loop, refuse_outside_trio

if TYPE_CHECKING:
    from qmi.contexts.blocking_context import QMI_Context

_logger = logging.getLogger("qmi.data")

QUEUE: Final = 100_000
"""Signals that may wait to be written."""
TELL_AGAIN: Final = 1.0
"""Seconds within which what is missing of a source is told together."""
LOOK_AGAIN: Final = 1.0
"""Seconds after which a source that is not there is looked for again."""
LARGE: Final = 1 << 16
"""Bytes of an array from which on a recording of its own is advised."""
_UNSUBSCRIBE: Final = 5.0
_PUBLISHED: Final = "published"
_END: Final = Topic("", "", "")


def record(
    name: str,
    *sources: object,
    units: Mapping[str, str] | None = None,
    tags: Iterable[str] = (),
    comment: str = "",
    metadata: Mapping[str, object] | None = None,
    instruments: Sequence[Any] = (),
    update: bool = False,
    folder: str | Path | None = None,
    reconnect: bool = False,
    max_queue_length: int = QUEUE,
    **named: object,
) -> Recording:
    """A run whose rows are what comes: signals, and readings and settings of parameters, of this and other programs.

    ::

        with qmi.data.record("night", nsg.sig_sample, psu.parameters.voltage, T=watch.sig_temperature) as recording:
            recording.wait()

    In a trio program, ``async with`` and ``await recording.wait_async()``. A row is added each time something comes;
    the columns of the others are None in it. The coordinate ``published`` has the time at which it was published, by
    the clock of the publisher's computer. At the end of the block, all that had come is written.

    A column is called after the object and its signal or parameter, such as ``nsg_sample``; a signal with several
    arguments has ``nsg_sample_0`` and so on. Of a parameter come the readings of its ``poll=``, and what it is set to.

    Args:
        name: The name of the run.
        sources: Signals and parameters of proxies, or texts such as ``"lab.psu.voltage"`` and ``"nsg.sig_sample"``.
        units: Units of columns; those of parameters are known.
        tags: As for :func:`run`, and so are comment, metadata, instruments, update and folder.
        comment: A comment.
        metadata: What else is to be kept.
        instruments: Proxies whose snapshots are kept, too.
        update: Whether instruments ask their devices for their snapshots.
        folder: Where the runs are.
        reconnect: Whether sources that are not there, or are gone, are looked for again every second.
        max_queue_length: How many signals may wait to be written; when more come, the oldest ones are missing.
        named: Further sources by the names that their columns are to have.

    Raises:
        QMI_UsageException: If something cannot be recorded.
        QMI_InvalidValueException: If an argument will not do, or two columns would have the same name.
        QMI_UnknownNameException: If there is no such object, signal or parameter.
        QMI_MissingLibraryException: If a library of ``qmi-trio[data]`` is not installed.
        QMI_SignalSubscriptionException: At the beginning of the block, if something cannot be subscribed to.
        QMI_RecordingException: At the beginning or the end of the block, if something cannot be written.
    """
    context = active_context()
    here = None if context is None else context.name
    wanted = [wanted_of(what, here) for what in sources]
    wanted += [wanted_of(what, here, column) for column, what in named.items()]
    make_run = partial(
        run, name, tags=tags, comment=comment, metadata=metadata, instruments=instruments, update=update, folder=folder
    )
    return Recording(name, wanted, make_run, units or {}, reconnect=reconnect, max_queue_length=max_queue_length)


class SourceState(NamedTuple):
    """How a source of a recording is.

    Attributes:
        source: What is recorded, such as ``"lab.nsg.sig_sample"``.
        columns: Its columns.
        state: "live", "lost" (the link is, and is being restored), "ended" or "absent".
        rows: How many rows have come from it.
    """

    source: str
    columns: tuple[str, ...]
    state: str
    rows: int


@dataclass
class _Missing:
    """What is missing of a source and has not been told yet."""

    count: int = 0
    row: int = 0
    detail: str = ""


@dataclass(eq=False)
class _Track:
    """A source while it is recorded. Of the thread that receives, but for the state, which others read."""

    source: Source
    state: str = "live"
    rows: int = 0
    event: str = ""
    missing: dict[str, _Missing] = field(default_factory=dict)
    told: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.source.place)


class Recording:
    """A recording, made by :func:`record` and used in a ``with`` or ``async with`` block.

    Where signals may be missing, that is logged, and is in :attr:`gaps` and in the file, as the attribute ``gaps``. A
    source whose object is gone for good ends with such an entry, and an error in the log; the others go on.

    Attributes:
        name: The name of its run.
        error: Why nothing is written any more, such as a full disk; None if all is well.
    """

    def __init__(
        self,
        name: str,
        wanted: Sequence[Wanted],
        make_run: Callable[..., Run],
        units: Mapping[str, str] | None = None,
        *,
        reconnect: bool = False,
        max_queue_length: int = QUEUE,
    ) -> None:
        self.name: str = name
        self.error: BaseException | None = None
        self._wanted = list(wanted)
        self._units = dict(units or {})
        self._make_run = make_run
        self._reconnect = reconnect
        self._receiver = QMI_SignalReceiver(max_queue_length, report_gaps=True)
        self._receiver.add_source()  # so that it waits for more, whatever becomes of the sources
        self._context: QMI_Context | None = None
        self._run: Run | None = None
        self._tracks: list[_Track] = []
        self._routes: dict[tuple[str, ...], list[tuple[_Track, Reading]]] = {}
        self._due: dict[tuple[str, ...], int] = {}
        self._gaps: list[Gap] = []
        self._nothing: dict[str, object] = {}
        self._published = _PUBLISHED
        self._thread: threading.Thread | None = None
        self._seeker: threading.Thread | None = None
        self._seek = threading.Event()
        self._stopping = threading.Event()
        self._ended: QMI_RpcFuture[None] = QMI_RpcFuture(f"the end of recording {name}")
        if all(one.interface is not None for one in self._wanted):
            self._prepare(self._wanted)

    def __repr__(self) -> str:
        return f"<recording {self.run_id or self.name}: {self.rows} rows of {len(self._wanted)} sources>"

    # What is known of it

    @property
    def run_id(self) -> str:
        """The id of its run, when it has begun."""
        return "" if self._run is None else self._run.run_id

    @property
    def rows(self) -> int:
        """How many rows there are by now."""
        return 0 if self._run is None else self._run.rows

    @property
    def file(self) -> Path:
        """The netCDF file, which is there when the recording has ended."""
        return self._begun().file

    @property
    def info(self) -> RunInfo | None:
        """What the index has of it, when it has ended."""
        return None if self._run is None else self._run.info

    @property
    def gaps(self) -> list[Gap]:
        """Where signals may be missing, in the order in which that was noticed."""
        return list(self._gaps)

    @property
    def sources(self) -> list[SourceState]:
        """What is recorded, and how it is now."""
        return [SourceState(track.name, track.source.columns, track.state, track.rows) for track in self._tracks]

    def comment(self, text: str) -> None:
        """Add a comment to the run; see :meth:`Run.comment`."""
        self._begun().comment(text)

    def tag(self, *tags: str) -> None:
        """Add tags to the run; see :meth:`Run.tag`."""
        self._begun().tag(*tags)

    def _begun(self) -> Run:
        if self._run is None:
            raise QMI_InvalidOperationException(
                f"Recording {self.name!r} has not begun: with qmi.data.record(...) as recording:"
            )
        return self._run

    def wait(self, timeout: float | None = None) -> None:
        """Wait while it is recorded, until nothing can come any more.

        Args:
            timeout: How long, in seconds; None waits for ever.

        Raises:
            QMI_TimeoutException: When that time is over; the recording goes on.
            QMI_SignalSubscriptionException: If all sources have ended.
            QMI_RecordingException: If nothing can be written any more.
        """
        refuse_on_loop("recording.wait()", "await recording.wait_async()")
        self._ended.wait(timeout)

    async def wait_async(self) -> None:
        """The same in a trio program; being cancelled ends the wait."""
        refuse_outside_trio("recording.wait_async()", "recording.wait")
        await self._ended

    # Its beginning

    def __enter__(self) -> Recording:
        refuse_on_loop("with qmi.data.record()", "async with qmi.data.record(...) as recording:")
        self._check_new()
        if self._run is None:
            self._prepare([self._looked_up(one) for one in self._wanted])
        try:
            for track, future in self._subscribe_all():
                try:
                    call_blocking(future, None)
                except QMI_Exception as error:
                    self._absent(track, error)
            self._begun().__enter__()
        except BaseException:
            self._unsubscribe_all()
            raise
        self._start()
        return self

    async def __aenter__(self) -> Recording:
        refuse_outside_trio("async with qmi.data.record()", "with qmi.data.record")
        self._check_new()
        if self._run is None:
            self._prepare([await self._looked_up_async(one) for one in self._wanted])
        try:
            for track, future in self._subscribe_all():
                try:
                    await call_async(future)
                except QMI_Exception as error:
                    self._absent(track, error)
            await self._begun().__aenter__()
        except BaseException:
            self._unsubscribe_all()
            raise
        self._start()
        return self

    def _check_new(self) -> None:
        if self._thread is not None:
            raise QMI_InvalidOperationException(
                f"Recording {self.run_id} was begun before; make a new one: qmi.data.record(...)"
            )
        self._context = active_context()

    def _looked_up(self, one: Wanted) -> Wanted:
        """The same with what its object offers; what is not there has no such thing if it is looked for again."""
        if one.interface is not None:
            return one
        assert self._context is not None
        try:
            self._connect(one.place.address.context)
            return one._replace(
                interface=call_blocking(self._context.async_context.interface_at(one.place.address), None)
            )
        except QMI_Exception:
            if self._reconnect:
                return one
            raise

    async def _looked_up_async(self, one: Wanted) -> Wanted:
        if one.interface is not None:
            return one
        assert self._context is not None
        core = self._context.async_context
        try:
            if one.place.address.context != core.name:
                await core.connect_to_peer(one.place.address.context, ignore_duplicate=True)
            interface = await call_async(core.interface_at(one.place.address))
            return one._replace(interface=interface)
        except QMI_Exception:
            if self._reconnect:
                return one
            raise

    def _connect(self, name: str) -> None:
        context = self._context
        if context is not None and name != context.name and not context.has_peer_context(name):
            context.connect_to_peer(name, ignore_duplicate=True)

    def _prepare(self, wanted: Sequence[Wanted]) -> None:
        sources = sources_of(wanted)
        known = {column: source.offer.unit if source.offer else "" for source in sources for column in source.columns}
        if unknown := [column for column in self._units if column not in known]:
            raise QMI_InvalidValueException(f"units has {unknown[0]!r}, which is no column ({', '.join(known)})")
        while self._published in known:
            self._published += "_"
        units = {self._published: "", **known, **self._units}
        self._run = self._make_run(units, coordinates=[self._published])
        self._nothing = dict.fromkeys(units)
        self._tracks = [_Track(source) for source in sources]
        for track in self._tracks:
            self._add_routes(track)

    def _add_routes(self, track: _Track) -> list[Topic]:
        offer = track.source.offer
        if offer is None:
            return []
        topics = [Topic(*track.source.place.address, signal) for signal in offer.readings]
        for topic, reading in zip(topics, offer.readings.values(), strict=True):
            routes = self._routes.get(topic, [])
            if all(other is not track for other, _ in routes):
                self._routes[topic] = [*routes, (track, reading)]
        return topics

    def _subscribe_all(self) -> list[tuple[_Track, QMI_RpcFuture[None]]]:
        found: list[tuple[_Track, QMI_RpcFuture[None]]] = []
        for track in self._tracks:
            source = track.source
            if source.offer is None:
                track.state = "absent"
                continue
            for signal in source.offer.readings:
                found.append((track, self._router(source).subscribe(source.place.address, signal, self._receiver)))
        return found

    def _router(self, source: Source) -> Router:
        if source.router is not None:
            return source.router
        assert self._context is not None
        return self._context.async_context

    def _absent(self, track: _Track, error: QMI_Exception) -> None:
        if not self._reconnect:
            raise error
        track.state = "absent"

    def _start(self) -> None:
        recorded = [{"source": track.name, "columns": list(track.source.columns)} for track in self._tracks]
        note_event(self._begun(), {"event": "record", "sources": recorded})
        for track in self._tracks:
            if track.state == "absent":
                self._note(track, "absent")
        self._thread = threading.Thread(target=self._receive, name=f"recording {self.name}", daemon=True)
        self._thread.start()
        if self._reconnect:
            self._seeker = threading.Thread(target=self._look, name=f"sources of {self.name}", daemon=True)
            self._seeker.start()

    # Its end

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for future in self._unsubscribe_all():
            with suppress(QMI_Exception):
                call_blocking(future, _UNSUBSCRIBE)
        self._finish()
        self._begun().__exit__(exc_type, self._cause(error), traceback)
        if error is None and self.error is not None:
            raise self.error

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with trio.CancelScope(shield=True):
            for future in self._unsubscribe_all():
                with suppress(QMI_Exception):
                    await call_async(future, _UNSUBSCRIBE)
            await trio.to_thread.run_sync(self._finish)
        await self._begun().__aexit__(exc_type, self._cause(error), traceback)
        if error is None and self.error is not None:
            raise self.error

    def _cause(self, error: BaseException | None) -> BaseException | None:
        """What the run ends with: that somebody ends the program is no failure of a recording."""
        return self.error if isinstance(error, KeyboardInterrupt | SystemExit | trio.Cancelled | None) else error

    def _unsubscribe_all(self) -> list[QMI_RpcFuture[None]]:
        self._stopping.set()
        self._seek.set()
        found = []
        for track in self._tracks:
            source = track.source
            if source.offer is not None:
                for signal in source.offer.readings:
                    found.append(self._router(source).unsubscribe(source.place.address, signal, self._receiver))
        return found

    def _finish(self) -> None:
        """Wait until all that had come is written."""
        self._receiver.mark_gap(_END, "ended")
        if self._thread is not None:
            self._thread.join()

    # The thread that receives

    def _receive(self) -> None:
        try:
            while True:
                try:
                    signal = self._receiver.get_next_signal(TELL_AGAIN if self._has_missing() else None)
                except QMI_TimeoutException:
                    self._tell_missing(time.monotonic())
                    continue
                if signal[:3] == _END:
                    break
                self._take(signal)
            self._tell_missing(float("inf"))
        except Exception as error:  # noqa: BLE001 - of the disk, mostly; raised at the end of the block
            self._fail(error)
        finally:
            self._ended.set_result(None)  # unless it has failed

    def _fail(self, error: Exception) -> None:
        self.error = error
        _logger.error("Recording %s has stopped: %s", self.run_id, error)
        self._unsubscribe_all()
        self._receiver.discard_all()
        self._ended.fail(error)

    def _take(self, signal: ReceivedSignal) -> None:
        topic = signal[:3]
        routes = self._routes.get(topic)
        if routes is None:
            return
        if signal.gap is not None and (signal.is_gap or signal.gap != "dropped"):
            for track, _ in routes:
                self._happened(track, topic, signal.gap)
        if signal.is_gap:
            return
        due = self._due.get(topic)
        self._due[topic] = signal.seqnr + 1
        for track, reading in routes:
            if track.state != "live":
                self._happened(track, topic, "found")
            if due is not None and signal.seqnr > due:
                detail = "while the link was lost" if track.event == "resumed" else ""
                self._miss(track, "dropped", signal.seqnr - due, detail)
            track.event = ""
            self._add(track, reading, signal)

    def _add(self, track: _Track, reading: Reading, signal: ReceivedSignal) -> None:
        assert self._run is not None
        try:
            values = reading(signal.args)
            if values is None:
                return
            published = datetime.fromtimestamp(signal.timestamp, UTC)
            self._run.add(**{**self._nothing, self._published: published, **values})
        except QMI_InvalidValueException as error:
            self._miss(track, "refused", 1, str(error))
            return
        track.rows += 1
        if track.rows == 1 and len(self._tracks) > 1:
            self._advise(track, values)

    def _advise(self, track: _Track, values: Values) -> None:
        large = max(getattr(value, "nbytes", 0) for value in values.values())
        if large >= LARGE:
            _logger.warning(
                "Recording %s: an array of %s has %d bytes, as much as each row of other sources takes in the file: "
                "give it a recording of its own",
                self.run_id, track.name, large,
            )  # fmt: skip

    # What is missing

    def _happened(self, track: _Track, topic: tuple[str, ...], event: str) -> None:
        """Something has happened to the way to a source; that of each of its signals is told as one."""
        if event in ("restarted", "ended"):
            self._due.pop(topic, None)
        if event == "dropped":  # what is left out shows in the numbers of the signals
            return
        state = {"lost": "lost", "ended": "ended"}.get(event, "live")
        if event == track.event or (state == track.state and event in ("lost", "ended", "found", "resumed")):
            return
        track.event, track.state = event, state
        self._note(track, event)
        if event == "ended":
            self._seek.set()
            if not self._reconnect and all(other.state == "ended" for other in self._tracks):
                self._ended.fail(
                    QMI_SignalSubscriptionException(f"Recording {self.name}: all of its sources have ended")
                )

    def _miss(self, track: _Track, kind: str, count: int, detail: str) -> None:
        missing = track.missing.get(kind)
        if missing is None:
            missing = track.missing[kind] = _Missing(row=self.rows, detail=detail)
        missing.count += count
        now = time.monotonic()
        if now - track.told.get(kind, float("-inf")) >= TELL_AGAIN:
            self._tell(track, kind, now)

    def _has_missing(self) -> bool:
        return any(track.missing for track in self._tracks)

    def _tell_missing(self, now: float) -> None:
        for track in self._tracks:
            for kind in list(track.missing):
                if now - track.told.get(kind, float("-inf")) >= TELL_AGAIN:
                    self._tell(track, kind, now)

    def _tell(self, track: _Track, kind: str, now: float) -> None:
        missing = track.missing.pop(kind)
        track.told[kind] = now
        self._note(track, kind, missing.row, missing.count, missing.detail)

    def _note(
        self, track: _Track, kind: str, row: int | None = None, missing: int | None = None, detail: str = ""
    ) -> None:
        gap = Gap(track.name, kind, datetime.now(UTC), self.rows if row is None else row, missing, detail)
        self._gaps.append(gap)
        _logger.log(logging.ERROR if kind == "ended" else logging.WARNING, "Recording %s: %s", self.run_id, gap)
        note_event(self._begun(), gap.to_event())

    # The thread that looks for sources

    def _look(self) -> None:
        while True:
            absent = [track for track in self._tracks if track.state in ("absent", "ended")]
            if not absent:
                self._seek.wait()
                self._seek.clear()
            if self._stopping.wait(LOOK_AGAIN):
                return
            for track in absent:
                self._find(track)

    def _find(self, track: _Track) -> None:
        """Subscribe to a source that was not there."""
        source = track.source
        place, router = source.place, self._router(source)
        try:
            self._connect(place.address.context)
            assert self._context is not None
            interface = call_blocking(self._context.async_context.interface_at(place.address), _UNSUBSCRIBE)
            offer = offer_of(place, interface, source.column)
            if offer.columns != source.columns:
                raise QMI_UsageException(f"it has {len(offer.columns)} arguments, and one column was made for it")
            source.offer = offer
            topics = self._add_routes(track)
            for topic in topics:
                call_blocking(router.subscribe(place.address, topic.signal, self._receiver), _UNSUBSCRIBE)
        except QMI_Exception as error:
            _logger.debug("%s is not there yet: %s", track.name, error)
            return
        if self._stopping.is_set():
            for topic in topics:
                router.unsubscribe(place.address, topic.signal, self._receiver)
            return
        self._receiver.mark_gap(topics[0], "found")

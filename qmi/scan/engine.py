"""A scan: it sets, measures and hands on rows, and does what is to be done at its end."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

import trio

from qmi import html
from qmi.core.driver import AsyncParameterHandle, ParameterHandle
from qmi.core.exceptions import (
    QMI_CancelledCallException,
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_UsageException,
)
from qmi.data.recording import Run, checked_tags
from qmi.data.recording import run as new_run
from qmi.data.run_folder import check_run_name
from qmi.data.run_metadata import active_context
from qmi.runtime.call_context import Facade
from qmi.runtime.wakeup import refuse_outside_trio
from qmi.scan import handles
from qmi.scan.columns import (
    Readable,
    Recorder,
    Row,
    Settable,
    check_handle,
    check_names,
    readable,
    settable,
    targets_of,
    values_of,
)
from qmi.scan.conditions import SignalOf, Watch, Watches
from qmi.scan.control import Control, Request, check_rest
from qmi.scan.description import Description, ScanParts, describe
from qmi.scan.ending import Ending, FinalCall, FinalSet, result_of, result_of_async, told, within
from qmi.scan.handles import ScanHandle
from qmi.scan.lost import Patience, lost_text
from qmi.scan.point_checks import check_points, check_points_async
from qmi.scan.points import Feed, feed, length_of, linspace
from qmi.scan.progress import ShownProgress, find_display
from qmi.scan.ramps import check_ramp
from qmi.scan.running import RUNNING, ScanInfo, scan_card
from qmi.scan.thresholds import UNSET, threshold

_logger = logging.getLogger("qmi.scan")

DEADLINE = 10.0
"""How long each part of the end may take, in seconds, unless it says otherwise."""


def scan(what: object, *points: object, run: Recorder | str | None = None) -> Scan:
    """Set something to one value after the other, and measure at each.

    ::

        for point in scan(psu.parameters.voltage, 0, 5, 51).measure(dmm.parameters.voltage):
            print(point.psu_voltage, point.dmm_voltage)

    Nothing is done until somebody goes through it: by ``for``, by :meth:`Scan.run`, or in a trio program by
    ``async for``.

    Args:
        what: What is set: a handle such as ``psu.parameters.voltage``, a pair ``(psu, "voltage")``, a function that
            takes the value, or what :func:`settable` makes; a list of these for several ones.
        points: First value, last value and how many; or the points: a list, a generator, or what :func:`linspace`,
            :func:`grid` and the others make. For several things that are set, each point is a tuple.
        run: What the rows are added to as well, by ``run.add(**row)``, as soon as each is measured; or the name of a
            run that :func:`qmi.data.run` begins and ends with the scan, with the columns of the scan.

    Raises:
        QMI_UsageException: If that cannot be set; a number is no parameter.
        QMI_InvalidValueException: If that are no points.
    """
    targets = targets_of(what)
    if len(points) == 3:
        found: object = linspace(*points)  # type: ignore[arg-type]
    elif len(points) == 1:
        (found,) = points
    else:
        raise QMI_InvalidValueException(
            f"scan() takes what is set and (start, stop, number) or the points, got {len(points)} further arguments"
        )
    if isinstance(found, str) or not isinstance(found, Iterable):
        raise QMI_InvalidValueException(f"points must be a list, linspace(0, 5, 51) or a generator, got {found!r}")
    if isinstance(run, str):
        check_run_name(run)
    elif run is not None and not callable(getattr(run, "add", None)):
        raise QMI_UsageException(f"run must be a name, a run, or something else with add(**row), got {run!r}")
    return Scan(targets, found, run)


class Scan:
    """A scan; made by :func:`scan`. It is gone through once.

    Attributes:
        rows: What was measured so far.
        id: What it is called in its context while it goes on; empty before, and in a program without a context.
        recorder: What the rows are added to as well, if anything; of a scan with the name of a run, that
            run, when the scan has begun.
        outcome: How it has ended: "done", "stopped" after a point, "aborted" within one, or "failed"; before, None.
    """

    def __init__(self, targets: list[Settable], points: Iterable[object], run: Recorder | str | None) -> None:
        self._targets = targets
        self._points = points
        self._run_name = run if isinstance(run, str) else None
        self._run: Run | None = None  # that of the name
        self._readables: list[Readable] = []
        self._ending = Ending()
        self._watches = Watches()
        self._control = Control(self._watches.why, self._changed)
        self._patience: Patience | None = None
        self._settle = 0.0
        self._tags: tuple[str, ...] = ()
        self._comment = ""
        self._metadata: dict[str, object] = {}
        self._shows = False
        self._shown: ShownProgress | None = None
        self._begun = False
        self._goes = False
        self._facade: Facade | None = None
        self._held: Generator[Row, None, None] | None = None
        self._held_async: AsyncGenerator[Row, None] | None = None
        self._last: dict[str, object] = {}
        self.recorder: Recorder | None = None if isinstance(run, str) else run
        self.id: str = ""
        self.rows: list[Row] = []
        self.outcome: str | None = None

    def __repr__(self) -> str:
        length = self.length
        of = "" if length is None else f" of {length}"
        return f"<{self._what}: {self.state}, {len(self.rows)}{of} points>"

    def _repr_html_(self) -> str:
        """What notebooks show."""
        info = ScanInfo(self.id, self._what, self.state, points=len(self.rows), length=self.length)
        return html.shown_or(lambda: scan_card(info), self)

    @property
    def _what(self) -> str:
        return f"scan of {', '.join(target.name for target in self._targets) or 'nothing'}"

    # What it is to do

    def measure(self, /, *what: object, **named: object) -> Self:
        """What to measure at each point, in this order.

        Args:
            what: Handles such as ``dmm.parameters.voltage``, pairs ``(dmm, "voltage")``, functions without arguments,
                and what :func:`readable` makes.
            named: The same, with the names of their columns.

        Raises:
            QMI_UsageException: If something cannot be measured; a number is no parameter.
            QMI_InvalidValueException: If two columns have the same name.
        """
        self._check_not_begun()
        added = [*map(readable, what), *(readable(each, name=name) for name, each in named.items())]
        check_names([*self._columns(), *added])
        self._readables += added
        return self

    def finally_set(
        self, what: object, value: object, *, ramp: float | None = None, deadline: float = DEADLINE
    ) -> Self:
        """Set something at the end, whatever ends the scan: the last point, an error, Ctrl-C, ``break``.

        All such parts are done in the order in which they were declared, also if one of them fails.

        Args:
            what: What to set, as in :func:`scan`.
            value: What to.
            ramp: How fast, in units per second; None for at once. A ramp begins at what is read then, or where that
                is not possible, at what the scan has set last.
            deadline: How long that may take, in seconds, besides the time of the ramp.
        """
        self._check_not_begun()
        target = settable(what)
        check_names([target])
        self._ending.add(FinalSet(target, value, check_ramp(value, ramp), deadline))
        return self

    def finally_call(self, function: Callable[[], object], *, deadline: float = DEADLINE) -> Self:
        """Call a function at the end, whatever ends the scan; see :meth:`finally_set`.

        In a script it is called in a thread of its own, so that nothing interrupts it. In a trio program it may be
        ``async``; a plain function runs in the event loop there, and no deadline ends it.

        Args:
            function: The function; it takes no arguments.
            deadline: How long it may take, in seconds.
        """
        self._check_not_begun()
        if not callable(function):
            raise QMI_UsageException(f"finally_call() takes a function, got {function!r}")
        self._ending.add(FinalCall(function, deadline))
        return self

    def suspend_when(
        self,
        signal: SignalOf,
        condition: Callable[..., object] | None = None,
        *,
        equals: object = UNSET,
        below: float | None = None,
        above: float | None = None,
    ) -> Self:
        """Have the scan wait while a signal says so, as an interlock's does.

        It waits before the next point. A point in whose time it was suspended is measured again, from its beginning.
        While the link over which the signal comes is lost, the scan waits too, until it is restored; if the signal is
        gone for good, the scan fails.

        Args:
            signal: A signal, such as ``interlock.sig_state``. Until it comes for the first time, nothing is suspended.
            condition: Called with the values of the signal; returns whether the scan is to wait until it comes again.
            equals: In place of a function: the scan waits while the first value of the signal is equal to this.
            below: The same: while it is less than this.
            above: The same: while it is more than this.
        """
        self._check_not_begun()
        said = threshold(equals, below, above)
        if said is not None and condition is not None:
            raise QMI_UsageException("suspend_when() takes either a function or equals, below and above, got both")
        self._watches.add(signal, condition if said is None else said, self._control.look)
        return self

    def wait_when_lost(self, timeout: float) -> Self:
        """Have the scan wait while an instrument is lost that is to come back.

        Where setting or measuring fails since a link or the connection to a device is lost, the scan is suspended, and
        the point is measured again from its beginning as soon as that works. A value may then be set twice: what is set
        has to be where it is set to, and not be moved by so much. The parts of the end wait, too, each until its
        deadline.

        Args:
            timeout: How long it waits for each loss, in seconds; then the error of the last attempt ends it.
        """
        self._check_not_begun()
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
            raise QMI_InvalidValueException(f"timeout must be a positive number of seconds, got {timeout!r}")
        self._patience = Patience(float(timeout))
        return self

    def settle(self, seconds: float) -> Self:
        """Have the scan wait at each point between setting and measuring.

        Args:
            seconds: For how long. Aborting the scan ends it.
        """
        self._check_not_begun()
        self._settle = check_rest(seconds)
        return self

    def annotate(
        self, *, tags: Iterable[str] = (), comment: str = "", metadata: Mapping[str, object] | None = None
    ) -> Self:
        """What the run of the scan is to say of it, and the list of scans.

        Args:
            tags: Tags of the run, by which it is found again.
            comment: A comment.
            metadata: What else the run keeps; see :func:`qmi.data.run`.

        Raises:
            QMI_InvalidValueException: If these are no texts, or there are tags and no run that was named.
        """
        self._check_not_begun()
        if not isinstance(comment, str):
            raise QMI_InvalidValueException(f"comment must be a text, got {comment!r}")
        if (found := checked_tags(tags)) and self._run_name is None:
            raise QMI_InvalidValueException("tags are those of a run: name one, scan(..., run='iv')")
        self._tags = tuple(dict.fromkeys((*self._tags, *found)))
        self._comment = comment or self._comment
        self._metadata = {**self._metadata, **(metadata or {})}
        return self

    def show_progress(self) -> Self:
        """Show how far it is: how many points, how fast, how long it will still take.

        On a terminal that is a bar, in a notebook a line below the cell. In a pipe or a file (of standard error) it is
        a line every ten seconds, and one at the end.
        """
        self._check_not_begun()
        self._shows = True
        return self

    @property
    def columns(self) -> dict[str, str]:
        """The names of the columns with their units; what is set comes first."""
        return {column.name: column.unit for column in self._columns()}

    @property
    def length(self) -> int | None:
        """How many points there are; None if that is not known."""
        return length_of(self._points)

    def describe(self) -> Description:
        """What it is, as plain data that other programs understand.

        Raises:
            QMI_UsageException: If something of it has no name in other programs, such as a lambda; says what, and what
                to write in its place.
        """
        self._check_not_begun()
        if self.recorder is not None:
            raise QMI_UsageException(
                f"The scan cannot be handed to another program: its rows go to {self.recorder!r} in this one. Name the "
                "run: scan(..., run='iv')"
            )
        watches = [(watch.signal, watch.condition) for watch in self._watches.all]
        patience = None if self._patience is None else self._patience.seconds
        return describe(
            ScanParts(
                self._targets,
                self._points,
                self._readables,
                self._ending.parts,
                watches,
                patience,
                self._run_name,
                self._tags,
                self._comment,
                self._metadata,
                self._settle,
            )
        )

    @property
    def progress(self) -> tuple[int, int | None]:
        """How many points were measured, and how many there are, if that is known."""
        return len(self.rows), self.length

    @property
    def summary(self) -> tuple[str, str, str]:
        """What it sets, the comment of :meth:`annotate`, and the id of its run, if it has one."""
        return self._what, self._comment, str(getattr(self.recorder, "run_id", ""))

    def time_to_end(self) -> float:
        """How long the end may take if it began now, in seconds."""
        return self._ending.longest(dict(self._last)) if self._begun else 0.0

    def _changed(self) -> None:
        if self.id:
            RUNNING.changed(self.id)

    # What others ask for, from any thread

    @property
    def state(self) -> str:
        """How it is: "ready", "running", "paused", "suspended by ...", "stopping", "finishing", or how it has ended."""
        if self.outcome is not None:
            return self.outcome
        if not self._goes:
            return "ready"
        if self._control.finishing:
            return "finishing"
        if self._control.request:
            return "stopping"
        return "paused" if self._control.paused else self._control.suspended or "running"

    def pause(self) -> None:
        """Have it wait before the next point; from any thread, at once."""
        self._control.pause(True)

    def resume(self) -> None:
        """Have it go on after a pause; from any thread, at once."""
        self._control.pause(False)

    def stop(self) -> None:
        """Have it end after this point, as Ctrl-C does; from any thread, at once."""
        self._control.ask(Request.STOP)

    def abort(self) -> None:
        """Have it end now; from any thread, at once. The point that goes on is not kept.

        A call that the point makes is given up, as if it were cancelled: an instrument that is in the midst of it may
        still come to its end. A function that computes or sleeps is left to return; then the scan ends.
        """
        self._control.ask(Request.ABORT)

    # Elsewhere

    def submit(self, queue: object, *, tags: Iterable[str] = (), comment: str = "") -> ScanHandle:
        """Give it to a queue, which carries it out when it is its turn, also when this program has ended by then.

        Args:
            queue: The address of a :class:`ScanQueue`, such as ``"lab.scans"``, or its proxy.
            tags: As for :meth:`annotate`.
            comment: As for :meth:`annotate`.

        Returns:
            What steers it there.

        Raises:
            QMI_UsageException: If something of it has no name in other programs, or the queue's program lacks it.
            QMI_UnknownNameException: If there is no such queue, instrument or parameter.
        """
        return handles.submit(self.annotate(tags=tags, comment=comment).describe(), queue)

    async def submit_async(self, queue: object, *, tags: Iterable[str] = (), comment: str = "") -> ScanHandle:
        """The same in a trio program."""
        return await handles.submit_async(self.annotate(tags=tags, comment=comment).describe(), queue)

    # Going through it

    def run(self) -> list[Row]:
        """Go through all of it, in a script.

        Returns:
            The rows, which are in ``rows`` too.

        Raises:
            KeyboardInterrupt: If Ctrl-C was pressed: once, when the point was finished; twice, at once. The rows until
                then are in ``rows``, and in the run.
            Exception: What a point failed with, or a part of the end.
        """
        for _ in self:
            pass
        return self.rows

    async def run_async(self) -> list[Row]:
        """The same in a trio program; see :meth:`run`. Being cancelled ends the scan; its end is shielded."""
        async with self:
            async for _ in self:
                pass
        return self.rows

    def __iter__(self) -> Iterator[Row]:
        if self._held is not None:
            return self._held
        self._begin(ParameterHandle)
        return self._go()

    def __aiter__(self) -> AsyncIterator[Row]:
        if self._held_async is not None:
            return self._held_async
        refuse_outside_trio("A scan", "scan.run", ("for point in scan(...)", "scan.run"))
        self._begin(AsyncParameterHandle)
        return self._go_async()

    def __enter__(self) -> Self:
        """Let the end of the ``with`` block be the end of the scan."""
        self._begin(ParameterHandle)
        self._held = self._go()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._held is None:
            return
        if not self._goes:  # nobody has gone through it; what is declared for its end is done all the same
            self.stop()
            deque(self._held, maxlen=0)
        self._held.close()

    async def __aenter__(self) -> Self:
        """Let the end of the ``async with`` block be the end of the scan."""
        refuse_outside_trio("A scan", "scan.run", ("for point in scan(...)", "scan.run"))
        self._begin(AsyncParameterHandle)
        self._held_async = self._go_async()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._held_async is None:
            return
        if not self._goes:  # as in a script
            self.stop()
            with trio.move_on_after(DEADLINE, shield=True):
                async for _ in self._held_async:
                    pass
        await self._held_async.aclose()

    def _check_not_begun(self) -> None:
        if self._begun:
            raise QMI_InvalidOperationException(f"{self!r} has begun: what it does is said before that")

    def _begin(self, wanted: type) -> None:
        if self._begun:
            raise QMI_InvalidOperationException(f"{self!r} is gone through once: make another one with scan(...)")
        for column in self._columns():
            if isinstance(column.handle, ParameterHandle | AsyncParameterHandle):
                check_handle(column.handle, wanted)
        check_names(self._columns())
        self._begun = True

    def _columns(self) -> list[Settable | Readable]:
        return [*self._targets, *self._readables]

    def _go(self) -> Generator[Row, None, None]:
        control, points = self._control, feed(self._points)
        self._goes = True
        error: BaseException | None = None
        # Ctrl-C raises KeyboardInterrupt once at most: in the inner "finally", then the outer one is done in peace, or
        # before it. From "finishing" on it is only noted.
        try:
            try:
                control.begin()
                if not control.request:
                    check_points(self._points, self._targets, self._ending.parts)
                self._open_display()
                self._facade = active_context()
                if (run := self._make_run()) is not None:
                    run.__enter__()
                self.id = RUNNING.add(self)
                for watch in self._watches.all:
                    result_of(watch.signal.subscribe(watch), f"subscribing to {watch.signal!r}")
                yield from self._each_point(points)
            except BaseException as raised:
                error = raised
                raise
            finally:
                control.finishing = True
                self._changed()
        finally:
            control.leave_point()  # Ctrl-C may have kept the point from it
            errors = self._ending.run(self._last, self._patience)
            errors += self._let_go(error)
            errors += self._close(points)
            control.end()
            self._conclude(error, errors)

    def _each_point(self, points: Feed) -> Generator[Row, None, None]:
        row: Row | None = None
        while self._control.wait():
            try:
                point = points.send(row)
            except StopIteration:
                return
            row = self._measured(point)
            if row is None:
                return
            self._keep(row)
            yield row

    def _measured(self, point: object) -> Row | None:
        """What is measured at a point: anew if it was suspended in its time, or an instrument was lost."""
        while True:
            try:
                row = self._at(point)
            except Exception as error:
                if (delay := self._delay_after(error, time.monotonic())) is None:
                    raise
                again = self._control.wait(lost_text(error), delay)
            else:
                if row is None or not self._disturbed():
                    return row
                again = self._control.wait()
            if not again:
                return None

    def _delay_after(self, error: Exception, now: float) -> float | None:
        """For how many seconds to wait before a point is measured again; None if its error ends the scan."""
        if self._patience is None:
            return None
        return self._patience.delay_after(error, now)

    def _disturbed(self) -> bool:
        if self._patience is not None:
            self._patience.over()
        return self._watches.disturbed()

    def _at(self, point: object) -> Row | None:
        """What is measured at a point; None if the scan is to end now."""
        values: dict[str, object] = {}
        control = self._control
        try:
            control.enter_point(self._facade)
            for target, value in zip(self._targets, values_of(point, self._targets), strict=True):
                if control.request is Request.ABORT:
                    return None
                self._last[target.name] = values[target.name] = value
                result_of(target.set(value), target.name)
            if self._settle and not control.rest(self._settle):
                return None
            for each in self._readables:
                if control.request is Request.ABORT:
                    return None
                values[each.name] = result_of(each.get(), each.name)
        except QMI_CancelledCallException:
            if control.request is not Request.ABORT:
                raise
        finally:
            control.leave_point()
        return None if control.request is Request.ABORT else Row(values, len(self.rows))

    async def _go_async(self) -> AsyncGenerator[Row, None]:
        control, points = self._control, feed(self._points)
        self._goes = True
        error: BaseException | None = None
        row: Row | None = None
        try:
            try:
                control.begin()
                if not control.request:
                    await check_points_async(self._points, self._targets, self._ending.parts)
                self._open_display()
                if (run := self._make_run()) is not None:
                    await run.__aenter__()
                self.id = RUNNING.add(self)
                for watch in self._watches.all:
                    await result_of_async(watch.signal.subscribe(watch))
                while await control.wait_async():
                    try:
                        point = points.send(row)
                    except StopIteration:
                        break
                    row = await self._measured_async(point)
                    if row is None:
                        break
                    self._keep(row)
                    yield row
            except BaseException as raised:
                error = raised
                raise
            finally:
                control.finishing = True
                self._changed()
        finally:
            errors = await self._ending.run_async(self._last, self._patience)
            errors += await self._let_go_async(error)
            errors += self._close(points)
            control.end()
            self._conclude(error, errors)

    async def _measured_async(self, point: object) -> Row | None:
        while True:
            try:
                row = await self._cancellable(point)
            except Exception as error:
                if (delay := self._delay_after(error, trio.current_time())) is None:
                    raise
                again = await self._control.wait_async(lost_text(error), delay)
            else:
                if row is None or not self._disturbed():
                    return row
                again = await self._control.wait_async()
            if not again:
                return None

    async def _cancellable(self, point: object) -> Row | None:
        row: Row | None = None
        with trio.CancelScope() as scope:
            self._control.cancels(scope)
            try:
                row = await self._at_async(point)
            finally:
                self._control.cancels(None)
        return row

    async def _at_async(self, point: object) -> Row:
        values: dict[str, object] = {}
        for target, value in zip(self._targets, values_of(point, self._targets), strict=True):
            self._last[target.name] = values[target.name] = value
            await result_of_async(target.set(value))
        if self._settle:
            await trio.sleep(self._settle)
        for each in self._readables:
            values[each.name] = await result_of_async(each.get())
        return Row(values, len(self.rows))

    def _close(self, points: Feed) -> list[BaseException]:
        try:
            points.close()
        except BaseException as error:  # noqa: BLE001 - of the user's generator; it is raised by the scan, or noted
            return [told("closing the generator of the points", error)]
        return []

    def _let_go(self, error: BaseException | None) -> list[BaseException]:
        """End subscriptions and the run."""
        for watch in self._watches.all:
            with suppress(Exception):  # the link may be lost
                within(DEADLINE, "unsubscribing", partial(_unsubscribe, watch))
        if self._run is not None and self._run.run_id:
            try:
                self._note_end(self._run)
                self._run.__exit__(*_of_run(error))
            except Exception as failure:  # noqa: BLE001 - it is raised by the scan, or noted
                return [failure]
        return []

    async def _let_go_async(self, error: BaseException | None) -> list[BaseException]:
        """The same in a trio program."""
        with trio.move_on_after(DEADLINE, shield=True):
            for watch in self._watches.all:
                with suppress(Exception):
                    await result_of_async(watch.signal.unsubscribe(watch))
        if self._run is not None and self._run.run_id:
            try:
                self._note_end(self._run)
                await self._run.__aexit__(*_of_run(error))
            except Exception as failure:  # noqa: BLE001 - it is raised by the scan, or noted
                return [failure]
        return []

    def _make_run(self) -> Run | None:
        if self._run_name is None:
            return None
        self._run = self.recorder = new_run(
            self._run_name,
            self.columns,
            coordinates=[target.name for target in self._targets],
            tags=self._tags,
            comment=self._comment,
            metadata=self._metadata,
        )
        return self._run

    def _note_end(self, run: Run) -> None:
        if self._control.request is not Request.NONE:
            of = "" if self.length is None else f" of {self.length}"
            run.comment(f"The scan was ended after {len(self.rows)}{of} points")

    def _keep(self, row: Row) -> None:
        if self.recorder is not None:
            self.recorder.add(**row)
        self.rows.append(row)
        if self._shown is not None:
            try:
                self._shown.update(len(self.rows), self.state)
            except Exception:  # noqa: BLE001 - nobody can see it any more, and that is no reason to stop
                self._shown = None

    def _open_display(self) -> None:
        if self._shows and sys.stderr is not None:
            with suppress(Exception):
                self._shown = ShownProgress(find_display(self.length, sys.stderr), self.length)

    def _outcome_of(self, error: BaseException | None, errors: list[BaseException]) -> str:
        request = self._control.request
        if error is None:
            return "failed" if errors else {Request.NONE: "done", Request.STOP: "stopped"}.get(request, "aborted")
        if isinstance(error, GeneratorExit):
            return "aborted" if request is Request.ABORT else "stopped"
        return "failed" if isinstance(error, Exception) else "aborted"

    def _conclude(self, error: BaseException | None, errors: list[BaseException]) -> None:
        """Note how it has ended, and raise what is to be raised.

        Raises:
            KeyboardInterrupt: If Ctrl-C was pressed and nothing else goes on that ends the program's work.
            Exception: What the end failed with, if nothing else is raised.
        """
        control = self._control
        left = isinstance(error, GeneratorExit)
        self.outcome = self._outcome_of(error, errors)
        RUNNING.remove(self, _brief(error if error is not None and not left else errors[0] if errors else None))
        shown, self._shown = self._shown, None
        if shown is not None:
            with suppress(Exception):
                shown.end(len(self.rows), self.outcome)
        if errors and error is not None and not left:
            for each in errors:
                error.add_note(f"At the end of the scan: {type(each).__name__}: {each}")
        if control.presses and not control.raised:
            if error is None:
                raise KeyboardInterrupt
            if left:
                control.postpone()
        if errors and error is None:
            raise (
                errors[0]
                if len(errors) == 1
                else BaseExceptionGroup("Several parts of the end of the scan failed", errors)
            )


def _brief(error: BaseException | None) -> str:
    return "" if error is None else f"{type(error).__name__}: {error}"


def _of_run(error: BaseException | None) -> tuple[type[BaseException] | None, BaseException | None, None]:
    """What a run is told of its end: a scan that is left by ``break`` has not failed."""
    return (None, None, None) if error is None or isinstance(error, GeneratorExit) else (type(error), error, None)


def _unsubscribe(watch: Watch, _: object) -> None:
    result_of(watch.signal.unsubscribe(watch), f"unsubscribing from {watch.signal!r}")

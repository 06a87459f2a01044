"""``qmi scan run``: a simple scan, carried out here or given to a queue."""

from __future__ import annotations

import math
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from qmi.errors import QMI_UsageException
from qmi.names import Address, parse_member
from qmi.presenting.annotations import configured_modules, resolver
from qmi.presenting.places import Place, find_places
from qmi.scan import Scan, ScanHandle, readable, scan
from qmi.scan.progress import progress_text
from qmi.tools.cli.errors import EXIT_FAILED, EXIT_OK, CommandError, user_errors
from qmi.tools.cli.row_view import RowPrinter
from qmi.tools.cli.scan_follow import WELL, follow_scan
from qmi.tools.cli.session import Laboratory, default_context, laboratory, parse_object
from qmi.tools.cli.status_line import StatusLine
from qmi.tools.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Mapping


class Measured(NamedTuple):
    """What is measured.

    Attributes:
        name: The name of its column; None for the usual one.
        address: The object.
        pattern: Its parameter, or a pattern for several.
    """

    name: str | None
    address: Address
    pattern: str


def measured(text: str) -> Measured:
    """``lab.dmm.voltage``, ``V=lab.dmm.voltage`` or ``lab.dmm.*``.

    Raises:
        QMI_UsageException: If it is none of these.
    """
    name, equals, path = text.rpartition("=")
    address, pattern = parse_member(path)
    if equals and "*" in pattern:
        raise QMI_UsageException(f"one name is given for all that {path!r} stands for: leave {name!r} out")
    return Measured(name if equals else None, address, pattern)


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Carry out the command; returns the exit code."""
    if arguments.follow and not arguments.queue:
        raise QMI_UsageException("--follow goes with --queue: a scan that is carried out here is shown anyway")
    wanted = [measured(text) for text in arguments.measure]
    with laboratory(arguments, reconnect=True) as lab:
        made = _make(lab, arguments, wanted)
        if arguments.queue:
            return _submit(lab, made, arguments, terminal)
        with default_context(lab.context):
            return _carry_out(made, terminal)


# The scan of the command line


def _make(lab: Laboratory, arguments: Namespace, wanted: list[Measured]) -> Scan:
    target = _place(lab, arguments.target)
    points = _points(lab, target, arguments)
    made = scan((target.proxy, target.path), points, run=arguments.run)
    for each in wanted:
        proxy = lab.proxy(str(each.address))
        for place in find_places(proxy, each.address, each.pattern):
            made.measure(readable((place.proxy, place.path), name=each.name))
    for text in arguments.finally_set:
        path, equals, value = text.partition("=")
        if not equals:
            raise QMI_UsageException(f"--finally is written lab.psu.voltage=0, got {text!r}")
        place = _place(lab, path)
        made.finally_set((place.proxy, place.path), _read(lab, place, value), ramp=arguments.ramp)
    if arguments.ramp is not None and not arguments.finally_set:
        raise QMI_UsageException("--ramp goes with --finally")
    made.settle(arguments.settle)
    if arguments.wait_when_lost is not None:
        made.wait_when_lost(arguments.wait_when_lost)
    return made.annotate(tags=arguments.tag, comment=arguments.comment)


def _place(lab: Laboratory, path: str) -> Place:
    address, name = parse_member(path)
    if "*" in name:
        raise QMI_UsageException(f"one parameter is set, got {path!r}")
    (place,) = find_places(lab.proxy(str(address)), address, name)
    return place


def _read(lab: Laboratory, place: Place, text: str) -> object:
    return place.read(text.strip(), resolver(place.class_name, configured_modules(lab.config)))


def _points(lab: Laboratory, target: Place, arguments: Namespace) -> list[object]:
    if arguments.values is not None:
        if arguments.points:
            raise QMI_UsageException("give either START STOP NUMBER or --values, got both")
        texts = arguments.values.split(",")
        return [_read(lab, target, text) for text in texts]
    if len(arguments.points) != 3:
        raise QMI_UsageException(
            f"give START STOP NUMBER, such as 0 5 51, or --values 0,1,5; got {' '.join(arguments.points) or 'neither'}"
        )
    first, last = (_read(lab, target, text) for text in arguments.points[:2])
    number = arguments.points[2]
    if not number.isdecimal() or int(number) < 1:
        raise QMI_UsageException(f"NUMBER must be a whole number from 1 on, got {number!r}")
    return list(_linspace(target, first, last, int(number)))


def _linspace(target: Place, first: object, last: object, number: int) -> Iterator[object]:
    from qmi.scan import linspace

    for value in (first, last):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise QMI_UsageException(f"{target.where} has no numbers between {first!r} and {last!r}: give --values")
    assert isinstance(first, int | float)
    assert isinstance(last, int | float)
    whole = isinstance(first, int) and isinstance(last, int) and (number == 1 or (last - first) % (number - 1) == 0)
    for value in linspace(first, last, number):
        # Parameters that are whole numbers refuse others.
        yield round(value) if whole and isinstance(value, float) else value


# Where it is carried out


def _submit(lab: Laboratory, made: Scan, arguments: Namespace, terminal: Terminal) -> int:
    queue = parse_object(arguments.queue)
    handle: ScanHandle = made.submit(lab.proxy(str(queue)))
    if terminal.json and not arguments.follow:
        terminal.write_json({"scan": handle.id, "queue": str(queue)})
    elif not terminal.json:
        terminal.note(f"{handle.id} is in queue {queue}")
    if not arguments.follow:
        return EXIT_OK
    with default_context(lab.context):
        return follow_scan(handle, terminal)


@contextmanager
def _failures() -> Iterator[None]:
    """What a point failed with is no fault of the command line."""
    try:
        with user_errors("the scan"):
            yield
    except QMI_UsageException as error:
        raise CommandError(f"the scan has failed: {error}") from error


def _carry_out(made: Scan, terminal: Terminal) -> int:
    columns: Mapping[str, str] = made.columns
    show, begun = RowPrinter(columns, terminal), time.monotonic()
    with StatusLine(terminal) as line:
        try:
            show.begin()
            with _failures():
                for row in made:
                    line.clear()
                    show(row)
                    terminal.flush()
                    if not terminal.json:
                        line.show(progress_text(*made.progress, time.monotonic() - begun, made.state))
        finally:
            points, length = made.progress
            run_id, state = made.summary[2], made.outcome or "failed"
            if terminal.json:
                terminal.write_json(
                    {"state": state, "points": points, "length": length, "run_id": run_id or None}, line=True
                )
            else:
                text = progress_text(points, length, time.monotonic() - begun, state)
                line.show(text + (f", run {run_id}" if run_id else ""))
    return EXIT_OK if made.outcome in WELL else EXIT_FAILED

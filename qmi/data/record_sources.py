"""What a recording records: signals and parameters of objects, and the columns that they become."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from qmi.actors.call import Router
from qmi.actors.interface import Interface
from qmi.actors.parameter_values import SIG_CHANGED, poll_signal
from qmi.actors.proxy import ProxySignal
from qmi.actors.proxy_part import part_of
from qmi.core.driver import AsyncParameterHandle, NonblockingParameterHandle, ParameterHandle
from qmi.errors import QMI_InvalidValueException, QMI_UnknownNameException, QMI_UsageException
from qmi.names import Address, nearest, parse_parameter_path, split_member

Values = Mapping[str, object]
Reading = Callable[[tuple[object, ...]], Values | None]
"""Makes the values of columns of the arguments of a signal; None if those are about something else."""


class Place(NamedTuple):
    """A signal or a parameter of an object somewhere.

    Attributes:
        address: The object.
        member: The signal, such as ``"sig_sample"``, or the parameter, such as ``"outputs[1].voltage"``.
    """

    address: Address
    member: str

    def __str__(self) -> str:
        return f"{self.address}.{self.member}"


class Wanted(NamedTuple):
    """Something that is to be recorded.

    Attributes:
        place: Where it is.
        router: What subscribes to it; None is the context of whoever records.
        interface: What its object offers; None if that is not known yet.
        column: The name that its column is to have; None for the usual one.
    """

    place: Place
    router: Router | None
    interface: Interface | None
    column: str | None = None


class Offer(NamedTuple):
    """What is known of something that is recorded, by what its object offers.

    Attributes:
        columns: Its columns.
        unit: Their unit; empty if it has none.
        readings: The signals that tell of it, and what each of them says.
    """

    columns: tuple[str, ...]
    unit: str
    readings: Mapping[str, Reading]


@dataclass
class Source:
    """Something that is recorded.

    Attributes:
        place: Where it is.
        router: What subscribes to it; None is the context of whoever records.
        column: The name of its column, if it has one only.
        offer: What is known of it; None as long as its object has not been seen.
    """

    place: Place
    router: Router | None
    column: str
    offer: Offer | None

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns."""
        return (self.column,) if self.offer is None else self.offer.columns


def parse_place(text: str, context: str) -> Place:
    """Read ``"context.object.member"`` or ``"object.member"``.

    Args:
        text: The text.
        context: The context that is meant where none is named.

    Raises:
        QMI_InvalidValueException: If it is neither.
    """
    found = split_member(text)
    if found is None:
        raise QMI_InvalidValueException(
            'what is recorded is a signal or a parameter, such as "nsg.sig_sample", "lab.psu.voltage" or '
            f'"psu.outputs[1].voltage"; got {text!r}'
        )
    return Place(Address(found[0] or context, found[1]), found[2])


def wanted_of(what: object, context: str | None, column: str | None = None) -> Wanted:
    """What somebody wants to record.

    Args:
        what: A signal or a parameter of a proxy, or a text that names one.
        context: The context that texts mean if they name none; None if there is none.
        column: The name of the column; None for the usual one.

    Raises:
        QMI_UsageException: If that cannot be recorded.
    """
    if isinstance(what, str):
        if context is None:
            raise QMI_UsageException(f"{what!r} names nothing, since there is no context: qmi.start() makes one")
        return Wanted(parse_place(what, context), None, None, column)
    if isinstance(what, ProxySignal | ParameterHandle | AsyncParameterHandle | NonblockingParameterHandle):
        handle, member = part_of(what)
        return Wanted(Place(handle.address, member), handle.router, handle.interface, column)
    if hasattr(type(what), "__rpc_interface__"):
        raise QMI_UsageException(
            f"{what!r} itself cannot be recorded: say which of its signals or parameters, such as nsg.sig_sample or "
            "psu.parameters.voltage"
        )
    if isinstance(what, int | float | complex):
        raise QMI_UsageException(
            f"the value {what!r} cannot be recorded: psu.voltage is the voltage at this moment. Write "
            "psu.parameters.voltage, which stands for the parameter"
        )
    raise QMI_UsageException(
        f"{what!r} cannot be recorded: expected a signal such as nsg.sig_sample, a parameter such as "
        'psu.parameters.voltage, or a text such as "lab.psu.voltage"'
    )


def sources_of(wanted: Iterable[Wanted]) -> list[Source]:
    """What is to be recorded, each with the names of its columns.

    Args:
        wanted: What is to be recorded.

    Raises:
        QMI_UsageException: If something cannot be recorded.
        QMI_InvalidValueException: If two columns would have the same name.
        QMI_UnknownNameException: If an object has no such thing.
    """
    given = list(wanted)
    if not given:
        raise QMI_UsageException(
            "nothing is to be recorded: give signals such as nsg.sig_sample, or parameters such as "
            "psu.parameters.voltage"
        )
    places = [one.place for one in given]
    if twice := [place for place in places if places.count(place) > 1]:
        raise QMI_InvalidValueException(f"{twice[0]} is given twice")
    usual = [_column(place.address.object, place.member) for place in places]
    found = []
    for one, column in zip(given, usual, strict=True):
        if one.column is not None:
            column = one.column
        elif usual.count(column) > 1:  # of two contexts
            column = _column(f"{one.place.address.context}_{one.place.address.object}", one.place.member)
        offer = None if one.interface is None else offer_of(one.place, one.interface, column)
        found.append(Source(one.place, one.router, column, offer))
    columns = [column for one in found for column in one.columns]
    if doubled := [column for column in columns if columns.count(column) > 1]:
        raise QMI_InvalidValueException(
            f"two columns would be called {doubled[0]!r}: give one of them another name, as "
            "qmi.data.record(..., other_name=signal)"
        )
    return found


def offer_of(place: Place, interface: Interface, column: str) -> Offer:
    """What is recorded of a signal or a parameter.

    Args:
        place: Where it is.
        interface: What its object offers.
        column: The name of the column; those of a signal with several arguments have numbers after it.

    Raises:
        QMI_UnknownNameException: If the object has no such thing.
        QMI_UsageException: If it is a parameter of which nothing is published.
    """
    address, member = place
    signals = {info.name: len(info.arg_types) for info in interface.signals}
    if member in signals:
        count = signals[member]
        columns = (column,) if count < 2 else tuple(f"{column}_{number}" for number in range(count))
        return Offer(columns, "", {member: _of_signal(columns, count)})
    parameters = interface.parameters
    brief = None if parameters is None else parameters.find(member)
    path = parse_parameter_path(member)
    if brief is None or path is None:
        known = [*signals, *(() if parameters is None else parameters.paths())]
        near = nearest(member, known)
        hint = f"Did you mean {near!r}?" if near else f"It has {', '.join(known) or 'none at all'}"
        raise QMI_UnknownNameException(f"{address} has no signal or parameter {member!r}. {hint}")
    polled = poll_signal(path.name, path.group)
    readings: dict[str, Reading] = {}
    if signals.get(polled) == (2 if path.group else 1):
        readings[polled] = _of_poll(column, path.number if path.group else None)
    if brief.settable and SIG_CHANGED in signals:
        readings[SIG_CHANGED] = _of_setting(column, member)
    if not readings:
        raise QMI_UsageException(
            f"{member} of {address} is not published, so that it cannot be recorded: declare it with poll=SECONDS in "
            "the driver, or read it yourself, by qmi.scan or with qmi.data.run"
        )
    return Offer((column,), brief.unit, readings)


def _of_signal(columns: tuple[str, ...], count: int) -> Reading:
    if count == 0:
        return lambda args: {columns[0]: True}
    if count == 1:
        return lambda args: {columns[0]: args[0] if len(args) == 1 else args}

    def several(args: tuple[object, ...]) -> Values:
        if len(args) != count:
            raise QMI_InvalidValueException(f"it is declared with {count} arguments, and {len(args)} were published")
        return dict(zip(columns, args, strict=True))

    return several


def _of_poll(column: str, number: int | None) -> Reading:
    if number is None:
        return lambda args: {column: args[0]}
    return lambda args: {column: args[1]} if args[0] == number else None


def _of_setting(column: str, path: str) -> Reading:
    return lambda args: {column: args[1]} if args[0] == path else None


def _column(name: str, member: str) -> str:
    return re.sub(r"\W+", "_", f"{name}_{member.removeprefix('sig_')}").strip("_")

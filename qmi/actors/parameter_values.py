"""What an object knows of the values of its parameters, and what it tells of them: readings, snapshots, signals, polls.

The last value of each parameter that was read or set is kept, with its time. All of this runs in turns of the object,
so that nothing here is locked. The procedures (:func:`taking`, :func:`restoring`) are generators as in
:mod:`qmi.parameters.access`: what they get of the object may have to be awaited.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from enum import Enum
from typing import Final, Protocol, TypeAlias, cast

from qmi.actors.interface import full_name
from qmi.actors.last_values import VALUES, NotKept
from qmi.actors.pubsub.signal import QMI_RegisteredSignal, QMI_Signal
from qmi.actors.user_errors import text_of
from qmi.config.validators import printable
from qmi.errors import (
    QMI_InvalidValueException,
    QMI_RestoreException,
    QMI_UnknownNameException,
    QMI_UsageException,
)
from qmi.names import parse_parameter_path
from qmi.parameters import access
from qmi.parameters.declaration import Parameter
from qmi.parameters.declared import Declared, declared_of
from qmi.parameters.info import unknown_parameter
from qmi.parameters.snapshot import Change, Reading, Snapshot, differing, kept, member_of, settings_of

_logger = logging.getLogger("qmi.core.rpc")

SIG_CHANGED: Final = "sig_changed"
_NOT_YET: Final = "not read yet"
_NO_ARRAY: Final = "no array is kept: it is read for a snapshot with update=True"
_PLAIN: Final = frozenset({bool, int, float})


_Found: TypeAlias = dict[str, tuple[object, Parameter[object]]]
"""Parameters by name, each with who has it: the object or one of its channels."""


class _Host(Protocol):
    """An object with parameters."""

    _context: object
    _name: str


def _values_of(host: object) -> dict[str, tuple[object, float]]:
    """The last values of an object and their times, by the names of its parameters."""
    values: dict[str, tuple[object, float]] = vars(host).setdefault(VALUES, {})
    return values


def note(host: object, name: str, value: object) -> None:
    """Keep a value that was read or set just now; this is called for each of them.

    Args:
        host: The object.
        name: The parameter.
        value: Its value.
    """
    if type(value) not in _PLAIN:
        try:
            value = kept(value)
        except ValueError as error:  # an array, or bytes: that may be large, and is no state
            value = NotKept(str(error))
    _values_of(host)[name] = (value, time.time())


def forget_values(host: object, keep: Collection[str] = ()) -> None:
    """Know the values of an object no more, since its device may have others now: it was reset, or was without power.

    Args:
        host: The object.
        keep: Names of parameters whose values are still known.
    """
    values = _values_of(host)
    for name in [name for name in values if name not in keep]:
        del values[name]


def _rounded(moment: float) -> float:
    return round(moment, 6)  # as many digits as a file keeps


def publish_change(host: object, name: str, value: object) -> None:
    """Tell everybody who has subscribed that a setting was set; whatever comes of that, it is set."""
    context = getattr(host, "_context", None)
    signal = getattr(type(host), SIG_CHANGED, None)
    if not hasattr(context, "async_context") or not isinstance(signal, QMI_Signal):
        return  # in a test of the driver without a context, or in a class that has given the name to something else
    try:
        cast("QMI_RegisteredSignal", getattr(host, SIG_CHANGED)).publish(name, value)
    except Exception as error:  # noqa: BLE001 - of a value that cannot be looked at: the device has got it all the same
        _logger.warning("%r: %s of %s was not published: %s", host, SIG_CHANGED, name, text_of(error))


# Snapshots


def taking(host: object, *, update: bool, names: Collection[str] | None) -> Generator[object, object, Snapshot]:
    """Take a snapshot.

    Args:
        host: The object.
        update: Whether all is asked anew.
        names: What to take; None is all.

    Raises:
        QMI_UnknownNameException: If there is no parameter of one of the names.
        Exception: What the first reading has raised, if nothing could be read at all.
    """
    declared, values = declared_of(type(host)), _values_of(host)
    wanted = _chosen(host, declared, names)
    readings: dict[str, Reading] = {}
    missing: dict[str, str] = {}
    first: Exception | None = None
    silence = access.Silence()
    for name, (owner, parameter) in wanted.items():
        is_block = parameter.block is not None
        if is_block and names is None:
            continue
        if update and parameter.gettable:
            if silence:
                missing[name] = "not asked, since nobody answers"
                continue
            try:
                value = yield from access.reading(owner, parameter)
            except Exception as error:  # noqa: BLE001 - of the device: the rest is of use without this one
                first = first or error
                missing[name] = printable(f"{type(error).__name__}: {text_of(error)}")
                silence.failed(error)
                continue
            silence.heard()
            if is_block:
                readings[name] = Reading(value, parameter.unit, _rounded(time.time()))
                continue
        if is_block or name not in values:
            missing[name] = _NO_ARRAY if is_block else _NOT_YET
            continue
        value, moment = values[name]
        if isinstance(value, NotKept):
            missing[name] = value.reason
        else:
            readings[name] = Reading(value, parameter.unit, _rounded(moment))
    if first is not None and not readings:
        raise first
    return Snapshot(_address_of(host), full_name(type(host)), _rounded(time.time()), readings, missing)


def _chosen(host: object, declared: Declared, names: Collection[str] | None) -> _Found:
    if isinstance(names, str) or not isinstance(names, Iterable | None):
        raise QMI_UsageException(f"names must be a list of names of parameters, or None for all; got {names!r}")
    paths = declared.paths(host)
    for name in names or ():
        if name not in paths:
            raise QMI_UnknownNameException(unknown_parameter(paths, access.name_of(host), name))
    return {name: found for name, found in _found(host, declared) if names is None or name in names}


def _found(host: object, declared: Declared) -> Iterator[tuple[str, tuple[object, Parameter[object]]]]:
    for name in declared.paths(host):
        found = declared.find(host, name)
        assert found is not None
        yield name, found


def _address_of(host: object) -> str:
    known = cast("_Host", host)
    context = getattr(known._context, "name", None)
    return f"{context}.{known._name}" if isinstance(context, str) else known._name


# Restoring them


def restoring(host: object, wanted: object, *, dry_run: bool) -> Generator[object, object, list[Change]]:
    """Set what differs from a snapshot, in the order in which it is declared.

    Args:
        host: The object.
        wanted: The snapshot, or values by the names of settings.
        dry_run: Whether nothing is set.

    Returns:
        What was set, or would be.

    Raises:
        QMI_InvalidValueException: If something cannot be set as it is wanted; nothing was set.
        QMI_RestoreException: If setting something failed; says what was set before.
    """
    if not isinstance(wanted, Mapping):
        raise QMI_UsageException(f"restore() takes a snapshot, or a dict of values by names; got {wanted!r}")
    found = dict(_found(host, declared_of(type(host))))
    changes, faults = yield from _planning(host, wanted, found)
    where = _address_of(host)
    if faults:
        raise QMI_InvalidValueException(f"{where} cannot be restored, and nothing was set: {'; '.join(faults)}")
    for number, change in enumerate([] if dry_run else changes):
        try:
            yield from access.setting(*found[change.name], change.after)
        except Exception as error:
            raise _stopped(where, changes, number, error) from error
    return changes


def _planning(
    host: object, wanted: Mapping[str, object], found: _Found
) -> Generator[object, object, tuple[list[Change], list[str]]]:
    """What is to be set, and what cannot be."""
    units = {name: parameter.unit for name, (_, parameter) in found.items() if _is_restorable(parameter)}
    try:
        settings = settings_of(wanted, units, found.keys())
    except QMI_InvalidValueException as error:
        return [], [str(error)]
    current: dict[str, object] = {}
    for name in settings:
        owner, parameter = found[name]
        settings[name] = _member_by_name(parameter, settings[name])
        if parameter.gettable:
            current[name] = yield from access.reading(owner, parameter)
        elif name in (values := _values_of(host)) and not isinstance(values[name][0], NotKept):
            current[name] = values[name][0]
    changes, faults = [], []
    for change in differing(settings, current, units):
        # With the values of those that are set before it: a limit may be one of them.
        try:
            value = yield from access.checking(*found[change.name], change.after, current)
        except QMI_UsageException as error:
            faults.append(str(error))
        else:
            changes.append(change._replace(after=value))
            current[change.name] = value
    return changes, faults


def _is_restorable(parameter: Parameter[object]) -> bool:
    return parameter.settable and parameter.block is None


def _member_by_name(parameter: Parameter[object], value: object) -> object:
    """The member of an enum, where the value is its name, or what stands for it in a program without the class.

    A file has the name where the value of the member is no number and no text.
    """
    kind: object = parameter.type
    if not (isinstance(kind, type) and issubclass(kind, Enum)) or isinstance(value, Enum):
        return value
    stands_for = member_of(value)
    name = value if stands_for is None else stands_for.name
    if stands_for is None and any(member.value == value for member in kind):
        return value
    return kind[name] if isinstance(name, str) and name in kind.__members__ else value


def _stopped(where: str, changes: list[Change], number: int, error: Exception) -> QMI_RestoreException:
    done = ", ".join(map(str, changes[:number])) or "nothing"
    left = ", ".join(change.name for change in changes[number + 1 :]) or "nothing"
    failed = changes[number]
    return QMI_RestoreException(
        f"Restoring {where} stopped at {failed}: {type(error).__name__}: {text_of(error)}. "
        f"Set before: {done}. Not set: {left}",
        failed.name,
        [change.name for change in changes[:number]],
        [change.name for change in changes[number + 1 :]],
    )


# Polls


def polls_of(host: object) -> dict[str, float]:
    """What is polled of an object, and each how many seconds."""
    found = _found(host, declared_of(type(host)))
    return {name: parameter.poll for name, (_, parameter) in found if parameter.poll is not None}


def poll(host: object, name: str) -> object:
    """Ask for a reading and publish it; something to await in a driver in the event loop.

    Args:
        host: The object.
        name: The parameter.
    """
    return access.run(_polling(host, name))


def _polling(host: object, name: str) -> Generator[object, object, None]:
    found = declared_of(type(host)).find(host, name)
    assert found is not None
    owner, parameter = found
    value = yield from access.reading(owner, parameter)
    parts = parse_parameter_path(name)
    assert parts is not None
    args = (parts.number, value) if parts.group else (value,)
    signal = poll_signal(parts.name, parts.group)
    if isinstance(getattr(type(host), signal, None), QMI_Signal):
        cast("QMI_RegisteredSignal", getattr(host, signal)).publish(*args)


def poll_signal(name: str, group: str) -> str:
    """The signal by which a reading that is polled is published.

    Args:
        name: The parameter.
        group: What the channels are called whose parameter it is; empty for one of the object itself.
    """
    return f"sig_{group}_{name}" if group else f"sig_{name}"


# The signals of a class


class _MadeSignal(QMI_Signal):
    """A signal that was made for parameters, and not declared by the driver's author."""


def declare_signals(cls: type, declared: Declared) -> None:
    """Put the signals into a class that tell of its parameters; one that the driver has itself stays.

    Args:
        cls: The class.
        declared: What it declares.

    Raises:
        QMI_UsageException: If the class has something else of such a name, or a signal with other arguments; or if two
            of its parameters would have the same signal.
    """
    needed = _signals_of(cls, declared)
    for name in dir(cls):
        if isinstance(getattr(cls, name, None), _MadeSignal) and name not in needed:
            setattr(cls, name, None)  # a subclass does not poll it any more
    for name, kinds in needed.items():
        found: object = getattr(cls, name, None)
        if found is None or (isinstance(found, _MadeSignal) and found.arg_types != kinds):
            signal = _MadeSignal(kinds)
            signal.__set_name__(cls, name)
            setattr(cls, name, signal)
        elif not (isinstance(found, QMI_Signal) and len(found.arg_types) == len(kinds)):
            arguments = ", ".join(kind.__name__ for kind in kinds)
            raise QMI_UsageException(
                f"{cls.__qualname__}.{name} is the name of the signal that tells of parameters, with the arguments "
                f"({arguments}). Rename {'that signal' if isinstance(found, QMI_Signal) else 'it'}"
            )


def _signals_of(cls: type, declared: Declared) -> dict[str, tuple[type, ...]]:
    needed: dict[str, tuple[type, ...]] = {SIG_CHANGED: (str, object)}
    told = {SIG_CHANGED: "settings that were set"}
    for shown, signal, kinds in _polled(declared):
        if signal in told:
            raise QMI_UsageException(
                f"{cls.__qualname__}.{signal} would be the signal of the readings of {shown}, and also that of "
                f"{told[signal]}: give {shown} another name, or leave its poll= out"
            )
        needed[signal], told[signal] = kinds, f"the readings of {shown}"
    return needed


def _polled(declared: Declared) -> Iterator[tuple[str, str, tuple[type, ...]]]:
    """Each parameter that is polled, with its signal and the arguments of that."""
    for parameter in declared.parameters.values():
        if parameter.poll is not None:
            yield parameter.name, poll_signal(parameter.name, ""), (_type_of(parameter),)
    for group, channels in declared.channels.items():
        for parameter in declared_of(channels.channel_class).parameters.values():
            if parameter.poll is not None:
                shown = f"{group}[...].{parameter.name}"
                yield shown, poll_signal(parameter.name, group), (int, _type_of(parameter))


def _type_of(parameter: Parameter[object]) -> type:
    return object if parameter.block is not None else parameter.type

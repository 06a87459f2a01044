"""How a parameter of an object is read and set: in which order a value is converted, checked, sent and noted.

What is asked of the object may be awaitable (a driver in the event loop) or not. So each procedure here is a generator
that yields what it got and is sent what came of it; :func:`run` drives it, in a thread or in the loop.

The object has four methods for this. ``_read_parameter(parameter, channel)`` and ``_write_parameter(parameter, value,
channel)`` exchange a value by the command of the declaration; who speaks to a device has them
(:class:`qmi.core.driver.ScpiInstrument`). ``_parameter_read(name, value)`` and ``_parameter_set(name, value)`` are
called when that went well; all objects with parameters have them (:mod:`qmi.actors.parameters`).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Generator, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeAlias, cast

from qmi.errors import (
    QMI_EndOfInputException,
    QMI_InstrumentException,
    QMI_InvalidValueException,
    QMI_TimeoutException,
    QMI_UsageException,
)
from qmi.parameters.channels import BaseChannel
from qmi.parameters.rules import Limits, Rule, is_number, plain_scalar, shown
from qmi.parameters.units import in_unit

Steps: TypeAlias = Generator[object, object, object]
"""A procedure: yields what it got of the object, and is sent the same, or what awaiting it gave."""


class ParameterLike(Protocol):
    """What is needed of a parameter here."""

    name: str
    rule: Rule
    unit: str
    getter: Callable[..., object] | None
    setter_function: Callable[..., object] | None

    @property
    def limits(self) -> object:
        """The least and the greatest value, as they were declared."""

    @property
    def gettable(self) -> bool:
        """Whether it can be read."""

    @property
    def settable(self) -> bool:
        """Whether it can be set."""


class Host(Protocol):
    """An object with parameters."""

    _name: str

    def _read_parameter(self, parameter: ParameterLike, channel: BaseChannel | None) -> object: ...
    def _write_parameter(self, parameter: ParameterLike, value: object, channel: BaseChannel | None) -> object: ...
    def _parameter_read(self, name: str, value: object) -> None: ...
    def _parameter_set(self, name: str, value: object) -> None: ...


class Place(NamedTuple):
    """Where a parameter of an object is.

    Attributes:
        host: The object.
        channel: The channel of it, if it is a parameter of one.
        path: Its name, with that of the channel: ``"channels[1].voltage"``.
        where: The same with the name of the object, for messages.
    """

    host: Host
    channel: BaseChannel | None
    path: str
    where: str


def place_of(instance: object, parameter: ParameterLike) -> Place:
    """Where a parameter is.

    Args:
        instance: The object that has it, or one of its channels.
        parameter: The parameter.
    """
    if isinstance(instance, BaseChannel):
        host: Host = instance.instrument
        path = f"{instance.path}.{parameter.name}"
        return Place(host, instance, path, f"{path} of {name_of(host)}")
    host = cast("Host", instance)
    return Place(host, None, parameter.name, f"{parameter.name} of {name_of(host)}")


def name_of(host: object) -> str:
    """The name of an object, for messages."""
    return str(getattr(host, "_name", type(host).__name__))


def reading(instance: object, parameter: ParameterLike, *args: object, **kwargs: object) -> Steps:
    """Read a parameter; the value is that of the procedure.

    Args:
        instance: The object that has it, or one of its channels.
        parameter: The parameter.
        args: What its getter takes.
        kwargs: Likewise.

    Raises:
        QMI_UsageException: If it can only be set.
        QMI_InstrumentException: If what was read is no value of it.
    """
    place = place_of(instance, parameter)
    if not parameter.gettable:
        raise QMI_UsageException(f"{place.where} can only be set")
    if parameter.getter is not None and (kept := _kept_by(place.host)) is not None:
        value = yield kept.get(place.path, parameter.getter)
    elif parameter.getter is not None:
        getter = parameter.getter
        value = yield from within(instance, getter.__name__, _calling(instance, getter, *args, **kwargs))
    else:
        value = yield place.host._read_parameter(parameter, place.channel)
    value = received(parameter, value, place.where)
    place.host._parameter_read(place.path, value)
    return value


def received(parameter: ParameterLike, value: object, where: str) -> object:
    """What was read, as a value of the parameter's type.

    Raises:
        QMI_InstrumentException: If it is none.
    """
    try:
        return parameter.rule.convert(value, where)
    except QMI_InvalidValueException as error:
        expected = parameter.rule.expected
        raise QMI_InstrumentException(f"{where} was read as {shown(value)}, which is not {expected}") from error


def setting(instance: object, parameter: ParameterLike, value: object, *args: object, **kwargs: object) -> Steps:
    """Set a parameter, if the value can be set.

    Args:
        instance: The object that has it, or one of its channels.
        parameter: The parameter.
        value: What somebody gave.
        args: What else its setter takes.
        kwargs: Likewise.

    Returns:
        What its setter has returned.

    Raises:
        QMI_UsageException: If it can only be read.
        QMI_InvalidValueException: If the value cannot be set.
    """
    place = place_of(instance, parameter)
    value = yield from checking(instance, parameter, value)
    if parameter.setter_function is not None and (kept := _kept_by(place.host)) is not None:
        result = yield kept.set(place.path, value, parameter.setter_function)
    elif parameter.setter_function is not None:
        function = parameter.setter_function
        result = yield from within(instance, function.__name__, _calling(instance, function, value, *args, **kwargs))
    else:
        result = yield place.host._write_parameter(parameter, value, place.channel)
    place.host._parameter_set(place.path, value)
    return result


def checking(
    instance: object, parameter: ParameterLike, value: object, planned: Mapping[str, object] = MappingProxyType({})
) -> Steps:
    """Check whether a value can be set; the value of the procedure is what :func:`setting` would send.

    Args:
        instance: The object that has the parameter, or one of its channels.
        parameter: The parameter.
        value: The value.
        planned: Values that other parameters will have by then, by their names; of all others, the present one counts.

    Raises:
        QMI_UsageException: If the parameter can only be read.
        QMI_InvalidValueException: If the value cannot be set.
    """
    where = place_of(instance, parameter).where
    if not parameter.settable:
        raise QMI_UsageException(f"{where} can only be read")
    value = in_unit(value, parameter.unit, where)
    value = parameter.rule.convert(value, where)  # before the limits, which may have to be asked for
    limits = yield from limits_now(instance, parameter, planned)
    return parameter.rule.check(value, cast("Limits | None", limits), where)


def limits_now(
    instance: object, parameter: ParameterLike, planned: Mapping[str, object] = MappingProxyType({})
) -> Steps:
    """The limits of a parameter as they are now, a pair or None: other parameters are read for it.

    Args:
        instance: The object that has the parameter, or one of its channels.
        parameter: The parameter.
        planned: Values that other parameters will have, to be taken in place of the present ones.
    """
    limits = parameter.limits
    if limits is None:
        return None
    where = place_of(instance, parameter).where
    if callable(limits):
        limits = yield limits(as_planned(instance, planned))
    if not isinstance(limits, tuple | list) or len(limits) != 2:
        raise QMI_UsageException(f"The limits of {where} are a pair; the function gave {shown(limits)}")
    ends = []
    for end in limits:
        ends.append((yield from _end(instance, end, where, planned)))
    return tuple(ends)


def _end(instance: object, end: object, where: str, planned: Mapping[str, object]) -> Steps:
    if isinstance(end, str):
        owner, other = sibling(instance, end)
        if other is None:
            raise QMI_UsageException(f"A limit of {where} is the parameter {end!r}, which there is not")
        path = place_of(owner, other).path
        end = planned[path] if path in planned else (yield from reading(owner, other))
    elif callable(end):
        end = yield end(as_planned(instance, planned))
    end = plain_scalar(end)
    if end is not None and not is_number(end):
        raise QMI_UsageException(f"A limit of {where} is a number or None; the function gave {shown(end)}")
    if isinstance(end, float) and math.isnan(end):
        raise QMI_UsageException(f"A limit of {where} is a number or None; what was read for it is {end!r}")
    return end


class Silence:
    """Whether a device that is asked for many things answers none of them, so that the rest is not asked.

    Each question costs a timeout, and all of them are asked in one turn of the object.
    """

    _MOST = 2

    def __init__(self) -> None:
        self._timeouts = 0

    def __bool__(self) -> bool:
        return self._timeouts >= self._MOST

    def heard(self) -> None:
        """An answer has come."""
        self._timeouts = 0

    def failed(self, error: Exception) -> None:
        """None has come, or one that is of no use."""
        if isinstance(error, QMI_EndOfInputException):
            self._timeouts = self._MOST
        else:
            self._timeouts = self._timeouts + 1 if isinstance(error, QMI_TimeoutException) else 0


class _Planned:
    """An object as a function for a limit sees it while a restore is planned: with the values that it will have."""

    _instance: object
    _prefix: str
    _planned: Mapping[str, object]

    def __init__(self, instance: object, prefix: str, planned: Mapping[str, object]) -> None:
        self.__dict__.update(_instance=instance, _prefix=prefix, _planned=planned)

    def __getattr__(self, name: str) -> object:
        if (path := f"{self._prefix}{name}") in self._planned:
            return self._planned[path]
        value = getattr(self._instance, name)
        if name.startswith("get_") and (path := f"{self._prefix}{name.removeprefix('get_')}") in self._planned:
            return _giving(self._planned[path], awaited=inspect.iscoroutinefunction(value))
        if name == "instrument" and isinstance(self._instance, BaseChannel):
            return _Planned(value, "", self._planned)
        return value


def _giving(value: object, *, awaited: bool) -> Callable[[], object]:
    async def give_later() -> object:
        return value

    return give_later if awaited else lambda: value


def as_planned(instance: object, planned: Mapping[str, object]) -> object:
    """The object, or one of its channels, with values that it will have in place of those that it has.

    Args:
        instance: The object or channel.
        planned: The values, by the names of parameters; if there are none, this is the object itself.
    """
    if not planned:
        return instance
    return _Planned(instance, f"{instance.path}." if isinstance(instance, BaseChannel) else "", planned)


def sibling(instance: object, name: str) -> tuple[object, ParameterLike | None]:
    """Another parameter of the same object, and who has it: for that of a channel, the channel or its instrument."""
    found: ParameterLike | None = getattr(type(instance), name, None)
    if found is None and isinstance(instance, BaseChannel):
        instance = instance.instrument
        found = getattr(type(instance), name, None)
    return instance, found if found is not None and hasattr(found, "rule") else None


KEPT = "_simulated_parameters"
"""Attribute of an object that is simulated, and speaks to no device: what keeps its values."""


class Kept(Protocol):
    """Keeps the values of parameters in place of getters and setters."""

    def get(self, path: str, getter: Callable[..., object]) -> object:
        """The value of a parameter; to be awaited if it is awaited of the getter."""

    def set(self, path: str, value: object, setter: Callable[..., object]) -> object:
        """Keep another one; to be awaited if the setter is."""


def _kept_by(host: object) -> Kept | None:
    kept: Kept | None = vars(host).get(KEPT)
    return kept


def _calling(instance: object, function: Callable[..., object], *args: object, **kwargs: object) -> Steps:
    return (yield call(instance, function, *args, **kwargs))


def call(instance: object, function: Callable[..., object], *args: object, **kwargs: object) -> object:
    """Call the getter or the setter of a declaration: what overrides it in a subclass, if something does."""
    name = function.__name__
    found = getattr(type(instance), name, None)
    if not callable(found):  # it has given its name to the parameter
        return function(instance, *args, **kwargs)
    written: Callable[..., object] | None = getattr(found, WRITTEN, None)
    if written is not None:
        return written(instance, *args, **kwargs)
    method: Callable[..., object] = getattr(instance, name)
    return method(*args, **kwargs)


WRITTEN = "__written__"
"""Attribute of a published getter or setter that checks and notes the value: what the author has written."""


def is_inner(instance: object, name: str) -> bool:
    """Whether the getter or setter of this name runs already, so that this is its own call of that of a base class."""
    return name in vars(instance).get(_RUNNING, ())


_RUNNING = "_rpc_running"


def within(instance: object, name: str, steps: Steps) -> Steps:
    """A procedure during which :func:`is_inner` is true."""
    # An object takes one turn at a time, so that nobody else comes between.
    running: set[str] = vars(instance).setdefault(_RUNNING, set())
    running.add(name)
    try:
        return (yield from steps)
    finally:
        running.discard(name)


# Driving them


def is_awaited(cls: type, function: Callable[..., object] | None, hook: str) -> bool:
    """Whether reading or setting a parameter has to be awaited in the driver.

    Args:
        cls: The class of the object, or of the channel whose getter or setter it is.
        function: Its getter or setter, if it has one.
        hook: The method that exchanges it otherwise.
    """
    if function is None:
        found = getattr(cls, hook, None)
    else:
        found = getattr(cls, function.__name__, None)
        found = found if callable(found) else function
    return inspect.iscoroutinefunction(found)


def run(steps: Steps) -> object:
    """Do a procedure: what comes of it; or something to await for that, as soon as a step has to be awaited."""
    got: object = None
    try:
        while True:
            got = steps.send(got)
            if hasattr(got, "__await__"):
                return _finish(steps, cast("Awaitable[object]", got))
    except StopIteration as end:
        return end.value


async def drive(steps: Steps) -> object:
    """Do a procedure some of whose steps have to be awaited."""
    return await _finish(steps, None)


async def _finish(steps: Steps, got: object) -> object:
    try:
        while True:
            if hasattr(got, "__await__"):
                try:
                    got = await cast("Awaitable[object]", got)
                except Exception as error:  # noqa: BLE001 - goes to the step that wanted it
                    got = steps.throw(error)
                    continue
            got = steps.send(got)
    except StopIteration as end:
        return end.value
    finally:
        steps.close()  # where it was cancelled


def now(steps: Steps, instead: str) -> object:
    """Do a procedure that has nothing to await.

    Args:
        steps: The procedure.
        instead: What to write in a driver whose getters and setters are awaited.

    Raises:
        QMI_UsageException: If something has to be awaited.
    """
    got: object = None
    try:
        while not hasattr(got, "__await__"):
            got = steps.send(got)
    except StopIteration as end:
        return end.value
    steps.close()
    if inspect.iscoroutine(got):
        got.close()
    raise QMI_UsageException(f"This has to be awaited in the driver: write {instead}")

"""What a class declares, its bases included, and what is said of it."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterator, Sequence
from enum import Enum
from typing import Any, get_origin

from qmi.errors import QMI_UnknownNameException
from qmi.names import ParameterPath, parse_parameter_path
from qmi.parameters import access
from qmi.parameters.channels import BaseChannel, Channels
from qmi.parameters.declaration import Parameter
from qmi.parameters.info import ParameterInfo, unknown_parameter
from qmi.parameters.rules import describe_limits, listed

DECLARED = "_rpc_parameters"
"""Attribute of a class with parameters or channels: the :class:`Declared` of it."""


class Declared:
    """The parameters and channels of a class.

    Args:
        cls: The class.

    Attributes:
        parameters: Its parameters by name, in the order in which they were declared; those of base classes come first.
        channels: Its channels by name, likewise.
    """

    def __init__(self, cls: type) -> None:
        self.parameters: dict[str, Parameter[object]] = dict(_of_kind(cls, Parameter))
        self.channels: dict[str, Channels[BaseChannel]] = dict(_of_kind(cls, Channels))

    def paths(self, host: object = None) -> list[str]:
        """The names of all parameters, those of channels included: ``"voltage"``, ``"channels[1].voltage"``.

        Args:
            host: The object, which may have fewer channels than its class; None for all that there can be.
        """
        found = list(self.parameters)
        for channels in self.channels.values():
            inner = declared_of(channels.channel_class).parameters
            numbers = channels.numbers if host is None else channels.numbers_of(host)
            found += [str(ParameterPath(name, channels.name, number)) for number in numbers for name in inner]
        return found

    def find(self, host: object, path: str) -> tuple[object, Parameter[object]] | None:
        """Who has the parameter of a name, the object or one of its channels, and the parameter; None if there is none.

        Args:
            host: The object.
            path: The name, as :meth:`paths` gives it.
        """
        parts = parse_parameter_path(path)
        if parts is None:
            return None
        if not parts.group:
            found = self.parameters.get(parts.name)
            return None if found is None else (host, found)
        channels = self.channels.get(parts.group)
        if channels is None or parts.number not in channels.numbers_of(host):
            return None
        channel = getattr(host, parts.group)[parts.number]
        parameter = getattr(type(channel), parts.name, None)
        return (channel, parameter) if isinstance(parameter, Parameter) else None

    @staticmethod
    def read(found: tuple[object, Parameter[object]]) -> object:
        """Read a parameter that was found; something to await in a driver in the event loop."""
        owner, parameter = found
        steps = access.reading(owner, parameter)
        hook = access.place_of(owner, parameter).host
        awaited = access.is_awaited(type(owner if parameter.getter else hook), parameter.getter, "_read_parameter")
        return access.drive(steps) if awaited else access.run(steps)

    @staticmethod
    def set(found: tuple[object, Parameter[object]], value: object) -> object:
        """Set a parameter that was found, if the value can be set; something to await in a driver in the event loop."""
        owner, parameter = found
        steps = access.setting(owner, parameter, value)
        hook, function = access.place_of(owner, parameter).host, parameter.setter_function
        awaited = access.is_awaited(type(owner if function else hook), function, "_write_parameter")
        return access.drive(steps) if awaited else access.run(steps)


def declared_of(cls: type) -> Declared:
    """What a class declares: as it was found when the class was made, if it was looked at then."""
    found = vars(cls).get(DECLARED)
    return found if isinstance(found, Declared) else Declared(cls)


def _of_kind(cls: type, kind: type) -> Iterator[tuple[str, Any]]:
    values = ((name, value) for base in reversed(cls.__mro__) for name, value in vars(base).items())
    for name in dict.fromkeys(name for name, value in values if isinstance(value, kind)):
        now = inspect.getattr_static(cls, name, None)
        if isinstance(now, kind):  # a subclass may give the name to something else
            yield name, now


def type_name(parameter: Parameter[object]) -> str:
    """The name of a parameter's type, for people."""
    if parameter.block is not None:
        return f"block of {parameter.block.dtype}"
    kind = parameter.given.get("type")
    return kind.__name__ if isinstance(kind, type) and get_origin(kind) is None else inspect.formatannotation(kind)


def describe(parameter: Parameter[object]) -> str:
    """What a parameter is, in a sentence or two: its documentation, unit, limits, values."""
    unit = f" {parameter.unit}" if parameter.unit else ""
    facts = []
    if parameter.values is not None:
        facts.append(f"{listed(parameter.values)}{unit}")
    elif issubclass(parameter.type, Enum):
        facts.append(listed(list(parameter.type)))
    elif said_of_limits := _limits_in_words(parameter):
        facts.append(said_of_limits)
    elif unit:
        facts.append(f"in{unit}")
    if parameter.step is not None:
        facts.append(f"in steps of {parameter.step!r}")
    if not parameter.settable:
        facts.append("can only be read")
    elif not parameter.gettable:
        facts.append("can only be set")
    said = ", ".join(facts)
    doc = parameter.doc.strip()
    if doc and said:
        return f"{doc.rstrip('.')}. {said[0].upper()}{said[1:]}."
    return doc or (f"{said[0].upper()}{said[1:]}." if said else "")


def _limits_in_words(parameter: Parameter[object]) -> str:
    """``"from 0 to 30 V"``, ``"from 0 to highest, in V"``; empty if there are none."""
    limits, unit = parameter.limits, f", in {parameter.unit}" if parameter.unit else ""
    if limits is None or limits == (None, None):
        return ""
    if callable(limits) or any(callable(end) for end in limits):
        return f"within limits that may change{unit}"
    if not any(isinstance(end, str) for end in limits):
        return describe_limits(limits, parameter.unit)  # type: ignore[arg-type]
    low, high = (end if isinstance(end, str) else repr(end) for end in limits)
    if limits[0] is None:
        return f"at most {high}{unit}"
    return f"at least {low}{unit}" if limits[1] is None else f"from {low} to {high}{unit}"


def values_of(parameter: Parameter[object]) -> tuple[object, ...] | None:
    """What a parameter can be, if only some values are allowed; for an enumeration the values of its members."""
    if parameter.values is not None:
        return tuple(value.value if isinstance(value, Enum) else value for value in parameter.values)
    if issubclass(parameter.type, Enum):
        return tuple(member.value for member in parameter.type)
    return None


def info_of(parameter: Parameter[object], path: str, limits: tuple[Any, Any] | None) -> ParameterInfo:
    """What is said of a parameter.

    Args:
        parameter: The parameter.
        path: Its name, with that of the channel.
        limits: Its limits as they are now.
    """
    parts = parse_parameter_path(path)
    command = parameter.command or parameter.ask or parameter.write or ""
    return ParameterInfo(
        name=path,
        type=type_name(parameter),
        unit=parameter.unit,
        limits=limits,
        values=values_of(parameter),
        step=parameter.step,
        doc=parameter.doc,
        settable=parameter.settable,
        gettable=parameter.gettable,
        poll=parameter.poll,
        command=command.replace("{n}", str(parts.number)) if parts and parts.group else command,
        limits_vary=_is_asked_for_limits(parameter),
    )


def infos(
    host: object, declared: Declared, names: Sequence[str]
) -> Generator[object, object, dict[str, ParameterInfo]]:
    """What an object says of its parameters, with the limits as they are now.

    A limit that cannot be found out now, such as that of an instrument that is not open, is shown as None. After a few
    that the device has not answered it is asked for no more of them.

    Args:
        host: The object.
        declared: What its class declares.
        names: The parameters; none stands for all.

    Raises:
        QMI_UnknownNameException: If there is no parameter of a name.
    """
    found: dict[str, ParameterInfo] = {}
    silence = access.Silence()
    for path in names or declared.paths(host):
        owned = declared.find(host, path) if isinstance(path, str) else None
        if owned is None:
            raise QMI_UnknownNameException(unknown_parameter(declared.paths(), access.name_of(host), path))
        owner, parameter = owned
        limits: Any = (None, None)
        if not (silence and _is_asked_for_limits(parameter)):
            try:
                limits = yield from access.limits_now(owner, parameter)
            except Exception as error:  # noqa: BLE001 - of a user's function, or of a device that cannot be asked now
                silence.failed(error)
            else:
                if _is_asked_for_limits(parameter):
                    silence.heard()
        found[path] = info_of(parameter, path, limits)
    return found


def _is_asked_for_limits(parameter: Parameter[object]) -> bool:
    limits = parameter.limits
    return callable(limits) or any(callable(end) or isinstance(end, str) for end in limits or ())

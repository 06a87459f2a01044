"""The body of the class of a hosted instrument, made of what its driver has."""

from __future__ import annotations

import inspect
import keyword
import logging
import math
import types
from collections.abc import Callable, Collection, Iterator
from contextlib import aclosing
from numbers import Integral, Real
from typing import Any

from qmi.actors.channels import Channel
from qmi.actors.interface import RESERVED_NAMES, TIMEOUT_NAME, published
from qmi.actors.parameters import OWN_NAMES
from qmi.actors.proxy import AsyncProxy, QMI_RpcProxy
from qmi.errors import QMI_InvalidValueException
from qmi.hosting.awaited import items
from qmi.hosting.content import Content, HostedChannels, HostedMethod, HostedParameter
from qmi.parameters.channels import Channels
from qmi.parameters.declaration import Parameter
from qmi.parameters.rules import Limits, Rule, plain_scalar, shown

_logger = logging.getLogger("qmi.core.instrument")

_KINDS = {float: Real, int: Integral, bool: bool, str: str}


class HostedRule(Rule):
    """Values of another library: what it gives is taken as it is, and what is set is checked as far as it is known."""

    __slots__ = ()

    def convert(self, value: object, where: str) -> object:
        """The value as the library has it; a number of numpy becomes Python's."""
        return plain_scalar(value)

    def check(self, value: object, limits: Limits | None, where: str) -> object:
        """A value that can be set, as far as the library has said it.

        Raises:
            QMI_InvalidValueException: If it cannot be set.
        """
        value = plain_scalar(value)
        if self.values is None:
            kind = _KINDS.get(self.type)
            if kind is not None and not (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
                raise QMI_InvalidValueException(f"{where} must be {self.expected}, got {shown(value)}")
            if limits in (None, (None, None)):
                return value
        return super().check(value, limits, where)


class _Parameter(Parameter[Any]):
    """A parameter of another library."""

    def __init__(self, given: dict[str, Any]) -> None:
        super().__init__(given)
        self.rule = HostedRule(self.type, self.unit, self.values)


# A driver's author may hide what proxies have beyond the reserved names. One who wrote for another library did not
# mean to.
_OF_PROXIES = {name for view in (QMI_RpcProxy, AsyncProxy) for name in vars(view) if not name.startswith("_")}


def body_of(cls: type, content: Content, name: str, *, awaited: bool = False) -> dict[str, Any]:
    """What the class of an instrument has for its driver.

    Args:
        cls: The class of hosted instruments that it is derived from.
        content: What the driver has.
        name: Name of the instrument, for messages.
        awaited: Whether all that is called of the driver is awaited, by ``cls.__hosted_run__()``.
    """
    names = _Names({*dir(cls), *RESERVED_NAMES, *OWN_NAMES, *_OF_PROXIES}, name)
    body: dict[str, Any] = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    body["__doc__"] = content.doc or cls.__doc__
    body.update(_members(content, names, _driver_of_instrument, awaited))
    for group in content.channels:
        if (free := names.take(group.name)) is not None:
            body[free] = Channels(_channel_class(cls, group, free, name, awaited), group.first, group.last)
    return body


def _channel_class(cls: type, group: HostedChannels, attribute: str, name: str, awaited: bool) -> type[Channel]:
    names = _Names({*dir(Channel), *RESERVED_NAMES, "number", "path", "instrument"}, name)

    def part(channel: Any) -> Any:
        return group.find(channel.instrument.__hosted_driver__(), channel.number)

    body = {"__module__": cls.__module__, "__doc__": group.content.doc or f"One of the {attribute}."}
    body.update(_members(group.content, names, part, awaited))
    made: type[Channel] = types.new_class(
        f"{cls.__name__}_{attribute}", (Channel,), exec_body=lambda space: space.update(body)
    )
    return made


def _driver_of_instrument(instrument: Any) -> Any:
    return instrument.__hosted_driver__()


def _host_of(thing: Any) -> Any:
    return thing.instrument if isinstance(thing, Channel) else thing


class _Names:
    """The names that are free in a class."""

    def __init__(self, taken: Collection[str], instrument: str) -> None:
        self._base = frozenset(taken)
        self._taken = set(taken)
        self._instrument = instrument

    def refuse(self, name: str, why: str) -> None:
        """Tell the log that a member of the driver is not shown."""
        _logger.warning("Instrument %s does not show %s of its driver: %s", self._instrument, name, why)

    def take(self, name: str, *, is_parameter: bool = False) -> str | None:
        """The name for a member of a driver: one that this library needs for itself gets a ``_`` at its end.

        Returns:
            None if it can have none: it is no identifier, or another member has it.
        """
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
            self.refuse(name, "no attribute of a proxy can have that name")
            return None
        while any(clash in self._base for clash in _clashes(name, is_parameter)):
            name += "_"
        if name in self._taken:
            self.refuse(name, "another member has that name")
            return None
        self._taken.add(name)
        return name


def _clashes(name: str, is_parameter: bool) -> tuple[str, ...]:
    return (name, f"get_{name}", f"set_{name}", f"sig_{name}") if is_parameter else (name,)


def _members(
    content: Content, names: _Names, driver_of: Callable[[Any], Any], awaited: bool
) -> Iterator[tuple[str, Any]]:
    # Methods first: for a method get_x() of the driver, that of a parameter x gives way.
    for method in content.methods:
        if method.signature is not None and TIMEOUT_NAME in method.signature.parameters:
            names.refuse(method.name, f"its argument {TIMEOUT_NAME!r} belongs to proxies")
        elif (free := names.take(method.name)) is not None:
            yield free, _method(free, method, driver_of, awaited)
    known = {one.name for one in content.parameters}
    for one in content.parameters:
        verb, _, rest = one.name.partition("_")
        name = f"{one.name}_" if verb in ("get", "set") and rest in known else one.name
        if (free := names.take(name, is_parameter=True)) is not None:
            yield free, _parameter(one, driver_of, awaited)


def _parameter(one: HostedParameter, driver_of: Callable[[Any], Any], awaited: bool) -> _Parameter:
    given: dict[str, Any] = {"unit": one.unit, "doc": one.doc, "type": one.type}
    if awaited:
        given.update(_awaited_functions(one, driver_of))
        get = put = None
    else:
        get, put = one.get, one.set
    if get is not None:

        def _hosted_get(thing: Any) -> Any:
            return _host_of(thing).__hosted_value__(get(driver_of(thing)))

        given["getter"] = _hosted_get
    if put is not None:

        def _hosted_set(thing: Any, value: Any) -> None:
            put(driver_of(thing), value)

        given["setter"] = _hosted_set
    if one.values:
        given["values"] = tuple(one.values)
    elif (limits := one.limits) is not None:
        if one.type not in (int, float):
            given["type"] = float
        given["limits"] = _limits(limits, driver_of) if callable(limits) else _pair(limits)
    return _Parameter(given)


def _awaited_functions(one: HostedParameter, driver_of: Callable[[Any], Any]) -> dict[str, Callable[..., Any]]:
    """The getter and the setter of a parameter of a driver in the event loop."""
    given: dict[str, Callable[..., Any]] = {}
    if (get := one.get) is not None:

        async def _hosted_get(thing: Any) -> Any:
            host = _host_of(thing)
            return host.__hosted_value__(await host.__hosted_run__(get, driver_of(thing)))

        given["getter"] = _hosted_get
    if (put := one.set) is not None:

        async def _hosted_set(thing: Any, value: Any) -> None:
            await _host_of(thing).__hosted_run__(put, driver_of(thing), value)

        given["setter"] = _hosted_set
    return given


def _limits(limits: Callable[[Any], Any], driver_of: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda thing: _pair(limits(driver_of(thing)))


def _pair(limits: Any) -> tuple[float | None, float | None]:
    """Limits as this library has them; what is no number is no limit."""
    low, high = (_end(end) for end in limits or (None, None))
    return (None, None) if low is not None and high is not None and low > high else (low, high)


def _end(end: object) -> float | None:
    end = plain_scalar(end)
    if isinstance(end, bool) or not isinstance(end, int | float) or not math.isfinite(end):
        return None
    return end


def _method(name: str, method: HostedMethod, driver_of: Callable[[Any], Any], awaited: bool) -> Callable[..., Any]:
    function = (_awaited_call if awaited else _plain_call)(method, driver_of)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = method.doc or None
    if method.signature is not None:
        first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        own = list(method.signature.parameters.values())
        if any(parameter.name == "self" for parameter in own):
            first = first.replace(name="instrument_")
        function.__signature__ = method.signature.replace(parameters=[first, *own])  # type: ignore[attr-defined]
    return published(function)


def _plain_call(method: HostedMethod, driver_of: Callable[[Any], Any]) -> Callable[..., Any]:
    if method.generator:

        def give(self: Any, *args: Any, **kwargs: Any) -> Any:
            for value in method.call(driver_of(self), *args, **kwargs):
                yield _host_of(self).__hosted_value__(value)

        return give

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _host_of(self).__hosted_value__(method.call(driver_of(self), *args, **kwargs))

    return call


def _awaited_call(method: HostedMethod, driver_of: Callable[[Any], Any]) -> Callable[..., Any]:
    if method.generator:

        async def give(self: Any, *args: Any, **kwargs: Any) -> Any:
            host = _host_of(self)
            async with aclosing(items(host.__hosted_run__, method.call(driver_of(self), *args, **kwargs))) as found:
                async for value in found:
                    yield host.__hosted_value__(value)

        return give

    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        host = _host_of(self)
        return host.__hosted_value__(await host.__hosted_run__(method.call, driver_of(self), *args, **kwargs))

    return call

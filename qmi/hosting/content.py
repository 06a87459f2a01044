"""What a driver of another library has, in terms of this one: parameters, methods, channels.

Functions here take the driver (or the channel of it) that they work on: a driver may be made anew when it is opened
again.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

Limits: TypeAlias = "tuple[float | None, float | None]"


@dataclass(frozen=True)
class HostedParameter:
    """A value of a driver that is read or set.

    Attributes:
        name: Its name.
        get: Reads it; None if it can only be set.
        set: Sets it; None if it can only be read.
        unit: The unit of its values.
        doc: What it is.
        type: The type of its values, as far as that is known: it is said to users, and values are checked against
            ``float``, ``int``, ``bool`` and ``str`` before they are set.
        limits: The least and the greatest number that it is set to, or a function of the driver that gives them.
        values: What it can be set to, if only some values are allowed.
    """

    name: str
    get: Callable[[Any], object] | None = None
    set: Callable[[Any, Any], object] | None = None
    unit: str = ""
    doc: str = ""
    type: type = object
    limits: Limits | Callable[[Any], Limits] | None = None
    values: tuple[object, ...] | None = None


@dataclass(frozen=True)
class HostedMethod:
    """A method of a driver.

    Attributes:
        name: Its name.
        call: Calls it: with the driver, and with what the caller gave.
        signature: What it takes, without the driver; None if that is not known.
        doc: What it does.
        generator: Whether it gives one value after the other.
    """

    name: str
    call: Callable[..., Any]
    signature: inspect.Signature | None = None
    doc: str = ""
    generator: bool = False


@dataclass(frozen=True)
class HostedChannels:
    """Parts of a driver that differ by their number.

    Attributes:
        name: Name of the group: ``instrument.NAME[1]``.
        first: The number of the first one.
        last: The number of the last one.
        find: Gives the part, of the driver and the number.
        content: What each of them has; functions take the part.
    """

    name: str
    first: int
    last: int
    find: Callable[[Any, int], Any]
    content: Content


@dataclass(frozen=True)
class Content:
    """All that a driver has, or a part of it.

    Attributes:
        parameters: What is read and set.
        methods: What can be called.
        channels: Parts that differ by their number; those of a channel itself are left out.
        doc: What the driver is.
    """

    parameters: list[HostedParameter] = field(default_factory=list)
    methods: list[HostedMethod] = field(default_factory=list)
    channels: list[HostedChannels] = field(default_factory=list)
    doc: str = ""

    def add_part(self, name: str, find: Callable[[Any], Any], part: Content) -> None:
        """Take in what a part of the driver has, under names that begin with that of the part.

        Args:
            name: Name of the part: its ``voltage`` becomes ``NAME_voltage``.
            find: Gives the part of a driver.
            part: What it has.
        """
        for one in part.parameters:
            self.parameters.append(_parameter_of_part(name, find, one))
        for method in part.methods:
            call = _of_part(find, method.call)
            assert call is not None
            self.methods.append(replace(method, name=f"{name}_{method.name}", call=call))
        for group in part.channels:
            self.channels.append(replace(group, name=f"{name}_{group.name}", find=_channel_of_part(find, group.find)))

    def spread_channels(self) -> Content:
        """The same for a channel, which has no channels of its own: each becomes a part, ``input_1_kelvin``.

        Returns:
            This content.
        """
        for group in self.channels:
            for number in range(group.first, group.last + 1):
                self.add_part(f"{group.name}_{number}", _channel_of(group.find, number), group.content)
        self.channels.clear()
        return self


def _channel_of(find: Callable[[Any, int], Any], number: int) -> Callable[[Any], Any]:
    return lambda driver: find(driver, number)


def _parameter_of_part(name: str, find: Callable[[Any], Any], one: HostedParameter) -> HostedParameter:
    limits = _of_part(find, one.limits) if callable(one.limits) else one.limits
    return replace(
        one, name=f"{name}_{one.name}", get=_of_part(find, one.get), set=_of_part(find, one.set), limits=limits
    )


def _of_part(find: Callable[[Any], Any], function: Callable[..., Any] | None) -> Callable[..., Any] | None:
    if function is None:
        return None
    return lambda driver, *args, **kwargs: function(find(driver), *args, **kwargs)


def _channel_of_part(find: Callable[[Any], Any], inner: Callable[[Any, int], Any]) -> Callable[[Any, int], Any]:
    return lambda driver, number: inner(find(driver), number)

"""Drivers of PyMeasure: properties with their texts and validators' limits, channels."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

from qmi.hosting.adapter import PlainAdapter, getter_of, is_method, method_of, public_members, setter_of
from qmi.hosting.content import Content, HostedChannels, HostedParameter, Limits

_BASE = "pymeasure.instruments.common_base"
_RANGES = frozenset({"strict_range", "truncated_range"})
_SETS = frozenset({"strict_discrete_set"})
_CLOSES = "shutdown"
_KINDS = {int: int, float: float, str: str, bool: bool}


class PyMeasureAdapter(PlainAdapter):
    """Drivers of PyMeasure.

    A property's text is its ``doc``, and the values of its validator are its limits or its values; a range that
    PyMeasure would clip to is a limit, too. ``channels`` with numbers are channels here; others are parameters and
    methods whose names begin with that of the channel. To close is to call ``shutdown()`` and to close the connection.
    """

    hidden: Collection[str] = frozenset(
        {_CLOSES, "control", "measurement", "setting", "add_child", "remove_child", "parent"}
        | {"get_channels", "get_channel_pairs", "find_attributes"}
    )

    def fits(self, driver_class: type) -> bool:
        """Whether a class is a driver of PyMeasure."""
        return any(base.__module__ == _BASE for base in driver_class.__mro__)

    def describe(self, driver: Any) -> Content:
        """What a driver or a channel of PyMeasure has."""
        content = Content(doc=inspect.getdoc(type(driver)) or "")
        for name, member in public_members(type(driver)):
            if name in self.hidden:
                continue
            if isinstance(member, property | cached_property):
                content.parameters.append(self.property_of(driver, name, member))
            elif is_method(member) and hasattr(driver, name):  # what belongs to a dynamic property is not read
                content.methods.append(method_of(driver, name))
        self._add_channels(driver, content)
        return content

    def property_of(self, driver: Any, name: str, member: property | cached_property[Any]) -> HostedParameter:
        """The parameter for a property of a driver."""
        made = _made_by_library(member)
        if not isinstance(member, property) or made is None:
            return super().property_of(driver, name, member)
        getter, setter = made
        gettable = getter.get("get_command", "") is not None
        settable = setter.get("set_command", "") is not None
        cast = _default_of_cell(member, "cast")
        kind: type = object
        validator = getattr(setter.get("validator"), "__name__", "")
        limits: Limits | Callable[[Any], Limits] | None = None
        values: tuple[object, ...] | None = None
        if settable and validator in _RANGES and not setter.get("map_values"):
            kind = int if cast is int else float
            kind, limits = float, _range_of(setter.get("values"))
            if (where := _place_of_values(member)) is not None:
                limits = _limits_now(where, setter.get("values"))
        elif settable and validator in _SETS:
            where = _place_of_values(member)
            found = setter.get("values") if where is None else getattr(driver, where, setter.get("values"))
            values = _values_of(found)
        return HostedParameter(
            name,
            get=getter_of(name) if gettable else None,
            set=setter_of(name) if settable else None,
            doc=inspect.getdoc(member) or "",
            type=kind,
            limits=limits,
            values=values,
        )

    def _add_channels(self, driver: Any, content: Content) -> None:
        library: Any = sys.modules[_BASE].CommonBase
        attributes = {name: value for name, value in vars(driver).items() if not name.startswith("_")}
        grouped: set[int] = set()
        for name, group in attributes.items():
            if (
                not isinstance(group, Mapping)
                or not group
                or not all(isinstance(one, library) for one in group.values())
            ):
                continue
            grouped.update(id(one) for one in group.values())
            if _is_row(group):
                first = next(iter(group.values()))
                numbers = sorted(group)
                content.channels.append(
                    HostedChannels(name, numbers[0], numbers[-1], _finder(name), self.describe(first).spread_channels())
                )
                continue
            for key, one in group.items():
                own = next((n for n, value in attributes.items() if value is one), f"{name}_{key}")
                content.add_part(own, _key_finder(name, key), self.describe(one))
        for name, one in attributes.items():
            if name not in self.hidden and isinstance(one, library) and id(one) not in grouped:
                content.add_part(name, getter_of(name), self.describe(one))

    def opens(self, driver: Any) -> bool:
        """Whether ``open()`` connects it: a driver of PyMeasure is connected when it is made."""
        return False

    def open(self, driver: Any) -> None:
        """Nothing is to be done."""

    def close(self, driver: Any) -> None:
        """Shut the device down, as its driver does that, and close the connection."""
        try:
            driver.shutdown()
        finally:
            connection = getattr(driver, "adapter", None)
            if connection is not None:
                connection.close()


def _made_by_library(member: object) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """What the getter and the setter of a property have by default, if ``control()`` or its like has made it."""
    functions = (getattr(member, "fget", None), getattr(member, "fset", None))
    if any(function is not None and getattr(function, "__module__", "") != _BASE for function in functions):
        return None
    getter, setter = (_defaults_of(function) for function in functions)
    return (getter, setter) if "get_command" in getter or "set_command" in setter else None


def _defaults_of(function: Callable[..., object] | None) -> dict[str, Any]:
    if function is None:
        return {}
    parameters = inspect.signature(function).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not one.empty}


def _default_of_cell(member: property, name: str) -> object:
    """The value of a variable of the function in which a getter was made."""
    function: Any = member.fget
    if function is None or function.__closure__ is None or name not in function.__code__.co_freevars:
        return None
    return function.__closure__[function.__code__.co_freevars.index(name)].cell_contents


def _place_of_values(member: Any) -> str | None:
    """The attribute of a driver that has the values of a dynamic property; None if they do not change."""
    if "values" not in getattr(member, "fset_params_list", ()):
        return None
    return f"{member.prefix}{member.name}_values"


def _limits_now(place: str, otherwise: object) -> Callable[[Any], Limits]:
    return lambda driver: _range_of(getattr(driver, place, otherwise))


def _range_of(values: object) -> Limits:
    try:
        ends = [float(end) if not isinstance(end, int) else end for end in values]  # type: ignore[attr-defined]
        return (min(ends), max(ends))
    except (TypeError, ValueError):
        return (None, None)


def _values_of(values: object) -> tuple[object, ...] | None:
    if isinstance(values, Mapping | Sequence | set | frozenset) and not isinstance(values, str):
        return tuple(values) or None
    return None


def _is_row(group: Mapping[object, object]) -> bool:
    """Whether channels are of one class and have numbers without gaps."""
    keys = [key for key in group if isinstance(key, int) and not isinstance(key, bool) and key >= 0]
    if len(keys) < len(group) or len({type(one) for one in group.values()}) > 1:
        return False
    return sorted(keys) == list(range(min(keys), max(keys) + 1))


def _finder(name: str) -> Callable[[Any, int], Any]:
    return lambda driver, number: getattr(driver, name)[number]


def _key_finder(name: str, key: object) -> Callable[[Any], Any]:
    return lambda driver: getattr(driver, name)[key]

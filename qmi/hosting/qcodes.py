"""Drivers of QCoDeS: parameters with unit, label and validators, submodules and channels, functions."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from qmi.hosting.adapter import Adapter, is_method, method_of, public_members
from qmi.hosting.content import Content, HostedChannels, HostedMethod, HostedParameter, Limits

_BASE = "qcodes.instrument.instrument_base"
_LIBRARY = ("qcodes.instrument.", "qcodes.metadatable.", "qcodes.utils.")
_OF_BASE = frozenset({"ask", "write", "get_idn", "ask_raw", "write_raw", "device_clear"})
"""Methods of QCoDeS's own base classes that are published, beside those of the driver."""
_NUMBERS = {"Numbers": float, "Ints": int, "PermissiveInts": int, "Strings": str, "Bool": bool}


class QcodesAdapter(Adapter):
    """Drivers of QCoDeS.

    A channel list is channels, numbered from 0 as there; other submodules are parameters and methods whose names begin
    with that of the submodule. The name of the instrument is the name of the driver.
    """

    def fits(self, driver_class: type) -> bool:
        """Whether a class is a driver of QCoDeS."""
        return any(base.__module__ == _BASE for base in driver_class.__mro__)

    def make(self, driver_class: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make a driver, whose first argument is its name: that of the instrument, unless another one is given."""
        if "name" in kwargs:
            return driver_class(*args, **kwargs)
        return driver_class(re.sub(r"\W", "_", name), *args, **kwargs)

    def describe(self, driver: Any) -> Content:
        """What a driver or a module of QCoDeS has."""
        content = Content(doc=inspect.getdoc(type(driver)) or "")
        content.parameters.extend(_parameter(name, one) for name, one in driver.parameters.items())
        content.methods.extend(_function(name, one) for name, one in driver.functions.items())
        known = {*driver.parameters, *driver.functions, *driver.submodules}
        for name, member in public_members(type(driver)):
            if name not in known and is_method(member) and _is_published(type(driver), name):
                content.methods.append(method_of(driver, name))
        self._add_submodules(driver, content)
        return content

    def _add_submodules(self, driver: Any, content: Content) -> None:
        lists = {name: list(one) for name, one in driver.submodules.items() if _is_list(one)}
        in_lists = {id(one) for name, ones in lists.items() if _is_row(ones) for one in ones}
        for name, module in driver.submodules.items():
            if name.startswith("_"):  # of the driver's own
                continue
            if name in lists:
                ones = lists[name]
                if _is_row(ones):
                    inner = self.describe(ones[0]).spread_channels()
                    content.channels.append(HostedChannels(name, 0, len(ones) - 1, _finder(name), inner))
            elif id(module) not in in_lists:
                content.add_part(name, _module(name), self.describe(module))

    def close(self, driver: Any) -> None:
        """Close the driver, which frees its name."""
        driver.close()


def _parameter(name: str, one: Any) -> HostedParameter:
    kind, limits, values = _validated(one)
    label, doc = getattr(one, "label", None), getattr(one, "_docstring", None)
    unit = getattr(one, "unit", None)
    return HostedParameter(
        name,
        get=_getter(name) if one.gettable else None,
        set=_setter(name) if one.settable else None,
        unit=unit if isinstance(unit, str) else "",
        doc=". ".join(text for text in (label, doc) if isinstance(text, str) and text),
        type=kind,
        limits=limits,
        values=values,
    )


def _validated(one: Any) -> tuple[type, Limits | None, tuple[object, ...] | None]:
    """What is known of the values of a parameter: type, limits, all that there are."""
    mapping = getattr(one, "val_mapping", None)
    if mapping:
        return object, None, tuple(mapping)
    validator: Any = getattr(one, "vals", None)
    kind = _NUMBERS.get(type(validator).__name__, object)
    if type(validator).__name__ == "Enum":
        return object, None, _sorted(validator.values)
    if kind is int and type(validator).__name__ == "Ints":
        return int, _bounds(validator), None
    if kind in (int, float):
        return float, _bounds(validator), None
    return kind if kind is str else object, None, None


def _bounds(validator: Any) -> Limits:
    return tuple(_bound(end) for end in (validator.min_value, validator.max_value))  # type: ignore[return-value]


def _bound(end: Any) -> float | None:
    return None if abs(end) >= 1e18 else end  # what QCoDeS takes for no limit


def _sorted(values: Any) -> tuple[object, ...]:
    return tuple(sorted(values, key=lambda value: (type(value).__name__, value if _is_plain(value) else repr(value))))


def _is_plain(value: object) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, Enum)


def _function(name: str, one: Any) -> HostedMethod:
    def call(driver: Any, *args: Any) -> Any:
        return driver.functions[name](*args)

    taken = [
        inspect.Parameter(f"arg{index}", inspect.Parameter.POSITIONAL_ONLY)
        for index in range(len(getattr(one, "_args", ())))
    ]
    return HostedMethod(name, call, inspect.Signature(taken), getattr(one, "__doc__", "") or "")


def _is_published(cls: type, name: str) -> bool:
    owner = next(base for base in cls.__mro__ if name in vars(base))
    if name == "close":
        return False
    return name in _OF_BASE or not f"{owner.__module__}.".startswith(_LIBRARY)


def _is_list(module: Any) -> bool:
    return isinstance(module, Sequence)


def _is_row(ones: list[Any]) -> bool:
    """Whether channels have the same parameters."""
    return bool(ones) and len({(type(one), tuple(one.parameters), tuple(one.submodules)) for one in ones}) == 1


def _getter(name: str) -> Callable[[Any], Any]:
    return lambda driver: driver.parameters[name].get()


def _setter(name: str) -> Callable[[Any, Any], Any]:
    return lambda driver, value: driver.parameters[name].set(value)


def _module(name: str) -> Callable[[Any], Any]:
    return lambda driver: driver.submodules[name]


def _finder(name: str) -> Callable[[Any, int], Any]:
    return lambda driver, number: driver.submodules[name][number]

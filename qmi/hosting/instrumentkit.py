"""Drivers of InstrumentKit, whose values are quantities of pint: here they are numbers, with their unit beside."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

from qmi.hosting.adapter import PlainAdapter
from qmi.hosting.content import HostedParameter

_LIBRARY = "instruments."


class InstrumentKitAdapter(PlainAdapter):
    """Drivers of InstrumentKit.

    A property made by ``unitful_property()`` is a number in the unit of the property, whatever unit the device answers
    in. Any other quantity is a number and the text of its unit. What is set is a number in the driver's own unit.
    """

    def fits(self, driver_class: type) -> bool:
        """Whether a class is a driver of InstrumentKit."""
        return any(base.__module__.startswith(_LIBRARY) for base in driver_class.__mro__)

    def property_of(self, driver: Any, name: str, member: property | cached_property[Any]) -> HostedParameter:
        """The parameter for a property of a driver."""
        found = super().property_of(driver, name, member)
        units = _variable(getattr(member, "fget", None), "units")
        get = found.get
        if units is None or get is None:
            return found

        def number(driver: Any) -> object:
            value: Any = get(driver)
            return value.to(units).magnitude if _is_quantity(value) else value

        return replace(found, get=number, unit=f"{units:~}")

    def value(self, value: Any) -> Any:
        """What a caller gets for a quantity: a number, or an array, and the text of its unit."""
        return (value.magnitude, f"{value.units:~}") if _is_quantity(value) else value


def _is_quantity(value: Any) -> bool:
    return hasattr(value, "magnitude") and hasattr(value, "units") and callable(getattr(value, "to", None))


def _variable(function: Any, name: str) -> Any:
    """The value of a variable of the function in which another one was made; None if it has none of that name."""
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    if code is None or cells is None or name not in code.co_freevars:
        return None
    return cells[code.co_freevars.index(name)].cell_contents

"""Quantities with a unit (of pint) where a plain number in the unit of the parameter is needed."""

from __future__ import annotations

import sys
from typing import Protocol

from qmi.errors import QMI_InvalidValueException


class Quantity(Protocol):
    """What is used of a quantity of pint."""

    @property
    def magnitude(self) -> object:
        """The number."""

    @property
    def units(self) -> object:
        """The unit."""

    def to(self, unit: str, /) -> Quantity:
        """The same in another unit."""


def is_quantity(value: object) -> bool:
    """Whether a value is a quantity of pint, which is not imported for that."""
    pint = sys.modules.get("pint")
    return pint is not None and isinstance(value, getattr(pint, "Quantity", ()))


def in_unit(value: object, unit: str, where: str) -> object:
    """The number of a quantity in a unit; anything else as it is.

    Args:
        value: What somebody gave.
        unit: The unit of the parameter; empty if it has none.
        where: The parameter, for messages.

    Raises:
        QMI_InvalidValueException: If it cannot be converted.
    """
    if not is_quantity(value):
        return value
    quantity: Quantity = value  # type: ignore[assignment]
    try:
        number = quantity.to(unit).magnitude
    except Exception as error:
        raise QMI_InvalidValueException(_refusal(quantity, unit, where, error)) from error
    if isinstance(number, float) and number != quantity.magnitude:
        # 15 digits are what a float can hold; the next one is noise of the conversion, which could miss a limit.
        number = float(f"{number:.15g}")
        if isinstance(quantity.magnitude, int) and number.is_integer():
            number = int(number)
    return number


def _refusal(quantity: Quantity, unit: str, where: str, error: Exception) -> str:
    if not unit:
        return f"{where} has no unit: give it a plain value, got {quantity}"
    if isinstance(error, AttributeError | AssertionError) or "dimension" not in type(error).__name__.lower():
        return f"{where} is in {unit}, to which pint cannot convert {quantity}: give a plain number in {unit}"
    return f"{where} is in {unit}, and {quantity.units} cannot be converted to that; got {quantity}"

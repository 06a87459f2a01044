"""Quantities with a unit (of pint) where a plain number in the unit of the parameter is needed."""

from __future__ import annotations

import sys
from typing import Protocol

from qmi.errors import QMI_InvalidValueException


class _Quantity(Protocol):
    """What is used of a quantity."""

    @property
    def magnitude(self) -> object:
        """The number."""

    @property
    def units(self) -> object:
        """The unit."""

    def to(self, unit: str) -> _Quantity:
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
    quantity: _Quantity = value  # type: ignore[assignment]
    shown = unit or "no unit"
    try:
        number = quantity.to(unit).magnitude
    except AttributeError as error:  # pint's UndefinedUnitError is one
        raise QMI_InvalidValueException(
            f"{where} has the unit {shown}, which the registry of {value} does not know: give a plain number in it"
        ) from error
    except (TypeError, ValueError) as error:  # DimensionalityError, OffsetUnitCalculusError
        raise QMI_InvalidValueException(
            f"{where} is a value in {shown}; got {value}, which cannot be converted to that"
        ) from error
    if isinstance(number, float) and number != quantity.magnitude:
        # 15 digits are what a float can hold; the next one is noise of the conversion, which could miss a limit.
        number = float(f"{number:.15g}")
    return number

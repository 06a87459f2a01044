"""Quantities as people type them, ``5 V`` or ``3mV``, as numbers in the unit of a parameter.

SI prefixes of the same unit are known here, and are exact. Everything else is asked of pint, if it is installed.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any, Final

from qmi.errors import QMI_InvalidValueException
from qmi.parameters.units import in_unit

NUMBER: Final = re.compile(
    r"(?P<number>[+-]?(?:\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|inf(?:inity)?|nan))"
    r"\s*(?P<unit>[^\W\d_][^\s]*(?: [^\s]+)*|[%°][^\s]*)?",
    re.IGNORECASE,
)
"""A number, and what may follow it as its unit."""

_PREFIXES: Final = {
    "": 0, "y": -24, "z": -21, "a": -18, "f": -15, "p": -12, "n": -9, "u": -6, "m": -3, "c": -2, "d": -1,
    "h": 2, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18, "Z": 21, "Y": 24,
}  # fmt: skip
_BASES: Final = frozenset(
    {"A", "Bq", "C", "F", "G", "H", "Hz", "J", "K", "L", "N", "Oe", "Ohm", "Pa", "S", "Sv", "T", "V", "VA", "W", "Wb"}
    | {"arcsec", "bar", "cd", "deg", "eV", "g", "l", "lm", "lx", "m", "mol", "rad", "rps", "s", "sr", "torr"}
)
_ALIASES: Final = {"ohm": "Ohm", "ohms": "Ohm", "Ω": "Ohm", "\u2126": "Ohm", "Torr": "torr", "volt": "V", "volts": "V"}


def number_in_unit(number: str, given: str, unit: str) -> float:
    """The number of a quantity in the unit of a parameter.

    Args:
        number: The number, as text.
        given: Its unit, as somebody has typed it.
        unit: The unit of the parameter; empty if it has none.

    Raises:
        QMI_InvalidValueException: If the unit is not known, or is one of something else.
    """
    if not unit:
        raise QMI_InvalidValueException(f"no unit is known for it, so {given!r} means nothing: give a plain number")
    power = _power_between(given, unit)
    if power is None:
        return _by_pint(number, given, unit)
    if not number[-1].isdigit() and number[-1] != ".":
        return math.copysign(1, -1 if number[0] == "-" else 1) * float(number.lstrip("+-"))  # infinity and NaN
    try:
        return float(Fraction(number.rstrip(".")) * Fraction(10) ** power)
    except OverflowError:
        raise QMI_InvalidValueException(f"{number} {given} is more than a number can be") from None


def _power_between(given: str, unit: str) -> int | None:
    """By which power of ten two units differ; None if they are not one unit with SI prefixes."""
    if given == unit:
        return 0
    numerator, _, rest = given.replace(" ", "").partition("/")
    wanted, _, wanted_rest = unit.replace(" ", "").partition("/")
    if rest != wanted_rest:
        return None
    one, other = _split(numerator), _split(wanted)
    return None if one is None or other is None or one[1] != other[1] else one[0] - other[0]


def _split(unit: str) -> tuple[int, str] | None:
    """The power of ten of a unit's prefix, and the unit without it."""
    text = unit.replace("\u00b5", "u").replace("\u03bc", "u")
    for length in (0, 1):
        base = _ALIASES.get(text[length:], text[length:])
        if base in _BASES and text[:length] in _PREFIXES:
            return _PREFIXES[text[:length]], base
    return None


def _by_pint(number: str, given: str, unit: str) -> float:
    try:
        import pint
    except ImportError:
        raise QMI_InvalidValueException(
            f"it is in {unit}, and {given!r} is not known as that; more units are known with pip install pint"
        ) from None
    registry: Any = pint.get_application_registry()  # type: ignore[no-untyped-call]
    try:
        quantity = registry.Quantity(float(number), given)
    except Exception:  # noqa: BLE001 - pint raises what its parser does, too
        raise QMI_InvalidValueException(f"it is in {unit}, and {given!r} is no unit that is known") from None
    try:
        converted = in_unit(quantity, unit, "it")
    except QMI_InvalidValueException:
        raise QMI_InvalidValueException(f"it is in {unit}, and {given!r} cannot be converted to that") from None
    return float(converted)  # type: ignore[arg-type]

"""Which values a parameter takes. Nothing is clipped or rounded: what does not fit is refused, with the reason."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, Flag
from numbers import Complex, Integral, Real
from typing import TypeAlias, TypeGuard

from qmi.errors import QMI_InvalidValueException

Limits: TypeAlias = tuple[float | None, float | None]
"""The least and the greatest value, in the unit of the parameter; None where there is no limit."""

_TOLERANCE = 1e-9
"""By how much a float may miss one of the allowed values, as a part of it."""
_NOISE = 1e-14
"""By how much a float may miss a multiple of the step, as a part of the float."""
_NOISE_OF_STEP = 1e-6
"""By how much it may, as a part of the step."""
_MOST_SHOWN = 12
_MOST_NEAR = 2
NUMBERS: Mapping[type, type] = {int: Integral, float: Real, complex: Complex}
"""What Python takes for a number of a kind, except that a bool is none here."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What the declaration of a parameter says of its values.

    Attributes:
        type: Their type: ``float``, ``int``, ``bool``, ``str``, an enumeration, or any other class.
        unit: Their unit, as text.
        values: All that there are, if only some are allowed.
        step: What they are multiples of, counted from the lower limit or else from 0.
    """

    type: type
    unit: str = ""
    values: tuple[object, ...] | None = None
    step: float | None = None

    def convert(self, value: object, where: str) -> object:
        """A value of the right type: a number of numpy becomes Python's, a whole number a float.

        Args:
            value: What somebody gave.
            where: The parameter and its object, for messages.

        Raises:
            QMI_InvalidValueException: If it is of another kind.
        """
        if issubclass(self.type, Enum):
            return _member(self.type, value, where)
        value = plain_scalar(value)
        if isinstance(value, NUMBERS.get(self.type, self.type)) and (self.type is bool or not isinstance(value, bool)):
            if self.type is float:
                return _float(value, where)
            return self.type(value) if self.type in (int, str, complex) else value  # type: ignore[call-overload]
        raise QMI_InvalidValueException(f"{where} must be {self.expected}, got {shown(value)}")

    @property
    def expected(self) -> str:
        """What a value must be, for messages."""
        words = {float: "a number", int: "a whole number", bool: "True or False", str: "a text"}
        return words.get(self.type) or f"a value of type {self.type.__name__}"

    def check(self, value: object, limits: Limits | None, where: str) -> object:
        """A value that can be set.

        Args:
            value: What somebody gave, in the unit of the parameter.
            limits: The limits as they are now.
            where: The parameter and its object, for messages.

        Returns:
            The value, of the type of the parameter.

        Raises:
            QMI_InvalidValueException: If it cannot be set; the message says why.
        """
        converted = self.convert(value, where)
        if self.values is not None:
            return self._one_of(converted, where)
        # A number that was given where anything goes is the driver's own business.
        if is_number(converted) and self.type is not object:
            if isinstance(converted, float) and math.isnan(converted):
                raise QMI_InvalidValueException(f"{where} must be a number, got {converted!r}")
            self._check_limits(converted, limits, where)
            self._check_step(converted, limits, where)
        return converted

    def _one_of(self, value: object, where: str) -> object:
        assert self.values is not None
        for allowed in self.values:
            if allowed == value or _close(allowed, value):
                return self.convert(allowed, where)
        raise QMI_InvalidValueException(f"{where} must be {self._choices(value)}, got {shown(value)}{self._suffix}")

    def _choices(self, value: object) -> str:
        """The allowed values in words; of many numbers those around the value."""
        assert self.values is not None
        numbers = [allowed for allowed in self.values if isinstance(allowed, int | float)]
        if len(self.values) <= _MOST_SHOWN or len(numbers) < len(self.values) or not isinstance(value, int | float):
            return f"{listed(self.values)}{self._suffix}"
        below = sorted(number for number in numbers if number < value)[-_MOST_NEAR:]
        above = sorted(number for number in numbers if number > value)[:_MOST_NEAR]
        near = [*below, *above] or sorted(numbers)[:_MOST_NEAR]  # NaN has no neighbours
        return f"one of {len(numbers)} values, of which the nearest are {listed(near)}{self._suffix}"

    @property
    def _suffix(self) -> str:
        return f" {self.unit}" if self.unit else ""

    def _check_limits(self, value: float, limits: Limits | None, where: str) -> None:
        low, high = limits or (None, None)
        if not ((low is None or value >= low) and (high is None or value <= high)):
            raise QMI_InvalidValueException(
                f"{where} must be {describe_limits((low, high), self.unit)}, got {value!r}{self._suffix}"
            )
        # Where there is no limit, infinity is no value: only where it is a limit itself.
        if isinstance(value, float) and math.isinf(value) and value not in (low, high):
            raise QMI_InvalidValueException(f"{where} must be finite, got {value!r}{self._suffix}")

    def _check_step(self, value: float, limits: Limits | None, where: str) -> None:
        if self.step is None or (isinstance(value, float) and math.isinf(value)):
            return
        start = _start_of_steps(limits[0] if limits else None, self.type)
        if isinstance(value, int) and isinstance(start, int) and isinstance(self.step, int):
            fits = (value - start) % self.step == 0
        else:
            # Noise of a float grows with the value, while the distance to the next multiple does not.
            missed = _remainder(value - start, self.step)
            fits = missed <= _NOISE_OF_STEP * self.step + _NOISE * max(abs(value), abs(start))
        if not fits:
            counted = f", counted from {start!r}{self._suffix}" if start else ""
            raise QMI_InvalidValueException(
                f"{where} must be a multiple of {self.step!r}{self._suffix}{counted}, got {value!r}{self._suffix}"
            )


def _start_of_steps(low: float | None, kind: type) -> float:
    """What steps are counted from: the lower limit, if there is one that a number of the kind can be."""
    if low is None or (isinstance(low, float) and math.isinf(low)):
        return 0
    try:
        return low if kind is int or math.isfinite(low) else 0
    except OverflowError:  # a whole number that no float can hold
        return 0


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number of Python's, NaN included; a bool is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _remainder(value: float, step: float) -> float:
    try:
        return abs(math.remainder(value, step))
    except OverflowError:  # a whole number that no float can hold
        return math.inf


def plain_scalar(value: object) -> object:
    """A single number of numpy as one of Python; anything else as it is."""
    if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        single: object = value.item()
        return single
    return value


def _float(value: object, where: str) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        raise QMI_InvalidValueException(f"{where} must be a number that a float can hold, got {shown(value)}") from None


def _member(kind: type[Enum], value: object, where: str) -> Enum:
    # A program without the class of the enumeration gives the value of a member.
    if isinstance(value, kind):
        return value
    if not isinstance(value, Enum):
        for member in kind:
            if type(member.value) is type(value) and member.value == value:
                return member
        if issubclass(kind, Flag) and type(value) is int and value >= 0 and not value & ~_all_bits(kind):
            return kind(value)  # several at once, or none of them
    members = listed([f"{kind.__name__}.{member.name}" for member in kind], bare=True)
    raise QMI_InvalidValueException(f"{where} must be {members}, got {shown(value)}")


def _all_bits(kind: type[Flag]) -> int:
    bits = 0
    for member in kind:
        bits |= member.value
    return bits


def _close(allowed: object, value: object) -> bool:
    if not isinstance(allowed, float) and not isinstance(value, float):
        return False
    both = isinstance(allowed, int | float) and isinstance(value, int | float)
    return both and math.isclose(allowed, value, rel_tol=_TOLERANCE)  # type: ignore[arg-type]


def describe_limits(limits: Limits, unit: str = "") -> str:
    """Limits in words: ``"from 0 to 30 V"``, ``"at least 0 V"``, ``"at most 30 V"``.

    Args:
        limits: The limits.
        unit: Their unit.
    """
    # A whole number may be greater than any float, of which alone it makes sense to ask for infinity.
    low, high = (None if isinstance(end, float) and math.isinf(end) else end for end in limits)
    suffix = f" {unit}" if unit else ""
    if low is None:
        return "any number" if high is None else f"at most {high!r}{suffix}"
    return f"at least {low!r}{suffix}" if high is None else f"from {low!r} to {high!r}{suffix}"


def listed(values: Iterable[object] | Sequence[object], *, bare: bool = False) -> str:
    """Values in words: ``"1, 2 or 5"``.

    Args:
        values: The values.
        bare: Whether they are texts that are shown as they are.
    """
    texts = [str(value) if bare else shown(value) for value in values]
    if len(texts) > _MOST_SHOWN:
        texts = [*texts[: _MOST_SHOWN - 1], f"{len(texts) - _MOST_SHOWN + 1} more"]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"


_LONGEST_SHOWN = 100


def shown(value: object) -> str:
    """A value as a message shows it."""
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - the repr of a user's class fails
        text = f"something of type {type(value).__name__}"
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."

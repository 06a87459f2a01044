"""Conditions of signals that are said without a function: equal to something, below or above a limit."""

from __future__ import annotations

from dataclasses import dataclass

from qmi.errors import QMI_InvalidValueException, QMI_UsageException

UNSET = object()
"""What stands for no value, where None is one."""


@dataclass(frozen=True)
class Threshold:
    """Whether the first value of a signal is something, or beyond a limit.

    Attributes:
        equals: What it is to be equal to; :data:`UNSET` for anything.
        below: What it is to be less than; None for no such limit.
        above: What it is to be more than; None for no such limit.
    """

    equals: object = UNSET
    below: float | None = None
    above: float | None = None

    def __call__(self, *values: object) -> bool:
        """Whether that is so.

        Raises:
            QMI_UsageException: If the signal comes without a value, or with one that has no order.
        """
        if not values:
            raise QMI_UsageException(f"the signal of suspend_when() came without a value, expected one that is {self}")
        value = values[0]
        if self.equals is not UNSET:
            return bool(value == self.equals)
        try:
            is_below = self.below is not None and bool(value < self.below)  # type: ignore[operator]
            return is_below or (self.above is not None and bool(value > self.above))  # type: ignore[operator]
        except TypeError as error:
            raise QMI_UsageException(
                f"the signal of suspend_when() came with {value!r}, which cannot be {self}"
            ) from error

    def __str__(self) -> str:
        if self.equals is not UNSET:
            return f"equal to {self.equals!r}"
        limits = (("below", self.below), ("above", self.above))
        return " or ".join(f"{word} {limit:g}" for word, limit in limits if limit is not None)


def threshold(equals: object, below: object, above: object) -> Threshold | None:
    """The condition that was said by these; None if none was.

    Args:
        equals: What the value is to be equal to; :data:`UNSET` if that was not said.
        below: What it is to be less than, or None.
        above: What it is to be more than, or None.

    Raises:
        QMI_InvalidValueException: If a limit is no number, or ``equals`` and a limit were both given.
    """
    if below is None and above is None:
        return None if equals is UNSET else Threshold(equals)
    if equals is not UNSET:
        raise QMI_InvalidValueException("suspend_when() takes either equals or below and above, got both")
    limits = {"below": below, "above": above}
    for name, limit in limits.items():
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or limit != limit):
            raise QMI_InvalidValueException(f"{name} must be a number, got {limit!r}")
    return Threshold(UNSET, below, above)  # type: ignore[arg-type]

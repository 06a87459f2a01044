"""What goes wrong on purpose between a simulated device and its driver."""

from __future__ import annotations

import math
from dataclasses import dataclass

from qmi.errors import QMI_InvalidValueException
from qmi.parameters.rules import is_number

FAULTS = ("no_answer", "late", "garbage", "disconnected", "none")
"""The faults that can be asked for; ``"none"`` ends those that still wait."""

GARBAGE = b"\xff\xa5?\x00\xfe"
DEFAULT_DELAY = 1.0
"""How late an answer is that is late, in seconds, unless somebody says otherwise."""


@dataclass
class Fault:
    """A fault that waits for its occasion.

    Attributes:
        kind: Which one.
        times: How often it still occurs.
        seconds: How late an answer is, or how long a device cannot be reached.
    """

    kind: str
    times: int = 1
    seconds: float = 0.0


def checked_fault(kind: object, times: object = 1, seconds: object = None) -> Fault:
    """A fault as it was asked for.

    Args:
        kind: ``"no_answer"``, ``"late"``, ``"garbage"``, ``"disconnected"`` or ``"none"``.
        times: How often it occurs.
        seconds: How late an answer is (1 s if it is None), or how long the device cannot be reached.

    Raises:
        QMI_InvalidValueException: If there is no such fault, or a number makes no sense.
    """
    if kind not in FAULTS:
        raise QMI_InvalidValueException(f"kind must be one of {', '.join(FAULTS)}, got {kind!r}")
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        raise QMI_InvalidValueException(f"times must be a whole number >= 1, got {times!r}")
    if seconds is None:
        seconds = DEFAULT_DELAY if kind == "late" else 0.0
    if is_number(seconds) and 0 <= seconds < math.inf:
        return Fault(str(kind), times, float(seconds))
    raise QMI_InvalidValueException(f"seconds must be a number >= 0, got {seconds!r}")


class Faults:
    """The faults of one device that have not occurred yet."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._unplugged: Fault | None = None
        self._away_until = -math.inf
        self.cuts: int = 0
        """How often the connection was cut, so that one who has it can tell."""

    def add(self, fault: Fault, now: float) -> None:
        """Have a fault occur, once those before it have."""
        if fault.kind == "none":
            self._waiting.clear()
            self._unplugged = None
            self._away_until = -math.inf
        elif fault.kind == "disconnected":
            self.cuts += 1
            self._away_until = now + fault.seconds
            # The cut is the first time; each further one is an attempt to connect that comes to nothing.
            self._unplugged = Fault(fault.kind, fault.times - 1)
        else:
            self._waiting.append(fault)

    def take(self) -> Fault | None:
        """What happens to the answer that is due now."""
        if not self._waiting:
            return None
        fault = self._waiting[0]
        fault.times -= 1
        if fault.times == 0:
            del self._waiting[0]
        return fault

    def refuses(self, now: float) -> bool:
        """Whether a connection that is made now comes to nothing."""
        if now < self._away_until:
            return True
        if self._unplugged is not None and self._unplugged.times > 0:
            self._unplugged.times -= 1
            return True
        return False

    @property
    def waiting(self) -> tuple[Fault, ...]:
        """Those that have not occurred yet, for tests."""
        return tuple(self._waiting)

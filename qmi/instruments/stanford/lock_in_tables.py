"""The sensitivities and time constants that the lock-in amplifiers have, and the numbers that they have there."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_FACTORS = ("1", "2", "5")
_STEPS = ("1", "3")

# "2e-9" as a text, so that 5 nV is 5e-9 and not something beside it.
SENSITIVITIES: Mapping[float, str] = MappingProxyType(
    {
        float(text): str(number)
        for number, text in enumerate([*(f"{f}e{e}" for e in range(-9, 0) for f in _FACTORS), "1"], start=-1)
        if number >= 0
    }
)
"""Full scale in volts: 2 nV (number 0) to 1 V (26)."""

TIME_CONSTANTS: Mapping[float, str] = MappingProxyType(
    {float(text): str(number) for number, text in enumerate(f"{f}e{e}" for e in range(-5, 5) for f in _STEPS)}
)
"""In seconds: 10 microseconds (number 0) to 30 kiloseconds (19)."""

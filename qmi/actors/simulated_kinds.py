"""Which modules know how drivers of a kind of their own are simulated."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

SimulatedBy: TypeAlias = Callable[[type, type | None], type | None]
"""Makes the class of a simulated driver, given the driver and its simulator; None if it is of another kind."""

KINDS: list[SimulatedBy] = []
"""Those that are there. Each is asked when an instrument is simulated, and imports then what it needs."""

"""The floor of an import: trio alone, in the environment of this library."""

from __future__ import annotations

from benchmarks.systems.base import System


class TrioAlone(System):
    """Nothing but what is imported."""

    module = "trio"


SYSTEM = TrioAlone()

"""The last values of an object's parameters: contexts have this at hand without loading anything of parameters."""

from __future__ import annotations

from typing import Final

from qmi.records import NamedTuple

VALUES: Final = "_rpc_values"
"""The attribute of an object that has them, with their times, by the names of its parameters."""


class NotKept(NamedTuple):
    """What stands for a value that is no part of a snapshot."""

    reason: str


def last_values(host: object) -> dict[str, tuple[object, float]]:
    """The last values and their times, as far as they are kept. Takes no turn: from any thread, and asks nothing.

    Args:
        host: Any object.
    """
    values: dict[str, tuple[object, float]] = getattr(host, "__dict__", {}).get(VALUES, {})
    # The copy is made in one step; the object's thread adds to the original.
    return {name: pair for name, pair in values.copy().items() if not isinstance(pair[0], NotKept)}

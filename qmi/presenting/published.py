"""By which signals the values of a parameter are published."""

from __future__ import annotations

from collections.abc import Collection

from qmi.actors.parameter_values import SIG_CHANGED, poll_signal
from qmi.names import parse_parameter_path
from qmi.presenting.places import Place


def publishing(place: Place, signals: Collection[str]) -> dict[str, tuple[object, ...]]:
    """The signals that tell the values of a place, when it is set and when it is read.

    Args:
        place: The place; only parameters are published.
        signals: The signals of its object.

    Returns:
        What the arguments of each begin with, where they tell of this place; its value comes next.
    """
    parts = parse_parameter_path(place.path)
    if not place.is_parameter or parts is None:
        return {}
    polled = poll_signal(parts.name, parts.group)
    keys: dict[str, tuple[object, ...]] = {SIG_CHANGED: (place.path,), polled: (parts.number,) if parts.group else ()}
    return {name: key for name, key in keys.items() if name in signals}

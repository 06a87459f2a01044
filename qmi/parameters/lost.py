"""Declarations that Python has not given a name: in a tuple because of a comma, or behind a colon.

Nobody would miss them before a proxy is asked for the parameter.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping

from qmi.errors import QMI_UsageException
from qmi.parameters.channels import Channels, channels
from qmi.parameters.declaration import Parameter, parameter

_CALL = re.compile(r"\s*(?:\w+\.)*(parameter|channels)\s*\(")
_CONTAINERS = (tuple, list, set, frozenset, dict)


def check_lost(cls: type) -> None:
    """Refuse a class with a declaration that declares nothing.

    Args:
        cls: The class, as Python has just made it.

    Raises:
        QMI_UsageException: Says which attribute it is, and what to write.
    """
    for name, value in vars(cls).items():
        if name.startswith("__"):
            continue
        where = f"{cls.__qualname__}.{name}"
        if isinstance(value, _CONTAINERS) and (word := _lost_in(value)):
            raise QMI_UsageException(
                f"{where} is a {type(value).__name__} with {word}(...) in it, which declares nothing: write "
                f"{name} = {word}(...), without a comma behind it; each declaration has a name of its own"
            )
        if value is parameter or value is channels:
            word = value.__name__
            raise QMI_UsageException(f"{where} is {word} itself: call it, {name} = {word}(...)")
    for name, annotation in _annotations(cls).items():
        if word := _word_of(annotation):
            raise QMI_UsageException(
                f"{cls.__qualname__}.{name} has {word}(...) as its annotation, which declares nothing: write "
                f"{name} = {word}(...), with = in place of the colon"
            )


def _lost_in(values: Iterable[object]) -> str:
    """What is declared in a container, if it has no name anywhere else; empty if nothing is."""
    items = values.values() if isinstance(values, Mapping) else values
    lost = (item for item in items if isinstance(item, Parameter | Channels) and not item.names)
    return next((_word_of(item) for item in lost), "")


def _word_of(value: object) -> str:
    if isinstance(value, Parameter):
        return "parameter"
    if isinstance(value, Channels):
        return "channels"
    # `from __future__ import annotations` leaves texts.
    found = _CALL.match(value) if isinstance(value, str) else None
    return found[1] if found else ""


def _annotations(cls: type) -> Mapping[str, object]:
    try:
        return inspect.get_annotations(cls)
    except Exception:  # noqa: BLE001 - names that are there later, or for type checkers only
        return {}

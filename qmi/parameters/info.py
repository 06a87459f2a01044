"""What an object says of its parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qmi.names import nearest


@dataclass(frozen=True, slots=True)
class ParameterInfo:
    """What is known of a parameter.

    Attributes:
        name: Its name; that of a channel's parameter has the channel in it: ``"channels[1].voltage"``.
        type: Name of its type: ``"float"``, ``"int"``, ``"bool"``, ``"str"``, that of an enumeration or another class.
        unit: Unit of its values, as text; empty if there is none.
        limits: The least and the greatest value that can be set now; None where there is no limit.
        values: The values that it can have, if only some; for an enumeration the values of its members.
        step: Of what the values that can be set are multiples, counted from the lower limit; None if of nothing.
        doc: What it is.
        settable: Whether it can be set.
        gettable: Whether it can be asked for.
        poll: Each how many seconds it is asked for and published; None if it is not.
        command: The command of the device; empty if it is not set and asked for by one.
        limits_vary: Whether the limits depend on something else, such as another parameter, and may be others later.
    """

    name: str
    type: str
    unit: str = ""
    limits: tuple[float | None, float | None] | None = None
    values: tuple[object, ...] | None = None
    step: float | None = None
    doc: str = ""
    settable: bool = True
    gettable: bool = True
    poll: float | None = None
    command: str = ""
    limits_vary: bool = False


def unknown_parameter(paths: Iterable[str], where: str, path: object) -> str:
    """The message for a name that none of the parameters has, with the nearest one that one has."""
    near = nearest(path, paths) if isinstance(path, str) else None
    return f"{where} has no parameter {path!r}" + (f". Did you mean {near!r}?" if near else "")


ParameterInfo.__module__ = "qmi.core.driver"

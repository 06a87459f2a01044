"""What a declared parameter is, in words for a table: what it can be, and the commands of the device."""

from __future__ import annotations

from enum import Enum
from typing import Any

from qmi.parameters.declaration import Parameter

_MOST_VALUES = 12
"""Of more values than that, only some are shown."""


def range_text(declared: Parameter[object]) -> str:
    """What it can be: ``0 to 30``, ``at least 0, in steps of 0.5``, ``1, 10, 100``; empty if that is not declared."""
    if declared.type is bool:
        text = ""
    elif declared.values is not None:
        shown = list(map(_value, declared.values))
        text = ", ".join(shown if len(shown) <= _MOST_VALUES else [*shown[:3], "...", shown[-1]])
        text += "" if len(shown) <= _MOST_VALUES else f" ({len(shown)} values)"
    elif issubclass(declared.type, Enum):
        text = ", ".join(declared.type.__members__)
    else:
        text = _limits(declared.limits)
    if declared.step is not None:
        text = f"{text}, in steps of {declared.step:g}" if text else f"multiples of {declared.step:g}"
    return text


def access_text(declared: Parameter[object]) -> str:
    """Whether it is a setting or a reading, and how often it is published."""
    text = "setting" if declared.settable else "reading"
    if not declared.gettable:
        text = "setting only"
    return text if declared.poll is None else f"{text}, every {declared.poll:g} s"


def command_texts(declared: Parameter[object]) -> list[str]:
    """The commands of the device: one where the question is the command and ``?``, otherwise those that there are."""
    if declared.ask is not None and declared.write == f"{declared.ask.removesuffix('?')} {{value}}":
        return [declared.ask.removesuffix("?")]
    return [text for text in (declared.ask, declared.write) if text is not None]


def _limits(limits: Any) -> str:
    if limits is None:
        return ""
    if callable(limits):
        return f"as {_function(limits)} says" if _function(limits) else "limits of the instrument"
    low, high = limits
    if low is None and high is None:
        return ""
    if high is None:
        return f"at least {_end(low)}"
    return f"at most {_end(high)}" if low is None else f"{_end(low)} to {_end(high)}"


def _end(end: Any) -> str:
    if callable(end):
        return _function(end) or "a limit of the instrument"
    return f"`{end}`" if isinstance(end, str) else f"{end:.12g}"


def _function(function: Any) -> str:
    """The name of a function of the instrument; empty if it has none that tells anything."""
    name = getattr(function, "__name__", "<lambda>")
    return "" if name.startswith(("<", "_")) else f"`{name}()`"


def _value(value: object) -> str:
    return value.name if isinstance(value, Enum) else f"{value:.12g}" if isinstance(value, float) else str(value)

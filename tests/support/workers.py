"""What differs where the tests run in several processes, the workers of pytest-xdist."""

from __future__ import annotations

from typing import Any


def sendable(value: Any) -> Any:
    """The data of a report with nothing in it that execnet cannot send: half characters are written as escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, list | tuple):
        return type(value)(map(sendable, value))
    if isinstance(value, dict):
        return {sendable(key): sendable(item) for key, item in value.items()}
    return value

"""Texts as both the log and the final file take them: UTF-8 without NUL characters."""

from __future__ import annotations

from typing import Any


def stored_text(text: str) -> str:
    """The text itself; what no file can have, such as half of a surrogate pair or NUL, is written as an escape."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def stored(value: Any) -> Any:
    """The same for all texts in a value of lists and dicts; whatever else is in it is left as it is."""
    if isinstance(value, str):
        return stored_text(value)
    if isinstance(value, dict):
        return {stored(name): stored(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [stored(item) for item in value]
    return value

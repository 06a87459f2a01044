"""What an entry of a device's error queue says, and which commands are questions."""

from __future__ import annotations

import re

_ENTRY = re.compile(r"\s*([+-]?\d+)\s*(?:,.*)?", re.DOTALL)
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")


def is_entry(entry: str) -> bool:
    """Whether an answer can be one of the error queue: ``number,"text"``, or a number, or nothing."""
    return not entry.strip() or _ENTRY.fullmatch(entry) is not None


def is_no_error(entry: str) -> bool:
    """Whether an answer such as ``0,"No error"`` says that the error queue is empty."""
    found = _ENTRY.fullmatch(entry)
    return not entry.strip() if found is None else int(found[1]) == 0


def is_question(line: str) -> bool:
    """Whether a line of commands asks for an answer: ``VOLT?``, ``MEAS? (@101)``, ``VOLT 1;VOLT?``.

    A question mark within a quoted text, such as one that is to be shown, asks for nothing.
    """
    if "?" not in line:
        return False
    commands = [command.strip() for command in _QUOTED.sub("", line).split(";")]
    return any(command.endswith("?") or command.partition(" ")[0].endswith("?") for command in commands)

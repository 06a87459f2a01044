"""What an entry of a device's error queue says."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\s*([+-]?\d+)")


def is_no_error(entry: str) -> bool:
    """Whether an answer such as ``0,"No error"`` says that the error queue is empty."""
    found = _NUMBER.match(entry)
    return not entry.strip() if found is None else int(found[1]) == 0

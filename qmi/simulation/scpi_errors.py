"""The error queue of a SCPI device."""

from __future__ import annotations

from collections import deque

TEXTS = {
    -100: "Command error",
    -104: "Data type error",
    -108: "Parameter not allowed",
    -109: "Missing parameter",
    -113: "Undefined header",
    -114: "Header suffix out of range",
    -131: "Invalid suffix",
    -160: "Block data error",
    -200: "Execution error",
    -221: "Settings conflict",
    -222: "Data out of range",
    -224: "Illegal parameter value",
    -300: "Device-specific error",
    -350: "Queue overflow",
    -400: "Query error",
}
"""What SCPI calls its errors."""

LENGTH = 20
"""How many errors the queue keeps."""

# The bits of the event status register, by the hundreds of an error's number.
_BITS = {1: 32, 2: 16, 3: 8, 4: 4}


class ErrorQueue:
    """Errors, oldest first, and the event status register that notes their kinds."""

    def __init__(self) -> None:
        self._entries: deque[tuple[int, str]] = deque()
        self.status: int = 0

    def push(self, number: int, text: str = "") -> None:
        """Note an error.

        Args:
            number: Its number; those of SCPI are negative.
            text: What it says; that of SCPI if it is empty.
        """
        self.status |= _BITS.get(-number // 100, 8) if number < 0 else 8
        if len(self._entries) == LENGTH:
            self._entries[-1] = (-350, TEXTS[-350])
        else:
            self._entries.append((number, text or TEXTS.get(number) or TEXTS.get(-(-number // 100 * 100), "Error")))

    def pop(self) -> str:
        """The oldest error, which is taken out; ``0,"No error"`` if there is none."""
        number, text = self._entries.popleft() if self._entries else (0, "No error")
        quoted = text.replace('"', '""')
        return f'{number},"{quoted}"'

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
        self.status = 0

    def take_status(self) -> int:
        """The event status register, which is emptied."""
        status, self.status = self.status, 0
        return status

    def __len__(self) -> int:
        return len(self._entries)

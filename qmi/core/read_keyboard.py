"""Reading lines that somebody types, without waiting for them."""

from __future__ import annotations

import os
import queue
import select
import sys
import threading
from collections import deque
from typing import TextIO

__all__ = ["KeyboardReader"]


class KeyboardReader:
    """Reads what is typed at the keyboard (standard input) without waiting: for loops that somebody may want to end.

    It shares standard input with everything else in the program that reads it.
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque()
        self._source: _Descriptor | _Thread = _source_for(sys.stdin)

    def poll_line(self) -> str:
        """The next line that was typed, with its end; an empty text if there is none."""
        self._lines.extend(self._source.poll())
        return self._lines.popleft() if self._lines else ""

    def poll_quit(self) -> bool:
        """Whether a line was typed that is just ``q`` or ``Q``. Other lines are dropped."""
        while line := self.poll_line():
            if line.strip().upper() == "Q":
                return True
        return False

    def clear_buffer(self) -> None:
        """Forget what was typed so far."""
        while self.poll_line():
            pass


class _Descriptor:
    """Looks at a descriptor; for terminals and pipes of systems where that can be done."""

    def __init__(self, descriptor: int, encoding: str) -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        self._rest = b""
        self._ended = False

    def poll(self) -> list[str]:
        while not self._ended and select.select([self._descriptor], [], [], 0)[0]:
            try:
                data = os.read(self._descriptor, 4096)
            except OSError:  # the terminal is gone
                data = b""
            self._ended = not data
            self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        found = [line + b"\n" for line in lines]
        if self._ended and self._rest:
            found.append(self._rest)
            self._rest = b""
        return [line.decode(self._encoding, "replace") for line in found]


class _Thread:
    """Reads lines in a thread, where it cannot be asked whether there are any."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        if stream is not None:
            threading.Thread(target=self._read, name="keyboard", daemon=True).start()

    def _read(self) -> None:
        assert self._stream is not None
        try:
            for line in self._stream:
                self._lines.put(line)
        except (OSError, ValueError):  # it was closed
            pass

    def poll(self) -> list[str]:
        found = []
        while not self._lines.empty():
            found.append(self._lines.get())
        return found


def _source_for(stream: TextIO | None) -> _Descriptor | _Thread:
    try:
        descriptor = -1 if stream is None or sys.platform == "win32" else stream.fileno()
        if descriptor >= 0:
            select.select([descriptor], [], [], 0)
            return _Descriptor(descriptor, getattr(stream, "encoding", None) or "utf-8")
    except (OSError, ValueError):  # a text in memory, or closed
        pass
    return _Thread(stream)

"""A device that answers at once, in the same thread."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.device_ends import Line


class Device:
    """What a device answers, at once, to what is written to it: put in the place of the writing of a transport."""

    def __init__(self, line: Line, monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any]) -> None:
        self.asked: list[str] = []
        self._line = line
        self._answers = answers
        self._send = line.transport._send
        monkeypatch.setattr(line.transport, "_send", self.send)

    def send(self, data: bytes) -> Any:
        sent = self._send(data)
        for command in data.decode("latin-1").splitlines():
            self.asked.append(command)
            answer = self._answers.get(command)
            if isinstance(answer, list):
                answer = answer.pop(0)
            if answer is not None:
                self._line.send(answer if isinstance(answer, bytes) else answer.encode() + b"\n")
        return sent


class AsyncDevice(Device):
    """The same for a transport of the event loop."""

    async def send(self, data: bytes) -> None:
        await super().send(data)

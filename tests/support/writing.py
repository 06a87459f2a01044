"""The writing half of a link, with the socket, the loop and the clock in the hands of the test."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from qmi.net.io.transport import Outbound, Unsent
from qmi.net.limits import Buffer


class FakeLoop:
    """Keeps what it is to do; the test decides when, and whose thread this is."""

    def __init__(self) -> None:
        self.here = False
        self.due: list[Callable[[], object]] = []

    def is_here(self) -> bool:
        return self.here

    def soon(self, function: Callable[[], object]) -> bool:
        self.due.append(function)
        return True

    now_or_soon = soon

    def turn(self) -> None:
        due, self.due = self.due, []
        for function in due:
            function()


class FakeWire:
    """Takes so many bytes, and then none until there is room again."""

    may_hold_more = False

    def __init__(self, *, in_one_step: bool = True) -> None:
        self.put_one: Callable[[Unsent], None] | None = self.put if in_one_step else None
        self.room = 1 << 30
        self.refills: list[int | BaseException] = []
        self.written: list[bytes] = []
        self.error: OSError | None = None

    def put(self, unsent: Unsent) -> None:
        unsent.counts.append(self.write(b"".join(unsent.rest())))

    def write(self, buffer: Buffer) -> int:
        if self.error is not None:
            raise self.error
        if not self.room:
            raise BlockingIOError
        data = bytes(buffer[: self.room])
        self.room -= len(data)
        self.written.append(data)
        return len(data)

    def flush(self) -> bool:
        return False

    def is_writable(self, patience: float) -> bool:
        refill = self.refills.pop(0) if self.refills else 0
        if isinstance(refill, BaseException):
            raise refill
        self.room += refill
        return refill > 0


class Clock:
    """Moves when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Bench:
    """The writing half of a link, with everything around it in the test's hands."""

    def __init__(self, clock: Clock, *, in_one_step: bool = True, capacity: int = 64 << 20) -> None:
        self.clock = clock
        self.wire = FakeWire(in_one_step=in_one_step)
        self.loop = FakeLoop()
        self.mutex = threading.Lock()
        self.begun: list[int] = []
        self.failed: list[int] = []
        self.stuck: list[int] = []
        wire: Any = self.wire
        loop: Any = self.loop
        self.out = Outbound(
            wire,
            loop,
            self.mutex,
            begun=self.begun.append,
            taken_back=self.begun.remove,
            failed=lambda: self.failed.append(1),
            stuck=lambda: self.stuck.append(1),
            capacity=capacity,
        )

    def say(self, text: str, number: int | None = None, *, soon: bool = False, patient: bool = True) -> None:
        with self.mutex:
            rest = self.out.write([text.encode()], number, soon=soon)
        self.out.settle(rest, patient=patient)

    @property
    def stalled(self) -> float | None:
        return self.out.stalled_since()

    @property
    def written(self) -> list[str]:
        return [data.decode() for data in self.wire.written]

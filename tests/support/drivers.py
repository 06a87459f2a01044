"""Drivers that tests misuse."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import trio

from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal
from qmi.core.rpc import Placement, QMI_RpcObject, rpc_method


class Gate:
    """Something to wait at until a test opens it."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def pass_through(self) -> None:
        self.reached.set()
        assert self.open.wait(30)


class Plain(QMI_Instrument):
    """An instrument with a thread of its own."""

    _rpc_constants = ("LIMIT",)
    LIMIT = 7

    def __init__(self, context: Any, name: str, gate: Gate | None = None) -> None:
        super().__init__(context, name)
        self.gate = gate
        self.thread = threading.current_thread()
        self.running = 0
        self.total = 0

    @rpc_method
    def add(self, a: float, b: float = 2.0, *, scale: float = 1.0) -> float:
        """Add two numbers.

        Args:
            a: One.
            b: Another.
            scale: What the sum is multiplied by.
        """
        return (a + b) * scale

    @rpc_method
    def block(self) -> str:
        """Wait at the gate."""
        assert self.gate is not None
        self.gate.pass_through()
        return "passed"

    @rpc_method
    def fail(self, error: BaseException) -> None:
        raise error

    @rpc_method
    def count(self) -> int:
        """Count, in a way that shows when two do so at once."""
        assert self.running == 0, "two turns at once"
        self.running += 1
        before = self.total
        for _ in range(5):
            pass
        self.total = before + 1
        self.running -= 1
        return self.total

    @rpc_method
    def own_thread(self) -> bool:
        """Whether this runs where the constructor ran."""
        return threading.current_thread() is self.thread

    @rpc_method
    def numbers(self, count: int) -> Iterator[int]:
        """Numbers from 0 on."""
        yield from range(count)

    @rpc_method
    def call_other(self, other: Any, method: str, *args: Any) -> Any:
        """Call a method of another object."""
        return getattr(other, method)(*args)

    def unpublished(self) -> None:
        """Nobody can call this."""


class Inline(Plain):
    """The same, run by whoever calls."""

    _rpc_placement = Placement.CALLER


class Async(QMI_RpcObject):
    """An object that lives in the event loop."""

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.reached = trio.Event()
        self.cancelled = 0
        self.running = 0
        self.total = 0
        self.released = False

    @rpc_method
    async def add(self, a: float, b: float = 2.0) -> float:
        """Add two numbers."""
        await trio.lowlevel.checkpoint()
        return a + b

    @rpc_method
    async def count(self) -> int:
        assert self.running == 0, "two turns at once"
        self.running += 1
        before = self.total
        try:
            await trio.lowlevel.checkpoint()
        finally:
            self.running -= 1
        self.total = before + 1
        return self.total

    @rpc_method
    async def forever(self) -> None:
        """Wait to be cancelled."""
        self.reached.set()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled += 1

    @rpc_method
    async def nursery_forever(self) -> None:
        """The same, in a nursery."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            self.reached.set()

    @rpc_method
    async def fail(self, error: BaseException) -> None:
        await trio.lowlevel.checkpoint()
        raise error

    @rpc_method
    async def numbers(self, count: int) -> AsyncIterator[int]:
        """Numbers from 0 on."""
        for number in range(count):
            await trio.lowlevel.checkpoint()
            yield number

    @rpc_method
    async def call_other(self, other: Any, method: str, *args: Any) -> Any:
        """Call a method of another object."""
        return await getattr(other, method)(*args)

    async def release_rpc_object(self) -> None:
        await trio.lowlevel.checkpoint()
        self.released = True


class Mixed(Plain):
    """Plain methods in a thread, and an async one."""

    @rpc_method
    async def add_async(self, a: float) -> float:
        await trio.lowlevel.checkpoint()
        return a + 1


class SyncLoop(Async):
    """Plain methods that run in the loop."""

    _rpc_placement = Placement.LOOP

    @rpc_method
    def double(self, a: float) -> float:
        return 2 * a


class Thermometer(QMI_Instrument):
    sig_temperature = QMI_Signal([float])
    sig_alarm = QMI_Signal([str, int])
    sig_nothing = QMI_Signal()
    sig_anything = QMI_Signal([object])

    @rpc_method
    def publish(self, signal: str, *args: Any) -> None:
        getattr(self, signal).publish(*args)

    @rpc_method
    def count(self, first: int, last: int) -> None:
        for number in range(first, last):
            self.sig_temperature.publish(float(number))


class Limited(QMI_RpcObject):
    """A driver with properties."""

    _rpc_constants = ("MAX",)
    _rpc_properties = {"LIMIT", "RATE", "RANGE", "NOTHING", "TABLE"}  # noqa: RUF012 - as users write it
    MAX = 100
    LIMIT = 5
    RATE = 1.0
    RANGE: Any = [1, 2.0]  # noqa: RUF012
    NOTHING = None
    TABLE: Any = {"a": (1, "x")}  # noqa: RUF012

    @rpc_method
    def get_limit(self) -> int:
        return self.LIMIT

    @rpc_method
    def private(self) -> Any:
        return self._name

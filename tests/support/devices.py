"""Instruments for tests of links."""

from __future__ import annotations

import enum
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import trio

from qmi.core.context import QMI_Context
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import rpc_method
from tests.support.waiting import changed


class Mode(enum.Enum):
    SLOW = "slow"
    FAST = "fast"


class Reading(NamedTuple):
    value: float
    unit: str


@dataclass
class Settings:
    mode: Mode
    limits: dict[str, Reading]


class UserError(Exception):
    def __init__(self, code: int, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Bench(QMI_Instrument):
    """Does whatever a test of links needs. Plain methods run in a thread of its own."""

    def __init__(self, context: QMI_Context, name: str) -> None:
        super().__init__(context, name)
        self.calls: list[Any] = []
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.closed = threading.Event()
        self.cancelled = threading.Event()
        self.produced = 0

    @rpc_method
    def echo(self, value: Any = None, /, **more: Any) -> Any:
        return (value, more) if more else value

    @rpc_method
    def note(self, value: Any) -> int:
        self.calls.append(value)
        changed()
        return len(self.calls)

    @rpc_method
    def notes(self) -> list[Any]:
        return self.calls

    @rpc_method
    def block(self) -> str:
        """Runs until :meth:`QMI_Context`'s owner opens the gate."""
        self.entered.set()
        self.gate.wait(30)
        self.calls.append("block ended")
        return "done"

    @rpc_method
    def fail(self, kind: str) -> None:
        class Local(Exception):
            pass

        raise {
            "value": ValueError("bad value"),
            "user": UserError(7, "broken"),
            "local": Local("only here"),
            "unprintable": Unprintable(),
            "huge": RuntimeError("x" * 5_000_000),
            "interrupt": KeyboardInterrupt(),
            "exit": SystemExit(3),
            "group": ExceptionGroup("several", [ValueError("a"), KeyError("b")]),
        }[kind]

    @rpc_method
    def call_other(self, address: str, method: str, *args: Any) -> Any:
        return getattr(self._context.get_rpc_object(address), method)(*args)

    @rpc_method
    def use(self, proxy: Any, method: str, *args: Any) -> Any:
        return getattr(proxy, method)(*args)

    @rpc_method
    def describe(self, proxy: Any) -> str:
        return f"{type(proxy).__name__} of {proxy.address}"

    @rpc_method
    def own_proxy(self) -> Any:
        return self._context.get_rpc_object(self._name)

    @rpc_method
    def proxy_of(self, address: str) -> Any:
        return self._context.get_rpc_object(address)

    @rpc_method
    def count(self, limit: int) -> Iterator[int]:
        try:
            for index in range(limit):
                self.produced = index + 1
                yield index
        finally:
            self.closed.set()

    @rpc_method
    def bad_stream(self, item: Any = None) -> Iterator[Any]:
        yield 1
        if item is None:
            raise UserError(1, "in the stream")
        try:
            yield threading.Lock() if item == "unsendable" else item
        finally:
            self.closed.set()

    @rpc_method
    def gated_stream(self) -> Iterator[int]:
        self.entered.set()
        self.gate.wait(30)
        yield 1


class AsyncBench(QMI_Instrument):
    """The same in the event loop."""

    def __init__(self, context: QMI_Context, name: str) -> None:
        super().__init__(context, name)
        self.entered = threading.Event()
        self.cancelled = threading.Event()
        self.closed = threading.Event()
        self.produced = 0

    @rpc_method
    async def echo(self, value: Any = None) -> Any:
        await trio.lowlevel.checkpoint()
        return value

    @rpc_method
    async def forever(self) -> None:
        self.entered.set()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()

    @rpc_method
    async def count(self, limit: int) -> AsyncIterator[int]:
        try:
            for index in range(limit):
                await trio.lowlevel.checkpoint()
                self.produced = index + 1
                yield index
        finally:
            self.closed.set()

"""A program of the soak that serves: an object for each kind of load, and a ledger of what was carried out.

python -m tests.soak.server NAME PORT LEDGER
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import trio

from qmi.config.schema import CfgContext, CfgDiscovery, CfgQmi
from qmi.core.context import QMI_Context
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal
from qmi.core.rpc import QMI_RpcObject, rpc_method
from qmi.messages import QueryLock
from qmi.names import Address
from tests.soak.ledger import Ledger

CHUNK = 20


class Bench(QMI_Instrument):
    """Plain methods, in a thread of their own."""

    sig_count = QMI_Signal([int, int])

    def __init__(self, context: QMI_Context, name: str, ledger: Ledger) -> None:
        super().__init__(context, name)
        self._ledger = ledger
        self._count = 0

    @rpc_method
    def echo(self, number: str, value: Any) -> Any:
        self._ledger.write("x", number)
        return value

    @rpc_method
    def publish(self, number: str) -> int:
        self._ledger.write("x", number)
        self._count += 1
        self.sig_count.publish(os.getpid(), self._count)
        return self._count

    @rpc_method
    def count(self, number: str, limit: int) -> Iterator[int]:
        self._ledger.write("x", number)
        yield from range(limit)


class AsyncBench(QMI_RpcObject):
    """Methods in the event loop."""

    def __init__(self, context: QMI_Context, name: str, ledger: Ledger) -> None:
        super().__init__(context, name)
        self._ledger = ledger

    @rpc_method
    async def echo(self, number: str, value: Any) -> Any:
        self._ledger.write("x", number)
        await trio.sleep(0.002)
        return value

    @rpc_method
    async def count(self, number: str, limit: int) -> AsyncIterator[int]:
        self._ledger.write("x", number)
        for index in range(limit):
            await trio.lowlevel.checkpoint()
            yield index


class Vault(QMI_Instrument):
    """Watches who comes in while it is locked: only the holder of this very grant."""

    def __init__(self, context: QMI_Context, name: str, ledger: Ledger) -> None:
        super().__init__(context, name)
        self._ledger = ledger
        self._sessions: dict[str, str] = {}

    @rpc_method
    def visit(self, number: str, caller: str, session: str) -> None:
        """Come in; the grant that a session began with is the one that it must still be."""
        self._ledger.write("x", number)
        core = self._context.async_context
        info = core.request(Address(core.name, self._name), QueryLock(self._name)).wait(5)
        if info is None:
            return  # force unlocked, or lost with its link while this call was under way
        label = self._sessions.setdefault(session, info.label)
        if info.context != caller:
            self._ledger.write("v", f"{caller} came in while {info.context} holds the lock")
        elif label != info.label:
            self._ledger.write("v", f"{caller} came in with {label}, but the lock is given as {info.label}")
        if len(self._sessions) > 1000:
            self._sessions.clear()


def main(name: str, port: str, ledger_path: str) -> None:
    """Serve until the input ends."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    ledger = Ledger(Path(ledger_path))
    config = CfgQmi(
        contexts={name: CfgContext(host="127.0.0.1", tcp_server_port=int(port))}, discovery=CfgDiscovery(enabled=False)
    )
    with QMI_Context(name, config) as context:
        context.make_instrument("bench", Bench, ledger)
        context.make_rpc_object("async", AsyncBench, ledger)
        for number in range(3):
            context.make_instrument(f"vault{number}", Vault, ledger)
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])

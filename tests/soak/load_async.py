"""What the clients of a trio program do, at random: calls, locks, streams, and calls that are cancelled on the way."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import trio

import qmi
from qmi.core.exceptions import QMI_Exception
from tests.soak.ledger import VALUE, Ledger
from tests.soak.load import CALL_TIMEOUT, CONFIG, EXPECTED, Gate


def run_async_clients(names: list[str], ports: Mapping[str, int], ledger: Ledger, gate: Gate) -> None:
    """Run several clients in one loop until the gate says that it is over."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(AsyncClient(name, ports, ledger, gate, random.Random(name)).run)

    trio.run(main)


class AsyncClient:
    """One context of a trio program; the arguments are those of :class:`tests.soak.load.Client`."""

    def __init__(self, name: str, ports: Mapping[str, int], ledger: Ledger, gate: Gate, source: random.Random) -> None:
        self.name, self._ports, self._ledger, self._gate, self._source = name, ports, ledger, gate, source

    async def run(self) -> None:
        """Work until the gate says that it is over."""
        async with qmi.open_context(self.name, None, init_logging=False, config=CONFIG) as context:
            while not self._gate.ended:
                if self._gate.is_paused:
                    await self._settle(context)
                    await self._rest()
                server = self._source.choice(list(self._ports))
                await self._one(context, server)
                await trio.sleep(self._source.random() * 0.05)

    async def _settle(self, context: Any) -> None:
        for server in self._ports:
            while not context.has_peer_context(server) and not self._gate.ended:
                try:
                    await self._connect(context, server)
                except QMI_Exception:
                    await trio.sleep(0.2)

    async def _connect(self, context: Any, server: str) -> None:
        await context.connect_to_peer(server, f"127.0.0.1:{self._ports[server]}", ignore_duplicate=True)

    async def _rest(self) -> None:
        self._gate.rest(1)
        while self._gate.is_paused and not self._gate.ended:
            await trio.sleep(0.05)
        self._gate.rest(-1)

    async def _one(self, context: Any, server: str) -> None:
        try:
            if not context.has_peer_context(server):
                await self._connect(context, server)
            await self._source.choice([self._call, self._cancelled, self._stream, self._lock])(context, server)
        except QMI_Exception as error:
            if not isinstance(error, EXPECTED):
                self._ledger.write("v", f"{self.name}: {type(error).__name__}: {error}")
            if not context.has_peer_context(server):
                await trio.sleep(0.2)
        except Exception as error:
            self._ledger.write("v", f"{self.name}: {type(error).__name__}: {error}")

    async def _booked(self, function: Callable[[str], Awaitable[Any]], expected: Any) -> None:
        number = self._ledger.number()
        self._ledger.write("b", number)
        try:
            value = await function(number)
        except BaseException as error:
            self._ledger.write("e", number, type(error).__name__)
            raise
        self._ledger.write("e", number, VALUE)
        if expected is not None and value != expected:
            self._ledger.write("v", f"{self.name}: call {number} gave {value!r} instead of {expected!r}")

    async def _bench(self, context: Any, server: str) -> Any:
        return await context.get_rpc_object(f"{server}.{self._source.choice(['bench', 'async'])}")

    async def _call(self, context: Any, server: str) -> None:
        bench, value = await self._bench(context, server), self._source.random()
        await self._booked(lambda number: bench.echo(number, value, rpc_timeout=CALL_TIMEOUT), value)

    async def _cancelled(self, context: Any, server: str) -> None:
        """Leave several calls at random moments."""
        bench = await self._bench(context, server)
        for _ in range(3):
            with trio.move_on_after(self._source.random() * 0.01):
                await self._booked(lambda number: bench.echo(number, 1), 1)

    async def _stream(self, context: Any, server: str) -> None:
        bench, leave = await self._bench(context, server), self._source.choice([3, 100])

        async def read(number: str) -> list[int]:
            found = []
            async with aclosing(await bench.count(number, 40)) as items:
                async for item in items:
                    found.append(item)
                    if item == leave:
                        break
            return found

        await self._booked(read, list(range(min(leave + 1, 40))))

    async def _lock(self, context: Any, server: str) -> None:
        vault = await context.get_rpc_object(f"{server}.vault{self._source.randrange(3)}")
        if not await vault.lock(timeout=self._source.choice([0.0, 0.5])):
            return
        session = self._ledger.number()
        self._ledger.write("g", session)
        how = "lost"
        try:
            for _ in range(3):
                await self._booked(
                    lambda number: vault.visit(number, self.name, session, rpc_timeout=CALL_TIMEOUT), None
                )
            how = "unlocked" if await vault.unlock() else "lost"
        finally:
            self._ledger.write("r", session, how)

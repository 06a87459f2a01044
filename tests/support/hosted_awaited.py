"""Drivers for asyncio, for tests of hosting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator


class Quiet:
    """Answers without a device."""

    def __init__(self, name: str = "", context: int = 0) -> None:
        self._given = {"name": name, "context": context}

    def given(self) -> dict[str, object]:
        return self._given

    async def answer(self) -> int:
        await asyncio.sleep(0)
        return 42


class Meter:
    """A meter that answers over TCP, line by line.

    Args:
        port: The port that it listens at.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.tasks: list[asyncio.Task[None]] = []
        self.ended: list[str] = []
        self.scale = 1.0
        self.busy = asyncio.Lock()

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.tasks.append(asyncio.create_task(self._watch()))

    async def disconnect(self) -> None:
        self.tasks.pop().cancel()
        self._writer.close()
        await self._writer.wait_closed()

    async def _watch(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.append("watch")

    async def ask(self, text: str) -> str:
        """Ask something."""
        async with self.busy:
            self._writer.write(f"{text}\n".encode())
            await self._writer.drain()
            line = await self._reader.readline()
            return line.decode().strip()

    async def get_range(self) -> float:
        """The range, in V."""
        return float(await self.ask("RANG?"))

    async def set_range(self, value: float) -> None:
        await self.ask(f"RANG {value}")

    @property
    def loop_is_running(self) -> bool:
        """Whether asyncio runs."""
        return asyncio.get_running_loop().is_running()

    def count(self, end: int) -> Iterator[int]:
        yield from range(end)

    async def samples(self, end: int) -> AsyncIterator[int]:
        try:
            for number in range(end):
                await self.turn()
                yield number
        finally:
            await self.turn()
            self.ended.append("samples")

    async def turn(self) -> None:
        """Let others run."""
        done = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(done.set_result, None)
        await done

    async def hang(self) -> None:
        try:
            await self.ask("HANG")
        except asyncio.CancelledError:
            self.ended.append("hang")
            raise

    async def fail(self) -> None:
        raise OSError("the cable is out")

    async def cancel_itself(self) -> None:
        raise asyncio.CancelledError

    async def fail_later(self) -> None:
        async def failing() -> None:
            raise OSError("nobody waits for it")

        def broken() -> None:
            raise OSError("nobody calls it")

        asyncio.get_running_loop().call_soon(broken)
        await asyncio.gather(failing(), return_exceptions=True)

    async def seen(self) -> list[str]:
        return list(self.ended)


class Session:
    """A driver that is connected by ``async with``."""

    log: list[str] = []  # noqa: RUF012

    async def __aenter__(self) -> Session:
        self.log.append("in")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.log.append("out")

    async def idn(self) -> str:
        return "ACME"


class Ready:
    """One that is connected when it is made, and asks whether it is."""

    log: list[str] = []  # noqa: RUF012

    async def close(self) -> None:
        self.log.append("closed")

    async def idn(self) -> str:
        return "ACME"

"""Drivers for trio, for tests of hosting."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio


class Meter:
    """A meter that answers over TCP, line by line.

    Args:
        port: The port that it listens at.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.ended: list[str] = []
        self.scale = 1.0

    async def is_connected(self) -> bool:
        return False

    async def open(self) -> None:
        self._stream = await trio.open_tcp_stream("127.0.0.1", self.port)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def ask(self, text: str) -> str:
        """Ask something."""
        await self._stream.send_all(f"{text}\n".encode())
        return (await self._stream.receive_some()).decode().strip()

    async def get_range(self) -> float:
        """The range, in V."""
        return float(await self.ask("RANG?"))

    async def set_range(self, value: float) -> None:
        await self.ask(f"RANG {value}")

    async def samples(self, end: int) -> AsyncIterator[int]:
        try:
            for number in range(end):
                await trio.lowlevel.checkpoint()
                yield number
        finally:
            self.ended.append("samples")

    async def hang(self) -> None:
        try:
            await self.ask("HANG")
        except trio.Cancelled:
            self.ended.append("hang")
            raise

    async def fail(self) -> None:
        raise OSError("the cable is out")

    async def seen(self) -> list[str]:
        return list(self.ended)

"""Devices that a library reaches which blocks: VISA and its kinds, for drivers in the event loop."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import outcome
import trio

from qmi.devices.async_transport import AsyncTransport
from qmi.devices.exchange import Owed
from qmi.devices.reconnect import Reconnect
from qmi.devices.transport import DeviceTransport
from qmi.errors import QMI_InvalidOperationException


class AsyncThreadTransport(AsyncTransport):
    """A blocking transport whose calls run in one thread, always the same one, as libraries of vendors ask for it.

    Such a call cannot be broken off. One that is cancelled is waited for, up to its timeout, and then its result is
    dropped: give reads a timeout that you can wait for.

    Args:
        transport: The blocking transport.
    """

    def __init__(self, transport: DeviceTransport) -> None:
        self._blocking = transport
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] | None = None
        super().__init__()

    def __str__(self) -> str:
        return str(self._blocking)

    def configure(self, **options: Any) -> AsyncThreadTransport:
        """Say what happens when an answer does not come, or the connection is lost; see :meth:`Line.configure`.

        Functions among the options are called in the thread, with the blocking transport.
        """
        self._owner = options.get("name") or self._owner
        self._blocking.configure(**options)
        return self

    @property
    def reconnect(self) -> Reconnect | None:
        """How a lost connection is made again; None if it is not."""
        return self._blocking.reconnect

    @property
    def is_in_step(self) -> bool:
        """Whether no answer is owed: the next one will belong to the next question."""
        return self._blocking.is_in_step

    async def open(self) -> None:
        """Make the connection."""
        if self._is_open:
            raise QMI_InvalidOperationException(f"Operation not allowed on open transport {type(self).__name__}")
        self._jobs = queue.SimpleQueue()
        threading.Thread(target=_work, args=(self._jobs,), name=f"transport {self}", daemon=True).start()
        try:
            await self._do(self._blocking.open)
        except BaseException:
            self._end_thread()
            raise
        self._is_open = True

    async def close(self) -> None:
        """End the connection."""
        self._check_is_open()
        self._is_open = False
        try:
            with trio.CancelScope(shield=True):
                await self._do(self._blocking.close)
        finally:
            self._end_thread()

    def _end_thread(self) -> None:
        jobs, self._jobs = self._jobs, None
        if jobs is not None:
            jobs.put(None)

    async def write(self, data: bytes) -> None:
        """Send bytes to the device."""
        await self._do_open(self._blocking.write, data)

    async def read(self, nbytes: int, timeout: float | None = None) -> bytes:
        """Receive a number of bytes."""
        data: bytes = await self._do_open(self._blocking.read, nbytes, timeout)
        return data

    async def read_until(self, message_terminator: bytes, timeout: float | None = None) -> bytes:
        """Receive a message."""
        data: bytes = await self._do_open(self._blocking.read_until, message_terminator, timeout)
        return data

    async def read_until_timeout(self, nbytes: int, timeout: float) -> bytes:
        """Receive what comes in a time."""
        data: bytes = await self._do_open(self._blocking.read_until_timeout, nbytes, timeout)
        return data

    async def readinto(self, buffer: object, timeout: float | None = None) -> None:
        """Receive bytes until a buffer is full."""
        await self._do_open(self._blocking.readinto, buffer, timeout)

    async def discard_read(self) -> None:
        """Drop what has been received and not been read."""
        await self._do_open(self._blocking.discard_read)

    def interrupted(self, owed: Owed) -> None:
        """An exchange was broken off: its answer, if it has one, is still to come."""
        self._blocking.interrupted(owed)

    def question_written(self, question: str) -> None:
        """A question went out whose answer the driver reads itself, later."""
        self._blocking.question_written(question)

    def owe_unread(self, terminator: bytes, asked: str) -> None:
        """Let the answers that nobody has read count as owed."""
        self._blocking.owe_unread(terminator, asked)

    def unread(self, data: bytes, owed: Owed) -> None:
        """Put what was read of an answer back in front, where the rest of it did not come."""
        self._blocking.unread(data, owed)

    async def _do_open(self, call: Callable[..., object], *args: object) -> Any:
        self._check_is_open()
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            # Between question and answer, perhaps.
            self._blocking.broken_off()
            raise
        return await self._do(call, *args)

    async def _do(self, call: Callable[..., object], *args: object) -> Any:
        jobs = self._jobs
        assert jobs is not None
        token = trio.lowlevel.current_trio_token()
        done = trio.Event()
        results: list[outcome.Outcome[Any]] = []

        def job() -> None:
            results.append(outcome.capture(call, *args))
            token.run_sync_soon(done.set)

        jobs.put(job)
        with trio.CancelScope(shield=True):
            await done.wait()
        return results[0].unwrap()


def _work(jobs: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    while (job := jobs.get()) is not None:
        job()


__all__ = ["AsyncThreadTransport"]

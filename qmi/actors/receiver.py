"""Where a subscriber gets its signals from: a bounded queue that never makes a publisher wait."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from enum import Enum
from typing import Any, NamedTuple

import trio

from qmi.actors.execution import current_interrupt
from qmi.bridge import TaskWaiter, ThreadWaiter, Waiter, refuse_on_loop
from qmi.errors import QMI_TimeoutException, QMI_UsageException


class SignalReceiverDiscardPolicy(Enum):
    """What a full receiver drops."""

    DISCARD_OLD = "the oldest signal in the queue"
    DISCARD_NEW = "the signal that comes"


class ReceivedSignal(NamedTuple):
    """A signal that came.

    Attributes:
        publisher_context: Name of the publisher's context.
        publisher_name: Name of the publisher.
        signal_name: Name of the signal.
        args: What it says.
        receiver_seqnr: Counts what came to this receiver, dropped signals included.
        seqnr: Counts what the publisher published under this name.
        timestamp: When it was published, in seconds since the epoch, by the publisher's clock.
        gap: Why signals may be missing before this one: "resumed" or "restarted" after the link was lost; else None.
    """

    publisher_context: str
    publisher_name: str
    signal_name: str
    args: tuple[Any, ...]
    receiver_seqnr: int
    seqnr: int = 0
    timestamp: float = 0.0
    gap: str | None = None


class QMI_SignalReceiver:
    """A queue of signals. Safe for threads; several threads and tasks may wait for it.

    In a trio program, ``async for signal in receiver`` waits for one after the other.

    Args:
        max_queue_length: How many signals it holds at most.
        discard_policy: What it drops when it is full.

    Attributes:
        dropped: How many signals it has dropped.
    """

    def __init__(
        self,
        max_queue_length: int = 10000,
        discard_policy: SignalReceiverDiscardPolicy = SignalReceiverDiscardPolicy.DISCARD_OLD,
    ) -> None:
        if isinstance(max_queue_length, bool) or not isinstance(max_queue_length, int) or max_queue_length < 1:
            raise QMI_UsageException(f"The length of a queue is a whole number from 1 on; got {max_queue_length!r}")
        if not isinstance(discard_policy, SignalReceiverDiscardPolicy):
            raise QMI_UsageException(f"{discard_policy!r} is no SignalReceiverDiscardPolicy")
        self._policy = discard_policy
        self._limit = max_queue_length
        self._mutex = threading.Lock()
        self._queue: deque[ReceivedSignal] = deque()
        self._waiters: list[Waiter] = []
        self._count = 0
        self.dropped = 0

    def __repr__(self) -> str:
        return f"<signal receiver with {len(self._queue)} signals>"

    def deliver(self, context: str, publisher: str, signal: str, args: tuple[Any, ...], seqnr: int,
                timestamp: float, gap: str | None = None) -> None:  # fmt: skip
        """A signal comes. From any thread; never waits."""
        with self._mutex:
            received = ReceivedSignal(context, publisher, signal, args, self._count, seqnr, timestamp, gap)
            self._count += 1
            if len(self._queue) >= self._limit:
                self.dropped += 1
                if self._policy is SignalReceiverDiscardPolicy.DISCARD_NEW:
                    return
                self._queue.popleft()
            self._queue.append(received)
            waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.wake()

    def _take(self, waiter: Waiter | None) -> ReceivedSignal | None:
        with self._mutex:
            if self._queue:
                return self._queue.popleft()
            if waiter is not None:
                self._waiters.append(waiter)
            return None

    def _forget(self, waiter: Waiter) -> None:
        with self._mutex:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def get_next_signal(self, timeout: float | None = 0.0) -> ReceivedSignal:
        """Take the next signal.

        Args:
            timeout: How long to wait for one, in seconds; None waits for ever.

        Raises:
            QMI_TimeoutException: If none comes in time.
            QMI_TaskStopException: If the task that waits is asked to stop.
        """
        found = self._take(None)
        if found is not None:
            return found
        if timeout is not None and timeout <= 0:
            raise QMI_TimeoutException("There is no signal in the queue")
        refuse_on_loop("get_next_signal()", "await receiver.next_signal()")
        return self._wait(timeout)

    def _wait(self, timeout: float | None) -> ReceivedSignal:
        deadline = None if timeout is None else time.monotonic() + timeout
        interrupt = current_interrupt()
        while True:
            waiter = ThreadWaiter()
            found = self._take(waiter)
            if found is not None:
                return found
            try:
                if interrupt is not None:
                    interrupt.enter(waiter)
                waiter.wait(None if deadline is None else deadline - time.monotonic())
            finally:
                self._forget(waiter)
                if interrupt is not None:
                    interrupt.leave(waiter)
            if interrupt is not None:
                interrupt.check()
            if deadline is not None and time.monotonic() >= deadline and not self._queue:
                raise QMI_TimeoutException(f"No signal came within {timeout:g} s")

    async def next_signal(self) -> ReceivedSignal:
        """Wait for the next signal and take it. A checkpoint; being cancelled takes none."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            waiter = TaskWaiter()
            found = self._take(waiter)
            if found is not None:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return found
            try:
                await waiter.wait()
            finally:
                self._forget(waiter)

    def __aiter__(self) -> AsyncIterator[ReceivedSignal]:
        return self

    async def __anext__(self) -> ReceivedSignal:
        return await self.next_signal()

    def has_signal_ready(self) -> bool:
        """Whether there is a signal in the queue."""
        return bool(self._queue)

    def get_queue_length(self) -> int:
        """How many signals are in the queue."""
        return len(self._queue)

    def discard_all(self) -> None:
        """Empty the queue."""
        with self._mutex:
            self._queue.clear()


for _public in (QMI_SignalReceiver, ReceivedSignal, SignalReceiverDiscardPolicy):
    _public.__module__ = "qmi.core.pubsub"

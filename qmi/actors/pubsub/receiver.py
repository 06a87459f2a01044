"""Where a subscriber gets its signals from: a bounded queue that never makes a publisher wait."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from enum import Enum
from typing import Any, TypeAlias

import trio

from qmi.actors.pubsub.subscriptions import Topic
from qmi.errors import QMI_SignalSubscriptionException, QMI_TimeoutException, QMI_UsageException
from qmi.messages import Args
from qmi.records import NamedTuple
from qmi.runtime.call_context import current_interrupt
from qmi.runtime.wakeup import (
    AsyncioWaker,
    TaskWaker,
    ThreadWaker,
    Waker,
    in_task,
    refuse_on_loop,
    refuse_outside_loops,
)


class SignalReceiverDiscardPolicy(Enum):
    """What a full receiver drops."""

    DISCARD_OLD = "the oldest signal in the queue"
    DISCARD_NEW = "the signal that comes"


class _Received(NamedTuple):
    publisher_context: str
    publisher_name: str
    signal_name: str
    args: tuple[Any, ...]
    receiver_seqnr: int


class ReceivedSignal(_Received):
    """A signal that came. As a tuple it has the first five of these attributes, and only they count for ``==``.

    Attributes:
        publisher_context: Name of the publisher's context.
        publisher_name: Name of the publisher.
        signal_name: Name of the signal.
        args: What it says.
        receiver_seqnr: Counts what came to this receiver, dropped signals included.
        seqnr: Counts what the publisher published under this name.
        timestamp: When it was published, in seconds since the epoch, by the publisher's clock.
        gap: Why signals may be missing before this one: "resumed" or "restarted" after the link was lost, "dropped"
            when the publisher's program left some out since too much waited on the link; else None.
            For events of a receiver with ``report_gaps``, what happened.
        is_gap: Whether this is no signal but such an event.
        missing: How many signals are missing before this one, or at such an event, if ``gap`` is "dropped" and that is
            known; else 0.
    """

    seqnr: int = 0
    timestamp: float = 0.0
    gap: str | None = None
    is_gap: bool = False
    missing: int = 0

    def __new__(
        cls,
        publisher_context: str,
        publisher_name: str,
        signal_name: str,
        args: tuple[object, ...],
        receiver_seqnr: int,
        seqnr: int = 0,
        timestamp: float = 0.0,
        gap: str | None = None,
        is_gap: bool = False,
        missing: int = 0,
    ) -> ReceivedSignal:
        """Make one."""
        self = super().__new__(cls, publisher_context, publisher_name, signal_name, args, receiver_seqnr)
        self.seqnr = seqnr
        self.timestamp = timestamp
        self.gap = gap
        self.is_gap = is_gap
        self.missing = missing
        return self

    def __repr__(self) -> str:
        what = f"gap: {self.gap}" if self.is_gap else f"{self.args}"
        return f"<{self.publisher_context}.{self.publisher_name}.{self.signal_name} {self.seqnr}: {what}>"


Delivered: TypeAlias = tuple[str, str, str, Args, int, float]
"""A signal on its way: context, publisher, name, arguments, number and time. All its receivers share it.

A publisher waits for what is made for each receiver; so that is next to nothing until the signal is taken."""


_NO_GAP: tuple[str | None, int] = (None, 0)


class _Flagged(NamedTuple):
    """What does not simply follow the one before it in a queue, or came together with such.

    Attributes:
        told: What was told.
        number: The receiver's number for it.
        gap: Why signals may be missing before it.
        is_gap: Whether it is no signal but a gap.
        missing: How many are missing, if that is known.
    """

    told: Delivered
    number: int
    gap: str | None
    is_gap: bool
    missing: int = 0


class QMI_SignalReceiver:
    """A queue of signals. Safe for threads; several threads and tasks may wait for it.

    In a trio program, ``async for signal in receiver`` waits for one after the other. Signals within a context are not
    copied: a receiver gets the very objects that were published.

    When all that it was subscribed to is gone for good (objects removed, contexts stopped or disconnected), and it is
    empty, waiting for a signal raises an error that says so.

    Args:
        max_queue_length: How many signals it holds at most.
        discard_policy: What it drops when it is full.
        report_gaps: Whether it gets an event, with ``is_gap`` set and no arguments, as soon as signals may be missing.
            Its ``gap`` says what happened: "lost" (the link was lost, and is being restored), "resumed" or "restarted"
            (the link is back, and so is the publisher's program or a new one in its place; signals come again),
            "dropped" (signals were left out, since more came than the link could take; ``missing`` says how many), or
            "ended" (no more signals will come). Without it, the next signal after a gap has its ``gap`` set.

    Attributes:
        dropped: How many signals it has dropped, because it was full or because they could not be rebuilt here.
    """

    DISCARD_OLD = SignalReceiverDiscardPolicy.DISCARD_OLD
    DISCARD_NEW = SignalReceiverDiscardPolicy.DISCARD_NEW

    def __init__(
        self,
        max_queue_length: int = 10000,
        discard_policy: SignalReceiverDiscardPolicy = SignalReceiverDiscardPolicy.DISCARD_OLD,
        *,
        report_gaps: bool = False,
    ) -> None:
        if isinstance(max_queue_length, bool) or not isinstance(max_queue_length, int) or max_queue_length < 1:
            raise QMI_UsageException(f"The length of a queue is a whole number from 1 on; got {max_queue_length!r}")
        if not isinstance(discard_policy, SignalReceiverDiscardPolicy):
            raise QMI_UsageException(
                f"discard_policy: {discard_policy!r} is no SignalReceiverDiscardPolicy; "
                "expected QMI_SignalReceiver.DISCARD_OLD or QMI_SignalReceiver.DISCARD_NEW"
            )
        self._policy = discard_policy
        self._limit = max_queue_length
        self._report_gaps = report_gaps
        self._mutex = threading.Lock()
        # Nothing is made for a signal until it is taken: it stands here as it was told, and its number follows from the
        # one before it.
        self._queue: deque[Delivered | _Flagged] = deque()
        self._waiters: list[Waker] = []
        self._count = 0  # number of the next that comes
        self._taken = 0  # number of the next that is taken, unless that is odd
        self._is_flagged = False  # what comes next, since a new one was dropped
        self._gaps: dict[tuple[str, ...], tuple[str, int]] = {}
        self._sources = 0
        self._ended: str | None = None
        self.dropped: int = 0

    def __repr__(self) -> str:
        return f"<signal receiver with {len(self._queue)} signals>"

    # What the exchange calls, from any thread; never waits

    def deliver(self, told: Sequence[Delivered]) -> None:
        """Signals come, in this order."""
        with self._mutex:
            if self._gaps or self._is_flagged or len(self._queue) + len(told) > self._limit:
                for one in told:
                    gap, missing = self._gaps.pop(one[:3], _NO_GAP)
                    self._put(_Flagged(one, self._count, gap, False, missing))
            else:
                self._queue.extend(told)
                self._count += len(told)
            if not self._waiters:
                return
            waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.wake()

    def miss(self) -> None:
        """A signal came that could not be rebuilt here: it counts as dropped."""
        with self._mutex:
            self._count += 1
            self.dropped += 1
            self._is_flagged = True  # the number of the next one does not follow from the one before it

    def mark_gap(self, topic: Topic, gap: str, missing: int = 0) -> None:
        """Signals of a topic may be missing, so many if that is known."""
        if self._report_gaps:
            self.report(topic, gap, missing)
            return
        with self._mutex:
            before = self._gaps.get(topic, _NO_GAP)[1]
            self._gaps[topic] = gap, missing and missing + before

    def report(self, topic: Topic, gap: str, missing: int = 0) -> None:
        """Tell what happened to those who want to know, also if no signals are missing."""
        if not self._report_gaps:
            return
        with self._mutex:
            self._put(_Flagged((*topic, (), 0, time.time()), self._count, gap, True, missing))
            waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.wake()

    def add_source(self) -> None:
        """It was subscribed to one more topic."""
        with self._mutex:
            self._sources += 1
            self._ended = None

    def remove_source(self, topic: Topic, why: str | None = None) -> None:
        """It is subscribed to one topic less; if there is a reason, that was not the user's doing."""
        if why is not None and self._report_gaps:
            self.mark_gap(topic, "ended")
        with self._mutex:
            self._sources -= 1
            self._gaps.pop(topic, None)
            if why is None or self._sources:
                return
            self._ended = why
            waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.wake()

    def _put(self, received: _Flagged) -> None:
        # Called with the mutex.
        self._count += 1
        if len(self._queue) < self._limit:
            self._queue.append(received)
            self._is_flagged = False
            return
        self.dropped += 1
        lost: Delivered | _Flagged = received
        if self._policy is SignalReceiverDiscardPolicy.DISCARD_OLD:
            lost = self._queue.popleft()
            self._taken = lost.number + 1 if isinstance(lost, _Flagged) else self._taken + 1
            self._queue.append(received)
        else:
            self._is_flagged = True
        if isinstance(lost, _Flagged) and lost.gap is not None:
            self._gaps[lost.told[:3]] = lost.gap, lost.missing  # the next one says it instead

    # What the user calls

    def _take(self, waiter: Waker | None) -> ReceivedSignal | None:
        with self._mutex:
            if not self._queue:
                if waiter is not None:
                    if self._ended is not None:
                        raise QMI_SignalSubscriptionException(f"No signal can come any more: {self._ended}")
                    self._waiters.append(waiter)
                return None
            first = self._queue.popleft()
            if isinstance(first, _Flagged):
                told, count, gap, is_gap, missing = first
            else:
                told, count, gap, is_gap, missing = first, self._taken, None, False, 0
            self._taken = count + 1
        context, publisher, name, args, seqnr, timestamp = told
        # Not by calling the class, which takes more than twice as long.
        received = tuple.__new__(ReceivedSignal, (context, publisher, name, args, count))
        received.seqnr = seqnr
        received.timestamp = timestamp
        if gap is not None:  # else the class says that there is none
            received.gap = gap
            received.is_gap = is_gap
            received.missing = missing
        return received

    def _forget(self, waiter: Waker) -> None:
        with self._mutex:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def get_next_signal(self, timeout: float | None = 0.0) -> ReceivedSignal:
        """Take the next signal.

        Args:
            timeout: How long to wait for one, in seconds; None waits for ever.

        Raises:
            QMI_TimeoutException: If none comes in time.
            QMI_SignalSubscriptionException: If none can come, because all that it was subscribed to is gone for good.
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
            waiter = ThreadWaker()
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
        """Wait for the next signal and take it. A checkpoint; being cancelled takes none.

        Raises:
            QMI_SignalSubscriptionException: If none can come, because all that it was subscribed to is gone for good.
        """
        if not in_task():
            refuse_outside_loops("The next signal of a receiver", "receiver.get_next_signal")
            return await self._next_in_asyncio()
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            waiter = TaskWaker()
            found = self._take(waiter)
            if found is not None:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return found
            try:
                await waiter.wait()
            finally:
                self._forget(waiter)

    async def _next_in_asyncio(self) -> ReceivedSignal:
        import asyncio

        await asyncio.sleep(0)  # others run, too; being cancelled here takes none
        while True:
            waiter = AsyncioWaker()
            found = self._take(waiter)
            if found is not None:
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
            self._taken = self._count


for _public in (QMI_SignalReceiver, ReceivedSignal, SignalReceiverDiscardPolicy):
    _public.__module__ = "qmi.core.pubsub"

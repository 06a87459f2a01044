"""How the bytes of a link get onto its socket and off it: who writes them, what goes out together, what is left.

The socket is non-blocking. Any thread may write, and one at a time may read; the link's mutex keeps them apart. Whoever
sends writes to the socket itself. What the socket does not take at once, a thread goes on writing if it is large and
the other side keeps up; else a task in the loop does.

Fast path, must equal writing each message by itself: messages of one burst are joined
(``test_joined_messages_are_the_bytes_that_they_are_alone`` compares both). The first one goes out at once. What follows
within 0.2 ms of the last write is *held* and goes out together, when there is enough of it, when somebody waits for an
answer, or when the loop looks for it.

Large buffers are written from the memory of the values themselves, but only until the sender's call returns: a driver
that fills one array again and again must not change what it has returned before. So whatever is left then is copied.

Ctrl-C may interrupt a thread between any two steps of the interpreter, also between sending some bytes and noting how
many. So both happen in one step: what is sent is counted by the C code of ``list.extend``, and everything else follows
from the counts.
"""

from __future__ import annotations

import select
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import trio

from qmi.net.limits import Buffer
from qmi.net.protocol.bounds import describe_error
from qmi.runtime.forks import close_in_child
from qmi.runtime.wakeup import Loop

_OF_TCP = (socket.AF_INET, socket.AF_INET6)
_MANY = 512
FULL = 1 << 14
"""From so many bytes on, what waits to be written takes up nothing more."""
_JOINED = 1 << 15
"""Pieces of fewer bytes together are copied into one."""
_BURST = 0.0002
"""What is said within so many seconds after something was written may wait for what comes next."""
_LARGE = 1 << 16
_MOMENT = 0.02
"""A thread that has more than so many bytes to write waits for the socket itself, at most so many seconds each time."""
_COPYING = 1e9
"""And longer by as many seconds as copying takes at so many bytes a second: it would have to copy what is left."""
_LONGEST = 0.1
_PACE = 100e6
"""It goes on for so many seconds, and longer only as far as so many bytes go out in each second."""


def total_size(buffers: Sequence[Buffer]) -> int:
    """Return how many bytes the buffers hold together."""
    return len(buffers[0]) if len(buffers) == 1 else sum(map(len, buffers))


def drop_sent(buffers: list[Buffer], sent: int) -> None:
    """Remove the first ``sent`` bytes from a list of buffers, after a write that took only a part of them."""
    done = 0
    while done < len(buffers) and sent >= len(buffers[done]):
        sent -= len(buffers[done])
        done += 1
    del buffers[:done]
    if sent:
        buffers[0] = memoryview(buffers[0])[sent:]


class Unsent:
    """What has to be written, in one or several parts, and how much of it has been.

    Args:
        buffers: The first part; not changed here.
        number: The request that it is, None if it is something else.
        size: Bytes in all, if they have been counted.

    Attributes:
        buffers: All that has to be written.
        size: Bytes in all.
        counts: Bytes that the connection took, one number for each time.
        behind: Whether it was put behind what waited for the socket already.
    """

    __slots__ = ("_parts", "behind", "buffers", "counts", "size")

    def __init__(self, buffers: list[Buffer], number: int | None = None, size: int = -1) -> None:
        self.buffers: list[Buffer] = list(buffers)
        # For each part, where it ends among the buffers, and which request it is.
        self._parts: list[tuple[int, int | None]] = [(len(buffers), number)]
        self.size: int = total_size(buffers) if size < 0 else size
        self.counts: list[int] = []
        self.behind: bool = False

    def add(self, buffers: list[Buffer], number: int | None, size: int) -> bool:
        """Append a part of so many bytes that goes out with it.

        Returns:
            False if it is too large for that, or is being written already.
        """
        if self.size >= FULL or self.counts:
            return False
        self.buffers += buffers
        self._parts.append((len(self.buffers), number))
        self.size += size
        return True

    def remove(self, number: int) -> None:
        """Take a request out of it, if nothing of that has been written yet, whatever has been of those before it."""
        if number in self.begun():
            return
        kept: list[tuple[int, int | None]] = []
        begin = removed = 0
        for end, each in self._parts:
            if each == number:
                del self.buffers[begin - removed : end - removed]
                removed += end - begin
            else:
                kept.append((end - removed, each))
            begin = end
        if removed:
            self._parts = kept
            self.size = total_size(self.buffers)

    def rest(self) -> list[Buffer]:
        """What has not been written yet."""
        buffers = self.buffers
        if self.size < _JOINED and len(buffers) > 1:
            buffers = [b"".join(buffers)]  # copying little is quicker than telling the system of every piece
        if not self.counts:
            return buffers
        rest = list(buffers)
        drop_sent(rest, sum(self.counts))
        return rest

    def borrowed(self) -> list[memoryview]:
        """The memory of others in what has not been written yet.

        A buffer that was written in part is split, so that its first part need not be copied. The bytes of a ``bytes``
        object are nobody's to change, and do not count.
        """
        taken = sum(self.counts)
        found: list[memoryview] = []
        index = 0
        while index < len(self.buffers):
            buffer = self.buffers[index]
            size = len(buffer)
            if taken < size and type(buffer) is memoryview and not _never_changes(buffer):
                if taken > 0:
                    self.buffers[index : index + 1] = [buffer[:taken], buffer[taken:]]
                    self._parts = [(end + 1 if end > index else end, number) for end, number in self._parts]
                    size = taken
                else:
                    found.append(buffer)
            taken = max(taken - size, 0)
            index += 1
        return found

    def exchange(self, borrowed: memoryview, copied: bytes) -> None:
        """Write from a copy what would have been written from the memory of somebody else."""
        for index, buffer in enumerate(self.buffers):
            if buffer is borrowed:
                self.buffers[index] = copied

    def not_begun(self) -> list[int]:
        """The requests of which the connection has taken nothing yet."""
        begun = self.begun() if self.counts else ()
        return [number for _, number in self._parts if number is not None and number not in begun]

    def begun(self) -> list[int]:
        """The requests of which the connection has taken a byte."""
        taken = sum(self.counts)
        numbers = []
        begin = 0
        for end, number in self._parts:
            if taken <= 0:
                break
            if number is not None:
                numbers.append(number)
            if taken < self.size:
                taken -= total_size(self.buffers[begin:end])
            begin = end
        return numbers


def _never_changes(buffer: memoryview) -> bool:
    return buffer.readonly and type(buffer.obj) is bytes


class Wire(Protocol):
    """One connection.

    Attributes:
        sock: Its socket, for who waits until it can be read or written.
    """

    sock: socket.socket

    @property
    def put_one(self) -> Callable[[Unsent], None] | None:
        """As :meth:`put`, for one buffer of which nothing has been written; None if bytes may be held back."""

    @property
    def may_hold_more(self) -> bool:
        """Whether there may be more to read although a read filled less than its memory."""

    def put(self, unsent: Unsent) -> None:
        """Write some of the rest, and count it.

        Raises:
            BlockingIOError: If nothing can be written now.
            OSError: If the connection is gone.
        """

    def flush(self) -> bool:
        """Send what was held back; True if some of it still is.

        Raises:
            OSError: If the connection is gone.
        """

    def read_into(self, memory: memoryview) -> int:
        """Read what is there; 0 at the end of the connection.

        Raises:
            BlockingIOError: If there is nothing yet.
            OSError: If the connection is gone.
        """

    def is_writable(self, patience: float) -> bool:
        """Wait in a thread until something can be written; False if that takes longer, or threads cannot wait."""

    def shut(self) -> None:
        """End the connection, and wake whoever waits for it. May be called more than once."""

    def close(self) -> None:
        """Give the descriptor back. May be called more than once."""


class PlainWire:
    """A TCP connection as it is.

    Args:
        sock: A connected socket.
    """

    __slots__ = ("_gather", "sock")

    may_hold_more = False

    def __init__(self, sock: socket.socket) -> None:
        self.sock: socket.socket = close_in_child(sock)
        self._gather = hasattr(sock, "sendmsg")
        sock.setblocking(False)
        if sock.family in _OF_TCP:  # else it is one of a pair
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def put(self, unsent: Unsent) -> None:
        """Write some of the rest, and count it."""
        rest = unsent.rest()
        if len(rest) == 1 or not self._gather or sys.platform == "win32":
            unsent.counts.extend(map(self.sock.send, rest[:1]))
        else:
            unsent.counts.extend(map(self.sock.sendmsg, (rest[:_MANY],)))

    def put_one(self, unsent: Unsent) -> None:
        """Write the one buffer that it has, or some of it."""
        unsent.counts.extend(map(self.sock.send, unsent.buffers))

    def flush(self) -> bool:
        """Nothing is ever held back."""
        return False

    def read_into(self, memory: memoryview) -> int:
        """Read what is there; 0 at the end of the connection."""
        return self.sock.recv_into(memory)

    def is_writable(self, patience: float) -> bool:
        """Wait in a thread until something can be written."""
        descriptor = self.sock.fileno()
        if sys.platform != "win32" and descriptor >= 0 and hasattr(select, "poll"):
            poller = select.poll()
            poller.register(descriptor, select.POLLOUT)
            return bool(poller.poll(patience * 1000))
        return False

    def shut(self) -> None:
        """End the connection, and wake whoever waits for it."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptor back."""
        if self.sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self.sock)
            self.sock.close()


class Outbound:
    """The writing half of a link.

    Args:
        wire: The connection.
        loop: The loop of the link.
        mutex: The link's.
        begun: Called with the number of a request before the connection gets its first byte.
        taken_back: Called with it if the connection did not take that byte.
        failed: Called in the loop or a thread, without the mutex, when writing has failed.
        stuck: Called in the loop when something waits for the socket to take more.
        relieved: Called in the loop when there is room again after :meth:`is_full` was true.
        capacity: How many bytes may wait before this counts as full.

    Attributes:
        may_be_full: Whether :meth:`is_full` is worth asking; read without the mutex. Always true while that is.
        held: Whether what is in the queue waits for what comes after it; see :meth:`flush`.
        fault: Why nothing is written any more, None as long as all is well.
        error: The exception that nobody foresaw, if that is why.
        volume: How many bytes were to be written so far.
    """

    def __init__(
        self,
        wire: Wire,
        loop: Loop,
        mutex: threading.Lock,
        *,
        begun: Callable[[int], object],
        taken_back: Callable[[int], object],
        failed: Callable[[], object],
        stuck: Callable[[], object],
        resume_writing: Callable[[], object] = lambda: None,
        capacity: int = 64 << 20,
    ) -> None:
        self._wire = wire
        self._loop = loop
        self._mutex = mutex
        self._begun = begun
        self._taken_back = taken_back
        self._failed = failed
        self._stuck = stuck
        self._relieved = resume_writing
        self._capacity = capacity
        # How large a message may be that need not go into the queue; less than any once the link has ended.
        self._most_alone = min(FULL - 1, capacity)
        self._found_full = False
        self.may_be_full: bool = False  # an attribute, since each call looks at it several times
        self.fault: str | None = None
        self.error: Exception | None = None
        self.volume: int = 0
        self._queue: deque[Unsent] = deque()
        self._size = 0
        self._excess = 0  # bytes of short messages that were added while there was no room
        self._wrote = 0.0
        self.held: bool = False
        self._watched = False  # for that, by the loop
        self._flushed_soon = False  # by the loop, when its tasks have had their turn
        self._waiting = False  # for the socket to take more; then one writes, and nobody else
        self._ended = False
        self._cut = False  # in the midst of a message
        self._progress = 0.0
        self._wake_writer = trio.Event()
        self._wake_watcher = trio.Event()

    @property
    def size(self) -> int:
        """How many bytes wait to be written."""
        return self._size

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be written."""
        return not self._queue

    def is_full(self) -> bool:
        """Whether too many bytes wait. After True, ``resume_writing`` is called when half of them are gone."""
        if self._size > self._capacity:
            self._found_full = True
        self.may_be_full = self._found_full
        return self._found_full

    def stalled_since(self) -> float | None:
        """Since when nothing has been taken of what waits, as monotonic time; None if nothing waits for the socket."""
        return self._progress if self._waiting else None

    # -- the loop's part

    async def run(self) -> None:
        """Write what others leave to the loop, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_rest)
            nursery.start_soon(self._write_held)

    async def _write_rest(self) -> None:
        while True:
            await self._wake_writer.wait()
            try:
                await trio.lowlevel.wait_writable(self._wire.sock)
            except (trio.ClosedResourceError, OSError):  # this side has ended the link
                return
            with self._mutex:
                if not self.write_queue():
                    self._wake_writer = trio.Event()
            self._tell_fault()

    async def _write_held(self) -> None:
        # For threads that say much and then neither wait for an answer nor say more. As long as they go on, they write
        # by themselves: telling the loop each time would take the interpreter away from them.
        while True:
            await self._wake_watcher.wait()
            self._wake_watcher = trio.Event()
            while self.held:
                self.flush()
                await trio.sleep(_BURST)
            self._watched = False
            self.flush()

    def _writer_needed(self) -> None:
        self._wake_writer.set()
        self._stuck()

    def _flush_soon(self) -> None:
        self._flushed_soon = False  # on the loop, as whoever sets it: what is held from now on asks again
        self.flush()

    def _watcher_needed(self) -> None:
        self._wake_watcher.set()

    # -- without the mutex

    def flush(self, *, patient: bool = True) -> None:
        """Write what was held. Without the mutex.

        Args:
            patient: Whether this thread may go on writing as long as the other side keeps up.
        """
        if self.held:
            with self._mutex:
                self.held = False
                rest = not self._waiting and self.write_queue()
            if rest:  # what is held is small, and nobody's memory
                self._go_on(patient and not self._loop.is_here())
            self._tell_fault()

    def settle(self, left: Unsent | None, *, patient: bool = True) -> None:
        """See to what :meth:`write` has left, if it has, and to its fault. Without the mutex.

        When this returns, nothing is written any more from the memory of the values that were sent.

        Args:
            left: What :meth:`write` returned.
            patient: Whether this thread may go on writing as long as the other side keeps up.
        """
        if left is not None:
            try:
                if not left.behind:
                    self._go_on(patient and not self._loop.is_here())
            finally:  # also after Ctrl-C: the message goes out whole all the same
                self._own(left)
        self._tell_fault()

    def _go_on(self, patient: bool) -> None:
        # The loop has other things to do, and would be slower.
        over = False
        try:
            end = time.monotonic() + _LONGEST + self._size / _PACE
            while not over and patient and self._size > _LARGE:
                if not self._wire.is_writable(_MOMENT + self._size / _COPYING):
                    break
                with self._mutex:
                    over = not self.write_queue()
                patient = time.monotonic() < end
        finally:
            if not over:
                self._loop.now_or_soon(self._writer_needed)

    def _own(self, left: Unsent) -> None:
        # The loop, or another thread, may be writing from this memory meanwhile. It does so with the mutex, and finds
        # either the sender's memory, which does not change before this returns, or the copy. Copying takes
        # milliseconds, for which nobody is to wait.
        with self._mutex:
            borrowed = left.borrowed()
        try:
            copies = [bytes(view) for view in borrowed]
        except MemoryError:
            size = sum(map(len, borrowed))
            self.fault = self.fault or f"there is no memory for {size} bytes that it has not read yet"
            return
        with self._mutex:
            for view, copied in zip(borrowed, copies, strict=True):
                left.exchange(view, copied)

    def _tell_fault(self) -> None:
        if self.fault is not None:
            self._failed()

    # -- with the mutex

    def write(self, buffers: list[Buffer], number: int | None = None, *, soon: bool = False) -> Unsent | None:
        """Write a message.

        Args:
            buffers: The message.
            number: The request that it is, None if it is something else.
            soon: Whether it may be held.

        Returns:
            What is left for the caller to give to :meth:`settle`, None if there is nothing.
        """
        if self.fault is not None:
            return None
        now = time.monotonic()
        size = len(buffers[0]) if len(buffers) == 1 else FULL
        if (
            size > self._most_alone
            or self._queue
            or self._waiting
            or (soon and now - self._wrote < _BURST)
            or (put_one := self._wire.put_one) is None
        ):
            return self._write_behind(buffers, number, soon)
        # Fast path, must equal `_write_behind`: one small message that nothing is in front of, as nearly all are. It is
        # in the queue meanwhile, so that an interrupt loses nothing. Where the socket does not take all of it, the
        # queue is as it would be.
        entry = Unsent(buffers, number, size)
        counts = entry.counts
        self._queue.append(entry)
        self._size += size
        self.volume += size
        self.held = False
        self._wrote = now
        try:
            if number is not None:
                self._begun(number)
            put_one(entry)
        except Exception as error:
            self._stop_writing(error)
        finally:
            if number is not None and not counts:
                self._taken_back(number)
        if not counts:
            self._progress = now if self._waiting else 0.0
            return entry if self._waiting else None
        if counts[0] < size:
            return entry if self.write_queue() else None
        self._queue.popleft()
        self._size -= size
        return None

    def _write_behind(self, buffers: list[Buffer], number: int | None, soon: bool) -> Unsent | None:
        if not buffers or self._ended:
            return None
        entry = self._append(buffers, number, total_size(buffers))
        if soon and self._hold():
            return None
        if self._waiting:
            entry.behind = True
            return entry if len(buffers) > 1 else None
        return entry if self.write_queue() else None

    def hold(self, buffers: list[Buffer], size: int) -> None:
        """Put a message into the queue; whoever calls this sees to it that :meth:`flush` is called soon.

        Args:
            buffers: The message, in memory that nobody changes.
            size: Bytes in all, fewer than :data:`FULL`.
        """
        if not self._ended and self.fault is None:
            self._append(buffers, None, size)
            self.held = True

    def _append(self, buffers: list[Buffer], number: int | None, size: int) -> Unsent:
        queue = self._queue
        if not (queue and queue[-1].add(buffers, number, size)):
            queue.append(Unsent(buffers, number, size))
        self._size += size
        self.volume += size
        if self._size > self._capacity:
            self.may_be_full = True
            if size < FULL:
                self._count_excess(size)
        return queue[-1]

    def _count_excess(self, size: int) -> None:
        # Results, calls and signals wait or are dropped when the link is full. All else is short, and goes on: answers
        # to who asks for locks, descriptions, or what does not exist. Who reads a little now and then could ask for
        # ever.
        self._excess += size
        if self._excess > self._capacity and self.fault is None:
            self.fault = f"it asks for much more than it reads: {self._size} bytes wait"

    def write_from_anywhere(self, buffers: list[Buffer]) -> None:
        """Write a message, and leave the rest to the loop if the socket does not take all of it."""
        if self.write(buffers) is not None:
            self._loop.now_or_soon(self._writer_needed)

    def _hold(self) -> bool:
        if self._size >= FULL or time.monotonic() - self._wrote >= _BURST:
            return False
        # The loop looks at these two without the mutex, in the other order: one of us sees what the other has set.
        self.held = True
        if self._loop.is_here():
            if not self._flushed_soon:
                self._flushed_soon = True
                self._loop.soon(self._flush_soon)  # when all tasks that can run now have had their turn
        elif not self._watched:
            self._watched = True
            self._loop.soon(self._watcher_needed)
        return True

    def write_queue(self) -> bool:
        """Write what waits; True if something is left for when the socket takes more."""
        queue = self._queue
        self.held = False
        self._wrote = time.monotonic()
        try:
            while queue:
                entry = queue[0]
                if sum(entry.counts) < entry.size:
                    self._put(entry)
                    self._progress = 0.0
                else:
                    queue.popleft()
                    self._size -= entry.size
            self._waiting = self._wire.flush()
        except Exception as error:
            self._stop_writing(error)
        if self._found_full and self._size <= self._capacity // 2:
            self._found_full = self.may_be_full = False
            self._loop.soon(self._relieved)
        if self._excess and self._size <= self._capacity // 2:
            self._excess = 0
        if not self._waiting:
            self._progress = 0.0
        elif not self._progress:
            self._progress = time.monotonic()
        return self._waiting

    def _stop_writing(self, error: Exception) -> None:
        self._waiting = isinstance(error, BlockingIOError)
        if isinstance(error, OSError):
            if not self._waiting:
                self.fault = f"the connection was lost: {error.strerror or error}"
        else:  # nobody foresaw it; the link tells and ends, without the mutex
            self.error = self.error or error
            self.fault = f"a fault of this program while writing: {describe_error(error)}"

    def _put(self, entry: Unsent) -> None:
        # With the mutex, in whichever thread writes. The requests in it have begun before their first byte is out.
        # Otherwise an answer could come to one that has not, or one could be taken out of the queue that the other side
        # has seen, if whoever writes is interrupted in between.
        waiting = entry.not_begun()
        for number in waiting:
            self._begun(number)
        try:
            self._wire.put(entry)
        finally:
            if waiting and sum(entry.counts) < entry.size:
                for number in entry.not_begun():
                    self._taken_back(number)

    def pulse(self, beat: Buffer) -> None:
        """Write something, on behalf of a loop that is blocked: what waits already, or a sign of life."""
        if self._queue:
            if self.write_queue():
                self._loop.soon(self._writer_needed)
        else:
            self.write_from_anywhere([beat])

    def remove(self, number: int) -> None:
        """Take a request out of the queue, if nothing of it has been written."""
        for entry in self._queue:
            entry.remove(number)
        self._queue = deque(entry for entry in self._queue if entry.size)
        self._size = sum(entry.size for entry in self._queue)

    def end(self) -> None:
        """The link is lost: what has not gone out never will, since its senders are told so."""
        self._cut = self._cut or bool(self._queue and self._queue[0].counts)
        self._ended = True
        self._most_alone = -1
        self.held = False
        if self._found_full:
            self._found_full = self.may_be_full = False
            self._loop.soon(self._relieved)
        self._queue.clear()
        self._size = 0

    def write_last(self, buffers: list[Buffer]) -> None:
        """Write the last words of the link, at once or not at all: the other side may not read any more."""
        self.end()
        last = Unsent(buffers)
        if last.size and not self._cut and self.fault is None:  # behind half a message they would be junk
            with suppress(OSError):
                self._wire.put(last)
                self._wire.flush()

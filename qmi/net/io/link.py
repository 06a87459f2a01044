"""One link: a :class:`~qmi.net.protocol.connection.Connection` driven over one connection.

Whoever sends writes to the socket itself (:mod:`qmi.net.io.transport`). One task in the loop reads, another one watches
the time, a third one writes what was left. Whoever waits in a thread for what comes next reads for itself
(:mod:`.reader_handoff`); in a rush, threads read all links that are in it (:mod:`.rush`). What comes in goes to the
link's :class:`~.receivers.Owner`, and answers to the :class:`~.receivers.Sink` of their request.

The *mutex* guards the connection and what waits to be written. Any thread takes it, for as long as a packet is made or
handled and the socket takes bytes without waiting; under it nobody is called but the wire, and no user's code runs.
Calls, answers and signals are encoded before it is taken. Events are told after it was given back, by the one who reads
(the loop, or the thread that has the right to read): one at a time, so that their order is that of the bytes. The loss
of the link is told by the loop alone, perhaps while a thread still tells of what came before it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import ParamSpec

import trio
from tricycle import open_service_nursery

from qmi.messages import Call, Reply, Request, Signal
from qmi.net.codec import Encoded
from qmi.net.io.capacity import NoRoomException, Room
from qmi.net.io.delivery import Delivery
from qmi.net.io.failures import Failures
from qmi.net.io.fan_out import Frame, Publication
from qmi.net.io.large_messages import LargeMessages
from qmi.net.io.link_quota import machine_of
from qmi.net.io.reader_handoff import PATIENT, PAUSE, ReaderHandoff
from qmi.net.io.receivers import Owner, Sink, is_for_the_loop
from qmi.net.io.rush import Reader, RushReader
from qmi.net.io.transport import Outbound, Wire
from qmi.net.limits import Buffer
from qmi.net.protocol.bounds import describe_error
from qmi.net.protocol.connection import HEARTBEAT, PING, Connection, Packet
from qmi.net.protocol.events import Connected, Event, LargeFrameReceived, PeerLost, ReplyReceived, RequestReceived
from qmi.net.protocol.handshake import Hello
from qmi.net.protocol.link_ends import FAULT, LossKind
from qmi.net.protocol.requests import SMALL, describe, not_delivered
from qmi.runtime.doorbell import Idler
from qmi.runtime.forks import abandon_in_child
from qmi.runtime.sigint import PROGRAM_HANDLERS
from qmi.runtime.wakeup import Loop

_logger = logging.getLogger("qmi.core.messaging")

_TURN = 0.002
_RUSH = 16
_RUSH_TIME = 0.05
"""So many messages within so many seconds, and a thread reads them instead of the loop."""
_LEND_AGAIN = 1.0
"""After so many seconds it is tried again to have a thread read, if there was none left."""
_NEW_DEADLINES = (Connected, PeerLost)

_P = ParamSpec("_P")


class Link:
    """One link to another context.

    Args:
        wire: The connection.
        connection: The protocol, fresh.
        owner: Gets what comes in.
        loop: The loop that :meth:`run` runs in.
        where: Address of the other side, for people.
        max_unsent: How many bytes may wait to be written before senders have to wait, and signals are dropped.
        unsent_timeout: How long the other side may take nothing of what waits, in seconds.
        readers: Has links read by threads when there is a rush; None: the loop alone reads.
        failures: Counts and tells what nobody foresaw.
        decoders: How many threads may decode large messages beside the loop; None: one for this link.

    Attributes:
        is_left_to_reader: Whether the link has ended while a thread still read it, which closes the socket when it
            leaves; else the socket is closed, or whoever made the link may close it.
    """

    def __init__(
        self,
        wire: Wire,
        connection: Connection,
        owner: Owner[Link],
        loop: Loop,
        *,
        where: str,
        max_unsent: int = 64 << 20,
        unsent_timeout: float = 10.0,
        readers: RushReader | None = None,
        failures: Failures | None = None,
        decoders: trio.CapacityLimiter | None = None,
    ) -> None:
        self.where = where
        self.machine: str = machine_of(where)
        self.ended: trio.Event = trio.Event()
        self.is_left_to_reader: bool = False
        self._wire = wire
        self._connection = connection
        self._requests = connection.requests
        self.loop = loop
        self._unsent_timeout = unsent_timeout
        self._readers = readers
        self._mutex = threading.Lock()
        self._out = Outbound(
            wire,
            loop,
            self._mutex,
            begun=connection.handed_over,
            taken_back=connection.taken_back,
            failed=lambda: loop.now_or_soon(self._check_fault),
            stuck=lambda: self._wake_timer.set(),
            resume_writing=self._relieved,
            capacity=max_unsent,
        )
        self.room: Room = Room(lambda: self._connection.lacks_room or self.is_full())
        self._put_off = False
        self._large = LargeMessages(connection, self._mutex, self._decoded, decoders or trio.CapacityLimiter(1))
        connection.defers_large = True
        self.dropped_signals: int = 0
        self._dropping = False
        self._awaited = 0.0
        self._wake_timer = trio.Event()
        self._heard = trio.Event()
        self._probes = 0
        self._received = 0
        # Which all links of a context have in common; hashing them takes longer.
        self._encodes_like = id(connection.limits)
        self._delivery: Delivery[Link] = Delivery(self, owner, self._note_fault)
        self._failures = failures or Failures()
        self._unlogged_fault = [FAULT]
        self._scope = trio.CancelScope()
        self._lend_again = 0.0
        self._standing_by = trio.CancelScope()
        self._handoff = ReaderHandoff(self, None if readers is None else readers.watch)
        self._reader: Reader = self._handoff
        self._left_rush = trio.Event()
        abandon_in_child(self)

    def encode_apart(self, chain_there: Callable[[tuple[str, ...]], tuple[str, ...]]) -> None:
        """Nothing that is sent here is encoded as for another link: names differ.

        Args:
            chain_there: Gives the objects that wait for a call the names that they have at the other side.
        """
        self._encodes_like = id(self)
        self._connection.chain_there = chain_there

    def abandon(self) -> None:
        """This is a forked child: the link is the parent's. Whoever waits here for an answer gets none."""
        self._out.fault = self._out.fault or "this process was forked from the one that has the link"
        self._connection.is_ready = False
        self._delivery.abandon()

    def __repr__(self) -> str:
        return f"<link to {self.title}>"

    @property
    def title(self) -> str:
        """What messages call the other side."""
        return self._connection.title

    @property
    def hello(self) -> Hello | None:
        """What the other side said of itself, once it did."""
        return self._connection.theirs

    @property
    def is_up(self) -> bool:
        """Whether requests can be sent."""
        return self._connection.is_ready and self._out.fault is None

    def explain_silence(self) -> str:
        """When the other side was last heard from, for the message of a timeout."""
        return f"{self.title} was heard from {max(time.monotonic() - self._connection.last_heard, 0.0):.1f} s ago"

    @property
    def loss(self) -> PeerLost | None:
        """Why the link is gone, None while it is there."""
        return self._connection.lost

    @property
    def open_requests(self) -> int:
        """How many requests wait for an answer of the other side."""
        return self._requests.asked_count

    @property
    def is_amid(self) -> bool:
        """Whether a part of a message has come, so that the rest is under way."""
        return self._connection.is_amid

    @property
    def is_for_threads(self) -> bool:
        """Whether it is up, and no tasks of the loop wait for answers, nor did a moment ago."""
        if not self._connection.is_ready or self._out.fault is not None:
            return False
        return not self._awaited or time.monotonic() - self._awaited >= _RUSH_TIME

    def await_here(self) -> None:
        """A task is about to wait for an answer, which a thread that reads could only hand on to its loop."""
        self._awaited = time.monotonic()
        if self._reader.stays_shut:
            self._reader.forgo()

    # -- the life of the link, on the loop

    async def run(self) -> None:
        """Drive the link until it is lost; if cancelled, it is closed in good order.

        No exception leaves a link but those that end the program or the context: what nobody foresaw ends it, with one
        line in the log.
        """
        try:
            # In a service nursery the body is cancelled first: its last words still go out while the tasks run.
            with self._scope:
                async with open_service_nursery() as nursery:
                    nursery.start_soon(self._contain, "writing", self._out.run)
                    nursery.start_soon(self._contain, "watching the time", self._watch_time)
                    nursery.start_soon(self._contain, "reading", self._read, True)
                    await self._contain("closing", self._close_if_cancelled)
        finally:
            self._end()

    async def _contain(self, doing: str, part: Callable[[], Awaitable[None]], is_last: bool = False) -> None:
        # One part of the link: if it fails, the link ends, and nothing else does.
        try:
            await part()
        except* Exception as group:
            self.fault(doing, group)
        if is_last:
            self._scope.cancel()

    def _end(self) -> None:
        # Each step is taken whatever becomes of the others.
        for step in (partial(self.close, "the context is stopping"), self._retire, self._finish):
            try:
                step()
            except Exception as error:  # as everywhere in a link
                self._note_fault("ending", error)
        self.ended.set()

    def _retire(self) -> None:
        self.is_left_to_reader = not self._handoff.retire()

    def _finish(self) -> None:
        self._delivery.finish(self._connection.lost or PeerLost(LossKind.FAULT, self._out.fault or FAULT))

    # -- faults that nobody foresaw

    def fault(self, doing: str, error: Exception) -> None:
        """End the link by an exception that nobody foresaw. From any thread; never raises.

        Args:
            doing: What this side was doing, after "while".
            error: The exception.
        """
        self._note_fault(doing, error)
        with suppress(Exception):  # the loop has no memory for it; whoever reads sees the fault all the same
            self.loop.now_or_soon(self._end_by_fault)

    def _note_fault(self, doing: str, error: Exception) -> None:
        # Several parts may fail by one cause, in the loop and in threads: one of them tells, since `pop` is one step.
        with suppress(IndexError):
            self._unlogged_fault.pop()
            self._failures.fault("link", f"The link to {self.title} ends by {FAULT} while {doing}", error)
        if self._out.fault is None:
            self._out.fault = f"{FAULT} while {doing}: {describe_error(error)}"

    def _end_by_fault(self) -> None:
        try:
            self._check_fault()
        except Exception as error:  # not even that works: the reader is ended by force, and `_end` does the rest
            self._note_fault("ending", error)
            self._scope.cancel()
            with suppress(Exception):
                self._wire.shut()

    async def _close_if_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.close("the context is stopping")  # wakes a thread that reads

    async def _read(self) -> None:
        self._send_own(self._connection.data_to_send)
        busy_since = rush_since = time.monotonic()
        reads = 0
        while self._connection.lost is None:
            more, events = self._receive()
            self._dispatch(events)
            del events  # what came must not live until something else comes
            if self._connection.deferred:
                await self._decode_large()
            if self._out.fault is not None:
                self._check_fault()
            if more:
                if time.monotonic() - busy_since > _TURN:
                    # Somebody who always has something to say must not keep the loop from everybody else.
                    await trio.lowlevel.checkpoint()
                    busy_since = time.monotonic()
                continue
            if self._connection.lost is not None or not await self._wait_turn():
                return
            busy_since = time.monotonic()
            reads += 1
            if reads == _RUSH:
                if busy_since - rush_since < _RUSH_TIME and not await self._lend():
                    return
                reads, rush_since = 0, time.monotonic()

    async def _wait_turn(self) -> bool:
        # Leave the right to read to others, until something comes that none of them reads; False if the link has ended.
        if self._handoff.is_wanted:
            self._open_gate()
        self._handoff.leave()
        return await self._stand_by() and await self._take_turn()

    async def _take_turn(self) -> bool:
        handoff = self._handoff
        in_vain = 0
        while not handoff.take():
            if self._connection.lost is not None:
                return False
            in_vain += 1
            if in_vain > PATIENT:
                await trio.sleep(PAUSE)
            if not await self._stand_by():
                return False
        if handoff.rest:
            rest, handoff.rest = handoff.rest, []
            self._dispatch(rest)
            del rest
            await self._decode_large()
        self._check_fault()
        return True

    def _open_gate(self) -> bool:
        if self._readers is None or time.monotonic() < self._lend_again:
            return False
        try:
            return self._handoff.open()
        except OSError as error:  # no descriptor is left: the loop reads on
            self._lacks("no descriptor", "no descriptor with which threads could read", error)
            return False

    async def _stand_by(self) -> bool:
        handoff = self._handoff
        try:
            if handoff.gate is None:
                await trio.lowlevel.wait_readable(self._wire.sock)
                return True
            with trio.CancelScope() as self._standing_by:
                # Set before call_loop() is called, and cleared before the right is taken: none is missed.
                if not handoff.is_called:
                    await trio.lowlevel.wait_readable(handoff.gate)
            handoff.is_called = False
        except (trio.ClosedResourceError, OSError):  # this side has ended the link
            return False
        return True

    def call_loop(self) -> None:
        """Have the loop look at what a thread has left to it. From any thread."""
        self.loop.soon(lambda: self._standing_by.cancel())

    def _receive(self) -> tuple[bool, list[Event]]:
        # Read once; whether there may be more, and what it was.
        connection = self._connection
        try:
            with self._mutex:
                memory = connection.get_buffer()
                size = self._wire.read_into(memory)
                self._received += size
                now = time.monotonic()
                events = connection.buffer_updated(size, now) if size else connection.receive_eof(now)
                if connection.outbox or connection.lost is not None:
                    self._write_own()
        except BlockingIOError:
            return False, []
        except OSError as error:
            self._out.fault = self._out.fault or f"the connection was lost: {error.strerror or error}"
            return False, []
        except Exception as error:  # here, since a thread may be reading that belongs to somebody else
            self.fault("reading", error)
            return False, []
        if self._probes:
            self.loop.now_or_soon(self._tell_probes)
        if self._put_off:
            self._tell_room()
        return size == len(memory) or self._wire.may_hold_more, events

    async def _decode_large(self) -> None:
        while self._connection.large_frame is not None:
            self._dispatch(await self._large.decode_next())

    def _decoded(self, found: Packet | Exception) -> list[Event]:
        with self._mutex:
            events = self._connection.decoded(found, time.monotonic())
            self._write_own()
        if self._put_off:
            self._tell_room()
        return events

    def _tell_room(self) -> None:
        # Who was put off has set both with the mutex, and registered before looking again.
        if not self._connection.lacks_room:
            self._put_off = False
            self.room.tell()

    async def _lend(self) -> bool:
        # Who waits for links alone answers sooner than a loop, which waits for everything. False if the link has ended.
        if self._readers is None or not self.is_for_threads or not self._open_gate():
            return True
        self._left_rush = trio.Event()
        try:
            self._readers.join(self)
        except (RuntimeError, OSError, MemoryError) as error:  # the system has no thread left: the loop reads on
            self._lacks("no thread", "no thread to read", error)
            return await self._take_turn()
        with trio.CancelScope(shield=True):  # the end of the connection ends it
            await self._left_rush.wait()
        return await self._take_turn()

    def join_rush(self, reader: Reader) -> None:
        """The right to read is the rush's; see :class:`~qmi.net.io.rush.Member`."""
        self._handoff.lend()
        self._reader = reader

    def leave_rush(self, rest: list[Event]) -> None:
        """The right to read is the loop's again; see :class:`~qmi.net.io.rush.Member`."""
        self._reader = self._handoff
        self._handoff.hand_back(rest)
        self.loop.soon(self._left_rush.set)

    def _lacks(self, what: str, text: str, error: Exception) -> None:
        self._lend_again = time.monotonic() + _LEND_AGAIN
        self._failures.count(f"link: {what}")
        self._failures.report(
            what, logging.WARNING, "There is %s the link to %s with, the loop goes on: %s",
            text, self.title, describe_error(error),
        )  # fmt: skip

    def free(self) -> None:
        """Give the socket back; see :class:`~qmi.net.io.reader_handoff.Source`."""
        if self.loop.is_here():
            self._wire.close()
        elif not self.loop.soon(self._wire.close):
            self._wire.sock.close()

    @property
    def behind(self) -> int:
        """How many requests of the other side have no answer yet. Without the mutex: for a guess."""
        return len(self._requests.being_served)

    @property
    def volume(self) -> int:
        """How many bytes have come or were given to be written. Without the mutex: for a guess, see `_SPIN`."""
        return self._received + self._out.volume

    def descriptor(self) -> int:
        """The socket, for who waits for it; negative if it is closed."""
        return self._wire.sock.fileno()

    def read_once(self) -> tuple[bool, list[Event]]:
        """Read in a thread that has the right to; see :class:`~qmi.net.io.reader_handoff.Source`."""
        more, events = self._receive()
        deliver = self._delivery.deliver
        while True:
            rest = iter(events)
            for event in rest:
                kind = type(event)
                is_usual = kind is ReplyReceived or (kind is RequestReceived and type(event.message) is Call)  # type: ignore[union-attr]
                if not is_usual and is_for_the_loop(event):
                    return more, [event, *rest]
                deliver(event)
            if not self._connection.deferred or (frame := self._connection.large_frame) is None:
                return more, []
            if self._connection.has_very_large_frame:
                return more, [LargeFrameReceived()]
            events = self._decoded(self._large.decode(frame))

    def drive_io(self, done: Callable[[], object], timeout: float | None, *, reads: bool, asked: bool = False) -> None:
        """Help a caller that waits for an answer: write what was held back, and read.

        Args:
            done: Whether the answer is there.
            timeout: For how long to read at most, in seconds.
            reads: Whether the caller may read, if nobody else does.
            asked: As :meth:`~qmi.runtime.sigint.ProgramHandlers.may_run_here` has it.
        """
        if PROGRAM_HANDLERS.may_run_here(asked=asked):
            if self._out.held or self._reader.stays_shut:
                self.loop.soon(self._take_over)
            return
        try:
            if self._out.held:
                self._out.flush()
            self._reader.drive_io(done, timeout) if reads else self._reader.forgo()
        except Exception as error:  # the caller has nothing to do with it; it learns that the link is lost
            self.fault("reading for a caller", error)

    def _take_over(self) -> None:
        # The loop writes and reads for the main thread, and cannot be interrupted midway.
        self._out.flush()
        self._reader.forgo()

    def idle(self, thread: Idler) -> None:
        """Wait for the next message, for a while at most; for a thread that has just answered one."""
        try:
            if self._out.held:
                self._out.flush()
            self._reader.idle(thread)
        except Exception as error:  # the object's thread has nothing to do with it
            self.fault("reading between two calls", error)

    async def _watch_time(self) -> None:
        while self._connection.lost is None:
            self._wake_timer = trio.Event()
            now = time.monotonic()
            with self._mutex:
                events = self._connection.tick(now)
                self._write_own()
                due = self._connection.next_deadline()
                stalled = self._out.stalled_since()
            self._dispatch(events)
            self._check_fault()
            if stalled is not None:
                patience = stalled + self._unsent_timeout - now
                due = min(due, now + patience)
                if patience <= 0:
                    self._handle(
                        self._connection.lose,
                        f"it does not read: nothing could be written for {self._unsent_timeout:g} s",
                    )
            with trio.move_on_after(max(due - now, 0.0)):
                await self._wake_timer.wait()
        self._hang_up()  # wakes the reader

    def _dispatch(self, events: list[Event]) -> None:
        for event in events:
            if type(event) is PeerLost and event.error is not None:
                self._note_fault(event.reason.removeprefix(f"{FAULT} while "), event.error)
            self._delivery.deliver(event)
            if isinstance(event, _NEW_DEADLINES):  # the timer has others to wait for, or none
                self._wake_timer.set()
                self.room.tell()
                self._large.wake()

    def _handle(self, step: Callable[_P, list[Event]], *args: _P.args, **kwargs: _P.kwargs) -> None:
        with self._mutex:
            events = step(*args, **kwargs)
            self._write_own()
        self._dispatch(events)

    def _check_fault(self) -> None:
        if self._out.error is not None:
            self._note_fault("writing", self._out.error)
        if self._out.fault is not None and self._connection.lost is None:
            kind = LossKind.DISCONNECTED if self._unlogged_fault else LossKind.FAULT
            self._handle(self._connection.lose, self._out.fault, kind)
            self._hang_up()

    # -- the handshake and the end, on the loop

    def accept(self) -> None:
        """Let the other side in."""
        self._handle(self._connection.accept, time.monotonic())
        self._check_fault()

    def refuse(self, reason: str) -> None:
        """Do not let the other side in."""
        self._handle(self._connection.refuse, reason)
        self._hang_up()

    def close(self, reason: str = "closed") -> None:
        """End the link; the other side learns the reason."""
        self._out.flush()
        self._handle(self._connection.close, reason)
        self._hang_up()

    def _hang_up(self) -> None:
        # The descriptor is closed when nobody can be using it any more.
        with self._mutex:
            self._out.write_last(self._connection.data_to_send())
            self._wire.shut()

    async def probe(self, patience: float) -> bool:
        """Whether the other side gives a sign of life within so many seconds."""
        heard = self._heard
        self._probes += 1
        self._send_own(lambda: [PING])
        with trio.move_on_after(patience):
            await heard.wait()
        self._probes -= 1
        return heard.is_set() and self._connection.lost is None

    def _tell_probes(self) -> None:
        self._heard.set()
        self._heard = trio.Event()

    # -- sending, from any thread

    @trio.lowlevel.enable_ki_protection
    def send_request(self, message: Request, sink: Sink, *, soon: bool = False, encoded: Encoded | None = None) -> None:
        """Send a request; the sink gets its number, and then its answer.

        Args:
            message: The request.
            sink: Gets the answer.
            soon: Whether it may wait for others that go out together with it, if others are open already.
            encoded: The message, if it was encoded before.

        Raises:
            QMI_ValueNotSendableException: If an argument cannot be sent.
            NoRoomException: If too much waits to be written; see :attr:`room`.
            QMI_NotDeliveredException: If the link is gone, or too many requests are open.
        """
        out, connection = self._out, self._connection
        encoded = encoded or connection.encode_request(message)
        cost = 0 if len(encoded[0]) <= SMALL and not encoded[1] else connection.cost_of(encoded)
        with self._mutex:
            # Only calls can be large. What locks, unlocks or asks is never held up.
            is_full = out.may_be_full and type(message) is Call and connection.is_ready and out.is_full()
            if is_full or (cost and not connection.has_room_for(cost)):
                self._put_off = self._put_off or not is_full
                raise NoRoomException(str(not_delivered(describe(message), self.title, self.explain_full())), encoded)
            number = self._requests.last_asked + 1
            try:
                _, buffers = connection.send_request(message, encoded, cost)
                sink.number = number
                self._delivery.sinks[number] = sink
                left = out.write(buffers, number, soon=soon and self._requests.asked_count > 1)
            except BaseException:  # an interrupt that came by a handler of the program: nobody will wait for the answer
                if self._requests.last_asked == number:
                    out.write(self._cancel(number))
                raise
        if left is not None or out.fault is not None:
            out.settle(left, patient=not soon)

    def encode_request(self, message: Request) -> Encoded:
        """Encode a message that is sent later; what it was made of may change meanwhile.

        Raises:
            QMI_ValueNotSendableException: If an argument cannot be sent.
        """
        payload, segments = self._connection.encode_request(message)
        return Encoded(payload, [memoryview(bytes(segment)) for segment in segments])

    def is_full(self) -> bool:
        """Whether too much waits to be written; False once the link is gone. The owner hears when there is room."""
        if not self._out.may_be_full:
            return False
        with self._mutex:
            return self._connection.is_ready and self._out.is_full()

    def _relieved(self) -> None:
        if self._dropping:
            self._dropping = False
            _logger.warning("Signals go to %s again; %d were dropped so far", self.title, self.dropped_signals)
        self.room.tell()
        self._delivery.resume_writing()

    def cancel_request(self, number: int) -> None:
        """Give up a request, or leave its stream; its sink gets nothing more."""
        self._send_own(self._cancel, number)

    def _cancel(self, number: int) -> list[Buffer]:
        self._delivery.forget(number)
        buffers = self._connection.cancel_request(number)
        if not buffers:
            self._out.remove(number)
            if self._put_off:
                self.loop.soon(self._tell_room)
        return buffers

    def send_credit(self, number: int, count: int) -> None:
        """Allow the other side so many more items of a stream."""
        self._send_own(self._connection.send_credit, number, count)

    @trio.lowlevel.enable_ki_protection
    def send_signal(self, signal: Signal, publication: Publication | None = None) -> None:
        """Tell the other side of a signal. It is dropped, and counted, if too much waits to be written.

        Args:
            signal: The signal.
            publication: What links of the same context share that send this very signal: it is encoded once for all.

        Raises:
            QMI_ValueNotSendableException: If an argument cannot be sent.
            QMI_NotDeliveredException: If the link is gone.
        """
        out, connection = self._out, self._connection
        if out.may_be_full and self.is_full():
            self._drop_signal()
            return
        frames = {} if publication is None else publication.frames
        frame = frames.get(self._encodes_like)
        if frame is None:
            frame = frames[self._encodes_like] = Frame(connection.write_signal(signal))
        if publication is None or not publication.holds or not frame.is_small:
            # Who publishes keeps all other publishers waiting, and the loop with them: the rest is never this thread's.
            self._send_own(connection.send_signal, signal, frame.buffers, soon=True, patient=False)
            if publication is not None and not publication.holds:
                publication.links.append(self)
            return
        with self._mutex:
            if not connection.is_ready:
                connection.send_signal(signal, frame.buffers)  # raises
            out.hold(frame.buffers, frame.size)
        publication.links.append(self)
        publication.size = frame.size

    def write_held(self) -> None:
        """Write what it holds, if it does. Never waits, never raises."""
        try:
            if self._out.held and PROGRAM_HANDLERS.may_break_in():
                self.loop.soon(self._out.flush)
            elif self._out.held:
                self._out.flush(patient=False)
        except Exception as error:  # whoever publishes has other links
            self.fault("writing signals", error)

    def _drop_signal(self) -> None:
        self.dropped_signals += 1
        if not self._dropping:
            self._dropping = True
            _logger.warning("Signals to %s are dropped: %s", self.title, self.explain_full())

    def send_reply(self, number: int, reply: Reply) -> None:
        """Answer a request, or end a stream. It is never dropped: while :meth:`is_full`, no calls should be begun."""
        more = len(self._requests.being_served) > 1
        self._send_own(self._connection.send_reply, number, reply, self._connection.encode_reply(reply), soon=more)

    def open_stream(self, number: int) -> None:
        """Answer a request by a stream."""
        self._send_own(self._connection.open_stream, number)

    def credit(self, number: int) -> int:
        """How many items of a stream may be sent now."""
        with self._mutex:
            return self._connection.credit(number)

    def send_item(self, number: int, value: object) -> None:
        """Send the next item of a stream.

        Raises:
            QMI_ValueNotSendableException: If it cannot be sent.
        """
        self._send_own(self._connection.send_item, number, value)

    def end_stream(self, number: int) -> None:
        """End a stream after its last item."""
        self._send_own(self._connection.end_stream, number)

    def beat(self) -> None:
        """Give a sign of life on behalf of a loop that is blocked."""
        try:
            if self.is_up:
                with self._mutex:
                    self._out.pulse(HEARTBEAT)
                self._out.settle(None)
        except Exception as error:  # the thread that beats has other links
            self.fault("giving a sign of life", error)

    @trio.lowlevel.enable_ki_protection
    def _send_own(
        self, make: Callable[..., list[Buffer]], *args: object, soon: bool = False, patient: bool = True
    ) -> None:
        if PROGRAM_HANDLERS.may_break_in():
            self.loop.soon(self._say_now, make, args)
            return
        with self._mutex:
            left = self._out.write(make(*args), soon=soon)
        if left is not None or self._out.fault is not None:
            self._out.settle(left, patient=patient)

    def _say_now(self, make: Callable[..., list[Buffer]], args: tuple[object, ...]) -> None:
        with self._mutex:
            rest = self._out.write(make(*args))
        self._out.settle(rest)

    def _write_own(self) -> None:
        # What the protocol itself has to say; with the mutex, in which the link may just have been lost. The last words
        # are for `_hang_up`: what is written from now on must not take requests along that were "not delivered".
        if self._connection.lost is not None:
            self._out.end()
        elif self._connection.outbox:
            self._out.write_from_anywhere(self._connection.data_to_send())

    def explain_full(self) -> str:
        """What waits to be written, for messages."""
        if self._connection.lacks_room:
            limit = self._connection.limits.request_bytes >> 20
            return f"large requests that take up {limit} MiB in {self.title} have no answer yet"
        return f"{self._out.size / (1 << 20):.1f} MiB wait for {self.title} to read them"

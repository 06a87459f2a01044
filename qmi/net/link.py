"""One link: a :class:`~qmi.net.peer.Peer` driven over one connection.

Whoever sends writes to the socket itself, in its own thread; what the socket does not take at once is written by a
task in the loop. Another task reads, a third one watches the time. The link knows nothing of actors: what comes in
goes to its :class:`Owner`, and answers go to the :class:`Sink` of their request, both called on the loop.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Any, NamedTuple, Protocol

import trio

from qmi.bridge import Loop
from qmi.errors import QMI_NotDeliveredException
from qmi.messages import Failure, Reply, Request, Signal, Value
from qmi.net.events import (
    CancelReceived,
    Connected,
    CreditReceived,
    Event,
    HelloReceived,
    ItemReceived,
    LossKind,
    PeerLost,
    ReplyReceived,
    RequestReceived,
    SignalReceived,
    StreamEnded,
    StreamOpened,
)
from qmi.net.frames import Buffer, total_size
from qmi.net.handshake import Hello
from qmi.net.peer import PING, Peer
from qmi.net.wire import Wire

_logger = logging.getLogger("qmi.core.messaging")

_TURN = 0.002
_LAST_WORDS = 0.5


class Sink(Protocol):
    """Who gets the answer to a request. Called on the loop."""

    def reply(self, reply: Reply) -> None:
        """The answer, or the error that ended the request or its stream."""

    def stream_opened(self) -> None:
        """The answer is a stream."""

    def item(self, value: Any) -> None:
        """The next item of the stream."""

    def stream_ended(self) -> None:
        """The stream has no more items."""


class Owner(Protocol):
    """Who the link belongs to. Called on the loop."""

    def hello(self, link: Link, hello: Hello) -> None:
        """Somebody wants in; call ``accept`` or ``refuse`` of the link, now or later."""

    def connected(self, link: Link, hello: Hello) -> None:
        """The handshake is done."""

    def request(self, link: Link, number: int, message: Request) -> None:
        """The other side asks for something; answer exactly once."""

    def cancel(self, link: Link, number: int) -> None:
        """The other side does not wait for this any more; answer all the same."""

    def credit(self, link: Link, number: int) -> None:
        """A stream may go on."""

    def signal(self, link: Link, signal: Signal) -> None:
        """An object of the other side published something."""

    def lost(self, link: Link, loss: PeerLost) -> None:
        """The link is gone. The last call."""


class _Unsent(NamedTuple):
    number: int | None
    buffers: list[Buffer]


class Link:
    """One link to another context.

    Args:
        wire: The connection.
        peer: The protocol, fresh.
        owner: Gets what comes in.
        loop: The loop that :meth:`run` runs in.
        where: Address of the other side, for people.
        max_unsent: How many bytes may wait to be written before the other side counts as stalled.
        unsent_timeout: How long nothing of them may be taken, in seconds.
    """

    def __init__(
        self,
        wire: Wire,
        peer: Peer,
        owner: Owner,
        loop: Loop,
        *,
        where: str,
        max_unsent: int = 64 << 20,
        unsent_timeout: float = 10.0,
    ) -> None:
        self.where = where
        self.last_heard = 0.0
        self.ended = trio.Event()
        self._wire = wire
        self._peer = peer
        self._owner = owner
        self._loop = loop
        self._max_unsent = max_unsent
        self._unsent_timeout = unsent_timeout
        self._mutex = threading.Lock()
        self._unsent: deque[_Unsent] = deque()
        self._unsent_bytes = 0
        self._stalled_since = 0.0
        self._wake_writer = trio.Event()
        self._wake_timer = trio.Event()
        self._sinks: dict[int, Sink] = {}
        self._fault: str | None = None
        self.writes = 0

    def __repr__(self) -> str:
        return f"<link to {self.title}>"

    @property
    def title(self) -> str:
        """What messages call the other side."""
        return self._peer.title

    @property
    def hello(self) -> Hello | None:
        """What the other side said of itself, once it did."""
        return self._peer.theirs

    @property
    def is_up(self) -> bool:
        """Whether requests can be sent."""
        return self._peer.is_ready and self._fault is None

    @property
    def loss(self) -> PeerLost | None:
        """Why the link is gone, None while it is there."""
        return self._peer.lost

    @property
    def open_requests(self) -> int:
        """How many requests wait for an answer of the other side."""
        return self._peer.open_request_count

    # -- the life of the link, on the loop

    async def run(self) -> None:
        """Drive the link until it is lost; if cancelled, it is closed in good order."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_rest)
                nursery.start_soon(self._watch_time)
                self._flush()
                await self._read()
                nursery.cancel_scope.cancel()
        finally:
            self.close("the context is stopping")
            self._send_last_words()
            self._wire.close()
            self.ended.set()

    async def _read(self) -> None:
        busy_since = time.monotonic()
        while self._peer.lost is None:
            try:
                with self._mutex:
                    size = self._wire.read_into(self._peer.get_buffer())
                    now = trio.current_time()
                    events = self._peer.buffer_updated(size, now) if size else self._peer.receive_eof(now)
            except BlockingIOError:
                if not await self._wait_readable():
                    return
                busy_since = time.monotonic()
                continue
            except (OSError, trio.ClosedResourceError) as error:
                self._lose(f"the connection was lost: {getattr(error, 'strerror', None) or error}")
                return
            self.last_heard = now
            self._flush()
            self._dispatch(events)
            self._wake_timer.set()
            if time.monotonic() - busy_since > _TURN:
                # Somebody who always has something to say must not keep the loop from everybody else.
                await trio.lowlevel.checkpoint()
                busy_since = time.monotonic()

    async def _wait_readable(self) -> bool:
        try:
            await self._wire.wait_readable()
        except trio.ClosedResourceError:  # this side has ended the link
            return False
        return True

    async def _write_rest(self) -> None:
        while True:
            await self._wake_writer.wait()
            try:
                await self._wire.wait_writable()
            except trio.ClosedResourceError:  # this side has ended the link
                return
            with self._mutex:
                if not self._write_queue():
                    self._wake_writer = trio.Event()
            self._check_fault()

    async def _watch_time(self) -> None:
        while True:
            self._wake_timer = trio.Event()
            now = trio.current_time()
            with self._mutex:
                events = self._peer.tick(now)
                due = self._peer.next_deadline()
                patience = self._stalled_since + self._unsent_timeout - time.monotonic() if self._unsent else None
            self._flush()
            self._dispatch(events)
            if patience is not None:
                due = min(due, now + patience)
                if patience <= 0:
                    self._lose(f"it does not read: nothing could be written for {self._unsent_timeout:g} s")
            if self._peer.lost is not None:
                self._wire.close()  # wakes the reader
                return
            with trio.move_on_at(due):
                await self._wake_timer.wait()

    def _dispatch(self, events: list[Event]) -> None:
        for event in events:
            self._handle(event)

    def _handle(self, event: Event) -> None:
        if isinstance(event, ReplyReceived):
            if (sink := self._sinks.pop(event.number, None)) is not None:
                sink.reply(event.reply)
        elif isinstance(event, RequestReceived):
            self._owner.request(self, event.number, event.message)
        elif isinstance(event, SignalReceived):
            self._owner.signal(self, event.signal)
        elif isinstance(event, CancelReceived):
            self._owner.cancel(self, event.number)
        elif isinstance(event, CreditReceived):
            self._owner.credit(self, event.number)
        elif isinstance(event, StreamOpened | ItemReceived | StreamEnded):
            self._handle_stream(event)
        elif isinstance(event, HelloReceived):
            self._owner.hello(self, event.hello)
        elif isinstance(event, Connected):
            self._owner.connected(self, event.hello)
        else:
            self._owner.lost(self, event)

    def _handle_stream(self, event: StreamOpened | ItemReceived | StreamEnded) -> None:
        if isinstance(event, StreamEnded):
            if (sink := self._sinks.pop(event.number, None)) is not None:
                sink.stream_ended()
        elif (sink := self._sinks.get(event.number)) is not None:
            if isinstance(event, ItemReceived):
                sink.item(event.value)
            else:
                sink.stream_opened()

    def _lose(self, reason: str, kind: LossKind = LossKind.DISCONNECTED) -> None:
        with self._mutex:
            events = self._peer.lose(reason, kind)
        self._dispatch(events)

    def _check_fault(self) -> None:
        if self._fault is not None and self._peer.lost is None:
            self._lose(self._fault)
            self._wire.close()

    # -- the handshake and the end, on the loop

    def accept(self) -> None:
        """Let the other side in."""
        with self._mutex:
            events = self._peer.accept(trio.current_time())
        self._flush()
        self._dispatch(events)

    def refuse(self, reason: str) -> None:
        """Do not let the other side in."""
        with self._mutex:
            events = self._peer.refuse(reason)
        self._end_now(events)

    def close(self, reason: str = "closed") -> None:
        """End the link; the other side learns the reason."""
        with self._mutex:
            events = self._peer.close(reason)
        self._end_now(events)

    def _end_now(self, events: list[Event]) -> None:
        self._send_last_words()
        self._dispatch(events)
        self._wire.close()

    def _send_last_words(self) -> None:
        # At once or not at all: the other side may not read any more. Behind a half-written frame it would be junk.
        try:
            with self._mutex:
                data = self._peer.data_to_send()
                if data and not self._unsent and self._fault is None:
                    self._wire.write(data)
        except OSError:
            pass

    async def probe(self, patience: float) -> bool:
        """Whether the other side gives a sign of life within so many seconds."""
        before = self.last_heard
        with self._mutex:
            self._write(None, [PING])
        with trio.move_on_after(patience):
            while self.last_heard == before and self._peer.lost is None:
                heard = self._wake_timer
                await heard.wait()
                await trio.lowlevel.checkpoint()
        return self.last_heard != before and self._peer.lost is None

    # -- sending, from any thread

    def send_request(self, message: Request, sink: Sink) -> int:
        """Send a request; the sink gets its answer.

        Returns:
            Its number.

        Raises:
            QMI_ValueNotSendableException: If an argument cannot be sent.
            QMI_NotDeliveredException: If the link is gone.
        """
        encoded = self._peer.encode_request(message)
        with self._mutex:
            number, buffers = self._peer.send_request(message, encoded)
            self._sinks[number] = sink
            self._write(number, buffers)
        self._report_fault()
        return number

    def cancel_request(self, number: int) -> None:
        """Give up a request, or leave its stream; its sink gets nothing more."""
        with self._mutex:
            self._sinks.pop(number, None)
            buffers = self._peer.cancel_request(number)
            if buffers:
                self._write(None, buffers)
            else:
                for entry in [entry for entry in self._unsent if entry.number == number]:
                    self._unsent.remove(entry)
                    self._unsent_bytes -= total_size(entry.buffers)
        self._report_fault()

    def send_credit(self, number: int, count: int) -> None:
        """Allow the other side so many more items of a stream."""
        with self._mutex:
            self._write(None, self._peer.send_credit(number, count))
        self._report_fault()

    def send_signal(self, signal: Signal) -> None:
        """Tell the other side of a signal.

        Raises:
            QMI_ValueNotSendableException: If an argument cannot be sent.
            QMI_NotDeliveredException: If the link is gone.
        """
        encoded = self._peer.encode_request(signal)
        with self._mutex:
            self._write(None, self._peer.send_signal(signal, encoded))
        self._report_fault()

    def send_value(self, number: int, value: Any) -> None:
        """Answer a request."""
        self.send_reply(number, Value(value))

    def send_reply(self, number: int, reply: Reply) -> None:
        """Answer a request."""
        encoded = self._peer.encode_reply(reply)
        with self._mutex:
            self._write(None, self._peer.send_reply(number, reply, encoded))
        self._report_fault()

    def send_failure(self, number: int, error: BaseException) -> None:
        """Answer a request, or end a stream, by an error."""
        self.send_reply(number, Failure(error))

    def open_stream(self, number: int) -> None:
        """Answer a request by a stream."""
        with self._mutex:
            self._write(None, self._peer.open_stream(number))
        self._report_fault()

    def credit(self, number: int) -> int:
        """How many items of a stream may be sent now."""
        with self._mutex:
            return self._peer.credit(number)

    def send_item(self, number: int, value: Any) -> None:
        """Send the next item of a stream.

        Raises:
            QMI_ValueNotSendableException: If it cannot be sent.
        """
        with self._mutex:
            self._write(None, self._peer.send_item(number, value))
        self._report_fault()

    def end_stream(self, number: int) -> None:
        """End a stream after its last item."""
        with self._mutex:
            self._write(None, self._peer.end_stream(number))
        self._report_fault()

    def _flush(self) -> None:
        with self._mutex:
            data = self._peer.data_to_send()
            if data:
                self._write(None, data)
        self._check_fault()

    def _write(self, number: int | None, buffers: list[Buffer]) -> None:
        # Called with the mutex.
        if not buffers or self._fault is not None:
            return
        if self._unsent and self._unsent_bytes > self._max_unsent:
            self._fault = f"it does not read: {self._unsent_bytes >> 20} MiB wait to be written"
            return
        entry = _Unsent(number, list(buffers))
        self._unsent.append(entry)
        self._unsent_bytes += total_size(entry.buffers)
        if len(self._unsent) == 1 and self._write_queue():
            self._loop.now_or_soon(self._writer_needed)

    def _writer_needed(self) -> None:
        self._wake_writer.set()
        self._wake_timer.set()

    def _write_queue(self) -> bool:
        # Called with the mutex. True if something is left for when the socket takes more.
        try:
            while self._unsent or self._wire.unsent:
                if not self._unsent:
                    self._wire.write([])
                    if self._wire.unsent:
                        return True
                    continue
                number, buffers = self._unsent[0]
                before = total_size(buffers)
                progress = self._wire.write(buffers)
                self.writes += 1
                if progress or not self._stalled_since:
                    self._stalled_since = time.monotonic()
                self._unsent_bytes -= before - total_size(buffers)
                if progress and number is not None:
                    self._peer.handed_over(number)
                    self._unsent[0] = _Unsent(None, buffers)
                if buffers:
                    return True
                self._unsent.popleft()
        except OSError as error:
            self._fault = f"the connection was lost: {error.strerror or error}"
        return False

    def _report_fault(self) -> None:
        if self._fault is not None and self._peer.lost is None:
            self._loop.now_or_soon(self._check_fault)


def request_without_link(message: Request, why: str) -> QMI_NotDeliveredException:
    """The error for a request that has no link to go on."""
    what = getattr(message, "method", type(message).__name__)
    return QMI_NotDeliveredException(f"{message.object}.{what} was not delivered: {why}")

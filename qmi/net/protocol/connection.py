"""What one side of a link does with what it receives: bytes in, events out; no socket, no clock.

Its caller owns the socket and drives a :class:`Connection`::

    peer = Connection(Role.CONNECTING, hello, now=now, expected="srv", where="10.0.0.5:40001", restore=..., ...)
    write(peer.data_to_send())                       # the hello; after every call below, too

    # reading, in a task of its own:
    size = await recv_into(peer.get_buffer())        # large arrays land in their own memory
    events = peer.buffer_updated(size, now) if size else peer.receive_eof(now)
    # (or, where only ``bytes`` are to be had, as with trio's TLS: peer.receive_data(data, now))

    # time, in another task: sleep until peer.next_deadline(), asked anew after everything that was received, then
    events = peer.tick(now)

    # sending
    encoded = peer.encode_request(message)           # any thread, no lock: the expensive part
    number, buffers = peer.send_request(message, encoded)
    peer.handed_over(number)                         # just before the transport gets the first byte
    write(buffers)

Rules for the driver:

- One lock around every call but ``encode_*``. Buffers are written whole, in the order in which they were returned; they
  are the memory of the values that are sent, and must not change before they are written.
- ``PeerLost`` is the last event. Before it come a ``ReplyReceived`` for each request that was open and a
  ``CancelReceived`` for each that was being served. Then write what ``data_to_send`` has left, if that goes at once
  (the reason, for the other side), and close the connection. If writing fails, call ``lose``.
- Each ``RequestReceived`` is answered once, by ``send_reply`` or by ``open_stream``, ``send_item``... and
  ``end_stream`` or a ``Failure``; also after ``CancelReceived``: the answer frees the number.
- ``cancel_request`` is also how a consumer leaves a stream. No event comes for that number any more. If it returns
  nothing, the request had not been handed over: take its buffers out of the queue.
- With ``defers_large``, after ``LargeFrameReceived``: while there is a ``large_frame``, ``reserve`` its memory,
  ``decode`` it without the lock, beside the loop, give the outcome to ``decoded``, and handle its events as those of
  reading. Nothing is read meanwhile.
- A program whose loop is blocked cannot answer pings. A watchdog thread may write :data:`HEARTBEAT` between two frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeAlias, TypeVar

from msgspec.structs import replace

from qmi.config.validators import printable
from qmi.net.codec import Codec, Persistent, Restore, UndecodableValue
from qmi.net.limits import Buffer, Limits, ProtocolError
from qmi.net.protocol.bounds import check_payload, describe_error
from qmi.net.protocol.events import Connected, Event, HelloReceived, LargeFrameReceived, PeerLost
from qmi.net.protocol.handshake import Handshake, Hello, Identity, Stage
from qmi.net.protocol.heartbeat import Heartbeat, Pulse
from qmi.net.protocol.kinds import REQUEST, Kind
from qmi.net.protocol.link_ends import FAULT, LossKind, Role
from qmi.net.protocol.memory_estimate import (
    CHEAP,
    LARGE_BODY,
    Cost,
    Foreseen,
    costs_of,
    foresee,
    is_affordable,
    is_slow,
    is_very_slow,
)
from qmi.net.protocol.packets import (
    MINOR,
    Arrivals,
    Frame,
    FrameReader,
    MissingSegments,
    read_first_packet,
    read_packet,
    write_packet,
)
from qmi.net.protocol.request_memory import RequestMemory, Share
from qmi.net.protocol.requests import RequestLayer
from qmi.net.protocol.undecodable import UnaffordableValue, peek, read_undecodable

HEARTBEAT = write_packet(Kind.PONG, 0)[0]
PING = write_packet(Kind.PING, 0)[0]
_FOR_THE_LINK = frozenset({Kind.HELLO, Kind.REFUSAL, Kind.PING, Kind.PONG, Kind.GOODBYE})
"""What concerns the link itself; all else is read by :mod:`qmi.net.protocol.requests`."""


def _kind_of_frame(kind: int | None) -> str:
    if kind is None:
        return "a frame that could not be decoded"
    try:
        return f"a frame of kind {Kind(kind).name}"
    except ValueError:
        return f"a frame of kind {kind}"


T = TypeVar("T")
Packet: TypeAlias = tuple[int, int, object]
"""Kind, number and payload."""


def _size_of_segments(frame: Frame) -> int:
    return sum(memoryview(segment).nbytes for segment in frame.segments)


_FREE = Cost()


class Connection(RequestLayer):
    """One side of a link. See the module for how to drive it.

    Args:
        role: Which side this is.
        hello: What this side says of itself.
        now: The current time, in seconds of any clock that does not jump.
        expected: The context that a connecting side means to reach.
        certified: What the other side's certificate proves.
        limits: What is accepted.
        persistent: Returns plain values for an object that travels as a reference, None for any other.
        restore: Makes an object of those plain values; raises ValueError if they make no sense.
        where: Address of the other side, for messages.
        arrivals: What arrives on all links of the context; None if this link is on its own.
        memory: What the requests on all links of the context take up; None as above.

    Attributes:
        get_buffer: Returns memory to receive into.
        last_heard: When something came last.
        deferred: Frames that have come and wait to be decoded by the driver; the first one is :attr:`large_frame`.
        defers_large: Whether the driver decodes large frames (:attr:`large_frame`); else they are decoded where they
            are received.
    """

    def __init__(
        self,
        role: Role,
        hello: Hello,
        *,
        now: float,
        expected: str | None = None,
        certified: Identity | None = None,
        limits: Limits | None = None,
        persistent: Persistent | None = None,
        restore: Restore | None = None,
        where: str = "",
        arrivals: Arrivals | None = None,
        memory: RequestMemory | None = None,
    ) -> None:
        self.limits: Limits = limits or Limits()
        codec = Codec(self.limits, persistent=persistent, restore=restore)
        self._share = Share(memory or RequestMemory(self.limits.all_request_bytes, self.limits.arriving))
        super().__init__(codec, self.limits.open_requests, self.limits.request_bytes, self._share)
        self._reader = FrameReader(self.limits, arrivals=arrivals)
        self.get_buffer: Callable[[], memoryview] = self._reader.get_buffer
        self.deferred: deque[Frame] = deque()
        self.defers_large: bool = False
        # Of the frame that is being handled, if they were needed. Frames are decoded and handled one by one, so that
        # both are still there when a request is noted.
        self._cost: Cost | None = None
        self._foreseen: Foreseen | None = None
        self._handshake = Handshake(role, hello, expected=expected, certified=certified)
        self._heartbeat = Heartbeat(now, ping_after=self.limits.ping_after, silence=self.limits.silence)
        self.last_heard: float = now
        self._noted = now  # what the heartbeat knows of it
        self._hello_due = now + self.limits.hello_timeout
        self._last_pong = now
        self._expected = expected
        self._where = where
        if role is Role.CONNECTING:
            self._send_hello()

    # -- who is there

    @property
    def theirs(self) -> Hello | None:
        """What the other side said of itself, once it did."""
        return self._handshake.theirs

    @property
    def title(self) -> str:
        """What messages call the other side."""
        theirs = self._handshake.theirs
        name = theirs.context if theirs else self._expected
        at = f" at {self._where}" if self._where else ""
        return f"peer '{name}'{at}" if name else f"peer{at}"

    # -- receiving

    @property
    def is_amid(self) -> bool:
        """Whether a part of a frame has come."""
        return not self._reader.between_frames

    def buffer_updated(self, size: int, now: float) -> list[Event]:
        """Handle the ``size`` bytes that were received into :meth:`get_buffer`'s memory."""
        if self.is_ready and not self.deferred and self.lost is None:  # the usual packet, as _receive() reads any
            events: list[Event] = []
            kind: int | None = None
            try:
                if (packet := self._reader.read_usual(size)) is not None:
                    self.last_heard = now
                    kind, number, payload = packet
                    self._read_message(kind, number, payload, events, newer=self._reader.minor > MINOR)
                    return events
            except Exception as error:
                return events + self._end_by(error, kind)
        return self._receive(self._reader.buffer_updated, size, now)

    def receive_data(self, data: Buffer, now: float) -> list[Event]:
        """Handle bytes that were received."""
        return self._receive(self._reader.feed, data, now)

    def receive_eof(self, now: float) -> list[Event]:
        """The connection was closed by the other side."""
        if self._handshake.role is Role.CONNECTING and self.theirs is None and self._reader.between_frames:
            # Whoever wants TLS, or something else altogether, does not say so to someone who speaks like this.
            return self.lose(
                "it closed the connection before it said who it is. It is no context, or it has just ended, or only "
                "one side uses TLS: both need a security section, or neither",
                LossKind.DISCONNECTED,
            )
        where = "between two messages" if self._reader.between_frames else "in the middle of a message"
        return self.lose(f"the connection was closed {where}", LossKind.DISCONNECTED)

    def _receive(self, read: Callable[[T], Iterable[Frame]], came: T, now: float) -> list[Event]:
        events: list[Event] = []
        if self.lost is not None:
            return events
        self.last_heard = now
        kind: int | None = None
        try:
            for frame in read(came):
                kind = None
                if self.deferred or frame[1] or len(frame[0]) > CHEAP:
                    self._handle_heavy(frame, events, now)
                    continue
                if not self.is_ready:
                    kind, number, payload = read_first_packet(frame)
                else:
                    try:
                        kind, number, payload = read_packet(self._codec, frame)
                    except UndecodableValue as fault:
                        self._handle_undecodable(frame.body, fault, events)
                        continue
                if self.is_ready and kind not in _FOR_THE_LINK:
                    self._read_message(kind, number, payload, events, newer=self._reader.minor > MINOR)
                    continue
                self._handle(kind, payload, events, now)
                if events and type(events[-1]) is PeerLost:
                    break
        except Exception as error:
            events += self._end_by(error, kind)
        return events

    def _end_by(self, error: Exception, kind: int | None) -> list[Event]:
        if isinstance(error, ProtocolError):
            return self._fail(str(error))
        # Nobody foresaw it: whatever bytes do to this side ends this link alone.
        return self.fault(f"handling {_kind_of_frame(kind)}", error)

    # Large bodies are decoded by the driver of the link, without its lock and beside its loop. Until one has been, all
    # that came after it waits, so that everything is handled in the order in which it came.

    @property
    def large_frame(self) -> Frame | None:
        """A frame to be given to :meth:`decode`, and its outcome to :meth:`decoded`; until then nothing may be read."""
        return self.deferred[0] if self.deferred else None

    @property
    def has_very_large_frame(self) -> bool:
        """Whether :attr:`large_frame` is so large that only one of all links is to be decoded at a time."""
        return bool(self.deferred) and is_very_slow(self._foresee(self.deferred[0]))

    def reserve(self, wake: Callable[[], object]) -> bool:
        """Keep memory free for :attr:`large_frame`; with the lock.

        Args:
            wake: Called from any thread when it is worth trying again; must not raise.

        Returns:
            Whether to decode it now: there is memory, or waiting for some is of no use.
        """
        frame = self.large_frame
        if frame is None or isinstance(frame.segments, MissingSegments):
            return True
        cost = self._cost_of(frame)
        return not self.requests.has_room_to_serve(cost.total) or self._share.reserve(cost, wake)

    def cancel_reservation(self) -> None:
        """What was reserved is not needed; with the lock."""
        self._cost = self._foreseen = None
        self._share.cancel()

    def decode(self, frame: Frame) -> Packet | Exception:
        """Decode a frame; any thread may do that, without the lock. Takes up to a second."""
        try:
            self._check_affordable(frame)
            return read_packet(self._codec, frame)
        except Exception as error:
            return error

    def decoded(self, found: Packet | Exception, now: float) -> list[Event]:
        """Handle :attr:`large_frame`, and what came after it."""
        events: list[Event] = []
        if self.deferred:
            self._note_heard()
            self._heartbeat.heard(now)
            try:
                self._handle_decoded(self.deferred.popleft(), found, events, now)
                while self.deferred and not is_slow(self._foresee(self.deferred[0])):
                    frame = self.deferred.popleft()
                    self._handle_decoded(frame, self.decode(frame), events, now)
            except ProtocolError as error:
                events += self._fail(str(error))
            except Exception as error:  # as in _receive
                events += self.fault("handling a large frame", error)
        else:  # the link was lost meanwhile
            self.cancel_reservation()
        return events

    def _handle_heavy(self, frame: Frame, events: list[Event], now: float) -> None:
        if not self.is_ready:
            kind, _, payload = read_first_packet(frame)
            self._handle(kind, payload, events, now)
        elif self.deferred or (self.defers_large and is_slow(self._foresee(frame))):
            if not self.deferred:
                events.append(LargeFrameReceived())
            self.deferred.append(frame)
        else:
            self._handle_decoded(frame, self.decode(frame), events, now)

    def _check_affordable(self, frame: Frame) -> None:
        if isinstance(frame.segments, MissingSegments):
            raise UnaffordableValue(f"there is no memory for arrays of {frame.segments.size} bytes")
        cost = self._cost_of(frame)
        if cost is _FREE and len(frame.body) <= LARGE_BODY:
            return
        if not self.requests.has_room_to_serve(cost.total):
            raise UnaffordableValue(
                f"requests of this peer that have no answer yet take up more than {self.limits.request_bytes >> 20} MiB"
            )
        if not self._share.reserve(cost):
            limits = self._share.memory.limits
            raise UnaffordableValue(
                "requests of all peers that have no answer yet take up too much memory: "
                f"{limits.values >> 20} MiB are allowed, and {limits.arrays >> 20} MiB for arrays"
            )
        if len(frame.body) > LARGE_BODY and not is_affordable(len(frame.body)):
            raise UnaffordableValue(f"there is no memory for a message of {len(frame.body)} bytes")

    def _cost_of(self, frame: Frame) -> Cost:
        if self._cost is None:
            packet = peek(frame.body)
            is_request = packet is not None and packet[0] == REQUEST
            self._cost = costs_of(self._foresee(frame)) if is_request else _FREE
        return self._cost

    def _foresee(self, frame: Frame) -> Foreseen:
        found = self._foreseen
        if found is None or found.body is not frame.body:
            self._foreseen = found = foresee(frame.body, _size_of_segments(frame))
        return found

    def _handle_decoded(self, frame: Frame, found: Packet | Exception, events: list[Event], now: float) -> None:
        try:
            self._handle_found(frame, found, events, now)
        finally:
            self.cancel_reservation()

    def _handle_found(self, frame: Frame, found: Packet | Exception, events: list[Event], now: float) -> None:
        if self.lost is not None:
            return
        if isinstance(found, UndecodableValue):
            self._handle_undecodable(frame.body, found, events)
            return
        if isinstance(found, Exception):
            raise found
        kind, number, payload = found
        if kind in _FOR_THE_LINK:
            self._handle(kind, payload, events, now)
            return
        self._read_message(kind, number, payload, events, newer=self._reader.minor > MINOR)
        if kind == REQUEST:
            self.requests.note_cost(number, self._cost_of(frame))

    def _fail(self, fault: str) -> list[Event]:
        stage = self._handshake.stage
        self.outbox.append(self._text(Kind.GOODBYE if stage is Stage.READY else Kind.REFUSAL, fault))
        return self.lose(fault, LossKind.PROTOCOL)

    def fault(self, doing: str, error: Exception) -> list[Event]:
        """The link cannot go on, by an exception of this program that nobody foresaw; the other side learns that much.

        Args:
            doing: What this side was doing, after "while".
            error: The exception.
        """
        if self.lost is not None:
            return []
        with suppress(Exception):  # without memory there are no last words
            self.outbox.append(self._text(Kind.GOODBYE if self.is_ready else Kind.REFUSAL, FAULT))
        return self.lose(f"{FAULT} while {doing}: {describe_error(error)}", LossKind.FAULT, error)

    # -- time

    def next_deadline(self) -> float:
        """When :meth:`tick` must be called; infinity after the loss."""
        if self.lost is not None:
            return float("inf")
        if self._handshake.stage is not Stage.READY:
            return self._hello_due
        self._note_heard()
        if self._reader.between_frames and not self.deferred:
            return self._heartbeat.due
        return min(self._heartbeat.due, self._last_pong + self.limits.ping_after)

    def tick(self, now: float) -> list[Event]:
        """Look at the clock; may be called at any time."""
        if self.lost is not None:
            return []
        if self._handshake.stage is not Stage.READY:
            if now < self._hello_due:
                return []
            reason = f"the handshake was not done within {self.limits.hello_timeout:g} s"
            self.outbox.append(self._text(Kind.REFUSAL, reason))
            return self.lose(reason, LossKind.SILENT)
        self._note_heard()
        if self.deferred:
            self._heartbeat.heard(now)  # this side does not listen
        pulse = self._heartbeat.check(now)
        if pulse is Pulse.DEAD:
            reason = (
                f"no sign of life for {round(self.limits.silence, 2):g} s (the setting limits.peer_timeout is "
                f"{round(self.limits.peer_timeout, 2):g} s, and a loss is noticed within that): its network or "
                "computer is gone, its program is stopped, or a driver in it holds the interpreter, as a C library "
                "does that does not release the GIL"
            )
            self.outbox.append(self._text(Kind.GOODBYE, reason))
            return self.lose(reason, LossKind.SILENT)
        if pulse is Pulse.PING:
            self.outbox.append(PING)
        if (self.deferred or not self._reader.between_frames) and now >= self._last_pong + self.limits.ping_after:
            # Who sends a frame for minutes cannot ask: its ping would stand behind the frame.
            self._pong(now)
        return []

    def _note_heard(self) -> None:
        # Not in each read: it is enough before the clock is looked at.
        if self.last_heard != self._noted:
            self._noted = self.last_heard
            self._heartbeat.heard(self._noted)

    # -- the end

    def close(self, reason: str = "closed") -> list[Event]:
        """End the link in good order; the other side learns the reason."""
        if self.lost is None:
            self.outbox.append(self._text(Kind.GOODBYE, reason))
        return self.lose(reason, LossKind.CLOSED)

    def lose(self, reason: str, kind: LossKind = LossKind.DISCONNECTED, error: Exception | None = None) -> list[Event]:
        """The link is gone: every open request ends now."""
        if self.lost is not None:
            return []
        lost = PeerLost(kind, reason, error)
        self.lost: PeerLost | None = lost
        self.is_ready = False
        self.deferred.clear()
        self._reader.abandon()
        return [*self.requests.lose_all(self.title, reason), lost]

    # -- sending

    def data_to_send(self) -> list[Buffer]:
        """Return what the protocol itself has to say since the last call: hello, pings, refusals."""
        data = self.outbox
        self.outbox: list[Buffer] = []
        return data

    def accept(self, now: float) -> list[Event]:
        """Let the other side in, after ``HelloReceived``."""
        if self.lost is not None:
            return []
        self._handshake.accept()
        self._send_hello()
        return self._open_up(now)

    def refuse(self, reason: str) -> list[Event]:
        """Do not let the other side in; it gets to see the reason."""
        if self.lost is not None:
            return []
        self._handshake.refuse(reason)
        self.outbox.append(self._text(Kind.REFUSAL, reason))
        return self.lose(reason, LossKind.REFUSED)

    # -- what came

    def _handle(self, kind: int, payload: object, events: list[Event], now: float) -> None:
        check_payload(kind, payload, newer=self._reader.minor > MINOR, fault=ProtocolError)
        if kind == Kind.REFUSAL:
            self._handshake.receive_refusal(payload)
            events += self.lose(f"refused by the other side: {self._handshake.fault}", LossKind.REFUSED)
        elif kind == Kind.GOODBYE:
            events += self.lose(f"closed by the other side: {printable(str(payload)[:1000])}", LossKind.GOODBYE)
        elif not self.is_ready or kind == Kind.HELLO:
            self._handle_hello(kind, payload, events, now)
        elif kind == Kind.PING:
            self._pong(now)

    def _handle_undecodable(self, body: Buffer, fault: UndecodableValue, events: list[Event]) -> None:
        event, answer = read_undecodable(self.requests, body, fault)
        if event is not None:
            events.append(event)
        if answer is not None:
            kind, number, error = answer
            self.outbox.extend(write_packet(kind, number, self._codec.encode(error)))

    def _handle_hello(self, kind: int, payload: object, events: list[Event], now: float) -> None:
        if kind != Kind.HELLO:
            raise ProtocolError("something else came before the handshake was done")
        stage = self._handshake.receive_hello(payload)
        theirs = self._handshake.theirs
        assert theirs is not None
        if stage is Stage.REFUSED:
            events += self.refuse(self._handshake.fault)
        elif stage is Stage.DECIDE:
            events.append(HelloReceived(theirs))
        else:
            events += self._open_up(now)

    def _open_up(self, now: float) -> list[Event]:
        assert self._handshake.theirs is not None
        self._reader.open_up()
        self.is_ready: bool = True
        self.last_heard = now
        self._last_pong = now
        return [Connected(self._handshake.theirs)]

    # -- small things

    def _send_hello(self) -> None:
        encoded = self._codec.encode(replace(self._handshake.ours, minor=MINOR).to_wire(), "hello")
        self.outbox.extend(write_packet(Kind.HELLO, 0, encoded))

    def _pong(self, now: float) -> None:
        self._last_pong = now
        self.outbox.append(HEARTBEAT)

    def _text(self, kind: Kind, text: str) -> Buffer:
        clean = text[:1000].encode("utf-8", "backslashreplace").decode("utf-8")
        return write_packet(kind, 0, self._codec.encode(clean))[0]

"""How packets become bytes and bytes packets: the frame around each, what its body says, and which sizes are refused.

A *frame* is a fixed header, a table with the size of each segment, one body, and the segments::

    "QMI" | major | minor | body size: u32 | segments: u32 | bytes in all segments: u64
    size of each segment: u64 ...
    body
    segment ...

The first five bytes never change their meaning, so that two versions that cannot talk can still say which they are.
Sizes are judged from the header alone, before memory is taken. A segment is received straight into its own final
memory: :meth:`FrameReader.get_buffer` hands out the part that is still missing. That memory is asked for when its first
byte is about to come, so that a sender has to send what it wants others to have memory for. If there is none, what is
left of the frame is read and thrown away, and the link goes on: the frame is *lacking*.

A *body* is always ``[kind, number, payload]``. The number is that of a request, or 0. Requests and signals are the
messages of :mod:`qmi.messages`, written as the list of their fields. What each field may hold is in
:mod:`qmi.net.protocol.bounds`; it is checked on both sides, when a field is written and when it is read.
"""

from __future__ import annotations

import mmap
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from qmi.errors import QMI_ValueNotSendableException
from qmi.messages import (
    Acquire,
    Call,
    Describe,
    ForceRelease,
    QueryLock,
    QueryStatistics,
    Release,
    Request,
    Signal,
    Subscribe,
    Unsubscribe,
)
from qmi.net.codec import Codec, Encoded, make_encoded
from qmi.net.codec.rows import Memory
from qmi.net.limits import SEGMENT_THRESHOLD, Buffer, Limits, ProtocolError, VersionError
from qmi.net.protocol import fast_path, plain
from qmi.net.protocol.bounds import KIND, MAX_INT, MESSAGES, OutOfBounds, describe_value, fields_to_wire
from qmi.net.protocol.fast_path import (
    FOUR_BYTES,
    HEAD,
    READ,
    SHORT,
    THREE_FIELDS,
    UNREAD,
    WRITTEN,
    read_body,
    read_payload,
)
from qmi.net.protocol.kinds import Kind

MAGIC = b"QMI"
_TLS_RECORDS = (b"\x16\x03", b"\x15\x03")
MAJOR = 1
MINOR = 1
HEADER = struct.Struct(">3sBBIIQ")
_BEGIN = MAGIC + bytes((MAJOR, MINOR))
_REST = struct.Struct(">IIQ")
# What nearly each packet goes through, see :mod:`.fast_path`.
_VERSION = MAGIC + bytes((MAJOR,))
_NO_SEGMENTS = bytes(12) + bytes((THREE_FIELDS,))
_HEADER_SIZE = HEADER.size
_BODY_AHEAD = HEAD.size
_AHEAD = READ.size
_read_ahead = READ.unpack_from
_write_ahead = WRITTEN.pack
SCRATCH_SIZE = 65536

Allocator: TypeAlias = Callable[[int], Memory]


# -- frames


def pack(body: bytes, segments: Sequence[memoryview] = ()) -> list[Buffer]:
    """Return the buffers that make up a frame, to be written in this order; segments are not copied."""
    if not segments:
        return [small_frame(body)]
    sizes = [segment.nbytes for segment in segments]
    head = HEADER.pack(MAGIC, MAJOR, MINOR, len(body), len(sizes), sum(sizes))
    return [b"".join((head, struct.pack(f">{len(sizes)}Q", *sizes), body)), *segments]


def small_frame(head: bytes, body: bytes = b"") -> bytes:
    """Return a frame without segments; its body may come in two pieces."""
    return b"".join((_BEGIN, _REST.pack(len(head) + len(body), 0, 0), head, body))


class MissingSegments(tuple[()]):
    """Stands for the segments of a frame for which there was no memory; has none of them, but is not false.

    Attributes:
        size: How many bytes they have together.
    """

    size: int = 0

    def __bool__(self) -> bool:
        return True


class Frame(NamedTuple):
    """One complete frame; each segment is memory that nobody else uses."""

    body: bytes | bytearray
    segments: Sequence[Memory] = ()


class Arrivals:
    """The large segments that are arriving, on all links of a context. Safe for threads: each step is one of a dict.

    What is announced has to be kept free for it, although it may never come.

    Args:
        limit: How many bytes may be announced together.
    """

    MODEST = 64 << 20
    """A segment of up to so many bytes is always allowed: nobody can keep the others from sending such."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._announced: dict[int, int] = {}

    def begin(self, reader: object, size: int) -> bool:
        """A segment is about to come; False if there are too many others."""
        if size > self.MODEST and sum(list(self._announced.values())) + size > self._limit:
            return False
        self._announced[id(reader)] = self._announced.get(id(reader), 0) + size
        return True

    def end(self, reader: object) -> None:
        """The frame is complete, or never will be."""
        self._announced.pop(id(reader), None)


def allocate(size: int) -> Memory:
    """Return writable memory of which no page is touched before bytes arrive, where that is possible.

    An announced size costs nothing then until its bytes come. numpy's memory is the cheapest, if the program has
    numpy anyway.
    """
    numpy = sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "empty"):
        memory: Memory = numpy.empty(size, "u1")
        return memory
    return mmap.mmap(-1, size) if size >= 1 << 18 else bytearray(size)


class _Partial:
    """A frame of which some bytes are still missing: memory for each part, filled one after the other.

    Attributes:
        target: The part that is being filled: the table, then the body, then each segment.
        filled: How many bytes of it are there.
        dropping: How many bytes of the frame are still to be thrown away, if there is no memory for them.
    """

    __slots__ = ("body", "body_size", "dropping", "filled", "segments", "sizes", "table", "target", "total")

    def __init__(self, body_size: int, count: int, total: int) -> None:
        self.body_size, self.total = body_size, total
        self.table: bytearray | None = bytearray(8 * count)
        self.target = memoryview(self.table)
        self.sizes: tuple[int, ...] = ()
        self.body: bytearray | None = None
        self.segments: list[Memory] | MissingSegments = []
        self.filled = 0
        self.dropping = 0

    def advance(self, allocator: Allocator) -> bool:
        """Take memory for the next part, now that the one before it is there; False if there is none.

        Raises:
            ProtocolError: If the table contradicts the header, or there is no memory for the body.
        """
        self.filled = 0
        if self.table is not None:
            self._read_table(self.table)
            return True
        if type(self.segments) is MissingSegments:
            return False
        done = len(self.segments)
        if done == len(self.sizes):
            return False
        try:
            memory = allocator(self.sizes[done])
            self.target = memoryview(memory).cast("B")
        except (MemoryError, OSError, ValueError, OverflowError):
            self.dropping = sum(self.sizes[done:])
            self.segments = MissingSegments()
            self.segments.size = self.total
            self.target = memoryview(b"")
            return self.dropping > 0
        self.segments.append(memory)  # type: ignore[union-attr]
        return True

    def _read_table(self, table: bytearray) -> None:
        self.sizes = sizes = struct.unpack(f">{len(table) // 8}Q", table)
        self.table = None
        if sum(sizes) != self.total:
            raise ProtocolError(f"a frame announces {self.total} bytes in segments, its table says {sum(sizes)}")
        if 0 in sizes:
            raise ProtocolError("a frame announces an empty segment")
        try:
            self.body = bytearray(self.body_size)
        except MemoryError:
            raise ProtocolError(f"there is no memory for a message of {self.body_size} bytes") from None
        self.target = memoryview(self.body)

    def take(self, view: memoryview) -> int:
        """Put as many bytes where they belong as belong there; returns how many those are."""
        if self.dropping:
            taken = min(self.dropping, len(view))
            self.dropping -= taken
            return taken
        taken = min(len(self.target) - self.filled, len(view))
        self.target[self.filled : self.filled + taken] = view[:taken]
        self.filled += taken
        return taken


class FrameReader:
    """Turns any sequence of chunks into frames.

    Either give it what was received (:meth:`feed`), or let it say where to receive to (:meth:`get_buffer`, then
    :meth:`buffer_updated`); the two can be mixed. Not safe to use from several threads at once.

    Attributes:
        limits: What is accepted; ``max_body`` and ``max_frame`` start at ``limits.hello`` until :meth:`open_up`.
        minor: Minor version in the last header; this side's before the first.
    """

    def __init__(self, limits: Limits, *, allocator: Allocator = allocate, arrivals: Arrivals | None = None) -> None:
        self.limits = limits
        self._arrivals = arrivals or Arrivals(limits.arriving)
        self.minor: int = MINOR
        self._max_body = self._max_frame = self._max_whole = limits.hello
        self._max_segments = 0
        self._allocator = allocator
        self._head = bytearray()
        self._partial: _Partial | None = None
        self._scratch = memoryview(bytearray(SCRATCH_SIZE))
        self._lent: memoryview | None = None

    def open_up(self) -> None:
        """Accept frames of full size: the handshake is done."""
        self._max_body, self._max_frame = self.limits.body, self.limits.frame
        self._max_whole = min(self._max_body, self._max_frame)
        self._max_segments = self.limits.segments

    def _reserve(self, size: int) -> Memory:
        if not self._arrivals.begin(self, size):
            raise MemoryError
        return self._allocator(size)

    def abandon(self) -> None:
        """No more bytes will come."""
        self._arrivals.end(self)

    @property
    def between_frames(self) -> bool:
        """Whether all bytes so far made up complete frames."""
        return not self._head and self._partial is None

    def get_buffer(self) -> memoryview:
        """Return memory to receive into: the missing part of a segment if there is a large one, else scratch."""
        partial = self._partial
        if partial is not None and partial.table is None and not partial.dropping:
            target = partial.target[partial.filled :]
            if len(target) >= SEGMENT_THRESHOLD:
                self._lent = target
                return target
        self._lent = None
        return self._scratch

    def buffer_updated(self, size: int) -> Iterable[Frame]:
        """Take note that ``size`` bytes were received into what :meth:`get_buffer` returned; see :meth:`feed`."""
        if self._lent is None:
            return self.feed(self._scratch[:size])
        self._lent = None
        assert self._partial is not None
        self._partial.filled += size
        frame = self._settle()
        return () if frame is None else (frame,)

    def read_usual(self, size: int) -> tuple[int, int, object] | None:
        """Read the bytes that were just received, if they are one short packet of the usual kinds and nothing else.

        Fast path, must equal :meth:`buffer_updated` and :func:`read_packet`.

        Returns:
            Kind, number and payload; None if :meth:`buffer_updated` has to be called.
        """
        if self._lent is not None or self._head or self._partial is not None or not _AHEAD < size < SHORT:
            return None
        data = bytes(self._scratch[:size])
        version, minor, length, no_segments, kind, width, number = _read_ahead(data)
        if version != _VERSION or no_segments != _NO_SEGMENTS or width != FOUR_BYTES:
            return None
        if length != size - _HEADER_SIZE or length > self._max_whole:
            return None
        payload = read_payload(kind, data[_AHEAD:])
        if payload is UNREAD:
            return None
        self.minor = minor
        return kind, number, payload

    def feed(self, data: Buffer) -> Iterable[Frame]:
        """Return the frames that these bytes complete. Exhaust the iterable before the next call.

        They are looked at one by one while it is iterated over, since what one frame says decides on the size of the
        next.

        Raises:
            ProtocolError: At the place where the bytes stop making sense, after the good frames before it.
        """
        if self._partial is None and not self._head and len(data) > HEADER.size:
            data = bytes(data)  # slicing bytes takes half the time of slicing a memoryview
            if (frame := self._whole_frame(data, 0)) is not None and HEADER.size + len(frame[0]) == len(data):
                return (frame,)  # nearly every read brings just this
        return self._read_frames(data)

    def _whole_frame(self, data: bytes, begin: int) -> Frame | None:
        """A frame without segments that is there as a whole, as nearly all are; all others are None."""
        magic, major, minor, size, segments, total = HEADER.unpack_from(data, begin)
        begin += HEADER.size
        if segments or total or not 0 < size <= self._max_whole or magic != MAGIC or major != MAJOR:
            return None
        if begin + size > len(data):
            return None
        self.minor = minor
        # Not by calling the class, which takes four times as long.
        return tuple.__new__(Frame, (data[begin : begin + size], ()))

    def _read_frames(self, data: Buffer) -> Iterator[Frame]:
        view = memoryview(data)
        if type(data) is bytes and self.between_frames:
            begin = 0
            while begin + HEADER.size < len(data) and (frame := self._whole_frame(data, begin)) is not None:
                yield frame
                begin += HEADER.size + len(frame[0])
            view = view[begin:]
        while view:
            if self._partial is None:
                view, complete = self._read_head(view)
            else:
                view, complete = self._fill(self._partial, view)
            if complete is not None:
                yield complete

    def _read_head(self, view: memoryview) -> tuple[memoryview, Frame | None]:
        head: Buffer
        if self._head or len(view) < HEADER.size:
            need = HEADER.size - len(self._head)
            self._head += view[:need]
            head, rest = self._head, view[need:]
        else:
            head, rest = view, view[HEADER.size :]
        self._check_start(head)
        if len(head) < HEADER.size:
            return rest, None
        _, _, self.minor, body, count, total = HEADER.unpack_from(head)
        self._head = bytearray()
        self._check_sizes(body, count, total)
        if not count and len(rest) >= body:
            return rest[body:], Frame(bytes(rest[:body]))
        try:
            self._partial = _Partial(body, count, total)
        except MemoryError:
            raise ProtocolError(f"there is no memory for a frame with {count} segments") from None
        return rest, self._settle()

    def _check_start(self, head: Buffer) -> None:
        """Refuse foreign bytes and other versions as soon as their first bytes are there."""
        start = bytes(head[:3])
        if len(start) == 3 and start != MAGIC:
            hint = ", as TLS does: both sides need a security section, or neither" if start[:2] in _TLS_RECORDS else ""
            raise ProtocolError(f"this is no frame of QMI: it begins with {start!r}{hint}")
        if len(head) >= 5 and head[3] != MAJOR:
            raise VersionError(
                f"the other side speaks version {head[3]}.{head[4]} of the protocol, this side {MAJOR}.{MINOR}; "
                "install the same version of QMI on both sides"
            )

    def _check_sizes(self, body: int, count: int, total: int) -> None:
        if body == 0:
            raise ProtocolError("a frame has no body")
        if body > self._max_body:
            raise ProtocolError(f"a frame announces a body of {body} bytes, the limit is {self._max_body}")
        if count > self._max_segments:
            raise ProtocolError(f"a frame announces {count} segments, the limit is {self._max_segments}")
        size = HEADER.size + 8 * count + body + total
        if size > self._max_frame + HEADER.size:
            raise ProtocolError(f"a frame announces {size} bytes, the limit is {self._max_frame}")
        if total and not count:
            raise ProtocolError(f"a frame announces {total} bytes in segments, but no segment")

    def _fill(self, partial: _Partial, view: memoryview) -> tuple[memoryview, Frame | None]:
        return view[partial.take(view) :], self._settle()

    def _settle(self) -> Frame | None:
        """Move on to the next part where one is complete; return the frame after the last."""
        partial = self._partial
        assert partial is not None
        while not partial.dropping and partial.filled == len(partial.target):
            if not partial.advance(self._reserve):
                self._partial = None
                self._arrivals.end(self)
                assert partial.body is not None
                return Frame(partial.body, partial.segments)
        return None


# -- packets

_LAST_KIND = KIND.high
NOTHING = Encoded(b"\xf6", [])
"""The payload None."""


def head(kind: Kind, number: int) -> bytes:
    """Return the CBOR in front of a payload."""
    if number < 24:
        return bytes((THREE_FIELDS, kind, number))
    if number < 1 << 32:
        return HEAD.pack(THREE_FIELDS, kind, FOUR_BYTES, number)
    return struct.pack(">BBBQ", THREE_FIELDS, kind, 0x1B, number)


def write_packet(kind: Kind, number: int, encoded: Encoded = NOTHING) -> list[Buffer]:
    """Return the buffers of a packet."""
    payload, segments = encoded
    if segments:
        return pack(head(kind, number) + payload, segments)
    if 24 <= number < 1 << 32:  # as `head`, in one step
        return [_write_ahead(_BEGIN, _BODY_AHEAD + len(payload), THREE_FIELDS, kind, FOUR_BYTES, number) + payload]
    return [small_frame(head(kind, number), payload)]


class UnknownRequest(Exception):
    """A newer version asked for something that this version does not have."""


def read_packet(codec: Codec, frame: Frame) -> tuple[int, int, object]:
    """Decode a frame into kind, number and payload.

    Raises:
        ProtocolError: If it is no packet.
    """
    body, segments = frame
    if not segments and (packet := read_body(body)) is not None:
        return packet
    return _check_packet(codec.decode(body, segments))


def read_first_packet(frame: Frame) -> tuple[int, int, object]:
    """Decode a frame that came before the handshake was done: only plain values are decoded for a stranger.

    Raises:
        ProtocolError: If it is no packet, or contains anything but plain values.
    """
    if frame.segments:
        raise ProtocolError("a frame with segments came before the handshake was done")
    return _check_packet(plain.decode(frame.body))


def _check_packet(found: object) -> tuple[int, int, object]:
    if type(found) is not list or len(found) != 3:
        raise ProtocolError("a body is not made of kind, number and payload")
    kind, number, payload = found
    if type(kind) is not int or type(number) is not int:
        raise ProtocolError("a body is not made of kind, number and payload")
    if not (0 <= kind <= _LAST_KIND and 0 <= number <= MAX_INT):
        raise ProtocolError(f"a packet has kind {describe_value(kind)} and number {describe_value(number)}")
    return kind, number, payload


_REQUESTS: tuple[type, ...] = (
    Call, Acquire, Release, ForceRelease, QueryLock, QueryStatistics, Describe, Subscribe, Unsubscribe,
)  # fmt: skip
_NUMBERS = {cls: number for number, cls in enumerate(_REQUESTS)}
_NAMES = {cls: ("request", *(field.name for field in fields)) for cls, fields in MESSAGES.items()}


def encode_message(codec: Codec, message: Request | Signal) -> Encoded:
    """Encode a request or signal.

    Raises:
        QMI_ValueNotSendableException: If an argument cannot be sent, or a field is out of bounds.
    """
    payload = None
    if isinstance(message, Call):
        payload = fast_path.encode_call(message)
    elif isinstance(message, Signal):
        payload = fast_path.encode_signal(message)
    return encode_fields(codec, message) if payload is None else make_encoded((payload, []))


def encode_fields(codec: Codec, message: Request | Signal) -> Encoded:
    """The same for what the fast path has left.

    Raises:
        QMI_ValueNotSendableException: As :func:`encode_message`.
    """
    cls = type(message)
    fields = fast_path.list_fields(message) if isinstance(message, Call) else None
    try:
        values = [_NUMBERS.get(cls, 0), *(fields or fields_to_wire(message))]
    except OutOfBounds as error:
        raise QMI_ValueNotSendableException(f"{cls.__name__} cannot be sent: {error}") from None
    return codec.encode_fields(values, _NAMES[cls])


def read_request(payload: object, *, newer: bool) -> Request:
    """Check the fields of a request.

    Args:
        payload: The list that came.
        newer: Whether a newer version wrote it, which may know more requests and fields.

    Raises:
        ProtocolError: If it is none.
        UnknownRequest: If a newer version sent a request that this one does not have.
    """
    if type(payload) is fast_path.Bare:
        return payload.call
    if type(payload) is list and (call := fast_path.read_call(payload)) is not None:
        return call
    if type(payload) is not list or not payload or not KIND.accepts(payload[0]):
        raise ProtocolError("a request has no kind")
    if not 0 <= payload[0] < len(_REQUESTS):
        if newer:
            raise UnknownRequest(f"this version of QMI does not know requests of kind {payload[0]}")
        raise ProtocolError(f"there is no request of kind {payload[0]}")
    return _read(_REQUESTS[payload[0]], payload, newer=newer)  # type: ignore[no-any-return]


def read_signal(payload: object, *, newer: bool) -> Signal:
    """Check the fields of a signal.

    Raises:
        ProtocolError: If it is none.
    """
    if type(payload) is not list:
        raise ProtocolError("a signal is not a list of fields")
    if (signal := fast_path.read_signal(payload)) is not None:
        return signal
    return _read(Signal, payload, newer=newer)  # type: ignore[no-any-return]


def _read(cls: type, payload: list[object], *, newer: bool) -> Any:
    fields = MESSAGES[cls]
    found = payload[1:]
    if len(found) < len(fields) or (len(found) > len(fields) and not newer):
        raise ProtocolError(f"{cls.__name__} has {len(fields)} fields, got {len(found)}")
    try:
        return cls(*[field.read(value) for field, value in zip(fields, found, strict=False)])
    except OutOfBounds as error:
        raise ProtocolError(f"{cls.__name__}.{error}") from None

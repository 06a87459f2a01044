"""How bytes become frames and frames become bytes, and which sizes are refused.

A frame is a fixed header, a table with the size of each segment, one body, and the segments::

    "QMI" | major | minor | body size: u32 | segments: u32 | bytes in all segments: u64
    size of each segment: u64 ...
    body
    segment ...

The first five bytes never change their meaning, so that two versions that cannot talk can still say which they are.
Sizes are judged from the header alone, before memory is taken. A segment is received straight into its own final
memory: :meth:`FrameReader.get_buffer` hands out the part that is still missing.
"""

from __future__ import annotations

import mmap
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

MAGIC = b"QMI"
MAJOR = 1
MINOR = 0
HEADER = struct.Struct(">3sBBIIQ")
_BEGIN = MAGIC + bytes((MAJOR, MINOR))
_REST = struct.Struct(">IIQ")
SCRATCH_SIZE = 65536
SEGMENT_THRESHOLD = 16384
"""A buffer of this many bytes or more travels as a segment of its own."""

Buffer: TypeAlias = bytes | bytearray | memoryview
Allocator: TypeAlias = Callable[[int], Any]


class ProtocolError(Exception):
    """The other side sent something that the protocol does not allow; the link cannot go on."""


class VersionError(ProtocolError):
    """The other side speaks another major version of the protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a link accepts.

    Attributes:
        hello: Bytes in a frame before the handshake is done.
        body: Bytes of CBOR in a frame after it.
        frame: Bytes in a frame after it, segments included.
        segments: Segments in a frame.
        depth: Containers inside each other in one value.
        objects: How many objects a frame may become, in the units of :mod:`qmi.net.codec.budget`: a list or dict counts
            8, a named value 40, an error 120, a proxy 800, each item of a packed list 1 or 2.
        open_requests: Requests of one side that have no answer yet.
        hello_timeout: Seconds until the handshake must be done.
        ping_after: Seconds of silence after which the other side is asked for a sign of life.
        silence: Seconds of silence after which the other side is dead; below 15, so that the loss is known within 15.
    """

    hello: int = 4096
    body: int = 4 << 20
    frame: int = 1 << 30
    segments: int = 65536
    depth: int = 64
    objects: int = 4_000_000
    open_requests: int = 10_000
    hello_timeout: float = 5.0
    ping_after: float = 4.0
    silence: float = 14.0


class Frame(NamedTuple):
    """One complete frame; each segment is memory that nobody else uses."""

    body: bytes | bytearray
    segments: Sequence[Any] = ()


def allocate(size: int) -> Any:
    """Return writable memory of which no page is touched before bytes arrive, where that is possible.

    An announced size costs nothing then until its bytes come. numpy's memory is the cheapest, if the program has
    numpy anyway.
    """
    numpy = sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "empty"):
        return numpy.empty(size, "u1")
    return mmap.mmap(-1, size) if size >= 1 << 18 else bytearray(size)


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


class _Partial:
    """A frame of which some bytes are still missing: memory for each part, filled one after the other."""

    __slots__ = ("body", "body_size", "count", "filled", "missing", "segments", "table", "total")

    def __init__(self, body_size: int, count: int, total: int) -> None:
        self.body_size, self.count, self.total = body_size, count, total
        self.table = bytearray(8 * count)
        self.body: bytearray | None = None
        self.segments: list[Any] = []
        self.missing: list[memoryview] = []
        self.filled = 0

    def plan(self, limits: Limits, allocator: Allocator) -> None:
        """Take memory for the body and the segments, now that all sizes are known."""
        sizes = struct.unpack(f">{self.count}Q", self.table)
        if sum(sizes) != self.total:
            raise ProtocolError(f"a frame announces {self.total} bytes in segments, its table says {sum(sizes)}")
        if 0 in sizes:
            raise ProtocolError("a frame announces an empty segment")
        self.body = bytearray(self.body_size)
        self.segments = [allocator(size) for size in sizes]
        self.missing = [memoryview(part).cast("B") for part in (self.body, *self.segments) if len(part)]
        self.missing.reverse()


class FrameReader:
    """Turns any sequence of chunks into frames.

    Either give it what was received (:meth:`feed`), or let it say where to receive to (:meth:`get_buffer`, then
    :meth:`buffer_updated`); the two can be mixed. Not safe to use from several threads at once.

    Attributes:
        limits: What is accepted; ``max_body`` and ``max_frame`` start at ``limits.hello`` until :meth:`open_up`.
        minor: Minor version in the last header; this side's before the first.
    """

    def __init__(self, limits: Limits, *, allocator: Allocator = allocate) -> None:
        self.limits = limits
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

    @property
    def between_frames(self) -> bool:
        """Whether all bytes so far made up complete frames."""
        return not self._head and self._partial is None

    def get_buffer(self) -> memoryview:
        """Return memory to receive into: the missing part of a segment if there is a large one, else scratch."""
        partial = self._partial
        if partial is not None and partial.missing:
            target = partial.missing[-1][partial.filled :]
            if len(target) >= SEGMENT_THRESHOLD:
                self._lent = target
                return target
        self._lent = None
        return self._scratch

    def buffer_updated(self, size: int) -> Iterator[Frame]:
        """Take note that ``size`` bytes were received into what :meth:`get_buffer` returned; see :meth:`feed`."""
        if self._lent is None:
            yield from self.feed(self._scratch[:size])
            return
        self._lent = None
        assert self._partial is not None
        self._partial.filled += size
        frame = self._settle()
        if frame is not None:
            yield frame

    def feed(self, data: Buffer) -> Iterator[Frame]:
        """Yield the frames that these bytes complete. Exhaust the iterator before the next call.

        Raises:
            ProtocolError: At the place where the bytes stop making sense, after the good frames before it.
        """
        view = memoryview(data)
        begin, size = 0, len(view) if self.between_frames else 0
        if size > HEADER.size:
            data = bytes(data)  # slicing bytes takes half the time of slicing a memoryview
        while begin + HEADER.size < size:
            # A frame without segments that is there as a whole, as nearly all are; all others are looked at below.
            magic, major, minor, body, segments, total = HEADER.unpack_from(data, begin)
            end = begin + HEADER.size + body
            if end > size or segments or total or not 0 < body <= self._max_whole or magic != MAGIC or major != MAJOR:
                break
            self.minor = minor
            # Not by calling the class, which takes four times as long.
            yield tuple.__new__(Frame, (data[end - body : end], ()))
            begin = end
        view = view[begin:]
        while view:
            if self._partial is None:
                view, frame = self._read_head(view)
            else:
                view, frame = self._fill(self._partial, view)
            if frame is not None:
                yield frame

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
        self._partial = _Partial(body, count, total)
        return rest, self._settle()

    def _check_start(self, head: Buffer) -> None:
        """Refuse foreign bytes and other versions as soon as their first bytes are there."""
        start = bytes(head[:3])
        if len(start) == 3 and start != MAGIC:
            raise ProtocolError(f"this is no frame of QMI: it begins with {start!r}")
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
        target = partial.missing[-1] if partial.body is not None else memoryview(partial.table)
        taken = min(len(target) - partial.filled, len(view))
        target[partial.filled : partial.filled + taken] = view[:taken]
        partial.filled += taken
        return view[taken:], self._settle()

    def _settle(self) -> Frame | None:
        """Move on to the next part where one is complete; return the frame after the last."""
        partial = self._partial
        assert partial is not None
        if partial.body is None:
            if partial.filled < len(partial.table):
                return None
            partial.plan(self.limits, self._allocator)
            partial.filled = 0
        while partial.missing and partial.filled == len(partial.missing[-1]):
            partial.missing.pop()
            partial.filled = 0
        if partial.missing:
            return None
        self._partial = None
        assert partial.body is not None
        return Frame(partial.body, partial.segments)

"""What one side of a link accepts of the other: sizes, times, and the error for what goes beyond."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

Buffer: TypeAlias = bytes | bytearray | memoryview
SILENCE_PER_PEER_TIMEOUT = 14 / 15
"""How much of ``limits.peer_timeout`` a peer may be silent: the rest is for noticing that, so that the loss is known
within the whole."""
SEGMENT_THRESHOLD = 16384
"""A buffer of this many bytes or more travels as a segment of its own."""


class ProtocolError(Exception):
    """The other side sent something that the protocol does not allow; the link cannot go on."""


class VersionError(ProtocolError):
    """The other side speaks another major version of the protocol."""


class Limits(Struct, frozen=True, kw_only=True):
    """What a link accepts.

    Attributes:
        hello: Bytes in a frame before the handshake is done.
        body: Bytes of CBOR in a frame after it.
        frame: Bytes in a frame after it, segments included.
        segments: Segments in a frame.
        depth: Containers inside each other in one value.
        objects: How many objects a frame may become, in the units of :mod:`qmi.net.codec.budget`: a list or dict counts
            8, a named value 40, an error 120, a proxy 800, each item of a packed list 1, 2 or 4.
        open_requests: Requests of one side that have no answer yet.
        request_bytes: What these may take up together, in bytes of memory as :mod:`.memory_estimate` estimates
            them; one request is always allowed.
        all_request_bytes: What those on all links that share these limits may take up together, besides arrays.
        arriving: Bytes of large segments that are arriving at the same time, on all links that share these limits; and
            of all segments of their requests that have no answer yet.
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
    request_bytes: int = 96 << 20
    all_request_bytes: int = 128 << 20
    arriving: int = 2 << 30
    hello_timeout: float = 5.0
    ping_after: float = 4.0
    silence: float = 14.0

    @property
    def peer_timeout(self) -> float:
        """The setting that the silence comes from, in seconds."""
        return self.silence / SILENCE_PER_PEER_TIMEOUT

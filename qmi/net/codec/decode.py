"""How tags become values again, each checked, none running code that the sender can choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MethodType

from qmi.net.codec.rows import Malformed, Memory, Restore, typed
from qmi.net.codec.table import BY_TAG, SegmentMemory


class Decoder(dict[int, Callable[[object, bool], object]]):
    """The mapping from tags to values that cbor2 decodes with; made for one frame if that has segments.

    Args:
        segments: Memory that the frame brought along; each is used exactly once.
        restore: Makes an object of the plain values that stood for it (a proxy).
        objects: How many objects the packed lists of the frame may become; None if its size is limit enough.
    """

    def __init__(
        self, segments: Sequence[Memory] = (), restore: Restore | None = None, objects: int | None = None
    ) -> None:
        super().__init__()
        self._segments: list[Memory | None] = list(segments)
        self._restore = restore
        self._unused = len(self._segments)
        self._objects = objects

    def __missing__(self, tag: int) -> object:
        """Find what a tag means when it is met first; close every tag that is not known, before its payload is read."""
        rebuild = BY_TAG.get(tag)
        if rebuild is None:
            raise Malformed(f"CBOR tag {tag} is not used by this protocol")
        found = self[tag] = MethodType(rebuild, self)
        return found

    def finish(self) -> None:
        """Check that the frame brought no segment that nothing refers to.

        Raises:
            Malformed: If it did.
        """
        if self._unused:
            raise Malformed(f"{self._unused} segments of the frame are not used")

    def open_segment(self, number: int) -> Memory:
        """Return a segment that was not used before."""
        memory = self._segments[number] if 0 <= number < len(self._segments) else None
        if memory is None:
            raise Malformed(f"segment {number} is not there, or used twice")
        self._segments[number] = None
        return memory

    def take(self, value: object) -> Memory:
        """Return the bytes of a payload: themselves, or those of a segment."""
        if type(value) is bytes:
            return value
        memory = typed(value, SegmentMemory).memory
        self._unused -= 1
        return memory

    def spend(self, objects: int) -> None:
        """Count objects that are about to be made of packed bytes.

        Raises:
            Malformed: If they are too many.
        """
        if self._objects is not None:
            self._objects -= objects
            if self._objects < 0:
                raise Malformed("packed lists have too many objects in them")

    def restore(self, plain: object) -> object:
        """Return the object that plain values stand for."""
        if self._restore is None:
            raise Malformed("a reference to an object came over a link that has none")
        return self._restore(plain)

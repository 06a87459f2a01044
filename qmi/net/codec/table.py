"""Everything that travels: one row for each tag, read by the encoder and by the decoder.

A type of Python's own is found by itself; what is found otherwise (enums, named tuples, dataclasses, exceptions,
arrays, values of libraries, proxies) is sorted out by :class:`~qmi.net.codec.encode.Encoder`. Lists, dicts and scalars
need no tag.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qmi.net.codec import arrays, builtin_types, columns, exceptions, libraries, named_types, packed
from qmi.net.codec.rows import Decoding, Encoding, Malformed, Memory, Row, typed
from qmi.net.codec.tags import Own


class SegmentMemory:
    """Holds a segment until the tag around it takes it; a value of a user never contains one."""

    __slots__ = ("memory",)

    def __init__(self, memory: Memory) -> None:
        self.memory: Memory = memory


def _segment(decoding: Decoding, payload: object, _: bool) -> SegmentMemory:
    return SegmentMemory(decoding.open_segment(typed(payload, int)))


def _persistent(decoding: Decoding, payload: object, _: bool) -> object:
    return decoding.restore(payload)


ROWS: tuple[Row, ...] = (
    Row(Own.SEGMENT, _segment),
    Row(Own.PERSISTENT, _persistent),
    *builtin_types.ROWS,
    *packed.ROWS,
    *columns.ROWS,
    *arrays.ROWS,
    *named_types.ROWS,
    *exceptions.ROWS,
    *libraries.ROWS,
)
BY_TYPE: Mapping[type, Callable[[Encoding, Any, int], object]] = {
    cls: row.lower for row in ROWS if row.lower is not None for cls in row.types
}
BY_TAG: Mapping[int, Callable[[Decoding, object, bool], object]] = {row.tag: row.rebuild for row in ROWS}

__all__ = ["BY_TAG", "BY_TYPE", "ROWS", "Malformed", "SegmentMemory"]

"""The rows of a log in batches, column by column, as numpy and HDF5 take them, which is quicker by far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from qmi.data.record_format import Block, decoded
from qmi.data.row_format import RowLayout

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, numpy.dtype[Any]]

_FEW: Final = 16
"""Rows of one layout below which they are read one by one, unless they are long."""
_LONG: Final = 2048
_BETWEEN: Final = 64
_BATCH_ROWS: Final = 1024
_BATCH_BYTES: Final = 4 << 20


@dataclass
class RowBatch:
    """Some rows.

    Attributes:
        numbers: Their numbers.
        times: When they were added, in nanoseconds after the start.
        columns: The values of each column: an array, or a list of them as they stand in the log.
    """

    numbers: Array
    times: Array
    columns: Sequence[Array | list[object]]

    def __len__(self) -> int:
        return len(self.numbers)


def batches(blocks: Iterable[Block]) -> Iterator[RowBatch | object]:
    """What records have, in their order: rows in batches, anything else as it stands there."""
    known: dict[int, RowLayout] = {}
    single = _Rows()
    for block in blocks:
        at = 0
        while at < block.count:
            layout, count = _layout(block, at, known)
            if layout is not None and (count >= _FEW or block.size >= _LONG):
                known[block.size] = layout
                yield from single.flush()
                yield RowBatch(*layout.columns(block, at, count))
            else:
                # Looking for a layout again takes as long as reading some rows.
                count = block.count - at if layout is None else min(_BETWEEN, block.count - at)
                for index in range(at, at + count):
                    yield from single.take(block.payload(index))
            at += count
    yield from single.flush()


def _layout(block: Block, at: int, known: dict[int, RowLayout]) -> tuple[RowLayout | None, int]:
    """The layout of a row, and how many rows have it from there on."""
    if block.count - at < _FEW and block.size < _LONG:
        return None, 0
    layout = known.get(block.size)
    count = layout.count(block, at) if layout is not None else 0
    if not count:
        layout = RowLayout.of(block.payload(at))
        count = 0 if layout is None else layout.count(block, at)
    return layout, count


class _Rows:
    """Collects rows that are read one by one."""

    def __init__(self) -> None:
        self._rows: list[list[object]] = []
        self._bytes = 0

    def take(self, payload: bytes) -> Iterator[RowBatch | object]:
        record = decoded(payload)
        if not (isinstance(record, list) and len(record) > 2 and all(type(item) is int for item in record[:2])):
            yield from self.flush()
            yield record
            return
        if self._rows and len(record) != len(self._rows[0]):
            yield from self.flush()
        self._rows.append(record)
        self._bytes += len(payload)
        if len(self._rows) >= _BATCH_ROWS or self._bytes >= _BATCH_BYTES:
            yield from self.flush()

    def flush(self) -> Iterator[RowBatch]:
        if self._rows:
            import numpy

            rows, self._rows, self._bytes = self._rows, [], 0
            numbers, times, *columns = (list(column) for column in zip(*rows, strict=True))
            yield RowBatch(numpy.array(numbers, "i8"), numpy.array(times, "i8"), columns)

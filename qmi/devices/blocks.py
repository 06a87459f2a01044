"""IEEE 488.2 blocks: ``#``, the number of digits of the length, the length, the data."""

from __future__ import annotations

from typing import Any

from qmi.errors import QMI_InstrumentException


def block_header(header: bytes) -> int:
    """How many digits of the length follow the first two bytes of a block; 0 for a block of indefinite length.

    Raises:
        QMI_InstrumentException: If this is no block.
    """
    if header[:1] != b"#":
        raise QMI_InstrumentException(f"Invalid binary data format, expecting b'#' but got {header[:1]!r}")
    if not header[1:2].isdigit():
        raise QMI_InstrumentException(f"Invalid binary data format, expecting digit but got {header[1:2]!r}")
    return int(header[1:2])


def check_length_digits(size: bytes) -> int:
    """The length of a block.

    Raises:
        QMI_InstrumentException: If it is no number.
    """
    if not size.isdigit():
        raise QMI_InstrumentException(f"Invalid binary data format, expecting data size but got {size!r}")
    return int(size)


def memory_for(nbytes: int, dtype: Any) -> Any:
    """A numpy array of so many bytes, to receive data into.

    Raises:
        QMI_InstrumentException: If that is no number of whole items.
    """
    import numpy

    kind = numpy.dtype(dtype)
    _check_whole(nbytes, kind)
    return numpy.empty(nbytes // kind.itemsize, kind)


def as_array(data: bytes, dtype: Any) -> Any:
    """The data as a numpy array that can be written to.

    Raises:
        QMI_InstrumentException: If they are no whole items.
    """
    import numpy

    kind = numpy.dtype(dtype)
    _check_whole(len(data), kind)
    return numpy.frombuffer(bytearray(data), kind)


def _check_whole(nbytes: int, kind: Any) -> None:
    if nbytes % kind.itemsize:
        raise QMI_InstrumentException(f"A block of {nbytes} bytes has no whole number of items of {kind.itemsize}")

"""IEEE 488.2 blocks: ``#``, the number of digits of the length, the length, the data."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from qmi.errors import QMI_InstrumentException, QMI_MissingLibraryException


def import_numpy() -> ModuleType:
    """Numpy.

    Raises:
        QMI_MissingLibraryException: If it is not installed.
    """
    try:
        import numpy
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        raise QMI_MissingLibraryException(
            "Blocks are read and sent as arrays of the Python package 'numpy', which is not installed: "
            "pip install 'qmi-trio[numpy]'"
        ) from error
    return numpy


class Block:
    """Type of a parameter whose value is a binary block: a numpy array of one dimension.

    Numpy is needed where the instrument is, and where the values are used: ``pip install 'qmi-trio[numpy]'``.

    Args:
        dtype: Type of the items, with their byte order, as numpy names it: ``"<f4"``, ``">i2"``, ``"u1"``.
    """

    __slots__ = ("dtype",)

    def __init__(self, dtype: str = "u1") -> None:
        if not isinstance(dtype, str) or not dtype.strip():
            raise TypeError(f"dtype must be a text such as '<f4', got {dtype!r}")
        self.dtype: str = dtype

    def __repr__(self) -> str:
        return f"Block({self.dtype!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Block) and other.dtype == self.dtype

    def __hash__(self) -> int:
        return hash((Block, self.dtype))


def block_of(data: bytes | bytearray | memoryview) -> bytes:
    """A block of definite length with these data."""
    length = str(len(data)).encode("ascii")
    if len(length) > 9:
        raise ValueError(f"a block holds less than 10**9 bytes, got {len(data)}")
    return b"#" + str(len(length)).encode("ascii") + length + bytes(data)


def array_block(values: object, dtype: str) -> bytes:
    """A block of definite length with numbers.

    Args:
        values: The numbers: a numpy array, or what becomes one.
        dtype: Type of the items, with their byte order.

    Raises:
        ValueError: If they are not numbers in one row, or do not fit the type: integers lose nothing, and floats
            only digits.
    """
    numpy: Any = import_numpy()

    array, kind = numpy.asarray(values), numpy.dtype(dtype)
    if array.ndim != 1 or array.dtype.kind not in "iufb":
        raise ValueError(f"must be numbers in one row, got an array of type {array.dtype} and shape {array.shape}")
    if kind.kind in "iu" and array.size:
        low, high = numpy.iinfo(kind).min, numpy.iinfo(kind).max
        if array.dtype.kind == "f" and not (numpy.isfinite(array).all() and (array == numpy.trunc(array)).all()):
            raise ValueError(f"must be whole numbers to be sent as {kind}")
        if array.min() < low or array.max() > high:
            raise ValueError(f"must be from {low} to {high} to be sent as {kind}, got {array.min()} to {array.max()}")
    return block_of(array.astype(kind).tobytes())


def data_of_block(block: bytes) -> bytes:
    """The data of a whole block, without what follows it.

    Raises:
        QMI_InstrumentException: If this is no whole block.
    """
    digits = block_header(block[:2])
    if digits == 0:
        return block[2:].rstrip(b"\r\n")
    begin = 2 + digits
    length = check_length_digits(block[2:begin])
    if len(block) < begin + length:
        raise QMI_InstrumentException(f"A block of {length} bytes was announced, and {len(block) - begin} came")
    return block[begin : begin + length]


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
    numpy: Any = import_numpy()

    kind = numpy.dtype(dtype)
    _check_whole(nbytes, kind)
    return numpy.empty(nbytes // kind.itemsize, kind)


def as_array(data: bytes, dtype: Any) -> Any:
    """The data as a numpy array that can be written to.

    Raises:
        QMI_InstrumentException: If they are no whole items.
    """
    numpy: Any = import_numpy()

    kind = numpy.dtype(dtype)
    _check_whole(len(data), kind)
    return numpy.frombuffer(bytearray(data), kind)


def _check_whole(nbytes: int, kind: Any) -> None:
    if nbytes % kind.itemsize:
        raise QMI_InstrumentException(f"A block of {nbytes} bytes has no whole number of items of {kind.itemsize}")


Block.__module__ = "qmi.core.driver"

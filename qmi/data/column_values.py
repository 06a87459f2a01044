"""What a column of a run takes, how a value stands in the log, and what the types of all its values have in common.

A column has numbers, truth values, texts, or times; members of enums are kept by their names. None is no value, which
every column takes. What the first value was decides: a column of numbers takes no text afterwards. Numbers may become
more general on the way, from int to float to complex. In a column of arrays all arrays have one shape.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from numbers import Complex, Integral, Real
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cbor2 import CBORTag

from qmi.errors import QMI_InvalidValueException
from qmi.parameters.snapshot import show_value
from qmi.parameters.units import in_unit

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, numpy.dtype[Any]]

TAG_TIME: Final = 60001
TAG_ARRAY: Final = 60002
"""Tags of CBOR in a log: nanoseconds since 1970 in UTC; ``[dtype, shape, bytes or texts]``."""

_LARGE: Final = 2048
"""Bytes from which on the memory of an array goes straight into the log."""
MISSING_BITS: Final = 0x7FF8_0000_514D_4901
MISSING: Final[float] = struct.unpack("<d", struct.pack("<Q", MISSING_BITS))[0]
"""What stands for None in the file, among numbers: a NaN of its own, so that it is told from NaN that was measured."""
_MISSING_BYTES: Final = struct.pack("<Q", MISSING_BITS)

NUMBERS: Final = ("int", "float", "complex")
_WORDS: Final = {
    "none": "no values",
    "bool": "truth values",
    "int": "numbers",
    "float": "numbers",
    "complex": "numbers",
    "text": "texts",
    "time": "times",
}
_KINDS_OF_ARRAYS: Final = {"b": "bool", "i": "int", "u": "int", "f": "float", "c": "complex", "U": "text", "M": "time"}
_PLAIN: Final = {bool: "bool", int: "int", float: "float", complex: "complex", str: "text"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MIN_INT: Final = -(1 << 63)
_MAX_INT: Final = (1 << 63) - 1
_EXACT: Final = 1 << 53
"""The greatest integer up to which a float of 64 bits has all integers."""
_MAX_DIMENSIONS: Final = 31
"""Of an array; HDF5 has 32, and rows are one of them."""
_MIN_TIME: Final = datetime(1678, 1, 1, tzinfo=UTC)
_MAX_TIME: Final = datetime(2262, 1, 1, tzinfo=UTC)


class ColumnType(NamedTuple):
    """What the values of a column have in common.

    Attributes:
        kind: "none", "bool", "int", "float", "complex", "text" or "time".
        shape: Of its arrays; empty for plain values, None as long as there was no value.
        missing: Whether there is None among the values.
        dtype: The type of numpy that all its arrays have; empty if they differ, or for plain values.
        low: The least of its integers of 64 bits, if that is less than 0; known when all of them are there.
        high: The greatest, if that is more than 0.
    """

    kind: str = "none"
    shape: tuple[int, ...] | None = None
    missing: bool = False
    dtype: str = ""
    low: int = 0
    high: int = 0

    @property
    def fill(self) -> int | None:
        """What stands for None in the file among integers that a float cannot have; else None.

        Integers with None among them are floats with NaN in the file, as long as none of them loses digits.
        """
        if self.kind != "int" or not self.missing or (self.low >= -_EXACT and self.high <= _EXACT):
            return None
        if self.low > _MIN_INT:
            return _MIN_INT
        return _MAX_INT if self.high < _MAX_INT else None

    def __str__(self) -> str:
        words = _WORDS[self.kind]
        return f"arrays of {words}, of shape {self.shape}" if self.shape else words


class Encoded(NamedTuple):
    """A value as it stands in the log, and its type.

    Attributes:
        plain: What CBOR has; the bytes of a large array are not there yet.
        type: Its type.
        array: The large array.
    """

    plain: object
    type: ColumnType
    array: Array | None = None

    def complete(self) -> object:
        """What CBOR has, with the bytes of the array."""
        if self.array is None:
            return self.plain
        return CBORTag(TAG_ARRAY, [self.type.dtype, list(self.array.shape), self.array.tobytes()])


NOTHING: Final = Encoded(None, ColumnType(missing=True))


def joined(one: ColumnType, other: ColumnType) -> ColumnType | None:
    """The type of a column that has values of both; None if no column can."""
    missing = one.missing or other.missing
    if one.kind == "none" or other.kind == "none":
        known = other if one.kind == "none" else one
        return known._replace(missing=missing)
    if one.shape != other.shape:
        return None
    if one.kind == other.kind:
        low, high = min(one.low, other.low), max(one.high, other.high)
        return ColumnType(one.kind, one.shape, missing, one.dtype if one.dtype == other.dtype else "", low, high)
    if one.kind in NUMBERS and other.kind in NUMBERS:
        return ColumnType(max(one.kind, other.kind, key=NUMBERS.index), one.shape, missing)
    return None


def encoded(value: object, column: str, unit: str = "") -> Encoded:
    """Find out what a value is, and how it is written.

    Args:
        value: What the user gave; quantities of pint are converted.
        column: The column, for messages.
        unit: Its unit.

    Raises:
        QMI_InvalidValueException: If no column can have it.
    """
    value = in_unit(value, unit, column)
    if value is None:
        return NOTHING
    kind = type(value)
    if kind is float:
        return Encoded(value, ColumnType("float", ()))
    if kind is bool or _is_numpy(value, "bool_"):
        return Encoded(bool(value), ColumnType("bool", ()))
    if isinstance(value, Enum):
        return Encoded(value.name, ColumnType("text", ()))
    if isinstance(value, str):
        return Encoded(_text(str(value), column), ColumnType("text", ()))
    if isinstance(value, datetime):
        return _encoded_time(value, column)
    if _is_numpy(value, "datetime64") or _is_numpy(value, "ndarray") or isinstance(value, list | tuple):
        return _array(value, column)
    if isinstance(value, Complex) and not _is_numpy(value, "timedelta64"):
        return _number(value, column)
    if hasattr(value, "__array__") and not _is_numpy(value, "timedelta64"):
        return _array(value, column)
    hint = ": give a duration as a number, such as seconds" if "timedelta" in kind.__name__.lower() else ""
    raise QMI_InvalidValueException(
        f"{column} must be a number, a text, a bool, a datetime, an enum or an array of these, or None; got "
        f"{show_value(value)} of type {kind.__name__}{hint}"
    )


def _encoded_time(value: datetime, column: str) -> Encoded:
    if value != value:
        return NOTHING
    return Encoded(_time(value, column), ColumnType("time", ()))


def _is_numpy(value: object, name: str) -> bool:
    # A value of it can be here only if it was imported; that another thread may be doing just now.
    kind = getattr(sys.modules.get("numpy"), name, None)
    return kind is not None and isinstance(value, kind)


def _number(value: Complex, column: str) -> Encoded:
    if isinstance(value, Integral):
        number = int(value)
        if not _MIN_INT <= number <= _MAX_INT:
            raise QMI_InvalidValueException(
                f"{column} must be an integer of at most 64 bits, got {show_value(number)}: give a float or a text"
            )
        return Encoded(number, ColumnType("int", ()))
    if isinstance(value, Real):
        return Encoded(float(value), ColumnType("float", ()))
    return Encoded(complex(value), ColumnType("complex", ()))


def _text(text: str, column: str) -> str:
    if "\0" in text:
        raise QMI_InvalidValueException(
            f"{column} must be a text without NUL characters, which the final file cannot have; got {show_value(text)}"
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise QMI_InvalidValueException(f"{column} must be a text that UTF-8 has, got {text!a}") from error
    return text


def _time(value: datetime, column: str) -> CBORTag:
    aware = value.astimezone(UTC)  # one without a time zone is in local time
    if not _MIN_TIME <= aware < _MAX_TIME:
        raise QMI_InvalidValueException(f"{column} must be a time from 1678 to 2261, got {value}")
    nanoseconds = (aware - _EPOCH) // _MICROSECOND * 1000 + int(getattr(value, "nanosecond", 0))
    return CBORTag(TAG_TIME, nanoseconds)


def _array(value: object, column: str) -> Encoded:
    import numpy

    array = _as_array(value, column)
    if array is None:
        return NOTHING
    kind = _KINDS_OF_ARRAYS[array.dtype.kind]
    if kind == "text":
        texts = [_text(text, column) for text in array.ravel().tolist()]
        if not array.shape:
            return Encoded(texts[0], ColumnType(kind, ()))
        return Encoded(CBORTag(TAG_ARRAY, ["U", list(array.shape), texts]), ColumnType(kind, array.shape))
    if not array.shape and kind != "time":
        return encoded(array[()].item(), column)
    array = array.astype(_dtype_of_file(array.dtype, kind), copy=False)
    if not array.shape:
        return Encoded(CBORTag(TAG_TIME, int(array.view("i8")[()])), ColumnType(kind, ()))
    found = Encoded(None, ColumnType(kind, array.shape, dtype=array.dtype.str), numpy.ascontiguousarray(array))
    return found if array.nbytes >= _LARGE else Encoded(found.complete(), found.type)


def _dtype_of_file(dtype: numpy.dtype[Any], kind: str) -> numpy.dtype[Any]:
    """The type by which an array is kept: its own, unless only numpy knows it."""
    import numpy

    if kind == "time":
        return numpy.dtype("<M8[ns]")
    if kind == "float" and dtype.itemsize not in (4, 8):
        return numpy.dtype("<f4" if dtype.itemsize < 4 else "<f8")
    if kind == "complex" and dtype.itemsize > 16:
        return numpy.dtype("<c16")
    return dtype.newbyteorder("<")


def _as_array(value: object, column: str) -> Array | None:
    """The array that is meant; None if it is a single value that is not there.

    Raises:
        QMI_InvalidValueException: If no column can have it.
    """
    import numpy

    try:
        array = _unmasked(value) if isinstance(value, numpy.ma.MaskedArray) else numpy.asarray(value)
    except ValueError as error:
        raise QMI_InvalidValueException(
            f"{column} must be an array whose rows are equally long, of at most {_MAX_DIMENSIONS} dimensions: {error}"
        ) from error
    if array is None or (not array.shape and array.dtype.kind == "M" and numpy.isnat(array)):
        return None
    if array.dtype.kind == "U" and isinstance(value, list | tuple):
        array = numpy.array(value, dtype=object)  # numpy makes texts of numbers that are beside texts
    if array.dtype.kind == "O":
        array = _of_objects(array, column)
    _check_array(array, column)
    return array


def _check_array(array: Array, column: str) -> None:
    if array.dtype.kind not in _KINDS_OF_ARRAYS or array.dtype.fields is not None:
        raise QMI_InvalidValueException(
            f"{column} must be an array of numbers, texts, bools or times, all of one kind, got one of type "
            f"{array.dtype}{_hint(array)}"
        )
    if array.ndim > _MAX_DIMENSIONS:
        raise QMI_InvalidValueException(
            f"{column} must be an array of at most {_MAX_DIMENSIONS} dimensions, got {array.ndim}"
        )
    if not array.size:
        raise QMI_InvalidValueException(f"{column} must be an array with elements, got one of shape {array.shape}")
    if array.dtype == "u8" and int(array.max()) > _MAX_INT:
        raise QMI_InvalidValueException(f"{column} must be integers of at most 63 bits, got {array.max()}")
    if array.dtype.kind == "M":
        _check_times(array, column)


def _unmasked(value: Any) -> Array | None:
    """An array with NaN where it is masked; None if it is a single value that is masked."""
    import numpy

    if not numpy.ma.is_masked(value):
        return numpy.asarray(value.data)
    if not value.shape:
        return None
    if value.dtype.kind in "biuf":
        return numpy.asarray(value.astype("f8" if value.dtype.kind in "biu" else value.dtype).filled(numpy.nan))
    if value.dtype.kind == "c":
        return numpy.asarray(value.filled(complex(numpy.nan, numpy.nan)))
    if value.dtype.kind == "M":
        return numpy.asarray(value.filled(numpy.datetime64("NaT")))
    raise ValueError(f"masked elements of type {value.dtype} cannot be kept")


def _check_times(array: Array, column: str) -> None:
    """Refuse times that nanoseconds of 64 bits have not: numpy would make others of them."""
    import numpy

    there = array[~numpy.isnat(array)]
    # In seconds, which have room for all times in finer units; those in coarser ones are of no use that far away.
    seconds = there.astype("M8[s]") if numpy.datetime_data(array.dtype)[0] not in ("Y", "M", "W", "D") else there
    low, high = numpy.datetime64(_MIN_TIME.date(), "D"), numpy.datetime64(_MAX_TIME.date(), "D")
    if seconds.size and not (seconds.min() >= low and seconds.max() < high):
        wrong = seconds.min() if seconds.min() < low else seconds.max()
        raise QMI_InvalidValueException(f"{column} must be a time from 1678 to 2261, got {wrong}")


def _hint(array: Array) -> str:
    """What to do about an array that no column can have."""
    if array.dtype.kind == "m":
        return ": give durations as numbers, such as seconds"
    if array.dtype.kind == "O" and any(item is None for item in array.flat):
        return " with None in it: float('nan') stands for a number that there is not"
    kinds = sorted({type(item).__name__ for item in array.flat}) if array.dtype.kind == "O" else []
    return f" ({', '.join(kinds[:5])})" if kinds else ""


def _of_objects(array: Array, column: str) -> Array:
    """An array of members of enums, of datetimes, or of numbers, as texts, times or numbers."""
    import numpy

    members = array.ravel().tolist()
    if members and all(isinstance(member, Enum | str) for member in members):
        texts = [member.name if isinstance(member, Enum) else member for member in members]
        return numpy.array(texts, dtype=str).reshape(array.shape)
    if members and all(isinstance(member, datetime) for member in members):
        times = [_time(member, column).value for member in members]
        return numpy.array(times, dtype="i8").view("M8[ns]").reshape(array.shape)
    if members and all(isinstance(member, Complex) and not isinstance(member, Enum) for member in members):
        numbers = numpy.array([_number(member, column).plain for member in members])
        bools = all(isinstance(member, bool | numpy.bool_) for member in members)
        return (numbers.astype(bool) if bools else numbers).reshape(array.shape)
    return array


def names_of_columns(columns: object) -> dict[str, str]:
    """The columns of a run and their units.

    Args:
        columns: A mapping of names to units, or the names alone.

    Raises:
        QMI_InvalidValueException: If a name or a unit will not do.
    """
    if isinstance(columns, str) or not hasattr(columns, "__iter__"):
        raise QMI_InvalidValueException(
            f"columns must be a mapping of names to units, such as {{'T': 'K', 'V': 'V'}}, or names; got {columns!r}"
        )
    if not isinstance(columns, Mapping):
        columns = list(columns)
        if repeated := [name for at, name in enumerate(columns) if name in columns[:at]]:
            raise QMI_InvalidValueException(f"columns must have different names, got {repeated[0]!r} twice")
    units = dict(columns) if isinstance(columns, Mapping) else dict.fromkeys(map(_named, columns), "")
    if not units:
        raise QMI_InvalidValueException("columns must have at least one name, such as {'T': 'K'}; got none")
    for name, unit in units.items():
        check_name(name, "a column")
        if not isinstance(unit, str | None):
            raise QMI_InvalidValueException(f"the unit of column {name} must be a text such as 'V', got {unit!r}")
        _text(unit or "", f"the unit of column {name}")
    return {name: unit or "" for name, unit in units.items()}


def _named(name: object) -> Any:
    check_name(name, "a column")
    return name


def check_name(name: object, what: str) -> None:
    """Refuse what netCDF has no name for.

    Raises:
        QMI_InvalidValueException: If it is no name; says why.
    """
    if not isinstance(name, str) or not name or not name.isprintable() or "/" in name or " " in name:
        raise QMI_InvalidValueException(
            f"the name of {what} must be a text without blanks and without '/', got {name!r}"
        )
    if name == "row":
        raise QMI_InvalidValueException(f"the name of {what} cannot be 'row': that is what rows are counted by")
    if not (name[0].isalnum() or name[0] == "_"):
        raise QMI_InvalidValueException(f"the name of {what} must begin with a letter, a digit or '_', got {name!r}")


def convert(values: Array | list[object], kind: ColumnType) -> Array:
    """The values of a column, as they stand in the log, as an array of the type that they have in common.

    Texts are objects, times nanoseconds since 1970 in UTC, and truth values numbers of 8 bits. What is None is NaN, an
    empty text, no time, or among large integers one that is no value of the column.
    """
    import numpy

    shape = kind.shape or ()
    dtype, nothing = storage(kind)
    if not isinstance(values, list):
        return (values.view("i8") if values.dtype.kind == "M" else values).astype(dtype, copy=False)
    result = numpy.empty((len(values), *shape), dtype)
    if not shape and not kind.missing and kind.kind in ("bool", "int", "float", "complex", "text"):
        result[:] = values
        return result
    for index, value in enumerate(values):
        result[index] = nothing if value is None else _decoded(value)
    return result


def storage(kind: ColumnType) -> tuple[str, object]:
    """How numpy keeps a column, and what stands for None."""
    if kind.kind == "text":
        return "O", ""
    if kind.kind == "time":
        return "i8", _MIN_INT
    if kind.dtype and not kind.missing:
        return ("i1" if kind.kind == "bool" else kind.dtype), None
    if kind.kind == "complex":
        return "c16", complex(MISSING, MISSING)
    if kind.fill is not None:
        return "i8", kind.fill
    if kind.kind in ("float", "none") or kind.missing:
        return "f8", MISSING
    return ("i1" if kind.kind == "bool" else "i8"), None


def _decoded(value: object) -> object:
    if not isinstance(value, CBORTag):
        return value
    if value.tag == TAG_TIME:
        return value.value
    import numpy

    dtype, shape, content = value.value
    if dtype == "U":
        return numpy.array(content, dtype=object).reshape(shape)
    array = numpy.frombuffer(content, dtype).reshape(shape)
    return array.view("i8") if array.dtype.kind == "M" else array


def time_of(nanoseconds: int) -> datetime:
    """The time of nanoseconds since 1970 in UTC."""
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def value_of(plain: Any) -> Any:
    """A value as those who read a run get it: as it was added, with members of enums as their names, and numpy arrays.

    Args:
        plain: The value as it stands in the log.
    """
    if not isinstance(plain, CBORTag):
        return plain
    if plain.tag == TAG_TIME:
        return time_of(plain.value)
    import numpy

    dtype, shape, content = plain.value
    if dtype == "U":
        return numpy.array(content, dtype=str).reshape(shape)
    return numpy.frombuffer(content, dtype).reshape(shape).copy()


def values_of_file(stored: Any, kind: ColumnType) -> list[Any]:
    """The same for what is in the file: values of a column, each as :func:`value_of` gives it.

    Args:
        stored: What the file has, an array of rows.
        kind: The type of the column. Empty texts of one that has None among its texts are taken for None.
    """
    return [_value_of_file(value, kind) for value in (stored if kind.shape or kind.kind == "text" else stored.tolist())]


def _value_of_file(value: Any, kind: ColumnType) -> Any:
    if kind.missing and _is_missing(value, kind):
        return None
    if kind.shape:
        return _array_of_file(value, kind)
    if kind.kind == "time":
        return time_of(value)
    if kind.kind == "text":
        return _text_of_file(value)
    return {"bool": bool, "int": int}.get(kind.kind, _same)(value)


def _is_missing(value: Any, kind: ColumnType) -> bool:
    first = value.flat[0] if kind.shape else value
    if kind.kind == "text":
        return all(text in (b"", "") for text in (value.flat if kind.shape else [value]))
    if kind.kind == "time":
        return bool(first == _MIN_INT)
    if kind.fill is not None:
        return int(first) == kind.fill
    number = first.real if isinstance(first, complex) else float(first)
    return number != number and struct.pack("<d", number) == _MISSING_BYTES  # only NaN differs from itself


def _array_of_file(value: Any, kind: ColumnType) -> Any:
    import numpy

    if kind.kind == "text":
        return numpy.array([_text_of_file(text) for text in value.ravel()], dtype=str).reshape(value.shape)
    if kind.kind == "time":
        return value.astype("i8").view("M8[ns]")
    return value.astype(kind.dtype or {"bool": "bool", "int": "i8"}.get(kind.kind, value.dtype))


def _text_of_file(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _same(value: Any) -> Any:
    return value


def type_of_plain(value: object) -> ColumnType:
    """The type of a value as it stands in the log."""
    if value is None:
        return NOTHING.type
    if isinstance(value, CBORTag):
        if value.tag == TAG_ARRAY:
            dtype, shape, _ = value.value
            if dtype == "U":
                return ColumnType("text", tuple(shape))
            return _type_of_array(_decoded(value), tuple(shape), dtype)
        return ColumnType("time", ())
    return ColumnType(_PLAIN[type(value)], ())


def _type_of_array(array: Any, shape: tuple[int, ...], dtype: str) -> ColumnType:
    kind = _KINDS_OF_ARRAYS[dtype[1]]
    if kind != "int" or array.dtype.itemsize < 8 or not array.size:
        return ColumnType(kind, shape, dtype=dtype)
    return ColumnType(kind, shape, False, dtype, min(int(array.min()), 0), max(int(array.max()), 0))


def type_of_column(values: Array | list[object]) -> ColumnType | None:
    """The type of values of a column as they stand in the log, or in an array; None if no column has all of them."""
    if not isinstance(values, list):
        found = _type_of_array(values, values.shape[1:], values.dtype.str)
        return found if found.shape else found._replace(dtype="")
    both: ColumnType | None = ColumnType()
    if CBORTag not in (kinds := set(map(type, values))):
        types = [NOTHING.type if kind is type(None) else ColumnType(_PLAIN[kind], ()) for kind in kinds]
        if int in kinds:
            integers = values if len(kinds) == 1 else [value for value in values if type(value) is int]
            types.append(ColumnType("int", (), low=min(0, *integers), high=max(0, *integers)))
    else:
        types = list(dict.fromkeys(map(type_of_plain, values)))
    for one in types:
        both = both and joined(both, one)
    return both

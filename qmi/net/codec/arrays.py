"""How numpy arrays and scalars are described on the wire; numpy is imported only where an array is met."""

from __future__ import annotations

import math
import re
import struct
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from cbor2 import CBORTag

from qmi.net.codec.rows import Decoding, Encoding, Malformed, Memory, Refusal, Row, sized, typed
from qmi.net.codec.tags import COLUMN_MAJOR, ROW_MAJOR, TYPED_ARRAYS, Own
from qmi.net.codec.unknown import NO_NUMPY, NamedKind, UnknownArray, UnknownTypeValue, make_unknown

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    AnyDtype: TypeAlias = np.dtype[Any]
    AnyArray: TypeAlias = npt.NDArray[Any]

_UNITS = "Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as|generic"
_PLAIN_DTYPE = re.compile(rf"[<>|=][biufcSUV][0-9]{{1,9}}|[<>|=][mM]8(\[([1-9][0-9]{{0,8}})?({_UNITS})\])?", re.ASCII)
_TAG_TO_DTYPE = {tag: name for name, tag in TYPED_ARRAYS.items()}
MAX_DIMENSIONS = 32
"""More than these are not taken by every numpy that is in use."""
MAX_DTYPE_DEPTH = 8
"""How many structures and arrays may be inside each other in one element."""
_MAX_CHARACTER = 0x10FFFF
_UNREADABLE = "numpy cannot read some elements: texts with numbers that are no characters, or dates without a unit"


class UnsendableArray(Exception):
    """An array that cannot be sent; the text says why."""


def loaded_numpy() -> ModuleType | None:
    """Return numpy if this program uses it, else None: nothing can be an array then."""
    module = sys.modules.get("numpy")
    return module if hasattr(module, "ndarray") else None


_NUMBERS = "?bhilqBHILQefdFD"
_numpy_itself: frozenset[type] = frozenset()


def is_numpy_itself(kind: type) -> bool:
    """Whether this is the type of numpy's arrays, or of one of its numbers, but no subclass of these."""
    global _numpy_itself
    if not _numpy_itself:  # two threads may both find out, and find the same
        numpy = loaded_numpy()
        if numpy is None:
            return False
        _numpy_itself = frozenset({numpy.ndarray, *(numpy.dtype(code).type for code in _NUMBERS)})
    return kind in _numpy_itself


def is_flag(value: object) -> bool:
    """Whether this is a bool of numpy."""
    numpy = loaded_numpy()
    return numpy is not None and type(value) is numpy.bool_


def flags_of(values: Sequence[object]) -> AnyArray | None:
    """Return what a list of numpy's bools has in it; None if something else is among them."""
    import numpy as np

    # There are just two of these objects, and where each item lies is compared in a third of the time that it takes to
    # look at its type and value. The array of items keeps them alive meanwhile.
    items = np.fromiter(values, object, len(values))
    places = np.ndarray(len(values), np.intp, items)
    flags: AnyArray = places == id(np.True_)
    known = np.count_nonzero(flags) + np.count_nonzero(places == id(np.False_))
    return flags if known == len(values) else None


def describe_dtype(dtype: AnyDtype, depth: int = 0) -> object:
    """Return an element type as text, or as lists if it has a structure.

    Raises:
        UnsendableArray: If elements of this type cannot be sent.
    """
    if dtype.hasobject:
        raise UnsendableArray(
            f"elements of dtype {dtype} are Python objects; give the array a plain dtype, or send a list"
        )
    if depth > MAX_DTYPE_DEPTH:
        raise UnsendableArray(f"its dtype is nested deeper than {MAX_DTYPE_DEPTH} levels")
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        if len(shape) > MAX_DIMENSIONS:
            raise UnsendableArray(f"an element has {len(shape)} dimensions; the limit is {MAX_DIMENSIONS}")
        return ["a", describe_dtype(base, depth + 1), list(shape)]
    if dtype.names is not None and dtype.fields is not None:
        fields = []
        for name in dtype.names:
            kind, offset, *title = dtype.fields[name]
            if title and type(title[0]) is not str:
                raise UnsendableArray(f"the title of field {name!r} is no text: {title[0]!r:.80}")
            fields.append([name, describe_dtype(kind, depth + 1), offset, *title])
        return ["s", dtype.itemsize, fields]
    text = dtype.str
    if text in TYPED_ARRAYS:
        return text
    if not _PLAIN_DTYPE.fullmatch(text):
        raise UnsendableArray(f"elements of dtype {dtype} have no form on the wire")
    return text


def build_dtype(described: object, depth: int = 0) -> AnyDtype:
    """Return the element type that was described.

    Raises:
        ValueError: If this describes no element type.
        TypeError: If numpy of this machine does not have it.
    """
    import numpy as np

    if type(described) is str:
        if described not in TYPED_ARRAYS and not _PLAIN_DTYPE.fullmatch(described):
            raise ValueError(f"{described[:40]!r} is no element type")
        return np.dtype(described)
    if type(described) is not list or len(described) != 3 or depth > MAX_DTYPE_DEPTH:
        raise ValueError("an element type is a text or a list of three")
    kind, first, second = described
    if kind == "a":
        return np.dtype((build_dtype(first, depth + 1), tuple(_sizes(second))))
    if kind != "s" or type(second) is not list or type(first) is not int:
        raise ValueError("the structure of an element type is not known")
    spec: dict[str, list[object]] = {"names": [], "formats": [], "offsets": [], "titles": []}
    for field in second:
        if type(field) is not list or len(field) not in (3, 4):
            raise ValueError("a field of an element type has a name, a type, an offset, perhaps a title")
        name, kind, offset, *title = field
        if type(name) is not str or type(offset) is not int or (title and type(title[0]) is not str):
            raise ValueError("name and title of a field of an element type are texts, its offset is a number")
        spec["names"].append(name)
        spec["formats"].append(build_dtype(kind, depth + 1))
        spec["offsets"].append(offset)
        spec["titles"].append(title[0] if title else None)
    if not any(spec["titles"]):
        del spec["titles"]
    made: AnyDtype = np.dtype({**spec, "itemsize": first})  # type: ignore[call-overload]
    return made


def _sizes(value: object) -> list[int]:
    if type(value) is not list or len(value) > MAX_DIMENSIONS or any(type(n) is not int or n < 0 for n in value):
        raise ValueError("a shape is a list of sizes")
    return value


def has_unreadable(array: AnyArray) -> bool:
    """Whether numpy fails when an element is read: texts with numbers that are no characters, dates without a unit."""
    import numpy as np

    dtype = array.dtype
    if dtype.names is not None:
        return any(has_unreadable(array[name]) for name in dtype.names)
    if dtype.kind == "M" and np.datetime_data(dtype)[0] == "generic":
        return not bool(np.isnat(array).all())
    if dtype.kind != "U" or not array.size or not dtype.itemsize:
        return False
    flat = np.ascontiguousarray(array).reshape(-1)
    return bool(flat.view(f"{dtype.byteorder}u4").max() > _MAX_CHARACTER)


# -- lowering


def lower_array(encoding: Encoding, array: AnyArray) -> CBORTag:
    """Turn an array of any layout into tags around its bytes, which are not copied if they lie together.

    Raises:
        UnsendableArray: If it cannot be sent.
    """
    import numpy as np

    described = describe_dtype(array.dtype)
    if array.dtype.itemsize == 0 and array.size:
        raise UnsendableArray(f"elements of dtype {array.dtype} have no bytes")
    if array.ndim > MAX_DIMENSIONS:
        raise UnsendableArray(f"it has {array.ndim} dimensions, the limit is {MAX_DIMENSIONS}; reshape it")
    if not array.flags.forc:  # it is copied
        encoding.check_bytes(array.nbytes)
    if array.dtype.kind in "UVM" and has_unreadable(array):
        raise UnsendableArray(_UNREADABLE)
    by_column = array.ndim > 1 and array.flags.f_contiguous and not array.flags.c_contiguous
    flat = np.ascontiguousarray(array.T if by_column else array).reshape(-1)
    data = encoding.add_segment(flat.view("u1").data if flat.nbytes else b"")
    tag = TYPED_ARRAYS.get(described) if type(described) is str else None
    tagged = CBORTag(Own.ARRAY, [described, data]) if tag is None else CBORTag(tag, data)
    if array.ndim == 1 and (tag is not None or array.dtype.itemsize):
        return tagged
    return CBORTag(COLUMN_MAJOR if by_column else ROW_MAJOR, [list(array.shape), tagged])


def lower_scalar(value: np.generic) -> CBORTag:
    """Turn a numpy scalar into a tag.

    Raises:
        UnsendableArray: If it cannot be sent.
    """
    dtype = value.dtype
    if isinstance(value, str | bytes):
        return CBORTag(Own.SCALAR, [dtype.kind, str(value) if isinstance(value, str) else bytes(value)])
    described = describe_dtype(dtype)
    if dtype.itemsize == 0:
        raise UnsendableArray("it has no bytes")
    if dtype.kind in "VM":
        import numpy as np

        if has_unreadable(np.asarray(value).reshape(1)):
            raise UnsendableArray(_UNREADABLE)
    return CBORTag(Own.SCALAR, [described, value.tobytes()])


def lower_numpy(encoding: Encoding, value: Any) -> object:
    """Lower an array or scalar; None if the value is none.

    Raises:
        Refusal: If it cannot be sent.
    """
    numpy = loaded_numpy()
    if numpy is None:
        return None
    try:
        if type(value) is numpy.ndarray:
            return lower_array(encoding, value)
        if isinstance(value, numpy.generic) and type(value) is not numpy.record:
            return lower_scalar(value)
    except UnsendableArray as error:
        raise Refusal(f"cannot be sent: {error}") from None
    return None


# -- rebuilding


def decode_flat(described: object, data: Memory) -> AnyArray | UnknownTypeValue:
    """Make a one-dimensional array around bytes, which it keeps; unknown if numpy is not here or lacks the dtype.

    Raises:
        ValueError: If the bytes do not fit the element type.
    """
    try:
        dtype = build_dtype(described)
    except (ImportError, TypeError):
        fields = {"dtype": str(described), "data": bytes(data)}
        return UnknownArray(NamedKind.ARRAY, "numpy:ndarray", fields, NO_NUMPY)
    import numpy as np

    if dtype.hasobject:
        raise ValueError("elements of an array cannot be objects")
    if dtype.itemsize == 0:
        if len(data):
            raise ValueError("elements without bytes have bytes")
        return np.empty(0, dtype)
    if len(data) == 0:
        return np.empty(0, dtype)
    if type(data) is bytes:
        data = bytearray(data)  # an array that was writable there is writable here
    array = np.frombuffer(data, dtype)
    if dtype.kind in "UVM" and has_unreadable(array):
        raise ValueError("an array has elements that numpy cannot read")
    return array


def _raw_array(decoding: Decoding, payload: object, _: bool) -> object:
    described, data = sized(payload, 2)
    return decode_flat(described, decoding.take(data))


def _typed_array(tag: int) -> Row:
    described = _TAG_TO_DTYPE[tag]

    def rebuild(decoding: Decoding, payload: object, _: bool) -> object:
        return decode_flat(described, decoding.take(payload))

    return Row(tag, rebuild)


def _shaped(payload: object, *, by_column: bool) -> object:
    sizes, flat = sized(payload, 2)
    shape = _sizes(sizes)
    if type(flat) is UnknownArray:
        return UnknownArray(flat.type_kind, flat.type_name, {**flat.fields, "shape": tuple(shape)}, flat.reason)
    numpy = loaded_numpy()
    if numpy is None or type(flat) is not numpy.ndarray or flat.ndim != 1:
        raise Malformed("a shape is given to something that is no flat array")
    if math.prod(shape) != flat.size:
        raise Malformed(f"an array of shape {shape} does not have {flat.size} elements")
    return flat.reshape(shape, order="F" if by_column else "C")


def _by_row(decoding: Decoding, payload: object, _: bool) -> object:
    return _shaped(payload, by_column=False)


def _by_column(decoding: Decoding, payload: object, _: bool) -> object:
    return _shaped(payload, by_column=True)


def _scalar(decoding: Decoding, payload: object, _: bool) -> object:
    described, data = sized(payload, 2)
    if described in ("U", "S"):
        typed(data, str if described == "U" else bytes)
        try:
            import numpy as np
        except ImportError:
            return _unknown_scalar(described, data, data)
        return np.str_(data) if described == "U" else np.bytes_(data)
    typed(data, bytes)
    flat = decode_flat(described, data)
    if isinstance(flat, UnknownTypeValue):
        return _unknown_scalar(flat.dtype, data, plain_number(described, data))
    if flat.size != 1:
        raise Malformed(f"a scalar has {flat.size} elements")
    return flat[0]


def _unknown_scalar(described: str, data: object, acting: object) -> UnknownTypeValue:
    fields = {"dtype": described, "data": data}
    return make_unknown(NamedKind.ARRAY, "numpy:generic", fields, NO_NUMPY, acting)


def scalar_without_numpy(described: str, data: bytes) -> UnknownTypeValue:
    """Return what stands for a numpy scalar where numpy is not."""
    return _unknown_scalar(described, data, plain_number(described, data))


_FORMATS = {"b1": "?", "f2": "e", "f4": "f", "f8": "d", **{f"{kind}{size}": code for kind, codes in
            (("i", "bhiq"), ("u", "BHIQ")) for size, code in zip((1, 2, 4, 8), codes, strict=True)}}  # fmt: skip


def plain_number(described: object, data: bytes) -> object:
    """Return the number that a numpy scalar was, without numpy; None if Python has no such number."""
    if type(described) is not str:
        return None
    code = _FORMATS.get(described[1:])
    form = struct.Struct((">" if described[:1] == ">" else "<") + code) if code else None
    if form is None or form.size != len(data):
        return None
    (number,) = form.unpack(data)
    return int(number) if type(number) is bool else number


ROWS = (
    Row(ROW_MAJOR, _by_row),
    Row(COLUMN_MAJOR, _by_column),
    Row(Own.ARRAY, _raw_array),
    Row(Own.SCALAR, _scalar),
    *(_typed_array(tag) for tag in TYPED_ARRAYS.values()),
)

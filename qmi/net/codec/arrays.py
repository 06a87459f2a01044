"""How numpy arrays and scalars are described on the wire; numpy is imported only where an array is met."""

from __future__ import annotations

import math
import re
import sys
from typing import Any

from cbor2 import CBORTag

from qmi.net.codec.tags import COLUMN_MAJOR, ROW_MAJOR, TYPED_ARRAYS, Own
from qmi.net.codec.unknown import NamedKind, UnknownTypeValue

_PLAIN_DTYPE = re.compile(r"[<>|=][biufcSUV][0-9]{1,9}|[<>|=][mM]8(\[[0-9]{0,9}[A-Za-z]{1,7}\])?")
_TAG_TO_DTYPE = {tag: name for name, tag in TYPED_ARRAYS.items()}
MAX_DIMENSIONS = 32


class UnsendableArray(Exception):
    """An array that cannot be sent; the text says why."""


def loaded_numpy() -> Any:
    """Return numpy if this program uses it, else None: nothing can be an array then."""
    module = sys.modules.get("numpy")
    return module if hasattr(module, "ndarray") else None


def describe_dtype(dtype: Any) -> Any:
    """Return an element type as text, or as lists if it has a structure.

    Raises:
        UnsendableArray: If elements of this type cannot be sent.
    """
    if dtype.hasobject:
        raise UnsendableArray(
            f"elements of dtype {dtype} are Python objects; give the array a plain dtype, or send a list"
        )
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ["a", describe_dtype(base), list(shape)]
    if dtype.names is not None:
        fields = []
        for name in dtype.names:
            kind, offset, *title = dtype.fields[name]
            fields.append([name, describe_dtype(kind), offset, *map(str, title)])
        return ["s", dtype.itemsize, fields]
    text = dtype.str
    if not _PLAIN_DTYPE.fullmatch(text):
        raise UnsendableArray(f"elements of dtype {dtype} have no form on the wire")
    return text


def build_dtype(described: Any) -> Any:
    """Return the element type that was described.

    Raises:
        ValueError: If this describes no element type.
        TypeError: If numpy of this machine does not have it.
    """
    import numpy as np

    if type(described) is str:
        if not _PLAIN_DTYPE.fullmatch(described):
            raise ValueError(f"{described[:40]!r} is no element type")
        return np.dtype(described)
    if type(described) is not list or len(described) != 3:
        raise ValueError("an element type is a text or a list of three")
    kind, first, second = described
    if kind == "a":
        return np.dtype((build_dtype(first), tuple(_sizes(second))))
    if kind != "s" or type(second) is not list:
        raise ValueError("the structure of an element type is not known")
    spec: dict[str, list[Any]] = {"names": [], "formats": [], "offsets": [], "titles": []}
    for name, kind, offset, *title in second:
        spec["names"].append(name)
        spec["formats"].append(build_dtype(kind))
        spec["offsets"].append(offset)
        spec["titles"].append(title[0] if title else None)
    if not any(spec["titles"]):
        del spec["titles"]
    return np.dtype({**spec, "itemsize": first})  # type: ignore[call-overload]


def _sizes(value: Any) -> list[int]:
    if type(value) is not list or len(value) > MAX_DIMENSIONS or any(type(n) is not int or n < 0 for n in value):
        raise ValueError("a shape is a list of sizes")
    return value


def lower_array(array: Any, put_away: Any) -> CBORTag:
    """Turn an array into tags around its bytes.

    Args:
        array: A ``numpy.ndarray``, of any layout.
        put_away: Called with the array's bytes as an array of unsigned bytes; returns what stands for them.

    Raises:
        UnsendableArray: If its elements cannot be sent.
    """
    import numpy as np

    described = describe_dtype(array.dtype)
    if array.dtype.itemsize == 0 and array.size:
        raise UnsendableArray(f"elements of dtype {array.dtype} have no bytes")
    by_column = array.ndim > 1 and array.flags.f_contiguous and not array.flags.c_contiguous
    flat = np.ascontiguousarray(array.T if by_column else array).reshape(-1)
    data = put_away(flat.view("u1") if flat.nbytes else np.empty(0, "u1"))
    tag = TYPED_ARRAYS.get(described) if type(described) is str else None
    tagged = CBORTag(Own.ARRAY, [described, data]) if tag is None else CBORTag(tag, data)
    if array.ndim == 1 and (tag is not None or array.dtype.itemsize):
        return tagged
    return CBORTag(COLUMN_MAJOR if by_column else ROW_MAJOR, [list(array.shape), tagged])


def lower_scalar(value: Any) -> CBORTag:
    """Turn a numpy scalar into a tag.

    Raises:
        UnsendableArray: If it cannot be sent.
    """
    import numpy as np

    array = np.asarray(value)
    described = describe_dtype(array.dtype)
    return CBORTag(Own.SCALAR, [described, array.tobytes()])


def raise_flat(described: Any, data: Any) -> Any:
    """Make a one-dimensional array around bytes, which it keeps; a stand-in if numpy is not here or lacks the dtype.

    Raises:
        ValueError: If the bytes do not fit the element type.
    """
    try:
        dtype = build_dtype(described)
    except (ImportError, TypeError):
        return UnknownTypeValue(NamedKind.ARRAY, "numpy:ndarray", {"dtype": str(described), "data": bytes(data)})
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
    return np.frombuffer(data, dtype)


def raise_typed(tag: int, data: Any) -> Any:
    """Make an array of an element type of RFC 8746."""
    return raise_flat(_TAG_TO_DTYPE[tag], data)


def raise_shaped(sizes: Any, flat: Any, *, by_column: bool) -> Any:
    """Give an array its shape.

    Raises:
        ValueError: If it does not have that many elements.
    """
    shape = _sizes(sizes)
    if type(flat) is UnknownTypeValue:
        return UnknownTypeValue(flat.type_kind, flat.type_name, {**flat.fields, "shape": tuple(shape)})
    numpy = loaded_numpy()
    if numpy is None or type(flat) is not numpy.ndarray or flat.ndim != 1:
        raise ValueError("a shape is given to something that is no flat array")
    if math.prod(shape) != flat.size:
        raise ValueError(f"an array of shape {shape} does not have {flat.size} elements")
    return flat.reshape(shape, order="F" if by_column else "C")


def raise_scalar(described: Any, data: Any) -> Any:
    """Make a numpy scalar.

    Raises:
        ValueError: If the bytes are not exactly one element.
    """
    flat = raise_flat(described, data)
    if type(flat) is UnknownTypeValue:
        return flat
    if flat.size != 1:
        raise ValueError(f"a scalar has {flat.size} elements")
    return flat[0]

"""Values of instruments in the answers of the API: JSON, and arrays as CBOR or npy for who wants them."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import trio
from starlette.responses import Response

from qmi.presenting.json_values import dumps
from qmi.presenting.value_text import json_of
from qmi.web.api_errors import RefusedError
from qmi.web.authorization import Refusal

CBOR = "application/cbor"
NPY = "application/x-npy"
JSON = "application/json"
SOON = 20_000
"""A value of so many numbers is an answer within some milliseconds."""

# RFC 8746: a typed array of little-endian numbers by the type of its elements, and an array of several dimensions.
_TYPED = {
    "uint8": 64, "uint16": 69, "uint32": 70, "uint64": 71, "int8": 72, "int16": 77, "int32": 78, "int64": 79,
    "float16": 84, "float32": 85, "float64": 86,
}  # fmt: skip
_DIMENSIONS = 40


def preferred(accept: str) -> str:
    """Which of the types of values somebody wants, by the header ``Accept``."""
    best, weight = JSON, 0.0
    for entry in accept.split(","):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            number = float(quality)
        except ValueError:
            continue
        if name in (CBOR, NPY, JSON) and number > weight:
            best, weight = name, number
    return best


def is_array(value: object) -> bool:
    """Whether a value is an array of numpy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def array_of(value: object) -> Any:
    """A value as an array of numpy: a number, or a list of numbers, too; None if it is none."""
    try:
        import numpy

        array = value if isinstance(value, numpy.ndarray) else numpy.asarray(value)
    except (ImportError, ValueError, TypeError, OverflowError):  # not installed; lists of different lengths
        return None
    return array if isinstance(value, numpy.ndarray) or array.dtype.kind in "biufcmM" else None


async def value_response(value: object, tell: Callable[[], dict[str, object]], accept: str) -> Response:
    """The answer that has a value of an instrument. One that is large is made in a thread, and holds up nobody else.

    Args:
        value: The value.
        tell: Returns what JSON says of it; it is called where JSON is wanted.
        accept: Which types are wanted.

    Raises:
        RefusedError: If it cannot be of the only type that is wanted.
    """
    if _size(value) <= SOON:
        return _made(value, tell, accept, in_steps=False)
    return await trio.to_thread.run_sync(partial(_made, value, tell, accept, in_steps=True))


def _size(value: object) -> int:
    if isinstance(value, list | tuple):
        return len(value) + sum(_size(item) for item in value[:100])
    return int(value.size) if is_array(value) else 1  # type: ignore[attr-defined]


def _made(value: object, tell: Callable[[], dict[str, object]], accept: str, *, in_steps: bool) -> Response:
    wanted = preferred(accept)
    if wanted == NPY:
        array = array_of(value)
        if array is not None:
            return Response(npy_of(array), media_type=NPY)
        if not ("*/*" in accept or JSON in accept):
            message = f"a value of type {type(value).__name__} is not an array of numbers, so that npy cannot have it"
            raise RefusedError(Refusal(406, message, f"send 'Accept: {JSON}' or 'Accept: {CBOR}'"))
    if wanted == CBOR:
        return Response(cbor_of(value), media_type=CBOR)
    return Response(dumps(tell(), in_steps=in_steps) + "\n", 200, media_type=JSON)


def json_response(value: object, status: int = 200) -> Response:
    """An answer of JSON."""
    return Response(dumps(value) + "\n", status, media_type=JSON)


def npy_of(array: Any) -> bytes:
    """An array as a file of numpy."""
    import numpy

    if array.dtype.hasobject:
        array = array.astype(str)
    file = io.BytesIO()
    numpy.save(file, array, allow_pickle=False)
    return file.getvalue()


def cbor_of(value: object) -> bytes:
    """A value as CBOR, its arrays as typed arrays (RFC 8746), complex numbers as pairs."""
    import cbor2

    return cbor2.dumps(_for_cbor(value))


def _for_cbor(value: Any) -> object:
    if is_array(value):
        import cbor2

        if value.dtype.kind == "c":
            import numpy

            value = numpy.stack([value.real, value.imag], -1)
        tag = _TYPED.get(value.dtype.name)
        if tag is None:
            return _for_cbor(value.tolist())
        little = value.astype(value.dtype.newbyteorder("<"), order="C", copy=False)
        typed = cbor2.CBORTag(tag, little.tobytes())
        return typed if value.ndim == 1 else cbor2.CBORTag(_DIMENSIONS, [list(value.shape), typed])
    if isinstance(value, dict):
        return {str(key): _for_cbor(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _for_cbor(item) for name, item in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [_for_cbor(item) for item in value]
    if isinstance(value, complex):
        return [value.real, value.imag]
    return value if isinstance(value, float | bytes) else json_of(value)

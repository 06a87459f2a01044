"""Values of instruments in the answers of the API: JSON, and arrays as CBOR or npy for who wants them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from qmi.presenting.json_values import dumps
from qmi.presenting.number_lists import array_from, list_of
from qmi.presenting.value_text import json_of
from qmi.web.api_errors import RefusedError
from qmi.web.authorization import Refusal
from qmi.web.large_values import aside, cbor_in_steps, is_array, is_large, json_parts

CBOR = "application/cbor"
NPY = "application/x-npy"
JSON = "application/json"
PART = 256 * 1024
"""An answer is sent in parts of so many bytes at most."""

T = TypeVar("T")

_MAKING = trio.CapacityLimiter(2)  # more at a time would keep Python's lock from the event loop

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


def array_of(value: object) -> Any:
    """A value as an array of numpy: a number, or a list of numbers, too; None if it is none."""
    try:
        import numpy

        array = value if isinstance(value, numpy.ndarray) else array_from(value)
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
    return await made_aside(partial(_made, value, tell, accept, in_parts=is_large(value)), value)


async def made_aside(make: Callable[[], T], of: object) -> T:
    """What a function makes of a value; in a thread if that is large."""
    return await aside(make, of, _MAKING)


def _made(value: object, tell: Callable[[], dict[str, object]], accept: str, *, in_parts: bool) -> Response:
    wanted = preferred(accept)
    if wanted == NPY:
        array = array_of(value)
        if array is not None:
            return parts_response([npy_of(array)], NPY)
        if not ("*/*" in accept or JSON in accept):
            message = f"a value of type {type(value).__name__} is not an array of numbers, so that npy cannot have it"
            raise RefusedError(Refusal(406, message, f"send 'Accept: {JSON}' or 'Accept: {CBOR}'"))
    if wanted == CBOR:
        return parts_response([cbor_of(value)], CBOR)
    return parts_response([*json_parts(tell()), b"\n"], JSON) if in_parts else json_response(tell())


def parts_response(parts: Sequence[bytes], media_type: str) -> Response:
    """An answer that is sent in parts, of which none takes long."""
    return _InParts(parts, media_type)


class _InParts(Response):
    def __init__(self, parts: Sequence[bytes], media_type: str) -> None:
        self._parts = parts
        super().__init__(None, 200, {"content-length": str(sum(map(len, parts)))}, media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for part in self._parts:
            for begin in range(0, len(part), PART):
                body = part if len(part) <= PART else part[begin : begin + PART]
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def json_answer(value: object) -> Response:
    """An answer of JSON, which is made in a thread if it is large."""
    if not is_large(value):
        return json_response(value)
    parts = await trio.to_thread.run_sync(json_parts, value, limiter=_MAKING)
    return parts_response([*parts, b"\n"], JSON)


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
    return cbor_in_steps(_for_cbor(value))


def _for_cbor(value: Any) -> object:
    if is_array(value):
        import cbor2

        if value.dtype.kind == "c":
            import numpy

            value = numpy.stack([value.real, value.imag], -1)
        tag = _TYPED.get(value.dtype.name)
        if tag is None:
            return _for_cbor(list_of(value))
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

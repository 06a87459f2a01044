"""Values that are large: how large they are, and how they become JSON and CBOR without holding up anybody.

All of it is for a thread. What the encoders do in one go, they do with Python's lock in their hands; so a large value
is encoded in steps, of which each takes a millisecond or two.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import cbor2
import trio

from qmi.presenting.json_values import dumps, plain
from qmi.presenting.value_text import fields_of, json_of

T = TypeVar("T")

SOON = 2000
"""A value of so many numbers is encoded within some milliseconds."""
_STEP = 1000
_WHOLE = 4 * _STEP
_PART = 64 * 1024
_CHARACTERS = 16  # take about as long as a number
_SCALARS = (int, float, complex, type(None))


def load_numpy() -> None:
    """Load numpy if it is there: the first array would load it, and everybody wait for that."""
    with suppress(ImportError):
        import numpy  # noqa: F401


def is_array(value: object) -> bool:
    """Whether a value is an array of numpy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def is_large(value: object) -> bool:
    """Whether a value takes long to encode, for an event loop."""
    return weight(value, SOON) > SOON


def weight(value: object, limit: int) -> int:
    """About how many numbers a value has; they are counted until there are more than the limit."""
    count, waiting = 0, [value]
    while waiting and count <= limit:
        item: Any = waiting.pop()
        count += 1
        if isinstance(item, _SCALARS):
            continue
        if isinstance(item, str | bytes | bytearray):
            count += len(item) // _CHARACTERS
        elif is_array(item):
            count += max(item.size, item.nbytes // _CHARACTERS)
        elif isinstance(item, list | tuple | set | frozenset):
            count += _add(item, waiting, limit)
        elif isinstance(item, Mapping):
            count += _add(item, waiting, limit) + _add(item.values(), waiting, limit)
        elif (fields := fields_of(item)) is not None:
            count += _add(fields.values(), waiting, limit)
    return count


def _add(items: Any, waiting: list[object], limit: int) -> int:
    if len(items) <= limit:
        waiting += items
        return 0
    return len(items)


async def aside(function: Callable[[], T], value: object, limiter: trio.CapacityLimiter) -> T:
    """What a function makes of a value; in a thread if the value is large.

    Args:
        function: The function.
        value: The value.
        limiter: Keeps others from going on at the same time.
    """
    if not is_large(value):
        return function()
    return await trio.to_thread.run_sync(function, limiter=limiter)


# JSON


def json_lazily(value: object) -> object:
    """A value as :func:`qmi.presenting.value_text.json_of` has it; a large array as it is, for :func:`json_parts`.

    A list of millions of numbers takes long to free, too, and that is one step.
    """
    return value if is_array(value) and value.size > _WHOLE else json_of(value)  # type: ignore[attr-defined]


def json_parts(value: object) -> list[bytes]:
    """What :func:`qmi.presenting.json_values.dumps` has for a value, in parts."""
    parts: list[bytes] = []
    texts: list[str] = []
    length = 0
    for text in _json(value):
        texts.append(text)
        length += len(text)
        if length >= _PART:
            parts.append("".join(texts).encode())
            texts, length = [], 0
    return [*parts, "".join(texts).encode()] if texts else parts


def _json(value: object) -> Iterator[str]:
    if weight(value, _WHOLE) <= _WHOLE:
        yield dumps(value)
    elif isinstance(value, str):
        yield '"'
        for part in _slices(value, _STEP * _CHARACTERS):
            yield dumps(part)[1:-1]
        yield '"'
    elif isinstance(value, Mapping):
        for number, (key, entry) in enumerate(value.items()):
            yield f"{', ' if number else '{'}{dumps(str(key))}: "
            yield from _json(entry)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for number, part in enumerate(_slices(value, _STEP)):
            yield ", " if number else ""
            yield from _json_items(part)
        yield "]"
    elif is_array(value):
        yield from _json_array(value)
    elif isinstance(value, tuple) and not hasattr(value, "_asdict"):
        yield from _json(list(value))
    else:
        yield from _json(plain(value))


def _json_array(array: Any) -> Iterator[str]:
    yield "["
    rows = max(1, _STEP * len(array) // array.size)
    for begin in range(0, len(array), rows):
        yield ", " if begin else ""
        part = array[begin : begin + rows]
        if part.size <= _WHOLE:
            yield dumps(json_of(part))[1:-1]
        else:
            yield from _json_array(part[0])
    yield "]"


def _json_items(items: Sequence[object]) -> Iterator[str]:
    if weight(items, _WHOLE) <= _WHOLE:
        yield dumps(items)[1:-1]
        return
    for number, item in enumerate(items):
        yield ", " if number else ""
        yield from _json(item)


def _slices(value: Any, length: int) -> Iterator[Any]:
    for begin in range(0, len(value), length):
        yield value[begin : begin + length]


def read_in_steps(content: bytes, no_constant: Callable[[str], object]) -> object:
    """Read JSON, as ``json.loads`` does, which would not be interrupted.

    Args:
        content: The text.
        no_constant: Is called with ``NaN`` and its like.

    Raises:
        ValueError: If it is not JSON.
        RecursionError: If it is too deep.
    """
    decoder = json.JSONDecoder(parse_constant=no_constant)
    # The scanner for where there is none in C.
    decoder.scan_once = json.scanner.py_make_scanner(decoder)  # type: ignore[attr-defined]
    return decoder.decode(content.decode(json.detect_encoding(content), "surrogatepass"))


# CBOR


def cbor_in_steps(value: object) -> bytes:
    """What ``cbor2.dumps`` has for lists, objects with names, and what is in them."""
    file = io.BytesIO()
    _write_cbor(cbor2.CBOREncoder(file), value)
    return file.getvalue()


def _write_cbor(encoder: cbor2.CBOREncoder, value: object) -> None:
    if isinstance(value, list):
        encoder.encode_length(4, len(value))
        for item in value:
            _write_cbor(encoder, item)
    elif isinstance(value, dict):
        encoder.encode_length(5, len(value))
        for key, item in value.items():
            encoder.encode(key)
            _write_cbor(encoder, item)
    else:
        encoder.encode(value)

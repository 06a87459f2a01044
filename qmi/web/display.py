"""Large values as they are shown: what they are, how large, from where to where, and not all of it. Pure.

Nobody reads a million numbers on a page, and a line of so many has no more pixels than a screen. So events have, in
place of a value that is large, an object with the one entry ``"reduced"``, which says what was left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qmi.presenting.number_lists import array_from, list_of
from qmi.presenting.value_text import fields_of, json_of, text_of
from qmi.web.large_values import is_array, weight

SHOWN = 1050
"""A value of so many numbers is shown as it is; of a larger one, about so many are shown."""
_PARTS = 20
_LEAST = 16
_FEW = 40
_REAL = "biuf"


def shown(value: object, most: int = SHOWN) -> object:
    """A value as :func:`qmi.presenting.value_text.json_of` has it, and what is large in it reduced.

    Args:
        value: The value.
        most: About how many numbers are shown.
    """
    whole = max(most, _LEAST)
    if weight(value, whole) <= whole:
        return json_of(value)
    if is_array(value):
        return _reduced_array(value, most)
    if isinstance(value, str | bytes | bytearray):
        kind = "str" if isinstance(value, str) else "bytes"
        return _reduced(kind, length=len(value), first=json_of(value[: most * 4]))
    fields = fields_of(value)
    if fields is not None or isinstance(value, Mapping):
        return _shown_fields(value if fields is None else fields, most)  # type: ignore[arg-type]
    if isinstance(value, list | tuple):
        return _shown_list(value, most)
    return _reduced(type(value).__name__, length=len(value)) if hasattr(value, "__len__") else json_of(value)


def shown_items(items: Sequence[object]) -> list[object]:
    """The same for things that are told together, such as the arguments of a signal: each is there."""
    each = _share(items)
    return [shown(item, each) for item in items]


def shown_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """The same for things with names, such as the values of a row."""
    each = _share(fields)
    return {name: shown(item, each) for name, item in fields.items()}


def _share(things: Sequence[object] | Mapping[str, object]) -> int:
    return SHOWN if weight(things, SHOWN) <= SHOWN else max(_FEW, SHOWN // len(things))


def _reduced(kind: str, **told: object) -> dict[str, object]:
    return {"reduced": {"type": kind, **told}}


def _shown_list(items: Any, most: int) -> object:
    if len(items) <= _PARTS and most >= _FEW:  # such as the arguments of a signal, of which one is large
        return [shown(item, most // len(items)) for item in items]
    if isinstance(items[0], bool | int | float):
        try:
            array = array_from(items)
        except (ImportError, ValueError, TypeError, OverflowError):  # not installed; not of numbers alone
            array = None
        if array is not None and array.ndim == 1 and array.dtype.kind in _REAL:
            return _reduced_array(array, most, "list")
    return _reduced("list", length=len(items), first=_first(items, most))


def _shown_fields(fields: Mapping[Any, object], most: int) -> object:
    names = list(fields)[:_PARTS] if most >= _FEW else []
    each = most // max(1, len(names))
    first = {name if isinstance(name, str) else text_of(name): shown(fields[name], each) for name in names}
    return first if len(first) == len(fields) else _reduced("dict", length=len(fields), first=first)


def _first(items: Iterable[object], most: int) -> list[object]:
    """The first items, unless there is no room for any."""
    if most < _FEW:
        return []
    return [shown(item, most // _PARTS) for item, _ in zip(items, range(_PARTS), strict=False)]


def _reduced_array(array: Any, most: int, kind: str = "array") -> dict[str, object]:
    told: dict[str, object] = {"shape": list(array.shape), "dtype": str(array.dtype)}
    if array.dtype.kind in _REAL:
        told |= _range(array)
        if array.ndim == 1 and most >= _FEW:
            return _reduced(kind, **told, **_envelope(array, most // 2))
    flat = array.reshape(-1) if array.flags.c_contiguous else array.flat
    return _reduced(kind, **told, first=_first(flat[:_PARTS].tolist(), most))


def _range(array: Any) -> dict[str, object]:
    """From where to where the numbers go that are numbers; of booleans, 0 to 1."""
    import numpy

    if not array.size:
        return {}
    numbers = array.astype("u1") if array.dtype.kind == "b" else array
    if numbers.dtype.kind != "f":
        return {"min": json_of(numbers.min()), "max": json_of(numbers.max())}
    low, high = numpy.fmin.reduce(numbers, axis=None), numpy.fmax.reduce(numbers, axis=None)
    return {} if math.isnan(low) else {"min": json_of(low), "max": json_of(high)}


def _envelope(array: Any, parts: int) -> dict[str, object]:
    """The lowest and the highest number of each part; the last part may be shorter."""
    import numpy

    numbers = array.astype("u1") if array.dtype.kind == "b" else array
    step = math.ceil(len(numbers) / parts)
    begins = numpy.arange(0, len(numbers), step)
    lows, highs = (function.reduceat(numbers, begins) for function in (numpy.fmin, numpy.fmax))
    return {"step": step, "low": json_of(list_of(lows)), "high": json_of(list_of(highs))}

"""Lists, tables, numpy scalars, dicts and texts of every size there and back between two processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.measures._calls import run_name
from benchmarks.meter import microseconds_per_call
from benchmarks.plan import Figures, Goal, Measure
from benchmarks.server import served
from benchmarks.systems.base import System

SIZES = (10, 100, 1000, 10_000, 100_000, 1_000_000)
"""Upstream's default limit is 10 MB in a message; a million floats are just below it."""


def make(kind: str, size: int) -> Any:
    """Return a value of so many items."""
    import numpy

    from_number = _ITEMS.get(kind)
    if from_number is not None:
        return [from_number(number) for number in range(size)]
    if kind == "scalars":
        return [numpy.float64(number) for number in range(size)]
    if kind == "flags":
        return [numpy.bool_(number % 2) for number in range(size)]
    if kind == "text":
        return "x" * size
    if kind == "dict":
        return {f"key {number}": number * 0.5 for number in range(size)}
    if kind == "numbered":
        return {number: number * 0.5 for number in range(size)}
    if kind == "settings":
        return {f"setting {number}": _setting(number) for number in range(size)}
    raise ValueError(f"there is no kind {kind!r}")


def _setting(number: int) -> dict[str, object]:
    return {"value": number * 0.5, "unit": "V", "limits": (0.0, 10.0), "on": True}


_ITEMS: dict[str, Callable[[int], Any]] = {
    "floats": lambda number: number * 0.37,
    "integers": lambda number: number,
    "texts": lambda number: f"channel {number}",
    "mixed": lambda number: (number, number * 0.5, f"n{number}", None, True)[number % 5],
    "gaps": lambda number: number * 0.5 if number % 10 else None,
    "bools": lambda number: number % 2 == 0,
    "nones": lambda number: None,
    "complex": lambda number: complex(number, 1),
    "bytes": lambda number: b"line %d" % number,
    "tuples": lambda number: (number * 0.5, number * 0.25, number * 1.5),
    "lists": lambda number: [number * 0.5, number * 0.25, number * 1.5],
    "rows": lambda number: (number, number * 0.5, f"n{number}", number % 2 == 0),
    "records": lambda number: {"x": number * 0.5, "count": number, "on": True, "name": f"n{number}"},
    "ragged": lambda number: [0.5] * (number % 5),
    "nested": lambda number: [number, [number, number]],
}


KINDS = (*_ITEMS, "scalars", "flags", "text", "dict", "numbered", "settings")
_UP_TO = {
    **dict.fromkeys(("floats", "integers", "mixed", "gaps", "bools", "nones", "text", "flags"), 1_000_000),
    **dict.fromkeys(("lists", "rows", "records", "ragged", "settings", "nested"), 10_000),
}


def cases() -> list[tuple[str, int]]:
    """Every kind at every size that upstream can send, too, and at which a call takes less than 0.3 s."""
    return [(kind, size) for kind in KINDS for size in SIZES if size <= _UP_TO.get(kind, 100_000)]


def figure(kind: str, size: int) -> str:
    """Name the time of one case."""
    return f"{kind}_{size}"


def measure(system: System, variant: str, seconds: float) -> Figures:
    found: Figures = {}
    with served(run_name(system, variant)) as address, system.remote(address) as target:
        for kind, size in cases():
            value = make(kind, size)
            if target.echo(value) != value:
                raise ValueError("what came back is not what was sent")
            share = max(0.02, seconds / 40)
            warm_up = max(1, min(20, 20_000 // size))
            found[figure(kind, size)] = microseconds_per_call(
                lambda value=value: target.echo(value),  # type: ignore[misc]
                share,
                warm_up=warm_up,
            )
    return {"value": found[figure("floats", 10_000)], **found}


MEASURE = Measure(
    title="values of many kinds and sizes there and back; the figure is a list of 10,000 floats",
    unit="µs",
    runs=("ours", "upstream"),
    goals=tuple(Goal(figure=figure(kind, size), versus="upstream", at_most=1.0) for kind, size in cases()),
    measure=measure,
)

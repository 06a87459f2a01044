"""Lists, numpy scalars, dicts and texts of every size there and back between two processes."""

from __future__ import annotations

from typing import Any

from benchmarks.measures._calls import run_name
from benchmarks.meter import microseconds_per_call
from benchmarks.plan import Figures, Goal, Measure
from benchmarks.server import served
from benchmarks.systems.base import System

SIZES = (10, 100, 1000, 10_000, 100_000, 1_000_000)
_TEXTS_UP_TO = 100_000
"""Upstream's default limit is 10 MB in a message; a million floats are just below it."""


def make(kind: str, size: int) -> Any:
    """Return a value of so many items."""
    import numpy

    if kind == "floats":
        return [number * 0.37 for number in range(size)]
    if kind == "integers":
        return list(range(size))
    if kind == "texts":
        return [f"channel {number}" for number in range(size)]
    if kind == "mixed":
        return [(number, number * 0.5, f"n{number}", None, True)[number % 5] for number in range(size)]
    if kind == "scalars":
        return [numpy.float64(number) for number in range(size)]
    if kind == "flags":
        return [numpy.bool_(number % 2) for number in range(size)]
    if kind == "text":
        return "x" * size
    if kind == "bools":
        return [number % 2 == 0 for number in range(size)]
    return {f"key {number}": number * 0.5 for number in range(size)}


KINDS = ("floats", "integers", "texts", "mixed", "scalars", "dict", "flags", "text", "bools")


def cases() -> list[tuple[str, int]]:
    """Every kind at every size that upstream can send, too."""
    large = ("floats", "integers", "mixed", "text", "bools", "flags")
    return [(kind, size) for kind in KINDS for size in SIZES if size <= _TEXTS_UP_TO or kind in large]


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
            share = max(0.03, seconds / 20)
            warm_up = max(1, min(20, 20_000 // size))
            found[figure(kind, size)] = microseconds_per_call(
                lambda value=value: target.echo(value),  # type: ignore[misc]
                share,
                warm_up=warm_up,
            )
    return {"value": found[figure("floats", 10_000)], **found}


MEASURE = Measure(
    title="list of 10,000 floats there and back",
    unit="µs",
    runs=("ours", "upstream"),
    goals=tuple(Goal(figure=figure(kind, size), versus="upstream", at_most=1.0) for kind, size in cases()),
    measure=measure,
)

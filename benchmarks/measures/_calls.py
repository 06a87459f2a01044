"""How calls are measured, for the measures that differ only in who is called."""

from __future__ import annotations

from benchmarks.meter import microseconds_per_call, per_second
from benchmarks.plan import Figures
from benchmarks.server import served
from benchmarks.systems.base import System

IN_FLIGHT = 1000


def local_call(system: System, variant: str, seconds: float) -> Figures:
    with system.local(variant) as target:
        return {"value": microseconds_per_call(target.call, seconds)}


def remote_call(system: System, variant: str, seconds: float) -> Figures:
    with served(run_name(system)) as address, system.remote(address) as target:
        return {"value": microseconds_per_call(target.call, seconds)}


def local_flight(system: System, variant: str, seconds: float) -> Figures:
    with system.local(variant) as target:
        return {"value": per_second(target.flight, IN_FLIGHT, seconds)}


def remote_flight(system: System, variant: str, seconds: float) -> Figures:
    with served(run_name(system)) as address, system.remote(address) as target:
        return {"value": per_second(target.flight, IN_FLIGHT, seconds)}


def run_name(system: System, variant: str = "") -> str:
    """What the server's command line calls the system."""
    name = system.name
    return f"{name}:{variant}" if variant else name

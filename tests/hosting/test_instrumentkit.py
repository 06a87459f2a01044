"""Drivers of InstrumentKit's shape, with real quantities of pint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pint
import pytest

import qmi
from qmi.core.context import QMI_Context

UNITS: Any = pint.UnitRegistry()


def unitful_property(name: str, units: Any) -> property:
    """A property as InstrumentKit makes it."""

    def getter(self: Any) -> Any:
        return UNITS.Quantity(*self.values[name]).to(units)

    def setter(self: Any, value: Any) -> None:
        found = value if hasattr(value, "to") else UNITS.Quantity(value, units)
        self.values[name] = (found.to(units).magnitude, units)

    return property(getter, setter, doc=f"The {name}.")


class Supply:
    """A power supply."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {"voltage": (1500.0, UNITS.mV)}

    voltage = unitful_property("voltage", UNITS.V)

    @property
    def current(self) -> Any:
        return UNITS.Quantity(20.0, UNITS.mA)

    @property
    def model(self) -> str:
        return "ACME"

    def measure(self) -> Any:
        return UNITS.Quantity(1.25, UNITS.W)


Supply.__module__ = "instruments.acme.supply"


@pytest.fixture
def context() -> Iterator[QMI_Context]:
    with QMI_Context("lab") as context:
        yield context


def test_driver_of_instrumentkit_gives_numbers_and_units(context: QMI_Context) -> None:
    supply = context.make_instrument("supply", qmi.hosted(Supply))
    assert supply.voltage == 1.5
    supply.voltage = 2.0
    assert supply.voltage == 2.0
    info = supply.parameters()["voltage"]
    assert (info.unit, info.doc) == ("V", "The voltage.")
    assert tuple(supply.current) == (20.0, "mA")
    assert tuple(supply.measure()) == (1.25, "W")
    assert supply.model == "ACME"
    assert supply.snapshot(update=True, names=["voltage"])["voltage"].value == 2.0

"""Quantities of pint where a number in the unit of a parameter is needed."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from qmi.core.exceptions import QMI_InvalidValueException
from qmi.parameters.units import in_unit

pint: Any = pytest.importorskip("pint")
REGISTRY = pint


@pytest.mark.parametrize(
    ("magnitude", "given", "unit", "number"),
    [
        (1500.0, "mV", "V", 1.5),
        (30000, "mV", "V", 30),
        (3, "mV", "V", 0.003),
        (0.1, "µm", "um", 0.1),
        (20, "degC", "K", 293.15),
        (300.0, "K", "°C", 26.85),
        (1.0, "mW", "dBm", 0.0),
        (2, "kohm", "Ω", 2000),
        (0.5, "", "%", 50.0),
        (5, "", "", 5),
        (12.5, "1/s", "Hz", 12.5),
    ],
)
def test_quantity_becomes_a_number_in_the_unit(magnitude: float, given: str, unit: str, number: float) -> None:
    found = in_unit(REGISTRY.Quantity(magnitude, given), unit, "x of y")
    assert (found, type(found)) == (number, type(number))


@pytest.mark.parametrize(
    ("given", "unit", "said"),
    [
        ("A", "V", "x of y is in V, and ampere cannot be converted to that; got 1 ampere"),
        ("", "V", "x of y is in V, and dimensionless cannot be converted to that; got 1 dimensionless"),
        ("V", "", "x of y has no unit: give it a plain value, got 1 volt"),
        ("V", "V RMS", "x of y is in V RMS, to which pint cannot convert 1 volt: give a plain number in V RMS"),
        ("V", "V/", "x of y is in V/, to which pint cannot convert 1 volt: give a plain number in V/"),
        ("V", "V/√Hz", "x of y is in V/√Hz, "),
    ],
)
def test_quantity_that_cannot_be_converted_is_refused_with_both_units(given: str, unit: str, said: str) -> None:
    with pytest.raises(QMI_InvalidValueException) as raised:
        in_unit(REGISTRY.Quantity(1, given), unit, "x of y")
    assert str(raised.value).startswith(said)


def test_value_without_a_unit_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (1, 2.0, "5 V", None, True, [1]):
        assert in_unit(value, "V", "x of y") is value
    quantity = REGISTRY.Quantity(1, "V")
    monkeypatch.delitem(sys.modules, "pint")
    assert in_unit(quantity, "V", "x of y") is quantity, "pint is not imported for that"

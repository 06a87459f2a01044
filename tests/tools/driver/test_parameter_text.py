"""A declared parameter in words."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest

from qmi.core.driver import parameter
from qmi.tools.driver.parameter_text import access_text, command_texts, range_text


class Mode(Enum):
    LOW = "L"
    HIGH = "H"


def highest(self: Any) -> float:
    return 5.0


def _private(self: Any) -> float:
    return 5.0


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, ""),
        ({"limits": (None, None)}, ""),
        ({"limits": (0, 30)}, "0 to 30"),
        ({"limits": (-1e-9, 2.5e6)}, "-1e-09 to 2500000"),
        ({"limits": (0, None)}, "at least 0"),
        ({"limits": (None, 0.1)}, "at most 0.1"),
        ({"limits": ("low", "high")}, "`low` to `high`"),
        ({"limits": (0, highest)}, "0 to `highest()`"),
        ({"limits": (0, _private)}, "0 to a limit of the instrument"),
        ({"limits": (0, lambda self: 1)}, "0 to a limit of the instrument"),
        ({"limits": highest}, "as `highest()` says"),
        ({"limits": lambda self: (0, 1)}, "limits of the instrument"),
        ({"step": 0.5}, "multiples of 0.5"),
        ({"limits": (1, 2), "step": 0.1}, "1 to 2, in steps of 0.1"),
        ({"values": (0.1, 1.0, 10.0)}, "0.1, 1, 10"),
        ({"values": {1: "LOW", 2: "HIGH"}, "type": int}, "1, 2"),
        ({"values": tuple(range(100)), "type": int}, "0, 1, 2, ..., 99 (100 values)"),
        ({"type": Mode}, "LOW, HIGH"),
        ({"type": Mode, "values": (Mode.HIGH,)}, "HIGH"),
        ({"type": bool, "values": {True: "ON", False: "OFF"}}, ""),
    ],
)
def test_range_of_a_parameter(given: dict[str, Any], text: str) -> None:
    assert range_text(parameter("X", given.pop("type", float), **given)) == text


@pytest.mark.parametrize(
    ("given", "commands", "access"),
    [
        ({"command": "VOLT"}, ["VOLT"], "setting"),
        ({"command": "MEAS:VOLT?"}, ["MEAS:VOLT?"], "reading"),
        ({"command": "TEMP?", "poll": 0.5}, ["TEMP?"], "reading, every 0.5 s"),
        ({"ask": "A?", "write": "B {value}"}, ["A?", "B {value}"], "setting"),
        ({"ask": "A?", "write": "A {value}"}, ["A"], "setting"),
        ({"ask": "A? 1"}, ["A? 1"], "reading"),
        ({"write": "A {value}"}, ["A {value}"], "setting only"),
        ({"getter": highest}, [], "reading"),
    ],
)
def test_commands_of_a_parameter(given: dict[str, Any], commands: list[str], access: str) -> None:
    made = parameter(**{"type": float, **given})
    assert (command_texts(made), access_text(made)) == (commands, access)

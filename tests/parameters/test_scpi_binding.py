"""What is sent for a declared parameter, and what its answers become."""

from __future__ import annotations

import enum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qmi.errors import QMI_InstrumentException, QMI_InvalidValueException
from qmi.parameters.blocks import Block
from qmi.parameters.declaration import Parameter
from qmi.parameters.scpi_binding import ScpiBinding, wrong_answer


class Mode(enum.Enum):
    FAST = "FAST"
    SLOW = "SLOW"


CHANNEL = SimpleNamespace(number=3, path="channels[3]")


def binding(kind: Any, command: str | None = "VOLT", **given: Any) -> ScpiBinding:
    declared: Any = Parameter({"command": command, "type": kind, **given})
    declared.name = "level"
    return ScpiBinding(declared)


@pytest.mark.parametrize(
    ("bound", "question", "answer", "value", "command"),
    [
        (binding(float), "VOLT?", "+5.0E0", 5.0, "VOLT 5"),
        (binding(bool, "OUTP{n}"), "OUTP3?", "ON", True, "OUTP3 1"),
        (binding(Mode, "FUNC"), "FUNC?", '"fast"', Mode.FAST, "FUNC FAST"),
        (binding(str, write='DISP "{value}"'), "VOLT?", '"a"', "a", 'DISP "a"'),
        (binding(float, None, ask="SETP? {n}", write="SETP {n},{value}"), "SETP? 3", "77.35", 77.35, "SETP 3,77.35"),
        (binding(float, values={2e-9: "0", 5e-9: "1"}), "VOLT?", "1", 5e-9, "VOLT 1"),
        (binding(float, scale=1e-3), "VOLT?", "300", 0.3, "VOLT 300"),
        (binding(int), "VOLT?", "7", 7, "VOLT 7"),
    ],
)
def test_value_is_asked_for_and_set(bound: ScpiBinding, question: str, answer: str, value: Any, command: str) -> None:
    assert bound.question(CHANNEL) == question
    assert bound.value(answer, CHANNEL, "psu") == value
    assert bound.command(value, CHANNEL, "psu") == command


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (float, {}, "a number"),
        (int, {}, "a whole number"),
        (bool, {}, "0, 1, ON or OFF"),
        (Mode, {}, "one of FAST, SLOW"),
        (float, {"values": {1.0: "A"}}, "one of A"),
        (float, {"parse": float}, "what float() takes"),
    ],
)
def test_answer_of_another_type_is_named_with_its_parameter(kind: Any, given: Any, expected: str) -> None:
    bound = binding(kind, **given)
    with pytest.raises(QMI_InstrumentException) as raised:
        bound.value("broken", None, "psu")
    assert str(raised.value) == f"Expected {expected} in answer to 'VOLT?', got 'broken', for level of psu"
    with pytest.raises(QMI_InstrumentException, match=r"for channels\[3\]\.level of psu"):
        bound.value("broken", CHANNEL, "psu")


def test_value_that_cannot_be_sent_is_named_with_its_parameter() -> None:
    with pytest.raises(QMI_InvalidValueException, match=r"^level of psu must have no ';'"):
        binding(str).command("1;*RST", None, "psu")
    with pytest.raises(QMI_InvalidValueException, match=r"^channels\[3\]\.level of psu has no text for 7"):
        binding(float, values={1.0: "A"}).command(7, CHANNEL, "psu")
    with pytest.raises(QMI_InvalidValueException, match=r"^level of psu must be from 0 to 255"):
        binding(Block("u1")).command([256], None, "psu")


def test_block_is_sent_within_its_command() -> None:
    bound = binding(Block(">i2"), None, write="SOUR{n}:DATA VOLATILE,{value}")
    assert bound.command([1, -2], CHANNEL, "awg") == b"SOUR3:DATA VOLATILE,#14\x00\x01\xff\xfe"
    scaled = binding(Block("u1"), scale=0.5)
    assert scaled.command(np.array([0.5, 1.0, 127.5]), None, "awg") == b"VOLT #13\x01\x02\xff"
    np.testing.assert_array_equal(scaled.array(np.array([1, 2], "u1")), [0.5, 1.0])
    assert binding(Block("u1"), parse=list).array(np.array([1, 2], "u1")) == [1, 2]


def test_long_answer_is_shown_by_its_beginning() -> None:
    assert len(wrong_answer("VOLT?", "x" * 10**6, "a number")) < 300

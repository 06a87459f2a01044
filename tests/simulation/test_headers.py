"""Which commands a simulated device takes for which."""

from typing import Any

import pytest

from qmi.simulation.framing import message_end, split
from qmi.simulation.headers import Pattern, same_keyword, short_form, unit_of


@pytest.mark.parametrize(
    ("word", "short"),
    [
        ("VOLTAGE", "VOLT"),
        ("RESISTANCE", "RES"),
        ("FREQUENCY", "FREQ"),
        ("MEAS", "MEAS"),
        ("OUTPUT", "OUTP"),
        ("SOURCE", "SOUR"),
        ("DC", "DC"),
        ("VOLTage", "VOLT"),
        ("AMPLitude", "AMPL"),
        ("CURVe", "CURV"),
    ],
)
def test_keyword_has_its_short_form(word: Any, short: Any) -> None:
    assert short_form(word) == short


@pytest.mark.parametrize(
    ("declared", "sent", "same"),
    [
        ("VOLT", "volt", True),
        ("VOLT", "VOLTage", True),
        ("VOLTage", "VOLTA", False),
        ("VOLT", "VOL", False),
        ("VOLTAGE", "VOLT", True),
        ("VOLTage", "VOLTAGE", True),
        ("VOLTage", "VOLTAG", False),
        ("RES", "RESISTANCE", True),
        ("SOUR1", "SOUR", True),
        ("SOUR", "SOURCE1", True),
        ("SOUR2", "SOUR", False),
        ("SOUR2", "SOURCE2", True),
        ("VOLT", "CURR", False),
    ],
)
def test_keyword_is_taken_in_short_and_long_form(declared: Any, sent: Any, same: Any) -> None:
    assert same_keyword(declared, sent) is same


@pytest.mark.parametrize(
    ("pattern", "sent", "value", "number"),
    [
        ("VOLT {value}", "VOLT 5", "5", None),
        ("VOLT {value}", ":VOLTAGE   5.0 ", "5.0", None),
        ("VOLT?", "volt?", "", None),
        ("VOLT?", "VOLT? MAX", "MAX", None),
        ("APPL {value},DEF", "APPL 5 , DEF", "5", None),
        ("V{value}", "V5.5", "5.5", None),
        ("SOUR{n}:VOLT {value}", "SOURCE3:VOLT 5", "5", 3),
        ("SOUR{n}:VOLT {value}", "SOUR:VOLT 5", "5", 1),
        ("MEAS:VOLT? (@{n})", "MEAS:VOLT? (@12)", "", 12),
        ("out_sp_00 {value}", "out_sp_00 25.3", "25.3", None),
        ("in_pv_00", "in_pv_00", "", None),
    ],
)
def test_command_is_found_with_its_value_and_number(pattern: Any, sent: Any, value: Any, number: Any) -> None:
    found = Pattern(pattern).match((), unit_of(sent))
    assert found is not None
    assert (found.value, found.number) == (value, number)


@pytest.mark.parametrize(
    ("pattern", "sent"),
    [
        ("VOLT {value}", "VOLT?"),
        ("VOLT?", "VOLT 5"),
        ("VOLT?", "SOUR:VOLT?"),
        ("SOUR:VOLT?", "VOLT?"),
        ("MEAS:VOLT? (@1)", "MEAS:VOLT? (@2)"),
        ("APPL {value},DEF", "APPL 5"),
    ],
)
def test_other_command_is_not_taken_for_it(pattern: Any, sent: Any) -> None:
    assert Pattern(pattern).match((), unit_of(sent)) is None


def test_command_of_a_channel_has_its_number() -> None:
    pattern = Pattern("SOUR{n}:VOLT?", 2)
    assert pattern.match((), unit_of("SOURCE2:VOLTAGE?")) is not None
    assert pattern.match((), unit_of("SOUR3:VOLT?")) is None
    assert pattern.differs_in_number((), unit_of("SOUR3:VOLT?"))
    assert not pattern.differs_in_number((), unit_of("SOUR3:CURR?"))


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"VOLT 5\nCURR", 7),
        (b"VOLT 5", None),
        (b"WAV #15a\nb\nc\nX", 13),
        (b"WAV #15a\nb", None),
        (b"WAV #1", None),
        (b"A #\n", 4),
        (b"A #H12\nB", 7),
        (b"A #0\n", 5),
    ],
)
def test_message_ends_at_a_terminator_that_is_not_in_a_block(data: Any, end: Any) -> None:
    assert message_end(data, b"\n") == end


def test_message_is_split_outside_of_texts_blocks_and_channel_lists() -> None:
    message = b"A 1;DISP:TEXT 'x;y';WAV #13;;;;ROUT (@1;2);B"
    assert split(message, b";") == [b"A 1", b"DISP:TEXT 'x;y'", b"WAV #13;;;", b"ROUT (@1;2)", b"B"]

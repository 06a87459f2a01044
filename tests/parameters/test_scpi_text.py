"""Texts of devices and the values that they stand for, both ways."""

from __future__ import annotations

import enum
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.parameters.declaration import Parameter
from qmi.parameters.scpi_text import ScpiCommands, scpi_commands, scpi_text, unquoted


def commands_of(command: str | None = None, ask: str | None = None, write: str | None = None) -> ScpiCommands:
    declared: Parameter[object] = Parameter({"command": command, "ask": ask, "write": write})
    return scpi_commands(declared.ask, declared.write)


class Mode(enum.Enum):
    DC = "VOLT:DC"
    AC = "VOLT:AC"
    SINE = "SINusoid"


class Code(enum.Enum):
    OFF = 0
    LOW = 1
    HIGH = 10


class Step(enum.Enum):
    SMALL = 2e-9
    LARGE = 0.5


@given(st.floats())
def test_float_is_read_as_it_was_written(value: float) -> None:
    rules = scpi_text(float)
    read = rules.read(rules.write(value))
    if abs(value) >= 9.89e37:
        assert abs(read) == math.inf or math.isnan(read)  # such numbers stand for something else
    else:
        assert read == pytest.approx(value, rel=1e-14, abs=1e-300, nan_ok=True)


@given(st.decimals(-(10**6), 10**6, places=6))
def test_decimal_number_keeps_its_digits(value: Any) -> None:
    rules = scpi_text(float)
    assert rules.read(rules.write(float(value))) == float(value)


@given(st.integers())
def test_integer_is_read_as_it_was_written(value: int) -> None:
    rules = scpi_text(int)
    assert rules.read(rules.write(value)) == value


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_text_within_quotes_is_read_as_it_was_written(value: str) -> None:
    rules = scpi_text(str)
    commands = commands_of("DISP:TEXT", write='DISP:TEXT "{value}"')
    assert rules.read(commands.command(rules.write(value)).removeprefix("DISP:TEXT ")) == value


@given(st.floats(-1e6, 1e6), st.sampled_from([1e-3, 1e-6, 60.0, -0.1]))
def test_scaled_float_is_read_as_it_was_written(value: float, scale: float) -> None:
    rules = scpi_text(float, scale=scale)
    assert rules.read(rules.write(value)) == pytest.approx(value, rel=1e-13, abs=1e-300)


@pytest.mark.parametrize("kind", [Mode, Code, Step])
def test_member_is_read_as_it_was_written(kind: type[enum.Enum]) -> None:
    rules = scpi_text(kind)
    for member in kind:
        assert rules.read(rules.write(member)) is member


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"), (5.0, "5"), (-0.0, "0"), (0.1 + 0.2, "0.3"), (1e-9, "1E-09"), (123456789.012345, "123456789.012345"),
        (1e20, "1E+20"), (math.inf, "9.9E37"), (-math.inf, "-9.9E37"), (math.nan, "9.91E37"),
    ],
)  # fmt: skip
def test_float_is_written(value: float, text: str) -> None:
    assert scpi_text(float).write(value) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5.0), ("+5.000000E+00", 5.0), (" -1.5e-3 ", -1.5e-3), (".5", 0.5), ("5.", 5.0), ("1.5 E -3", 1.5e-3),
        ("9.9E37", math.inf), ("+9.90000000E+37", math.inf), ("-9.9E+37", -math.inf), ("9.91E+37", math.nan),
        ("9.89999978E+37", math.inf), ("9.90999984E+37", math.nan), ("9.99999E+37", math.inf), ("INF", math.inf),
        ("ninf", -math.inf), ("NAN", math.nan), ("#HFF", 255.0), ("#Q17", 15.0), ("#b101", 5.0),
    ],
)  # fmt: skip
def test_float_is_read(text: str, value: float) -> None:
    assert scpi_text(float).read(text) == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize("text", ["", "broken", "1_0", "1,2", "5 V", "0x10", "1e", "#HX", "ON", "1 2", "\u06f5", "--1"])
@pytest.mark.parametrize("kind", [float, int, bool, Code])
def test_what_is_no_number_is_refused(kind: Any, text: str) -> None:
    if (kind, text) != (bool, "ON"):
        with pytest.raises(ValueError):
            scpi_text(kind).read(text)


@pytest.mark.parametrize(("text", "value"), [("+5", 5), ("5.0E+0", 5), ("-7", -7), ("#H10", 16), (str(2**70), 2**70)])
def test_integer_is_read(text: str, value: int) -> None:
    read = scpi_text(int).read(text)
    assert (read, type(read)) == (value, int)


@pytest.mark.parametrize("text", ["5.5", "9.9E37", "9.91E37"])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no whole number"):
        scpi_text(int).read(text)


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("0", False), ("on", True), ("OFF", False), ("+1.0", True), (" 0\r", False)]
)
def test_flag_is_read(text: str, value: bool) -> None:
    assert scpi_text(bool).read(text) is value


@pytest.mark.parametrize("text", ["2", "-1", "perhaps", "TRUE", "9.91E37"])
def test_what_is_no_flag_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        scpi_text(bool).read(text)


def test_flag_is_written() -> None:
    rules = scpi_text(bool)
    assert (rules.write(True), rules.write(False)) == ("1", "0")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"a b"', "a b"), ("'a'", "a"), ('"say ""hi"""', 'say "hi"'), ("plain", "plain"),
        ('"a","b"', '"a","b"'), ('"', '"'),
    ],
)  # fmt: skip
def test_text_is_read_without_its_quotes(text: str, value: str) -> None:
    assert scpi_text(str).read(text) == unquoted(text) == value


@pytest.mark.parametrize("value", ["two\nlines", "tab\t", "5 µm", "\r"])
def test_text_that_a_device_cannot_have_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must be printable ASCII"):
        scpi_text(str).write(value)


@pytest.mark.parametrize("value", ["1;*RST", 'a"b;c', ";"])
def test_text_does_not_begin_another_command(value: str) -> None:
    with pytest.raises(ValueError, match="must have no ';'"):
        commands_of("TRIG:SOUR").command(scpi_text(str).write(value))
    quoted = commands_of("DISP", write="DISP '{value}'")
    assert quoted.command(value) == f"DISP '{value}'"
    assert commands_of("MACR").command('"1;*RST"') == 'MACR "1;*RST"'


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Mode, '"VOLT:DC"', Mode.DC), (Mode, "volt:ac", Mode.AC), (Mode, "SIN", Mode.SINE),
        (Mode, "sinusoid", Mode.SINE),
        (Code, "+1", Code.LOW), (Code, "1.0E+01", Code.HIGH), (Code, "-0", Code.OFF), (Step, "2.0E-09", Step.SMALL),
    ],
)  # fmt: skip
def test_member_is_read_in_other_forms_of_its_text(kind: type[enum.Enum], text: str, value: enum.Enum) -> None:
    assert scpi_text(kind).read(text) is value


def test_texts_that_differ_in_case_only_are_told_apart() -> None:
    rules = scpi_text(str, values={"volt": "v", "mega": "V", "other": "O"})
    assert [rules.read(text) for text in ("v", "V", "o")] == ["volt", "mega", "other"]
    short = scpi_text(str, values={"a": "FASt", "b": "FASter"})
    assert short.read("FASTER") == "b"
    with pytest.raises(ValueError):
        short.read("FAS")


def test_table_gives_each_value_its_text() -> None:
    rules = scpi_text(float, values={1e-3: 0, 0.3: "1", 5: "AUTO"})
    assert [rules.write(value) for value in (0.001, 0.1 + 0.2, 5.0)] == ["0", "1", "AUTO"]
    assert [rules.read(text) for text in ("0", "+1", "auto")] == [1e-3, 0.3, 5]
    assert rules.expected == "one of 0, 1, AUTO"
    for wrong in (2.0, True, "AUTO"):
        with pytest.raises(ValueError, match="has no text for"):
            rules.write(wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": complex}, "type must be float"),
        ({"kind": float, "values": {}}, "values must not be empty"),
        ({"kind": float, "values": {1: "A", 2: "A"}}, "1 and 2 have the same text 'A'"),
        ({"kind": float, "values": {1: object()}}, "must be text or a number"),
        ({"kind": float, "format": "zz"}, "format='zz' is no specification for a float"),
        ({"kind": str, "format": ".3f"}, "format='.3f' is no specification for a str"),
        ({"kind": enum.Enum("Bad", {"A": ("x",)})}, "must be text or a number"),
    ],
)
def test_rules_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scpi_text(options.pop("kind"), **options)


@pytest.mark.parametrize("text", ["", "  "])
def test_command_without_a_value_is_not_sent(text: str) -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        commands_of("TRIG:SOUR").command(scpi_text(str).write(text))
    assert commands_of(write='DISP "{value}"').command(text) == f'DISP "{text}"'


@pytest.mark.parametrize("text", ["5\n*RST", "\u00b5", "\x00"])
def test_text_of_an_own_format_is_checked_as_well(text: str) -> None:
    rules = scpi_text(float, format=lambda value: text)
    with pytest.raises(ValueError, match="printable ASCII"):
        commands_of("VOLT").command(rules.write(5.0))


def test_text_that_looks_like_a_placeholder_is_sent_as_it_is() -> None:
    assert commands_of("SOUR{n}:NAME").command("{n}{value}", 2) == "SOUR2:NAME {n}{value}"


def test_own_format_and_parse_take_the_place_of_the_usual_ones() -> None:
    rules = scpi_text(float, format=".2f", parse=lambda text: float(text.removesuffix(" C")))
    assert rules.write(3.14159) == "3.14"
    assert rules.read("25.5 C") == 25.5
    assert scpi_text(float, scale=1e-3, format=lambda value: f"{value:.0f}mV").write(0.3) == "300mV"


def test_scaled_number_is_rounded_where_only_noise_is_left() -> None:
    rules = scpi_text(float, scale=0.1)
    assert rules.read("3") == 0.3
    assert rules.write(0.3) == "3"
    assert scpi_text(int, scale=1000).read("3.5") == 3500
    assert scpi_text(int, scale=1000).write(3500) == "3.5"


@pytest.mark.parametrize(
    ("command", "ask", "write", "question", "sent"),
    [
        ("VOLT", None, None, "VOLT?", "VOLT 5"),
        ("SOUR{n}:VOLT", None, None, "SOUR2:VOLT?", "SOUR2:VOLT 5"),
        ("VOLT", "VOLT? MAX", None, "VOLT? MAX", "VOLT 5"),
        (None, "SETP? {n}", "SETP {n},{value}", "SETP? 2", "SETP 2,5"),
        ("SLVL", None, "SLVL{value}", "SLVL?", "SLVL5"),
    ],
)
def test_command_is_made(command: str | None, ask: str | None, write: str | None, question: str, sent: str) -> None:
    commands = commands_of(command, ask, write)
    assert commands.question(2) == question
    assert commands.command("5", 2) == sent


@pytest.mark.parametrize("command", ["MEAS:CURR?", "MEAS:CURR? (@101)", "OUTP? {n}"])
def test_question_is_a_reading(command: str) -> None:
    commands = commands_of(command)
    assert (commands.ask, commands.write) == (command, None)


def test_command_without_a_question_only_sets() -> None:
    assert commands_of(write="TRIG {value}").ask is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("VOLT\n",), "without a terminator"),
        (("VÖLT",), "printable ASCII"),
        (("VOLT{x}",), "no other braces"),
        ((None, "VOLT? {value}"), "ask must have no"),
        ((None, None, "VOLT"), r"write must have \{value\} once"),
        ((None, None, "VOLT {value},{value}"), r"write must have \{value\} once"),
    ],
)
def test_command_that_cannot_be_sent_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        commands_of(*arguments)


@pytest.mark.parametrize("text", ["\xff\xa5?\x00\xfe", "two\nlines", "a\x01"])
@pytest.mark.parametrize("kind", [float, int, bool, str, Mode])
def test_bytes_that_are_no_text_are_no_value(kind: Any, text: str) -> None:
    with pytest.raises(ValueError):
        scpi_text(kind).read(text)


def test_text_of_an_answer_may_have_more_than_ascii() -> None:
    assert scpi_text(str).read('"25 \xb5V\tDC"') == "25 \xb5V\tDC"

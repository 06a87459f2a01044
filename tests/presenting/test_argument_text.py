"""Text of the command line as values of annotated types, and values as text."""

from __future__ import annotations

import dataclasses
import math
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.actors.interface import describe_method
from qmi.presenting.annotation_types import type_of
from qmi.presenting.argument_text import Unfit, duration, expected, read
from qmi.presenting.call_arguments import Setting, WrongArgument, bind
from qmi.presenting.quantity_text import number_in_unit
from qmi.presenting.value_text import text_of


class Mode(Enum):
    VOLTAGE = "VOLT"
    CURRENT = "CURR"
    off = 3


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Bits(Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Pulse:
    width: float
    mode: Mode = Mode.VOLTAGE
    points: list[int] = dataclasses.field(default_factory=list)


class Pair(NamedTuple):
    low: float
    high: float = 1.0


class Options(TypedDict, total=False):
    speed: int


def resolve(name: str) -> object:
    return globals().get(name.rpartition(".")[2])


def parse(text: str, annotation: str | None, unit: str = "") -> object:
    return read(text, type_of(annotation, resolve), unit)


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        ("int", "5", 5),
        ("int", "-5", -5),
        ("int", "0x1f", 31),
        ("int", "007", 7),
        ("float", "5", 5.0),
        ("float", "1e-3", 0.001),
        ("float", "inf", math.inf),
        ("float", "-Infinity", -math.inf),
        ("float", " 2.5 ", 2.5),
        ("bool", "true", True),
        ("bool", "ON", True),
        ("bool", "1", True),
        ("bool", "no", False),
        ("bool", "Off", False),
        ("str", "5", "5"),
        ("str", " a b ", " a b "),
        ("str", "", ""),
        ("bytes", "0x01fF", b"\x01\xff"),
        ("bytes", "01 ff", b"\x01\xff"),
        ("bytes", "01:ff", b"\x01\xff"),
        ("bytearray", "01ff", bytearray(b"\x01\xff")),
        ("complex", "1+2j", 1 + 2j),
        ("complex", "(1 - 2i)", 1 - 2j),
        ("complex", "3", 3 + 0j),
        ("Mode", "CURRENT", Mode.CURRENT),
        ("Mode", "current", Mode.CURRENT),
        ("Mode", "Mode.CURRENT", Mode.CURRENT),
        ("Mode", "CURR", Mode.CURRENT),
        ("Mode", "3", Mode.off),
        ("some.module.Mode", "off", Mode.off),
        ("Bits", "A|B", Bits.A | Bits.B),
        ("'Mode'", "VOLTAGE", Mode.VOLTAGE),
        ("Level", "HIGH", Level.HIGH),
        ("Level", "2", Level.HIGH),
        ("list", "[1, 'a']", [1, "a"]),
        ("list[float]", "[1, 2.5]", [1.0, 2.5]),
        ("List[Mode]", '["CURRENT"]', [Mode.CURRENT]),
        ("Sequence[int]", "[1]", [1]),
        ("list[list[int]]", "[[1], []]", [[1], []]),
        ("tuple[int, str]", "[1, 'a']", (1, "a")),
        ("tuple[int, str]", "(1, 'a')", (1, "a")),
        ("tuple[int, ...]", "[1, 2, 3]", (1, 2, 3)),
        ("tuple", "[1, 2]", (1, 2)),
        ("set[int]", "[1, 1]", {1}),
        ("dict[str, float]", "{a: 1, b: 2}", {"a": 1.0, "b": 2.0}),
        ("dict[int, bool]", '{"1": true}', {1: True}),
        ("Mapping[Mode, int]", "{CURRENT: 1}", {Mode.CURRENT: 1}),
        ("list[bytes]", "['01ff']", [b"\x01\xff"]),
        ("list[float]", "[1, Infinity]", [1.0, math.inf]),
        ("list[float]", '["inf"]', [math.inf]),
        ("Pulse", "{width: 1, mode: 'CURRENT', points: [1]}", Pulse(1.0, Mode.CURRENT, [1])),
        ("Pulse", "{width: 1}", Pulse(1.0)),
        ("Pair", "[1, 2]", Pair(1.0, 2.0)),
        ("Pair", "{low: 1}", Pair(1.0)),
        ("Options", "{speed: 3}", {"speed": 3}),
        ("float | None", "none", None),
        ("Optional[float]", "null", None),
        ("Optional[float]", "2", 2.0),
        ("typing.Union[int, str]", "5", 5),
        ("Union[str, int]", "five", "five"),
        ("int | float", "5.5", 5.5),
        ("float | int", "5", 5),
        ("bool | int", "1", 1),
        ("bool | int", "on", True),
        ("Mode | float", "CURRENT", Mode.CURRENT),
        ("list[int] | None", "[1]", [1]),
        ("Literal['a', 1]", "a", "a"),
        ("Literal['a', 1]", "1", 1),
        ("typing.Literal[Mode.CURRENT]", "CURRENT", Mode.CURRENT),
        ("Annotated[float, 'V']", "1", 1.0),
        ("datetime", "2026-05-04T09:12:31", datetime(2026, 5, 4, 9, 12, 31)),
        ("datetime.datetime", "2026-05-04", datetime(2026, 5, 4)),
        ("datetime", "2026-05-04T09:12:31Z", datetime(2026, 5, 4, 9, 12, 31, tzinfo=UTC)),
        ("date", "2026-05-04", date(2026, 5, 4)),
        ("dt.time", "09:12", time(9, 12)),
        ("timedelta", "5", timedelta(seconds=5)),
        ("timedelta", "1h30m", timedelta(hours=1.5)),
        ("timedelta", "2 min", timedelta(minutes=2)),
        ("timedelta", "0:05:00", timedelta(minutes=5)),
        ("Decimal", "1.10", Decimal("1.10")),
        ("Fraction", "1/3", Fraction(1, 3)),
        ("Path", "a/b", Path("a/b")),
        ("UUID", "12345678123456781234567812345678", UUID("12345678123456781234567812345678")),
        (None, "5", 5),
        (None, "1e-3", 0.001),
        (None, "true", True),
        (None, "True", True),
        (None, "None", None),
        (None, "[1, 2]", [1, 2]),
        (None, "{a: 1}", {"a": 1}),
        (None, "hello", "hello"),
        (None, "'5'", "5"),
        (None, "*IDN?", "*IDN?"),
        ("Any", "5", 5),
        ("object", "x y", "x y"),
        ("NoSuchClass", "x", "x"),
        ("NoSuchClass[int]", "5", 5),
        ("this is no annotation", "5", 5),
        ("Callable[[int], str]", "f", "f"),
        ("numpy.float64", "1.5", 1.5),
        ("np.int32", "3", 3),
        ("np.bool_", "on", True),
        ("int", "5.0 V", 5),
    ],
)
def test_text_is_read_by_the_annotated_type(annotation: str | None, text: str, value: object) -> None:
    got = parse(text, annotation, "V")
    assert got == value
    if not type(got).__module__.startswith("numpy"):
        assert type(got) is type(value)


@pytest.mark.parametrize(
    ("annotation", "text", "shape", "kind"),
    [
        ("numpy.ndarray", "[1, 2.5]", (2,), "float64"),
        ("np.ndarray", "[[1, 2], [3, 4]]", (2, 2), "int64"),
        ("NDArray[np.float64]", "[1, 2]", (2,), "float64"),
        ("npt.NDArray[numpy.int16]", "[1, 2]", (2,), "int16"),
        ("npt.ArrayLike", "[true]", (1,), "bool"),
        ("np.ndarray | None", "[]", (0,), "float64"),
    ],
)
def test_text_of_an_array_is_a_list(annotation: str, text: str, shape: tuple[int, ...], kind: str) -> None:
    got = parse(text, annotation)
    assert isinstance(got, numpy.ndarray)
    assert (got.shape, str(got.dtype)) == (shape, kind)


@pytest.mark.parametrize(
    ("annotation", "text", "said"),
    [
        ("int", "abc", "a whole number"),
        ("int", "5.5", "a whole number"),
        ("int", "", "a whole number"),
        ("float", "abc", "a number"),
        ("float", "1,5", "with a point"),
        ("float", "5 V", "no unit is known"),
        ("float", "none", "a number"),
        ("bool", "2", "on or off"),
        ("bytes", "0g", "hexadecimal"),
        ("bytes", "123", "hexadecimal"),
        ("complex", "x", "complex"),
        ("Mode", "POWER", "VOLTAGE, CURRENT or off"),
        ("Literal['a', 'b']", "c", "'a' or 'b'"),
        ("list[float]", "5", "a JSON list of a number"),
        ("list[int]", "[1.5]", "a whole number"),
        ("list[int]", "[true]", "a whole number"),
        ("list[int]", "['1']", "a whole number"),
        ("list[float]", "[1, ", "no JSON5"),
        ("dict[str, int]", "[1]", "a JSON object"),
        ("tuple[int, str]", "[1]", "2 items"),
        ("Pulse", "{}", "width is missing"),
        ("Pulse", "{width: 1, mod: 1}", "Did you mean 'mode'?"),
        ("Pulse", "{width: 'x'}", "width must be a number"),
        ("float | None", "abc", "none or a number"),
        ("datetime", "yesterday", "2026-05-04T09:12:31"),
        ("timedelta", "5 parsecs", "duration"),
        ("Decimal", "x", "number"),
        ("Fraction", "1/0", "fraction"),
        ("np.ndarray", "[[1], [1, 2]]", "as many numbers"),
        ("np.ndarray", "['a']", "numbers"),
    ],
)
def test_text_of_another_type_is_refused_with_what_is_expected(annotation: str, text: str, said: str) -> None:
    with pytest.raises(Unfit) as caught:
        parse(text, annotation)
    assert said in f"{caught.value.expected}: {caught.value.hint}"


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("5 V", "V", 5.0),
        ("5V", "V", 5.0),
        ("-5V", "V", -5.0),
        ("+.5 V", "V", 0.5),
        ("5.V", "V", 5.0),
        ("5", "V", 5.0),
        ("3 mV", "V", 0.003),
        ("3mV", "mV", 3.0),
        ("0.1 mV", "V", 0.0001),
        ("5 V", "mV", 5000.0),
        ("1e3 mV", "V", 1.0),
        ("2 µA", "A", 2e-6),
        ("2 μA", "uA", 2.0),
        ("2 uA", "nA", 2000.0),
        ("1 kOhm", "Ω", 1000.0),
        ("1 kΩ", "ohm", 1000.0),
        ("1 MHz", "Hz", 1e6),
        ("1 mHz", "Hz", 1e-3),
        ("1 mm", "m", 1e-3),
        ("1 cm", "mm", 10.0),
        ("1 m", "mm", 1000.0),
        ("10 mV/s", "V/s", 0.01),
        ("21.5 degC", "degC", 21.5),
        ("50 %", "%", 50.0),
        ("-3 dBm", "dBm", -3.0),
        ("3 counts", "counts", 3.0),
        ("inf V", "V", math.inf),
        ("-inf mV", "V", -math.inf),
        ("1 min", "s", 60.0),
        ("2 inch", "cm", 5.08),
        ("25 degC", "K", 298.15),
        ("1 mm^2", "m^2", 1e-6),
        ("5 kg", "g", 5000.0),
        ("3 E", "E", 3.0),
    ],
)
def test_quantity_is_converted_to_the_unit_of_the_parameter(text: str, unit: str, value: float) -> None:
    assert parse(text, "float", unit) == value


@pytest.mark.parametrize(
    ("text", "unit", "said"),
    [
        ("5 A", "V", "'A' cannot be converted to that"),
        ("5 bananas", "V", "'bananas' is no unit that is known"),
        ("5 V", "", "no unit is known for it"),
        ("5 V V", "V", "it is in V"),
        ("1e999 kV", "mV", "more than a number can be"),
        ("abc V", "V", ""),
        ("5 in", "min", "'in'"),
    ],
)
def test_quantity_in_a_wrong_unit_is_refused_by_name(text: str, unit: str, said: str) -> None:
    with pytest.raises(Unfit) as caught:
        parse(text, "float", unit)
    assert said in caught.value.hint


def test_quantity_of_an_int_must_be_whole() -> None:
    assert parse("5 kHz", "int", "Hz") == 5000
    with pytest.raises(Unfit, match="a whole number in Hz"):
        parse("5 mHz", "int", "Hz")


def test_units_need_pint_only_where_no_prefix_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pint", None)
    assert number_in_unit("3", "mV", "V") == 0.003
    with pytest.raises(Exception, match="'inch' is not known as that; more units are known with pip install pint"):
        number_in_unit("3", "inch", "m")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda items: st.lists(items, max_size=3) | st.dictionaries(st.text(), items, max_size=3),
    max_leaves=8,
)


@given(st.floats(allow_nan=False))
def test_float_is_read_as_it_is_printed(value: float) -> None:
    assert parse(text_of(value), "float") == value
    assert parse(f"{text_of(value)} V", "float", "V") == value


@given(st.integers())
def test_int_is_read_as_it_is_printed(value: int) -> None:
    assert parse(text_of(value), "int") == value


@given(st.text().filter(str.isprintable))
def test_text_is_read_as_it_is_printed(value: str) -> None:
    assert parse(text_of(value), "str") == value


@given(st.dictionaries(st.text(), PLAIN, max_size=3) | st.lists(PLAIN, max_size=3))
def test_structure_is_read_as_it_is_printed(value: Any) -> None:
    assert parse(text_of(value), "dict" if isinstance(value, dict) else "list") == value


@given(st.complex_numbers(allow_nan=False))
def test_complex_number_is_read_as_it_is_printed(value: complex) -> None:
    assert parse(text_of(value), "complex") == value


@given(st.timedeltas())
def test_duration_is_read_as_it_is_printed(value: timedelta) -> None:
    # As a float of seconds, it has microseconds as long as it is shorter than some hundred years.
    assert abs(duration(text_of(value)) - value) <= timedelta(microseconds=abs(value.total_seconds()) // 2**32)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("bool", True),
        ("bool", False),
        ("bytes", b"\x00\xff"),
        ("Mode", Mode.CURRENT),
        ("list[Mode]", [Mode.off]),
        ("list[bytes]", [b"\x01"]),
        ("list[float]", [math.inf, 1.0]),
        ("dict[int, Mode]", {1: Mode.off}),
        ("Pulse", Pulse(1.5, Mode.CURRENT, [1, 2])),
        ("Pair", Pair(1.0, 2.0)),
        ("tuple[int, ...]", (1, 2)),
        ("set[int]", {1}),
        ("datetime", datetime(2026, 5, 4, 9, 12, 31, 5, tzinfo=UTC)),
        ("date", date(2026, 5, 4)),
        ("time", time(9, 12)),
        ("timedelta", timedelta(days=1, microseconds=1)),
        ("Decimal", Decimal("1.10")),
        ("Fraction", Fraction(1, 3)),
        ("Path", Path("a")),
        ("float | None", None),
        ("list[complex]", [1 + 2j]),
    ],
)
def test_value_is_read_as_it_is_printed(annotation: str, value: object) -> None:
    assert parse(text_of(value), annotation) == value


def test_array_is_read_as_it_is_printed() -> None:
    array = numpy.array([[1.5, 2.0], [3.0, 4.0]])
    assert numpy.array_equal(parse(text_of(array), "np.ndarray"), array)  # type: ignore[arg-type]
    assert text_of(numpy.float64(0.1)) == "0.1"


def test_printed_text_holds_nothing_that_a_terminal_obeys() -> None:
    assert "\x1b" not in text_of("\x1b[2J") + text_of({"\x1b": "\x1b"})


@pytest.mark.parametrize("annotation", ["int", "float", "bool", "Mode", "bytes", "dict[str, int]", "Pulse", "UUID"])
@given(text=st.text())
def test_any_text_is_read_or_refused(annotation: str, text: str) -> None:
    with suppress(Unfit):
        parse(text, annotation, "V")


def test_expected_names_types_in_words() -> None:
    assert expected(type_of("list[float]")) == "a JSON list of a number"
    assert expected(type_of("float | None"), "V") == "none or a number in V"


# The arguments of a call


class Device:
    def set_voltage(self, value: float, channel: int = 1, *, ramp: bool = False) -> None: ...
    def say(self, text: str, times: int = 1) -> None: ...
    def many(self, *values: float, **options: int) -> None: ...
    def place(self, first: int, second: int, /) -> None: ...
    def plain(self, a, b=None): ...  # type: ignore[no-untyped-def]
    def nothing(self) -> None: ...


def call(name: str, *texts: str, unit: str = "", limits: str = "") -> tuple[list[object], dict[str, object]]:
    method = describe_method(name, getattr(Device, name), Device)
    setting = Setting("value", unit) if name == "set_voltage" else Setting()
    return bind(texts, method.parameters, f"lab.psu.{name}", setting=setting, limits=lambda: limits)


@pytest.mark.parametrize(
    ("name", "texts", "args", "kwargs"),
    [
        ("set_voltage", ["5"], [5.0], {}),
        ("set_voltage", ["5", "2"], [5.0, 2], {}),
        ("set_voltage", ["5", "channel=2", "ramp=on"], [5.0], {"channel": 2, "ramp": True}),
        ("set_voltage", ["ramp=no", "value=5"], [], {"ramp": False, "value": 5.0}),
        ("set_voltage", ["ramp=no", "5"], [5.0], {"ramp": False}),
        ("set_voltage", ["3 mV"], [0.003], {}),
        ("set_voltage", ["value=3mV"], [], {"value": 0.003}),
        ("say", ["hello"], ["hello"], {}),
        ("say", ["FREQ=5"], ["FREQ=5"], {}),
        ("say", ["text=FREQ=5"], [], {"text": "FREQ=5"}),
        ("say", ["x", "times=3"], ["x"], {"times": 3}),
        ("many", ["1", "2", "a=3"], [1.0, 2.0], {"a": 3}),
        ("many", [], [], {}),
        ("place", ["1", "2"], [1, 2], {}),
        ("plain", ["1", "b=x"], [1], {"b": "x"}),
        ("plain", ["c=1"], ["c=1"], {}),
        ("nothing", [], [], {}),
    ],
)
def test_arguments_are_bound(name: str, texts: list[str], args: list[object], kwargs: dict[str, object]) -> None:
    assert call(name, *texts, unit="V") == (args, kwargs)


@pytest.mark.parametrize(
    ("name", "texts", "said"),
    [
        ("set_voltage", ["abc"], "argument 'value' of lab.psu.set_voltage must be a number in V, got 'abc'"),
        ("set_voltage", ["5 A"], "'A' cannot be converted"),
        ("set_voltage", ["5", "x"], "argument 'channel' of lab.psu.set_voltage must be a whole number, got 'x'"),
        ("set_voltage", ["5 ", "2 V"], "argument 'channel'"),
        ("set_voltage", [], "needs its argument 'value'. It takes value: float, channel: int = 1, ramp: bool = False"),
        ("set_voltage", ["5", "chanel=2"], "has no argument 'chanel'. Did you mean 'channel'?"),
        ("set_voltage", ["5", "value=5"], "got its argument 'value' twice"),
        ("set_voltage", ["value=5", "5"], "got its argument 'value' twice"),
        ("set_voltage", ["5", "ramp=on", "ramp=on"], "got its argument 'ramp' twice"),
        ("set_voltage", ["5", "1", "2"], "and got one more: '2'"),
        ("place", ["1"], "needs its argument 'second'"),
        ("place", ["first=1"], "has no argument 'first'"),
        ("nothing", ["1"], "takes no arguments, and got one more: '1'"),
        ("many", ["a=x"], "argument 'a' of lab.psu.many must be a whole number, got 'x'"),
    ],
)
def test_wrong_arguments_are_refused_by_name(name: str, texts: list[str], said: str) -> None:
    with pytest.raises(WrongArgument) as caught:
        call(name, *texts, unit="V")
    assert said in str(caught.value)


def test_argument_that_sets_a_parameter_is_refused_with_its_limits() -> None:
    with pytest.raises(WrongArgument, match="must be a number from 0 to 30 V, got 'abc'") as caught:
        call("set_voltage", "abc", unit="V", limits="a number from 0 to 30 V")
    assert caught.value.argument == "value"

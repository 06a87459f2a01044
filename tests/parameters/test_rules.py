"""Which values a parameter takes."""

from __future__ import annotations

import math
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from fractions import Fraction
from typing import Any

import numpy
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qmi.core.exceptions import QMI_InvalidValueException
from qmi.parameters.rules import Limits, Rule, describe_limits, listed, shown

FINITE = st.floats(allow_nan=False, allow_infinity=False)
MODERATE = st.floats(-1e6, 1e6, allow_nan=False)
NUMBERS = st.one_of(FINITE, st.integers(-(10**30), 10**30))


@given(NUMBERS, st.none() | NUMBERS, st.none() | NUMBERS)
def test_number_is_taken_if_it_is_within_the_limits(value: float, low: float | None, high: float | None) -> None:
    rule = Rule(float)
    as_float = float(value)
    if (low is None or as_float >= low) and (high is None or as_float <= high):
        taken = rule.check(value, (low, high), "x")
        assert (taken, type(taken)) == (as_float, float)
    else:
        with pytest.raises(QMI_InvalidValueException) as raised:
            rule.check(value, (low, high), "x")
        assert f"got {as_float!r}" in str(raised.value)


@given(st.integers(-1000, 1000), st.sampled_from([0.1, 0.25, 1e-3, 3.0, 1 / 3, 1e-9, 7e5]), MODERATE)
def test_multiple_of_the_step_is_taken_with_the_noise_of_floats(count: int, step: float, low: float) -> None:
    assume(abs(low) < 1e6 * step)
    rule = Rule(float, step=step)
    value = low + count * step
    assert rule.check(value, (low, None), "x") == value if count >= 0 else True
    between = low + (abs(count) + 0.5) * step
    with pytest.raises(QMI_InvalidValueException, match="must be a multiple of"):
        rule.check(between, (low, None), "x")


@given(st.integers(), st.integers(1), st.integers())
def test_step_of_whole_numbers_is_exact(value: int, step: int, low: int) -> None:
    rule = Rule(int, step=step)
    try:
        assert rule.check(value, (low, None), "x") == value
        assert value >= low
        assert (value - low) % step == 0
    except QMI_InvalidValueException:
        assert value < low or (value - low) % step != 0


@given(st.lists(MODERATE, min_size=1, max_size=20), MODERATE)
def test_only_allowed_values_are_taken(values: list[float], other: float) -> None:
    rule = Rule(float, values=tuple(values))
    for value in values:
        assert rule.check(value, None, "x") in values
    if not any(math.isclose(other, value, rel_tol=1e-8) for value in values):
        with pytest.raises(QMI_InvalidValueException):
            rule.check(other, None, "x")


@given(NUMBERS)
def test_what_was_taken_is_taken_again_as_it_is(value: float) -> None:
    for kind in (float, int):
        rule = Rule(kind)
        try:
            taken = rule.convert(value, "x")
        except QMI_InvalidValueException:
            continue
        again = rule.convert(taken, "x")
        assert (again, type(again)) == (taken, kind)


@given(st.integers(-(2**31), 2**31 - 1), st.sampled_from(["i4", "i8", "f8"]))
def test_number_of_numpy_is_a_number(value: int, dtype: str) -> None:
    scalar = numpy.dtype(dtype).type(value)
    assert Rule(float).convert(scalar, "x") == float(value)
    if dtype != "f8":
        taken = Rule(int).convert(scalar, "x")
        assert (taken, type(taken)) == (value, int)


class Colour(Enum):
    RED = "R"
    GREEN = 2


class Level(IntEnum):
    LOW = 0
    HIGH = 1


class Other(Enum):
    RED = "R"


class Options(Flag):
    A = 1
    B = 2


@pytest.mark.parametrize(
    ("kind", "value", "taken"),
    [
        (float, 1, 1.0),
        (float, Fraction(1, 4), 0.25),
        (float, Level.HIGH, 1.0),
        (float, numpy.float16(0.5), 0.5),
        (float, numpy.longdouble(0.5), 0.5),
        (float, -0.0, -0.0),
        (int, 10**40, 10**40),
        (int, Level.HIGH, 1),
        (bool, numpy.bool_(False), False),
        (bool, numpy.array(True), True),
        (str, "", ""),
        (Colour, "R", Colour.RED),
        (Colour, 2, Colour.GREEN),
        (Colour, Colour.RED, Colour.RED),
        (Level, 1, Level.HIGH),
        (Options, Options.A | Options.B, Options.A | Options.B),
        (Options, 1, Options.A),
        (Options, 3, Options.A | Options.B),
        (Options, 0, Options(0)),
        (bytes, b"x", b"x"),
    ],
)
def test_value_of_the_type_is_taken(kind: type, value: object, taken: object) -> None:
    found = Rule(kind).check(value, None, "x")
    assert (found, type(found)) == (taken, type(taken))


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (float, True, "a number, got True"),
        (float, numpy.bool_(True), "a number, got True"),
        (float, "1", "a number, got '1'"),
        (float, Decimal(1), "a number, got Decimal('1')"),
        (float, 1 + 0j, "a number, got (1+0j)"),
        (float, [1.0], "a number, got [1.0]"),
        (float, 10**400, "a number that a float can hold, got 1000"),
        (Options, 4, "Options.A or Options.B, got 4"),
        (Options, -1, "Options.A or Options.B, got -1"),
        (Options, True, "Options.A or Options.B, got True"),
        (int, 1.0, "a whole number, got 1.0"),
        (int, numpy.float64(1.0), "a whole number, got 1.0"),
        (int, True, "a whole number, got True"),
        (bool, 1, "True or False, got 1"),
        (bool, "ON", "True or False, got 'ON'"),
        (bool, None, "True or False, got None"),
        (str, b"x", "a text, got b'x'"),
        (str, None, "a text, got None"),
        (Colour, "RED", "Colour.RED or Colour.GREEN, got 'RED'"),
        (Colour, Other.RED, "Colour.RED or Colour.GREEN, got Other.RED"),
        (Colour, 2.0, "Colour.RED or Colour.GREEN, got 2.0"),
        (Level, True, "Level.LOW or Level.HIGH, got True"),
        (bytes, "x", "a value of type bytes, got 'x'"),
    ],
)
def test_value_of_another_type_is_refused(kind: type, value: object, expected: str) -> None:
    with pytest.raises(QMI_InvalidValueException) as raised:
        Rule(kind).check(value, None, "x of psu")
    assert str(raised.value).startswith(f"x of psu must be {expected}")


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


def test_value_that_cannot_be_shown_is_refused_all_the_same() -> None:
    with pytest.raises(QMI_InvalidValueException, match="must be a number, got something of type Unprintable"):
        Rule(float).check(Unprintable(), None, "x")
    assert len(shown("x" * 1000)) < 120


@pytest.mark.parametrize(
    ("limits", "unit", "text"),
    [
        ((0, 30), "V", "from 0 to 30 V"),
        ((0.5, None), "V", "at least 0.5 V"),
        ((None, 30), "", "at most 30"),
        ((None, None), "V", "any number"),
    ],
)
def test_limits_are_described(limits: Limits, unit: str, text: str) -> None:
    assert describe_limits(limits, unit) == text


def test_values_are_listed() -> None:
    assert listed([1]) == "1"
    assert listed([1, "a"]) == "1 or 'a'"
    assert listed(range(100)).endswith("10 or 89 more")


def test_value_next_to_an_allowed_one_becomes_that() -> None:
    rule = Rule(float, "V", values=(0.3, 1.0))
    assert rule.check(0.1 + 0.2, None, "x") == 0.3
    found: Any = Rule(int, values=(1, 2)).check(numpy.int8(2), None, "x")
    assert (found, type(found)) == (2, int)


@pytest.mark.parametrize(
    ("value", "step", "taken"),
    [
        (1e6 + 0.0005, 1e-3, False),
        (1e6 + 0.001, 1e-3, True),
        (float(numpy.float32(0.3)), 0.1, True),
        (0.1 + 0.2, 0.1, True),
        (0.30001, 0.1, False),
        (0.301, 0.1, False),
        (7, 2.0, False),
        (8, 2.0, True),
    ],
)
def test_noise_of_floats_is_told_from_a_wrong_value(value: float, step: float, taken: bool) -> None:
    try:
        Rule(float, step=step).check(value, None, "x")
    except QMI_InvalidValueException:
        assert not taken
    else:
        assert taken


@pytest.mark.parametrize(
    ("limits", "value"),
    [
        (None, math.inf),
        (None, -math.inf),
        ((None, None), math.inf),
        ((1, None), math.inf),
        ((-math.inf, None), math.inf),
    ],
)
def test_infinity_is_no_value_where_no_limit_is_infinite(limits: Any, value: float) -> None:
    with pytest.raises(QMI_InvalidValueException, match=f"x must be finite, got {value} V"):
        Rule(float, "V").check(value, limits, "x")


def test_infinity_is_a_value_where_it_is_a_limit() -> None:
    assert Rule(float).check(math.inf, (1, math.inf), "x") == math.inf
    assert Rule(float).check(-math.inf, (-math.inf, 0), "x") == -math.inf
    with pytest.raises(QMI_InvalidValueException, match="x must be at least 1, got -inf"):
        Rule(float).check(-math.inf, (1, math.inf), "x")
    assert describe_limits((-math.inf, math.inf)) == "any number"


@pytest.mark.parametrize("kind", [int, float])
@pytest.mark.parametrize("low", [-math.inf, -(10**400), None])
def test_step_is_counted_from_0_where_the_lower_limit_is_none_of_its_multiples(kind: type, low: Any) -> None:
    limits = (low, 10)
    assert Rule(kind, step=2).check(4, limits, "x") == 4
    with pytest.raises(QMI_InvalidValueException, match="x must be a multiple of 2"):
        Rule(kind, step=2).check(5, limits, "x")


def test_limit_may_be_a_whole_number_that_no_float_can_hold() -> None:
    limits = (0, 10**400)
    assert Rule(int).check(10**399, limits, "x") == 10**399
    assert Rule(float).check(1e300, limits, "x") == 1e300
    with pytest.raises(QMI_InvalidValueException, match="x must be from 0 to 1000"):
        Rule(int).check(-1, limits, "x")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, 5, [1.0]])
def test_value_of_any_type_is_taken_as_it_is(value: object) -> None:
    assert Rule(object).check(value, None, "x") is value


@pytest.mark.parametrize(
    ("value", "near"),
    [
        (0.004, "0.001, 0.002, 0.005 or 0.01 V, got 0.004 V"),
        (100, "0.2 or 0.5 V, got 100.0 V"),
        (-1, "1e-09 or 2e-09 V, got -1.0 V"),
        (math.nan, "1e-09 or 2e-09 V, got nan V"),
    ],
)
def test_value_that_is_none_of_many_is_told_its_neighbours(value: float, near: str) -> None:
    values = tuple(float(f"{digit}e{power}") for power in range(-9, 0) for digit in (1, 2, 5))
    rule = Rule(float, "V", values)
    with pytest.raises(QMI_InvalidValueException) as caught:
        rule.check(value, None, "sensitivity of lia")
    assert str(caught.value) == f"sensitivity of lia must be one of 27 values, of which the nearest are {near}"

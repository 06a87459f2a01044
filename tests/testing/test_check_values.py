"""The values that a check sets are those that the rules of parameters take, and those that it must not set are not."""

from __future__ import annotations

import enum
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from qmi.core.exceptions import QMI_InvalidValueException
from qmi.parameters.rules import Rule
from qmi.testing.check_values import accepted, is_same, refused


class Color(enum.Enum):
    RED = "R"
    BLUE = "B"


def made(kind: type, **declared: Any) -> Any:
    """What is needed of a parameter."""
    rule = Rule(kind, **{name: value for name, value in declared.items() if name in ("values", "step")})
    return SimpleNamespace(
        **{"type": kind, "block": None, "values": None, "step": None, "unit": "V", "rule": rule, **declared}
    )


def check(parameter: Any, limits: Any) -> tuple[list[object], list[object]]:
    """Have the rule of the parameter judge all values."""
    good, bad = accepted(parameter, limits), refused(parameter, limits)
    for value in good:
        parameter.rule.check(value, limits, "x")
    for value, why in bad:
        try:
            parameter.rule.check(value, limits, "x")
        except QMI_InvalidValueException:
            continue
        raise AssertionError(f"{value!r} is not {why}")
    return good, [value for value, _ in bad]


SIZES = st.one_of(st.floats(-1e9, 1e9), st.floats(-1e-6, 1e-6), st.integers(-1000, 1000).map(float))


ENDS = st.sampled_from(["both", "low", "high", "none"])


@given(SIZES, st.one_of(st.just(0.0), st.floats(1e-9, 1e9)), st.sampled_from(["both", "low", "high", "none"]))
def test_limits_of_floats_are_tried_on_both_sides(low: float, width: float, ends: str) -> None:
    high = low + width
    limits = (low if ends in ("both", "low") else None, high if ends in ("both", "high") else None)
    good, bad = check(made(float), limits)
    assert {end for end in limits if end is not None} <= set(good)
    assert len(bad) == 2 + sum(end is not None for end in limits)


@given(
    st.integers(-100, 100), st.integers(0, 1000), st.integers(1, 50), st.sampled_from(["both", "low", "high", "none"])
)
def test_steps_of_whole_numbers_are_kept(low: int, width: int, step: int, ends: str) -> None:
    high = low + width
    limits = (low if ends in ("both", "low") else None, high if ends in ("both", "high") else None)
    good, bad = check(made(int, step=step), limits)
    assert good
    assert all(type(value) is int for value in good)
    assert ends == "none" or len(bad) > 1


@given(
    st.integers(-50, 50),
    st.integers(1, 200),
    st.sampled_from([0.1, 0.25, 0.5, 1e-3, 2.0, 1 / 3]),
    ENDS,
)
@example(1, 12, 0.1, "both")
@example(3, 10, 0.1, "high")
def test_steps_of_floats_are_kept(low: int, steps: int, step: float, ends: str) -> None:
    limits = (
        low * step if ends in ("both", "low") else None,
        (low + steps) * step if ends in ("both", "high") else None,
    )
    good, bad = check(made(float, step=step), limits)
    assert good
    assert ends == "none" or len(bad) > 2


@given(SIZES, st.floats(0.0, 1e6))
@example(1.25, 1.0)
def test_limits_of_whole_numbers_may_be_floats(low: float, width: float) -> None:
    assume(math.ceil(low) <= math.floor(low + width))
    good, bad = check(made(int), (low, low + width))
    assert good
    assert len(bad) == 3


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        (made(bool), [True, False], ["no such value"]),
        (made(Color), [Color.RED, Color.BLUE], ["no such value"]),
        (made(str), [], [5]),
        (made(str, values=("a", "b")), ["a", "b"], [5, "not a"]),
        (made(float, values=(1.0, 10.0)), [1.0, 10.0], ["no such value", 21.0]),
        (made(int, values=(1, 10)), [1, 10], ["no such value", 21]),
        (made(Color, values=(Color.RED,)), [Color.RED], ["no such value"]),
    ],
)
def test_values_of_other_types_are_those_that_are_listed(parameter: Any, good: list[object], bad: list[object]) -> None:
    found_good, found_bad = check(parameter, None)
    assert found_good == good
    assert [value for value in found_bad if value == value] == bad  # but for nan


@pytest.mark.parametrize("limits", [(0.0, math.inf), (-math.inf, 1.0), (-math.inf, math.inf)])
def test_endless_limits_are_none(limits: tuple[float, float]) -> None:
    good, bad = check(made(float), limits)
    assert all(math.isfinite(value) for value in good if isinstance(value, float))
    assert len(bad) == 2 + sum(math.isfinite(end) for end in limits)


@pytest.mark.parametrize(
    ("read", "value", "same"),
    [
        (1.0, 1.0, True),
        (1.0000001, 1.0, True),
        (1.001, 1.0, False),
        (1, 1.0, True),
        (True, 1.0, True),
        (0.0, 1e-13, True),
        ("a", "a", True),
        ("a", 1.0, False),
        (None, 1.0, False),
        (np.arange(3), np.arange(3), True),
        (np.arange(3), np.arange(4), False),
        (np.arange(3), None, False),
    ],
)
def test_values_are_the_same_but_for_rounding(read: object, value: object, same: bool) -> None:
    assert is_same(read, value) is same

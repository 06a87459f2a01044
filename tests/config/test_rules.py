from __future__ import annotations

import math
from typing import Any, get_args

import pytest

from qmi.config import validators as rules
from qmi.config.validators import Rule, show


def rule(kind: Any) -> Rule:
    found = get_args(kind)[1]
    assert isinstance(found, Rule)
    return found


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (rules.Flag, [True, False], [0, 1, "true", None]),
        (rules.Text, ["", "a b", "\n", "µ"], [5, None, "\0", "\ud800"]),
        (rules.FileName, ["a", "~/x y"], ["", 5, "a\0b", None]),
        (rules.Host, ["10.0.0.1", "::1", "lab"], ["", "a b", "a\n", 5, None]),
        (rules.Module, ["a", "a.b_1"], ["", "a.", ".a", "a b", "1a", "a-b", 5]),
        (rules.Name, ["a", "A-(1)_"], ["", "a.b", "a" * 64, 5]),
        (rules.LogLevel, ["DEBUG", "CRITICAL", "WARN", "FATAL", "NOTSET"], ["debug", "", 10, [], None]),
        (rules.LogFileName, ["a", "%(date)s%%%(context)s%(datetime)s"], ["", "%", "%(x)s", "%(date)d", "%s", "\0", 5]),
        (rules.IPv4, ["127.0.0.1"], ["::1", "1.2.3", "", 2130706433, None]),
        (rules.Port, [0, 1, 65535], [-1, 65536, True, 1.0, "1", None]),
        (rules.FixedPort, [1, 65535], [0, -1, True]),
        (rules.Count, [1, 2**63 - 1], [0, 2**63, True, 1.0, math.nan]),
        (rules.CountOrZero, [0, 1], [-1, False]),
        (rules.Positive, [1, 0.1, 5e-324], [0, -1, math.nan, math.inf, True, "1", 10**400, None]),
        (rules.PositiveOrZero, [0, 0.0, 1], [-1e-9, math.nan, -math.inf, False, 1e12]),
    ],
)
def test_rule_accepts_what_it_should(kind: Any, good: list[object], bad: list[object]) -> None:
    for value in good:
        assert rule(kind).apply(value) == value
    for value in bad:
        with pytest.raises(ValueError, match=r"^expected .+, found .+"):
            rule(kind).apply(value)


def test_whole_numbers_become_floats_where_floats_are_meant() -> None:
    assert type(rule(rules.Positive).apply(3)) is float


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, "true"),
        ("a", '"a"'),
        ("µ", '"µ"'),
        ("\x1b\ud800\x7f", '"\\u001b\\ud800\\x7f"'),
        (1.5, "1.5"),
        (math.nan, "NaN"),
        ([1], "a list [...]"),
        ((1,), "a list [...]"),
        ({}, "an object {...}"),
        (object(), "something of type object"),
        pytest.param(10**5000, "something of type int", id="digits"),
        ("x" * 100, '"' + "x" * 59 + "..."),
    ],
)
def test_values_are_shown_as_in_the_file(value: object, shown: str) -> None:
    assert show(value) == shown

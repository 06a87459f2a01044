"""What programs send as JSON, as values of the types that methods declare."""

from __future__ import annotations

import math
from datetime import timedelta
from enum import Enum
from typing import Any

import pytest

from qmi.actors.interface import describe_method
from qmi.presenting.argument_text import Unfit, read_json
from qmi.presenting.call_arguments import Setting, WrongArgument, bind_json


class Mode(Enum):
    SLOW = 1
    FAST = 2


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (5, float, 5.0),
        (5, int, 5),
        ("5", int, 5),
        ("nan", float, math.nan),
        ("-inf", float, -math.inf),
        (True, bool, True),
        ("on", bool, True),
        ("5", str, "5"),
        ("", str, ""),
        ("5", Any, "5"),
        ("none", Any, "none"),
        (None, float | None, None),
        ("none", float | None, None),
        ("FAST", Mode, Mode.FAST),
        ("0x01ff", bytes, b"\x01\xff"),
        ("1h30m", timedelta, timedelta(minutes=90)),
        ([1, 2], list[float], [1.0, 2.0]),
        ("[1, 2]", list[int], [1, 2]),
        ({"a": 1}, dict[str, int], {"a": 1}),
        (["FAST"], list[Mode], [Mode.FAST]),
        ([1, "a"], tuple[int, str], (1, "a")),
    ],
)
def test_json_is_read_as_the_type_that_is_declared(value: object, kind: object, expected: object) -> None:
    found = read_json(value, kind)
    assert type(found) is type(expected)
    assert found == expected or found != found


def test_quantity_is_converted_to_the_unit_of_the_parameter() -> None:
    assert read_json("300 mV", float, "V") == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (5.5, int), (True, int), (True, float), (1, bool), (None, float), ("five", float), (5, str), ({}, list[int]),
        ([1, "x"], list[int]), ("MEDIUM", Mode), (["a"], float), (5, bytes), ("300 K", int), ([], dict[str, int]),
        (10**400, float),
    ],
    ids=str,
)  # fmt: skip
def test_json_of_another_type_is_refused(value: object, kind: object) -> None:
    with pytest.raises(Unfit):
        read_json(value, kind)


class Driver:
    def move(self, to: float, speed: float = 1.0, *, mode: str = "slow") -> None: ...

    def add(self, first: int, /, second: int, *rest: int) -> None: ...

    def tag(self, **tags: str) -> None: ...


def bound(name: str, given: Any) -> tuple[list[object], dict[str, object]]:
    parameters = describe_method(name, getattr(Driver, name)).parameters
    setting = Setting("to", "mm")
    return bind_json(given, parameters, f"lab.stage.{name}", setting=setting, limits=lambda: "a number from 0 to 9 mm")


def test_arguments_are_bound_by_order_or_by_name() -> None:
    assert bound("move", [5]) == ([5.0], {})
    assert bound("move", {"to": "5 mm", "mode": "fast"}) == ([], {"to": 5.0, "mode": "fast"})
    assert bound("add", [1, 2, 3, 4]) == ([1, 2, 3, 4], {})
    assert bound("add", {"first": 1, "second": 2}) == ([1], {"second": 2})
    assert bound("tag", {"a": "b"}) == ([], {"a": "b"})
    assert bound("tag", {}) == ([], {})


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("move", {}, "lab.stage.move needs its argument 'to'"),
        ("move", {"to": 1, "sped": 2}, "has no argument 'sped'. Did you mean 'speed'?"),
        ("move", [1, 2, 3], "and got one more: 3"),
        ("move", {"to": "far"}, "argument 'to' of lab.stage.move must be a number from 0 to 9 mm, got 'far'"),
        ("move", {"to": 1, "speed": [1]}, "argument 'speed' of lab.stage.move must be a number, got [1]"),
        ("move", {"to": 1, "mode": 5}, "argument 'mode' of lab.stage.move must be a text, got 5"),
        ("add", {"second": 2}, "needs its argument 'first'"),
        ("tag", ["a"], "and got one more: 'a'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_their_names(name: str, given: Any, message: str) -> None:
    with pytest.raises(WrongArgument) as caught:
        bound(name, given)
    assert message in str(caught.value)


def test_value_in_a_message_is_short() -> None:
    with pytest.raises(WrongArgument) as caught:
        bound("move", ["x" * 10_000])
    assert len(str(caught.value)) < 400

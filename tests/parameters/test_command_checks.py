"""Parameters that one command would set or ask for are refused when the class is made, and so are channels."""

from __future__ import annotations

from typing import Any

import pytest

from qmi.core.driver import AsyncScpiInstrument, Channel, ScpiInstrument, channels, parameter
from qmi.core.exceptions import QMI_UsageException
from tests.support.parameters import Registers

any_parameter: Any = parameter


def first(text: str) -> float:
    return float(text.split(",")[0])


def second(text: str) -> float:
    return float(text.split(",")[1])


def one(value: float) -> str:
    return f"1,{value}"


def two(value: float) -> str:
    return f"2,{value}"


SAME: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"command": "A"}, {"command": "A"}, "each would change the value of the other"),
    ({"command": "A", "limits": (0, 10)}, {"command": "A", "limits": (0, 5)}, "each would change the value"),
    ({"command": "A", "unit": "V"}, {"command": "A", "unit": "mV", "scale": 1000}, "each would change the value"),
    ({"command": "A"}, {"command": " A "}, "each would change the value"),
    ({"command": "A"}, {"command": "A?"}, "they would always have the same value"),
    ({"command": "A?"}, {"command": "A?"}, "they would always have the same value"),
    ({"command": "A?", "unit": "V"}, {"command": "A?", "unit": "A"}, "they would always have the same value"),
    ({"command": "A?", "parse": first}, {"command": "A?", "parse": first}, "they would always have the same value"),
    ({"ask": "A?", "write": "A {value}"}, {"command": "A"}, "each would change"),
    ({"ask": "B?", "write": "A {value}"}, {"command": "A"}, "each would change"),
    ({"ask": "A?", "write": "B {value}"}, {"command": "A"}, "each would change"),
    ({"command": "A", "format": ".1f"}, {"command": "A", "format": ".2f"}, "each would change"),
    ({"command": "A", "format": one}, {"command": "A", "format": one}, "each would change"),
]


@pytest.mark.parametrize(("left", "right", "said"), SAME)
@pytest.mark.parametrize("base", [Registers, ScpiInstrument, AsyncScpiInstrument, Channel])
def test_two_parameters_with_one_command_are_refused(
    base: type, left: dict[str, Any], right: dict[str, Any], said: str
) -> None:
    namespace = {"a": any_parameter(type=float, **left), "b": any_parameter(type=float, **right)}
    with pytest.raises(
        QMI_UsageException, match=r"Parameters Bad\.a and Bad\.b have the same command 'A ?\??'"
    ) as raised:
        type("Bad", (base,), namespace)
    assert said in str(raised.value)
    assert "Give one of them its own command" in str(raised.value)


def test_parameter_of_a_subclass_with_the_command_of_another_is_refused() -> None:
    base: Any = type("Base", (ScpiInstrument,), {"a": parameter("A", float)})
    with pytest.raises(QMI_UsageException, match=r"Parameters Bad\.a and Bad\.b have the same command"):
        type("Bad", (base,), {"b": parameter("A", float)})
    with pytest.raises(QMI_UsageException, match=r"Parameters Bad\.a and Bad\.b have the same command"):
        type("Bad", (base,), {"b": base.a.changed(doc="again")})
    type("Good", (base,), {"a": base.a.changed(limits=(0, 5))})


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"command": "VOLT"}, {"command": "MEAS:VOLT?"}),
        ({"command": "A"}, {"command": "a"}),  # some devices tell them apart
        ({"command": "A?", "parse": first}, {"command": "A?", "parse": second}),
        ({"command": "A?", "scale": 1000}, {"command": "A?"}),
        ({"ask": "A1?", "write": "A {value}", "format": one}, {"ask": "A2?", "write": "A {value}", "format": two}),
        ({"ask": "A?"}, {"write": "A {value}"}),
    ],
)
def test_parameters_with_commands_that_are_told_apart_are_taken(left: dict[str, Any], right: dict[str, Any]) -> None:
    type("Good", (ScpiInstrument,), {"a": any_parameter(type=float, **left), "b": any_parameter(type=float, **right)})


# Channels.


def channel(**declared: Any) -> Any:
    """A class of channels."""
    return type("Some", (Channel,), declared)


@pytest.mark.parametrize(
    ("declared", "command"),
    [
        (parameter("A", float), "A?"),
        (parameter("A?", float), "A?"),
        (any_parameter(type=float, ask="A{n}?", write="A {value}"), "A"),
        (any_parameter(type=float, ask="A?", write="A{n} {value}"), "A?"),
        (any_parameter(type=float, write="A {value}"), "A"),
        (parameter("A [n]", float, ask="A [n]?", write="A [n] {value}"), "A [n]?"),
    ],
)
@pytest.mark.parametrize("base", [ScpiInstrument, AsyncScpiInstrument])
def test_channels_whose_commands_have_no_number_are_refused(base: type, declared: Any, command: str) -> None:
    declared = declared.changed()  # a declaration has one name
    with pytest.raises(QMI_UsageException) as raised:
        type("Bad", (base,), {"outputs": channels(channel(a=declared), 1, 2)})
    text = str(raised.value)
    assert f"Parameter Some.a has the command {command!r} without {{n}}" in text
    assert "all outputs of Bad" in text
    assert "_channel_commands" in text


def choose(self: Any, channel: Any) -> tuple[str, ...]:
    return ()


def exchange(self: Any, *args: Any) -> Any:
    return 0.0


@pytest.mark.parametrize(
    "namespace",
    [
        {"outputs": channels(channel(a=parameter("A", float)), 1, 2), "_channel_commands": choose},
        {"output": channels(channel(a=parameter("A", float)), 1, 1)},
        {"outputs": channels(channel(a=parameter("MEAS? (@{n})", float)), 1, 2)},
        {
            "outputs": channels(channel(a=parameter("A", float)), 1, 2),
            "_read_parameter": exchange,
            "_write_parameter": exchange,
        },
    ],
    ids=["chosen first", "one", "in a list", "own exchange"],
)
def test_channels_that_are_told_apart_are_taken(namespace: dict[str, Any]) -> None:
    made: Any = type("Good", (ScpiInstrument,), dict(namespace))
    type("Derived", (made,), {"b": parameter("B", float)})


def test_channels_are_taken_where_a_base_class_chooses_them() -> None:
    base: Any = type("Base", (ScpiInstrument,), {"_channel_commands": choose})
    type("Good", (base,), {"outputs": channels(channel(a=parameter("A", float)), 1, 2)})


def test_commands_of_channels_are_compared_with_all_others_of_the_instrument() -> None:
    some = channel(a=parameter("SOUR{n}:A", float))
    with pytest.raises(QMI_UsageException, match=r"Parameters Bad\.a and Bad\.outputs\[2\]\.a have the same command"):
        type("Bad", (ScpiInstrument,), {"a": parameter("SOUR2:A", float), "outputs": channels(some, 1, 2)})
    with pytest.raises(QMI_UsageException, match=r"Bad\.left\[2\]\.a and Bad\.right\[2\]\.a have the same command"):
        type("Bad", (ScpiInstrument,), {"left": channels(some, 1, 2), "right": channels(some, 2, 3)})
    type("Good", (ScpiInstrument,), {"left": channels(some, 1, 2), "right": channels(some, 3, 4)})

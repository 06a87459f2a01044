"""Mistakes in the class of a driver that used to be a bare TypeError, IndexError or AttributeError."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, IntEnum, StrEnum
from typing import Any

import pytest

from qmi.core.driver import (
    AsyncScpiInstrument,
    Channel,
    QMI_Instrument,
    ScpiInstrument,
    Simulator,
    channels,
    parameter,
    rpc_method,
)
from qmi.core.exceptions import QMI_InvalidOperationException, QMI_ScpiException, QMI_UsageException
from tests.support.lab import two_contexts

loose: Any = parameter
loose_channels: Any = channels


class Output(Channel):
    level = parameter("LEV{n}", float)


ATTRIBUTES = [
    ("error_query", 5, "must be a text, got 5"),
    ("error_query", None, "must be a text, got None"),
    ("command_terminator", b"\r", r"must be a text, got b'\r': write '\r', without the b"),
    ("response_terminator", bytearray(b"\n"), r"write '\n', without the b"),
    ("completion_query", 1, "must be a text or None, got 1"),
    ("clear_command", False, "must be a text or None, got False"),
    ("IDENTITY_QUERY", ("*IDN?",), "must be a text or None, got ('*IDN?',)"),
    ("command_delay", "0.05", "must be a number of seconds >= 0, got '0.05'"),
    ("command_delay", -1, "must be a number of seconds >= 0, got -1"),
    ("command_delay", True, "must be a number of seconds >= 0, got True"),
]


@pytest.mark.parametrize("base", [ScpiInstrument, AsyncScpiInstrument])
@pytest.mark.parametrize(("name", "value", "said"), ATTRIBUTES)
def test_attribute_of_a_class_that_cannot_be_used(base: type, name: str, value: object, said: str) -> None:
    with pytest.raises(QMI_UsageException) as caught:
        type("Bad", (base,), {name: value})
    assert f"Bad.{name} " in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("clear_command", None), ("IDENTITY_QUERY", None), ("completion_query", "*OPC?"), ("command_delay", 1)],
)
def test_attribute_of_a_class_that_can_be_used(name: str, value: object) -> None:
    type("Good", (ScpiInstrument,), {name: value})
    type("Late", (ScpiInstrument,), {name: property(lambda self: value)})


DECLARATIONS: list[tuple[str, Callable[[], object], str]] = [
    ("a", lambda: loose("A", Enum("Empty", [])), "Parameter Bad.a has the type Empty, an enumeration without members"),
    ("a", lambda: loose("A", IntEnum("Empty", [])), "an enumeration without members"),
    ("a", lambda: loose("A", StrEnum("Empty", [])), "an enumeration without members"),
    ("a", lambda: loose("A", float, "V", (0, 10)), "Parameter Bad.a has 'V', (0, 10) behind its command and its type"),
    ("a", lambda: loose("A?", float, "V"), "everything else has a name, as unit='V', limits=(0, 10)"),
    ("c", lambda: loose_channels(1, 4), "Channels Bad.c are made of a class derived from Channel, which comes first"),
    ("c", lambda: loose_channels(Output, 4), "Channels Bad.c have no last number: give the class and the numbers"),
    ("c", lambda: loose_channels(Output(), 1, 4), "give the class itself, not Output(): channels(Output, 1, 4)"),  # type: ignore[call-arg, unused-ignore]
]


@pytest.mark.parametrize(("name", "make", "said"), DECLARATIONS, ids=[said[:40] for *_, said in DECLARATIONS])
def test_declaration_with_wrong_arguments(name: str, make: Callable[[], object], said: str) -> None:
    with pytest.raises(QMI_UsageException) as caught:
        type("Bad", (ScpiInstrument,), {name: make()})
    assert said in str(caught.value)


def test_decorator_with_parentheses_is_refused() -> None:
    with pytest.raises(QMI_UsageException, match="write it without parentheses above the method"):
        rpc_method()


def to_float(value: float) -> float:
    return value


def with_default(value=5):  # type: ignore[no-untyped-def]
    return value


def of_list(values: list[float]) -> float:
    return values[0]


def of_another(this: Any) -> int:
    return 1


@pytest.mark.parametrize("method", [to_float, with_default, of_list])
def test_method_without_self_is_refused_by_its_first_argument(method: Any) -> None:
    cls = type("Bad", (QMI_Instrument,), {"f": rpc_method(method)})
    with (
        two_contexts() as (server, _),
        pytest.raises(QMI_UsageException, match=r"Bad\.f\(\) cannot be published: its first argument, 'value.*'self'"),
    ):
        server.make_instrument("x", cls)


def test_method_whose_self_has_another_name_is_published() -> None:
    cls = type("Good", (QMI_Instrument,), {"f": rpc_method(of_another)})
    with two_contexts() as (server, _):
        x: Any = server.make_instrument("x", cls)
        assert x.f() == 1


class Simulatable(ScpiInstrument):
    level = parameter("LEV", float)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda x: x.restore(), r"^restore\(\) missing 1 required"),
        (lambda x: x.snapshot(all=True), r"^snapshot\(\) got an unexpected keyword"),
        (lambda x: x.simulate_fault(), r"^simulate_fault\(\) missing 1 required"),
    ],
)
def test_wrong_arguments_name_the_method_alone(call: Callable[[Any], object], said: str) -> None:
    with two_contexts() as (server, _):
        x: Any = server.make_instrument("x", Simulatable, simulate=True)
        with pytest.raises(TypeError, match=said):
            call(x)


def in_open(self: Any) -> None:
    self.ask("HELLO?")
    ScpiInstrument.open(self)


async def in_async_open(self: Any) -> None:
    await self.ask("HELLO?")
    await AsyncScpiInstrument.open(self)


@pytest.mark.parametrize(("base", "method"), [(ScpiInstrument, in_open), (AsyncScpiInstrument, in_async_open)])
def test_open_that_uses_the_device_too_early_is_told_what_comes_first(base: Any, method: Any) -> None:
    method.__code__ = method.__code__.replace(co_name="open")
    cls = type("Early", (base,), {"open": method})
    with two_contexts() as (server, _):
        x: Any = server.make_instrument("x", cls, simulate=Simulator)
        with pytest.raises(QMI_InvalidOperationException, match=r"its open\(\) has to call super\(\)\.open\(\) before"):
            x.open()
        with pytest.raises(QMI_InvalidOperationException, match=r"'x' is not open; call its open\(\) first"):
            x.ask("HELLO?")


def test_simulator_without_self_is_refused() -> None:
    with pytest.raises(QMI_UsageException, match=r"Bad\.level\(\) takes no argument for the simulator.*Write 'self'"):
        type("Bad", (Simulator,), {"level": lambda: 1})
    type("Good", (Simulator,), {"level": staticmethod(lambda: 1), "other": lambda *args: 1})


class Strict(ScpiInstrument):
    """A driver whose users need not say that errors are looked for."""

    level = parameter("LEV", float, limits=(0, None))

    def __init__(self, context: Any, name: str, transport: Any, check_errors: bool = True, **options: Any) -> None:
        super().__init__(context, name, transport, check_errors=check_errors, **options)


def test_driver_may_look_for_errors_by_itself() -> None:
    with two_contexts() as (server, _):
        x: Any = server.make_instrument("x", Strict, simulate=True)
        with x, pytest.raises(QMI_ScpiException, match="-113"):
            x.write("NOTHING 5")
        lax: Any = server.make_instrument("lax", Strict, check_errors=False, simulate=True)
        with lax:
            lax.write("NOTHING 5")

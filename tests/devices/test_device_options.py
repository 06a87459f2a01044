"""What a driver says that its device has in place of the usual: its simulated device has that, and nothing more."""

from __future__ import annotations

from typing import Any

import pytest

from qmi.core.driver import AsyncScpiInstrument, ScpiInstrument, TransportInstrument, parameter
from qmi.core.exceptions import QMI_UsageException
from qmi.devices.simulated_driver import device_of
from qmi.simulation.simulator import Simulator


class Usual(ScpiInstrument):
    voltage = parameter("VOLT", float)


class Other(Usual):
    error_query = "ERR?"
    clear_command = "CLR"
    completion_query = "DONE?"
    IDENTITY_QUERY = "ID?"


class Bare(AsyncScpiInstrument):
    clear_command = None
    IDENTITY_QUERY = None
    voltage = parameter("VOLT", float)


class LongForm(Usual):
    error_query = "SYSTem:ERRor:NEXT?"


class Plain(TransportInstrument):
    voltage = 1.0


def answered(cls: Any, message: str) -> str:
    """What the simulated device of a driver answers."""
    device = device_of(object.__new__(cls), cls, Simulator)
    return b"".join(data for _, data in device.respond(message.encode() + b"\n", 0.0)).decode().strip()


@pytest.mark.parametrize(
    ("cls", "command", "error"),
    [
        (Usual, "*CLS", "0,"),
        (Other, "*CLS", "-113,"),
        (Other, "CLR", "0,"),
        (Bare, "*CLS", "-113,"),
        (Plain, "*CLS", "0,"),
    ],
)
def test_simulated_device_knows_the_command_to_forget_errors_of_its_driver(cls: Any, command: str, error: str) -> None:
    query = getattr(cls, "error_query", "SYST:ERR?")
    assert answered(cls, f"{command};{query}").startswith(error)


@pytest.mark.parametrize(
    ("cls", "question", "is_known"),
    [
        (Usual, "SYST:ERR?", True),
        (Usual, "SYSTEM:ERROR:NEXT?", True),
        (Usual, "SYST:ERR:COUN?", True),
        (Usual, "*IDN?", True),
        (LongForm, "SYST:ERR?", True),
        (LongForm, "SYST:ERR:COUN?", True),
        (Other, "ERR?", True),
        (Other, "SYST:ERR?", False),
        (Other, "SYST:ERR:NEXT?", False),
        (Other, "SYST:ERR:COUN?", False),
        (Other, "DONE?", True),
        (Usual, "DONE?", False),
        (Other, "ID?", True),
        (Other, "*IDN?", False),
        (Bare, "*IDN?", False),
        (Plain, "*IDN?", True),
        (Plain, "SYST:ERR?", True),
    ],
)
def test_simulated_device_answers_the_questions_of_its_driver(cls: Any, question: str, is_known: bool) -> None:
    assert bool(answered(cls, question)) is is_known


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("eror_query", "ERR?", "error_query"),
        ("error_querry", "ERR?", "error_query"),
        ("ERROR_QUERY", "ERR?", "error_query"),
        ("errorquery", "ERR?", "error_query"),
        ("error_queue", "ERR?", "error_query"),
        ("clear_comand", None, "clear_command"),
        ("clear_commands", "CLR", "clear_command"),
        ("comand_delay", 0.05, "command_delay"),
        ("command_terminater", "\r", "command_terminator"),
        ("respons_terminator", "\r", "response_terminator"),
        ("echos", True, "echo"),
        ("identity_query", None, "IDENTITY_QUERY"),
        ("NOT_RESTORE", ("heater",), "NOT_RESTORED"),
        ("transport_defaults", {"port": 4001}, "TRANSPORT_DEFAULTS"),
    ],
)
@pytest.mark.parametrize("base", [ScpiInstrument, AsyncScpiInstrument])
def test_attribute_that_is_nearly_an_option_is_refused_when_the_class_is_made(
    base: type, name: str, value: object, meant: str
) -> None:
    with pytest.raises(QMI_UsageException, match=rf"Bad\.{name} does nothing: did you mean {meant}\?"):
        type("Bad", (base,), {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reset_command", "RST"),
        ("error_command", "E"),
        ("_eror_query", "ERR?"),
        ("terminator", "\r"),
        ("query", "?"),
        ("echos", lambda self: None),
        ("echos", parameter("ECHO", bool)),
        ("error_query", "ERR?"),
    ],
)
def test_attribute_that_is_something_else_may_be_there(name: str, value: object) -> None:
    made = type("Good", (ScpiInstrument,), {name: value})
    type("Derived", (made,), {name: value} if isinstance(value, str) else {})

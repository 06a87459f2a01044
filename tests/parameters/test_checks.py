"""Bad declarations fail when the class is made, with the class, the parameter and what to do."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from enum import Enum, Flag
from typing import Any, Protocol

import pytest

from qmi.core.driver import Block, Channel, QMI_Instrument, QMI_Signal, channels, parameter, rpc_method
from qmi.core.exceptions import QMI_UsageException
from qmi.parameters.declared import describe
from tests.support.parameters import OutputChannel, Registers


class Twins(Enum):
    ONE = 1
    TEXT = "1"


class Bits(Flag):
    READY = 1
    FAULT = 2


def getter(self: Any) -> float:
    return 0.0


def typeless(self: Any):  # type: ignore[no-untyped-def]
    return 0.0


def optional(self: Any) -> float | None:
    return 0.0


def lost(self: Any) -> Nowhere:  # type: ignore[name-defined]  # noqa: F821
    return 0.0


class HasName(Protocol):
    name: str


def setter(self: Any, value: float) -> None: ...


def takes_two(self: Any, one: float, two: float) -> None: ...


def one_name_twice() -> dict[str, Any]:
    shared = parameter("VOLT", float)
    return {"voltage": shared, "level": shared}


any_parameter: Any = parameter
any_channels: Any = channels

BAD: list[tuple[Callable[[], dict[str, Any]], str]] = [
    (lambda: {"voltage": any_parameter("VOLT")}, 'has no type: give it after the command, as in parameter("VOLT", f'),
    (lambda: {"voltage": any_parameter("VOLT", "float")}, "has the type 'float', which is no class"),
    (lambda: {"voltage": any_parameter("VOLT", 5)}, "has the type 5, which is no class"),
    (lambda: {"voltage": any_parameter("VOLT", list)}, "has the type list, which no device sends"),
    (lambda: {"voltage": any_parameter(getter=typeless)}, "has no type: annotate what its getter returns, or"),
    (lambda: {"voltage": any_parameter(getter=lost)}, "has the type 'Nowhere', by what its getter returns"),
    (lambda: {"voltage": any_parameter(getter=optional)}, "has the type float | None, which is no class"),
    (lambda: {"voltage": any_parameter(getter=getter, type=HasName)}, "has the type <class 'tests.parameters.test"),
    (lambda: {"voltage": any_parameter(unit="V")}, "has neither a command nor a getter or setter: give the command"),
    (lambda: {"voltage": any_parameter(type=float)}, "has neither a command nor a getter or setter"),
    (lambda: {"voltage": any_parameter("", float)}, "has command='': give the text that the device understands"),
    (lambda: {"voltage": any_parameter(7, float)}, "has command=7: give the text"),
    (lambda: {"voltage": parameter("VOLT CH1", float)}, "has the command 'VOLT CH1' with a blank in it: give ask= and"),
    (lambda: {"voltage": parameter("VOLT", float, write="VOLT")}, "has write='VOLT', in which {value} is missing"),
    (lambda: {"voltage": parameter("VOLT{n}", float)}, "has command='VOLT{n}' with {n}, the number of a"),
    (lambda: {"voltage": parameter("VOLT", float, ask="VOLT? {value}")}, "has ask='VOLT? {value}' with {value}, which"),
    (
        lambda: {"voltage": any_parameter("VOLT", float, getter=getter)},
        "has both a command and a getter or setter: leave one of them out",
    ),
    (lambda: {"voltage": any_parameter(getter=3, type=float)}, "has a getter that is no method: 3"),
    (lambda: {"voltage": parameter(getter=setter, type=float)}, "has the getter setter(self: 'Any', value: 'float')"),
    (
        lambda: {"voltage": parameter(getter=getter, setter=takes_two, type=float)},
        "has the setter takes_two(self: 'Any', one: 'float', two: 'float') -> 'None', which cannot be called with the",
    ),
    (lambda: {"voltage": any_parameter("VOLT", float, limits=30)}, "has limits=30: give a pair (lowest, highest)"),
    (lambda: {"voltage": any_parameter("VOLT", float, limits=(0, 1, 2))}, "has limits=(0, 1, 2): give a pair"),
    (lambda: {"voltage": parameter("VOLT", float, limits=(30, 0))}, "has limits=(30, 0): the lower one comes first"),
    (lambda: {"voltage": any_parameter("VOLT", float, limits=(0, [30]))}, "has the limit [30], which is no number"),
    (lambda: {"voltage": any_parameter("VOLT", float, limits=(False, 30))}, "has the limit False, which is no number"),
    (lambda: {"voltage": parameter("VOLT", float, limits=(0, float("nan")))}, "has the limit nan, which is no number"),
    (
        lambda: {"voltage": parameter("VOLT", float, limits=(0, "maximum"))},
        "has the limit 'maximum', and Bad has no parameter of that name. It has voltage",
    ),
    (lambda: {"voltage": parameter("VOLT", float, limits=(0, "voltage"))}, "has itself as its limit"),
    (
        lambda: {"voltage": parameter("VOLT", float, limits=(0, "label")), "label": parameter("LAB", str)},
        "has the limit 'label', a parameter that is no number",
    ),
    (
        lambda: {
            "voltage": parameter("VOLT", float, limits=(0, "top")),
            "top": parameter(type=float, write="TOP {value}"),
        },
        "has the limit 'top', a parameter that cannot be read",
    ),
    (
        lambda: {
            "voltage": parameter("VOLT", float, unit="V", limits=(0, "top")),
            "top": parameter("TOP", float, unit="mV"),
        },
        "is in V, and has the limit 'top', which is in mV: give a function that converts it, or declare both in one u",
    ),
    (lambda: {"voltage": any_parameter("VOLT", float, limits=(0, lambda: 3))}, "has in limits= the function"),
    (lambda: {"voltage": any_parameter("VOLT", float, limits=takes_two)}, "has in limits= the function takes_two(self"),
    (lambda: {"voltage": any_parameter("VOLT", float, format=takes_two)}, "has in format= the function takes_two(sel"),
    (lambda: {"voltage": any_parameter("VOLT", float, parse=lambda: 3.0)}, "has in parse= the function <lambda>()"),
    (lambda: {"voltage": parameter("VOLT", str, limits=(0, 1))}, "has limits, but is no number (its type is str)"),
    (lambda: {"voltage": parameter("VOLT", bool, limits=(0, 1))}, "has limits, but is no number (its type is bool)"),
    (lambda: {"voltage": parameter("VOLT", float, values=())}, "has no value that is allowed: values= is empty"),
    (lambda: {"voltage": any_parameter("VOLT", str, values="abc")}, "has values='abc': give a tuple of values"),
    (lambda: {"voltage": any_parameter("VOLT", float, values=5)}, "has values=5: give a tuple of values"),
    (lambda: {"voltage": any_parameter("VOLT", float, values=(1, "2"))}, "allows the value '2', which is not a number"),
    (
        lambda: {"voltage": parameter("VOLT", float, values=(1.0,), limits=(0, 1))},
        "has values= and also limits= or step=: the values say it all",
    ),
    (lambda: {"voltage": any_parameter("VOLT", int, values={1: 5})}, "has values= with 5: what the device calls a"),
    (lambda: {"voltage": parameter("VOLT", int, values={1: "A", 2: "A"})}, "has two values that the device calls 'A'"),
    (lambda: {"voltage": parameter("VOLT", Twins)}, "has two values that the device calls '1'"),
    (lambda: {"voltage": parameter(type=Twins, write="V {value}")}, "has two values that the device calls '1'"),
    (lambda: {"voltage": any_parameter("V", Block("u1"), limits=(0, 1))}, "has limits, but is no number (its type"),
    (lambda: {"voltage": parameter("VOLT", float, step=0)}, "has step=0: give a number greater than 0"),
    (lambda: {"voltage": parameter("STAT", Bits)}, "has the type Bits, whose members can be combined, and no text"),
    (lambda: {"voltage": parameter("STAT?", Bits)}, "has the type Bits, whose members can be combined, and no text"),
    (
        lambda: {"voltage": parameter("STAT", Bits, parse=lambda text: Bits(int(text)))},
        "has the type Bits, whose members can be combined, and no text",
    ),
    (lambda: {"voltage": parameter("VOLT", int, step=10**400)}, "has step=1000000000000"),
    (lambda: {"voltage": parameter("VOLT", int, scale=10**400)}, "has scale=1000000000000"),
    (lambda: {"voltage": parameter("VOLT", float, poll=10**400)}, "has poll=1000000000000"),
    (lambda: {"voltage": parameter("VOLT", int, limits=(math.nan, 10**400))}, "has the limit nan, which is no number"),
    (lambda: {"voltage": parameter("VOLT", float, step=-1.0)}, "has step=-1.0: give a number greater than 0"),
    (lambda: {"voltage": parameter("VOLT", str, step=1)}, "has a step, but is no number (its type is str)"),
    (lambda: {"voltage": parameter("VOLT", float, poll=0)}, "has poll=0: give the seconds from one reading to the n"),
    (lambda: {"voltage": any_parameter("VOLT", float, poll="1 s")}, "has poll='1 s': give the seconds"),
    (
        lambda: {"voltage": parameter(type=float, write="VOLT {value}", poll=1.0)},
        "is polled, but can only be set: leave poll= out",
    ),
    (lambda: {"voltage": parameter("VOLT", float, scale=0)}, "has scale=0: give a number other than 0"),
    (lambda: {"voltage": parameter("VOLT", int, values={1: "A"}, scale=2)}, "has values= with what the device"),
    (lambda: {"voltage": parameter("VOLT", str, scale=2)}, "has a scale, but is no number (its type is str)"),
    (lambda: {"voltage": any_parameter("VOLT", float, unit=5)}, "has unit=5: give a text"),
    (lambda: {"voltage": any_parameter("VOLT", float, doc=5)}, "has doc=5: give a text"),
    (lambda: {"voltage": any_parameter("VOLT", float, format=5)}, "has format=5: give a format such as"),
    (lambda: {"voltage": any_parameter("VOLT", float, parse="x")}, "has parse='x': give a function"),
    (lambda: {"voltage": any_parameter("VOLT", float, minimum=5)}, "has minimum=, which parameter() does not take. It"),
    (lambda: {"voltage": any_parameter("VOLT", float, limit=(0, 1))}, "has limit=, which parameter() does"),
    (lambda: {"voltage": parameter("VOLT", Block("<f4"), poll=-1)}, "has poll=-1: give the seconds"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "said"), BAD, ids=[said[:40] for _, said in BAD])
def test_declaration_that_cannot_work_fails_when_the_class_is_made(
    make: Callable[[], dict[str, Any]], said: str
) -> None:
    namespace = make()
    with pytest.raises(QMI_UsageException) as raised:
        type("Bad", (Registers,), namespace)
    assert f"Parameter Bad.voltage {said}" in str(raised.value)


OTHER: list[tuple[Callable[[], dict[str, Any]], str]] = [
    (
        lambda: {"voltage": parameter("VOLT", float), "level": parameter("VOLT", int)},
        "Parameters Bad.voltage and Bad.level have the same command 'VOLT?', but different types: float and int",
    ),
    (one_name_twice, "Bad.level is the declaration that Bad.voltage has already"),
    (lambda: {"lock": parameter("LOCK", bool)}, "Parameter Bad.lock cannot be published: proxies have a 'lock' of"),
    (lambda: {"parameters": parameter("PAR", bool)}, "Parameter Bad.parameters cannot be published"),
    (lambda: {"name": parameter("NAME", str)}, "Parameter Bad.name would have the method get_name(), which"),
    (lambda: {"category": parameter("CAT", str)}, "Parameter Bad.category would have the method get_category()"),
    (lambda: {"open": parameter("OPEN", bool)}, "Parameter Bad.open hides the method QMI_Instrument.open"),
    (lambda: {"get_name": parameter("NAME", str)}, "Parameter Bad.get_name hides the method QMI_RpcObject.get_name"),
    (lambda: {"get_exchanged": parameter("N", str)}, "Parameter Bad.get_exchanged hides the method Registers.get_exch"),
    (lambda: {"_voltage": parameter("VOLT", float)}, "Parameter Bad._voltage begins with an underscore"),
    (
        lambda: {"get_mode": parameter("GMOD", str), "mode": parameter("MODE", str)},
        "Parameter Bad.get_mode has the name of the method get_mode() that proxies have for mode",
    ),
    (lambda: {"lock": channels(OutputChannel, 1, 2)}, "Channels Bad.lock cannot be published"),
    (lambda: {"channels": any_channels(Registers, 1, 2)}, "Channels Bad.channels are made of a class derived from"),
    (lambda: {"channels": channels(OutputChannel, 2, 1)}, "Channels Bad.channels are numbered from 2 to 1: the lower"),
    (lambda: {"channels": any_channels(OutputChannel, "1", 2)}, "Channels Bad.channels are numbered from 0 on, got '"),
    (lambda: {"channels": channels(OutputChannel, -1, 2)}, "Channels Bad.channels are numbered from 0 on, got -1"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "said"), OTHER, ids=[said[:40] for _, said in OTHER])
def test_declarations_that_do_not_fit_together_fail_when_the_class_is_made(
    make: Callable[[], dict[str, Any]], said: str
) -> None:
    namespace = make()
    with pytest.raises(QMI_UsageException, match=re.escape(said)):
        type("Bad", (Registers,), namespace)


def test_channel_with_a_bad_declaration_fails_when_its_class_is_made() -> None:
    with pytest.raises(QMI_UsageException, match=r"Parameter Bad\.voltage has limits=\(3, 1\)"):
        type("Bad", (Channel,), {"voltage": parameter("V{n}", float, limits=(3, 1))})
    with pytest.raises(QMI_UsageException, match=r"Parameter Bad\.number hides the 'number' that every channel has"):
        type("Bad", (Channel,), {"number": parameter("N{n}", int)})


def test_channel_of_a_channel_is_refused() -> None:
    with pytest.raises(QMI_UsageException, match="Channel Bad declares inner: channels have no channels of their own"):
        type("Bad", (Channel,), {"inner": channels(OutputChannel, 1, 2)})


def test_channel_that_publishes_what_no_channel_can_is_refused() -> None:
    with pytest.raises(
        QMI_UsageException, match="Channel Bad publishes sig_done: channels publish parameters and meth"
    ):
        type("Bad", (Channel,), {"sig_done": QMI_Signal([int])})
    with pytest.raises(QMI_UsageException, match="Channel Bad publishes level"):
        type("Bad", (Channel,), {"level": property(rpc_method(getter))})


def test_channel_with_a_limit_of_its_instrument_is_checked_with_that() -> None:
    channel: Any = type("Some", (Channel,), {"voltage": parameter("V{n}", float, limits=(0, "ceiling"))})
    with pytest.raises(QMI_UsageException, match=r"Parameter Some\.voltage has the limit 'ceiling', and Bad has no"):
        type("Bad", (Registers,), {"channels": channels(channel, 1, 2)})
    type("Good", (Registers,), {"channels": channels(channel, 1, 2), "ceiling": parameter("CEIL", float)})
    volts: Any = type("Volts", (Channel,), {"voltage": parameter("V{n}", float, unit="V", limits=(0, "ceiling"))})
    with pytest.raises(
        QMI_UsageException, match=r"Parameter Volts\.voltage is in V, and has the limit 'ceiling', which"
    ):
        type("Bad", (Registers,), {"channels": channels(volts, 1, 2), "ceiling": parameter("CEIL", float, unit="mV")})
    type("Good", (Registers,), {"channels": channels(volts, 1, 2), "ceiling": parameter("CEIL", float, unit="V")})


def test_command_of_an_object_that_cannot_send_one_is_refused() -> None:
    said = r"Parameter Bad\.voltage has the command 'VOLT\?', and Bad cannot send one: derive it from ScpiInstrument"
    with pytest.raises(QMI_UsageException, match=said):
        type("Bad", (QMI_Instrument,), {"voltage": parameter("VOLT", float)})
    channel: Any = type("Some", (Channel,), {"voltage": parameter("V{n}", float)})
    with pytest.raises(QMI_UsageException, match=r"Parameter Some\.voltage has the command"):
        type("Bad", (QMI_Instrument,), {"channels": channels(channel, 1, 2)})


def test_setter_of_a_class_that_is_made_is_not_changed() -> None:
    class Laser(QMI_Instrument):
        @parameter
        def power(self) -> float:
            return 0.0

    with pytest.raises(QMI_UsageException, match=r"Laser\.power has been declared already"):

        class Other(Laser):
            @Laser.power.setter
            def set_power(self, value: float) -> None: ...


def test_declaration_is_checked_in_a_subclass_that_changes_what_it_needs() -> None:
    base: Any = type(
        "Base", (Registers,), {"top": parameter("TOP", float), "level": parameter("LEV", float, limits=(0, "top"))}
    )
    with pytest.raises(QMI_UsageException, match=r"Parameter Bad\.level has the limit 'top', and Bad has no parameter"):
        type("Bad", (base,), {"top": None})


def test_method_that_hides_a_parameter_of_the_base_takes_its_place() -> None:
    class Base(Registers):
        level = parameter("LEV", float)

    class Other(Base):
        @rpc_method
        def level(self) -> float:  # type: ignore[override]
            return 5.0

    assert Other(None, "x").level() == 5.0


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (parameter("VOLT", float, unit="V", limits=(0, 30), doc="Set voltage."), "Set voltage. From 0 to 30 V."),
        (parameter("VOLT", float, unit="V", limits=(0, "top")), "From 0 to top, in V."),
        (parameter("VOLT", float, limits=("low", None)), "At least low."),
        (parameter("VOLT", float, limits=(None, "top")), "At most top."),
        (parameter("VOLT", float, unit="V", limits=(None, None)), "In V."),
        (parameter("VOLT", float, unit="V", limits=lambda self: (0, 1)), "Within limits that may change, in V."),
        (parameter("VOLT?", float, unit="V", doc="Now"), "Now. In V, can only be read."),
        (parameter("VOLT", float, unit="V", values=(1, 2)), "1 or 2 V."),
        (parameter("VOLT", float, unit="V", limits=(0, 1), step=0.1), "From 0 to 1 V, in steps of 0.1."),
        (parameter(write="VOLT {value}", type=str), "Can only be set."),
        (parameter("VOLT", str), ""),
    ],
)
def test_declaration_is_described_in_a_sentence(made: Any, said: str) -> None:
    assert describe(made) == said

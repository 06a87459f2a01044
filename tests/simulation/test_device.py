"""What a simulated device answers."""

from collections.abc import Sequence
from typing import Any, cast

import numpy
import pytest

from qmi.errors import QMI_InvalidValueException, QMI_UsageException
from qmi.parameters.scpi_text import scpi_text
from qmi.simulation.conversation import Conversation
from qmi.simulation.device import SimulatedDevice, SimulatedGroup, SimulatedParameter
from qmi.simulation.simulator import SimulatedError, Simulator
from qmi.simulation.sources import Constant, Noise, Settling


def number(
    name: str,
    command: str,
    kind: type = float,
    *,
    low: float | None = None,
    high: float | None = None,
    source: Any = None,
) -> SimulatedParameter:
    """A parameter that is a number."""
    text = scpi_text(kind)
    is_setting = not command.endswith("?")

    def parse(sent: str) -> Any:
        try:
            return text.read(sent)
        except ValueError:
            raise SimulatedError(-104) from None

    def check(simulator: Simulator, value: Any) -> None:
        if (low is not None and value < low) or (high is not None and value > high):
            raise SimulatedError(-222)

    return SimulatedParameter(
        name,
        f"{command}?" if is_setting else command,
        f"{command} {{value}}" if is_setting else None,
        parse,
        text.write,
        check,
        limits=lambda _: (low, high),
        is_number=True,
        is_setting=is_setting,
        initial=lambda _: kind(low or 0),
        source=source if is_setting or source is not None else Constant(0.0),
    )


VOLTAGE = number("voltage", "VOLT", low=0, high=30)
CURRENT = number("current", "MEAS:CURR?")
GROUP = SimulatedGroup("channels", (0, 1, 2), [number("voltage", "SOUR{n}:VOLT", low=0, high=5)])


class Supply(Simulator):
    voltage = 12.0

    def current(self) -> Any:
        return self.voltage / 50.0

    @Simulator.command("CURV?")
    def curve(self) -> bytes:
        return b"a\nb;c"

    @Simulator.command("APPL")
    def apply(self, voltage: str, current: str = "1") -> None:
        self.voltage = float(voltage)

    @Simulator.command("ROUT{n}:STAT?")
    def state(self, number: int) -> str:
        return f"channel {number}"

    @Simulator.command("FAIL")
    def fail(self) -> None:
        raise SimulatedError(-221)


def make(
    cls: type[Simulator] = Supply, parameters: Sequence[SimulatedParameter] = (VOLTAGE, CURRENT), **more: Any
) -> Any:
    """A device, and a function that asks it."""
    device = SimulatedDevice(cls, parameters, more.pop("groups", (GROUP,)), driver="Supply", **more)
    conversation = Conversation(device)

    def ask(text: str | bytes, now: float = 0.0) -> str:
        conversation.write(text if isinstance(text, bytes) else text.encode("latin-1") + b"\n", now)
        return conversation.read(65536, now).decode("latin-1").removesuffix("\n")

    return device, ask


def test_setting_is_kept_and_reading_follows_it() -> None:
    _, ask = make()
    assert ask("VOLT?") == "12"
    assert ask("MEAS:CURR?") == "0.24"
    assert ask("VOLT 5") == ""
    assert ask("volt?") == "5"
    assert ask(":MEASure:CURRent?") == "0.1"
    assert ask("*RST;VOLT?") == "12"


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("NONSENSE", '-113,"Undefined header"'),
        ("VOLT 31", '-222,"Data out of range"'),
        ("VOLT -1", '-222,"Data out of range"'),
        ("VOLT five", '-104,"Data type error"'),
        ("VOLT", '-109,"Missing parameter"'),
        ("VOLT? 3", '-108,"Parameter not allowed"'),
        ("MEAS:CURR 1", '-113,"Undefined header"'),
        ("SOUR3:VOLT 1", '-114,"Header suffix out of range"'),
        ("SOUR2:VOLT 6", '-222,"Data out of range"'),
        ("APPL", '-109,"Missing parameter"'),
        ("APPL 1,2,3", '-108,"Parameter not allowed"'),
        ("FAIL", '-221,"Settings conflict"'),
    ],
)
def test_command_that_cannot_be_is_not_answered_and_is_in_the_error_queue(command: Any, error: Any) -> None:
    _, ask = make()
    assert ask(command) == ""
    assert ask("*ESR?") in ("32", "16")
    assert ask("SYST:ERR:COUN?") == "1"
    assert ask("SYST:ERR?") == error
    assert ask("SYSTEM:ERROR:NEXT?") == '0,"No error"'
    assert ask("VOLT?") == "12"
    assert ask("SOUR2:VOLT?") == "0"


def test_error_queue_overflows_and_is_cleared() -> None:
    _, ask = make()
    for _ in range(30):
        ask("NONSENSE")
    assert ask("SYST:ERR:COUN?") == "20"
    entries = [ask("SYST:ERR?") for _ in range(20)]
    assert entries[-1] == '-350,"Queue overflow"'
    ask("NONSENSE")
    ask("*CLS")
    assert ask("SYST:ERR?") == '0,"No error"'
    assert ask("*ESR?") == "0"


def test_commands_of_one_message_are_answered_together_and_share_their_path() -> None:
    _, ask = make()
    assert ask("SOUR2:VOLT 3;VOLT?;:VOLT?;*OPC?") == "3;12;1"
    assert ask("SOUR2:VOLT?;*IDN?;VOLT?") == "3;qmi,Supply,simulated,1;3"
    assert ask("VOLT 4;;VOLT?;") == "4"


def test_channels_have_settings_of_their_own() -> None:
    device, ask = make()
    ask("SOUR:VOLT 1")
    ask("SOURCE2:VOLTAGE 2")
    assert ask("SOUR1:VOLT?;:SOUR2:VOLT?") == "1;2"
    assert [channel.voltage for channel in device.simulator.channels] == [0, 1, 2]
    assert len(device.simulator.channels) == 3
    assert device.simulator.channels[2].number() == 2
    assert device.simulator.channels[2].instrument() is device.simulator
    with pytest.raises(QMI_UsageException, match="no channel 3; there are 0, 1, 2"):
        device.simulator.channels[3]


def test_least_and_greatest_values_have_names() -> None:
    _, ask = make()
    assert ask("VOLT? MAX;VOLT? MINimum") == "30;0"
    assert ask("VOLT MAX;VOLT?") == "30"


def test_own_commands_are_answered() -> None:
    _, ask = make()
    assert ask("CURV?") == "#15a\nb;c"
    assert ask("ROUT7:STAT?") == "channel 7"
    assert ask("APPL 3.5, 1;:VOLT?") == "3.5"


def test_command_in_pieces_is_one_command() -> None:
    _, ask = make()
    assert ask(b"VO") == ""
    assert ask(b"LT?\nVOLT 3\nVO") == "12"
    assert ask(b"LT?\n") == "3"


def test_device_has_terminators_and_echo_of_its_driver() -> None:
    _, ask = make(command_terminator="\r", response_terminator="\r\n", echo=True)
    assert ask(b"VOLT?\r") == "VOLT?\r"
    assert ask(b"") == "12\r"


def test_device_whose_messages_are_no_texts() -> None:
    class Binary(Simulator):
        def split(self, data: bytes) -> int | None:
            return 3 if len(data) >= 3 else None

        def reply(self, message: bytes) -> bytes:
            return bytes(reversed(message))

    _, ask = make(Binary, (), groups=())
    assert ask(b"abc") == "cba"
    assert ask(b"ab") == ""
    assert ask(b"cxyz") == "cba"
    assert ask(b"") == "zyx"


def test_names_of_parameters_may_be_those_of_a_simulator() -> None:
    parameters = [number(name, f"X{name[0]}") for name in ("now", "answer", "reset", "number", "command", "split")]
    parameters.append(number("instrument", "MEAS:INST?"))
    _, ask = make(Simulator, parameters, groups=())
    assert ask("XA 5;XA?;XN?;XC?;XS 2;XS?;:MEAS:INST?") == "5;0;0;2;0"
    assert ask("NONSENSE") == ""
    assert ask("SYST:ERR?").startswith("-113")


def test_setting_that_is_a_property_does_what_it_says() -> None:
    class Coupled(Simulator):
        limit = 10.0

        @property
        def voltage(self) -> float:
            return self.limit / 2

        @voltage.setter
        def voltage(self, value: float) -> None:
            self.limit = 2 * value

    _, ask = make(Coupled, (VOLTAGE,), groups=())
    assert ask("VOLT 3;VOLT?") == "3"


def test_setting_cannot_be_a_method() -> None:
    class Wrong(Simulator):
        def voltage(self) -> float:
            return 1.0

    with pytest.raises(QMI_UsageException, match=r"Wrong.voltage is a method, but voltage is a setting"):
        make(Wrong)


def test_simulator_calls_the_constructor_of_its_base() -> None:
    class Wrong(Simulator):
        def __init__(self) -> None:
            self.x = 1

    with pytest.raises(QMI_UsageException, match=r"Wrong.__init__\(\) must call super"):
        make(Wrong)


def test_unknown_attribute_names_the_nearest() -> None:
    device, _ = make()
    with pytest.raises(AttributeError, match="Supply simulates no 'voltge'; did you mean 'voltage'"):
        _ = device.simulator.voltge
    assert device.simulator.get_voltage() == 12.0


def test_noise_is_the_same_in_each_run_and_settling_goes_by_the_time() -> None:
    class Oven(Simulator):
        voltage = 20.0
        current = Noise("voltage", 0.1)
        temperature = Settling("voltage", 10.0)

    parameters = (VOLTAGE, CURRENT, number("temperature", "TEMP?"))
    first, second = (make(Oven, parameters)[1] for _ in range(2))
    values = [float(first("MEAS:CURR?")) for _ in range(50)]
    assert values == [float(second("MEAS:CURR?")) for _ in range(50)]
    assert len(set(values)) == 50
    assert sum(values) / 50 == pytest.approx(20.0, abs=0.1)
    assert first("TEMP?", 5.0) == "20"
    first("VOLT 30", 100.0)
    assert first("TEMP?", 100.0) == "20"
    assert float(first("TEMP?", 110.0)) == pytest.approx(26.32, abs=0.01)
    first("VOLT 0", 110.0)
    assert float(first("TEMP?", 120.0)) == pytest.approx(26.32 / 2.71828, abs=0.01)


@pytest.mark.parametrize(
    "make_source", [lambda: Noise(1.0, -1), lambda: Settling(1.0, float("inf")), lambda: Noise(1, cast("Any", "a"))]
)
def test_source_refuses_what_is_no_number(make_source: Any) -> None:
    with pytest.raises(QMI_UsageException, match="must be a number >= 0"):
        make_source()


def test_faults_occur_as_often_as_was_said_and_in_order() -> None:
    device, ask = make()
    device.set_fault("no_answer", times=2)
    device.set_fault("garbage")
    device.set_fault("late", seconds=3.0)
    assert ask("VOLT 5") == ""
    assert [ask("VOLT?"), ask("VOLT?")] == ["", ""]
    assert not ask("VOLT?").isascii()
    assert ask("VOLT?", 10.0) == ""
    assert ask("VOLT?", 12.0) == ""
    assert ask("VOLT?", 13.0) == "5"
    assert device.faults.waiting == ()
    device.set_fault("no_answer", times=5)
    device.set_fault("none")
    assert ask("VOLT 5;VOLT?", 20.0) == "5"


def test_disconnected_device_cuts_connections_and_refuses_new_ones() -> None:
    device, _ = make()
    conversation = Conversation(device)
    device.set_fault("disconnected", times=2, seconds=5.0, now=10.0)
    assert conversation.is_cut
    assert device.faults.refuses(14.9)
    assert device.faults.refuses(15.0)
    assert not device.faults.refuses(15.0)
    assert not Conversation(device).is_cut


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("broken",), "kind must be one of no_answer, late, garbage, disconnected, none, got 'broken'"),
        (("late", 0), "times must be a whole number >= 1, got 0"),
        (("late", True), "times must be a whole number >= 1, got True"),
        (("late", 1, -1.0), "seconds must be a number >= 0, got -1.0"),
        (("late", 1, "long"), "seconds must be a number >= 0, got 'long'"),
    ],
)
def test_fault_that_is_none_is_refused(arguments: Any, message: Any) -> None:
    device, _ = make()
    with pytest.raises(QMI_InvalidValueException) as caught:
        device.set_fault(*arguments)
    assert str(caught.value) == message


class Answering(Simulator):
    answers: Any = None

    @Simulator.command("ODD?")
    def odd(self) -> Any:
        if isinstance(self.answers, Exception):
            raise self.answers
        return self.answers


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("text", b"text\n"),
        (True, b"1\n"),
        (numpy.bool_(False), b"0\n"),
        (5, b"5\n"),
        (numpy.float64(0.5), b"0.5\n"),
        (numpy.array(3), b"3\n"),
        (b"ab", b"#12ab\n"),
        (numpy.array([1], "u1"), b"#11\x01\n"),
        (None, b""),
    ],
)
def test_command_answers_what_its_method_returns(given: Any, sent: bytes) -> None:
    device = SimulatedDevice(Answering, [])
    device.simulator.answers = given
    conversation = Conversation(device)
    conversation.write(b"ODD?\n", 0.0)
    assert conversation.read(100, 0.0) == sent


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ([1, 2], TypeError, r"A simulator answers 'ODD\?' with a text, a number, .* got \[1, 2\]"),
        (object(), TypeError, r"A simulator answers 'ODD\?' with a text, a number, .* got <object"),
        ("5 \u03a9", ValueError, r"No device sends '5 .', with which a simulator answers 'ODD\?'"),
        (KeyError("mine"), KeyError, "mine"),
    ],
)
def test_command_whose_method_fails_or_returns_something_else_is_told(given: Any, kind: Any, said: str) -> None:
    device = SimulatedDevice(Answering, [])
    device.simulator.answers = given
    with pytest.raises(kind, match=said) as caught:
        Conversation(device).write(b"ODD?\n", 0.0)
    assert caught.value.__context__ is None or caught.value.__suppress_context__

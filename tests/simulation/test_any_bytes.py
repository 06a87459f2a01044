"""Whatever comes in, a simulated device goes on."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from qmi.core.driver import Block, Channel, ScpiInstrument, channels, parameter
from qmi.devices.simulated_server import serve_simulator
from qmi.simulation.conversation import Conversation
from qmi.simulation.headers import same_keyword, short_form

PIECES = [
    *(b"VOLT", b"VOLTage", b"?", b" ", b":", b";", b",", b"\n", b"\r\n", b"#", b"#15ab\ncd", b"#0", b"#9", b'"', b"'"),
    *(
        b"SOUR",
        b"2",
        b"99",
        b"99999999999999999999",
        b"-1",
        b"1e400",
        b"nan",
        b"MAX",
        b"min",
        b"5 mV",
        b"(@1,2)",
        b"*RST",
    ),
    *(b"*IDN?", b"*", b"SYST:ERR?", b"FUNC", b"CURV", b"LAB", b"\x00", b"\xff", b"{value}", b"{n}", b"%s", b"[:LEV]"),
]
MESSAGES = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=12).map(b"".join)


class Output(Channel):
    voltage = parameter("SOUR{n}:VOLT", float, limits=(0, 5))


class Supply(ScpiInstrument):
    voltage = parameter("VOLT", float, unit="V", limits=(0, 30))
    count = parameter("COUN", int, step=2)
    mode = parameter("FUNC", str, values=("A", "B"))
    label = parameter("LAB", str, write='LAB "{value}"')
    wave = parameter("CURV", Block("<f4"))
    odd = parameter("ODD", float, format=lambda value: f"{value}x", parse=lambda text: float(text[:-1]))
    outputs = channels(Output, 1, 2)


DEVICE: Any = serve_simulator(Supply).device


@settings(max_examples=100, deadline=None)
@given(st.lists(MESSAGES, max_size=4))
def test_device_survives_any_bytes_and_its_values_stay_allowed(messages: list[bytes]) -> None:
    conversation = Conversation(DEVICE)
    for message in messages:
        conversation.write(message, 0.0)
    conversation.clear()
    inside = DEVICE.simulator
    assert 0 <= inside.voltage <= 30
    assert inside.count % 2 == 0
    assert inside.mode in ("A", "B")
    assert all(0 <= output.voltage <= 5 for output in inside.outputs)
    # What was left of a message that did not come whole is gone with its connection.
    fresh = Conversation(DEVICE)
    fresh.write(b"*CLS;*RST;VOLT?;SYST:ERR?\n", 0.0)
    assert fresh.read(100, 0.0) == b'0;0,"No error"\n'


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=12))
def test_keyword_is_itself_and_its_short_form_and_never_less(word: str) -> None:
    short = short_form(word)
    assert word.startswith(short)
    assert len(short) <= 4
    assert same_keyword(word, word.lower())
    assert same_keyword(word, short)
    assert same_keyword(short, word)
    assert not same_keyword(word, short[:-1])

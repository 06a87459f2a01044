"""Scripted transports: what a script takes, answers and refuses, with the transport, SCPI and drivers."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import trio

import qmi
from qmi.core.exceptions import (
    QMI_EndOfInputException,
    QMI_InvalidValueException,
    QMI_ScpiException,
    QMI_TimeoutException,
    QMI_TransportLostException,
)
from qmi.core.instrument import AsyncTransportInstrument, TransportInstrument
from qmi.core.rpc import rpc_method
from qmi.core.scpi_protocol import AsyncScpiProtocol, ScpiProtocol
from qmi.core.transport import AsyncThreadTransport, Reconnect
from qmi.testing import (
    CLOSED,
    LOST,
    NO_ANSWER,
    REFUSED,
    AsyncScriptedTransport,
    Late,
    ScriptedTransport,
    ScriptMismatchError,
    Unasked,
    block,
    open_script,
    open_virtual_context,
    run_in_virtual_time,
)


class Supply(TransportInstrument):
    IDENTITY_QUERY = "*IDN?"

    def __init__(self, context: Any, name: str, transport: Any, **options: Any) -> None:
        super().__init__(context, name, transport, **options)
        self.scpi = ScpiProtocol(self._transport, default_timeout=60.0, error_query="SYST:ERR?")

    @rpc_method
    def set_voltage(self, volts: float) -> None:
        self.scpi.write(f"VOLT {volts}")

    @rpc_method
    def get_voltage(self) -> float:
        return float(self.scpi.ask("VOLT?"))


class AsyncSupply(AsyncTransportInstrument):
    def __init__(self, context: Any, name: str, transport: Any, **options: Any) -> None:
        super().__init__(context, name, transport, **options)
        self.scpi = AsyncScpiProtocol(self._transport, default_timeout=60.0, error_query="SYST:ERR?")

    @rpc_method
    async def set_voltage(self, volts: float) -> None:
        await self.scpi.write(f"VOLT {volts}")

    @rpc_method
    async def get_voltage(self) -> float:
        return float(await self.scpi.ask("VOLT?"))


NO_ERROR = ("SYST:ERR?", '0,"No error"')
SESSION: list[Any] = [
    "VOLT 5.0",
    NO_ERROR,
    ("VOLT?", "+5.0E+0"),
    NO_ERROR,
    "VOLT 99",
    ("SYST:ERR?", '-222,"Data out of range"'),
    NO_ERROR,
]


@pytest.fixture
def context() -> Iterator[qmi.core.context.QMI_Context]:
    with qmi.start("scripted", None, init_logging=False):
        yield qmi.context()


def test_script_tests_a_driver_with_its_error_queue(context: Any) -> None:
    transport = ScriptedTransport(SESSION)
    with context.make_instrument("psu", Supply, transport) as psu:
        psu.set_voltage(5.0)
        assert psu.get_voltage() == 5.0
        with pytest.raises(QMI_ScpiException, match="Data out of range"):
            psu.set_voltage(99)
    transport.check_done()


async def use_async(context: Any) -> None:
    transport = AsyncScriptedTransport([*SESSION[:-1], ("SYST:ERR?", NO_ANSWER)])
    async with await context.make_instrument("psu", AsyncSupply, transport) as psu:
        await psu.set_voltage(5.0)
        assert await psu.get_voltage() == 5.0
        with pytest.raises(QMI_TimeoutException):
            await psu.set_voltage(99)
    transport.check_done()


async def test_script_tests_an_async_driver_without_waiting(trio_lab: Any) -> None:
    with trio.fail_after(30.0):
        await use_async(trio_lab)


def test_script_tests_an_async_driver_in_virtual_time() -> None:
    async def main() -> float:
        begin = trio.current_time()
        async with open_virtual_context() as context:
            await use_async(context)
        return trio.current_time() - begin

    assert run_in_virtual_time(main) == 60.0


def scpi(*steps: Any, timeout: float | None = 1.0, **options: Any) -> tuple[ScriptedTransport, ScpiProtocol]:
    transport = ScriptedTransport(steps, **options)
    transport.open()
    return transport, ScpiProtocol(transport, default_timeout=timeout)


# What can be written and answered.


@pytest.mark.parametrize(
    ("steps", "options"),
    [
        ([("A?", "1"), "B", ("C?", "2")], {}),
        ([(b"A?\n", b"1\n"), b"B\n", ("C?", ["2"])], {}),
        ([(re.compile("[AX][?]"), "1"), re.compile("B.*"), ("C?", "2")], {}),
        ([("A?\n", "1\n"), ("B\n",), ("C?\n", ("2\n",))], {"terminator": ""}),
        ([("A?", "1\n"), ("B", None), ("C?", ["2", b"\n"])], {"answer_terminator": ""}),
        ([("A?", [b"1", b"\n"]), ("B", ()), ("C?", [b"2\n"])], {}),
        ([(b"A?", b""), (b"\n", "1"), b"B\nC?", (b"\n", "2")], {}),
    ],
)
def test_texts_bytes_and_patterns_are_steps(steps: list[Any], options: Any) -> None:
    transport, device = scpi(*steps, **options)
    assert device.ask("A?") == "1"
    device.write("B")
    assert device.ask("C?") == "2"
    transport.close()
    transport.check_done()


def test_what_is_written_may_be_cut_anywhere() -> None:
    transport, _ = scpi("VOLT 5", ("OUTP ON;OUTP?", "1"), "X")
    for piece in (b"VO", b"LT 5\nOUTP ON", b";OUTP?\nX", b"\n"):
        transport.write(piece)
    assert transport.read_until(b"\n", 1.0) == b"1\n"
    transport.close()


@pytest.mark.parametrize("data", [b"", b"\n#\x00\xff", bytes(300), np.arange(40, dtype="<f4"), bytes(200_000)])
def test_blocks_are_answers(data: Any) -> None:
    transport, device = scpi(("CURV?", block(data)), ("CURV?", [block(data)]), ("ERR?", "0"))
    device.write("CURV?")
    assert device.read_binary_data() == bytes(data)
    assert device.ask_array("CURV?", "u1").tobytes() == bytes(data)
    assert device.ask("ERR?") == "0"
    transport.close()


@pytest.mark.parametrize("text", ["5.0", ""])
def test_messages_end_without_a_terminator(text: str) -> None:
    transport, _ = scpi(("A?", text + "!"), ("B?", "12"), ("C?", NO_ANSWER), ("D?", "x"), messages=True, terminator="")
    device = ScpiProtocol(transport, command_terminator="", response_terminator="", default_timeout=1.0)
    assert device.ask("A?") == text + "!"
    device.write("B?")
    with pytest.raises(QMI_EndOfInputException, match="has 2 bytes where 3 were expected"):
        transport.read(3, 1.0)
    assert transport.read(2, 1.0) == b"12"
    with pytest.raises(QMI_TimeoutException, match="no message"):
        device.ask("C?")
    assert device.ask("D?") == "x"
    transport.close()


async def test_messages_are_for_async_drivers_by_way_of_a_thread() -> None:
    script = ScriptedTransport([("A?", "1")], messages=True)
    async with AsyncThreadTransport(script) as transport:
        assert await AsyncScpiProtocol(transport, default_timeout=1.0).ask("A?") == "1"
    script.check_done()


def test_unasked_data_come_behind_their_step() -> None:
    transport, device = scpi(Unasked("hello"), ("A?", "1"), Unasked(b"event\n"), Unasked("more"))
    assert transport.read_until(b"\n", 1.0) == b"hello\n"
    assert device.ask("A?") == "1"
    assert transport.read_until(b"\n", 1.0) == b"event\n"
    transport.discard_read()
    transport.close()


# Answers that do not come, come late, or are lost.


@pytest.mark.parametrize("timeout", [0.5, 3600.0])
@pytest.mark.parametrize("answer", [NO_ANSWER, [NO_ANSWER], Late("old", 3600.25), [b"half", NO_ANSWER]])
def test_answer_that_does_not_come_times_out_at_once(answer: Any, timeout: float) -> None:
    transport, device = scpi(("A?", answer), ("B?", "1"), timeout=timeout)
    with pytest.raises(QMI_TimeoutException, match=r"'A\?'"):
        device.ask("A?")
    transport.configure(drain_timeout=3600.0)
    assert device.ask("B?") == "1"
    transport.close()


@pytest.mark.parametrize("late", [Late("old"), Late("old", 1.5), Late(b"old\n", 1.0), [b"ol", Late("d")]])
def test_late_answer_is_not_taken_for_the_next_one(late: Any) -> None:
    transport, device = scpi(("A?", late), ("B?", "new"))
    with pytest.raises(QMI_TimeoutException):
        device.ask("A?", timeout=0.75)
    assert device.ask("B?") == "new"
    transport.close()


def test_late_answer_is_mixed_up_where_the_transport_is_told_not_to_care() -> None:
    transport, device = scpi(("A?", Late("old")), ("B?", "new"))
    transport.configure(out_of_step="ignore")
    with pytest.raises(QMI_TimeoutException):
        device.ask("A?")
    assert device.ask("B?") == "old"
    transport.close()


@pytest.mark.parametrize("timeout", [2.0, 3600.0, None])
def test_answer_is_in_time_for_who_waits_long_enough(timeout: float | None) -> None:
    transport, device = scpi(("A?", Late("1", 1.5)), ("B?", Late("2", 1.5)), timeout=timeout)
    assert [device.ask("A?"), device.ask("B?")] == ["1", "2"]
    transport.close()


def test_lost_connection_is_an_error_and_stays_one() -> None:
    transport, device = scpi(("A?", LOST))
    for _ in range(2):
        with pytest.raises(QMI_TransportLostException):
            device.ask("A?")
    transport.close()


@pytest.mark.parametrize("steps", [[("VOLT?", LOST)], [LOST], [("VOLT?", [b"+5.0", LOST])]])
def test_lost_connection_is_made_again_without_waiting(context: Any, steps: list[Any]) -> None:
    identity = ("*IDN?", "ACME,1,2,3")
    transport = ScriptedTransport([identity, *steps, REFUSED, REFUSED, identity, NO_ERROR, ("VOLT?", "7"), NO_ERROR])
    policy = Reconnect(attempts=5, delay=600.0, max_delay=3600.0)
    with context.make_instrument("psu", Supply, transport, reconnect=policy) as psu:
        with pytest.raises(QMI_TransportLostException):
            psu.get_voltage()
        assert psu.get_voltage() == 7.0


async def test_lost_connection_of_an_async_driver_is_made_again_without_waiting() -> None:
    transport = AsyncScriptedTransport([("A?", LOST), REFUSED, ("A?", "1")])
    transport.configure(reconnect=Reconnect(delay=600.0, max_delay=3600.0))
    async with transport:
        device = AsyncScpiProtocol(transport, default_timeout=600.0)
        with pytest.raises(QMI_TransportLostException):
            await device.ask("A?")
        assert await device.ask("A?") == "1"
    transport.check_done()


async def test_cancelled_read_leaves_the_answer_to_be_dropped() -> None:
    async with AsyncScriptedTransport([("A?", "old"), ("B?", "new")]) as transport:
        device = AsyncScpiProtocol(transport, default_timeout=1.0)
        await device.write("A?")
        with trio.CancelScope() as scope:
            scope.cancel()
            await transport.read_until(b"\n", 1.0)
        assert await device.ask("B?") == "new"


def test_first_connection_may_be_refused() -> None:
    transport = ScriptedTransport([REFUSED, ("A?", "1"), CLOSED, REFUSED, ("A?", "2"), CLOSED])
    for answer in ("1", "2"):
        with pytest.raises(ConnectionRefusedError):
            transport.open()
        with transport:
            assert ScpiProtocol(transport, default_timeout=1.0).ask("A?") == answer
    transport.check_done()


# Mismatches.


def mismatch(steps: list[Any], *written: bytes, read: float | None = -1.0, **options: Any) -> str:
    """What is said where this is written, and then read with that timeout unless it is -1."""
    transport = ScriptedTransport(steps, **options)
    transport.open()

    def use() -> None:
        for data in written:
            transport.write(data)
        if read != -1.0:
            transport.read_until(b"\n", read)
        transport.close()

    with pytest.raises(ScriptMismatchError) as caught:
        use()
    with pytest.raises(ScriptMismatchError) as repeated:
        transport.check_done()
    assert str(repeated.value) == str(caught.value)
    return str(caught.value)


def test_mismatch_shows_both_sides_the_place_and_the_steps_around() -> None:
    steps = [f"STEP {number}" for number in range(1, 13)]
    steps[6:8] = [("VOLT?", "5.0"), ("VOLT 6", NO_ANSWER)]  # type: ignore[list-item]
    written = [f"{step if isinstance(step, str) else step[0]}\n".encode() for step in steps[:7]]
    assert mismatch(steps, *written, b"VOLT 6.0\n", name="psu.jsonl") == (
        "The driver wrote something else than the script has, at step 8 of 12 of psu.jsonl:\n"
        '  expected: "VOLT 6\\n"\n'
        '  written:  "VOLT 6.0\\n"\n'
        "                   ^\n"
        "the script around it:\n"
        "    ...\n"
        '     5  "STEP 5\\n"\n'
        '     6  "STEP 6\\n"\n'
        '     7  "VOLT?\\n" -> "5.0\\n"\n'
        '  >  8  "VOLT 6\\n" -> no answer\n'
        '     9  "STEP 9\\n"\n'
        '    10  "STEP 10\\n"\n'
        '    11  "STEP 11\\n"\n'
        "    ..."
    )


@pytest.mark.parametrize(
    ("steps", "written", "expected", "found", "place"),
    [
        (["A"], [b"B\n"], r'"A\n"', r'"B\n"', "step 1 of 1"),
        (["A"], [b"A\r\n"], r'"A\n"', r'"A\r\n"', "step 1 of 1"),
        (["A"], [b"A\n", b"A\n"], "nothing more", r'"A\n"', "the end, behind 1 step:"),
        (["A"], [b"A\nB\n"], "nothing more", r'"B\n"', "the end, behind 1 step:"),
        ([], [b"A\n"], "nothing more", r'"A\n"', "the end, behind 0 steps:"),
        (["AB"], [b"A", b"C\n"], r'"AB\n"', r'"AC\n"', "step 1 of 1"),
        ([b"\x00\x01"], [b"\x00\x02"], r'"\x00\x01"', r'"\x00\x02"', "step 1 of 1"),
        ([re.compile("A.")], [b"AAA\n"], "a text like /A./", r'"AAA\n"', "step 1 of 1"),
        ([CLOSED, "A"], [b"A\n"], "the driver closes the transport", r'"A\n"', "step 1 of 2"),
        ([REFUSED], [b"A\n"], "an attempt to connect is refused", r'"A\n"', "step 2 of 2"),
        (
            [b"x" * 500],
            [b"x" * 300 + b"y"],
            "(500 bytes)",
            "(301 bytes)\n            they differ from byte 300",
            "step",
        ),
    ],
)
def test_writing_something_else_is_a_mismatch(
    steps: list[Any], written: list[bytes], expected: str, found: str, place: str
) -> None:
    if steps[:1] == [REFUSED]:
        steps = ["A", REFUSED]
        written = [b"A\n", *written]
    text = mismatch(steps, *written)
    assert expected in text
    assert found in text
    assert place in text


@pytest.mark.parametrize(
    ("steps", "written", "read", "said"),
    [
        (["A", "B"], b"A\n", 2.0, "a read that waits for 2 s"),
        ([("A?", "1")], b"", 2.0, "has no answer (more), at step 1 of 1"),
        ([("A?", b"1")], b"A?\n", 2.0, "(question, NO_ANSWER)"),
        ([("A?", "1")], b"A?", 2.0, "written only a part"),
        (["A", "B"], b"A\n", None, "a read without a time limit"),
        ([("A?", NO_ANSWER)], b"A?\n", None, "waits without a time limit for an answer that never comes"),
    ],
)
def test_reading_what_the_script_does_not_have_is_a_mismatch(
    steps: list[Any], written: bytes, read: float | None, said: str
) -> None:
    assert said in mismatch(steps, *([written] if written else []), read=read)


def test_taking_what_comes_is_none() -> None:
    transport, _ = scpi("A", ("B?", b"1"))
    transport.write(b"A\n")
    assert transport.read_until_timeout(10, 5.0) == b""
    transport.discard_read()
    transport.write(b"B?\n")
    assert transport.read_until_timeout(10, 5.0) == b"1"
    transport.close()


def test_steps_that_are_left_are_an_error_when_the_transport_is_closed() -> None:
    text = mismatch(["A", "B", CLOSED, "C"], b"A\n")
    assert "The driver closed the transport, and 3 of 4 steps were not used, at step 2 of 4" in text
    assert "put CLOSED into the script" in text
    assert "and 1 of 1 step was not used" in mismatch(["A"], b"A")


def test_steps_that_are_left_are_an_error_at_the_end_of_the_block(context: Any) -> None:
    def leave_one() -> None:
        with open_script(["VOLT 1.0", ("VOLT?", "1.0")]) as transport:
            transport.open()
            transport.write(b"VOLT 1.0\n")

    with pytest.raises(ScriptMismatchError, match="The script is over too early: 1 of 2 steps was not used"):
        leave_one()
    with open_script([("VOLT?", "1.0"), NO_ERROR]) as transport:
        psu = context.make_instrument("psu", Supply, transport)
        psu.open()
        psu.get_voltage()


def test_error_of_the_block_is_not_hidden_by_steps_that_are_left() -> None:
    with pytest.raises(ZeroDivisionError) as caught, open_script(["A"]) as transport, transport:
        raise ZeroDivisionError
    assert caught.value.__context__ is None


def test_steps_that_are_left_may_be_checked_in_the_end_alone() -> None:
    transport = ScriptedTransport(["A"], check_on_close=False)
    with transport:
        pass
    for again in (transport.open, transport.check_done):
        with pytest.raises(ScriptMismatchError, match="closed the transport, and 1 of 1 step was not used"):
            again()


def test_mismatch_that_a_driver_has_caught_is_found_at_the_end(context: Any) -> None:
    class Careless(Supply):
        @rpc_method
        def get_voltage(self) -> float:
            try:
                return super().get_voltage()
            except Exception:
                return 0.0

    def use() -> None:
        with open_script(["VOLT 1"]) as transport, context.make_instrument("psu", Careless, transport) as psu:
            assert psu.get_voltage() == 0.0

    with pytest.raises(ScriptMismatchError, match="wrote something else"):
        use()


def test_mismatch_reaches_the_test_through_the_driver(context: Any) -> None:
    psu = context.make_instrument("psu", Supply, ScriptedTransport(["VOLT 6.0"]))
    with psu, pytest.raises(ScriptMismatchError, match=r'written:  "VOLT 5.0\\n"'):
        psu.set_voltage(5.0)


async def test_async_mismatch_is_the_same() -> None:
    transport = AsyncScriptedTransport(["A", "B"])
    await transport.open()
    await transport.write(b"A\n")
    with pytest.raises(ScriptMismatchError, match="closed the transport, and 1 of 2 steps"):
        await transport.close()
    with pytest.raises(ScriptMismatchError, match="closed the transport, and 1 of 2 steps"):
        await transport.open()


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (5, "step 2 of the script must be what is written, or a pair of that and the answer, got 5"),
        (NO_ANSWER, "got <Mark.NO_ANSWER"),
        (("A?", "1", "2"), "got ('A?', '1', '2')"),
        (("A?", 5.0), "the answer of step 2 of the script must be a text, bytes"),
        (("A?", CLOSED), "the answer of step 2 of the script must be a text, bytes"),
        (("A?", [NO_ANSWER, "1"]), "step 2 of the script answers behind NO_ANSWER or LOST"),
        (b"", "step 2 of the script must say what is written, got an empty text"),
    ],
)
def test_steps_that_make_no_sense_are_refused(step: Any, said: str) -> None:
    with pytest.raises(QMI_InvalidValueException, match=re.escape(said)):
        ScriptedTransport(["A", step])


def test_patterns_and_delays_that_make_no_sense_are_refused() -> None:
    with pytest.raises(QMI_InvalidValueException, match="needs a terminator"):
        ScriptedTransport([re.compile("A")], terminator="")
    with pytest.raises(QMI_InvalidValueException, match="seconds must be a number >= 0, got -1"):
        Late("1", -1)


def test_traffic_is_logged_as_of_any_transport(caplog: pytest.LogCaptureFixture, context: Any) -> None:
    caplog.set_level(logging.DEBUG, "qmi.traffic.psu")
    with context.make_instrument("psu", Supply, ScriptedTransport([("VOLT?", "1"), NO_ERROR])) as psu:
        psu.get_voltage()
    assert [record.message for record in caplog.records if record.name == "qmi.traffic.psu"][:2] == [
        r'write 6 "VOLT?\n"',
        r'read 2 "1\n"',
    ]

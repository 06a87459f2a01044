from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest.mock import MagicMock, call

import numpy as np
import pytest
import trio

from qmi.core.exceptions import (
    QMI_InstrumentException,
    QMI_InvalidValueException,
    QMI_ScpiException,
    QMI_TimeoutException,
)
from qmi.core.scpi_protocol import AsyncScpiProtocol, ScpiProtocol
from qmi.core.transport import QMI_Transport
from qmi.devices.exchange import Owed, block_end
from tests.support.answers import AsyncDevice, Device
from tests.support.device_ends import Line, async_line_to, line_to


@pytest.fixture
def mock() -> MagicMock:
    return MagicMock(spec=QMI_Transport)


@pytest.fixture
def line() -> Iterator[Line]:
    with line_to("tcp") as made:
        yield made


# As drivers and their tests see it.


def test_ask_writes_and_reads_until_the_terminator(mock: MagicMock) -> None:
    mock.read_until.return_value = b"caf\xe9\r\n"
    scpi = ScpiProtocol(mock, "\r", "\r\n", default_timeout=3.0)
    assert scpi.ask("x?", decoder="latin1") == "caf\xe9"
    assert scpi.ask("y?", 0.0, True, "latin1") == "caf\xe9"
    assert mock.mock_calls == [
        call.write(b"x?\r"),
        call.read_until(message_terminator=b"\r\n", timeout=3.0),
        call.discard_read(),
        call.write(b"y?\r"),
        call.read_until(message_terminator=b"\r\n", timeout=0.0),
    ]


@pytest.mark.parametrize("response", [b"", b"abc", b"abc\r"])
def test_answer_without_its_terminator_is_refused(mock: MagicMock, response: bytes) -> None:
    mock.read_until.return_value = response
    with pytest.raises(QMI_InstrumentException, match="expected terminator"):
        ScpiProtocol(mock).ask("x?")


def test_answer_that_is_no_ascii_is_refused(mock: MagicMock) -> None:
    mock.read_until.return_value = b"\xe9\n"
    with pytest.raises(QMI_InstrumentException, match=r"Expected a text in ascii in answer to 'x\?', got b'\\xe9'"):
        ScpiProtocol(mock).ask("x?")
    assert ScpiProtocol(mock).ask("x?", decoder="latin-1") == "\xe9"
    with pytest.raises(UnicodeEncodeError):
        ScpiProtocol(mock).write("\xe9")


def test_device_without_terminators_is_read_by_its_messages(mock: MagicMock) -> None:
    mock.read_until.return_value = b"42"
    assert ScpiProtocol(mock, "", "").ask("x?") == "42"
    mock.write.assert_called_once_with(b"x?")


def test_write_raw_adds_the_terminator(mock: MagicMock) -> None:
    ScpiProtocol(mock).write_raw(b"#12\x00\x01")
    mock.write.assert_called_once_with(b"#12\x00\x01\n")


def test_binary_data_are_read_by_their_length(mock: MagicMock) -> None:
    mock.read.side_effect = [b"#2", b"10", b"1234567890", b"\r\n"]
    assert ScpiProtocol(mock, response_terminator="\r\n").read_binary_data(timeout=7) == b"1234567890"
    assert mock.mock_calls == [call.read(size, timeout=7) for size in (2, 2, 10, 2)]
    mock.read.side_effect = [b"#1", b"2", b"ab"]
    assert ScpiProtocol(mock).read_binary_data(False) == b"ab"


@pytest.mark.parametrize(
    ("reads", "complaint"),
    [
        ([b"-2"], "expecting b'#'"),
        ([b"##"], "expecting digit"),
        ([b"#0"], "does not end in"),
        ([b"#2", b"!@"], "expecting data size"),
        ([b"#2", b"10", b"1234567890", b"\b"], "expecting b'\\\\n' behind the data"),
    ],
)
def test_binary_data_that_are_none_are_refused(mock: MagicMock, reads: list[bytes], complaint: str) -> None:
    mock.read.side_effect = reads
    mock.read_until.return_value = b"no end"
    with pytest.raises(QMI_InstrumentException, match=complaint):
        ScpiProtocol(mock).read_binary_data()


# On a real line.


def test_block_goes_straight_into_an_array(line: Line) -> None:
    values = np.arange(100_000, dtype=">i2")
    data = values.tobytes()
    line.send(b"#6%06d" % len(data) + data[:1000])
    scpi = ScpiProtocol(line.transport, default_timeout=5.0)
    memory: list[Any] = []
    readinto = line.transport.readinto

    def see(buffer: Any, timeout: float | None = None) -> None:
        memory.append(buffer)
        line.send(data[1000:] + b"\n")
        readinto(buffer, timeout)

    line.transport.readinto = see
    array = scpi.read_array(">i2")
    assert memory[0] is array
    assert array.dtype == np.dtype(">i2")
    assert np.array_equal(array, values)
    array[0] = 7


def test_block_of_indefinite_length_ends_at_the_terminator(line: Line) -> None:
    scpi = ScpiProtocol(line.transport, default_timeout=5.0)
    line.send(b"#0abcd\n#0efgh\n")
    assert scpi.read_binary_data() == b"abcd"
    array = scpi.read_array("u2")
    assert array.tobytes() == b"efgh"
    array[0] = 1


def test_block_of_half_an_item_is_refused(line: Line) -> None:
    line.send(b"#13abc\n")
    with pytest.raises(QMI_InstrumentException, match="3 bytes has no whole number of items of 2"):
        ScpiProtocol(line.transport, default_timeout=5.0).read_array("i2")


BLOCK = b"#3100" + bytes(range(100)) + b"\n"


@pytest.mark.fault(56)
@pytest.mark.parametrize("come", [0, 1, 2, 3, 5, 6, 50, 104, 105])
@pytest.mark.parametrize("read", ["read_binary_data", "read_array"])
def test_block_that_comes_late_is_dropped_whole(line: Line, come: int, read: str) -> None:
    scpi = ScpiProtocol(line.transport, default_timeout=0.0)
    scpi.write("CURV?")
    line.receive()
    line.send(BLOCK[:come])
    with pytest.raises(QMI_TimeoutException):
        getattr(scpi, read)()
    line.send(BLOCK[come:])
    line.transport.write(b"*IDN?\n")
    line.send(b"ACME\n")
    assert line.transport.read_until(b"\n", 5.0) == b"ACME\n"


@pytest.mark.parametrize("come", [0, 1, 2, 3, 5, 6, 50, 104])
def test_block_that_comes_late_can_be_read_after_all(line: Line, come: int) -> None:
    scpi = ScpiProtocol(line.transport, default_timeout=0.0)
    scpi.write("CURV?")
    line.send(BLOCK[:come])
    with pytest.raises(QMI_TimeoutException):
        scpi.read_binary_data()
    line.send(BLOCK[come:])
    assert scpi.read_binary_data(timeout=5.0) == BLOCK[5:-1]
    assert line.transport.is_in_step


@pytest.mark.parametrize("cut", range(len(BLOCK)))
def test_block_is_owed_until_its_last_byte(cut: int) -> None:
    owed = Owed(b"\n", 0, True)
    assert not owed.is_in(BLOCK[:cut])
    assert owed.is_in(BLOCK)
    assert Owed(b"\n", 0, True).is_in(b"-113 error\n")


@pytest.mark.parametrize(("data", "end"), [(b"#15", 8), (b"#0abc", None), (b"#x", None), (b"#2ab", None), (b"1", None)])
def test_end_of_a_block_is_known_from_its_beginning(data: bytes, end: int | None) -> None:
    assert block_end(data) == end


@pytest.mark.fault(58)
def test_interrupt_between_question_and_answer_puts_the_line_out_of_step(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    scpi = ScpiProtocol(line.transport, default_timeout=5.0)

    def interrupted(message_terminator: bytes, timeout: float | None) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(line.transport, "read_until", interrupted)
        with pytest.raises(KeyboardInterrupt):
            scpi.ask("one?")
    assert not line.transport.is_in_step
    line.send(b"one\n")
    line.transport.write(b"two?\n")
    line.send(b"two\n")
    assert line.transport.read_until(b"\n", 5.0) == b"two\n"


def test_errors_of_the_device_are_raised_with_their_command(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    queue: Any = ['-113,"Undefined header"', '-222,"Data out of range"', '+0,"No error"', '0,"No error"']
    device = Device(line, monkeypatch, {"SYST:ERR?": queue, "VOLT?": "1.5"})
    scpi = ScpiProtocol(line.transport, default_timeout=5.0, error_query="SYST:ERR?")
    with pytest.raises(QMI_ScpiException, match=r"about 'VOLT 99': -113.*; -222") as caught:
        scpi.write("VOLT 99")
    assert caught.value.command == "VOLT 99"
    assert caught.value.errors == ('-113,"Undefined header"', '-222,"Data out of range"')
    assert scpi.ask("VOLT?") == "1.5"
    assert device.asked == ["VOLT 99", "SYST:ERR?", "SYST:ERR?", "SYST:ERR?", "VOLT?", "SYST:ERR?"]


def test_error_queue_that_never_ends_is_left(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    Device(line, monkeypatch, {"SYST:ERR?": '-1,"again"'})
    with pytest.raises(QMI_ScpiException) as caught:
        ScpiProtocol(line.transport, default_timeout=5.0).check_errors("X")
    assert len(caught.value.errors) == 100


def test_command_is_waited_for(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    completions: Any = ["1", "0"]
    device = Device(line, monkeypatch, {"*OPC?": completions, "VOLT?": "1.5"})
    scpi = ScpiProtocol(line.transport, default_timeout=5.0, completion_query="*OPC?")
    scpi.write("INIT")
    assert scpi.ask("VOLT?") == "1.5"
    assert device.asked == ["INIT", "*OPC?", "VOLT?"]
    with pytest.raises(QMI_ScpiException, match=r"\*OPC\? behind 'INIT' was answered by '0'"):
        scpi.write("INIT")


def test_echo_of_a_command_is_read_and_checked(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    Device(line, monkeypatch, {"VOLT?": b"VOLT?\n1.5\n", "VOLT 1": b"VOLT 1\r\n", "X": b"Y\n"})
    scpi = ScpiProtocol(line.transport, default_timeout=5.0, echo=True)
    assert scpi.ask("VOLT?") == "1.5"
    scpi.write("VOLT 1")
    with pytest.raises(QMI_InstrumentException, match=r"echoed b'Y\\n' where b'X\\n' was sent"):
        scpi.write("X")


def test_commands_keep_their_distance(mock: MagicMock, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(round(seconds, 6))
        now[0] += seconds

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", sleep)
    scpi = ScpiProtocol(mock, command_delay=0.5)
    scpi.write("a")
    scpi.write("b")
    now[0] += 0.2
    scpi.write("c")
    now[0] += 3.0
    scpi.write("d")
    assert waits == [0.5, 0.3]
    with pytest.raises(QMI_InvalidValueException, match="command_delay must be a number of seconds >= 0, got -1"):
        ScpiProtocol(mock, command_delay=-1)


# In the event loop.


@pytest.fixture
async def async_line() -> AsyncIterator[Line]:
    async with async_line_to("tcp") as made:
        yield made


async def asked(scpi: AsyncScpiProtocol, call: Callable[[], Any], line: Line, answer: bytes) -> Any:
    """What a call returns whose question is answered as soon as it is asked."""
    results: list[Any] = []

    async def run() -> None:
        results.append(await call())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        line.receive()
        line.send(answer)
    return results[0]


async def test_async_protocol_asks_and_reads_blocks(async_line: Line) -> None:
    scpi = AsyncScpiProtocol(async_line.transport, default_timeout=5.0)
    assert await asked(scpi, lambda: scpi.ask("x?", discard=True), async_line, b"42\n") == "42"
    array = await asked(scpi, lambda: scpi.ask_array("c?", "<i2"), async_line, b"#14\x01\x00\x02\x00\n")
    assert array.tolist() == [1, 2]
    await scpi.write("VOLT 1")
    await scpi.write_raw(b"\x00")
    assert async_line.receive() == b"VOLT 1\n\x00\n"
    async_line.send(b"#0abc\n#13abc\n")
    assert await scpi.read_binary_data() == b"abc"
    assert await scpi.read_binary_data() == b"abc"
    async_line.send(b"x")
    with pytest.raises(QMI_TimeoutException):
        await scpi.ask("x?", 0.0)


@pytest.mark.fault(58)
async def test_async_question_that_is_cancelled_is_not_answered_later(async_line: Line) -> None:
    scpi = AsyncScpiProtocol(async_line.transport, default_timeout=5.0)
    for number in range(100):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scpi.ask if number % 2 else scpi.ask_array, "late?")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        async_line.send(b"late\n" if number % 2 else BLOCK)
        async_line.receive()
        answer = b"%d" % number
        assert await asked(scpi, lambda: scpi.ask("now?"), async_line, answer + b"\n") == answer.decode()


async def test_async_errors_of_the_device_are_raised_with_their_command(
    async_line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue: Any = ['-113,"Undefined header"', '0,"No error"', '0,"No error"', '0,"No error"']
    device = AsyncDevice(async_line, monkeypatch, {"SYST:ERR?": queue, "VOLT?": "1.5", "*OPC?": "1"})
    scpi = AsyncScpiProtocol(
        async_line.transport, default_timeout=5.0, error_query="SYST:ERR?", completion_query="*OPC?"
    )
    with pytest.raises(QMI_ScpiException, match="about 'VOLT 99': -113") as caught:
        await scpi.write("VOLT 99")
    assert caught.value.command == "VOLT 99"
    assert await scpi.ask("VOLT?") == "1.5"
    await scpi.write_raw(b"RAW")
    asked_for = ["VOLT 99", "*OPC?", "SYST:ERR?", "SYST:ERR?", "VOLT?", "SYST:ERR?", "RAW", "*OPC?", "SYST:ERR?"]
    assert device.asked == asked_for


async def test_async_quirks(async_line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    AsyncDevice(async_line, monkeypatch, {"VOLT?": b"VOLT?\n1.5\n"})
    scpi = AsyncScpiProtocol(async_line.transport, default_timeout=5.0, echo=True, command_delay=0.001)
    assert await scpi.ask("VOLT?") == "1.5"
    assert await scpi.ask("VOLT?") == "1.5"

"""Questions that were sent as commands, and errors of commands before."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from qmi.core.exceptions import QMI_ScpiException, QMI_TimeoutException, QMI_TransportDescriptorException
from qmi.core.scpi_protocol import AsyncScpiProtocol, ScpiProtocol
from qmi.devices.scpi_errors import is_entry, is_no_error, is_question
from tests.support.answers import AsyncDevice, Device
from tests.support.device_ends import Line, async_line_to, line_to

VOLTAGES = {"VOLT?": "2.0", "CURR?": "0.5", "MEAS? (@101)": "7", "*IDN?": "ACME"}
NO_ERROR = '0,"No error"'


@pytest.fixture(params=["tcp", "serial"])
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    with line_to(request.param) as made:
        made.transport.configure(drain_timeout=0.05)
        yield made


@pytest.fixture
def tcp() -> Iterator[Line]:
    with line_to("tcp") as made:
        made.transport.configure(drain_timeout=0.05)
        yield made


@pytest.mark.parametrize(
    "commands", [["VOLT?"], ["VOLT?", "CURR?"], ["VOLT?", "OUTP ON"], ["OUTP ON;VOLT?"], ["MEAS? (@101)"], ["VOLT?\r"]]
)
def test_question_that_was_written_does_not_answer_the_next_one(
    line: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, commands: list[str]
) -> None:
    Device(line, monkeypatch, {**VOLTAGES, "OUTP ON;VOLT?": "2.0"})
    scpi = ScpiProtocol(line.transport, default_timeout=5.0)
    for command in commands:
        scpi.write(command)
    assert scpi.ask("*IDN?") == "ACME"
    assert scpi.ask("CURR?") == "0.5"
    (record,) = (record for record in caplog.records if record.levelno >= logging.WARNING)
    assert "was not read, and is dropped before '*IDN?'" in record.getMessage()
    assert repr(commands[0]) in record.getMessage()


@pytest.mark.parametrize("read", ["read_until", "read", "read_until_timeout", "discard_read", "raw write"])
def test_question_that_was_written_may_be_read_by_the_transport(
    line: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, read: str
) -> None:
    Device(line, monkeypatch, VOLTAGES)
    scpi = ScpiProtocol(line.transport, default_timeout=5.0)
    scpi.write_raw(b"VOLT?")
    if read == "read_until":
        assert line.transport.read_until(b"\n", 5.0) == b"2.0\n"
    elif read == "discard_read":
        line.transport.read_until_timeout(1, 5.0)  # it has come
        line.transport.discard_read()
    elif read == "raw write":
        line.transport.write(b"\n")
        assert line.transport.read(4, 5.0) == b"2.0\n"
    else:
        assert getattr(line.transport, read)(4, 5.0) == b"2.0\n"
    assert scpi.ask("*IDN?") == "ACME"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_questions_that_were_written_one_behind_the_other_are_read_in_order(
    tcp: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    Device(tcp, monkeypatch, VOLTAGES)
    scpi = ScpiProtocol(tcp.transport, default_timeout=5.0)
    scpi.write("VOLT?")
    scpi.write("CURR?")
    scpi.write("OUTP ON")
    assert tcp.transport.read_until(b"\n", 5.0) == b"2.0\n"
    # A driver that polls for the second one, and gives up.
    assert scpi.ask("*IDN?") == "ACME"


@pytest.mark.parametrize("policy", ["error_query", "completion_query"])
@pytest.mark.parametrize("write", ["write", "write_raw"])
def test_question_is_refused_as_a_command_where_the_device_is_asked_behind_it(
    tcp: Line, monkeypatch: pytest.MonkeyPatch, policy: str, write: str
) -> None:
    device = Device(tcp, monkeypatch, {**VOLTAGES, "Q?": "0", "SYST:ERR?": NO_ERROR})
    options: Any = {policy: "SYST:ERR?"}
    scpi = ScpiProtocol(tcp.transport, default_timeout=5.0, **options)
    with pytest.raises(QMI_ScpiException, match=r"'VOLT\?' is a question: use ask\(\)"):
        getattr(scpi, write)("VOLT?" if write == "write" else b"VOLT?")
    assert device.asked == []
    assert scpi.ask("VOLT?") == "2.0"


@pytest.mark.parametrize("answer", ["2.0", "ACME,1", "0.5", "on"])
def test_entry_of_the_error_queue_that_is_none_is_told(tcp: Line, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    Device(tcp, monkeypatch, {"SYST:ERR?": answer, "X": None})
    scpi = ScpiProtocol(tcp.transport, default_timeout=5.0, error_query="SYST:ERR?")
    with pytest.raises(QMI_ScpiException, match="where an entry of the error queue was expected") as caught:
        scpi.write("X")
    assert f"'SYST:ERR?' was answered by {answer!r}" in str(caught.value)
    assert not caught.value.errors


@pytest.mark.parametrize(
    ("entry", "is_one", "is_none"),
    [
        (NO_ERROR, True, True),
        ("+0, No error", True, True),
        ("0", True, True),
        ("", True, True),
        ('-113,"Undefined header"', True, False),
        ('-113,"a",-222,"b"', True, False),
        ("17", True, False),
        ("2.0", False, False),
        ("0.5", False, False),
        ("+0.0E+00", False, False),
        ("ACME", False, False),
    ],
)
def test_entries_of_error_queues(entry: str, is_one: bool, is_none: bool) -> None:
    assert (is_entry(entry), is_no_error(entry)) == (is_one, is_none)


@pytest.mark.parametrize("line_", ["VOLT?", " VOLT? ", "VOLT 1;VOLT?", "VOLT?;", "VOLT?;VOLT 1", "MEAS? 1", "VOLT ?"])
def test_line_with_a_question_is_one(line_: str) -> None:
    assert is_question(line_)


@pytest.mark.parametrize("line_", ["VOLT 1", 'DISP "sure?"', "DISP 'VOLT?;'", 'SNDT 1,"*IDN?"', ""])
def test_line_without_a_question_is_none(line_: str) -> None:
    assert not is_question(line_)


@pytest.mark.parametrize("next_one", ["write", "ask"])
def test_error_of_a_question_without_an_answer_is_not_charged_to_the_next_command(
    line: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, next_one: str
) -> None:
    queue: Any = ['-113,"Undefined header"', NO_ERROR, NO_ERROR, NO_ERROR]
    Device(line, monkeypatch, {**VOLTAGES, "SYST:ERR?": queue})
    scpi = ScpiProtocol(line.transport, default_timeout=5.0, error_query="SYST:ERR?")
    with pytest.raises(QMI_TimeoutException, match=r"it was to answer 'VOLTT\?'"):
        scpi.ask("VOLTT?", timeout=0.01)
    if next_one == "ask":
        assert scpi.ask("VOLT?") == "2.0"
    else:
        scpi.write("VOLT 1")
    assert """about the earlier command 'VOLTT?': -113,"Undefined header\"""" in caplog.text


def test_errors_that_are_asked_for_are_those_of_the_command_before(tcp: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    queue: Any = ['-113,"Undefined header"', NO_ERROR, NO_ERROR]
    Device(tcp, monkeypatch, {**VOLTAGES, "SYST:ERR?": queue})
    scpi = ScpiProtocol(tcp.transport, default_timeout=5.0, error_query="SYST:ERR?")
    with pytest.raises(QMI_TimeoutException):
        scpi.ask("VOLTT?", timeout=0.01)
    with pytest.raises(QMI_ScpiException, match=r"about 'VOLTT\?': -113"):
        scpi.check_errors()
    assert scpi.ask("VOLT?") == "2.0"


def test_error_queue_that_is_asked_for_is_not_emptied_before(tcp: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    queue: Any = ['-113,"Undefined header"', '-222,"Data out of range"', NO_ERROR, NO_ERROR]
    Device(tcp, monkeypatch, {**VOLTAGES, "SYST:ERR?": queue})
    scpi = ScpiProtocol(tcp.transport, default_timeout=5.0, error_query="SYST:ERR?")
    with pytest.raises(QMI_TimeoutException):
        scpi.ask("VOLTT?", timeout=0.01)
    entries = list(queue)
    assert [scpi.ask("SYST:ERR?") for _ in entries] == entries


async def test_async_protocol_keeps_questions_and_errors_apart(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with async_line_to("tcp") as line:
        line.transport.configure(drain_timeout=0.05)
        queue: Any = ['-113,"Undefined header"', NO_ERROR, NO_ERROR]
        AsyncDevice(line, monkeypatch, {**VOLTAGES, "SYST:ERR?": queue})
        plain = AsyncScpiProtocol(line.transport, default_timeout=5.0)
        await plain.write("VOLT?")
        await plain.write_raw(b"CURR?")
        assert await plain.ask("*IDN?") == "ACME"
        await plain.write("VOLT?")
        assert await line.transport.read_until(b"\n", 5.0) == b"2.0\n"
        assert await plain.ask("CURR?") == "0.5"
        scpi = AsyncScpiProtocol(line.transport, default_timeout=5.0, error_query="SYST:ERR?")
        with pytest.raises(QMI_ScpiException, match="is a question: use ask"):
            await scpi.write("VOLT?")
        with pytest.raises(QMI_TimeoutException, match=r"it was to answer 'VOLTT\?'"):
            await scpi.ask("VOLTT?", timeout=0.01)
        assert await scpi.ask("VOLT?") == "2.0"
        queue[:] = ["2.0"]
        with pytest.raises(QMI_ScpiException, match="an entry of the error queue was expected"):
            await scpi.write("X")
    assert "the earlier command 'VOLTT?': -113" in caplog.text


@pytest.mark.parametrize("protocol", [ScpiProtocol, AsyncScpiProtocol])
@pytest.mark.parametrize("wrong", ["tcp:127.0.0.1:5025", None, 5025])
def test_protocol_without_a_transport_is_refused(protocol: Any, wrong: object) -> None:
    with pytest.raises(QMI_TransportDescriptorException, match="A protocol needs a transport, got"):
        protocol(wrong)

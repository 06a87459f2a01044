from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from qmi.core.exceptions import (
    QMI_EndOfInputException,
    QMI_InstrumentException,
    QMI_InvalidValueException,
    QMI_TimeoutException,
    QMI_TransportLostException,
)
from qmi.core.transport import ConnectionEvent, QMI_TcpTransport, Reconnect, create_async_transport, create_transport
from qmi.devices.reconnect import reconnect_of
from tests.support.device_ends import Line, line_to


@pytest.fixture
def line() -> Iterator[Line]:
    with line_to("tcp") as made:
        yield made


def lose(line: Line) -> None:
    """Cut the connection, and have a call notice."""
    line.transport.write(b"x?\n")
    line.cut()
    with pytest.raises(QMI_TransportLostException) as caught:
        line.transport.read_until(b"\n", 5.0)
    assert isinstance(caught.value, QMI_EndOfInputException)


def test_lost_connection_stays_lost_by_default(line: Line) -> None:
    lose(line)
    with pytest.raises(QMI_TransportLostException):
        line.transport.read_until(b"\n", 5.0)


@pytest.mark.fault(57)
def test_lost_connection_is_made_again_by_the_next_write(line: Line) -> None:
    events: list[ConnectionEvent] = []
    line.transport.configure(reconnect=Reconnect(on_event=events.append))
    for _ in range(3):
        lose(line)
        with pytest.raises(QMI_TransportLostException, match="the next write makes it again"):
            line.transport.read(1, 5.0)
        line.transport.write(b"y?\n")
        assert line.receive() == b"y?\n"
        line.send(b"y\n")
        assert line.transport.read_until(b"\n", 5.0) == b"y\n"
    assert [event.what for event in events] == ["lost", "restored"] * 3


def test_lost_connection_of_a_device_that_only_speaks_is_made_again_by_a_read(line: Line) -> None:
    line.transport.configure(reconnect=True)
    line.cut()
    with pytest.raises(QMI_TransportLostException):
        line.transport.read_until(b"\n", 5.0)
    line.transport.read_until_timeout(1, 0.0)
    line.send(b"tick\n")
    assert line.transport.read_until(b"\n", 5.0) == b"tick\n"


def test_data_received_before_the_loss_can_be_read(line: Line) -> None:
    line.transport.configure(reconnect=True)
    line.send(b"abc\ndef")
    assert line.transport.read_until(b"\n", 5.0) == b"abc\n"
    line.cut()
    with pytest.raises(QMI_TransportLostException):
        line.transport.read_until(b"\n", 5.0)
    assert line.transport.read_until_timeout(3, 0.0) == b"def"


@pytest.mark.fault(57)
def test_settings_are_restored_before_the_next_command(line: Line) -> None:
    restored = []

    def restore(transport: Any) -> None:
        transport.write(b"VOLT 5\n")
        restored.append(True)

    line.transport.configure(reconnect=Reconnect(restore=restore))
    assert not restored
    lose(line)
    line.transport.write(b"OUTP ON\n")
    assert line.receive() == b"VOLT 5\nOUTP ON\n"


class Identities:
    """A device that says who it is when it is asked."""

    def __init__(self, *names: bytes) -> None:
        self.names = list(names)

    def __call__(self, transport: Any) -> bytes:
        return self.names.pop(0)


def test_same_device_is_recognised(line: Line) -> None:
    line.transport.close()
    line.transport.configure(reconnect=Reconnect(identify=Identities(b"A", b"A", b"A")))
    line.transport.open()
    for _ in range(2):
        lose(line)
        line.transport.write(b"y?\n")


@pytest.mark.fault(57)
def test_another_device_at_the_same_place_is_refused(line: Line) -> None:
    events: list[str] = []
    line.transport.close()
    policy = Reconnect(identify=Identities(b"A", b"B", b"A"), on_event=lambda event: events.append(event.what))
    line.transport.configure(reconnect=policy)
    line.transport.open()
    lose(line)
    with pytest.raises(QMI_InstrumentException, match=r"Another device answers at .*: was b'A', is b'B'"):
        line.transport.write(b"y?\n")
    # The right one is back.
    line.transport.write(b"y?\n")
    assert events == ["lost", "replaced", "restored"]


def test_identity_is_asked_for_by_a_question(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    line.transport.close()
    line.transport.configure(reconnect="*IDN?")
    send = line.transport._send
    asked: list[bytes] = []

    def answering(data: bytes) -> None:
        send(data)
        asked.append(data)
        if data == b"*IDN?\n":
            line.send(b"ACME,1\r\n")

    monkeypatch.setattr(line.transport, "_send", answering)
    line.transport.open()
    lose(line)
    line.transport.write(b"y?\n")
    assert asked == [b"*IDN?\n", b"x?\n", b"*IDN?\n", b"y?\n"]
    assert line.transport._identity == b"ACME,1"


def test_device_that_is_away_is_tried_with_growing_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    events: list[str] = []
    with line_to("tcp") as line:
        policy = Reconnect(5, 0.5, 3.0, 4.0, on_event=lambda event: events.append(event.what))
        line.transport.configure(reconnect=policy)
        lose(line)
        connect = line.transport._connect
        monkeypatch.setattr(line.transport, "_connect", refuse)
        with pytest.raises(QMI_TransportLostException, match=r"cannot be made again, .*refused") as caught:
            line.transport.write(b"y?\n")
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)
        assert waits == [0.5, 1.5, 4.0, 4.0]
        assert events == ["lost"] + ["failed"] * 5
        # It stays lost, and is tried again.
        monkeypatch.setattr(line.transport, "_connect", connect)
        line.transport.write(b"y?\n")
        assert events[-1] == "restored"


def refuse() -> None:
    raise ConnectionRefusedError("refused")


def test_connection_that_is_lost_while_it_is_greeted_is_tried_again(line: Line) -> None:
    tries: list[int] = []

    def restore(transport: Any) -> None:
        tries.append(len(tries))
        if len(tries) < 3:
            raise QMI_TransportLostException("gone again")

    line.transport.configure(reconnect=Reconnect(delay=0.0, restore=restore))
    lose(line)
    line.transport.write(b"y?\n")
    assert tries == [0, 1, 2]


def test_error_of_a_driver_while_it_restores_is_passed_on(line: Line) -> None:
    def restore(transport: Any) -> None:
        raise ZeroDivisionError

    line.transport.configure(reconnect=Reconnect(restore=restore))
    lose(line)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            line.transport.write(b"y?\n")


def test_reconnect_is_logged(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    line.transport.configure(reconnect=True)
    with caplog.at_level(logging.INFO, "qmi.core.transport"):
        lose(line)
        line.transport.write(b"y?\n")
    assert [(record.levelname, "connection lost" in record.message) for record in caplog.records] == [
        ("WARNING", True),
        ("INFO", False),
    ]


def test_descriptor_can_ask_for_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = create_transport(f"tcp:127.0.0.1:{server.getsockname()[1]}:reconnect=True:drain_timeout=0.5")
        assert isinstance(transport, QMI_TcpTransport)
        assert transport.reconnect == Reconnect()
        assert create_transport("tcp:a:1:reconnect=*IDN?").reconnect == Reconnect(identify="*IDN?")
        assert create_transport("tcp:a:1:reconnect=false").reconnect is None
        assert create_transport("tcp:a:1").reconnect is None
        assert create_transport("tcp:a:1", {"reconnect": "*IDN?"}).reconnect == Reconnect(identify="*IDN?")
        assert create_transport("tcp:a:1:reconnect=True", {"reconnect": "*IDN?"}).reconnect == Reconnect()
        assert create_transport("tcp:a:1:reconnect=True", reconnect=False).reconnect is None
        assert create_async_transport("tcp:a:1", reconnect=Reconnect(2)).reconnect == Reconnect(2)
        assert create_async_transport("tcp:a:1:reconnect=*IDN?").reconnect == Reconnect(identify="*IDN?")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Reconnect(attempts=0), "attempts must be >= 1, got 0"),
        (lambda: Reconnect(delay=-1), "delay must be a number >= 0, got -1"),
        (lambda: Reconnect(max_delay=float("inf")), "max_delay must be a number >= 0, got inf"),
        (lambda: reconnect_of(""), "reconnect must be True, False, a Reconnect or a question"),
        (lambda: reconnect_of(5), "got 5"),
    ],
)
def test_policy_that_makes_no_sense_is_refused(make: Any, complaint: str) -> None:
    with pytest.raises(QMI_InvalidValueException, match=complaint):
        make()


def test_connection_that_was_to_be_made_anew_for_a_late_answer_is_not_waited_for_long(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def silent() -> None:
        tries.append(True)
        raise QMI_TimeoutException("nobody there")

    line.transport.configure(out_of_step="reconnect")
    line.transport.write(b"x?\n")
    with pytest.raises(QMI_TimeoutException):
        line.transport.read_until(b"\n", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(line.transport, "_connect", silent)
        for _ in range(2):
            with pytest.raises(QMI_TransportLostException, match=r"is tried by the next write: .*nobody there"):
                line.transport.write(b"y?\n")
        assert len(tries) == 2
    line.transport.write(b"z?\n")
    assert line.receive() == b"z?\n"


def test_lost_connection_can_be_closed(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> None:
        raise QMI_TransportLostException("gone")

    with monkeypatch.context() as patch:
        patch.setattr(line.transport, "_disconnect", gone)
        line.transport.close()
    line.transport._disconnect()
    line.transport.open()

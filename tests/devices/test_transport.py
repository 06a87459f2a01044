from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from qmi.core.exceptions import (
    QMI_EndOfInputException,
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_OutOfStepException,
    QMI_TimeoutException,
    QMI_TransportDescriptorException,
    QMI_TransportLostException,
)
from qmi.core.transport import DeviceTransport, QMI_TcpTransport, QMI_Transport, QMI_UdpTransport
from tests.support.device_ends import ENDS, Line, line_to, serial_line, tcp_line

ROUNDS = 1000


@pytest.fixture(params=sorted(ENDS))
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    with line_to(request.param) as made:
        yield made


def test_transport_reads_what_the_device_sends(line: Line) -> None:
    line.send(b"abc\ndef\nghi")
    transport = line.transport
    assert transport.read_until(b"\n", 5.0) == b"abc\n"
    assert transport.read(2, 5.0) == b"de"
    assert transport.read_until(b"\n", None) == b"f\n"
    assert transport.read_until_timeout(3, 5.0) == b"ghi"
    assert transport.read(0, 0.0) == b""


def test_transport_writes_everything(line: Line) -> None:
    line.transport.write(b"x" * 1000)
    received = b""
    while len(received) < 1000:
        received += line.receive()
    assert received == b"x" * 1000


def test_read_that_times_out_keeps_what_has_come(line: Line) -> None:
    line.send(b"abc")
    transport = line.transport
    with pytest.raises(QMI_TimeoutException, match=r"Timeout after 3 bytes while expecting 4"):
        transport.read(4, 0.02)
    with pytest.raises(QMI_TimeoutException, match=r"Timeout after 3 bytes without message terminator b'\\n'"):
        transport.read_until(b"\n", 0.0)
    memory = bytearray(4)
    with pytest.raises(QMI_TimeoutException, match=r"Timeout after 3 bytes while expecting 4"):
        transport.readinto(memory, 0.0)
    assert transport.read_until_timeout(4, 0.0) == b"abc"
    assert transport.read_until_timeout(4, 0.0) == b""


def test_terminator_of_two_bytes_is_found_where_it_was_cut(line: Line) -> None:
    line.send(b"a;b;")
    with pytest.raises(QMI_TimeoutException):
        line.transport.read_until(b";\n", 0.02)
    line.send(b"\nc;\n")
    assert line.transport.read_until(b";\n", 5.0) == b"a;b;\n"
    assert line.transport.read_until(b";\n", 5.0) == b"c;\n"


def test_readinto_fills_a_buffer_from_what_was_received_before(line: Line) -> None:
    line.send(b"a\nbc")
    assert line.transport.read_until(b"\n", 5.0) == b"a\n"
    line.send(b"de")
    memory = bytearray(4)
    line.transport.readinto(memory, 5.0)
    assert memory == b"bcde"


def test_discard_read_drops_what_has_come(line: Line) -> None:
    line.send(b"a\nb")
    assert line.transport.read_until(b"\n", 5.0) == b"a\n"
    line.transport.discard_read()
    line.send(b"c\n")
    assert line.transport.read_until(b"\n", 5.0) == b"c\n"


def test_closed_transport_refuses_everything(line: Line) -> None:
    transport = line.transport
    with pytest.raises(QMI_InvalidOperationException, match="open transport"):
        transport.open()
    transport.close()
    for call in (
        transport.close,
        transport.discard_read,
        lambda: transport.write(b""),
        lambda: transport.read(1, 0.0),
        lambda: transport.read_until(b"\n", 0.0),
        lambda: transport.read_until_timeout(1, 0.0),
        lambda: transport.readinto(bytearray(1), 0.0),
    ):
        with pytest.raises(QMI_InvalidOperationException, match="call its open"):
            call()
    transport.open()


def test_transport_without_a_way_says_so() -> None:
    transport = QMI_Transport()
    for call in (transport.open, lambda: transport.write(b""), lambda: transport.read(1, 1)):
        with pytest.raises(NotImplementedError, match="QMI_Transport"):
            call()


@pytest.mark.parametrize("wait", [0.0, 0.001])
def test_stream_without_an_end_does_not_keep_a_read_going(wait: float, monkeypatch: pytest.MonkeyPatch) -> None:
    with tcp_line() as line:
        monkeypatch.setattr(line.transport, "_receive", lambda size, timeout: b"x" * 100)
        with pytest.raises(QMI_TimeoutException):
            line.transport.read_until(b"\n", wait)


# Late answers.


def ask(line: Line, question: bytes, answer: bytes) -> bytes:
    """Ask a device that answers at once."""
    line.transport.write(question)
    assert line.receive().endswith(question)
    line.send(answer)
    received: bytes = line.transport.read_until(b"\n", 5.0)
    return received


def miss(line: Line, question: bytes) -> None:
    """Ask a device that does not answer in time."""
    line.transport.write(question)
    with pytest.raises(QMI_TimeoutException):
        line.transport.read_until(b"\n", 0.0)
    line.receive()
    assert not line.transport.is_in_step


@pytest.mark.fault(56)
def test_late_answer_is_never_taken_for_that_of_the_next_question(line: Line) -> None:
    for number in range(ROUNDS):
        miss(line, b"late %d?\n" % number)
        line.send(b"late %d\n" % number)
        assert ask(line, b"now %d?\n" % number, b"now %d\n" % number) == b"now %d\n" % number


@pytest.mark.fault(56)
def test_late_answer_that_comes_while_it_is_waited_for_is_dropped(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    receive = line.transport._receive
    for cut in range(1, 12):
        miss(line, b"late?\n")
        late = [b"late answer\n"[:cut], b"late answer\n"[cut:]]

        def slowly(size: int, timeout: float | None, late: list[bytes] = late) -> bytes:
            if late:
                line.send(late.pop(0))
            data: bytes = receive(size, timeout)
            return data

        monkeypatch.setattr(line.transport, "_receive", slowly)
        line.transport.write(b"now?\n")
        monkeypatch.setattr(line.transport, "_receive", receive)
        line.receive()
        line.send(b"now\n")
        assert line.transport.read_until(b"\n", 5.0) == b"now\n"


def test_late_answer_that_is_read_after_all_puts_the_transport_in_step(line: Line) -> None:
    miss(line, b"slow?\n")
    line.send(b"slow\n")
    assert line.transport.read_until(b"\n", 5.0) == b"slow\n"
    assert line.transport.is_in_step


@pytest.mark.fault(58)
@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_read_that_is_interrupted_puts_the_transport_out_of_step(
    line: Line, stop: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = line.transport._receive

    def interrupted(size: int, timeout: float | None) -> bytes:
        raise stop

    line.transport.write(b"one?\n")
    line.receive()
    monkeypatch.setattr(line.transport, "_receive", interrupted)
    with pytest.raises(stop):
        line.transport.read_until(b"\n", None)
    monkeypatch.setattr(line.transport, "_receive", receive)
    assert not line.transport.is_in_step
    line.send(b"one\n")
    assert ask(line, b"two?\n", b"two\n") == b"two\n"


def test_counted_answer_that_is_late_is_dropped_whole(line: Line) -> None:
    line.transport.write(b"x?\n")
    with pytest.raises(QMI_TimeoutException):
        line.transport.read(4, 0.0)
    line.receive()
    line.send(b"12345678")
    assert ask(line, b"two?\n", b"two\n") == b"two\n"


def test_rest_of_an_answer_of_unknown_length_is_dropped(line: Line) -> None:
    line.transport.write(b"x?\n")
    line.receive()
    line.send(b"1234")
    assert line.transport.read_until_timeout(100, 0.02) == b"1234"
    line.send(b"5678")
    assert ask(line, b"two?\n", b"two\n") == b"two\n"


def test_unasked_bytes_put_no_transport_out_of_step(line: Line) -> None:
    with pytest.raises(QMI_TimeoutException):
        line.transport.read_until(b"\n", 0.0)
    assert line.transport.is_in_step
    line.send(b"tick\n")
    assert line.transport.read_until(b"\n", 5.0) == b"tick\n"


@pytest.mark.fault(56)
def test_answer_that_never_comes_makes_the_connection_anew() -> None:
    with tcp_line() as line:
        line.transport.configure(drain_timeout=0.0)
        miss(line, b"late?\n")
        assert ask(line, b"now?\n", b"now\n") == b"now\n"


def test_connection_is_made_anew_at_once_if_asked_for() -> None:
    with tcp_line() as line:
        line.transport.configure(out_of_step="reconnect")
        for number in range(20):
            miss(line, b"late?\n")
            line.send(b"late\n")
            assert ask(line, b"now?\n", b"now %d\n" % number) == b"now %d\n" % number


@pytest.mark.fault(56)
def test_answer_that_never_comes_at_a_serial_port_is_given_up() -> None:
    with serial_line() as line:
        line.transport.configure(drain_timeout=0.0)
        miss(line, b"late?\n")
        assert ask(line, b"now?\n", b"now\n") == b"now\n"


def test_late_answers_are_left_alone_if_asked_for(line: Line) -> None:
    line.transport.configure(out_of_step="ignore")
    miss(line, b"late?\n")
    line.send(b"late\n")
    assert ask(line, b"now?\n", b"now\n") == b"late\n"


def test_driver_can_say_how_to_get_in_step(line: Line) -> None:
    def resynchronize(transport: Any) -> None:
        transport.write(b"sync\n")
        assert line.receive() == b"sync\n"
        line.send(b"late\nsync\n")
        while transport.read_until(b"\n", 5.0) != b"sync\n":
            pass

    line.transport.configure(resynchronize=resynchronize)
    miss(line, b"late?\n")
    assert ask(line, b"now?\n", b"now\n") == b"now\n"


def test_driver_that_cannot_get_in_step_fails_the_next_question(line: Line) -> None:
    def resynchronize(transport: Any) -> None:
        raise QMI_OutOfStepException("no way")

    line.transport.configure(resynchronize=resynchronize)
    miss(line, b"late?\n")
    for _ in range(2):
        with pytest.raises(QMI_OutOfStepException, match="no way"):
            line.transport.write(b"now?\n")


def interrupt_write(transport: DeviceTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(data: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(transport, "_send", interrupted)
        with pytest.raises(KeyboardInterrupt):
            transport.write(b"VOLT 10\n")


@pytest.mark.fault(58)
def test_half_a_command_is_forgotten_with_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with tcp_line() as line:
        interrupt_write(line.transport, monkeypatch)
        assert ask(line, b"now?\n", b"now\n") == b"now\n"


@pytest.mark.fault(58)
def test_half_a_command_at_a_serial_port_stops_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with serial_line() as line:
        interrupt_write(line.transport, monkeypatch)
        for _ in range(2):
            with pytest.raises(QMI_OutOfStepException, match="part of a command"):
                line.transport.write(b"now?\n")
        line.transport.close()
        line.transport.open()
        assert ask(line, b"now?\n", b"now\n") == b"now\n"


@pytest.mark.fault(57)
@pytest.mark.parametrize("kind", ["tcp", "serial"])
def test_lost_connection_is_told_from_a_slow_one(kind: str) -> None:
    with line_to(kind) as line:
        read_from_a_lost(line)


def read_from_a_lost(line: Line) -> None:
    """Read in each way from a device that has gone."""
    line.send(b"last")
    assert line.transport.read_until_timeout(4, 5.0) == b"last"
    line.cut()
    reads: list[Callable[[], object]] = [
        lambda: line.transport.read(1, 5.0),
        lambda: line.transport.read_until(b"\n", None),
        lambda: line.transport.read_until_timeout(1, 5.0),
        lambda: line.transport.readinto(bytearray(1), 5.0),
    ]
    for read in reads:
        with pytest.raises(QMI_TransportLostException) as caught:
            read()
        assert isinstance(caught.value, QMI_EndOfInputException)
        assert isinstance(caught.value, OSError)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"out_of_step": "hope"}, "out_of_step must be one of drain, reconnect, ignore, got 'hope'"),
        ({"drain_timeout": -1}, "drain_timeout must be a number of seconds >= 0, got -1"),
        ({"drain_timeout": "x"}, "drain_timeout must be a number"),
        ({"reconnect": 3}, "reconnect must be True, False, a Reconnect or a question"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(QMI_InvalidValueException, match=complaint):
        DeviceTransport().configure(**options)


def test_late_answer_that_was_discarded_is_not_waited_for(line: Line) -> None:
    line.transport.configure(drain_timeout=60.0)
    miss(line, b"late?\n")
    line.send(b"late\n")
    line.transport.discard_read()
    assert line.transport.is_in_step
    assert ask(line, b"now?\n", b"now\n") == b"now\n"


@pytest.mark.parametrize("timeout", [0.0, 0.02])
def test_timeout_does_not_stay_for_the_next_read(line: Line, timeout: float) -> None:
    with pytest.raises(QMI_TimeoutException):
        line.transport.read(1, timeout)
    line.transport.write(b"x" * 10)
    line.send(b"y")
    assert line.transport.read(1, None) == b"y"


def test_device_that_takes_nothing_ends_a_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QMI_TcpTransport, "WRITE_TIMEOUT", 0.02)
    with tcp_line() as line:
        with pytest.raises(QMI_TimeoutException, match=r"took no byte for 0.02 s"):
            line.transport.write(b"x" * 50_000_000)
        # The device holds a part of it: the next command goes over a new connection.
        assert ask(line, b"now?\n", b"now\n") == b"now\n"


def test_host_that_cannot_be_reached_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectionRefusedError) as caught:
        QMI_TcpTransport("127.0.0.1", port).open()
    assert f"QMI_TcpTransport(remote=127.0.0.1:{port})" in caught.value.__notes__[0]


def test_host_that_does_not_answer_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(address: object, timeout: float | None) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", slow)
    with pytest.raises(QMI_TimeoutException, match=r"no connection to 127.0.0.1:5 within 3 s"):
        QMI_TcpTransport("127.0.0.1", 5, connect_timeout=3).open()


@pytest.mark.parametrize("kind", [QMI_TcpTransport, QMI_UdpTransport])
@pytest.mark.parametrize(("host", "port"), [("invalid_hostname", 22), ("192.168.1.300", 22), ("a", 0), ("a", 65536)])
def test_socket_transport_refuses_what_no_device_can_be_at(kind: Any, host: str, port: int) -> None:
    with pytest.raises(QMI_TransportDescriptorException, match="Invalid"):
        kind(host, port)


def test_udp_transport_refuses_the_port_of_contexts() -> None:
    with pytest.raises(QMI_TransportDescriptorException, match="35999 not allowed"):
        QMI_UdpTransport("127.0.0.1", 35999)
    with pytest.raises(QMI_TransportDescriptorException, match="Invalid local_port -1"):
        QMI_UdpTransport("127.0.0.1", 5, -1)


def test_udp_transport_listens_where_it_sends_to_by_default() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with QMI_UdpTransport("127.0.0.1", port) as transport:
        assert str(transport) == f"QMI_UdpTransport(remote=127.0.0.1:{port})"
        with pytest.raises(OSError, match="in use") as caught:
            QMI_UdpTransport("127.0.0.1", port).open()
    assert "could not be taken" in caught.value.__notes__[0]


def test_udp_datagrams_of_others_and_empty_ones_are_dropped() -> None:
    with line_to("udp") as line, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.2", 0))
        other.sendto(b"false\n", line.transport._safe_socket.getsockname())
        line.send(b"")
        line.send(b"true\n")
        assert line.transport.read_until(b"\n", 5.0) == b"true\n"
        with pytest.raises(QMI_TimeoutException):
            line.transport.read(1, 0.0)


def test_udp_datagram_is_read_whole_however_long_it_is() -> None:
    with line_to("udp") as line:
        data = bytes(range(256)) * 200
        line.send(data)
        assert line.transport.read(100, 5.0) == data[:100]
        assert line.transport.read(len(data) - 100, 5.0) == data[100:]


def test_datagram_that_is_too_long_is_refused_and_leaves_nothing_behind() -> None:
    with line_to("udp") as line:
        with pytest.raises(OSError, match="too long"):
            line.transport.write(b"x" * 70_000)
        assert ask(line, b"now?\n", b"now\n") == b"now\n"


def test_interrupted_datagram_may_have_been_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with line_to("udp") as line:
        interrupt_write(line.transport, monkeypatch)
        assert not line.transport.is_in_step
        line.send(b"late\n")
        assert ask(line, b"now?\n", b"now\n") == b"now\n"


def test_bytes_that_a_test_has_put_into_the_buffer_are_read(line: Line) -> None:
    line.transport._read_buffer = b"hello\nworld"
    assert line.transport.read_until(b"\n", 0.2) == b"hello\n"
    assert line.transport.read(5, 0.0) == b"world"


def test_transport_is_closed_if_it_is_opened_in_vain() -> None:
    closed = []

    class Failing(QMI_TcpTransport):
        def _connect(self) -> None:
            pass

        def _disconnect(self) -> None:
            closed.append(True)

        def _opened(self) -> None:
            raise ZeroDivisionError

    transport = Failing("127.0.0.1", 5)
    with pytest.raises(ZeroDivisionError):
        transport.open()
    assert closed == [True]
    with pytest.raises(QMI_InvalidOperationException):
        transport.close()

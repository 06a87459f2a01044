"""What users read when a descriptor, a transport or a device is not what a driver needs."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import serial

import qmi
from qmi.core.exceptions import (
    QMI_InstrumentException,
    QMI_InvalidOperationException,
    QMI_TimeoutException,
    QMI_TransportDescriptorException,
)
from qmi.core.instrument import AsyncTransportInstrument, TransportInstrument
from qmi.core.rpc import rpc_method
from qmi.core.transport import create_async_transport, create_transport
from qmi.devices.connecting import cannot_connect
from tests.support.device_ends import line_to


@pytest.mark.parametrize("create", [create_transport, create_async_transport])
@pytest.mark.parametrize(
    ("descriptor", "advice"),
    [
        ("TCPIP0::192.168.1.5::INSTR", "needs visa: before it; write visa:TCPIP0::192.168.1.5::INSTR"),
        ("TCPIP::192.168.1.5::5025::SOCKET", "write visa:TCPIP::192.168.1.5::5025::SOCKET"),
        ("GPIB0::7::INSTR", "write visa:GPIB0::7::INSTR"),
        ("GPIB::7::INSTR", "write visa:GPIB::7::INSTR"),
        ("USB0::0x0699::0x3000::C1::INSTR", "write visa:USB0::0x0699::0x3000::C1::INSTR"),
        ("ASRL1::INSTR", "write visa:ASRL1::INSTR"),
        ("serial:usb=0403:…", "usb= needs VID:PID or VID:PID:SERIAL"),
        ("serial:usb=0403:baudrate=9600", "usb= needs VID:PID or VID:PID:SERIAL"),
        ("serial:usb=:baudrate=9600", "usb= needs VID:PID or VID:PID:SERIAL"),
        ("serial:/dev/ttyUSB0:9600", "write baudrate=9600"),
        ("serial:usb=0403:6001:A1:9600", "write baudrate=9600"),
        ("usbtmc:0x0699:0x3000", "write usbtmc:vendorid=0x0699:productid=0x3000:serialnr="),
        ("usbtmc:vendorid=1", "write usbtmc:vendorid="),
        ("tcp://192.168.1.5:5025", "write tcp:192.168.1.5:5025, without //"),
        ("TCP://192.168.1.5:5025/", "write tcp:192.168.1.5:5025, without //"),
        ("udp://host", "write udp:host:PORT, without //"),
        ("tcp:127.0.0.1", "write tcp:HOST:PORT"),
        ("udp:127.0.0.1", "write udp:HOST:PORT"),
        ("tcp", "expected tcp:HOST:PORT"),
        ("gpib:1:2", "write gpib:ADDRESS"),
        ("/dev/ttyUSB0", "write serial:/dev/ttyUSB0:baudrate=9600"),
        ("COM3:baudrate=19200", "write serial:COM3:baudrate=19200"),
        ("192.168.1.5:5025", "write tcp:192.168.1.5:5025"),
        (None, 'A transport is a text such as "tcp:192.168.1.5:5025"; got None'),
        (5025, "got 5025"),
        (b"tcp:a:1", "got b'tcp:a:1'"),
    ],
)
def test_descriptor_that_cannot_be_understood_says_what_to_write(
    create: Callable[[Any], object], descriptor: Any, advice: str
) -> None:
    with pytest.raises(QMI_TransportDescriptorException) as caught:
        create(descriptor)
    assert advice in str(caught.value)
    assert repr(descriptor) in str(caught.value)


@pytest.mark.parametrize("descriptor", ["GPIB::7", "gpib::7", "visa:GPIB0::7::INSTR", "TCP:[::1]:5"])
def test_descriptor_that_looks_like_another_one_is_understood(descriptor: str) -> None:
    create_transport(descriptor)


class Psu(TransportInstrument):
    """A power supply."""

    @rpc_method
    def ask(self) -> bytes:
        self._transport.write(b"VOLT?\n")
        return self._transport.read_until(b"\n", 1.0)


class AsyncPsu(AsyncTransportInstrument):
    """The same in the event loop."""

    @rpc_method
    async def ask(self) -> bytes:
        await self._transport.write(b"VOLT?\n")
        return await self._transport.read_until(b"\n", 1.0)


class Fake:
    """What a test puts in the place of a transport."""

    def open(self) -> None: ...
    def close(self) -> None: ...
    def write(self, data: bytes) -> None: ...
    def read_until(self, message_terminator: bytes, timeout: float | None) -> bytes:
        return b"1\n"


@pytest.fixture
def context() -> Any:
    qmi.start("test", None, init_logging=False)
    yield qmi.context()
    qmi.stop()


@pytest.mark.parametrize("driver", [Psu, AsyncPsu])
@pytest.mark.parametrize("wrong", [None, 5025, ["tcp:a:1"], b"tcp:a:1"])
def test_instrument_refuses_what_is_no_transport(context: Any, driver: Any, wrong: object) -> None:
    with pytest.raises(QMI_TransportDescriptorException) as caught:
        qmi.make_instrument("psu", driver, wrong)
    assert f'A transport is a text such as "tcp:192.168.1.5:5025", or a transport; got {wrong!r}' in str(caught.value)


def test_instrument_takes_what_has_the_methods_of_a_transport(context: Any) -> None:
    fake: Any = Fake()
    psu = qmi.make_instrument("psu", Psu, fake)
    with psu:
        assert psu.ask() == b"1\n"


@pytest.mark.parametrize("driver", [Psu, AsyncPsu])
@pytest.mark.parametrize("descriptor", ["tcp:127.0.0.1:5025", "serial:COM3:baudrate=9600", "visa:ASRL1::INSTR"])
def test_instrument_that_is_not_open_is_named(context: Any, driver: Any, descriptor: str) -> None:
    psu = qmi.make_instrument("psu", driver, descriptor)
    with pytest.raises(QMI_InvalidOperationException, match=r"Instrument 'psu' is not open; call its open\(\) first"):
        psu.ask()


@pytest.mark.parametrize(
    ("met", "expected"),
    [
        ([ConnectionRefusedError(errno.ECONNREFUSED, "a")] * 2, ConnectionRefusedError),
        ([OSError(errno.ENETUNREACH, "a")], OSError),
        ([ConnectionRefusedError(errno.ECONNREFUSED, "a"), OSError(errno.ENETUNREACH, "b")], OSError),
        ([OSError("a"), OSError("a")], OSError),
    ],
)
def test_error_of_several_addresses_is_of_their_kind_if_they_have_one(met: list[OSError], expected: type) -> None:
    error = OSError("all attempts failed")
    error.__cause__ = ExceptionGroup("all", met)
    made = cannot_connect(error, "there:1")
    assert type(made) is expected
    alike = len({each.errno for each in met}) == 1
    assert made.errno == (met[0].errno if alike else None)
    assert "no connection to there:1: " in str(made)


@pytest.mark.parametrize("driver", [Psu, AsyncPsu])
def test_instrument_that_could_not_be_opened_says_why(context: Any, driver: Any, free_port: int) -> None:
    # The driver does not look whether it is open: its transport does.
    psu = qmi.make_instrument("psu", driver, f"tcp:127.0.0.1:{free_port}")
    with pytest.raises(
        ConnectionRefusedError, match=r"^\[Errno \d+\] [^:]+: no connection to .*: nothing listens there"
    ):
        psu.open()
    refused = rf"'psu' is not open; call its open\(\) first \(.* is closed; opening it failed: .*:{free_port}: nothing"
    with pytest.raises(QMI_InvalidOperationException, match=refused):
        psu.ask()
    with socket.create_server(("127.0.0.1", free_port)):
        psu.open()
        psu.close()
    with pytest.raises(QMI_InvalidOperationException, match=r"'psu' is not open; .* is closed\)$"):
        psu.ask()


@pytest.mark.parametrize("kind", ["tcp", "serial"])
def test_timeout_says_how_long_where_and_what_came(kind: str) -> None:
    with line_to(kind) as line:
        line.send(b"half an ans")
        with pytest.raises(QMI_TimeoutException) as caught:
            line.transport.read_until(b"\n", 0.02)
        text = str(caught.value)
        assert text.startswith("Timeout after 11 bytes without message terminator b'\\n' from QMI_")
        assert f"{kind}:" in text
        assert text.endswith("within 0.02 s; received so far: b'half an ans'")
        with pytest.raises(QMI_TimeoutException, match=r"within 0.01 s; received so far: b'half an ans'"):
            line.transport.readinto(bytearray(20), 0.01)


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def test_device_that_is_off_is_told_with_its_address(free_port: int) -> None:
    with pytest.raises(ConnectionRefusedError) as caught:
        create_transport(f"tcp:127.0.0.1:{free_port}").open()
    assert f"127.0.0.1:{free_port}: nothing listens there: is it on, is the port right?" in str(caught.value)
    assert caught.value.errno


async def test_async_device_that_is_off_is_told_with_its_address(free_port: int) -> None:
    with pytest.raises(OSError, match="is it on") as caught:
        await create_async_transport(f"tcp:127.0.0.1:{free_port}").open()
    assert f"127.0.0.1:{free_port}: nothing listens there: is it on, is the port right?" in str(caught.value)


def test_host_that_is_unknown_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for kind in ("tcp", "udp"):
        with pytest.raises(socket.gaierror, match=r"no connection to psu\.lab:5025: there is no host of that name"):
            create_transport(f"{kind}:psu.lab:5025").open()


def visa_fails_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    class Manager:
        def open_resource(self, name: str, **options: object) -> None:
            raise error

    monkeypatch.setattr("qmi.devices.visa.visa_manager", lambda backend: Manager())


@pytest.mark.parametrize("descriptor", ["vxi11:127.0.0.1", "visa:TCPIP::127.0.0.1::hislip0::INSTR"])
@pytest.mark.parametrize(
    ("error", "kind", "advice"),
    [
        (ConnectionRefusedError(111, "Connection refused"), ConnectionRefusedError, "nothing listens there: is it on"),
        (OSError(113, "No route to host"), OSError, "is it on, is the address right?"),
        (RuntimeError("VI_ERROR_RSRC_NFOUND"), QMI_InstrumentException, "is it on, is the address right?"),
    ],
)
def test_visa_device_that_is_off_is_told_with_its_address(
    monkeypatch: pytest.MonkeyPatch, descriptor: str, error: Exception, kind: type[Exception], advice: str
) -> None:
    visa_fails_with(monkeypatch, error)
    with pytest.raises(kind) as caught:
        create_transport(descriptor).open()
    assert "TCPIP::127.0.0.1::" in str(caught.value)
    assert advice in str(caught.value)


def test_host_of_a_visa_device_that_is_unknown_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    visa_fails_with(monkeypatch, OSError(9, "Bad file descriptor"))
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(OSError, match=r"TCPIP::psu\.lab::inst0::INSTR: there is no host of that name"):
        create_transport("vxi11:psu.lab").open()


def test_serial_port_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(serial.SerialException, match=r"there is no serial port .*none; list_transports\(\)") as caught:
        create_transport(f"serial:{tmp_path}/none:baudrate=9600").open()
    assert caught.value.errno

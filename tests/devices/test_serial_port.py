from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import serial
import serial.tools.list_ports

from qmi.core.exceptions import (
    QMI_TimeoutException,
    QMI_TransportDescriptorException,
    QMI_TransportLostException,
)
from qmi.core.transport import FoundTransport, QMI_SerialTransport, create_transport, list_transports
from tests.support.device_ends import line_to
from tests.support.usbtmc_device import UsbTmcBackend


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"device": "ttyS0"}, "Unknown serial port device path 'ttyS0'"),
        ({"device": "./x"}, "expected /dev/..., COM... or usb="),
        ({"device": "usb=12345:1"}, "expected usb=VID:PID"),
        ({"baudrate": None}, "Missing baud rate"),
        ({"baudrate": 0}, "Invalid baud rate 0"),
        ({"bytesize": 9}, "bytesize 9: expected 5, 6, 7 or 8"),
        ({"parity": "e"}, "parity specification 'e': expected N, E or O"),
        ({"stopbits": 1.4}, r"stopbits 1.4: expected 1, 1.5 or 2"),
        ({"rtscts": 3.14}, r"rtscts 3.14: expected True or False"),
    ],
)
def test_serial_transport_refuses_what_no_port_can_be(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(QMI_TransportDescriptorException, match=complaint):
        QMI_SerialTransport(**{"device": "COM3", "baudrate": 9600, **options})


def test_port_that_is_not_there_is_told() -> None:
    with pytest.raises(serial.SerialException, match="/dev/nope"):
        QMI_SerialTransport("/dev/nope", 9600).open()


def test_device_that_is_unplugged_is_lost_for_those_who_catch_either() -> None:
    with line_to("serial") as line:
        line.transport.write(b"x?\n")
        line.cut()
        with pytest.raises(QMI_TransportLostException) as caught:
            line.transport.read_until(b"\n", 5.0)
        assert isinstance(caught.value, serial.SerialException)
        with pytest.raises(QMI_TransportLostException):
            line.transport.write(b"x?\n")


def test_read_leaves_what_it_does_not_need_in_the_port() -> None:
    with line_to("serial") as line:
        line.send(b"123456")
        assert line.transport.read(2, 5.0) == b"12"
        assert line.transport._safe_serial.in_waiting == 4


@pytest.fixture
def port() -> Any:
    """A port that is no file descriptor, as on Windows."""
    with patch("serial.Serial", autospec=True) as made, QMI_SerialTransport("COM3", 9600) as transport:
        yield SimpleNamespace(serial=made.return_value, transport=transport, made=made)


def test_port_is_opened_as_described(port: Any) -> None:
    port.made.assert_called_once_with(
        "COM3", baudrate=9600, bytesize=8, parity="N", stopbits=1.0, rtscts=False, timeout=0.04
    )
    port.transport.discard_read()
    port.serial.reset_input_buffer.assert_called_once_with()


def test_port_without_a_descriptor_is_asked(port: Any) -> None:
    port.serial.read.side_effect = [b"", b"hel", b"lo"]
    assert port.transport.read(5, None) == b"hello"
    assert [call.args for call in port.serial.read.call_args_list] == [(5,), (5,), (2,)]
    port.serial.read.side_effect = [b"a;b;"]
    port.serial.in_waiting = 4
    assert port.transport.read_until(b";", None) == b"a;"
    assert port.transport.read_until(b";", None) == b"b;"
    port.serial.read.side_effect = lambda size: b""
    with pytest.raises(QMI_TimeoutException):
        port.transport.read(1, 0.001)
    port.serial.in_waiting = 0
    with pytest.raises(QMI_TimeoutException):
        port.transport.read(1, 0)
    port.serial.in_waiting = 1
    port.serial.read.side_effect = lambda size: b"a"
    with pytest.raises(QMI_TimeoutException):
        port.transport.read_until(b",", 0.001)
    port.serial.read.side_effect = serial.SerialException("gone")
    with pytest.raises(QMI_TransportLostException, match="gone"):
        port.transport.read(1000, 1)


# By what they say that they are.


def usb_port(device: str, vid: int | None, pid: int | None, number: str | None, text: str = "") -> Any:
    return SimpleNamespace(device=device, vid=vid, pid=pid, serial_number=number, description=text)


PORTS = [
    usb_port("/dev/ttyUSB1", 0x0403, 0x6001, "B", "FT232R"),
    usb_port("/dev/ttyUSB0", 0x0403, 0x6001, "A"),
    usb_port("/dev/ttyACM0", 0x2341, 0x0043, None),
    usb_port("/dev/ttyACM1", 0x2341, 0x0043, None),
    usb_port("/dev/ttyACM2", 0x1A86, 0x7523, None, "CH340"),
    usb_port("/dev/ttyS0", None, None, None, "ttyS0"),
]


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    there = list(PORTS)
    monkeypatch.setattr(serial.tools.list_ports, "comports", lambda: there)
    return there


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("usb=0403:6001:A", "/dev/ttyUSB0"),
        ("usb=0x0403:0x6001:B", "/dev/ttyUSB1"),
        ("usb=1a86:7523", "/dev/ttyACM2"),
        ("usb=1A86:7523", "/dev/ttyACM2"),
    ],
)
def test_usb_device_is_found_at_whatever_port_it_is(
    text: str, device: str, ports: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def refuse(port: str, **options: Any) -> None:
        opened.append(port)
        raise serial.SerialException("seen")

    monkeypatch.setattr(serial, "Serial", refuse)
    transport = create_transport(f"serial:{text}:baudrate=9600")
    with pytest.raises(serial.SerialException, match="seen"):
        transport.open()
    assert opened == [device]


def test_usb_device_that_is_not_there_is_told_with_those_that_are(ports: list[Any]) -> None:
    with pytest.raises(QMI_TransportLostException, match=r"no serial port of usb=0403:6001:C; there are .*:A.*:B"):
        create_transport("serial:usb=0403:6001:C:baudrate=9600").open()
    ports.clear()
    with pytest.raises(QMI_TransportLostException, match="there are none"):
        create_transport("serial:usb=0403:6001:C:baudrate=9600").open()


def test_usb_device_that_is_not_the_only_one_needs_its_serial_number(ports: list[Any]) -> None:
    with pytest.raises(QMI_TransportDescriptorException, match=r"Several serial ports are .*ttyUSB0.*add the serial"):
        create_transport("serial:usb=0403:6001:baudrate=9600").open()


def test_transports_are_listed_by_what_stays_the_same(
    ports: list[Any], usb_backend: Callable[[UsbTmcBackend], None]
) -> None:
    usb_backend(UsbTmcBackend())
    assert list_transports() == [
        FoundTransport("serial:/dev/ttyACM0", "/dev/ttyACM0"),
        FoundTransport("serial:/dev/ttyACM1", "/dev/ttyACM1"),
        FoundTransport("serial:usb=1a86:7523", "/dev/ttyACM2: CH340"),
        FoundTransport("serial:/dev/ttyS0", "/dev/ttyS0: ttyS0"),
        FoundTransport("serial:usb=0403:6001:A", "/dev/ttyUSB0"),
        FoundTransport("serial:usb=0403:6001:B", "/dev/ttyUSB1: FT232R"),
        FoundTransport("usbtmc:vendorid=0x1313:productid=0x8078:serialnr=P0001", "USB test and measurement device"),
    ]


def test_transports_in_the_network_are_listed_only_if_asked_for(
    ports: list[Any], monkeypatch: pytest.MonkeyPatch, usb_backend: Callable[[UsbTmcBackend], None]
) -> None:
    usb_backend(UsbTmcBackend())
    names = ["ASRL/dev/ttyS0::INSTR", "USB0::1::2::3::INSTR", "TCPIP::1.2.3.4::INSTR"]
    monkeypatch.setattr("qmi.devices.discovery.visa_resources", lambda: names)
    ports.clear()
    assert [found.descriptor for found in list_transports(network=True)][1:] == ["visa:TCPIP::1.2.3.4::INSTR"]
    assert len(list_transports()) == 1


def test_transports_are_listed_without_visa(ports: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyvisa", None)
    ports[:] = PORTS[-1:]
    assert list_transports() == [FoundTransport("serial:/dev/ttyS0", "/dev/ttyS0: ttyS0")]


@pytest.mark.parametrize("said", ["n/a", "", None])
def test_port_of_which_the_system_says_nothing_is_listed_by_its_name(ports: list[Any], said: Any) -> None:
    ports[:] = [usb_port("/dev/ttyS0", None, None, None, said)]
    assert list_transports() == [FoundTransport("serial:/dev/ttyS0", "/dev/ttyS0")]

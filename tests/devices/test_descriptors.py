from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from qmi.core.exceptions import QMI_TransportDescriptorException
from qmi.core.transport import (
    GpibTransportDescriptorParser,
    SerialTransportDescriptorParser,
    TcpTransportDescriptorParser,
    TransportDescriptorParser,
    UdpTransportDescriptorParser,
    UsbTmcTransportDescriptorParser,
    VisaTransportDescriptorParser,
    Vxi11TransportDescriptorParser,
)
from qmi.devices.descriptors import is_valid_host, options_of

SERIAL, UDP, TCP = SerialTransportDescriptorParser, UdpTransportDescriptorParser, TcpTransportDescriptorParser
USBTMC, GPIB, VXI11 = UsbTmcTransportDescriptorParser, GpibTransportDescriptorParser, Vxi11TransportDescriptorParser
VISA = VisaTransportDescriptorParser


@pytest.mark.parametrize(
    ("parser", "text", "defaults", "expected"),
    [
        (SERIAL, "serial:/dev/ttyS0:baudrate=9600", {}, {"device": "/dev/ttyS0", "baudrate": 9600}),
        (SERIAL, "SERIAL:COM3:baudrate=0x10", {}, {"device": "COM3", "baudrate": 16}),
        (SERIAL, "serial:baudrate=9600:/dev/ttyS0:", {}, {"device": "/dev/ttyS0", "baudrate": 9600}),
        (SERIAL, "serial:COM3:baudrate=1:baudrate=2", {}, {"device": "COM3", "baudrate": 2}),
        (
            SERIAL,
            "serial:COM3:baudrate=120:bytesize=7:parity=E:stopbits=1.5:rtscts=True",
            {"baudrate": 9, "rtscts": False, "port": 3, "timeout": 2.0},
            {"device": "COM3", "baudrate": 120, "bytesize": 7, "parity": "E", "stopbits": 1.5, "rtscts": True},
        ),
        (SERIAL, "serial:COM3:rtscts=false", {"baudrate": 9}, {"device": "COM3", "baudrate": 9, "rtscts": False}),
        (SERIAL, "serial:usb=0403:6001:A9XYZ:baudrate=9", {}, {"device": "usb=0403:6001:A9XYZ", "baudrate": 9}),
        (SERIAL, "serial:usb=0x0403:6001:baudrate=9", {}, {"device": "usb=0x0403:6001", "baudrate": 9}),
        (SERIAL, "serial:usb=0403:6001", {}, {"device": "usb=0403:6001"}),
        (TCP, "tcp:localhost:1234", {}, {"host": "localhost", "port": 1234}),
        (TCP, "tcp:[2620:0:2d0:200::8]:5000", {}, {"host": "2620:0:2d0:200::8", "port": 5000}),
        (TCP, "tcp:[::1]", {"port": 5}, {"host": "::1", "port": 5}),
        (TCP, "tcp:a:21:connect_timeout=1", {"port": 5}, {"host": "a", "port": 21, "connect_timeout": 1.0}),
        (TCP, "tcp:a:21:reconnect=*IDN?:out_of_step=drain", {}, {"host": "a", "port": 21}),
        (UDP, "udp:a:21:local_port=0", {"connect_timeout": 3}, {"host": "a", "port": 21, "local_port": 0}),
        (
            USBTMC,
            "usbtmc:vendorid=0x0699:productid=12288:serialnr=X=Y",
            {},
            {"vendorid": 0x699, "productid": 0x3000, "serialnr": "X=Y"},
        ),
        (USBTMC, "usbtmc:vendorid=1:productid=2:serialnr=", {}, {"vendorid": 1, "productid": 2, "serialnr": ""}),
        (
            GPIB,
            "gpib:board=0:1:secondary_addr=2:connect_timeout=3.0",
            {},
            {"board": 0, "primary_addr": 1, "secondary_addr": 2, "connect_timeout": 3.0},
        ),
        (VXI11, "vxi11:localhost", {"port": 3}, {"host": "localhost"}),
        (VXI11, "vxi11:localhost:name=gpib0,5", {}, {"host": "localhost", "name": "gpib0,5"}),
        (VISA, "visa:TCPIP::1.2.3.4::hislip0::INSTR", {}, {"resource": "TCPIP::1.2.3.4::hislip0::INSTR"}),
        (VISA, "visa:ASRL2::INSTR@sim", {}, {"resource": "ASRL2::INSTR", "backend": "@sim"}),
        (
            VISA,
            "visa:ASRL2::INSTR:backend=/a/b.yaml@sim:connect_timeout=2:reconnect=True",
            {},
            {"resource": "ASRL2::INSTR", "backend": "/a/b.yaml@sim", "connect_timeout": 2.0},
        ),
    ],
)
def test_descriptor_gives_its_values(
    parser: TransportDescriptorParser, text: str, defaults: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert parser.match_interface(text)
    assert parser.parse_parameter_strings(text, defaults) == expected


@pytest.mark.parametrize(
    ("parser", "text", "complaint"),
    [
        (SERIAL, "serial", "Invalid transport descriptor"),
        (SERIAL, "serial:", "Invalid transport descriptor"),
        (SERIAL, "", "Invalid transport descriptor"),
        (SERIAL, ":", "Invalid transport descriptor"),
        (SERIAL, "serial::baudrate=9600", "Missing required parameter.s. device"),
        (SERIAL, "serial:COM1:baudrate=fast", "baudrate=fast: expected an integer"),
        (SERIAL, "serial:COM1:baudrate=", "baudrate=: expected an integer"),
        (SERIAL, "serial:COM1:baudrate=9600=3", "baudrate=9600=3"),
        (SERIAL, "serial:COM1:stopbits=x", "stopbits=x: expected a number"),
        (SERIAL, "serial:COM1:rtscts=0", "rtscts=0: expected True or False"),
        (SERIAL, "serial:COM1:spin=up", "Unexpected keyword 'spin'.*serial knows device|baudrate"),
        (SERIAL, "serial:COM1:9600", "Unexpected value '9600'"),
        (TCP, "tcp:localhost", "Missing required parameter.s. port"),
        (TCP, "tcp::22", "Missing required parameter.s. port"),
        (TCP, "tcp:localhost:port=22", "Unexpected keyword 'port'"),
        (TCP, "tcp:localhost:22:33", "Unexpected value '33'"),
        (TCP, "tcp:localhost:1.5", "port=1.5: expected an integer"),
        (UDP, "udp:localhost:77:connect_timeout=3", "Unexpected keyword 'connect_timeout'"),
        (USBTMC, "usbtmc:vendorid=1:productid=2", "Missing required parameter.s. serialnr"),
        (USBTMC, "usbtmc:serialnr=2", "Missing required parameter.s. vendorid, productid"),
        (USBTMC, "usbtmc:vendorid=ab:productid=1:serialnr=3", "vendorid=ab: expected an integer"),
        (GPIB, "gpib", "Invalid transport descriptor"),
        (VISA, "visa:", "Missing required parameter.s. resource"),
    ],
)
def test_descriptor_that_makes_no_sense_is_refused(
    parser: TransportDescriptorParser, text: str, complaint: str
) -> None:
    with pytest.raises(QMI_TransportDescriptorException, match=complaint):
        parser.parse_parameter_strings(text)


def test_descriptor_of_another_kind_does_not_match() -> None:
    assert not TCP.match_interface("tcpx:localhost:1")
    assert not UDP.match_interface("tcp:localhost:1")


def test_descriptor_options_are_found_in_every_kind() -> None:
    assert options_of("tcp:a:1:reconnect=*IDN?:drain_timeout=0.5") == {"reconnect": "*IDN?", "drain_timeout": 0.5}
    assert options_of("visa:ASRL1::INSTR:out_of_step=ignore") == {"out_of_step": "ignore"}
    assert options_of("serial:usb=1:2:baudrate=9") == {}
    with pytest.raises(QMI_TransportDescriptorException, match="drain_timeout=long"):
        options_of("tcp:a:1:drain_timeout=long")


@pytest.mark.parametrize("host", ["localhost", "lab-pc.example.org", "a.b.c.", "1.2.3.4", "::1", "fe80::1%eth0", "x1"])
def test_host_is_a_name_or_an_address(host: str) -> None:
    assert is_valid_host(host)


@pytest.mark.parametrize(
    "host", ["", "invalid_hostname", "192.168.1.300", "1.2.3", "-a", "a-", "host name", " a", "zz::1", "a" * 64, "a..b"]
)
def test_host_that_cannot_be_is_none(host: str) -> None:
    assert not is_valid_host(host)


def test_libraries_of_transports_are_imported_when_one_is_opened() -> None:
    program = (
        "import sys\n"
        "from qmi.core.transport import create_transport\n"
        "import qmi.core.scpi_protocol\n"
        "create_transport('serial:COM3:baudrate=9600')\n"
        "create_transport('visa:GPIB::1::INSTR')\n"
        "print(sorted({'serial', 'pyvisa', 'usb', 'numpy'} & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    assert run.stdout == "[]\n"

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import pyvisa

import qmi.core.instrument
import qmi.core.transport
import qmi.core.transport_gpib_visa
import qmi.core.transport_usbtmc_visa
import qmi.core.vxi11
from qmi.core.exceptions import (
    QMI_EndOfInputException,
    QMI_InstrumentException,
    QMI_MissingLibraryException,
    QMI_TimeoutException,
    QMI_TransportDescriptorException,
    QMI_TransportLostException,
)
from qmi.core.scpi_protocol import ScpiProtocol
from qmi.core.transport import (
    DeviceTransport,
    QMI_GpibTransport,
    QMI_UsbTmcTransport,
    QMI_VisaTransport,
    create_transport,
    list_usbtmc_transports,
)
from qmi.devices.visa import VisaDevice
from tests.support.hislip_server import hislip_device
from tests.support.usbtmc_device import UsbTmcBackend
from tests.support.vxi11_server import Vxi11Device, vxi11_device

ROUNDS = pytest.mark.parametrize("rounds", [100, pytest.param(1000, marks=pytest.mark.slow)])
SIM = Path(__file__).with_name("sim.yaml")


@pytest.fixture
def usb_device(usb_backend: Callable[[UsbTmcBackend], None]) -> UsbTmcBackend:
    backend = UsbTmcBackend()
    usb_backend(backend)
    return backend


@pytest.mark.parametrize(
    ("resource", "command_terminator"),
    [
        ("GPIB0::8::INSTR", "\n"),
        ("USB0::0x1111::0x2222::SN1::0::INSTR", "\n"),
        ("ASRL2::INSTR", "\r\n"),
        ("TCPIP0::localhost::10001::SOCKET", "\n"),
        ("TCPIP0::localhost::inst0::INSTR", "\n"),
    ],
)
def test_visa_transport_talks_to_a_simulated_resource(resource: str, command_terminator: str) -> None:
    with create_transport(f"visa:{resource}:backend={SIM}@sim") as transport:
        transport.configure(drain_timeout=0.02)
        scpi = ScpiProtocol(transport, command_terminator, default_timeout=2.0)
        assert scpi.ask("*IDN?") == "ACME,Meter,1,2.0"
        scpi.write("VOLT 2.5")
        transport.discard_read()
        assert scpi.ask("VOLT?") == "2.5"
        transport.write(f"VOLT?{command_terminator}".encode())
        assert transport.read(3, 2.0) == b"2.5"
        with pytest.raises((QMI_TimeoutException, QMI_EndOfInputException)):
            transport.read(10, 0.01)
        assert scpi.ask("*IDN?") == "ACME,Meter,1,2.0"


def test_visa_resource_that_is_not_there_is_told() -> None:
    transport = create_transport(f"visa:GPIB0::x::INSTR:backend={SIM}@sim")
    with pytest.raises(QMI_InstrumentException, match=r"GPIB0::x::INSTR cannot be opened"):
        transport.open()


def test_gpib_transport_names_its_resource() -> None:
    assert str(create_transport("gpib:1")) == "QMI_GpibTransport GPIB::1::INSTR"
    transport = create_transport("gpib:board=0:8:secondary_addr=2")
    assert isinstance(transport, QMI_GpibTransport)
    assert str(transport) == "QMI_GpibTransport GPIB0::8::2::INSTR"
    with QMI_GpibTransport(8, 0, backend=f"{SIM}@sim") as opened:
        assert ScpiProtocol(opened, default_timeout=2.0).ask("*IDN?") == "ACME,Meter,1,2.0"
    with pytest.raises(QMI_TransportDescriptorException, match="primary address 31: expected 0 to 30"):
        create_transport("gpib:31")


@pytest.mark.parametrize(
    ("library", "descriptor", "install"),
    [
        ("pyvisa", "visa:GPIB::1::INSTR", r"pip install 'qmi-trio\[visa\]'"),
        ("pyvisa", "usbtmc:vendorid=1:productid=2:serialnr=3", r"pip install 'qmi-trio\[visa\]'"),
        ("pyvisa", "vxi11:127.0.0.1", r"pip install 'qmi-trio\[visa\]'"),
        ("serial", "serial:/dev/ttyS99:baudrate=9600", "pip install 'pyserial'"),
    ],
)
def test_missing_library_is_named_with_what_installs_it(
    library: str, descriptor: str, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = create_transport(descriptor)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(QMI_MissingLibraryException, match=install) as caught:
        transport.open()
    assert isinstance(caught.value, ImportError)


# USBTMC.


def usbtmc(device: UsbTmcBackend, serial: str = "P0001") -> Any:
    return create_transport(f"usbtmc:vendorid=0x1313:productid=0x8078:serialnr={serial}")


@pytest.mark.parametrize("serial", ["P0001", ""])
def test_usbtmc_transport_asks_and_reads_messages(usb_device: UsbTmcBackend, serial: str) -> None:
    usb_device.answers = {b"*IDN?\n": b"ACME\n", b"CURV?\n": b"#3100" + bytes(range(100)) + b"\n"}
    with usbtmc(usb_device, serial) as transport:
        scpi = ScpiProtocol(transport, default_timeout=2.0)
        assert scpi.ask("*IDN?") == "ACME"
        scpi.write("CURV?")
        assert scpi.read_binary_data() == bytes(range(100))
        array = scpi.ask_array("CURV?")
        assert bytes(array) == bytes(range(100))
        transport.write(b"x" * 1000)
    assert usb_device.written == [b"*IDN?\n", b"CURV?\n", b"CURV?\n", b"x" * 1000]


def test_usbtmc_message_that_is_too_short_is_told(usb_device: UsbTmcBackend) -> None:
    usb_device.answers = {b"?": b"12"}
    with usbtmc(usb_device) as transport:
        transport.write(b"?")
        with pytest.raises(QMI_EndOfInputException, match=r"2 bytes where 5 were expected"):
            transport.read(5, 1.0)
        assert transport.read(1, 1.0) == b"1"
        # What is left of a message is not taken for the next one.
        transport.write(b"?")
        assert transport.read_until(b"\n", 1.0) == b"12"


def test_usbtmc_long_answer_comes_whole(usb_device: UsbTmcBackend) -> None:
    answer = bytes(range(256)) * 400 + b"\n"
    usb_device.answers = {b"?": answer}
    with usbtmc(usb_device) as transport:
        transport.write(b"?")
        assert transport.read_until(b"\n", 2.0) == answer


def test_usbtmc_devices_are_listed_by_their_numbers(usb_device: UsbTmcBackend) -> None:
    assert list_usbtmc_transports() == ["usbtmc:vendorid=0x1313:productid=0x8078:serialnr=P0001"]
    assert QMI_UsbTmcTransport.list_resources() == list_usbtmc_transports()


def test_usbtmc_device_that_is_not_there_is_told(usb_device: UsbTmcBackend) -> None:
    with pytest.raises(QMI_TransportLostException, match=r"1313:8078 \(P0002\) cannot be opened: it is not there"):
        usbtmc(usb_device, "P0002").open()


@pytest.mark.fault(56)
@ROUNDS
def test_usbtmc_late_answer_is_never_taken_for_that_of_the_next_question(
    usb_device: UsbTmcBackend, rounds: int
) -> None:
    with usbtmc(usb_device) as transport:
        for number in range(rounds):
            transport.write(b"late?\n")
            with pytest.raises(QMI_TimeoutException):
                transport.read_until(b"\n", 0.001)
            usb_device.output.append(b"late\n")
            usb_device.answers[b"now?\n"] = b"now %d\n" % number
            transport.write(b"now?\n")
            assert transport.read_until(b"\n", 1.0) == b"now %d\n" % number


@pytest.mark.fault(57)
def test_usbtmc_device_that_is_unplugged_comes_back(usb_device: UsbTmcBackend) -> None:
    usb_device.answers = {b"*IDN?\n": b"ACME\n"}
    with usbtmc(usb_device) as transport:
        transport.configure(reconnect=True)
        usb_device.is_there = False
        with pytest.raises(QMI_TransportLostException):
            transport.write(b"*IDN?\n")
        usb_device.is_there = True
        assert ScpiProtocol(transport, default_timeout=1.0).ask("*IDN?") == "ACME"


# VXI-11.


@pytest.fixture(
    params=[pytest.param(True, id="clears"), pytest.param(False, id="cannot clear", marks=pytest.mark.slow)]
)
def vxi11(request: pytest.FixtureRequest) -> Iterator[tuple[Vxi11Device, DeviceTransport]]:
    with (
        vxi11_device(request.param) as (device, port),
        create_transport(f"vxi11:127.0.0.1:rpc_port={port}") as transport,
    ):
        yield device, transport


def test_vxi11_transport_asks_and_reads(vxi11: tuple[Vxi11Device, DeviceTransport]) -> None:
    device, transport = vxi11
    device.answers = {b"*IDN?\n": b"ACME\n", b"CURV?\n": b"#6200000" + bytes(200_000) + b"\n"}
    scpi = ScpiProtocol(transport, default_timeout=2.0)
    assert scpi.ask("*IDN?") == "ACME"
    assert len(scpi.ask_array("CURV?", "<i2")) == 100_000
    assert device.links == ["inst0"]
    transport.write(b"CURV?\n")
    transport.discard_read()
    assert scpi.ask("*IDN?") == "ACME"


@pytest.mark.fault(56)
@ROUNDS
def test_vxi11_late_answer_is_never_taken_for_that_of_the_next_question(
    vxi11: tuple[Vxi11Device, DeviceTransport], rounds: int
) -> None:
    device, transport = vxi11
    for number in range(rounds):
        transport.write(b"late?\n")
        with pytest.raises(QMI_TimeoutException):
            transport.read_until(b"\n", 0.001)
        device.answer(b"late\n")
        device.answers[b"now?\n"] = b"now %d\n" % number
        transport.write(b"now?\n")
        assert transport.read_until(b"\n", 1.0) == b"now %d\n" % number
    assert device.clears == (rounds if device.can_clear else 0)


def test_visa_transport_reaches_the_same_device(vxi11: tuple[Vxi11Device, DeviceTransport]) -> None:
    device, other = vxi11
    device.answers = {b"*IDN?\n": b"ACME\n"}
    with create_transport(f"visa:TCPIP::127.0.0.1,{other._rpc_port}::gpib0,5::INSTR@py") as transport:  # type: ignore[attr-defined]
        assert isinstance(transport, QMI_VisaTransport)
        assert ScpiProtocol(transport, default_timeout=2.0).ask("*IDN?") == "ACME"
    assert device.links == ["inst0", "gpib0,5"]


@pytest.mark.slow
@pytest.mark.fault(57)
def test_vxi11_connection_that_is_cut_is_lost_and_comes_back(
    vxi11: tuple[Vxi11Device, DeviceTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    device, transport = vxi11
    device.answers = {b"*IDN?\n": b"ACME\n"}
    # pyvisa-py notices the end of a connection by its timeout alone.
    monkeypatch.setattr(VisaDevice, "WRITE_TIMEOUT", 0.05)
    transport.configure(reconnect="*IDN?")
    device.connections[0].shutdown(2)
    with pytest.raises(QMI_TransportLostException):
        ScpiProtocol(transport, default_timeout=1.0).ask("*IDN?")
    assert ScpiProtocol(transport, default_timeout=1.0).ask("*IDN?") == "ACME"


# A device that is made here, for what no simulator does: GPIB.


class FakeGpib:
    """A device at the end of a bus, with the calls that a transport makes."""

    def __init__(self) -> None:
        self.timeout: float | None = None
        self.output: list[bytes] = []
        self.answers: dict[bytes, bytes] = {}

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def clear(self) -> None:
        self.output.clear()

    def write_raw(self, data: bytes) -> None:
        self.output += [self.answers[data]] if data in self.answers else []

    def read_raw(self, num: int = -1) -> bytes:
        if not self.output:
            raise QMI_TimeoutException("nothing")
        return self.output.pop(0)


@pytest.mark.fault(56)
@ROUNDS
def test_gpib_late_answer_is_never_taken_for_that_of_the_next_question(
    monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    device = FakeGpib()
    device.is_stream = False  # type: ignore[attr-defined]
    monkeypatch.setattr(QMI_GpibTransport, "_make_device", lambda self: device)
    with QMI_GpibTransport(8) as transport:
        for number in range(rounds):
            transport.write(b"late?\n")
            with pytest.raises(QMI_TimeoutException):
                transport.read_until(b"\n", 0.0)
            device.output.append(b"late\n")
            device.answers[b"now?\n"] = b"now %d\n" % number
            transport.write(b"now?\n")
            assert transport.read_until(b"\n", 1.0) == b"now %d\n" % number


# What PyVISA says in its many ways.


class Resource:
    """A resource of PyVISA that fails."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.timeout: float | None = None

    def write_raw(self, data: object = None) -> None:
        raise self.error

    read_raw = read_bytes = clear = close = write_raw


def failing(error: BaseException) -> VisaDevice:
    device = VisaDevice("TCPIP::1.2.3.4::INSTR")
    device._pyvisa = pyvisa
    resource: Any = Resource(error)
    device._visa = resource
    return device


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (pyvisa.errors.VisaIOError(pyvisa.constants.StatusCode.error_timeout), QMI_TimeoutException),
        (pyvisa.errors.VisaIOError(pyvisa.constants.StatusCode.error_connection_lost), QMI_TransportLostException),
        (pyvisa.errors.VisaIOError(pyvisa.constants.StatusCode.error_io), QMI_TransportLostException),
        (pyvisa.errors.VisaIOError(pyvisa.constants.StatusCode.error_resource_locked), QMI_InstrumentException),
        (pyvisa.errors.InvalidSession(), QMI_InstrumentException),
        (TimeoutError("timed out"), QMI_TimeoutException),
        (BrokenPipeError("broken"), QMI_TransportLostException),
        (EOFError(), QMI_TransportLostException),
        (RuntimeError("Connection was dropped by server."), QMI_TransportLostException),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_errors_of_pyvisa_become_those_of_transports(error: BaseException, expected: type[BaseException]) -> None:
    calls: list[Callable[[VisaDevice], object]] = [
        lambda device: device.write_raw(b""),
        lambda device: device.read_raw(),
        lambda device: device.read_count(1),
        lambda device: device.clear(),
    ]
    for call in calls:
        with pytest.raises(expected):
            call(failing(error))
    with pytest.raises(expected):
        failing(error).close()


def test_visa_device_that_is_not_open_is_lost() -> None:
    with pytest.raises(QMI_TransportLostException, match="is not open"):
        VisaDevice("TCPIP::1.2.3.4::INSTR").read_raw()
    VisaDevice("TCPIP::1.2.3.4::INSTR").close()


def test_usb_message_of_exactly_one_read_is_whole(usb_device: UsbTmcBackend) -> None:
    answer = bytes(1 << 16)
    usb_device.answers = {b"?": answer}
    with usbtmc(usb_device) as transport:
        transport.write(b"?")
        assert transport.read_until(b"\n", 0.05) == answer


@pytest.mark.parametrize(
    "descriptor", ["usbtmc:vendorid=0x12345:productid=1:serialnr=", "vxi11:-a", "gpib:1:secondary_addr=31"]
)
def test_descriptor_of_what_cannot_be_is_refused(descriptor: str) -> None:
    with pytest.raises(QMI_TransportDescriptorException, match="Invalid"):
        create_transport(descriptor)
    with pytest.raises(QMI_TransportDescriptorException, match="Invalid USB product ID 65536: expected 0 to 0xffff"):
        create_transport("usbtmc:vendorid=1:productid=0x10000:serialnr=")


def test_vxi11_device_is_reached_by_its_name() -> None:
    with vxi11_device() as (device, port):
        transport = create_transport(f"vxi11:127.0.0.1:name=inst1:rpc_port={port}")
        assert str(transport) == "QMI_Vxi11Transport(127.0.0.1)"
        with transport:
            assert device.links == ["inst1"]


def test_names_that_drivers_import_are_those_of_transports() -> None:
    assert qmi.core.transport_gpib_visa.QMI_VisaGpibTransport is QMI_GpibTransport
    assert qmi.core.transport_usbtmc_visa.QMI_VisaUsbTmcTransport is QMI_UsbTmcTransport
    assert qmi.core.vxi11.Instrument("1.2.3.4", "inst3").resource == "TCPIP::1.2.3.4::inst3::INSTR"
    public: Any = qmi.core.transport
    assert public.serial.Serial
    for module in (public, qmi.core.instrument):
        with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
            module.nonsense  # noqa: B018


def test_libraries_below_transports_can_be_replaced_where_drivers_see_them() -> None:
    with patch("qmi.core.transport.vxi11") as library:
        transport = create_transport("vxi11:1.2.3.4")
        transport.open()
        transport.write(b"x")
        transport.close()
    library.Instrument.assert_called_once_with("1.2.3.4")
    library.Instrument.return_value.write_raw.assert_called_once_with(b"x")
    with patch("qmi.core.usbtmc.Instrument", autospec=True) as instrument:
        transport = create_transport("usbtmc:vendorid=1:productid=2:serialnr=3")
        instrument.return_value.read_raw.return_value = b"a\n"
        transport.open()
        assert transport.read_until(b"\n", 1) == b"a\n"
        transport.discard_read()
        transport.close()
    instrument.assert_called_once_with(1, 2, "3")
    with patch("qmi.core.transport.QMI_TcpTransport") as tcp:
        assert create_transport("tcp:a:1") is tcp.return_value
    tcp.assert_called_once_with(host="a", port=1)


# HiSLIP.


def test_hislip_device_is_reached_through_visa() -> None:
    with hislip_device() as (device, port):
        device.answers = {b"*IDN?\n": b"ACME\n", b"CURV?\n": b"#6200000" + bytes(200_000) + b"\n"}
        with create_transport(f"visa:TCPIP::127.0.0.1::hislip0,{port}::INSTR@py") as transport:
            scpi = ScpiProtocol(transport, default_timeout=2.0)
            assert scpi.ask("*IDN?") == "ACME"
            assert len(scpi.ask_array("CURV?", "<i2")) == 100_000


@pytest.mark.slow
@pytest.mark.fault(56)
@pytest.mark.parametrize("rounds", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_hislip_late_answer_is_never_taken_for_that_of_the_next_question(rounds: int) -> None:
    # A device clear of pyvisa-py takes 0.1 s, and takes two where the answer is on its way.
    with (
        hislip_device() as (device, port),
        create_transport(f"visa:TCPIP::127.0.0.1::hislip0,{port}::INSTR@py") as transport,
    ):
        for number in range(rounds):
            transport.write(b"late?\n")
            with pytest.raises(QMI_TimeoutException):
                transport.read_until(b"\n", 0.001)
            device.answer(b"late\n")
            device.answers[b"now?\n"] = b"now %d\n" % number
            transport.write(b"now?\n")
            assert transport.read_until(b"\n", 2.0) == b"now %d\n" % number
        assert device.clears == 2 * rounds

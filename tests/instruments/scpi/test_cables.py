"""The same driver over every kind of cable: a multimeter and an oscilloscope in one."""

from __future__ import annotations

import os
import pty
import socket
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

import numpy as np
import pytest
import usb.backend.libusb1

from qmi.core.context import QMI_Context
from qmi.instruments.scpi import Scpi_Multimeter, Scpi_Oscilloscope
from tests.support.usbtmc_device import UsbTmcBackend
from tests.support.vxi11_server import vxi11_device

ANSWERS = {
    b"*IDN?\n": b"Acme,DMM,MY1,1\n",
    b"MEAS:VOLT:DC?\n": b"+1.25\n",
    b":WAV:PRE?\n": b"0,0,4,1,1E-3,0,0,0.5,0,10\n",
    # A terminator and a zero within the data end nothing.
    b":WAV:DATA?\n": b"#14\x0a\x00\x0d\x0c\n",
}


@contextmanager
def by_tcp(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    def serve() -> None:
        with server.accept()[0] as connection, connection.makefile("rwb", buffering=0) as stream:
            for line in stream:
                stream.write(ANSWERS.get(line, b""))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"tcp:127.0.0.1:{server.getsockname()[1]}"
        thread.join(10)


@contextmanager
def by_serial_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    ours, theirs = pty.openpty()
    tty.setraw(ours)

    def serve() -> None:
        buffer = b""
        with suppress(OSError):  # the other end is closed
            while data := os.read(ours, 4096):
                buffer += data
                while b"\n" in buffer:
                    line, _, buffer = buffer.partition(b"\n")
                    os.write(ours, ANSWERS.get(line + b"\n", b""))

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"serial:{os.ttyname(theirs)}:baudrate=115200"
    os.close(theirs)
    thread.join(10)
    os.close(ours)


@contextmanager
def by_usb(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    backend = UsbTmcBackend()
    backend.answers = dict(ANSWERS)
    monkeypatch.setattr(usb.backend.libusb1, "get_backend", lambda find_library=None: backend)
    yield "usbtmc:vendorid=0x1313:productid=0x8078:serialnr=P0001"


@contextmanager
def by_vxi11(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with vxi11_device(True) as (device, port):
        device.answers = dict(ANSWERS)
        yield f"vxi11:127.0.0.1:rpc_port={port}"


Cable = Callable[[pytest.MonkeyPatch], AbstractContextManager[str]]
CABLES = pytest.mark.parametrize("cable", [by_tcp, by_serial_port, by_usb, by_vxi11])


@CABLES
def test_multimeter_works_over_any_cable(cable: Cable, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        cable(monkeypatch) as transport,
        QMI_Context("cables") as context,
        context.make_instrument("meter", Scpi_Multimeter, transport) as meter,
    ):
        assert meter.get_idn().serial == "MY1"
        assert [meter.measure() for _ in range(3)] == [1.25] * 3


@CABLES
def test_oscilloscope_works_over_any_cable(cable: Cable, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        cable(monkeypatch) as transport,
        QMI_Context("cables") as context,
        context.make_instrument("scope", Scpi_Oscilloscope, transport) as scope,
    ):
        for _ in range(3):
            np.testing.assert_allclose(scope.get_waveform(1).values, [0.0, -5.0, 1.5, 1.0])

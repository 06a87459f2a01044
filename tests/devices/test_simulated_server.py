"""Simulated devices that are served: for other programs and other languages."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from typing import Any

import pytest
import trio

from qmi.core.config_defs import CfgQmi
from qmi.core.context import QMI_Context
from qmi.core.driver import Channel, QMI_Instrument, ScpiInstrument, Simulator, channels, parameter
from qmi.core.exceptions import (
    QMI_InvalidOperationException,
    QMI_TransportDescriptorException,
    QMI_TransportLostException,
    QMI_UsageException,
)
from qmi.core.transport import create_transport
from qmi.testing import SimulatorServer, serve_simulator

needs_terminals = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")


class Output(Channel):
    voltage = parameter("SOUR{n}:VOLT", float, unit="V", limits=(0, 5))


class Supply(ScpiInstrument):
    voltage = parameter("VOLT", float, unit="V", limits=(0, 30))
    channels = channels(Output, 1, 2)


class Waves(Simulator):
    @Simulator.command("CURV?")
    def curve(self) -> bytes:
        return bytes(range(256)) * 4096

    @Simulator.command("FAIL?")
    def fail(self) -> str:
        raise RuntimeError("a fault in the simulator")


class Client:
    """A program that knows nothing of drivers."""

    def __init__(self, server: SimulatorServer) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), 10)
        self.lines = self.socket.makefile("rb")

    def ask(self, command: str) -> str:
        self.write(command)
        return self.lines.readline().decode("ascii").strip()

    def write(self, command: str) -> None:
        self.socket.sendall(command.encode("ascii") + b"\n")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.lines.close()
        self.socket.close()


def test_clients_use_one_device_one_after_the_other_and_at_once() -> None:
    with serve_simulator(Supply) as server:
        with Client(server) as first:
            first.write("VOLT 5;SOUR2:VOLT 1")
            assert first.ask("VOLT?;*IDN?") == "5;qmi,Supply,simulated,1"
        with Client(server) as second, Client(server) as third:
            second.socket.sendall(b"VOLT")
            assert third.ask("VOLT?;:SOUR2:VOLT?") == "5;1"
            assert second.ask("AGE?") == "5"
            second.write("VOLT 31;:SOUR2:VOLT 6")
            assert third.ask("SYST:ERR?;ERR?;:VOLT?") == '-222,"Data out of range";-222,"Data out of range";5'
    assert server.wait(0)


def test_answers_that_are_late_arrive_late_and_in_order() -> None:
    with serve_simulator(Supply) as server, Client(server) as client:
        server.simulate_fault("late", seconds=0.05)
        client.write("VOLT 3;VOLT?")
        assert client.ask("VOLT 4;VOLT?") == "3"
        assert client.lines.readline() == b"4\n"


def test_unplugged_cable_cuts_clients_and_refuses_new_ones() -> None:
    with serve_simulator(Supply) as server:
        with Client(server) as client:
            assert client.ask("VOLT?") == "0"
            server.simulate_fault("disconnected", times=2)
            assert client.lines.readline() == b""
        with Client(server) as client:
            assert client.lines.readline() == b""
        with Client(server) as client:
            assert client.ask("VOLT?") == "0"


def test_large_answers_arrive_whole_and_a_fault_of_the_simulator_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serve_simulator(Waves) as server, Client(server) as client:
        client.write("CURV?")
        head = client.lines.read(9)
        assert head == b"#71048576"
        assert client.lines.read(1048576) == bytes(range(256)) * 4096
        assert client.lines.readline() == b"\n"
        client.write("FAIL?")
        assert client.ask("SYST:ERR?").startswith("-300")
        assert "a fault in the simulator" in caplog.text
        assert server.device.received == ["CURV?", "FAIL?", "SYST:ERR?"]


def test_driver_uses_a_served_simulator_as_a_real_device() -> None:
    with (
        serve_simulator(Supply) as server,
        QMI_Context("bench", CfgQmi()) as context,
        context.make_instrument("psu", Supply, server.address, reconnect=True) as psu,
    ):
        psu.voltage = 6.0
        server.simulate_fault("disconnected")
        with pytest.raises(QMI_TransportLostException):
            _ = psu.voltage
        assert psu.voltage == 6.0
        assert not psu.is_simulated()


def read_now(port: int) -> bytes:
    assert select.select([port], [], [], 10.0)[0]
    return os.read(port, 100)


@needs_terminals
def test_simulator_is_served_on_a_terminal() -> None:
    with serve_simulator(Supply, "pty") as server:
        for expected in (b"0\n", b"5\n"):
            with create_transport(server.address) as transport:
                transport.write(b"VOLT?\n")
                assert transport.read_until(b"\n", 10.0) == expected
                transport.write(b"VOLT 5;*OPC?\n")
                assert transport.read_until(b"\n", 10.0) == b"1\n"
        # Another program, with nothing but a file.
        port = os.open(server.path, os.O_RDWR | os.O_NOCTTY)
        os.write(port, b"VOLT?\n")
        assert read_now(port) == b"5\n"
        server.simulate_fault("disconnected")
        os.write(port, b"VOLT?\n")
        assert read_now(port) == b"5\n"
        os.close(port)
    assert (server.port, server.path.startswith("/dev/")) == (0, True)


OTHER_PROGRAM = """
import os, select, socket, sys
port, path = int(sys.argv[1]), sys.argv[2]
with socket.create_connection(("127.0.0.1", port), 10) as device:
    device.sendall(b"VOLT 5;*OPC?\\n")
    print(device.recv(100))
device = os.open(path, os.O_RDWR | os.O_NOCTTY)
os.write(device, b"VOLT 6;VOLT?\\n")
select.select([device], [], [], 10)
print(os.read(device, 100))
"""


@needs_terminals
def test_another_program_uses_served_simulators() -> None:
    with serve_simulator(Supply) as tcp, serve_simulator(Supply, "pty") as terminal:
        command = [sys.executable, "-I", "-S", "-c", OTHER_PROGRAM, str(tcp.port), terminal.path]
        run = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert run.stdout.splitlines() == [r"b'1\n'", r"b'6\n'"], run.stderr
        assert (tcp.device.simulator.voltage, terminal.device.simulator.voltage) == (5.0, 6.0)
        assert tcp.device.received == ["VOLT 5;*OPC?"]


def test_pyvisa_uses_a_served_simulator() -> None:
    pyvisa = pytest.importorskip("pyvisa")
    with serve_simulator(Supply) as server:
        manager = pyvisa.ResourceManager("@py")
        device: Any = manager.open_resource(
            f"TCPIP::127.0.0.1::{server.port}::SOCKET", read_termination="\n", write_termination="\n"
        )
        try:
            device.write("VOLTAGE 7.5")
            assert device.query("voltage?") == "7.5"
            assert device.query_ascii_values("VOLT?;VOLT?", separator=";") == [7.5, 7.5]
        finally:
            device.close()
            manager.close()


async def test_simulator_is_served_from_the_event_loop() -> None:
    async with serve_simulator(Supply) as server:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            await stream.send_all(b"VOLT?\n")
            assert await stream.receive_some() == b"0\n"
    assert server.wait(0)


class Laser(QMI_Instrument):
    @parameter(unit="W")
    def power(self) -> float:
        return 1.0


@pytest.mark.parametrize(
    ("driver", "where", "error", "message"),
    [
        (Supply, "udp:127.0.0.1:0", QMI_TransportDescriptorException, 'a simulator is served at "tcp:127.0.0.1:5025"'),
        (Supply, "tcp:127.0.0.1", QMI_TransportDescriptorException, "got 'tcp:127.0.0.1'"),
        (Supply, "tcp:127.0.0.1:70000", QMI_TransportDescriptorException, "got 'tcp:127.0.0.1:70000'"),
        (Laser, "tcp:127.0.0.1:0", QMI_UsageException, "Laser has no transport"),
        (
            int,
            "tcp:127.0.0.1:0",
            QMI_UsageException,
            "class of a driver or of a simulator, got <class 'int'>",
        ),
    ],
)
def test_server_that_cannot_be_says_why(driver: Any, where: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        serve_simulator(driver, where)
    assert message in str(caught.value)


def test_server_is_started_once_and_stopped_as_often_as_one_likes() -> None:
    server = serve_simulator(Supply)
    server.stop()
    with server:
        server.stop()
    server.stop()
    with pytest.raises(QMI_InvalidOperationException, match="was started before"):
        server.start()


def test_taken_port_is_told_to_whoever_starts_the_server() -> None:
    with serve_simulator(Supply) as first, pytest.raises(OSError, match="in use"):
        serve_simulator(Supply, first.address).start()

"""The driver for Julabo's thermostats: on a small stand-in for one, and on the simulator of lewis."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from qmi.core.context import QMI_Context
from qmi.core.exceptions import (
    QMI_InstrumentException,
    QMI_InvalidOperationException,
    QMI_TimeoutException,
    QMI_TransportLostException,
)
from qmi.core.instrument import QMI_InstrumentIdentification
from qmi.instruments.julabo import Julabo_Thermostat, ThermostatStatus, thermostat


class Thermostat:
    """Answers as the manual says: questions by a line, settings by nothing, and those that are wrong by nothing."""

    def __init__(self, acknowledgement: bytes = b"") -> None:
        self.acknowledgement = acknowledgement
        self.values = {
            "PV_00": "23.95", "PV_01": "12.0", "PV_02": "---.--", "SP_00": "24.00", "SP_03": "95.0", "SP_04": "5.0",
            "MODE_05": "0", "PAR_06": "1.0", "PAR_07": "120", "PAR_08": "20",
        }  # fmt: skip
        self.status = "02 REMOTE STOP"
        self.received: list[tuple[str, float]] = []
        self.connection: socket.socket | None = None

    def answer(self, line: str) -> bytes:
        self.received.append((line, time.monotonic()))
        kind, _, rest = line.partition("_")
        if line == "VERSION":
            return b"JULABO F25-HE VERSION 3.0\r\n"
        if line == "STATUS":
            return self.status.encode() + b"\r\n"
        if kind == "IN":
            return self.values[rest].encode() + b"\r\n" if rest in self.values else b""
        name, _, value = rest.partition(" ")
        if name != "SP_00" or 5.0 <= float(value) <= 95.0:
            self.values[name] = value
        else:
            self.status = "-10 VALUE OUT OF RANGE"
        return self.acknowledgement

    def serve(self, server: socket.socket) -> None:
        """Serve one connection after the other until nobody listens any more."""
        with suppress(OSError):
            while True:
                self.connection, _ = server.accept()
                # What still comes when the line is cut has no answer.
                with self.connection, suppress(OSError):
                    self.converse(self.connection)

    def converse(self, connection: socket.socket) -> None:
        with connection.makefile("rwb", buffering=0) as stream:
            line = b""
            while byte := stream.read(1):
                line += byte
                if byte == b"\r":
                    stream.write(self.answer(line.strip().decode()))
                    line = b""


@contextmanager
def served(device: Thermostat) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=device.serve, args=(server,))
        thread.start()
        try:
            yield f"tcp:127.0.0.1:{server.getsockname()[1]}:drain_timeout=0.01"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)


@contextmanager
def opened(device: Thermostat, **options: Any) -> Iterator[Any]:
    with served(device) as transport, QMI_Context("bath") as context:
        options = {"command_delay": 0.0, **options}
        with context.make_instrument("bath", Julabo_Thermostat, transport, **options) as proxy:
            yield proxy


@pytest.mark.parametrize("acknowledgement", [b"", b"\r\n", b"\n"], ids=["silent", "CR LF", "LF"])
def test_thermostat_is_asked_and_set(acknowledgement: bytes) -> None:
    device = Thermostat(acknowledgement)
    with opened(device) as bath:
        assert bath.get_idn() == QMI_InstrumentIdentification("JULABO", "F25-HE", "", "3.0")
        assert bath.get_status() == ThermostatStatus(2, "REMOTE STOP")
        assert bath.get_temperature() == 23.95
        assert bath.get_heating_power() == 12
        assert bath.get_limits() == (5, 95)
        bath.set_setpoint(37.456)
        assert bath.get_setpoint() == 37.46
        assert not bath.is_running()
        bath.start()
        assert bath.is_running()
        bath.stop()
        assert not bath.is_running()
        bath.set_control_parameters(0.54, 90, 10)
        assert bath.get_control_parameters() == (0.5, 90, 10)
        for _ in range(20):
            bath.set_setpoint(20)
            assert bath.get_temperature() == 23.95


def test_setting_that_the_thermostat_does_not_take_fails() -> None:
    with opened(Thermostat()) as bath:
        with pytest.raises(QMI_InstrumentException, match=r"keeps 24; its status is 'VALUE OUT OF RANGE'"):
            bath.set_setpoint(120)
        assert bath.get_status() == ThermostatStatus(-10, "VALUE OUT OF RANGE")


def test_sensor_that_is_not_there_is_no_number() -> None:
    with (
        opened(Thermostat()) as bath,
        pytest.raises(QMI_InstrumentException, match="Expected a number in answer to 'IN_PV_02', got '---"),
    ):
        bath.get_external_temperature()


def test_thermostat_that_does_not_answer_is_waited_for_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(Thermostat(), numbering="MH") as bath:
        with monkeypatch.context() as patch:
            patch.setattr(thermostat, "_TIMEOUT", 0.01)
            with pytest.raises(QMI_TimeoutException):
                bath.get_limits()
        assert bath.get_temperature() == 23.95


@pytest.mark.parametrize("value", [math.nan, math.inf, True, "20", None])
def test_setting_is_a_finite_number(value: Any) -> None:
    device = Thermostat()
    with opened(device) as bath:
        with pytest.raises(ValueError, match="temperature must be a finite number, got"):
            bath.set_setpoint(value)
        with pytest.raises(ValueError, match="tn must be a finite number, got"):
            bath.set_control_parameters(1.0, value, 1)
        assert "OUT_SP_00" not in str(device.received)


def test_thermostat_that_comes_back_is_asked_who_it_is() -> None:
    device = Thermostat()
    with opened(device, reconnect=True) as bath:
        assert device.connection is not None
        device.connection.shutdown(socket.SHUT_RDWR)
        with pytest.raises(QMI_TransportLostException):
            bath.get_temperature()
        assert bath.get_temperature() == 23.95
    lines = [line for line, _ in device.received]
    assert lines[0] == "VERSION"
    assert lines[-2:] == ["VERSION", "IN_PV_00"]


def test_next_command_waits_after_a_setting() -> None:
    device = Thermostat()
    with opened(device, command_delay=0.06) as bath:
        bath.set_setpoint(30)
        bath.get_temperature()
    times = dict(device.received)
    assert times["IN_SP_00"] - times["OUT_SP_00 30.00"] >= 0.05


@pytest.mark.parametrize("options", [{"command_delay": -1}, {"command_delay": math.inf}, {"numbering": "FP"}])
def test_option_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    make: Any = Julabo_Thermostat
    with QMI_Context("bath") as context, pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        context.make_instrument("bath", make, "tcp:127.0.0.1:1", **options)


def test_closed_thermostat_is_not_asked() -> None:
    with QMI_Context("bath") as context:
        bath = context.make_instrument("bath", Julabo_Thermostat, "tcp:127.0.0.1:1")
        for call in (bath.get_temperature, lambda: bath.set_setpoint(1), bath.close):
            with pytest.raises(QMI_InvalidOperationException):
                call()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.mark.slow
def test_driver_works_with_the_simulator_of_lewis() -> None:
    port = _free_port()
    options = f"julabo-version-1: {{bind_address: 127.0.0.1, port: {port}}}"
    code = "from lewis.scripts.run import run_simulation; run_simulation()"
    command = [sys.executable, "-c", code, "--cycle-delay", "0.01", "--speed", "100", "-p", options, "julabo"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as simulator, QMI_Context("bath") as context:
        try:
            assert simulator.stderr is not None
            # It says so when it listens.
            assert any("Listening on" in line or str(port) in line for line in simulator.stderr)
            transport = f"tcp:127.0.0.1:{port}"
            bath: Any = context.make_instrument("bath", Julabo_Thermostat, transport, numbering="MH", command_delay=0.0)
            with bath:
                assert bath.get_idn() == QMI_InstrumentIdentification("JULABO", "FP50_MH", "", "Simulator, ISIS")
                assert bath.get_status() == ThermostatStatus(None, "Hello from the simulated Julabo")
                assert bath.get_limits() == (0, 100)
                assert bath.get_external_temperature() == 26
                assert bath.get_heating_power() == 5
                bath.set_control_parameters(0.5, 10, 2)
                assert bath.get_control_parameters() == (0.5, 10, 2)
                with pytest.raises(QMI_InstrumentException, match="did not take temperature = 120"):
                    bath.set_setpoint(120)
                bath.set_setpoint(25.5)
                bath.start()
                assert bath.is_running()
                while bath.get_temperature() < 25:  # the bath gets warmer, at the speed that was chosen above
                    pass
                bath.stop()
                assert not bath.is_running()
        finally:
            simulator.terminate()


def test_settings_and_readings_are_parameters() -> None:
    with opened(Thermostat()) as bath:
        bath.setpoint = 37.5
        assert (bath.setpoint, bath.get_setpoint()) == (37.5, 37.5)
        bath.running = True
        assert bath.is_running()
        bath.proportional_range = 0.5
        bath.set_integral_time(90)
        assert bath.get_control_parameters() == (0.5, 90, 20)
        assert bath.temperature == 23.95
        kept = bath.snapshot(update=True)
        assert kept["high_limit"].value == 95
        assert kept["setpoint"].unit == "degC"
        assert "Expected a number in answer to 'IN_PV_02'" in kept.missing["external_temperature"]
        bath.stop()
        bath.setpoint = 20
        assert [change.name for change in bath.restore(kept)] == ["setpoint", "running"]
        assert bath.is_running()

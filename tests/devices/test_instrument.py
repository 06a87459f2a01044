from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

import qmi
from qmi.core.driver import Simulator
from qmi.core.exceptions import QMI_InvalidOperationException, QMI_TransportLostException
from qmi.core.instrument import AsyncTransportInstrument, TransportInstrument
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.core.rpc import rpc_method
from qmi.core.scpi_protocol import AsyncScpiProtocol, ScpiProtocol
from qmi.testing import serve_simulator


class Meter(TransportInstrument):
    """A voltmeter."""

    TRANSPORT_DEFAULTS: ClassVar[Mapping[str, Any]] = {"port": 5025}
    IDENTITY_QUERY = "*IDN?"

    def __init__(self, context: Any, name: str, transport: str, reconnect: bool | None = None) -> None:
        super().__init__(context, name, transport, reconnect=reconnect)
        self._scpi = ScpiProtocol(self._transport, default_timeout=5.0)
        self._range = 0

    @rpc_method
    def set_range(self, volts: int) -> None:
        self._scpi.write(f"RANG {volts}")
        self._range = volts

    @rpc_method
    def measure(self) -> float:
        return float(self._scpi.ask("MEAS?"))

    def _restore_settings(self) -> None:
        self._scpi.write(f"RANG {self._range}")


class AsyncMeter(AsyncTransportInstrument):
    """The same in the event loop."""

    def __init__(self, context: Any, name: str, transport: str, reconnect: bool | None = None) -> None:
        super().__init__(context, name, transport, reconnect=reconnect)
        self._scpi = AsyncScpiProtocol(self._transport, default_timeout=5.0)

    @rpc_method
    async def measure(self) -> float:
        return float(await self._scpi.ask("MEAS?"))

    async def _identify_device(self) -> str:
        return await self._scpi.ask("*IDN?")

    async def _restore_settings(self) -> None:
        await self._scpi.write("RANG 3")


class Device(Simulator):
    """The meter of both."""

    identity = "ACME,Meter,1,2"

    @Simulator.command("MEAS?")
    def measure(self) -> float:
        return 1.5

    @Simulator.command("RANG {value}")
    def set_range(self, volts: str) -> None:
        pass


@pytest.mark.fault(57)
def test_driver_comes_back_with_its_settings_and_says_so() -> None:
    with serve_simulator(Device) as server:
        qmi.start("test", None, init_logging=False)
        try:
            meter = qmi.make_instrument("meter", Meter, server.address, reconnect=True)
            receiver = QMI_SignalReceiver()
            meter.sig_connection.subscribe(receiver)
            with meter:
                meter.set_range(10)
                assert meter.measure() == 1.5
                server.simulate_fault("disconnected")
                with pytest.raises(QMI_TransportLostException):
                    meter.measure()
                assert meter.measure() == 1.5
            whats = [receiver.get_next_signal(timeout=5).args[0] for _ in range(2)]
            assert whats == ["lost", "restored"]
            assert server.device.received == ["*IDN?", "RANG 10", "MEAS?", "*IDN?", "RANG 10", "MEAS?"]
            with pytest.raises(QMI_InvalidOperationException):
                meter.close()
        finally:
            qmi.stop()


def test_async_driver_comes_back_too() -> None:
    with serve_simulator(Device) as server:
        qmi.start("test", None, init_logging=False)
        try:
            meter: Any = qmi.make_instrument("meter", AsyncMeter, server.address, reconnect=True)
            with meter:
                assert meter.measure() == 1.5
                server.simulate_fault("disconnected")
                with pytest.raises(QMI_TransportLostException):
                    meter.measure()
                assert meter.measure() == 1.5
            assert server.device.received == ["*IDN?", "MEAS?", "*IDN?", "RANG 3", "MEAS?"]
        finally:
            qmi.stop()


def test_driver_without_reconnect_stays_lost() -> None:
    with serve_simulator(Device) as server:
        qmi.start("test", None, init_logging=False)
        try:
            meter = qmi.make_instrument("meter", Meter, server.address)
            meter.open()
            assert meter.measure() == 1.5
            server.simulate_fault("disconnected")
            for _ in range(2):
                with pytest.raises(QMI_TransportLostException):
                    meter.measure()
            meter.close()
            meter.open()
            assert meter.measure() == 1.5
            meter.close()
        finally:
            qmi.stop()


def test_traffic_is_logged_under_the_name_of_the_instrument(caplog: pytest.LogCaptureFixture) -> None:
    with serve_simulator(Device) as server:
        qmi.start("test", None, init_logging=False)
        try:
            meter = qmi.make_instrument("meter", Meter, server.address)
            with meter, caplog.at_level(logging.DEBUG, "qmi.traffic.meter"):
                assert meter.measure() == 1.5
        finally:
            qmi.stop()
    seen = [(record.name, record.getMessage()) for record in caplog.records if record.name.startswith("qmi.traffic")]
    assert seen == [
        ("qmi.traffic.meter", r'write 6 "MEAS?\n"'),
        ("qmi.traffic.meter", r'read 4 "1.5\n"'),
    ]

"""Real drivers of QCoDeS, on the simulated connections that it has for its own tests, and its mock instruments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import qmi
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_InvalidValueException

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning"),
]

GPIB = "GPIB::1::INSTR"
# Driver; address and simulation; what is read; what is set and read again; what is refused.
DRIVERS: list[tuple[str, str, str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    (
        "Keithley:Keithley2450", "GPIB::2::INSTR", "Keithley_2450",
        {"source_function": "current", "buffer_name": "defbuffer1"}, {}, {"source_function": "power"},
    ),
    (
        "yokogawa:YokogawaGS200", "GPIB0::1::INSTR", "Yokogawa_GS200",
        {"output": "off", "source_mode": "VOLT", "auto_range": False}, {}, {"source_mode": "POW"},
    ),
    (
        "Keysight:Keysight34465A", GPIB, "Keysight_34465A",
        {"sense_function": "DC Voltage", "NPLC": 10.0, "volt": 10.0}, {}, {"sense_function": "taste", "NPLC": 3},
    ),
    (
        "Keysight:KeysightE4980A", GPIB, "Keysight_E4980A",
        {"voltage_level": 0.0, "signal_mode": "Voltage"}, {}, {"voltage_level": 21},
    ),
    (
        "Lakeshore:LakeshoreModel336", "GPIB::2::INSTR", "lakeshore_model336",
        {"output_1_mode": "closed_loop", "output_1_P": 10.0}, {"output_1_P": 12.0}, {"output_1_P": 1001},
    ),
    (
        "Lakeshore:LakeshoreModel335", "GPIB::2::INSTR", "lakeshore_model335",
        {"output_1_D": 30.0, "output_1_output_range": "low"}, {"output_1_D": 40.0}, {"output_1_mode": "on"},
    ),
    (
        "rohde_schwarz:RohdeSchwarzSGS100A", GPIB, "RSSGS100A",
        {"frequency": 1e6, "pulsemod_source": "INT", "status": False},
        {"frequency": 2e6, "power": -3.0, "status": True}, {"frequency": 1.0, "phase": 361, "power": "much"},
    ),
    ("Keysight:Keysight33512B", GPIB, "Keysight_33xxx", {"sync_source": 1}, {}, {"sync_source": 3}),
    ("Keysight:KeysightN9030B", GPIB, "Keysight_N9030B", {"mode": "SA", "cont_meas": False}, {}, {"mode": "X"}),
    ("Keithley:KeithleyS46", "GPIB::2::INSTR", "Keithley_s46", {"A1": "close", "A2": "open"}, {}, {}),
    (
        "stahl:Stahl", "ASRL3", "stahl",
        {"channel[0].voltage": -1.2, "channel[0].current": 1e-6}, {}, {"channel[0].voltage": 6},
    ),
    ("Keithley:Keithley2602B", GPIB, "Keithley_2600", {"smua_mode": "current", "smua_linefreq": 50.0}, {},
     {"smua_nplc": 26, "smub_mode": "power"}),
]  # fmt: skip


@pytest.fixture
def context() -> Iterator[QMI_Context]:
    with QMI_Context("lab") as context:
        yield context


@pytest.mark.parametrize(
    ("driver", "address", "simulation", "read", "written", "refused"), DRIVERS, ids=[driver for driver, *_ in DRIVERS]
)
def test_driver_of_qcodes(
    context: QMI_Context,
    driver: str,
    address: str,
    simulation: str,
    read: dict[str, Any],
    written: dict[str, Any],
    refused: dict[str, Any],
) -> None:
    cls = qmi.hosted(f"qcodes.instrument_drivers.{driver}")
    device = context.make_instrument("device", cls, address, pyvisa_sim_file=f"{simulation}.yaml")
    with device:
        for path, value in read.items():
            assert (path, device.parameters[path].get()) == (path, value)
        for path, value in written.items():
            device.parameters[path].set(value)
            assert (path, device.parameters[path].get()) == (path, value)
        for path, value in refused.items():
            with pytest.raises(QMI_InvalidValueException, match="of device must be"):
                device.parameters[path].set(value)
        assert device.timeout == 5.0
        assert device.parameters("timeout")["timeout"].unit == "s"
        assert device.get_idn()["vendor"] is not None
        assert device.snapshot(update=True, names=list(read)).missing == {}
    device.open()  # made anew, since the one before is closed
    device.close()


def test_mock_instruments_of_qcodes_have_units_limits_channels_and_functions(context: QMI_Context) -> None:
    module = "qcodes.instrument_drivers.mock_instruments"
    plain = context.make_instrument("plain-one", qmi.hosted(f"{module}:DummyInstrument"), gates=["x", "y"])
    info = plain.parameters()["x"]
    assert (info.unit, info.limits, info.doc, info.settable) == ("V", (-800, 400), "Gate x", True)
    plain.x = 5
    assert plain.x == 5
    with pytest.raises(QMI_InvalidValueException, match=r"x of plain-one must be from -800.0 to 400.0 V, got 401 V"):
        plain.x = 401
    before = plain.snapshot(update=True)
    plain.y = 3
    assert [change.name for change in plain.restore(before.select("x", "y"))] == ["y"]
    twin = context.make_instrument("twin", qmi.hosted(f"{module}:DummyInstrument"), name="other", gates=["z"])
    assert "DummyInstrument" in twin.get_idn()["model"]  # a second "plain_one" would be refused
    device = context.make_instrument("device", qmi.hosted(f"{module}:DummyChannelInstrument"))
    assert len(device.channels) == 6
    device.channels[3].temperature = 20.0
    assert device.channels[3].temperature == 20.0

"""Resources of PyVISA, on devices that PyVISA-sim simulates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pyvisa

import qmi
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_InvalidOperationException, QMI_InvalidValueException, QMI_UsageException
from tests.support.lab import two_contexts

LIBRARY = f"{Path(__file__).parents[1] / 'instruments' / 'scpi' / 'devices.yaml'}@sim"
METER = "TCPIP0::multimeter::inst0::INSTR"
LINES = {"read_termination": "\n", "write_termination": "\n"}


@pytest.fixture
def context() -> Iterator[QMI_Context]:
    with QMI_Context("lab") as context:
        yield context


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The resources that PyVISA opens."""
    found: list[Any] = []
    real = pyvisa.resources.Resource.open

    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        found.append(self)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(pyvisa.resources.Resource, "open", noted)
    return found


@pytest.mark.parametrize("driver", ["pyvisa:Resource", "pyvisa.resources:TCPIPInstrument", "object"])
def test_resource_of_pyvisa_is_written_read_and_asked(context: QMI_Context, driver: str, opened: list[Any]) -> None:
    if driver == "object":
        given = pyvisa.ResourceManager(LIBRARY).open_resource(METER, read_termination="\n", write_termination="\n")
        meter = context.make_instrument("meter", qmi.hosted(given))
    else:
        meter = context.make_instrument("meter", qmi.hosted(driver), METER, visa_library=LIBRARY, **LINES)
    with meter:
        assert len(opened) == 1  # no second session
        assert meter.query("*IDN?") == "Acme,DMM 1,MY123,A.01.02-03"
        meter.write("ODD?")
        assert meter.read() == "7"
        meter.write_raw(b"ODD?\n")
        assert meter.read_raw() == b"7\n"
        assert meter.query_ascii_values("READ?") == [1.5, 2.5, -9.9e37]
        meter.timeout = 200
        assert meter.timeout == 200
        meter.timeout = None
        assert meter.timeout is None
        meter.timeout = 50
        with pytest.raises(pyvisa.VisaIOError, match="Timeout expired"):
            meter.read()
        meter.read_termination = "\r"
        assert meter.read_termination == "\r"
        assert meter.parameters()["timeout"].unit == "ms"
        assert meter.snapshot(update=True)["chunk_size"].value == 20480
        for name in ("session", "lock_excl", "install_handler", "wait_on_event"):
            assert not hasattr(meter, name)
    with pytest.raises(pyvisa.InvalidSession):
        _ = opened[0].session
    if driver == "object":
        with pytest.raises(QMI_InvalidOperationException, match="cannot be opened again: its driver was given"):
            meter.open()
        return
    with pytest.raises(QMI_InvalidOperationException, match="'meter' is not open"):
        meter.query("*IDN?")
    with meter:
        assert len(opened) == 2
        assert meter.query("ODD?") == "7"


def test_resource_of_pyvisa_ends_with_its_instrument(context: QMI_Context, opened: list[Any]) -> None:
    cls = qmi.hosted("pyvisa.resources:MessageBasedResource")
    meter = context.make_instrument("meter", cls, METER, visa_library=LIBRARY)
    context.remove_rpc_object(meter)  # never opened
    with pytest.raises(pyvisa.InvalidSession):
        _ = opened[0].session
    with pytest.raises(QMI_UsageException, match="'meter' needs the name of a resource of PyVISA"):
        context.make_instrument("meter", cls)


def test_resource_of_pyvisa_has_the_attributes_of_visa_with_their_limits_and_values() -> None:
    with two_contexts() as (server, client):
        cls = qmi.hosted("pyvisa.resources:SerialInstrument")
        port = server.make_instrument("port", cls, "ASRL1::INSTR", visa_library="@sim", baud_rate=19200)
        found = port.parameters()
        assert (found["baud_rate"].limits, found["data_bits"].limits) == ((0, 0xFFFFFFFF), (5, 8))
        assert found["stop_bits"].values == (10, 15, 20)
        assert not found["bytes_in_buffer"].settable
        far = client.get_instrument("server.port")
        assert far.baud_rate == 19200
        far.stop_bits = 20
        assert far.stop_bits == 20
        with pytest.raises(QMI_InvalidValueException, match="data_bits of port must be from 5 to 8, got 9"):
            far.data_bits = 9
        with pytest.raises(QMI_InvalidValueException, match="stop_bits of port must be 10, 15 or 20, got 3"):
            far.stop_bits = 3

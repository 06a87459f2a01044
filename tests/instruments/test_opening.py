"""Drivers whose device is lost while they are opened stay closed, and can be opened again."""

from __future__ import annotations

from typing import Any

import pytest

from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_TransportLostException
from qmi.instruments.keysight import Keysight_WaveformGenerator
from qmi.instruments.lakeshore import Lakeshore_336
from qmi.instruments.scpi import Scpi_Multimeter
from qmi.instruments.stanford import Stanford_LockInAmplifier
from qmi.testing import CLOSED, LOST, ScriptedTransport, simulated_time

OPENING: dict[Any, list[str]] = {
    Scpi_Multimeter: ["*CLS"],
    Lakeshore_336: ["*CLS"],
    Stanford_LockInAmplifier: ["*CLS", "OUTX 1"],
    Keysight_WaveformGenerator: ["*CLS", "SOUR1:VOLT:UNIT VPP", "SOUR2:VOLT:UNIT VPP"],
}


@pytest.mark.parametrize(("driver", "step"), [(cls, n) for cls, steps in OPENING.items() for n in range(len(steps))])
def test_driver_stays_closed_if_its_device_is_lost_while_it_is_opened(driver: Any, step: int) -> None:
    commands = OPENING[driver]
    transport = ScriptedTransport([*commands[:step], LOST, CLOSED, *commands])
    with simulated_time():
        instrument = driver(QMI_Context("lab", None), "device", transport)
        with pytest.raises(QMI_TransportLostException):
            instrument.open()
        assert not instrument.is_open()
        instrument.open()
        instrument.close()
    transport.check_done()

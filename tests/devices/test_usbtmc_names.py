"""USBTMC devices by the names and numbers that drivers know them by."""

from __future__ import annotations

from unittest.mock import create_autospec

import pytest

from qmi.core.exceptions import QMI_TransportDescriptorException
from qmi.core.usbtmc import Instrument


@pytest.mark.parametrize(
    "instrument",
    [
        Instrument(0x1234, 0x5678, "A1"),
        Instrument(vendor=0x1234, product=0x5678, serial="A1"),
        Instrument("USB::0x1234::0x5678::A1::INSTR"),
        Instrument("USB0::4660::22136::A1::0::INSTR"),
    ],
)
def test_usbtmc_device_is_named_by_numbers_or_by_its_visa_name(instrument: Instrument) -> None:
    assert (instrument.idVendor, instrument.idProduct, instrument.iSerial) == (0x1234, 0x5678, "A1")


def test_usbtmc_device_of_another_name_is_refused() -> None:
    with pytest.raises(QMI_TransportDescriptorException, match="got 'TCPIP::lab::INSTR'"):
        Instrument("TCPIP::lab::INSTR")


def test_usbtmc_device_can_be_replaced_by_a_mock() -> None:
    assert create_autospec(Instrument)().open() is not None

"""Parameters of objects, as drivers declare them and as proxies see them."""

from __future__ import annotations

from typing import Any

import pytest

from qmi.core.context import QMI_Context
from qmi.core.driver import Parameter
from qmi.core.exceptions import QMI_InvalidValueException, QMI_UsageException
from tests.support.parameters import Laser, Mode, Supply


def test_parameter_is_read_and_set_by_a_proxy(lab: QMI_Context) -> None:
    psu = lab.make_instrument("psu", Supply)
    psu.voltage = 5
    assert psu.voltage == 5.0
    proxy: Any = psu
    assert type(proxy.voltage) is float
    psu.mode = Mode.CURRENT
    assert psu.mode is Mode.CURRENT
    assert psu.current == 0.25
    proxy.set_voltage(7.5)
    assert proxy.get_voltage() == 7.5
    assert proxy.rpc_nonblocking.get_voltage().wait() == 7.5
    assert isinstance(Supply.voltage, Parameter)


def test_parameter_refuses_what_is_out_of_its_limits(lab: QMI_Context) -> None:
    psu = lab.make_instrument("psu", Supply)
    with pytest.raises(QMI_InvalidValueException) as raised:
        psu.voltage = 31.0
    assert str(raised.value) == "voltage of psu must be from 0 to 30 V, got 31.0 V"
    with pytest.raises(QMI_UsageException, match="current of psu can only be read"):
        psu.current = 1.0


def test_parameter_of_a_getter_and_a_setter(lab: QMI_Context) -> None:
    laser = lab.make_instrument("laser", Laser)
    laser.power = 0.05
    assert laser.power == 0.05
    laser.wavelength = 1310
    assert laser.get_wavelength() == laser.wavelength == 1310.0
    with pytest.raises(QMI_InvalidValueException, match=r"power of laser must be from 0 to 0\.1 W, got 1\.0 W"):
        laser.set_power(1.0)


def test_parameters_are_listed_with_what_is_known_of_them(lab: QMI_Context) -> None:
    psu: Any = lab.make_instrument("psu", Supply)
    psu.voltage = 4.0
    infos = psu.parameters()
    assert infos["voltage"].limits == (0, 30)
    assert infos["protection"].limits == (4.0, 60)
    assert infos["channels[4].voltage"].unit == "V"
    assert (infos["current"].settable, infos["current"].command) == (False, "MEAS:CURR?")
    assert infos["mode"].values == ("VOLT", "CURR")

"""An instrument and a task whose signals and parameters configurations of tests record."""

from __future__ import annotations

from typing import Any

import numpy

from qmi.core.driver import Channel, QMI_Instrument, channels, parameter
from qmi.core.pubsub import QMI_Signal
from qmi.core.rpc import Placement, rpc_method
from qmi.core.task import QMI_LoopTask


class Output(Channel):
    """One output."""

    volts = 0.0

    @parameter(unit="V")
    def level(self) -> float:
        """Level."""
        return self.volts

    @level.setter
    def set_level(self, value: float) -> None:
        """Set it."""
        self.volts = value


class Supply(QMI_Instrument):
    """A supply."""

    sig_pair = QMI_Signal([float, str])
    outputs = channels(Output, 1, 2)
    volts = 0.0

    @parameter(unit="V")
    def voltage(self) -> float:
        """Voltage."""
        return self.volts

    @voltage.setter
    def set_voltage(self, value: float) -> None:
        """Set it."""
        self.volts = value

    @parameter()
    def silent(self) -> float:
        """Nothing tells of it."""
        return 0.0

    @rpc_method
    def tell(self) -> None:
        """Publish the signal."""
        self.sig_pair.publish(1.5, "a")


class Watch(QMI_LoopTask[None, None]):
    """Publishes a number in each iteration."""

    sig_sample = QMI_Signal([float])

    def publish_signals(self) -> None:
        """Publish it."""
        self.sig_sample.publish(1.0)


class Reading(Channel):
    """What can be set, and is read."""

    @parameter(unit="V")
    def level(self) -> float:
        """Level."""
        return 0.0

    @level.setter
    def set_level(self, value: float) -> None:
        """Set it."""

    @parameter(unit="A", poll=1000.0)
    def current(self) -> float:
        """Current."""
        return 0.5


class Source(QMI_Instrument):
    """Publishes what it is told to."""

    _rpc_placement = Placement.CALLER
    sig_sample = QMI_Signal([float])
    sig_pair = QMI_Signal([float, str])
    sig_beat = QMI_Signal()
    sig_image = QMI_Signal([numpy.ndarray])
    sig_any = QMI_Signal([object])
    outputs = channels(Reading, 1, 2)

    @parameter(unit="V")
    def voltage(self) -> float:
        """Voltage."""
        return 1.0

    @voltage.setter
    def set_voltage(self, value: float) -> None:
        """Set it."""

    @parameter(unit="K", poll=1000.0)
    def temperature(self) -> float:
        """Temperature."""
        return 4.2

    @parameter()
    def silent(self) -> float:
        """Nothing tells of it."""
        return 0.0

    @rpc_method
    def tell(self, name: str, *args: Any) -> None:
        """Publish something."""
        getattr(self, name).publish(*args)

    @rpc_method
    def tell_many(self, count: int) -> None:
        """Publish numbers."""
        for number in range(count):
            self.sig_sample.publish(float(number))

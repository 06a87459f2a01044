"""An instrument and a task whose signals and parameters configurations of tests record."""

from __future__ import annotations

from qmi.core.driver import Channel, QMI_Instrument, channels, parameter
from qmi.core.pubsub import QMI_Signal
from qmi.core.rpc import rpc_method
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

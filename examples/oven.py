"""An oven, and the loop that holds its temperature.

The oven is simulated, so that the example runs anywhere. They have a module of their own because two programs use
it: service.py makes the objects, and watch.py sends settings of the class `HoldSettings`.
"""

import time
from dataclasses import dataclass

import qmi
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal
from qmi.core.rpc import rpc_method
from qmi.core.task import QMI_LoopTask

ROOM_TEMPERATURE = 20.0
TIME_CONSTANT = 0.1
"""How fast the oven follows its heater, in seconds."""
DEGREES_PER_WATT = 2.0


class Oven(QMI_Instrument):
    """A simulated oven with a heater and a thermometer."""

    def __init__(self, context, name):
        super().__init__(context, name)
        self._power = 0.0
        self._temperature = ROOM_TEMPERATURE
        self._time = time.monotonic()

    @rpc_method
    def close(self):
        """Switch the heater off. This runs at the end of the program, however it ends."""
        self.set_power(0.0)
        super().close()

    @rpc_method
    def set_power(self, power: float) -> None:
        """Set the power of the heater.

        Args:
            power: In watts, from 0 to 50.
        """
        if not 0.0 <= power <= 50.0:
            raise ValueError(f"power must be 0 to 50 W, got {power!r}")
        self._follow()
        self._power = power

    @rpc_method
    def get_temperature(self) -> float:
        """The temperature, in degrees Celsius."""
        self._follow()
        return self._temperature

    def _follow(self):
        now = time.monotonic()
        target = ROOM_TEMPERATURE + DEGREES_PER_WATT * self._power
        part = min((now - self._time) / TIME_CONSTANT, 1.0)
        self._temperature += part * (target - self._temperature)
        self._time = now


@dataclass
class HoldSettings:
    """What the loop is told.

    Attributes:
        target: The temperature to hold, in degrees Celsius.
        gain: Change of the power for a degree of deviation, in watts.
    """

    target: float = ROOM_TEMPERATURE
    gain: float = 0.04


class HoldTemperature(QMI_LoopTask):
    """Measures the temperature once in each period, and corrects the power of the heater."""

    sig_temperature = QMI_Signal([float, float])
    """The temperature in degrees Celsius, and the power in watts."""

    def loop_prepare(self):
        self.settings = HoldSettings()
        self.oven = qmi.get_instrument("oven")
        self.power = 0.0

    def loop_iteration(self):
        self.temperature = self.oven.get_temperature()
        deviation = self.settings.target - self.temperature
        self.power = min(max(self.power + self.settings.gain * deviation, 0.0), 50.0)
        self.oven.set_power(self.power)

    def publish_signals(self):
        self.sig_temperature.publish(self.temperature, self.power)

    def loop_finalize(self):
        # Runs once at the end, also after an error.
        self.oven.set_power(0.0)

"""A circulating thermostat of Julabo with a serial port, direct or behind a converter in the network."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from qmi.core.driver import TransportInstrument, parameter, rpc_method
from qmi.core.exceptions import QMI_InstrumentException
from qmi.core.instrument import QMI_InstrumentIdentification
from qmi.core.transport import QMI_Transport, Reconnect
from qmi.instruments.julabo.simulator import ThermostatSimulator

_TIMEOUT = 2.0


class ThermostatStatus(NamedTuple):
    """What a thermostat says about itself.

    Attributes:
        code: The number in front; negative for warnings and errors; None if there is none.
        text: The words behind it, such as ``"REMOTE START"``.
    """

    code: int | None
    text: str


class Questions(NamedTuple):
    """The questions whose numbers depend on the model."""

    external_temperature: str
    heating_power: str
    low_limit: str
    high_limit: str


QUESTIONS = {
    "standard": Questions("IN_PV_02", "IN_PV_01", "IN_SP_04", "IN_SP_03"),
    "MH": Questions("IN_PV_01", "IN_PV_02", "IN_SP_02", "IN_SP_01"),
}
_EXTERNAL = (9, 11, 12)


class ControlParameters(NamedTuple):
    """What a thermostat controls the temperature with.

    Attributes:
        xp: Proportional range, in kelvins.
        tn: Time of the integral part, in seconds.
        tv: Time of the derivative part, in seconds.
    """

    xp: float
    tn: float
    tv: float


class Julabo_Thermostat(TransportInstrument):
    """A thermostat that knows Julabo's commands (``IN_PV_00``, ``OUT_SP_00`` ...), in remote control.

    Temperatures are in degrees Celsius. Each setting is read back, since a thermostat that refuses one says nothing.

    Args:
        context: The context that the instrument belongs to.
        name: Its name there.
        transport: How it is reached: ``serial:/dev/ttyUSB0``, with the 4800 baud, even parity and handshake that these
            thermostats are delivered with, or ``tcp:HOST:PORT``.
        numbering: ``"standard"``, or ``"MH"`` for older thermostats such as FP50-MH, whose commands for the external
            sensor, the heating power and the limits have other numbers.
        command_delay: How much time the thermostat needs after a setting, in seconds.
        reconnect: Whether and how a lost connection is made again. A thermostat keeps its settings meanwhile.
    """

    simulator = ThermostatSimulator
    TRANSPORT_DEFAULTS: ClassVar[Mapping[str, object]] = {
        "baudrate": 4800,
        "bytesize": 7,
        "parity": "E",
        "stopbits": 1.0,
        "rtscts": True,
    }

    def __init__(
        self,
        context: object,
        name: str,
        transport: str | QMI_Transport,
        *,
        numbering: str = "standard",
        command_delay: float = 0.25,
        reconnect: Reconnect | bool | str | None = None,
    ) -> None:
        super().__init__(context, name, transport, reconnect=reconnect)
        if numbering not in QUESTIONS:
            raise ValueError(f"numbering must be one of {', '.join(QUESTIONS)}, got {numbering!r}")
        if not 0 <= command_delay < math.inf:
            raise ValueError(f"command_delay must be a number of seconds >= 0, got {command_delay!r}")
        self._questions = QUESTIONS[numbering]
        self._command_delay = command_delay
        self._ready_at = 0.0

    # The setpoint before what it is held with, and starting last: the order in which a snapshot is restored.

    @rpc_method
    def get_setpoint(self) -> float:
        """The temperature that the thermostat is set to."""
        return self._ask_number("IN_SP_00")

    def _choose_setpoint(self, value: float) -> None:
        self._set("SP_00", "temperature", value, 2)

    setpoint = parameter(
        getter=get_setpoint,
        setter=_choose_setpoint,
        type=float,
        unit="degC",
        doc="Temperature that the thermostat holds, in steps of 0.01.",
    )

    @parameter(unit="K", limits=(0.0, None), doc="Proportional range of the control by the internal sensor.")
    def proportional_range(self) -> float:
        """Proportional range."""
        return self._ask_number("IN_PAR_06")

    @proportional_range.setter
    def set_proportional_range(self, value: float) -> None:
        """Set the proportional range, in steps of 0.1."""
        self._set("PAR_06", "xp", value, 1)

    @parameter(unit="s", limits=(0.0, None), doc="Integral time of the control by the internal sensor.")
    def integral_time(self) -> float:
        """Integral time."""
        return self._ask_number("IN_PAR_07")

    @integral_time.setter
    def set_integral_time(self, value: float) -> None:
        """Set the integral time."""
        self._set("PAR_07", "tn", value, 0)

    @parameter(unit="s", limits=(0.0, None), doc="Derivative time of the control by the internal sensor.")
    def derivative_time(self) -> float:
        """Derivative time."""
        return self._ask_number("IN_PAR_08")

    @derivative_time.setter
    def set_derivative_time(self, value: float) -> None:
        """Set the derivative time."""
        self._set("PAR_08", "tv", value, 0)

    @parameter(doc="Whether the thermostat circulates and controls the temperature.")
    def running(self) -> bool:
        """Whether the thermostat circulates and controls the temperature."""
        return self._ask_number("IN_MODE_05") != 0

    @running.setter
    def set_running(self, value: bool) -> None:
        """Start or stop to circulate and to control the temperature."""
        self._set("MODE_05", "mode", int(value), 0)

    @rpc_method
    def get_temperature(self) -> float:
        """The temperature of the bath."""
        return self._ask_number("IN_PV_00")

    @rpc_method
    def get_external_temperature(self) -> float:
        """The temperature at the external sensor.

        Raises:
            QMI_InstrumentException: If the thermostat sends no number, since none is connected.
        """
        return self._ask_number(self._questions.external_temperature)

    @rpc_method
    def get_heating_power(self) -> float:
        """How strongly the thermostat heats, in percent; negative when it cools."""
        return self._ask_number(self._questions.heating_power)

    temperature = parameter(getter=get_temperature, type=float, unit="degC", doc="Temperature of the bath.")
    external_temperature = parameter(
        getter=get_external_temperature, type=float, unit="degC", doc="Temperature at the external sensor."
    )
    heating_power = parameter(
        getter=get_heating_power,
        type=float,
        unit="%",
        doc="How strongly the thermostat heats; negative when it cools.",
    )

    @parameter(unit="degC", doc="Temperature below which the thermostat warns.")
    def low_limit(self) -> float:
        """Temperature below which the thermostat warns."""
        return self._ask_number(self._questions.low_limit)

    @parameter(unit="degC", doc="Temperature above which the thermostat warns.")
    def high_limit(self) -> float:
        """Temperature above which the thermostat warns."""
        return self._ask_number(self._questions.high_limit)

    @rpc_method
    def get_idn(self) -> QMI_InstrumentIdentification:
        """What the thermostat says that it is; Julabo's tell no serial number."""
        answer = self._ask("VERSION")
        words = re.match(r"(?:JULABO\s+)?(\S+)\s*(.*)", answer, re.IGNORECASE)
        model, version = words.groups() if words else (answer, "")
        return QMI_InstrumentIdentification("JULABO", model, "", re.sub(r"(?i)^version\s+", "", version))

    @rpc_method
    def get_status(self) -> ThermostatStatus:
        """What the thermostat is doing, or what is wrong with it."""
        answer = self._ask("STATUS")
        found = re.match(r"([-+]?\d+)\s+(.*)", answer)
        return ThermostatStatus(None, answer) if found is None else ThermostatStatus(int(found[1]), found[2].strip())

    @rpc_method
    def get_limits(self) -> tuple[float, float]:
        """The temperatures below and above which the thermostat warns."""
        return self.low_limit, self.high_limit

    @rpc_method
    def set_setpoint(self, temperature: float) -> None:
        """Set the temperature that the thermostat holds.

        Args:
            temperature: In degrees Celsius, in steps of 0.01.

        Raises:
            ValueError: If it is no finite number.
            QMI_InstrumentException: If the thermostat does not take it.
        """
        self._check_is_open()
        _check_finite("temperature", temperature)
        self.setpoint = temperature

    @rpc_method
    def start(self) -> None:
        """Start to circulate and to control the temperature."""
        self.running = True

    @rpc_method
    def stop(self) -> None:
        """Stop circulating; the temperature is not controlled any more."""
        self.running = False

    @rpc_method
    def is_running(self) -> bool:
        """Whether the thermostat circulates and controls the temperature."""
        return self.running

    @rpc_method
    def get_control_parameters(self, external: bool = False) -> ControlParameters:
        """What the temperature is controlled with.

        Args:
            external: Whether those for the external sensor are meant.
        """
        if not external:
            return ControlParameters(self.proportional_range, self.integral_time, self.derivative_time)
        return ControlParameters(*(self._ask_number(f"IN_PAR_{number:02}") for number in _EXTERNAL))

    @rpc_method
    def set_control_parameters(self, xp: float, tn: float, tv: float, external: bool = False) -> None:
        """Set what the temperature is controlled with.

        Args:
            xp: Proportional range, in kelvins, in steps of 0.1.
            tn: Time of the integral part, in whole seconds.
            tv: Time of the derivative part, in whole seconds.
            external: Whether those for the external sensor are meant.

        Raises:
            ValueError: If one of them is no finite number.
            QMI_InstrumentException: If the thermostat does not take one of them.
        """
        self._check_is_open()
        for name, value in (("xp", xp), ("tn", tn), ("tv", tv)):
            _check_finite(name, value)
        if not external:
            self.proportional_range, self.integral_time, self.derivative_time = xp, tn, tv
            return
        for number, name, value, digits in zip(_EXTERNAL, ("xp", "tn", "tv"), (xp, tn, tv), (1, 0, 0), strict=True):
            self._set(f"PAR_{number:02}", name, value, digits)

    def _set(self, what: str, name: str, value: float, digits: int) -> None:
        """Send a setting and see whether it was taken."""
        self._check_is_open()
        _check_finite(name, value)
        self._send(f"OUT_{what} {value:.{digits}f}")
        self._ready_at = time.monotonic() + self._command_delay
        found = self._ask_number(f"IN_{what}")
        if not math.isclose(found, value, abs_tol=0.6 * 10**-digits):
            status = self.get_status()
            raise QMI_InstrumentException(
                f"The thermostat did not take {name} = {value:.{digits}f}, and keeps {found:g}; its status is "
                f"{status.text!r}"
            )

    def _ask_number(self, question: str) -> float:
        answer = self._ask(question)
        try:
            return float(answer)
        except ValueError:
            raise QMI_InstrumentException(f"Expected a number in answer to {question!r}, got {answer!r}") from None

    def _identify_device(self) -> str:
        return self._exchange("VERSION")

    def _ask(self, question: str) -> str:
        self._check_is_open()
        return self._exchange(question)

    def _exchange(self, question: str) -> str:
        self._send(question)
        deadline = time.monotonic() + _TIMEOUT
        while True:
            # Some firmware answers a setting by an empty line, and no question ever.
            line: bytes = self._transport.read_until(b"\n", max(0.0, deadline - time.monotonic()))
            if line.strip():
                return line.decode("latin-1").strip()

    def _send(self, command: str) -> None:
        time.sleep(max(0.0, self._ready_at - time.monotonic()))
        self._transport.write(command.encode("ascii") + b"\r")


def _check_finite(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")

"""What the driver of thermostats talks to when it is simulated."""

from __future__ import annotations

from qmi.core.driver import Settling, Simulator


class ThermostatSimulator(Simulator):
    """A thermostat F25-HE: its bath follows the setpoint while it circulates, and the room while it does not.

    It numbers its commands as most thermostats do (``numbering="standard"``).

    Attributes:
        room: Temperature around it, in degrees Celsius.
        warm_up: Time constant of the bath, in seconds.
        external_sensor: Whether there is one, at something that follows the bath slowly.
        span: The setpoints that it takes, in degrees Celsius.
        limits: The temperatures between which it does not warn, in degrees Celsius.
    """

    command_terminator = "\r"
    response_terminator = "\r\n"

    room: float = 20.0
    warm_up: float = 60.0
    external_sensor: bool = True
    span: tuple[float, float] = (-30.0, 200.0)
    limits: tuple[float, float] = (5.0, 95.0)

    setpoint = 20.0
    running = False
    temperature = Settling(lambda bath: bath.setpoint if bath.running else bath.room, "warm_up")
    external_temperature = Settling("temperature", 300.0)

    def __init__(self) -> None:
        super().__init__()
        self._status = ""
        self._kept = {"06": "1.0", "07": "120", "08": "20", "09": "1.0", "11": "120", "12": "20"}

    def heating_power(self) -> float:
        """How strongly it heats, in percent: all it can from 5 K below the setpoint on."""
        return max(-100.0, min(100.0, 20.0 * (self.setpoint - self.temperature))) if self.running else 0.0

    def low_limit(self) -> float:
        """The temperature below which it warns."""
        return self.limits[0]

    def high_limit(self) -> float:
        """The temperature above which it warns."""
        return self.limits[1]

    @Simulator.command("VERSION")
    def _version(self) -> str:
        return "JULABO F25-HE VERSION 3.0"

    @Simulator.command("STATUS")
    def _state(self) -> str:
        state = f"03 REMOTE {'START' if self.running else 'STOP'}"
        answer, self._status = self._status or state, ""
        return answer

    @Simulator.command("IN_SP_00")
    def _get_setpoint(self) -> str:
        return f"{self.setpoint:.2f}"

    @Simulator.command("OUT_SP_00")
    def _set_setpoint(self, text: str) -> None:
        value = _number(text)
        if value is None or not self.span[0] <= value <= self.span[1]:
            self._status = "-10 VALUE OUT OF RANGE"
        else:
            self.setpoint = value

    @Simulator.command("IN_MODE_05")
    def _get_mode(self) -> int:
        return int(self.running)

    @Simulator.command("OUT_MODE_05")
    def _set_mode(self, text: str) -> None:
        self.running = text == "1"

    @Simulator.command("IN_PV_00")
    def _get_temperature(self) -> str:
        return f"{self.temperature:.2f}"

    @Simulator.command("IN_PV_01")
    def _get_power(self) -> str:
        return f"{self.heating_power():.1f}"

    @Simulator.command("IN_PV_02")
    def _get_external_temperature(self) -> str:
        return f"{self.external_temperature:.2f}" if self.external_sensor else "---.--"

    @Simulator.command("IN_SP_03")
    def _get_high_limit(self) -> str:
        return f"{self.limits[1]:.1f}"

    @Simulator.command("IN_SP_04")
    def _get_low_limit(self) -> str:
        return f"{self.limits[0]:.1f}"

    def answer(self, command: str) -> object:
        """Answer what is set and asked of the control parameters; what it does not know it leaves unanswered."""
        header, _, value = command.partition(" ")
        number = header.rpartition("_")[2]
        if number in self._kept and header == f"IN_PAR_{number}":
            return self._kept[number]
        if number in self._kept and header == f"OUT_PAR_{number}" and _number(value) is not None:
            self._kept[number] = value
        else:
            self._status = "-08 INVALID COMMAND"
        return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

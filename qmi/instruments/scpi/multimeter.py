"""A digital multimeter of any vendor."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

from qmi.core.driver import ScpiInstrument, parameter, rpc_method
from qmi.core.exceptions import QMI_InstrumentException
from qmi.instruments.scpi.instrument import number_of, setting
from qmi.instruments.scpi.simulators import MultimeterSimulator


class MultimeterFunction(Enum):
    """What a multimeter measures; the unit of its readings stands behind it."""

    DC_VOLTAGE = "VOLT:DC"  # V
    AC_VOLTAGE = "VOLT:AC"  # V
    DC_CURRENT = "CURR:DC"  # A
    AC_CURRENT = "CURR:AC"  # A
    RESISTANCE = "RES"  # ohm
    RESISTANCE_4W = "FRES"  # ohm
    FREQUENCY = "FREQ"  # Hz
    PERIOD = "PER"  # s
    CAPACITANCE = "CAP"  # F
    TEMPERATURE = "TEMP"  # as configured in the instrument
    CONTINUITY = "CONT"  # ohm
    DIODE = "DIOD"  # V


_ALIASES = {"VOLT": MultimeterFunction.DC_VOLTAGE, "CURR": MultimeterFunction.DC_CURRENT}
_WITHOUT_RANGE = {MultimeterFunction.TEMPERATURE, MultimeterFunction.CONTINUITY, MultimeterFunction.DIODE}
_MOST_READINGS = 1_000_000
_LEAST = 1e-12


class Scpi_Multimeter(ScpiInstrument):
    """A digital multimeter with the usual commands (``FUNC``, ``MEAS``, ``READ?``, ``SAMP:COUN``).

    Args:
        context: The context that the instrument belongs to.
        name: Its name there.
        transport: How it is reached; see :class:`.ScpiInstrument`, which has the other arguments.
    """

    range_of: ClassVar[dict[MultimeterFunction, str]] = {
        MultimeterFunction.FREQUENCY: "FREQ:VOLT",
        MultimeterFunction.PERIOD: "PER:VOLT",
    }
    """Where the range of a function is set, if it is not its own name."""
    simulator = MultimeterSimulator

    @parameter(doc="What is measured.")
    def function(self) -> MultimeterFunction:
        """What is measured."""
        answer = self._ask("FUNC?")
        try:
            return as_function(answer.strip("\"'"))
        except ValueError as error:
            raise QMI_InstrumentException(f"Expected a function in answer to 'FUNC?', got {answer!r}") from error

    @function.setter
    def _choose_function(self, value: MultimeterFunction) -> None:
        self._set("function", f'FUNC "{value.value}"')

    @parameter(limits=(_LEAST, None), doc="Upper end of the range of the chosen function, in the unit of the function.")
    def range(self) -> float:
        """Upper end of the range."""
        return self._ask_number(f"{self._range()}:RANG?")

    @range.setter  # noqa: A003 - that of this class
    def _choose_range(self, value: float) -> None:
        where = self._range()
        self._set(f"{where}:RANG", f"{where}:RANG {setting('limit', value, 0.0)}")

    # Behind the range, which switches it off: so a snapshot is restored in the right order.
    @parameter(doc="Whether the multimeter chooses the range of the chosen function.")
    def auto_range(self) -> bool:
        """Whether the multimeter chooses the range."""
        return self._ask_flag(f"{self._range()}:RANG:AUTO?")

    @auto_range.setter
    def set_auto_range(self, value: bool) -> None:
        """Have the multimeter choose the range, or stay in the present one."""
        where = self._range()
        self._set(f"{where}:RANG", f"{where}:RANG:AUTO {'ON' if value else 'OFF'}")

    @parameter(
        limits=(0.0, None),
        doc="For how long a reading of the chosen function is averaged, in periods of the mains, without unit.",
    )
    def integration_time(self) -> float:
        """For how long a reading is averaged."""
        return self._ask_number(f"{self.function.value}:NPLC?")

    @integration_time.setter
    def _choose_integration_time(self, value: float) -> None:
        where = f"{self.function.value}:NPLC"
        self._set(where, f"{where} {setting('cycles', value, 0.0)}")

    @parameter(doc="A reading with the present settings, in the unit of the function.")
    def reading(self) -> float:
        """A reading with the present settings."""
        self._write("SAMP:COUN 1")
        return self._ask_number("READ?")

    @rpc_method
    def measure(self, function: MultimeterFunction | str = MultimeterFunction.DC_VOLTAGE) -> float:
        """Set the multimeter up for a function with automatic range, and take one reading.

        Args:
            function: What is measured, or its name in SCPI, such as ``"VOLT:DC"``.

        Returns:
            The reading, in the unit of the function; infinite if it is out of range.
        """
        return self._ask_number(f"MEAS:{as_function(function).value}?")

    @rpc_method
    def set_function(self, function: MultimeterFunction | str) -> None:
        """Choose what :meth:`read` measures.

        Args:
            function: What is measured, or its name in SCPI.
        """
        self.function = as_function(function)

    @rpc_method
    def get_function(self) -> MultimeterFunction:
        """What :meth:`read` measures.

        Raises:
            QMI_InstrumentException: If this driver does not know it.
        """
        return self.function

    @rpc_method
    def set_range(self, limit: float | None) -> None:
        """Set the range of the function that is chosen.

        Args:
            limit: The largest value that has to fit into it; None lets the multimeter choose.
        """
        if limit is None:
            self.auto_range = True
        else:
            setting("limit", limit, 0.0)
            self.range = max(limit, _LEAST)

    @rpc_method
    def get_range(self) -> float:
        """The upper end of the present range, in the unit of the function."""
        return self.range

    @rpc_method
    def is_auto_range(self) -> bool:
        """Whether the multimeter chooses the range."""
        return self.auto_range

    @rpc_method
    def set_integration_time(self, cycles: float) -> None:
        """Set for how long a reading of the chosen function is averaged.

        Args:
            cycles: In periods of the mains.
        """
        setting("cycles", cycles, 0.0)
        self.integration_time = cycles

    @rpc_method
    def get_integration_time(self) -> float:
        """For how long a reading of the chosen function is averaged, in periods of the mains."""
        return self.integration_time

    @rpc_method
    def read(self) -> float:
        """Take one reading with the present settings, in the unit of the function; infinite if it is out of range."""
        return self.reading

    @rpc_method
    def read_many(self, count: int, timeout: float | None = None) -> list[float]:
        """Take readings, one right after the other.

        Args:
            count: How many.
            timeout: For how long they are waited for, in seconds; None for the usual time.

        Raises:
            QMI_InstrumentException: If another number of readings comes.
        """
        self._write(f"SAMP:COUN {number_of('count', count, _MOST_READINGS)}")
        readings = [self._number(text, "READ?") for text in self._scpi.ask("READ?", timeout).split(",")]
        if len(readings) != count:
            raise QMI_InstrumentException(f"Expected {count} readings in answer to 'READ?', got {len(readings)}")
        return readings

    def _range(self) -> str:
        function = self.function
        if function in _WITHOUT_RANGE:
            raise QMI_InstrumentException(f"The function {function.name} has no range")
        return self.range_of.get(function, function.value)


def as_function(function: object) -> MultimeterFunction:
    """The function of a name in SCPI.

    Raises:
        ValueError: If there is none.
    """
    if isinstance(function, MultimeterFunction):
        return function
    name = str(function).upper()
    if name in _ALIASES:
        return _ALIASES[name]
    try:
        return MultimeterFunction(name)
    except ValueError:
        known = ", ".join(item.value for item in MultimeterFunction)
        raise ValueError(f"function must be one of {known}, got {function!r}") from None

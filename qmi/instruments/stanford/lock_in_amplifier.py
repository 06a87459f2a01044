"""The lock-in amplifiers of Stanford Research Systems: SR810, SR830, and those that know the same commands."""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from qmi.core.driver import Channel, ScpiInstrument, channels, parameter, rpc_method
from qmi.core.exceptions import QMI_InstrumentException, QMI_TimeoutException
from qmi.core.transport import QMI_Transport, Reconnect
from qmi.instruments.stanford.lock_in_tables import SENSITIVITIES, TIME_CONSTANTS
from qmi.instruments.stanford.simulator import LockInAmplifierSimulator, LockInAuxSimulator

_POLL_INTERVAL = 0.1


class ReferenceSource(Enum):
    """Where the reference comes from."""

    EXTERNAL = 0
    INTERNAL = 1


class ReferenceEdge(Enum):
    """At what an external reference is locked to."""

    SINE = 0  # where it passes zero
    RISING = 1  # TTL
    FALLING = 2  # TTL


class InputSource(Enum):
    """What is measured."""

    A = 0
    A_MINUS_B = 1
    CURRENT = 2  # with 1 megaohm
    CURRENT_LOW_NOISE = 3  # with 100 megaohm


class Grounding(Enum):
    """What the shields of the inputs are connected to."""

    FLOAT = 0
    GROUND = 1


class Coupling(Enum):
    """How the inputs are coupled."""

    AC = 0
    DC = 1


class LineFilter(Enum):
    """Which notch filters are in the way of the signal."""

    OUT = 0
    LINE = 1
    TWICE_LINE = 2
    BOTH = 3


class Reserve(Enum):
    """How much dynamic reserve there is."""

    HIGH = 0
    NORMAL = 1
    LOW_NOISE = 2


class FilterSlope(Enum):
    """How steep the low pass behind the demodulator is, per octave."""

    DB_6 = 0
    DB_12 = 1
    DB_18 = 2
    DB_24 = 3


class Quadratures(NamedTuple):
    """Both quadratures of the signal, of the same moment.

    Attributes:
        x: In phase with the reference, in volts; in amperes for a current.
        y: 90 degrees ahead of it.
    """

    x: float
    y: float


class Polar(NamedTuple):
    """Magnitude and phase of the signal, of the same moment.

    Attributes:
        r: Magnitude, in volts; in amperes for a current.
        theta: Phase against the reference, in degrees.
    """

    r: float
    theta: float


class LockInStatus(NamedTuple):
    """What has happened since the last look, as far as readings are not to be trusted for it.

    Attributes:
        input_overload: The input or the reserve was overloaded.
        filter_overload: The time constant filter was overloaded.
        output_overload: An output was overloaded.
        unlocked: The reference could not be locked to.
    """

    input_overload: bool
    filter_overload: bool
    output_overload: bool
    unlocked: bool


_SNAP_CODES = {
    "x": 1, "y": 2, "r": 3, "theta": 4, "aux1": 5, "aux2": 6, "aux3": 7, "aux4": 8, "frequency": 9, "channel1": 10,
    "channel2": 11,
}  # fmt: skip
_OUTPUTS = {"x": 1, "y": 2, "r": 3}
_EXPANSIONS = {1: 0, 10: 1, 100: 2}
_EVENTS = {
    0: "the input queue overflowed",
    2: "the output queue overflowed",
    4: "a command could not be done, or a value was out of range",
    5: "a command was not understood",
}
_ERRORS = {
    1: "the backup battery failed",
    2: "the memory failed",
    4: "the program memory failed",
    5: "GPIB: a transfer of binary data was broken off",
    6: "the signal processor failed",
    7: "a calculation failed",
}


class LockInAux(Channel):
    """An auxiliary input and output at the rear."""

    simulator = LockInAuxSimulator

    input = parameter("OAUX? {n}", float, unit="V", doc="Voltage at the auxiliary input.")
    output = parameter(
        type=float,
        ask="AUXV? {n}",
        write="AUXV {n},{value}",
        unit="V",
        limits=(-10.5, 10.5),
        doc="Voltage of the auxiliary output, which has steps of 1 mV.",
    )


class Stanford_LockInAmplifier(ScpiInstrument):
    """A lock-in amplifier SR810 or SR830.

    Args:
        context: The context that the instrument belongs to.
        name: Its name there.
        transport: How it is reached: ``visa:GPIB0::8::INSTR``, ``serial:/dev/ttyUSB0``.
        interface: ``"gpib"`` or ``"rs232"``: which connector it answers at; None goes by the transport.
        timeout: For how long an answer is waited for, in seconds.
        reconnect: Whether and how a lost connection is made again; see :class:`.Reconnect`.
    """

    simulator = LockInAmplifierSimulator

    amplitude = parameter(
        "SLVL", float, unit="V", limits=(0.004, 5.0), doc="Amplitude (rms) of the sine output, which has steps of 2 mV."
    )
    frequency = parameter(
        "FREQ",
        float,
        unit="Hz",
        limits=(0.001, 102_000.0),
        doc="Frequency of the reference; it can be set while the reference is internal.",
    )
    phase = parameter("PHAS", float, unit="deg", limits=(-360.0, 729.99), doc="Phase shift of the reference.")
    harmonic = parameter("HARM", int, limits=(1, 19_999), doc="At which multiple of the reference is detected.")
    reference = parameter("FMOD", ReferenceSource, doc="Where the reference comes from.")
    reference_edge = parameter("RSLP", ReferenceEdge, doc="What an external reference is locked to.")

    input_source = parameter("ISRC", InputSource, doc="What is measured.")
    grounding = parameter("IGND", Grounding, doc="What the shields of the inputs are connected to.")
    coupling = parameter("ICPL", Coupling, doc="How the inputs are coupled.")
    line_filter = parameter("ILIN", LineFilter, doc="Which notch filters are in the way of the signal.")

    sensitivity = parameter(
        "SENS",
        float,
        unit="V",
        values=SENSITIVITIES,
        doc="Full scale of the signal, rms; a current has this many microamperes.",
    )
    dynamic_reserve = parameter("RMOD", Reserve, doc="How much dynamic reserve there is.")
    time_constant = parameter("OFLT", float, unit="s", values=TIME_CONSTANTS, doc="Time constant of the low pass.")
    filter_slope = parameter("OFSL", FilterSlope, doc="How steep the low pass is.")
    synchronous_filter = parameter("SYNC", bool, doc="Whether there is a synchronous filter, below 200 Hz.")

    x = parameter("OUTP? 1", float, unit="V", doc="The quadrature in phase with the reference, rms.")
    y = parameter("OUTP? 2", float, unit="V", doc="The quadrature 90 degrees ahead of the reference, rms.")
    r = parameter("OUTP? 3", float, unit="V", doc="Magnitude of the signal, rms.")
    theta = parameter("OUTP? 4", float, unit="deg", doc="Phase of the signal against the reference.")

    aux = channels(LockInAux, 1, 4)

    def __init__(
        self,
        context: object,
        name: str,
        transport: str | QMI_Transport,
        *,
        interface: str | None = None,
        timeout: float = 5.0,
        reconnect: Reconnect | bool | str | None = None,
    ) -> None:
        if interface not in (None, "gpib", "rs232"):
            raise ValueError(f"interface must be 'gpib', 'rs232' or None, got {interface!r}")
        if interface is None:
            interface = "rs232" if isinstance(transport, str) and transport.startswith("serial:") else "gpib"
        if interface == "rs232":
            self.response_terminator = "\r"
        self._interface = interface
        super().__init__(context, name, transport, timeout=timeout, reconnect=reconnect)

    @rpc_method
    def open(self) -> None:
        """Open the connection, and have the instrument answer there.

        Raises:
            QMI_InvalidOperationException: If it is open already.
            OSError: If it cannot be reached.
        """
        super().open()
        try:
            self._choose_interface()
        except BaseException:
            self.close()
            raise

    def _identify_device(self) -> object:
        self._choose_interface()
        return super()._identify_device()

    def _choose_interface(self) -> None:
        self._scpi.write(f"OUTX {0 if self._interface == 'rs232' else 1}")

    @rpc_method
    def read_xy(self) -> Quadratures:
        """Read both quadratures, of the same moment."""
        return Quadratures(*self._snap(("x", "y")))

    @rpc_method
    def read_polar(self) -> Polar:
        """Read magnitude and phase, of the same moment."""
        return Polar(*self._snap(("r", "theta")))

    @rpc_method
    def snap(self, names: Sequence[str]) -> dict[str, float]:
        """Read several values of the same moment.

        Args:
            names: Two to six of ``x``, ``y``, ``r``, ``theta``, ``aux1`` to ``aux4``, ``frequency``, ``channel1`` and
                ``channel2`` (what the displays show).

        Returns:
            The values by their names, in volts, degrees and hertz.

        Raises:
            ValueError: If there is no such value, or they are too few or too many.
        """
        wanted = (names,) if isinstance(names, str) else tuple(names)
        if not 2 <= len(wanted) <= 6 or len(set(wanted)) != len(wanted):
            raise ValueError(f"names must be two to six different ones, got {wanted!r}")
        for name in wanted:
            if name not in _SNAP_CODES:
                raise ValueError(f"names must be of {', '.join(_SNAP_CODES)}, got {name!r}")
        return dict(zip(wanted, self._snap(wanted), strict=True))

    def _snap(self, names: tuple[str, ...]) -> list[float]:
        question = f"SNAP? {','.join(str(_SNAP_CODES[name]) for name in names)}"
        return self._ask_numbers(question, len(names))

    @rpc_method
    def auto_gain(self, timeout: float = 60.0) -> None:
        """Have the instrument choose the sensitivity, and wait for it; with a time constant above 1 s it does not.

        Args:
            timeout: For how long to wait, in seconds.

        Raises:
            QMI_TimeoutException: If it has not ended then.
        """
        self._automatic("AGAN", timeout)

    @rpc_method
    def auto_reserve(self, timeout: float = 60.0) -> None:
        """Have the instrument choose the reserve, and wait for it.

        Args:
            timeout: For how long to wait, in seconds.

        Raises:
            QMI_TimeoutException: If it has not ended then.
        """
        self._automatic("ARSV", timeout)

    @rpc_method
    def auto_phase(self) -> None:
        """Shift the phase of the reference so that the phase of the signal is 0, after some time constants."""
        self._automatic("APHS", 0.0)

    @rpc_method
    def auto_offset(self, output: str) -> None:
        """Set the offset of an output so that it is 0 now.

        Args:
            output: ``"x"``, ``"y"`` or ``"r"``.
        """
        self._automatic(f"AOFF {_output(output)}", 0.0)

    @rpc_method
    def set_offset(self, output: str, percent: float, expand: int = 1) -> None:
        """Set what is subtracted of an output, and by what the rest is multiplied.

        Args:
            output: ``"x"``, ``"y"`` or ``"r"``.
            percent: The offset, from -105 to 105 percent of the sensitivity.
            expand: 1, 10 or 100.

        Raises:
            ValueError: If one of them is something else.
        """
        number = _output(output)
        if isinstance(percent, bool) or not isinstance(percent, int | float) or not -105 <= percent <= 105:
            raise ValueError(f"percent must be a number from -105 to 105, got {percent!r}")
        if expand not in _EXPANSIONS:
            raise ValueError(f"expand must be 1, 10 or 100, got {expand!r}")
        self._set(f"offset {output}", f"OEXP {number},{percent:.2f},{_EXPANSIONS[expand]}")

    @rpc_method
    def get_offset(self, output: str) -> tuple[float, int]:
        """What is subtracted of an output, in percent of the sensitivity, and by what the rest is multiplied.

        Args:
            output: ``"x"``, ``"y"`` or ``"r"``.
        """
        question = f"OEXP? {_output(output)}"
        answer = self._ask(question)
        percent, _, code = answer.partition(",")
        for expand, number in _EXPANSIONS.items():
            if code.strip() == str(number):
                return self._number(percent, question), expand
        raise QMI_InstrumentException(f"Expected percent and expansion in answer to {question!r}, got {answer!r}")

    @rpc_method
    def get_status(self) -> LockInStatus:
        """What has happened since the last look; the instrument forgets it."""
        bits = int(self._ask_number("LIAS?"))
        return LockInStatus(*(bool(bits >> bit & 1) for bit in range(4)))

    @rpc_method
    def get_errors(self) -> list[str]:
        """What has gone wrong since the last look; the instrument forgets it."""
        events, errors = int(self._ask_number("*ESR?")), int(self._ask_number("ERRS?"))
        return [text for bit, text in _EVENTS.items() if events >> bit & 1] + [
            text for bit, text in _ERRORS.items() if errors >> bit & 1
        ]

    def _automatic(self, command: str, timeout: float) -> None:
        self._write(command)
        deadline = time.monotonic() + timeout
        while timeout and not int(self._ask_number("*STB?")) >> 1 & 1:
            if time.monotonic() >= deadline:
                raise QMI_TimeoutException(f"{command} has not ended within {timeout:g} s")
            time.sleep(_POLL_INTERVAL)


def _output(name: object) -> int:
    if not isinstance(name, str) or name not in _OUTPUTS:
        raise ValueError(f"output must be 'x', 'y' or 'r', got {name!r}")
    return _OUTPUTS[name]

"""An oscilloscope of any vendor whose commands are like Keysight's, Rigol's or Tektronix's."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qmi.core.rpc import rpc_method
from qmi.core.transport import QMI_Transport, Reconnect
from qmi.instruments.scpi.dialects import DIALECTS, Dialect
from qmi.instruments.scpi.instrument import Scpi_Instrument, number_of, setting

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Waveform(NamedTuple):
    """What an oscilloscope recorded of a channel.

    Attributes:
        start: Time of the first sample, in seconds from the trigger.
        interval: Time from one sample to the next, in seconds.
        values: The samples as a numpy array, in volts.
    """

    start: float
    interval: float
    values: npt.NDArray[np.floating]

    def times(self) -> npt.NDArray[np.floating]:
        """The time of each sample as a numpy array, in seconds from the trigger."""
        import numpy as np

        return self.start + self.interval * np.arange(len(self.values))


class Scpi_Oscilloscope(Scpi_Instrument):
    """A digital oscilloscope.

    Args:
        context: The context that the instrument belongs to.
        name: Its name there.
        transport: How it is reached; see :class:`.Scpi_Instrument`.
        channels: How many channels it has.
        dialect: Whose commands it knows: ``"keysight"``, ``"rigol"``, ``"tektronix"``, or a :class:`.Dialect`.
        timeout: For how long an answer is waited for, in seconds.
        check_errors: Whether the instrument is asked for errors after each command.
        reconnect: Whether and how a lost connection is made again.
    """

    def __init__(
        self,
        context: object,
        name: str,
        transport: str | QMI_Transport,
        *,
        channels: int = 4,
        dialect: str | Dialect = "keysight",
        timeout: float = 5.0,
        check_errors: bool = False,
        reconnect: Reconnect | bool | str | None = None,
    ) -> None:
        super().__init__(context, name, transport, timeout=timeout, check_errors=check_errors, reconnect=reconnect)
        if isinstance(dialect, str) and dialect not in DIALECTS:
            raise ValueError(f"dialect must be one of {', '.join(DIALECTS)}, or a Dialect, got {dialect!r}")
        self._dialect = DIALECTS[dialect] if isinstance(dialect, str) else dialect
        self._channels = channels

    @rpc_method
    def run(self) -> None:
        """Record again and again."""
        self._write(self._dialect.run)

    @rpc_method
    def stop(self) -> None:
        """Record no more; what was recorded last can be read."""
        self._write(self._dialect.stop)

    @rpc_method
    def single(self) -> None:
        """Record once, at the next trigger."""
        self._write(self._dialect.single)

    @rpc_method
    def set_timebase(self, seconds: float) -> None:
        """Set how long a division is.

        Args:
            seconds: In seconds.
        """
        self._set("timebase", f"{self._dialect.timebase} {setting('seconds', seconds, 0.0)}")

    @rpc_method
    def get_timebase(self) -> float:
        """How long a division is, in seconds."""
        return self._ask_number(f"{self._dialect.timebase}?")

    @rpc_method
    def set_scale(self, volts: float, channel: int) -> None:
        """Set how high a division of a channel is.

        Args:
            volts: In volts.
            channel: Number of the channel.
        """
        command = self._of(self._dialect.scale, channel)
        self._set(command, f"{command} {setting('volts', volts, 0.0)}")

    @rpc_method
    def get_scale(self, channel: int) -> float:
        """How high a division of a channel is, in volts."""
        return self._ask_number(f"{self._of(self._dialect.scale, channel)}?")

    @rpc_method
    def set_enabled(self, on: bool, channel: int) -> None:
        """Say whether a channel is shown and recorded.

        Args:
            on: Whether it is.
            channel: Number of the channel.
        """
        command = self._of(self._dialect.shown, channel)
        self._set(command, f"{command} {'ON' if on else 'OFF'}")

    @rpc_method
    def is_enabled(self, channel: int) -> bool:
        """Whether a channel is shown and recorded."""
        return self._ask_flag(f"{self._of(self._dialect.shown, channel)}?")

    @rpc_method
    def set_trigger(self, channel: int, level: float) -> None:
        """Trigger on an edge of a channel.

        Args:
            channel: Number of the channel.
            level: In volts.
        """
        value = setting("level", level)
        source = self._of(self._dialect.trigger_source, channel)
        self._set("trigger", source, f"{self._dialect.trigger_level} {value}")

    @rpc_method
    def get_waveform(self, channel: int, timeout: float | None = None) -> Waveform:
        """Read what was recorded of a channel. Needs numpy.

        Args:
            channel: Number of the channel.
            timeout: For how long each part of it is waited for, in seconds; None for the usual time.

        Raises:
            QMI_InstrumentException: If what the oscilloscope sends is no recording.
        """
        for command in self._dialect.select:
            self._write(self._of(command, channel))
        answers = [
            self._number(text, question)
            for question in self._dialect.preamble
            for text in self._ask(question).split(",")
        ]
        scale = self._dialect.read_scale(answers)
        numbers = self._scpi.ask_array(self._dialect.data, self._dialect.data_type, timeout=timeout)
        return Waveform(scale.start, scale.interval, (numbers - scale.zero) * scale.step + scale.offset)

    def _of(self, command: str, channel: int) -> str:
        return command.format(n=number_of("channel", channel, self._channels))

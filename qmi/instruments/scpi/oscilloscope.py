"""An oscilloscope of any vendor whose commands are like Keysight's, Rigol's or Tektronix's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from qmi.core.driver import ScpiChannel, ScpiInstrument, channels, parameter, rpc_method
from qmi.core.transport import QMI_Transport, Reconnect
from qmi.instruments.scpi.dialects import DIALECTS, Dialect
from qmi.instruments.scpi.instrument import number_of, setting
from qmi.instruments.scpi.simulators import OscilloscopeChannelSimulator, OscilloscopeSimulator

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_MOST_CHANNELS = 16
_LEAST = 1e-12


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


class OscilloscopeChannel(ScpiChannel):
    """One channel of an oscilloscope."""

    instrument: Scpi_Oscilloscope
    simulator = OscilloscopeChannelSimulator

    @parameter(unit="V", limits=(_LEAST, None), doc="How high a division is.")
    def scale(self) -> float:
        """How high a division is."""
        return self._ask_number(f"{self.instrument.dialect.scale}?")

    @scale.setter
    def set_scale(self, value: float) -> None:
        """Set how high a division is."""
        self._set("scale", f"{self.instrument.dialect.scale} {setting('volts', value, 0.0)}")

    @parameter(doc="Whether the channel is shown and recorded.")
    def enabled(self) -> bool:
        """Whether the channel is shown and recorded."""
        return self._ask_flag(f"{self.instrument.dialect.shown}?")

    @enabled.setter
    def set_enabled(self, value: bool) -> None:
        """Say whether the channel is shown and recorded."""
        self._set("enabled", f"{self.instrument.dialect.shown} {'ON' if value else 'OFF'}")

    @rpc_method
    def get_waveform(self, timeout: float | None = None) -> Waveform:
        """Read what was recorded. Needs numpy.

        Args:
            timeout: For how long each part of it is waited for, in seconds; None for the usual time.

        Raises:
            QMI_InstrumentException: If what the oscilloscope sends is no recording.
        """
        return self.instrument.get_waveform(self.number, timeout)


class Scpi_Oscilloscope(ScpiInstrument):
    """A digital oscilloscope.

    Args:
        context: The context that the instrument belongs to.
        name: Its name there.
        transport: How it is reached; see :class:`.ScpiInstrument`.
        channels: How many channels it has, up to 16.
        dialect: Whose commands it knows: ``"keysight"``, ``"rigol"``, ``"tektronix"``, or a :class:`.Dialect`.
        timeout: For how long an answer is waited for, in seconds.
        check_errors: Whether the instrument is asked for errors after each command.
        reconnect: Whether and how a lost connection is made again.
    """

    simulator = OscilloscopeSimulator
    channels = channels(OscilloscopeChannel, 1, _MOST_CHANNELS, present=lambda scope: scope.channel_count)

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
        self.dialect = DIALECTS[dialect] if isinstance(dialect, str) else dialect
        """Its commands."""
        self.channel_count = number_of("channels", channels, _MOST_CHANNELS)
        """How many channels there are."""

    @parameter(unit="s", limits=(_LEAST, None), doc="How long a division is.")
    def timebase(self) -> float:
        """How long a division is."""
        return self._ask_number(f"{self.dialect.timebase}?")

    @timebase.setter
    def _choose_timebase(self, value: float) -> None:
        self._set("timebase", f"{self.dialect.timebase} {setting('seconds', value, 0.0)}")

    @parameter(
        limits=(1, lambda scope: scope.channel_count), doc="Number of the channel that triggers; 0 for no channel."
    )
    def trigger_source(self) -> int:
        """Number of the channel that triggers."""
        answer = self._ask(f"{self.dialect.trigger_source.partition(' ')[0]}?")
        found = re.fullmatch(r"CH[A-Z]*(\d+)", answer.strip().upper())
        return 0 if found is None else int(found[1])

    @trigger_source.setter
    def _choose_trigger_source(self, value: int) -> None:
        self._set("trigger source", self._of(self.dialect.trigger_source, value))

    @parameter(unit="V", doc="Voltage of the edge that triggers.")
    def trigger_level(self) -> float:
        """Voltage of the edge that triggers."""
        return self._ask_number(f"{self.dialect.trigger_level}?")

    @trigger_level.setter
    def _choose_trigger_level(self, value: float) -> None:
        self._set("trigger level", f"{self.dialect.trigger_level} {setting('level', value)}")

    @rpc_method
    def run(self) -> None:
        """Record again and again."""
        self._write(self.dialect.run)

    @rpc_method
    def stop(self) -> None:
        """Record no more; what was recorded last can be read."""
        self._write(self.dialect.stop)

    @rpc_method
    def single(self) -> None:
        """Record once, at the next trigger."""
        self._write(self.dialect.single)

    @rpc_method
    def set_timebase(self, seconds: float) -> None:
        """Set how long a division is.

        Args:
            seconds: In seconds.
        """
        setting("seconds", seconds, 0.0)
        self.timebase = seconds

    @rpc_method
    def get_timebase(self) -> float:
        """How long a division is, in seconds."""
        return self.timebase

    @rpc_method
    def set_scale(self, volts: float, channel: int) -> None:
        """Set how high a division of a channel is.

        Args:
            volts: In volts.
            channel: Number of the channel.
        """
        setting("volts", volts, 0.0)
        self._channel(channel).scale = volts

    @rpc_method
    def get_scale(self, channel: int) -> float:
        """How high a division of a channel is, in volts."""
        return self._channel(channel).scale

    @rpc_method
    def set_enabled(self, on: bool, channel: int) -> None:
        """Say whether a channel is shown and recorded.

        Args:
            on: Whether it is.
            channel: Number of the channel.
        """
        self._channel(channel).enabled = bool(on)

    @rpc_method
    def is_enabled(self, channel: int) -> bool:
        """Whether a channel is shown and recorded."""
        return self._channel(channel).enabled

    @rpc_method
    def set_trigger(self, channel: int, level: float) -> None:
        """Trigger on an edge of a channel.

        Args:
            channel: Number of the channel.
            level: In volts.
        """
        setting("level", level)
        self.trigger_source = number_of("channel", channel, self.channel_count)
        self.trigger_level = level

    @rpc_method
    def get_waveform(self, channel: int, timeout: float | None = None) -> Waveform:
        """Read what was recorded of a channel. Needs numpy.

        Args:
            channel: Number of the channel.
            timeout: For how long each part of it is waited for, in seconds; None for the usual time.

        Raises:
            QMI_InstrumentException: If what the oscilloscope sends is no recording.
        """
        for command in self.dialect.select:
            self._write(self._of(command, channel))
        answers = [
            self._number(text, question)
            for question in self.dialect.preamble
            for text in self._ask(question).split(",")
        ]
        scale = self.dialect.read_scale(answers)
        numbers = self._scpi.ask_array(self.dialect.data, self.dialect.data_type, timeout=timeout)
        return Waveform(scale.start, scale.interval, (numbers - scale.zero) * scale.step + scale.offset)

    def _of(self, command: str, channel: int) -> str:
        return command.replace("{n}", str(number_of("channel", channel, self.channel_count)))

    def _channel(self, number: int) -> OscilloscopeChannel:
        return self.channels[number_of("channel", number, self.channel_count)]

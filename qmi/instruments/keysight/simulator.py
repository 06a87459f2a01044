"""What the driver of waveform generators talks to when it is simulated."""

from __future__ import annotations

from qmi.core.driver import SimulatedError, Simulator

_BUILT_IN = "EXP_RISE"
_CAPACITY = 1_000_000


class GeneratorChannelSimulator(Simulator):
    """One output of a generator, with a memory for arbitrary waveforms.

    Attributes:
        waveforms: The waveforms in the memory, by their names: 16-bit numbers, the higher byte first.
        bursts: How many bursts the channel has been triggered to.
    """

    frequency = 1e3
    amplitude = 0.1
    load = 50.0
    duty_cycle = 50.0
    symmetry = 100.0
    pulse_width = 1e-4
    burst_cycles = 1.0
    burst_period = 1e-2
    sample_rate = 4e4
    waveform = _BUILT_IN

    def __init__(self) -> None:
        super().__init__()
        self.waveforms: dict[str, bytes] = {}
        self.bursts = 0

    def switched_on(self) -> None:
        """The memory is empty."""
        self.waveforms.clear()

    @Simulator.command("SOUR{n}:DATA:ARB:DAC")
    def _upload(self, name: str, block: str) -> None:
        if name in self.waveforms or name == _BUILT_IN:
            raise SimulatedError(786, "Specified arb waveform already exists")
        data = block.encode("latin-1")
        digits = int(data[1:2])
        samples = data[2 + digits :]
        if len(samples) % 2 or not 16 <= len(samples) <= 2 * _CAPACITY:
            raise SimulatedError(-161)
        self.waveforms[name] = samples

    @Simulator.command("SOUR{n}:DATA:VOL:CAT?")
    def _catalogue(self) -> str:
        return ",".join(f'"{name}"' for name in (_BUILT_IN, *self.waveforms))

    @Simulator.command("SOUR{n}:DATA:VOL:CLE")
    def _clear(self) -> None:
        self.waveforms.clear()

    @Simulator.command("SOUR{n}:VOLT:UNIT")
    def _choose_unit(self, unit: str) -> None:
        if unit.upper() != "VPP":
            raise SimulatedError(-224)

    @Simulator.command("TRIG{n}")
    def _trigger(self) -> None:
        self.bursts += 1


class WaveformGeneratorSimulator(Simulator):
    """A generator 33522B."""

    identity = "Agilent Technologies,33522B,MY00000001,4.00"

    @Simulator.command("FORM:BORD")
    def _choose_order(self, order: str) -> None:
        if order.upper() not in ("NORM", "NORMAL"):
            raise SimulatedError(-224)

    @Simulator.command("PHAS:SYNC")
    def _align(self) -> None:
        """The phases of waves that nobody sees are always the same."""

    @Simulator.command("*TRG")
    def _trigger(self) -> None:
        for channel in self.channels:
            if channel.trigger_source.value == "BUS":
                channel.bursts += 1

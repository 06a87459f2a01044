"""A program of its own for the pages: a context with a supply and a meter behind transports, and a queue of scans."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

import qmi
from qmi.core.context import QMI_Context
from qmi.core.driver import Noise, ScpiInstrument, Simulator, parameter, rpc_method
from qmi.scan import Scan, ScanQueue, scan
from tests.support.programs import Program

NAME = "bench"
_NAMES = """
import qmi
from qmi.scan import scan
from tests.support.web_bench import *
source, meter, queue = (qmi.context().get_rpc_object(f"bench.{name}") for name in ("source", "meter", "scans"))
"""


class Range(Enum):
    """How far a source goes."""

    LOW = "low"
    HIGH = "high"


class Source(ScpiInstrument):
    """A voltage source."""

    voltage = parameter("VOLT", float, unit="V", limits=(0, 30), doc="Voltage that is set.")
    compliance = parameter("ILIM", float, unit="A", limits=(0, 2), step=0.01, simulate=0.5, doc="Greatest current.")
    range = parameter("RANG", Range, doc="How far it goes.")
    output = parameter("OUTP", bool, simulate=True, doc="Whether the output is on.")
    load = parameter("MEAS:CURR?", float, unit="A", poll=0.5, simulate=Noise(0.0123, 4e-4), doc="Current that flows.")

    @rpc_method
    def ramp(self, target: float, rate: float = 1.0) -> float:
        """Go to a voltage at a rate.

        Args:
            target: Where to go to, in volts.
            rate: How fast, in volts per second.

        Returns:
            The voltage that is reached, in volts.
        """
        self.parameters.voltage.set(target)
        return target


class Resonance(Simulator):
    """A device whose readings go over a peak."""

    reads = 0

    def current(self) -> float:
        """What it measures."""
        self.reads += 1
        return 1.5 + 4.0 / (1.0 + ((self.reads % 200 - 100) / 12.0) ** 2)


class Meter(ScpiInstrument):
    """A multimeter."""

    simulator = Resonance
    current = parameter("MEAS:CURR?", float, unit="mA", doc="Current that flows.")


def start_bench(config: str) -> QMI_Context:
    """Start the context, with all that it has; in the program that runs this."""
    context = qmi.start(NAME, config_file=config, init_logging=True)
    lab = qmi.context()
    for name, kind in (("source", Source), ("meter", Meter)):
        lab.make_instrument(name, kind, simulate=True).open()
    lab.make_task("scans", ScanQueue).start()
    return context


class Bench:
    """The program, which tests kill and start again.

    Args:
        config: The configuration.
        home: The home directory of the program, where it keeps its queue and its runs.
    """

    def __init__(self, config: Path, home: Path) -> None:
        self._config = config
        self._home = home
        self._program: Program | None = None

    def start(self) -> None:
        """Start it; returns when it has all that it has."""
        self._program = Program(HOME=str(self._home)).__enter__()
        self._program.run(f"from tests.support.web_bench import start_bench\nstart_bench({str(self._config)!r})", 60.0)

    def run(self, code: str) -> Any:
        """Run code in it, and return the value of the last expression."""
        assert self._program is not None
        return self._program.run(code)

    def wait_until(self, expression: str) -> None:
        """Wait until an expression is true there."""
        assert self._program is not None
        self._program.wait_until(expression)

    def kill(self) -> None:
        """SIGKILL."""
        if self._program is not None:
            self._program.kill()
            self._program = None

    def make(self, code: str) -> None:
        """Run code in it that names qmi, scan, source, meter and queue."""
        self.run(f"{_NAMES}\n{code}")


@contextmanager
def bench_program(config: Path, home: Path) -> Iterator[Bench]:
    """The program, for the length of the block."""
    bench = Bench(config, home)
    bench.start()
    try:
        yield bench
    finally:
        bench.kill()


def slow_scan(source: Any, meter: Any, points: int = 200, wait: float = 0.1, run: str = "iv") -> Scan:
    """A scan that takes its time, so that somebody can look at it."""
    made = scan(source.parameters.voltage, 0, 10, points, run=run).settle(wait)
    return made.measure(meter.parameters.current)

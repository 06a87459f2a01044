"""A program of its own for the pages: a context with a supply and a meter behind transports, and a queue of scans."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import qmi
from qmi.core.context import QMI_Context
from qmi.core.driver import ScpiInstrument, parameter
from qmi.scan import Scan, ScanQueue, scan
from tests.support.programs import Program

NAME = "bench"
_NAMES = """
import qmi
from qmi.scan import scan
from tests.support.web_bench import *
source, meter, queue = (qmi.context().get_rpc_object(f"bench.{name}") for name in ("source", "meter", "scans"))
"""


class Source(ScpiInstrument):
    """A voltage source."""

    voltage = parameter("VOLT", float, unit="V", limits=(0, 30), doc="Voltage that is set.")
    output = parameter("OUTP", bool, doc="Whether the output is on.")


class Meter(ScpiInstrument):
    """A multimeter."""

    current = parameter("MEAS:CURR?", float, unit="mA", simulate=1.5, doc="Current that flows.")


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

"""Programs that end, and what came of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOON = 25.0
"""When a program must have ended, in seconds, though the machine does much else; its own waits are longer."""


DRIVER = """
import os, signal, sys, threading, time
import qmi
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import Placement, rpc_method
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from qmi.utils.context_managers import open_close, start_stop

entered = threading.Event()

class Driver(QMI_Instrument):
    @rpc_method
    def block(self):
        print("ready", flush=True)
        entered.set()
        threading.Event().wait()

    @rpc_method
    def count(self):
        self.calls = getattr(self, "calls", 0) + 1
        return self.calls

    @rpc_method
    def close(self):
        super().close()
        print("closed", flush=True)

    def release_rpc_object(self):
        super().release_rpc_object()
        print("released", self._name, flush=True)

class Inline(NoisySineGenerator):
    _rpc_placement = Placement.CALLER

class Stuck(Driver):
    def release_rpc_object(self):
        print("ready", flush=True)
        threading.Event().wait()

def begin(cls=Driver):
    qmi.start("exit", None, context_cfg={"exit": {"stop_grace": 0.5}})
    instrument = qmi.make_instrument("one", cls)
    instrument.open()
    return instrument
"""


@contextmanager
def program(script: str, home: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a script that knows the driver above; it must have ended by the end of the block."""
    path = home / "script.py"
    path.write_text(DRIVER + script)
    with subprocess.Popen(
        [sys.executable, str(path)],
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def end_of(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, output and messages of a program that is about to end."""
    output, messages = process.communicate(timeout=SOON)
    return process.returncode, output, messages

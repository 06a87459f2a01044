"""A context in which something is locked, something is busy, something has failed, and something runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import qmi
from qmi.core.context import QMI_Context
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal
from qmi.core.rpc import QMI_RpcObject, rpc_method
from qmi.core.task import QMI_LoopTask, QMI_Task
from tests.support.waiting import wait_until

CALLED: list[str] = []
"""Which published methods have run."""


class Supply(QMI_Instrument):
    """A supply whose methods note that they run."""

    sig_voltage = QMI_Signal([float])

    @rpc_method
    def is_open(self) -> bool:
        """Whether it is open, which this driver asks its device."""
        CALLED.append("is_open")
        return True

    @rpc_method
    def set_voltage(self, volts: float = 1.0) -> None:
        """Set the voltage.

        Args:
            volts: It, in volts.
        """
        CALLED.append("set_voltage")


class Worker(QMI_RpcObject):
    """Works until it is told to stop."""

    go_on = threading.Event()
    at_work = threading.Event()

    @rpc_method
    def work(self) -> None:
        """Work."""
        self.at_work.set()
        self.go_on.wait(30)

    @rpc_method
    def fail(self) -> None:
        """Fail."""
        raise ValueError("the shutter is stuck")


class Regulator(QMI_LoopTask[None, None]):
    """Does nothing, often."""

    def loop_iteration(self) -> None:
        """Do nothing."""


class Broken(QMI_Task[None, None]):
    """Fails."""

    def run(self) -> None:
        """Fail."""
        raise RuntimeError("no light\x1b[2J")


@contextmanager
def busy(lab: QMI_Context) -> Iterator[None]:
    """All that for the length of a block."""
    Worker.go_on.clear()
    Worker.at_work.clear()
    psu = lab.make_instrument("psu", Supply)
    lab.make_instrument("spare", Supply)
    worker = lab.make_rpc_object("worker", Worker)
    with suppress(ValueError):
        worker.fail()
    qmi.reserve(psu, "calibration")
    work = worker.rpc_nonblocking.work()
    regulator = lab.make_task("regulator", Regulator, loop_period=0.01)
    regulator.start()
    broken = lab.make_task("broken", Broken)
    broken.start()
    assert wait_until(lambda: not broken.is_running() and Worker.at_work.is_set())
    assert wait_until(lambda: regulator.get_statistics().iterations > 0)
    CALLED.clear()
    try:
        yield
    finally:
        Worker.go_on.set()
        work.wait()
        psu.unlock()

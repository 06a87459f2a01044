"""An abort ends what a scan waits for, also where it blocks."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import qmi
from qmi.core.exceptions import QMI_CancelledCallException
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import rpc_method
from qmi.core.task import QMI_Task
from qmi.runtime.call_context import EXECUTION
from qmi.scan import Scan, readable, scan, settable
from qmi.scan.control import PointInterrupt
from tests.support.lab import address, make_context


class Slow(QMI_Instrument):
    """Answers when it is let."""

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.reached = threading.Event()
        self.answers = threading.Event()
        self.ends: list[float] = []

    @rpc_method
    def acquire(self, value: float = 0.0) -> float:
        """Takes its time."""
        self.reached.set()
        assert self.answers.wait(20)
        return value

    @rpc_method
    def switch_off(self) -> None:
        """The end."""
        self.ends.append(0.0)


@pytest.fixture
def device() -> Iterator[Slow]:
    made: list[Slow] = []

    class Here(Slow):
        def __init__(self, context: Any, name: str) -> None:
            super().__init__(context, name)
            made.append(self)

    with make_context("lab") as lab:
        lab.make_instrument("slow", Here)
        with qmi.start("client", None, init_logging=False) as client:
            client.connect_to_peer("lab", address(lab))
            yield made[0]
            made[0].answers.set()


def ended_by(act: Callable[[], object], made: Scan, device: Slow) -> threading.Thread:
    """Do something in another thread while the instrument takes its time; then it may answer what comes next."""

    def run() -> None:
        assert device.reached.wait(20)
        act()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("what", ["set", "measured", "future"])
def test_abort_gives_up_the_call_that_a_point_waits_for(device: Slow, what: str) -> None:
    slow = qmi.get_instrument("lab.slow")
    target = settable(slow.acquire, name="x") if what == "set" else settable(lambda value: None, name="x")
    acquire = slow.rpc_nonblocking.acquire if what == "future" else slow.acquire
    made = scan(target, [1.0, 2.0]).finally_call(lambda: device.ends.append(1.0))
    if what != "set":
        made.measure(readable(lambda: acquire(), name="y"))
    thread = ended_by(made.abort, made, device)
    made.run()
    thread.join()
    assert not device.answers.is_set()
    assert (made.outcome, made.rows, device.ends) == ("aborted", [], [1.0])
    assert EXECUTION.get() is None


def test_call_after_an_aborted_scan_is_waited_for(device: Slow) -> None:
    slow = qmi.get_instrument("lab.slow")
    made = scan([], [()]).measure(slow.acquire)
    thread = ended_by(made.abort, made, device)
    made.run()
    thread.join()
    device.answers.set()
    assert slow.acquire(2.0) == 2.0


def test_parts_of_the_end_of_an_aborted_scan_may_wait(device: Slow) -> None:
    slow = qmi.get_instrument("lab.slow")
    made = scan([], [()]).measure(slow.acquire).finally_call(slow.switch_off)

    def abort() -> None:
        made.abort()
        device.answers.set()

    thread = ended_by(abort, made, device)
    made.run()
    thread.join()
    assert (made.outcome, device.ends) == ("aborted", [0.0])


def test_abort_of_a_scan_around_another_one_ends_both(device: Slow) -> None:
    slow = qmi.get_instrument("lab.slow")
    inner: list[Scan] = []

    def measure() -> float:
        inner.append(scan([], [()]).measure(slow.acquire))
        inner[-1].run()
        return 1.0

    outer = scan([], [(), ()]).measure(measure)
    thread = ended_by(outer.abort, outer, device)
    outer.run()
    thread.join()
    assert (outer.outcome, len(inner), inner[0].rows) == ("aborted", 1, [])
    assert EXECUTION.get() is None


def test_abort_of_a_scan_within_another_one_leaves_that_one(device: Slow) -> None:
    slow = qmi.get_instrument("lab.slow")
    inner = scan([], [()]).measure(slow.acquire)
    outer = scan([], [()]).measure(n=lambda: len(inner.run()))
    thread = ended_by(inner.abort, inner, device)
    assert [row["n"] for row in outer.run()] == [0]
    thread.join()
    assert (outer.outcome, inner.outcome) == ("done", "aborted")


class Scanning(QMI_Task[None, None]):
    """Scans, and tells how that has ended."""

    made: Scan
    error: BaseException | None = None

    def run(self) -> None:
        try:
            type(self).made.run()
        except BaseException as error:
            type(self).error = error
            raise


@pytest.mark.parametrize("how", ["abort", "stop of the task"])
def test_scan_of_a_task_is_ended_while_it_waits(device: Slow, how: str) -> None:
    Scanning.error = None
    Scanning.made = made = scan([], [()]).measure(qmi.get_instrument("lab.slow").acquire)
    task = qmi.make_task("task", Scanning)
    thread = ended_by(made.abort if how == "abort" else task.stop, made, device)
    task.start()
    task.join()
    thread.join()
    assert made.outcome == ("aborted" if how == "abort" else "failed")
    assert (Scanning.error is None) == (how == "abort")


def test_cancelled_call_of_an_instrument_fails_a_scan_that_nobody_aborted() -> None:
    def cancelled() -> None:
        raise QMI_CancelledCallException("somebody gave it up")

    made = scan([], [()]).measure(cancelled)
    with pytest.raises(QMI_CancelledCallException, match="gave it up"):
        made.run()
    assert made.outcome == "failed"


def test_abort_by_a_signal_handler_ends_the_wait_of_its_own_thread(device: Slow) -> None:
    slow = qmi.get_instrument("lab.slow")
    made = scan([], [()]).measure(slow.acquire)
    before = signal.signal(signal.SIGUSR1, lambda *_: made.abort())
    main = threading.main_thread().ident
    assert main is not None
    try:
        thread = ended_by(lambda: signal.pthread_kill(main, signal.SIGUSR1), made, device)
        made.run()
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert made.outcome == "aborted"


def test_interrupt_leaves_no_waiter_behind() -> None:
    class Waker:
        woken = 0

        def wake(self) -> None:
            self.woken += 1

    outer, inner, waker = PointInterrupt(), PointInterrupt(), Waker()
    inner.outer = outer
    inner.enter(waker)
    outer.request(lambda: ValueError("outer"))
    assert (waker.woken, inner.requested) == (1, True)
    inner.leave(waker)
    with pytest.raises(ValueError, match="outer"):
        inner.enter(waker)
    assert (outer._waiters, inner._waiters) == ([], [])

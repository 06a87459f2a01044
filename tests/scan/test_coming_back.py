"""Scans that wait for what is really lost and comes back: programs, links, instruments that are made anew."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import qmi
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_MessageDeliveryException
from qmi.scan import ScanQueue, scan
from tests.support.lab import make_context
from tests.support.ports import free_port
from tests.support.scan_functions import HOOKS, SET_TO, get_power, set_position
from tests.support.waiting import wait_until

LISTED = {"psu": {"driver": "tests.support.supplies:Supply"}}


class Lab:
    """A program with an instrument, which can be started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.context: QMI_Context
        self.begin()

    def begin(self) -> None:
        self.context = make_context("lab", port=self.port, context={"instruments": LISTED})
        self.context.start()
        self.context.make_configured()

    def end(self) -> None:
        self.context.stop()

    def restart_instrument(self) -> None:
        self.context.restart_object("psu")


@pytest.fixture
def lab() -> Iterator[Lab]:
    SET_TO.clear()
    lab = Lab()
    with qmi.start("client", None, init_logging=False) as client:
        client.connect_to_peer("lab", f"127.0.0.1:{lab.port}", reconnect=True)
        yield lab
    HOOKS.clear()
    if lab.context.is_running:
        lab.end()


def at_second_point(act: Callable[[], object]) -> None:
    times = iter(range(100))

    def hook() -> None:
        if next(times) == 1:
            act()

    HOOKS["set_position"] = hook


@contextmanager
def restarted_at_second_point(lab: Lab, state: Callable[[], str]) -> Iterator[None]:
    """The program of the instrument ends at the second point, and is started again when the scan waits for it."""

    def again() -> None:
        wait_until(lambda: state().startswith("suspended"))
        lab.begin()

    def end() -> None:
        lab.end()
        thread.start()

    thread = threading.Thread(target=again)
    at_second_point(end)
    yield
    thread.join()


def test_scan_waits_for_a_program_that_is_started_again(lab: Lab) -> None:
    one = scan([set_position, qmi.get_instrument("lab.psu").parameters.maximum], [(1, 1.0), (2, 2.0), (3, 3.0)])
    one = one.measure(get_power).wait_when_lost(30.0)
    with restarted_at_second_point(lab, lambda: one.state):
        one.run()
    assert [row["position"] for row in one.rows] == [1, 2, 3]
    assert SET_TO[:3] == [1, 2, 2], "the point is measured anew from its beginning"
    assert lab.context.get_instrument("psu").maximum == 3.0


def test_scan_goes_on_when_its_instrument_is_made_anew(lab: Lab) -> None:
    one = scan([set_position, qmi.get_instrument("lab.psu").parameters.maximum], [(1, 1.0), (2, 2.0)])
    at_second_point(lab.restart_instrument)
    one.measure(get_power).wait_when_lost(30.0).run()
    assert [row["position"] for row in one.rows] == [1, 2]


def test_scan_without_patience_ends_when_a_program_ends(lab: Lab) -> None:
    one = scan([set_position, qmi.get_instrument("lab.psu").parameters.maximum], [(1, 1.0), (2, 2.0)])
    at_second_point(lab.end)
    with pytest.raises(QMI_MessageDeliveryException):
        one.run()
    assert (one.outcome, len(one.rows)) == ("failed", 1)


def test_scan_of_a_queue_waits_for_an_instrument_of_another_program(lab: Lab) -> None:
    with make_context("control") as control:
        control.connect_to_peer("lab", f"127.0.0.1:{lab.port}", reconnect=True)
        queue: Any = control.make_task("scans", ScanQueue, modules=["tests.support.scan_functions"])
        queue.start()
        one = scan([set_position, qmi.get_instrument("lab.psu").parameters.maximum], [(1, 1.0), (2, 2.0)])
        with restarted_at_second_point(lab, lambda: queue.list_scans()[0].state):
            info = one.measure(get_power).wait_when_lost(30.0).submit(queue).wait()
        assert (info.state, info.points, SET_TO[:3]) == ("done", 2, [1, 2, 2])

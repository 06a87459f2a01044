from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio

import qmi
from qmi.core.exceptions import QMI_SignalSubscriptionException, QMI_UsageException
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal
from qmi.core.rpc import Placement, rpc_method
from qmi.scan import Scan, scan, settable
from tests.support.waiting import until, wait_until


class Interlock(QMI_Instrument):
    """Says whether the door is open."""

    _rpc_placement = Placement.CALLER
    sig_door = QMI_Signal([bool])

    @rpc_method
    def put(self, is_open: bool) -> None:
        """Open the door, or close it."""
        self.sig_door.publish(is_open)


@pytest.fixture
def interlock() -> Iterator[Any]:
    qmi.start("lab", None, init_logging=False)
    yield qmi.make_instrument("interlock", Interlock)
    qmi.stop()


def is_open(door: bool) -> bool:
    return door


class Bench:
    """Opens the door while it measures the second point."""

    def __init__(self, interlock: Any) -> None:
        self.set_to: list[object] = []
        self.states: list[str] = []
        self.times = 0
        self.door = interlock
        self.scan: Scan = scan(settable(self.set_to.append, name="x"), [0, 1, 2]).measure(y=self.measure)
        self.scan.suspend_when(interlock.sig_door, is_open)

    def measure(self) -> None:
        self.times += 1
        if self.times == 2:
            self.trip()

    def trip(self) -> None:
        self.door.put(True)
        threading.Thread(target=self.go_on).start()

    def go_on(self) -> None:
        wait_until(lambda: self.scan._control._wake is not None and self.scan.state.startswith("suspended"))
        self.states.append(self.scan.state)
        self.door.put(False)


def test_signal_suspends_a_scan_and_lets_it_go_on(interlock: Any) -> None:
    bench = Bench(interlock)
    bench.scan.run()
    assert [row["x"] for row in bench.scan.rows] == [0, 1, 2]
    assert bench.states == ["suspended by <signal lab.interlock.sig_door>"]
    assert bench.set_to == [0, 1, 1, 2], "the point is measured again"


def test_signal_that_came_and_went_within_a_point_has_it_measured_again(interlock: Any) -> None:
    bench = Bench(interlock)

    def trip() -> None:
        interlock.put(True)
        interlock.put(False)

    bench.trip = trip  # type: ignore[method-assign]
    bench.scan.run()
    assert bench.set_to == [0, 1, 1, 2]
    assert len(bench.scan.rows) == 3


def test_signal_that_is_no_reason_changes_nothing(interlock: Any) -> None:
    bench = Bench(interlock)
    bench.trip = lambda: interlock.put(False)  # type: ignore[method-assign]
    bench.scan.run()
    assert bench.set_to == [0, 1, 2]


@pytest.mark.parametrize(("ask", "outcome"), [("stop", "stopped"), ("abort", "aborted")])
def test_suspended_scan_can_be_ended(interlock: Any, ask: str, outcome: str) -> None:
    bench = Bench(interlock)

    def go_on() -> None:
        wait_until(lambda: bench.scan._control._wake is not None and bench.scan.state.startswith("suspended"))
        getattr(bench.scan, ask)()

    bench.go_on = go_on  # type: ignore[method-assign]
    bench.scan.run()
    assert ([row["x"] for row in bench.scan.rows], bench.scan.outcome) == ([0], outcome)


@pytest.mark.parametrize(
    ("gaps", "seen"),
    [(["lost", "resumed"], [0, 1, 1, 2]), (["lost", "restarted"], [0, 1, 1, 2]), (["dropped"], [0, 1, 2])],
)
def test_lost_link_of_a_signal_suspends_a_scan(interlock: Any, gaps: list[str], seen: list[int]) -> None:
    bench = Bench(interlock)

    def trip() -> None:
        (watch,) = bench.scan._watches.all
        for gap in gaps:
            watch.mark_gap(("lab", "interlock", "sig_door"), gap)  # type: ignore[arg-type]

    bench.trip = trip  # type: ignore[method-assign]
    bench.scan.run()
    assert bench.set_to == seen


def test_scan_fails_when_its_signal_is_gone_for_good(interlock: Any) -> None:
    bench = Bench(interlock)
    bench.trip = lambda: qmi.context().remove_rpc_object(interlock)  # type: ignore[method-assign]
    with pytest.raises(QMI_SignalSubscriptionException, match=r"sig_door.*nothing will come any more"):
        bench.scan.run()
    assert len(bench.scan.rows) == 1


def test_scan_leaves_no_subscription(interlock: Any) -> None:
    bench = Bench(interlock)
    bench.trip = lambda: None  # type: ignore[method-assign]
    bench.scan.run()
    interlock.put(True)
    (watch,) = bench.scan._watches.all
    assert not watch.has_signal_ready()


def test_error_of_a_condition_ends_the_scan(interlock: Any) -> None:
    made = scan(settable(lambda value: interlock.put(True), name="x"), [1])
    made.suspend_when(interlock.sig_door, lambda door: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made.run()


@pytest.mark.parametrize(
    ("said", "held", "free"),
    [
        ({"equals": True}, (True,), (False,)),
        ({"equals": None}, (None, 5), (0,)),
        ({"below": 1.0}, (0.5,), (1.0,)),
        ({"above": 2}, (2.5, "other"), (2,)),
        ({"below": 1, "above": 2}, (0,), (1.5,)),
        ({"below": 1, "above": 2}, (3,), (1,)),
        ({"above": 2}, (3,), (float("nan"),)),
    ],
)
def test_conditions_are_said_without_functions(said: dict[str, Any], held: tuple[Any], free: tuple[Any]) -> None:
    signal = Listed()
    (watch,) = scan([], []).suspend_when(signal, **said)._watches.all
    assert watch.condition(*held) is True
    assert watch.condition(*free) is False


class Listed:
    def subscribe(self, receiver: object) -> None:
        """Nothing comes."""

    def unsubscribe(self, receiver: object) -> None:
        """Nothing came."""


def test_signal_that_a_condition_cannot_judge_ends_the_scan(interlock: Any) -> None:
    made = scan(settable(lambda value: interlock.put("open"), name="x"), [1])
    made.suspend_when(interlock.sig_door, above=1.0)
    with pytest.raises(QMI_UsageException, match=r"came with 'open', which cannot be above 1"):
        made.run()
    with pytest.raises(QMI_UsageException, match=r"came without a value, expected one that is equal to True"):
        scan([], []).suspend_when(Listed(), equals=True)._watches.all[0].condition()


@pytest.mark.parametrize(
    ("said", "error", "says"),
    [
        ({"equals": 1, "below": 2}, QMI_UsageException, "takes either equals or below and above, got both"),
        ({"below": "1"}, QMI_UsageException, "below must be a number, got '1'"),
        ({"above": True}, QMI_UsageException, "above must be a number, got True"),
        ({"above": float("nan")}, QMI_UsageException, "above must be a number, got nan"),
        ({"condition": is_open, "equals": 1}, QMI_UsageException, "takes either a function or equals, below and above"),
        ({}, QMI_UsageException, r"or equals=, below= or above=, got None"),
    ],
)
def test_conditions_without_sense_are_refused(said: dict[str, Any], error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        scan([], []).suspend_when(Listed(), **said)


def test_conditions_that_make_no_sense_are_refused(interlock: Any) -> None:
    with pytest.raises(QMI_UsageException, match=r"takes a signal such as interlock.sig_state, got 5"):
        scan([], []).suspend_when(5, is_open)  # type: ignore[arg-type]
    with pytest.raises(QMI_UsageException, match="takes a function of the values of the signal"):
        scan([], []).suspend_when(interlock.sig_door, True)  # type: ignore[arg-type]


async def test_signal_suspends_a_scan_of_a_trio_program() -> None:
    async with qmi.open_context("lab", None, init_logging=False) as lab, trio.open_nursery() as nursery:
        interlock: Any = await lab.make_instrument("interlock", Interlock)
        set_to: list[object] = []

        async def go_on() -> None:
            await until(lambda: made.state.startswith("suspended"))
            await interlock.put(False)

        async def measure() -> None:
            if len(set_to) == 2:
                await interlock.put(True)
                nursery.start_soon(go_on)

        made = scan(settable(set_to.append, name="x"), [0, 1, 2]).measure(measure)
        made.suspend_when(interlock.sig_door, is_open)
        await made.run_async()
        assert set_to == [0, 1, 1, 2]
        assert [row["x"] for row in made.rows] == [0, 1, 2]

"""Whatever ends a scan: rows are kept, and the parts of its end are done."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
import trio

import qmi
from qmi.core.exceptions import QMI_InvalidValueException, QMI_TimeoutException, QMI_UsageException
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import rpc_method
from qmi.core.task import QMI_Task
from qmi.runtime.sigint import INTERRUPTS
from qmi.runtime.wakeup import ThreadWaker
from qmi.scan import Scan, ending, repeat, scan, settable
from qmi.scan.ramps import ramp_time, ramp_values
from tests.support.supplies import Supply
from tests.support.waiting import changed, wait_until

pytestmark = pytest.mark.usefixtures("python_handles_ctrl_c")


def press(times: int = 1) -> None:
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)


def announce(made: Scan) -> None:
    """Have those who wait look again when Ctrl-C has come."""
    take = made._control.take_ctrl_c

    def taken(again: bool) -> bool:
        is_all = take(again)
        changed()
        return is_all

    made._control.take_ctrl_c = taken  # type: ignore[method-assign]


class Bench:
    """A scan of three points, and what it does."""

    def __init__(self, at: int = 1, act: Callable[[], object] = lambda: None) -> None:
        self.done: list[object] = []
        self.at = at
        self.act = act
        self.scan: Scan = (
            scan(settable(self.done.append, name="x"), [0, 1, 2])
            .measure(first=lambda: None, y=self.measure, last=lambda: None)
            .finally_call(lambda: self.done.append("end"))
        )

    def measure(self) -> str:
        if len(self.scan.rows) == self.at:
            self.act()
        return "y"

    @property
    def points(self) -> list[object]:
        return [row["x"] for row in self.scan.rows]


# -- Ctrl-C


@pytest.mark.parametrize("at", [0, 1, 2])
def test_first_ctrl_c_finishes_the_point_and_stops(at: int) -> None:
    bench = Bench(at, press)
    with pytest.raises(KeyboardInterrupt):
        bench.scan.run()
    assert bench.points == list(range(at + 1))
    assert bench.done == [*range(at + 1), "end"]
    assert bench.scan.outcome == "stopped"


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("times", [2, 3, 5])
def test_second_ctrl_c_cancels_the_point(at: int, times: int) -> None:
    bench = Bench(at, lambda: press(times))
    with pytest.raises(KeyboardInterrupt):
        bench.scan.run()
    assert bench.points == list(range(at))
    assert bench.done == [*range(at + 1), "end"]
    assert bench.scan.outcome == "aborted"


def test_ctrl_c_in_the_block_of_the_loop_lets_it_end() -> None:
    bench, seen = Bench(), []

    def go() -> None:
        for point in bench.scan:
            press()
            seen.append(point)

    with pytest.raises(KeyboardInterrupt):
        go()
    assert len(seen) == 1
    assert bench.done == [0, "end"]


def test_second_ctrl_c_in_the_block_of_the_loop_ends_it_at_once() -> None:
    bench, seen = Bench(), []

    def go() -> None:
        for point in bench.scan:
            press(2)
            seen.append(point)

    with pytest.raises(KeyboardInterrupt):
        go()
    assert seen == []
    assert bench.done == [0, "end"]


@pytest.mark.parametrize("times", [1, 2, 4])
def test_ctrl_c_at_the_end_is_raised_when_that_is_done(times: int) -> None:
    bench = Bench()
    bench.scan.finally_call(lambda: wait_until(pressed.is_set)).finally_call(lambda: bench.done.append("last"))
    pressed = threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def strike() -> None:
        for number in range(times):
            signal.pthread_kill(main, signal.SIGINT)
            wait_until(lambda least=number: bench.scan._control.presses > least)  # type: ignore[misc]
        pressed.set()

    announce(bench.scan)
    bench.scan._ending._parts.insert(0, ending.FinalCall(threading.Thread(target=strike).start, 5.0))
    with pytest.raises(KeyboardInterrupt):
        bench.scan.run()
    assert bench.done == [0, 1, 2, "end", "last"]


class Slow(QMI_Instrument):
    """Its answer takes until Ctrl-C was pressed."""

    @rpc_method
    def press(self, times: int) -> int:
        """Press Ctrl-C, and answer when it has come."""
        main = threading.main_thread().ident
        assert main is not None
        for number in range(times):
            signal.pthread_kill(main, signal.SIGINT)
            wait_until(lambda least=number: not WATCHED or WATCHED[0]._control.presses > least)  # type: ignore[misc]
        return 5


WATCHED: list[Scan] = []


def test_ctrl_c_before_a_break_is_raised_after_it() -> None:
    bench = Bench()

    def go() -> None:
        for _ in bench.scan:
            press()
            break
        ThreadWaker().wait(10)  # looks for Ctrl-C now and then

    with pytest.raises(KeyboardInterrupt):
        go()
    assert bench.done == [0, "end"]


@pytest.mark.parametrize(("times", "rows"), [(1, 1), (2, 0)])
def test_ctrl_c_during_a_call(times: int, rows: int) -> None:
    qmi.start("lab", None, init_logging=False)
    try:
        slow: Any = qmi.make_instrument("slow", Slow)
        done: list[str] = []
        made = scan(settable(lambda value: None, name="x"), repeat([1])).measure(y=lambda: slow.press(times))
        made.finally_call(lambda: done.append("end"))
        WATCHED[:] = [made]
        announce(made)
        with pytest.raises(KeyboardInterrupt):
            made.run()
        assert (len(made.rows), done) == (rows, ["end"])
    finally:
        WATCHED.clear()
        qmi.stop()


def test_ctrl_c_at_every_line_of_a_scan_leaves_its_end_done() -> None:
    """Pressed twice before the n-th line that runs in the files of scans."""

    def go(number: int) -> tuple[Bench, bool, bool]:
        left, begun = number, False

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal left, begun
            if "/qmi/scan/" not in frame.f_code.co_filename or frame.f_code.co_name in ("begin", "end"):
                return None
            if event == "line" and left > 0:
                left -= 1
                if left == 0:
                    begun = bool(INTERRUPTS.stoppers)
                    press(2)
            return trace

        bench, raised = Bench(), False
        made = bench.scan
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            made.run()
        except KeyboardInterrupt:
            raised = True
        finally:
            sys.settrace(before)
        assert raised == (left == 0)
        return bench, left == 0, begun

    number, begun_at = 1, 0
    while True:
        bench, reached, begun = go(number)
        if not reached:
            break
        begun_at += begun
        assert not begun or bench.done[-1:] == ["end"], f"line {number}"
        assert bench.done.count("end") <= 1
        assert INTERRUPTS.stoppers == [], f"line {number}"
        number += 1
    assert begun_at > 50


async def test_ctrl_c_in_a_trio_program_finishes_the_point_and_stops() -> None:
    bench = Bench(1, press)
    with pytest.raises(KeyboardInterrupt):
        await bench.scan.run_async()
    assert bench.done == [0, 1, "end"]
    assert bench.points == [0, 1]


async def test_second_ctrl_c_in_a_trio_program_cancels_the_point() -> None:
    bench = Bench(1, lambda: press(2))
    with pytest.raises(KeyboardInterrupt):
        await bench.scan.run_async()
    assert bench.done == [0, 1, "end"]
    assert bench.points == [0]


def test_ctrl_c_is_as_usual_after_a_scan_and_before_it() -> None:
    made = Bench().scan
    with pytest.raises(KeyboardInterrupt):
        press()
    made.run()
    with pytest.raises(KeyboardInterrupt):
        press()


def test_scan_in_another_thread_leaves_ctrl_c_alone() -> None:
    bench = Bench(1, lambda: inside.append(list(INTERRUPTS.stoppers)))
    inside: list[object] = []
    thread = threading.Thread(target=bench.scan.run)
    thread.start()
    thread.join()
    assert inside == [[]]
    assert bench.points == [0, 1, 2]


# -- other ends


def fail() -> None:
    raise ValueError("it is hot")


def test_error_ends_a_scan() -> None:
    bench = Bench(1, fail)
    with pytest.raises(ValueError, match="it is hot"):
        bench.scan.run()
    assert (bench.points, bench.done, bench.scan.outcome) == ([0], [0, 1, "end"], "failed")


def test_break_ends_a_scan() -> None:
    bench = Bench()
    for _ in bench.scan:
        break
    assert (bench.done, bench.scan.outcome) == ([0, "end"], "stopped")


def test_error_in_the_block_ends_a_scan() -> None:
    bench = Bench()

    def go() -> None:
        for _ in bench.scan:
            fail()

    with pytest.raises(ValueError, match="hot"):
        go()
    assert (bench.done, bench.scan.outcome) == ([0, "end"], "stopped")


def test_end_of_a_with_block_ends_a_scan() -> None:
    bench = Bench()
    with bench.scan as points:
        next(iter(points))
        assert bench.done == [0]
    assert bench.done == [0, "end"]


def test_scan_that_is_dropped_ends() -> None:
    bench = Bench()
    rows = iter(bench.scan)
    next(rows)
    del rows
    gc.collect()
    assert bench.done == [0, "end"]


@pytest.mark.parametrize(("ask", "points"), [("stop", [0, 1]), ("abort", [0])])
def test_scan_is_stopped_from_another_thread(ask: str, points: list[int]) -> None:
    def act() -> None:
        thread = threading.Thread(target=getattr(bench.scan, ask))
        thread.start()
        thread.join()

    bench = Bench(1, act)
    bench.scan.run()
    assert bench.points == points
    assert bench.done == [0, 1, "end"]
    assert bench.scan.outcome == {"stop": "stopped", "abort": "aborted"}[ask]


@pytest.mark.parametrize("then", ["resume", "stop", "abort"])
def test_paused_scan_waits_for_another_thread(then: str) -> None:
    seen = []

    def go_on() -> None:
        wait_until(lambda: bench.scan._control._wake is not None and len(bench.scan.rows) == 2)
        seen.append((bench.scan.state, bench.points))
        getattr(bench.scan, then)()

    def act() -> None:
        bench.scan.pause()
        threading.Thread(target=go_on).start()

    bench = Bench(1, act)
    bench.scan.run()
    assert seen == [("paused", [0, 1])]
    assert bench.done == ([0, 1, 2, "end"] if then == "resume" else [0, 1, "end"])


def test_ctrl_c_ends_a_pause() -> None:
    def go_on() -> None:
        wait_until(lambda: bench.scan._control._wake is not None and len(bench.scan.rows) == 2)
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)

    def act() -> None:
        bench.scan.pause()
        threading.Thread(target=go_on).start()

    bench = Bench(1, act)
    with pytest.raises(KeyboardInterrupt):
        bench.scan.run()
    assert bench.done == [0, 1, "end"]


class Sweep(QMI_Task[None, None]):
    """A task that scans, and pauses."""

    def run(self) -> None:
        SWEEP.scan.pause()
        SWEEP.scan.run()


SWEEP = Bench()


def test_stop_of_a_task_ends_its_scan() -> None:
    SWEEP.__init__()  # type: ignore[misc]
    qmi.start("lab", None, init_logging=False)
    try:
        task: Any = qmi.make_task("sweep", Sweep)
        task.start()
        wait_until(lambda: SWEEP.scan._control._wake is not None)
        task.stop()
        task.join()
    finally:
        qmi.stop()
    assert SWEEP.done == ["end"]


# -- what is done at the end


def test_part_that_fails_keeps_no_other_from_being_done(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    made = scan([], [()]).finally_call(fail).finally_call(lambda: done.append("end"))
    with caplog.at_level(logging.ERROR, "qmi.scan"), pytest.raises(ValueError, match="it is hot"):
        made.run()
    assert done == ["end"]
    assert made.outcome == "failed"
    assert "At the end of a scan, fail() failed: ValueError: it is hot" in caplog.text


def test_several_parts_that_fail_are_all_told() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        scan([], [()]).finally_call(fail).finally_call(fail).run()
    assert len(caught.value.exceptions) == 2


def test_failure_of_the_end_is_a_note_of_the_error_before_it() -> None:
    def burst() -> None:
        raise KeyError("pipe")

    with pytest.raises(KeyError) as caught:
        scan([], [()]).measure(burst).finally_call(fail).run()
    assert caught.value.__notes__ == ["At the end of the scan: ValueError: it is hot"]


def test_part_that_hangs_is_left_at_its_deadline() -> None:
    release, done = threading.Event(), []
    made = scan([], [()]).finally_call(release.wait, deadline=0.01).finally_call(lambda: done.append("end"))
    with pytest.raises(QMI_TimeoutException, match=r"wait\(\) at the end of the scan was not done within 0.01 s"):
        made.run()
    release.set()
    assert done == ["end"]


async def test_part_that_hangs_is_left_at_its_deadline_in_a_trio_program(autojump_clock: object) -> None:
    done: list[str] = []
    made = scan([], [()]).finally_call(trio.sleep_forever).finally_call(lambda: done.append("end"))
    with pytest.raises(QMI_TimeoutException, match="within 10 s"):
        await made.run_async()
    assert done == ["end"]


@pytest.fixture
def psu() -> Iterator[Any]:
    qmi.start("lab", None, init_logging=False)
    yield qmi.make_instrument("psu", Supply)
    qmi.stop()


def test_values_are_ramped_to_a_safe_state(psu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "STEP", 0.0)
    scan(psu.parameters.maximum, [1.0]).finally_set(psu.parameters.maximum, 0, ramp=2.5).run()
    assert psu.get_line() == ["MAX 1.0", "MAX?", "MAX 0.75", "MAX 0.5", "MAX 0.25", "MAX 0.0"]


async def test_values_are_ramped_in_a_trio_program(autojump_clock: object) -> None:
    set_to: list[tuple[float, object]] = []
    began = trio.current_time()
    target = settable(lambda value: set_to.append((round(trio.current_time() - began, 3), value)), name="x")
    await scan(target, [1.0]).finally_set(target, 0.0, ramp=5.0).run_async()
    assert set_to == [(0.0, 1.0), (0.1, 0.5), (0.2, 0.0)]


def test_ramp_goes_to_its_end_where_nothing_is_known_of_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "STEP", 0.0)
    set_to: list[object] = []
    scan([], [()]).finally_set(settable(set_to.append, name="x"), 0, ramp=1).run()
    assert set_to == [0.0]


def test_ramp_begins_at_what_was_set_where_it_cannot_be_read(
    psu: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ending, "STEP", 0.0)
    set_to: list[object] = []
    target = settable(psu.parameters.maximum, name="x")
    broken = type(target)("x", "V", set_to.append, fail)
    scan(broken, [1.0]).finally_set(broken, 0, ramp=5).run()
    assert set_to == [1.0, 0.5, 0.0]
    assert "x could not be read (ValueError: it is hot)" in caplog.text


def test_locked_block_of_the_scan_holds_for_its_end(psu: Any) -> None:
    with psu.locked():
        scan(psu.parameters.maximum, [1.0]).finally_set(psu.parameters.maximum, 0).run()
    assert psu.get_line() == ["MAX 1.0", "MAX 0.0"]


def test_ramp_values_end_at_the_end() -> None:
    assert list(ramp_values(0.0, 1.0, 2.5)) == [0.25, 0.5, 0.75, 1.0]
    assert list(ramp_values(1.0, 1.0, 2.5)) == [1.0]
    assert list(ramp_values(1.0, -1.0, 1e9)) == [-1.0]
    assert ramp_time(0.0, 1.0, 2.5) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"ramp": 0}, "ramp must be None or a positive number"),
        ({"ramp": float("nan")}, "ramp must be"),
        ({"ramp": True}, "ramp must be"),
        ({"ramp": "1"}, "ramp must be"),
        ({"value": "off", "ramp": 1}, "A ramp ends at a finite number, got 'off'"),
        ({"value": float("inf"), "ramp": 1}, "A ramp ends at a finite number"),
        ({"deadline": 0}, "deadline must be a positive number of seconds, got 0"),
        ({"deadline": None}, "deadline must be"),
    ],
)
def test_ends_that_make_no_sense_are_refused(args: dict[str, Any], says: str) -> None:
    with pytest.raises(QMI_InvalidValueException, match=says):
        scan([], [()]).finally_set(settable(print, name="x"), **{"value": 0, **args})
    with pytest.raises(QMI_UsageException, match="takes a function"):
        scan([], [()]).finally_call(5)  # type: ignore[arg-type]

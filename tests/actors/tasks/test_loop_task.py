from __future__ import annotations

import dis
import itertools
import logging
import sys
import threading
import time
from typing import Any

import pytest
import trio

from qmi.actors.clock.monotonic import MonotonicClock
from qmi.actors.tasks.loop_task import is_async_task, split_cancelled
from qmi.core.exceptions import QMI_InvalidValueException, QMI_TaskInitException, QMI_TaskRunException
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.core.task import QMI_LoopTask, QMI_LoopTaskMissedLoopPolicy, QMI_Task
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from tests.support.tasks import (
    AsyncLoop,
    Does,
    DoesAsync,
    PlainLoop,
    in_thread,
    iterations,
    open_bench,
    open_lab,
    runner_of,
    task_of,
)
from tests.support.waiting import wait_until

IMMEDIATE = QMI_LoopTaskMissedLoopPolicy.IMMEDIATE
SKIP = QMI_LoopTaskMissedLoopPolicy.SKIP
TERMINATE = QMI_LoopTaskMissedLoopPolicy.TERMINATE

both = pytest.mark.parametrize("kind", [PlainLoop, AsyncLoop])


# What each policy does with work that takes so long: starts within 6 s with a period of 1 s, missed periods.
POLICIES = [
    (IMMEDIATE, [], [0, 1, 2, 3, 4, 5, 6], 0),
    (SKIP, [], [0, 1, 2, 3, 4, 5, 6], 0),
    (TERMINATE, [], [0, 1, 2, 3, 4, 5, 6], 0),
    (IMMEDIATE, [0.5, 1.0], [0, 1, 2, 3, 4, 5, 6], 0),
    (SKIP, [0.5, 1.0], [0, 1, 2, 3, 4, 5, 6], 0),
    (TERMINATE, [0.5, 1.0], [0, 1, 2, 3, 4, 5, 6], 0),
    (IMMEDIATE, [1.25], [0, 1.25, 2.25, 3.25, 4.25, 5.25], 1),
    (SKIP, [1.25], [0, 2, 3, 4, 5, 6], 1),
    (TERMINATE, [1.25], [0], 1),
    (IMMEDIATE, [2.0], [0, 2, 3, 4, 5, 6], 1),
    (SKIP, [2.0], [0, 2, 3, 4, 5, 6], 1),
    (TERMINATE, [0, 2.0], [0, 1], 1),
    (IMMEDIATE, [3.5], [0, 3.5, 4.5, 5.5], 3),
    (SKIP, [3.5], [0, 4, 5, 6], 3),
    (IMMEDIATE, [1.5, 1.5], [0, 1.5, 3, 4, 5, 6], 2),
    (SKIP, [1.5, 1.5], [0, 2, 4, 5, 6], 2),
]


@both
@pytest.mark.parametrize(("policy", "work", "starts", "missed"), POLICIES)
def test_policies_in_a_running_task(
    kind: type[PlainLoop], policy: QMI_LoopTaskMissedLoopPolicy, work: list[float], starts: list[float], missed: int
) -> None:
    with open_bench() as bench:
        task = bench.context.make_task("task", kind, work, loop_period=1.0, policy=policy)
        task.start()
        bench.clock.run(6.0)
        statistics = task.get_statistics()
        assert task_of(bench.context).starts == starts
        assert statistics.missed == missed
        assert statistics.iterations == len(starts)
        ends = policy is TERMINATE and missed > 0
        assert statistics.state == ("ended" if ends else "running")
        task.stop()
        assert ("TERMINATE" in str(task.join())) is ends


@both
def test_terminate_tells_its_reason_everywhere(kind: type[PlainLoop], caplog: pytest.LogCaptureFixture) -> None:
    with open_bench() as bench:
        task = bench.context.make_task("task", kind, [1.5], loop_period=1.0, policy=TERMINATE)
        task.start()
        bench.clock.run(3.0)
        reason = task.join()
        assert reason is not None
        assert "500 ms after the next one was due" in reason
        assert task.get_statistics().end_reason == reason
        assert f"Task task ends: {reason}" in caplog.text
        assert task_of(bench.context).hooks == ["prepare", "iteration", "publish", "finalize"]
        assert not task.is_running()


@both
def test_hooks_are_called_in_their_order(kind: type[PlainLoop]) -> None:
    with open_bench() as bench:
        task = bench.context.make_task("task", kind)
        task.set_settings("s")
        task.start()
        bench.clock.run(0.5)
        task.stop()
        task.join()
        hooks = ["prepare", "settings", "iteration", "publish", "finalize"]
        assert task_of(bench.context).hooks == hooks
        assert task.get_settings() == "s"
        assert task.get_status() == {"count": 1}


HOOKS = ("update_settings", "process_new_settings", "update_status", "publish_signals")


@pytest.mark.parametrize("place", ["instance", "class", "base"])
@pytest.mark.parametrize("hook", HOOKS)
def test_hook_is_called_wherever_it_is_written(monkeypatch: pytest.MonkeyPatch, place: str, hook: str) -> None:
    called: list[str] = []

    class Bare(QMI_LoopTask[Any, Any]):
        pass

    with open_bench() as bench:
        task = bench.context.make_task("task", Bare)
        target = {"instance": task_of(bench.context), "class": Bare, "base": QMI_LoopTask}[place]
        monkeypatch.setattr(target, hook, lambda *args: called.append(hook))
        task.set_settings("s")
        task.start()
        bench.clock.run(2.0)
        task.stop()
        task.join()
        assert called == [hook] * (1 if hook == "process_new_settings" else 3)


@both
@pytest.mark.parametrize("duration", [360.0, pytest.param(3600.0, marks=pytest.mark.slow)])
def test_an_hour_of_a_10_hz_loop_is_over_at_once(kind: type[PlainLoop], duration: float) -> None:
    with open_bench() as bench:
        task = bench.context.make_task("task", kind, loop_period=0.1)
        task.start()
        begin = time.process_time()
        bench.clock.run(duration)
        assert time.process_time() - begin < 10.0
        statistics = task.get_statistics()
        assert statistics.iterations == 10 * duration + 1
        assert statistics.missed == 0
        assert statistics.lateness_worst == 0.0


@both
def test_settings_and_status_reach_everybody_as_copies(kind: type[PlainLoop]) -> None:
    settings, status = QMI_SignalReceiver(), QMI_SignalReceiver()
    with open_bench() as bench:
        task = bench.context.make_task("task", kind)
        task.sig_settings_updated.subscribe(settings)
        task.sig_status_updated.subscribe(status)
        mine = {"gain": [1]}
        task.set_settings(mine)
        mine["gain"].append(2)
        task.start()
        bench.clock.run(1.0)
        (heard,) = settings.get_next_signal().args
        assert heard == {"gain": [1]}
        assert heard is not task_of(bench.context).settings
        (first,) = status.get_next_signal().args
        assert first == {"count": 1}
        task_of(bench.context).status["count"] = 99
        assert status.get_next_signal().args == ({"count": 2},)


FAILURES = list(itertools.product([False, True], repeat=3))


@pytest.mark.fault(19)
@both
@pytest.mark.parametrize("failing", FAILURES)
def test_failures_in_any_combination(kind: type[PlainLoop], failing: tuple[bool, bool, bool]) -> None:
    names = ("prepare", "iteration", "finalize")
    with open_bench() as bench:
        task = bench.context.make_task("task", kind)
        actual = task_of(bench.context)
        actual.status = "kept"
        actual.fails = {
            name: ValueError(f"{name} is broken") for name, fails in zip(names, failing, strict=True) if fails
        }
        task.start()
        bench.clock.run(1.0)
        task.stop()
        # Without prepare there is no iteration, so nothing can fail in it.
        expected = [name for name in actual.fails if not (name == "iteration" and failing[0])]
        if expected:
            with pytest.raises(QMI_TaskRunException) as caught:
                task.join()
            for name in names:
                assert (f"ValueError: {name} is broken" in str(caught.value)) is (name in expected)
            cause = caught.value.__cause__
            errors = cause.exceptions if isinstance(cause, BaseExceptionGroup) else (cause,)
            assert list(errors) == [actual.fails[name] for name in expected]
        else:
            assert task.join() is None
        assert actual.hooks.count("finalize") == 1
        assert task.get_status() == ("kept" if failing[0] or failing[1] else {"count": 2})


@both
def test_a_failure_of_no_ordinary_kind_is_told_too(kind: type[PlainLoop]) -> None:
    with open_bench() as bench:
        task = bench.context.make_task("task", kind)
        task_of(bench.context).fails = {"iteration": SystemExit(3), "finalize": KeyboardInterrupt()}
        task.start()
        bench.clock.run(0.5)
        with pytest.raises(QMI_TaskRunException, match="SystemExit: 3; KeyboardInterrupt"):
            task.join()


@both
def test_a_period_of_a_microsecond_runs_flat_out_and_quietly(
    kind: type[PlainLoop], caplog: pytest.LogCaptureFixture
) -> None:
    with open_lab() as context:
        task = context.make_task("task", kind, loop_period=1e-6, policy=SKIP)
        task.start()
        wait_until(lambda: iterations(context) > 2000)
        begin = time.monotonic()
        task.stop()
        task.join(timeout=5.0)
        assert time.monotonic() - begin < 1.0
        elapsed = int(task.get_statistics().iterations)
        lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert elapsed > 2000
        assert 1 <= len(lines) < 10 + elapsed // 1000
        assert task.get_statistics().missed > 2000


class Ticking(MonotonicClock):
    """Goes on whenever it is read, so that each iteration takes longer than its period."""

    TICK = 1 / 1024

    def __init__(self) -> None:
        self.reads = 0

    def now(self) -> float:
        self.reads += 1
        return self.reads * self.TICK


class Overdue(PlainLoop):
    """Does in an iteration what the test says, by the number of the iteration."""

    def __init__(self, runner: Any, name: str, **options: Any) -> None:
        super().__init__(runner, name, **options)
        self.at: dict[int, Any] = {}

    def loop_iteration(self) -> None:
        self.starts.append(0.0)
        self.enter("iteration")
        self.at.get(len(self.starts), lambda: None)()


@pytest.mark.parametrize("policy", [IMMEDIATE, SKIP])
def test_loop_without_time_to_wait_calls_its_hooks_and_hears_settings_and_requests(
    policy: QMI_LoopTaskMissedLoopPolicy,
) -> None:
    status = QMI_SignalReceiver()
    with open_lab(Ticking()) as context:
        task = context.make_task("task", Overdue, loop_period=Ticking.TICK / 4, policy=policy)
        actual = task_of(context)
        task.sig_status_updated.subscribe(status)
        runner = runner_of(context)
        actual.at = {20: lambda: runner.set_settings("s"), 100: runner.stop}
        task.start()
        assert task.join() is None
        assert len(actual.starts) == 100
        hooks = ["prepare", *["iteration", "publish"] * 20, "settings", *["iteration", "publish"] * 80]
        assert actual.hooks == hooks[:100]
        assert status.get_queue_length() == 100
        assert task.get_settings() == "s"
        assert task.get_statistics().iterations == 100
        assert task.get_statistics().missed == 300  # four periods each: three are lost


@pytest.mark.parametrize("policy", [IMMEDIATE, SKIP])
def test_loop_without_time_to_wait_ends_by_an_error(policy: QMI_LoopTaskMissedLoopPolicy) -> None:
    with open_lab(Ticking()) as context:
        task = context.make_task("task", Overdue, loop_period=Ticking.TICK / 4, policy=policy)

        def fail() -> None:
            raise ValueError("the iteration is broken")

        task_of(context).at = {50: fail}
        task.start()
        with pytest.raises(QMI_TaskRunException, match="the iteration is broken"):
            task.join()
        assert len(task_of(context).starts) == 50


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="later versions specialize code in another way")
def test_loop_of_a_task_is_code_that_the_interpreter_specializes() -> None:
    # CPython 3.11 counts plain jumps back, not those by a condition, and calls of a function; this one is called once.
    jumps = {step.opname for step in dis.get_instructions(QMI_LoopTask._loop) if "BACKWARD" in step.opname}
    assert jumps == {"JUMP_BACKWARD"}


@pytest.mark.fault(39)
@both
def test_a_wall_clock_that_jumps_by_an_hour_is_not_noticed(
    kind: type[PlainLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps, real = [0.0], time.time
    monkeypatch.setattr(time, "time", lambda: real() + jumps[-1])
    with open_lab() as context:
        task = context.make_task("task", kind, loop_period=0.01, policy=IMMEDIATE)
        status = QMI_SignalReceiver()
        task.sig_status_updated.subscribe(status)
        begin = time.monotonic()
        task.start()
        for jump in (3600.0, -3600.0, 0.0):
            jumps.append(jump)
            enough = task.get_statistics().iterations + 3
            wait_until(lambda enough=enough: iterations(context) >= enough)  # type: ignore[misc]
        status.discard_all()
        status.get_next_signal(timeout=5.0)
        task.stop()
        task.join(timeout=5.0)
        # No burst: not more iterations than there were periods, and no gap of an hour either.
        assert 9 < task.get_statistics().iterations <= (time.monotonic() - begin) / 0.01 + 2


def test_plain_finalize_is_not_disturbed_by_a_stop_that_comes_late() -> None:
    entered, go_on = threading.Event(), threading.Event()
    amplitudes: list[float] = []

    class Ramp(QMI_LoopTask[Any, Any]):
        def loop_iteration(self) -> None:
            raise ValueError("broken")

        def loop_finalize(self) -> None:
            entered.set()
            go_on.wait(10.0)
            nsg = self._context.get_instrument("nsg")
            nsg.set_amplitude(0.0)
            nsg.lock(timeout=5.0)
            self.sleep(0.001)
            amplitudes.append(nsg.get_amplitude())
            nsg.unlock()

    with open_lab() as context:
        context.make_instrument("nsg", NoisySineGenerator)
        task = context.make_task("task", Ramp)
        task.start()
        assert entered.wait(10.0)
        task.stop()
        go_on.set()
        with pytest.raises(QMI_TaskRunException, match=r"ValueError: broken$"):
            task.join()
        assert amplitudes == [0.0]


def test_async_finalize_is_not_disturbed_by_a_stop_either() -> None:
    class Ramp(AsyncLoop):
        async def loop_finalize(self) -> None:
            for _ in range(3):
                await self.sleep(0.001)
            await super().loop_finalize()

    with open_lab() as context:
        task = context.make_task("task", Ramp)
        task.start()
        wait_until(lambda: iterations(context))
        task.stop()
        task.stop()
        task.join()
        assert task_of(context).hooks[-1] == "finalize"


def test_an_async_finalize_without_an_end_is_left_behind_when_the_context_stops(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Endless(AsyncLoop):
        async def loop_finalize(self) -> None:
            await trio.sleep_forever()

    with open_lab(grace=0.1) as context:
        task = context.make_task("task", Endless)
        task.start()
        wait_until(lambda: iterations(context))
    assert "Task lab.task ignores the request to stop and is left behind" in caplog.text
    assert f"{__file__}:" in caplog.text


def test_an_async_loop_that_uses_nurseries_ends_without_an_error() -> None:
    class Busy(AsyncLoop):
        async def loop_iteration(self) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(trio.sleep_forever)
                self.enter("iteration")

    with open_lab() as context:
        task = context.make_task("task", Busy)
        task.start()
        wait_until(lambda: "iteration" in task_of(context).hooks)
        task.stop()
        assert task.join() is None
        assert task_of(context).hooks == ["prepare", "iteration", "finalize"]


async def test_cancellation_and_failure_are_told_apart() -> None:
    caught: list[trio.Cancelled] = []

    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep(0)
        except trio.Cancelled as error:
            caught.append(error)
            raise
    (cancellation,) = caught
    failure = ValueError("bad")
    cancelled, failed = split_cancelled(BaseExceptionGroup("both", [cancellation, failure]))
    assert isinstance(cancelled, BaseExceptionGroup)
    assert isinstance(failed, BaseExceptionGroup)
    assert (cancelled.exceptions, failed.exceptions) == ((cancellation,), (failure,))
    assert split_cancelled(cancellation) == (cancellation, None)
    assert split_cancelled(failure) == (None, failure)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"loop_period": 0.0}, "above zero"), ({"loop_period": "1"}, "number of seconds"), ({"policy": 1}, "A policy")],
)
def test_a_loop_that_cannot_work_is_refused(options: dict[str, Any], message: str) -> None:
    with open_lab() as context:
        with pytest.raises(QMI_TaskInitException, match=message) as caught:
            context.make_task("task", PlainLoop, **options)
        assert isinstance(caught.value.__cause__, QMI_InvalidValueException)


def test_task_runs_where_its_hooks_say() -> None:
    class OneAsyncHook(QMI_LoopTask[Any, Any]):
        async def publish_signals(self) -> None:
            pass

    class OwnRun(AsyncLoop):
        def run(self) -> None:
            pass

    assert not any(map(is_async_task, (PlainLoop, Does, OwnRun, QMI_Task)))
    assert all(map(is_async_task, (AsyncLoop, DoesAsync, OneAsyncHook)))


@both
def test_a_precise_loop_runs_too(kind: type[PlainLoop]) -> None:
    with open_lab() as context:
        task = context.make_task("task", kind, loop_period=0.002, precise=True)
        with task:
            wait_until(lambda: iterations(context) > 5)
        assert task.get_statistics().state == "ended"


def test_the_empty_hooks_do_nothing() -> None:
    with open_bench() as bench:
        task = bench.context.make_task("task", QMI_LoopTask, loop_period=0.5)
        status = QMI_SignalReceiver()
        task.sig_status_updated.subscribe(status)
        task.set_settings(1)
        task.start()
        bench.clock.run(2.0)
        assert task.get_statistics().iterations == 5
        assert not status.has_signal_ready()


def test_a_stop_in_the_middle_of_an_iteration_that_calls_a_proxy_ends_the_loop_quietly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Calling(PlainLoop):
        def loop_iteration(self) -> None:
            self.enter("iteration")
            self._context.get_task("other").join()

    with open_lab() as context:
        context.make_task("other", PlainLoop).start()
        task = context.make_task("task", Calling)
        task.start()
        wait_until(lambda: "iteration" in task_of(context).hooks)
        waiting = in_thread(task.join)
        task.stop()
        assert waiting.wait(10.0) is None
        assert task_of(context).hooks == ["prepare", "iteration", "finalize"]
        assert runner_of(context)._thread.error is None
    assert "Traceback" not in caplog.text

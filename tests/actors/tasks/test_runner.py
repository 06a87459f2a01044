"""What proxies of tasks do, with runners of the user's own, from callers of every kind."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import trio

import qmi
from qmi.core.context import Context, QMI_Context
from qmi.core.exceptions import QMI_TaskRunException, QMI_TimeoutException
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.core.rpc import rpc_method
from qmi.core.task import QMI_Task, QMI_TaskRunner, TaskStatistics
from qmi.utils.context_managers import start_stop_join
from tests.support.lab import address, make_context
from tests.support.tasks import AsyncLoop, Does, PlainLoop, in_thread, open_bench, open_lab, task_of
from tests.support.waiting import until, wait_until


@dataclass
class Settings:
    sample: float | None
    amplitude: float


class Controlled(QMI_Task[Any, Any]):
    def __init__(self, task_runner: QMI_TaskRunner, name: str, factor: float = 1.0) -> None:
        super().__init__(task_runner, name)
        self.factor = factor
        self.settings = Settings(sample=None, amplitude=100.0)

    def run(self) -> None:
        while not self.stop_requested():
            self.update_settings()
            self.sleep(0.002)


class Control(QMI_TaskRunner):
    """As the tutorial writes them."""

    @rpc_method
    def set_factor(self, factor: float) -> None:
        if hasattr(self._thread.task, "factor"):
            self._thread.task.factor = factor
        else:
            raise QMI_TaskRunException("No such attribute in task: 'factor'")

    @rpc_method
    def get_factor(self) -> float:
        return float(self.task.factor)

    @rpc_method
    def set_amplitude(self, amplitude: float) -> None:
        settings = self.get_settings()
        settings.amplitude = amplitude
        self.set_settings(settings)

    @rpc_method
    def block(self) -> str:
        BUSY.set()
        GATE.wait(30)
        return threading.current_thread().name

    @rpc_method
    async def double(self) -> float:
        await trio.lowlevel.checkpoint()
        return float(self.task.factor) * 2

    @rpc_method
    def finish(self) -> str | None:
        self.stop()
        return self.join()


BUSY, GATE = threading.Event(), threading.Event()


@pytest.fixture(autouse=True)
def gate() -> Iterator[None]:
    BUSY.clear()
    GATE.clear()
    yield
    GATE.set()


@pytest.fixture
def lab() -> Iterator[QMI_Context]:
    with open_lab() as context:
        yield context


def use(task: Any) -> None:
    """A custom runner, used by a blocking caller."""
    with task:
        assert task.is_running()
        task.set_factor(0.9)
        assert task.get_factor() == 0.9
        assert task.double() == 1.8
        receiver = QMI_SignalReceiver()
        task.sig_settings_updated.subscribe(receiver)
        task.set_amplitude(7.0)
        assert receiver.get_next_signal(timeout=10.0).args[0].amplitude == 7.0
        assert task.get_settings().amplitude == 7.0
        assert task.finish() is None
    assert not task.is_running()


def test_a_custom_runner_works_for_blocking_callers(lab: QMI_Context) -> None:
    use(lab.make_task("task", Controlled, task_runner=Control))


def test_a_custom_runner_works_for_remote_callers(lab: QMI_Context) -> None:
    with make_context("far") as far:
        far.make_task("task", Controlled, task_runner=Control)
        lab.connect_to_peer("far", address(far))
        use(lab.get_task("far.task"))


async def test_a_custom_runner_works_for_async_callers(trio_lab: Context) -> None:
    task = await trio_lab.make_task("task", Controlled, task_runner=Control)
    async with task:
        await task.set_factor(0.9)
        assert await task.get_factor() == 0.9
        assert await task.double() == 1.8
        receiver = QMI_SignalReceiver()
        await task.sig_settings_updated.subscribe(receiver)
        await task.set_amplitude(7.0)
        assert (await receiver.next_signal()).args[0].amplitude == 7.0
        assert (await task.get_settings()).amplitude == 7.0
        assert await task.is_running()
        assert await task.finish() is None
    assert (await task.get_statistics()).state == "ended"


def test_a_custom_runner_works_for_callers_that_do_not_wait(lab: QMI_Context) -> None:
    task = lab.make_task("task", Controlled, task_runner=Control)
    now = task.rpc_nonblocking
    now.start().wait(10)
    now.set_factor(0.5).wait(10)
    assert now.get_factor().wait(10) == 0.5
    joining = now.join()
    now.stop().wait(10)
    assert joining.wait(10) is None


def test_an_error_of_a_custom_method_reaches_its_caller(lab: QMI_Context) -> None:
    task = lab.make_task("task", PlainLoop, task_runner=Control)
    with pytest.raises(QMI_TaskRunException, match="No such attribute in task: 'factor'"):
        task.set_factor(1.0)


def test_everything_that_only_asks_or_commands_is_answered_while_a_custom_method_runs(lab: QMI_Context) -> None:
    task = lab.make_task("task", Controlled, task_runner=Control)
    task.start()
    blocked = in_thread(task.block)
    assert BUSY.wait(10)
    assert task.is_running()
    task.set_settings(Settings(1.0, 2.0))
    assert task.get_status() is None
    assert task.get_task_class_name() == f"{__name__}.Controlled"
    task.stop()
    assert task.join() is None
    assert not blocked.done()
    GATE.set()
    blocked.wait(10)


async def test_an_async_task_from_an_async_program(trio_lab: Context) -> None:
    task = await trio_lab.make_task("task", AsyncLoop, loop_period=0.001)
    async with task:
        runner: Any = trio_lab.registry.get("task")
        await until(lambda: runner.object.get_statistics().iterations >= 5)
        with trio.move_on_after(0.01) as scope:
            await task.join()
        assert scope.cancelled_caught
    assert await task.join() is None


async def test_a_plain_task_of_an_async_program_uses_blocking_proxies() -> None:
    heard: list[Any] = []

    def what(task: Any) -> None:
        heard.append(qmi.get_task("lab.loop").is_running())

    async with qmi.open_context("lab", None, init_logging=False) as context:
        await context.make_task("loop", AsyncLoop)
        task = await context.make_task("task", Does, what)
        await task.start()
        await task.join()
    assert heard == [False]


async def test_async_tasks_need_no_threads_of_their_own(trio_lab: Context) -> None:
    before = threading.active_count()  # of other tests there may be idle threads
    tasks = [await trio_lab.make_task(f"task{number}", AsyncLoop) for number in range(200)]
    assert threading.active_count() < before + 30
    for task in tasks:
        await task.start()
    assert all([await task.is_running() for task in tasks])


def test_statistics_tell_what_a_task_did() -> None:
    with open_bench() as bench:
        task = bench.context.make_task("task", PlainLoop, [0.25], loop_period=0.1)
        assert task.get_statistics() == TaskStatistics("new")
        task.start()
        bench.clock.run(0.55)
        statistics = task.get_statistics()
        assert (statistics.state, statistics.iterations, statistics.missed) == ("running", 5, 2)
        assert statistics.lateness_worst == pytest.approx(0.15, rel=0.1)
        assert statistics.lateness_median == 0.0
        assert 0.1 < statistics.lateness_p99 < 0.2
        task.stop()
        task.join()
        assert task.get_statistics().state == "ended"
        plain = bench.context.make_task("plain", Does, lambda task: 1 / 0)
        plain.start()
        with pytest.raises(QMI_TaskRunException, match="Task 'plain' failed: ZeroDivisionError: division by zero"):
            plain.join()
        assert plain.get_statistics() == TaskStatistics("failed", "ZeroDivisionError: division by zero")


def test_join_with_a_timeout_returns_as_soon_as_the_task_ends(lab: QMI_Context) -> None:
    task = lab.make_task("task", PlainLoop, loop_period=0.001)
    task.start()
    joining = in_thread(lambda: task.join(timeout=30.0))
    task.stop()
    assert joining.wait(10) is None
    assert task.join(timeout=0.0) is None


def test_a_task_that_failed_says_so_each_time_and_to_everybody(lab: QMI_Context) -> None:
    with make_context("far") as far:
        task = far.make_task("task", PlainLoop)
        task_of(far).fails = {"iteration": ValueError("one"), "finalize": KeyError("two")}
        lab.connect_to_peer("far", address(far))
        remote = lab.get_task("far.task")
        remote.start()
        for proxy in (task, remote, task, remote):
            with pytest.raises(QMI_TaskRunException, match="ValueError: one; KeyError: 'two'") as caught:
                proxy.join()
            cause = caught.value.__cause__
            if proxy is task:
                assert isinstance(cause, ExceptionGroup)
                assert [type(error) for error in cause.exceptions] == [ValueError, KeyError]
            else:
                assert "ValueError: one" in str(cause)
                assert "KeyError: 'two'" in str(cause)
        far.make_task("other", PlainLoop).start()
        with pytest.raises(QMI_TimeoutException):
            lab.get_task("far.other").join(timeout=0.02)


def test_settings_and_status_travel(lab: QMI_Context) -> None:
    with make_context("far") as far:
        far.make_task("task", PlainLoop, loop_period=0.001)
        lab.connect_to_peer("far", address(far))
        task = lab.get_task("far.task")
        with start_stop_join(task):
            receiver = QMI_SignalReceiver()
            task.sig_settings_updated.subscribe(receiver)
            task.set_settings({"gain": (1, 2.5)})
            assert receiver.get_next_signal(timeout=10.0).args == ({"gain": (1, 2.5)},)
            assert task.get_settings() == {"gain": (1, 2.5)}
            assert task.get_pending_settings() is None
            assert task.get_status()["count"] > 0
            assert task.get_statistics().state == "running"


def test_the_tasks_of_a_context_are_listed(lab: QMI_Context, capsys: pytest.CaptureFixture[str]) -> None:
    lab.make_task("task", PlainLoop, task_runner=Control)
    lab.make_task("other", AsyncLoop)
    assert [address for address, _ in lab.list_rpc_objects("task")] == ["lab.task", "lab.other"]
    lab.show_tasks()
    assert "lab.task" in capsys.readouterr().out
    assert lab.list_rpc_objects("instrument") == []


def test_a_runner_that_fails_to_stop_its_task_keeps_no_context_from_stopping(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(QMI_TaskRunner):
        def stop(self) -> None:  # type: ignore[override]
            raise ValueError("not now")

    with open_lab() as context:
        task = context.make_task("task", PlainLoop, task_runner=Broken)
        task.start()
        with pytest.raises(ValueError, match="not now"):
            task.stop()
        actual = task_of(context)
        wait_until(lambda: actual.hooks.count("iteration"))
    assert actual.hooks[-1] == "finalize"
    assert "stop() of task lab.task failed" in caplog.text


IGNORING = """
import logging, sys, threading, time, qmi
from qmi.core.task import QMI_LoopTask, QMI_Task
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import rpc_method

class Ignores(QMI_Task):
    def run(self):
        started.set()
        threading.Event().wait()  # ignores everything

class Good(QMI_LoopTask):
    def loop_finalize(self):
        sys.stdout.write(f"finalized {self._name}\\n")

class Stuck(QMI_Instrument):
    @rpc_method
    def block(self):
        started.set()
        threading.Event().wait()  # stuck

    def release_rpc_object(self):
        print("released", self._name, flush=True)

started = threading.Event()
qmi.start("lab", None, context_cfg={"lab": {"stop_grace": 0.5}})
"""

TASKS = """
tasks = {name: qmi.make_task(name, Ignores if name == "bad" else Good) for name in ("first", "bad", "last")}
for task in tasks.values():
    task.start()
started.wait()
try:
    tasks["bad"].stop()
    tasks["bad"].join(timeout=0.1)
except TimeoutError as error:
    print(error)
"""

DRIVERS = """
proxies = {name: qmi.make_instrument(name, Stuck) for name in ("first", "bad", "last")}
proxies["bad"].rpc_nonblocking.block()
started.wait()
"""

END = """
begin = time.monotonic()
qmi.stop()
print(f"stopped after {time.monotonic() - begin:.1f} s")
"""


def run_program(text: str) -> tuple[str, str, float]:
    begin = time.monotonic()
    run = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=30)
    assert run.returncode == 0, run.stderr
    return run.stdout, run.stderr, time.monotonic() - begin


@pytest.mark.slow
@pytest.mark.fault(18)
def test_a_task_that_ignores_the_stop_keeps_nobody_else_from_stopping() -> None:
    printed, logged, took = run_program(IGNORING + TASKS + END)
    lines = printed.splitlines()
    line = IGNORING[: IGNORING.index("# ignores everything")].count("\n") + 1
    place = rf"<string>:{line} in run"
    assert lines[0] == f"Task 'bad' was asked to stop but has not ended within 0.1 s; it is at {place}"
    assert sorted(lines[1:3]) == ["finalized first", "finalized last"]
    assert float(lines[3].split()[2]) < 3.0
    assert f"Task lab.bad ignores the request to stop and is left behind, at {place}" in logged
    assert took < 15.0


@pytest.mark.slow
@pytest.mark.fault(14)
def test_a_driver_that_is_stuck_keeps_nobody_else_from_stopping() -> None:
    printed, logged, took = run_program(IGNORING + DRIVERS + END)
    lines = printed.splitlines()
    line = IGNORING[: IGNORING.index("# stuck")].count("\n") + 1
    assert lines[:2] == ["released last", "released first"]
    assert float(lines[2].split()[2]) < 3.0
    assert "lab.bad does not end and is left behind: lab.bad is busy with block() for" in logged
    assert f"<string>:{line} in block" in logged
    assert took < 15.0

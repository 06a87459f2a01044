"""Stopping, wherever a task waits; ending, starting again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import trio

from qmi.actors.interface import Placement
from qmi.actors.tasks.executor import Executor
from qmi.actors.tasks.loop_executor import LoopExecutor
from qmi.actors.tasks.thread_executor import ThreadExecutor
from qmi.core.context import QMI_Context
from qmi.core.exceptions import (
    QMI_Exception,
    QMI_TaskInitException,
    QMI_TaskRunException,
    QMI_TaskStopException,
    QMI_TimeoutException,
    QMI_UsageException,
    QMI_WrongThreadException,
)
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.core.rpc import QMI_RpcObject, rpc_method
from qmi.core.task import QMI_TaskRunner, RestartRule
from tests.support.lab import address, make_context
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

GATE = threading.Event()
BUSY = threading.Event()


@pytest.fixture(autouse=True)
def gate() -> Iterator[None]:
    GATE.clear()
    BUSY.clear()
    yield
    GATE.set()


class Threaded(QMI_RpcObject):
    """Has a thread of its own."""

    @rpc_method
    def block(self) -> str:
        BUSY.set()
        GATE.wait(30)
        return "done"

    @rpc_method
    def echo(self, value: Any) -> Any:
        return value

    @rpc_method
    def count(self) -> Iterator[int]:
        yield 1
        BUSY.set()
        GATE.wait(30)
        yield 2


class Inline(Threaded):
    """Runs in the thread of its caller."""

    _rpc_placement = Placement.CALLER


def wait_in_sleep(task: Any) -> None:
    task.sleep(3600.0)


def wait_in_a_call(task: Any) -> None:
    task._context.get_rpc_object("threaded").block()


def wait_in_a_call_with_a_timeout(task: Any) -> None:
    task._context.get_rpc_object("threaded").block(rpc_timeout=3600.0)


def wait_for_a_future(task: Any) -> None:
    task._context.get_rpc_object("threaded").rpc_nonblocking.block().wait()


def wait_in_line_for_an_inline_object(task: Any) -> None:
    task._context.get_rpc_object("inline").echo(1)


def wait_for_a_lock(task: Any) -> None:
    assert not task._context.get_rpc_object("locked").lock(timeout=3600.0)


def wait_for_a_signal(task: Any) -> None:
    QMI_SignalReceiver().get_next_signal(timeout=None)


def wait_for_a_signal_for_some_time(task: Any) -> None:
    QMI_SignalReceiver().get_next_signal(timeout=3600.0)


def wait_in_a_stream(task: Any) -> None:
    for _ in task._context.get_rpc_object("threaded").count():
        pass


def wait_for_the_shutdown(task: Any) -> None:
    task._context.wait_until_shutdown(None)


def wait_for_another_task(task: Any) -> None:
    task._context.get_task("other").join()


def wait_remotely(task: Any) -> None:
    task._context.get_rpc_object("far.threaded").block()


def wait_for_a_remote_lock(task: Any) -> None:
    task._context.get_rpc_object("far.locked").lock(timeout=3600.0)


def never_wait(task: Any) -> None:
    inline = task._context.get_rpc_object("locked")
    while True:
        inline.is_locked()
        task._context.get_rpc_object("idle").echo(1)


WAITS = [
    wait_in_sleep, wait_in_a_call, wait_in_a_call_with_a_timeout, wait_for_a_future, wait_in_line_for_an_inline_object,
    wait_for_a_lock, wait_for_a_signal, wait_for_a_signal_for_some_time, wait_in_a_stream, wait_for_the_shutdown,
    wait_for_another_task, wait_remotely, wait_for_a_remote_lock, never_wait,
]  # fmt: skip


@pytest.fixture
def lab() -> Iterator[QMI_Context]:
    with make_context("far") as far, open_lab() as context:
        context.connect_to_peer("far", address(far))
        for home in (far, context):
            home.make_rpc_object("threaded", Threaded)
            home.make_rpc_object("locked", Threaded).lock()
            home.get_rpc_object("locked").lock()
        context.make_rpc_object("idle", Inline)
        inline = context.make_rpc_object("inline", Inline)
        context.make_task("other", PlainLoop).start()
        in_thread(inline.block)
        assert BUSY.wait(10)
        yield context
        GATE.set()


@pytest.mark.parametrize("wait", WAITS)
def test_a_request_to_stop_reaches_a_task_once_wherever_it_waits(
    lab: QMI_Context, wait: Callable[[Any], None], caplog: pytest.LogCaptureFixture
) -> None:
    clean = threading.Event()

    def what(task: Any) -> None:
        try:
            wait(task)
        except QMI_TaskStopException:
            assert task.stop_requested()
            # Calls work again, to clean up with.
            assert task._context.get_rpc_object("idle").echo("a") == "a"
            assert task._context.get_rpc_object("far.locked").is_locked()
            assert not task._context.get_rpc_object("locked").lock(timeout=0.001)
            with pytest.raises(QMI_TimeoutException):
                QMI_SignalReceiver().get_next_signal(timeout=0.001)
            with pytest.raises(QMI_TaskStopException):
                task.sleep(0.0)
            clean.set()
            raise

    task = lab.make_task("task", Does, what)
    task.start()
    assert task_of(lab).entered.wait(10)
    # It waits, or soon will: both ways must work.
    begin = time.monotonic()
    task.stop()
    assert task.join(timeout=10.0) is None
    assert time.monotonic() - begin < 5.0
    assert clean.is_set()
    (warning,) = [record for record in caplog.records if record.exc_info]
    assert warning.getMessage() == "Task task was stopped where it waited"
    assert warning.levelno == logging.WARNING
    assert task.get_statistics().end_reason is None


def test_a_task_that_asks_whether_to_stop_can_use_proxies_from_then_on(lab: QMI_Context) -> None:
    heard: list[Any] = []

    def what(task: Any) -> None:
        while not task.stop_requested():
            pass
        heard.append(task._context.get_rpc_object("threaded").echo("still works"))

    task = lab.make_task("task", Does, what)
    task.start()
    task.stop()
    assert task.join() is None
    assert heard == ["still works"]


def test_stop_request_stays_when_another_thread_asks_for_it(lab: QMI_Context) -> None:
    go_on = threading.Event()
    task = lab.make_task("task", Does, lambda task: (go_on.wait(10), task._context.get_task("other").join()))
    task.start()
    task.stop()
    assert task_of(lab).stop_requested()
    go_on.set()
    assert task.join() is None
    assert task.get_statistics().state == "ended"


@pytest.mark.parametrize("kind", [PlainLoop, AsyncLoop])
def test_a_task_that_is_stopped_before_it_starts_has_ended(kind: type[PlainLoop]) -> None:
    with open_lab() as context:
        task = context.make_task("task", kind)
        assert task.get_statistics().state == "new"
        task.stop()
        task.stop()
        assert task.join() is None
        assert not task.is_running()
        assert task.get_statistics().state == "ended"
        with pytest.raises(QMI_UsageException, match="was stopped before it was started"):
            task.start()


@pytest.mark.parametrize("kind", [PlainLoop, AsyncLoop])
def test_a_task_starts_only_once(kind: type[PlainLoop]) -> None:
    with open_lab() as context:
        task = context.make_task("task", kind)
        with pytest.raises(QMI_UsageException, match="was not started, so it will not end"):
            task.join()
        task.start()
        assert task.is_running()
        with pytest.raises(QMI_UsageException, match="'task' was started already"):
            task.start()
        task.stop()
        task.stop()
        task.join()
        assert task.join() is None
        with pytest.raises(QMI_UsageException, match="was started already"):
            task.start()


def test_start_counts_once_when_many_threads_start_and_stop() -> None:
    with open_lab() as context:
        for number in range(20):
            task = context.make_task(f"task{number}", PlainLoop, loop_period=0.001)
            starts = [in_thread(task.start) for _ in range(4)]
            stops = [in_thread(task.stop) for _ in range(2)]
            for future in stops:
                future.wait(10)
            failed = 0
            for future in starts:
                try:
                    future.wait(10)
                except QMI_UsageException:
                    failed += 1
            assert failed in (3, 4)
            assert task.join(timeout=10) is None


def test_join_by_many_threads_ends_when_one_stops_the_task() -> None:
    with open_lab() as context:
        task = context.make_task("task", PlainLoop, loop_period=0.001)
        task.start()
        joins = [in_thread(task.join) for _ in range(8)]
        for _ in range(100):
            assert task.is_running()
            assert task.get_task_class_name() == f"{PlainLoop.__module__}.PlainLoop"
        assert not any(future.done() for future in joins)
        task.stop()
        assert [future.wait(10) for future in joins] == [None] * 8


def test_a_task_may_stop_itself(caplog: pytest.LogCaptureFixture) -> None:
    def by_its_runner(task: Any) -> None:
        task._task_runner.stop()
        task.sleep(0.0)

    def by_its_proxy(task: Any) -> None:
        task._context.get_task("b").stop()
        task.sleep(3600.0)

    def by_the_exception(task: Any) -> None:
        raise QMI_TaskStopException("enough")

    async def by_its_proxy_in_the_loop(task: Any) -> None:
        await task._context.get_task("d").rpc_async.stop()
        await task.sleep(3600.0)

    with open_lab() as context:
        whats = {"a": by_its_runner, "b": by_its_proxy, "c": by_the_exception}
        for name, what in whats.items():
            task = context.make_task(name, Does, what)
            task.start()
            assert task.join(timeout=10) is None
        task = context.make_task("d", DoesAsync, by_its_proxy_in_the_loop)
        task.start()
        assert task.join(timeout=10) is None
    assert caplog.text.count("was stopped where it waited") == 3


def test_a_task_cannot_stop_its_own_context() -> None:
    with open_lab() as context:
        task = context.make_task("task", Does, lambda task: task._context.stop())
        task.start()
        with pytest.raises(QMI_TaskRunException, match="A task cannot stop its own context 'lab'"):
            task.join()


def test_sleep_is_for_the_task_itself() -> None:
    with open_lab() as context:
        task = context.make_task("task", Does, lambda task: task.sleep(3600.0))
        with pytest.raises(QMI_WrongThreadException, match=r"sleep\(\) of task 'task' is for the task itself"):
            task_of(context).sleep(0.0)
        task.start()
        with pytest.raises(QMI_WrongThreadException):
            task_of(context).sleep(0.0)
        task.stop()
        task.join()


def test_an_async_task_is_cancelled_and_may_clean_up() -> None:
    heard: list[str] = []

    async def what(task: Any) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                await task.sleep(3600.0)
        finally:
            heard.append(f"asked to stop: {task.stop_requested()}")
            with trio.CancelScope(shield=True):
                await task._context.get_rpc_object("idle").rpc_async.echo(1)
                heard.append("clean")

    with open_lab() as context:
        context.make_rpc_object("idle", Inline)
        task = context.make_task("task", DoesAsync, what)
        task.start()
        assert task_of(context).entered.wait(10)
        task.stop()
        assert task.join(timeout=10) is None
        assert heard == ["asked to stop: True", "clean"]


def test_an_async_task_that_fails_while_it_is_cancelled_says_so() -> None:
    async def what(task: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await task.sleep(3600.0)
            finally:
                raise ValueError("the cleaning failed")

    with open_lab() as context:
        task = context.make_task("task", DoesAsync, what)
        task.start()
        assert task_of(context).entered.wait(10)
        task.stop()
        with pytest.raises(QMI_TaskRunException, match="ValueError: the cleaning failed"):
            task.join(timeout=10)


@pytest.mark.parametrize("kind", [Does, DoesAsync])
def test_a_constructor_that_fails_gives_its_error_and_the_name_back(kind: type[Does]) -> None:
    class Broken(kind):  # type: ignore[valid-type,misc]
        def __init__(self, runner: Any, name: str) -> None:
            raise OSError("no such device")

    with open_lab() as context:
        before = threading.active_count()
        for _ in range(20):
            with pytest.raises(QMI_TaskInitException, match="'task' failed: OSError: no such device") as caught:
                context.make_task("task", Broken)
            assert isinstance(caught.value.__cause__, OSError)
        # trio keeps idle threads for a while; they are not more than were used at once.
        assert threading.active_count() <= before + 3
        context.make_task("task", PlainLoop)


@pytest.mark.parametrize("kind", [PlainLoop, AsyncLoop])
def test_a_runner_whose_constructor_fails_after_making_the_task_takes_the_task_with_it(kind: type[PlainLoop]) -> None:
    class Broken(QMI_TaskRunner):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            raise ValueError("bad runner")

    class BrokenBefore(QMI_TaskRunner):
        def __init__(self, *args: Any) -> None:
            raise ValueError("bad runner")

    with open_lab() as context:
        before = threading.active_count()
        for runner in (Broken, BrokenBefore):
            for _ in range(10):
                with pytest.raises(ValueError, match="bad runner"):
                    context.make_task("task", kind, task_runner=runner)
        assert threading.active_count() <= before + 3


# Who starts again


class Flaky(PlainLoop):
    """Fails in its first iteration as often as the test says."""

    failures = 0
    broken_constructors = 0
    made = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        cls = type(self)
        cls.made += 1
        if cls.made > 1 and cls.broken_constructors > 0:
            cls.broken_constructors -= 1
            raise OSError("not there yet")

    def loop_iteration(self) -> Any:
        super().loop_iteration()
        self.update_settings()
        if type(self).failures > 0:
            type(self).failures -= 1
            raise ValueError(f"failure, {type(self).failures} to go")


class FlakyAsync(Flaky):
    async def loop_iteration(self) -> None:
        Flaky.loop_iteration(self)


@pytest.fixture(params=[Flaky, FlakyAsync])
def flaky(request: pytest.FixtureRequest) -> type[Flaky]:
    kind: type[Flaky] = request.param
    kind.failures = kind.broken_constructors = kind.made = 0
    return kind


RULE = RestartRule(limit=3, window=100.0, first_delay=1.0, growth=2.0, longest_delay=30.0)


def test_a_task_that_fails_is_started_again_after_growing_delays(
    flaky: type[Flaky], caplog: pytest.LogCaptureFixture
) -> None:
    flaky.failures = 3
    restarts = QMI_SignalReceiver()
    with open_bench() as bench:
        task = bench.context.make_task("task", flaky, restart_rule=RULE)
        task.sig_restarted.subscribe(restarts)
        task.set_settings({"gain": 2})
        task.start()
        starts = []
        for _ in range(8):
            bench.clock.run(1.0)
            starts += [task_of(bench.context).starts[:1]] if task_of(bench.context).starts else []
        assert sorted({start for (start,) in starts}) == [1.0, 3.0, 7.0]
        assert task.is_running()
        assert task.get_settings() == {"gain": 2}
        statistics = task.get_statistics()
        assert (statistics.restarts, statistics.end_reason, statistics.iterations) == (3, None, 2)
        task.stop()
        assert task.join() is None
    told = [restarts.get_next_signal().args for _ in range(3)]
    assert told[0] == (1, "ValueError: failure, 2 to go")
    assert [count for count, _ in told] == [1, 2, 3]
    assert "Task task is started again in 4 s (3)" in caplog.text
    assert caplog.text.count("Task task failed") == 3


def test_restarts_have_a_limit(flaky: type[Flaky], caplog: pytest.LogCaptureFixture) -> None:
    flaky.failures = 10
    with open_bench() as bench:
        task = bench.context.make_task("task", flaky, restart_rule=RULE)
        task.start()
        bench.clock.run(50.0)
        with pytest.raises(QMI_TaskRunException, match="ValueError: failure, 6 to go"):
            task.join()
        assert task.get_statistics().restarts == 3
        assert task.get_statistics().end_reason == "ValueError: failure, 6 to go"
    assert "Task task is not started again: No restart: failed again after the 3 allowed within 100 s" in caplog.text


def test_a_stop_during_the_delay_ends_the_task_with_its_error(flaky: type[Flaky]) -> None:
    flaky.failures = 1
    with open_bench() as bench:
        task = bench.context.make_task("task", flaky, restart_rule=RULE)
        task.start()
        bench.clock.run(0.5)
        assert task.is_running()
        task.stop()
        with pytest.raises(QMI_TaskRunException, match="failure, 0 to go"):
            task.join(timeout=10)
        assert flaky.made == 1


def test_a_constructor_that_fails_at_a_restart_counts_as_a_failure(flaky: type[Flaky]) -> None:
    flaky.failures, flaky.broken_constructors = 1, 2
    with open_bench() as bench:
        task = bench.context.make_task("task", flaky, restart_rule=RULE)
        task.start()
        bench.clock.run(20.0)
        assert task.is_running()
        assert task.get_statistics().restarts == 3
        assert task_of(bench.context).starts[0] == 7.0


def test_a_runner_class_may_have_the_rule(flaky: type[Flaky]) -> None:
    class Supervisor(QMI_TaskRunner):
        restart_rule = RestartRule(first_delay=2.0)

    flaky.failures = 1
    with open_bench() as bench:
        task = bench.context.make_task("task", flaky, task_runner=Supervisor)
        task.start()
        bench.clock.run(1.5)
        assert flaky.made == 1
        bench.clock.run(1.0)
        assert flaky.made == 2


def test_task_without_a_restart_rule_is_not_started_again(flaky: type[Flaky]) -> None:
    flaky.failures = 1
    with open_bench() as bench:
        task = bench.context.make_task("task", flaky)
        task.start()
        bench.clock.run(100.0)
        with pytest.raises(QMI_TaskRunException):
            task.join()
        assert flaky.made == 1


# Who starts a task that has failed


@pytest.mark.parametrize("remote", [False, True])
def test_a_failed_task_says_so_and_is_made_anew_by_another_start(flaky: type[Flaky], remote: bool) -> None:
    flaky.failures = 1
    with open_lab() as context, make_context("client") as client:
        task: Any = context.make_task("task", flaky, loop_period=0.001)
        if remote:
            client.connect_to_peer("lab", address(context))
            task = client.get_task("lab.task")
        assert task.get_state() == ("new", None)
        task.set_settings("kept")
        task.start()
        for _ in range(2):
            with pytest.raises(QMI_TaskRunException, match=r"'task' failed: ValueError: failure, 0 to go"):
                task.join()
        assert task.get_state() == ("failed", "ValueError: failure, 0 to go")
        assert str(task.get_state()) == "failed: ValueError: failure, 0 to go"
        assert task.get_statistics()[:2] == ("failed", "ValueError: failure, 0 to go")
        assert not task.is_running()
        broken = task_of(context)
        task.start()
        assert task.is_running()
        assert task.get_state() == ("running", None)
        with pytest.raises(QMI_UsageException, match=r"'task' was started already$"):
            task.start()
        wait_until(lambda: iterations(context) > 2)
        assert task_of(context) is not broken
        assert task.get_settings() == "kept"
        task.stop()
        assert task.join() is None
        assert task.get_state() == ("ended", None)
        with pytest.raises(QMI_UsageException, match="has ended; only one that has failed can be started again"):
            task.start()


def test_a_task_that_fails_again_can_be_started_again_each_time(flaky: type[Flaky]) -> None:
    flaky.failures = 3
    with open_lab() as context:
        before = threading.active_count()
        task = context.make_task("task", flaky, loop_period=0.001)
        for left in (2, 1, 0):
            task.start()
            with pytest.raises(QMI_TaskRunException, match=f"failure, {left} to go"):
                task.join()
        assert task.get_state().state == "failed"
        wait_until(lambda: threading.active_count() <= before)
        task.start()
        task.stop()
        task.join()
    assert flaky.made == 4


def test_a_constructor_that_fails_at_another_start_is_a_failure_of_the_task(flaky: type[Flaky]) -> None:
    flaky.failures = flaky.broken_constructors = 1
    with open_lab() as context:
        task = context.make_task("task", flaky, loop_period=0.001)
        task.start()
        with pytest.raises(QMI_TaskRunException):
            task.join()
        task.start()
        with pytest.raises(QMI_TaskRunException, match="OSError: not there yet"):
            task.join()
        assert "not there yet" in str(task.get_state())
        task.start()
        task.stop()
        task.join()


def test_a_task_that_failed_by_its_constructor_or_while_it_was_stopped_can_be_started_again() -> None:
    with open_lab() as context:
        calls: list[int] = []

        def once(task: Any) -> None:
            calls.append(1)
            if len(calls) == 1:
                while not task.stop_requested():
                    task._task_runner._thread._waiter.wait_until(1e9)
                raise ValueError("while it was stopped")

        task = context.make_task("task", Does, once)
        task.start()
        task.stop()
        with pytest.raises(QMI_TaskRunException, match="while it was stopped"):
            task.join()
        task.start()
        assert task.join() is None


@pytest.mark.parametrize("how", ["at once", "failed before start() returns"])
def test_the_limit_of_restarts_counts_anew_after_another_start(
    flaky: type[Flaky], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how != "at once":
        for kind in (ThreadExecutor, LoopExecutor):
            begin = kind._begin_again

            def begin_and_fail(self: Executor, begin: Callable[[Any], object] = begin) -> None:
                begin(self)
                wait_until(lambda: flaky.failures in (1, 0))

            monkeypatch.setattr(kind, "_begin_again", begin_and_fail)
    flaky.failures = 5
    rule = RestartRule(limit=1, window=100.0, first_delay=0.0)
    with open_lab() as context:
        task = context.make_task("task", flaky, loop_period=0.001, restart_rule=rule)
        for left in (3, 1):
            task.start()
            with pytest.raises(QMI_TaskRunException, match=f"failure, {left} to go"):
                task.join()
        task.start()
        wait_until(lambda: iterations(context) > 2)
        task.stop()
        task.join()


def test_a_joiner_learns_of_the_failure_although_the_task_is_started_again_at_that_moment() -> None:
    with open_lab() as context:
        gate, runs = threading.Event(), list[int]()

        def once(_: Any) -> None:
            runs.append(1)
            gate.wait(10)
            if len(runs) == 1:
                raise ValueError("the first time")

        task = context.make_task("task", Does, once)
        runner = runner_of(context)
        # The first to be notified of the end starts the task again, before the joiner is notified.
        runner._thread.ended.add_done_callback(runner.start)
        task.start()
        joined = runner._begin_join()
        gate.set()
        with pytest.raises(QMI_TaskRunException, match="the first time"):
            joined.wait(10)
        assert task.join() is None


def test_restart_of_a_failed_task_by_many_threads_happens_once() -> None:
    with open_lab() as context:
        runs: list[int] = []

        def work(task: Any) -> None:
            runs.append(1)
            if len(runs) % 2:
                raise ValueError("odd")
            task.sleep(60)

        for number in range(10):
            task = context.make_task(f"task{number}", Does, work)
            task.start()
            with pytest.raises(QMI_TaskRunException):
                task.join()
            starts = [in_thread(task.start) for _ in range(4)]
            refused = 0
            for future in starts:
                try:
                    future.wait(10)
                except QMI_UsageException:
                    refused += 1
            assert refused == 3
            task.stop()
            task.join()
        assert len(runs) == 20


def test_a_stop_right_after_another_start_ends_the_task(flaky: type[Flaky]) -> None:
    with open_lab() as context:
        task = context.make_task("task", flaky, loop_period=60.0)
        for _ in range(20):
            flaky.failures = 1
            task.start()
            with pytest.raises(QMI_TaskRunException):
                task.join(10)
            flaky.failures = 0
            task.start()
            task.stop()
            task.join(10)
            flaky.failures = 0
            task = context.make_task(f"task{flaky.made}", flaky, loop_period=60.0)


def test_restart_rule_of_another_type_is_refused() -> None:
    with open_lab() as context, pytest.raises(QMI_UsageException, match="restart_rule is a RestartRule or None; got 3"):
        context.make_task("task", PlainLoop, restart_rule=3)  # type: ignore[arg-type]


# Where it is


@pytest.mark.fault(18)
def test_a_join_that_takes_too_long_says_where_the_task_is() -> None:
    def what(task: Any) -> None:
        GATE.wait(30)  # here

    with open_lab() as context:
        task = context.make_task("task", Does, what)
        task.start()
        assert task_of(context).entered.wait(10)
        line = what.__code__.co_firstlineno + 1
        with pytest.raises(
            QMI_TimeoutException, match=rf"'task' has not ended within 0.05 s; it is at {__file__}:{line}"
        ):
            task.join(timeout=0.05)
        task.stop()
        with pytest.raises(QMI_TimeoutException, match=rf"was asked to stop but has not ended .* at {__file__}:{line}"):
            task.join(timeout=0.05)
        GATE.set()
        assert task.join(timeout=10) is None


def test_position_of_an_async_task_names_the_line_of_the_user() -> None:
    async def inner() -> None:
        await trio.sleep_forever()

    async def what(task: Any) -> None:
        await inner()

    class Waiting(AsyncLoop):
        async def loop_iteration(self) -> None:
            await self.sleep(3600.0)

    with open_lab() as context:
        task = context.make_task("task", DoesAsync, what)
        task.start()
        assert task_of(context).entered.wait(10)
        line = inner.__code__.co_firstlineno + 1
        with pytest.raises(QMI_TimeoutException, match=rf"it is at {__file__}:{line} in inner"):
            task.join(timeout=0.05)
        loop = context.make_task("loop", Waiting)
        loop.start()
        with pytest.raises(QMI_TimeoutException, match=rf"it is at {__file__}:\d+ in loop_iteration"):
            loop.join(timeout=0.05)
        task.stop()
        task.join()
        assert runner_where(context) == ""


def runner_where(context: QMI_Context) -> str:
    actor = context.async_context.registry.get("task")
    assert actor is not None
    return str(actor.object.__rpc_where__())


@pytest.mark.fault(18)
def test_join_of_a_task_that_ignores_the_stop_of_its_context_fails() -> None:
    with open_lab(grace=0.1) as context:
        task = context.make_task("task", Does, lambda task: GATE.wait(30))
        other = context.make_task("other", PlainLoop)
        actual = task_of(context, "other")
        task.start()
        other.start()
        assert task_of(context).entered.wait(10)
        joining = in_thread(task.join)
        wait_until(lambda: actual.hooks.count("iteration"))
    with pytest.raises(QMI_Exception, match=rf"ignored the request to stop, at {__file__}:\d+"):
        joining.wait(10)
    assert actual.hooks[-1] == "finalize"


def test_join_of_a_task_that_ignores_its_removal_fails() -> None:
    with open_lab(grace=0.1) as context:
        task = context.make_task("task", Does, lambda task: GATE.wait(30))
        task.start()
        assert task_of(context).entered.wait(10)
        joining = in_thread(task.join)
        context.remove_rpc_object(task)
        with pytest.raises(QMI_Exception, match=r"lab.task was removed .* ignored the request to stop"):
            joining.wait(10)
        GATE.set()


def test_removing_a_task_stops_it() -> None:
    with open_lab() as context:
        for kind in (PlainLoop, AsyncLoop):
            task = context.make_task("task", kind)
            task.start()
            actual = task_of(context)
            wait_until(partial(actual.hooks.count, "iteration"))
            context.remove_rpc_object(task)
            assert actual.hooks[-1] == "finalize"
        context.make_task("task", PlainLoop)
        context.remove_rpc_object(context.get_task("task"))


def test_the_base_of_carriers_carries_nothing() -> None:
    class Host:
        clock: Any = None
        facade: Any = None

    executor = Executor(Host(), "task", Does, str)  # type: ignore[arg-type]
    for function in (executor.construct, executor._begin, executor._interrupt, executor.discard, executor.where):
        with pytest.raises(AssertionError):
            function()
    with pytest.raises(AssertionError):
        executor.sleep(1.0)
    with pytest.raises(AssertionError):
        executor.shielded_finalize()
    assert not executor.stop_requested()

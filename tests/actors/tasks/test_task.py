"""What an author of tasks derives from."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import qmi
from qmi.actors.tasks.task import copied
from qmi.core.exceptions import QMI_TaskRunException, QMI_UsageException
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.core.task import QMI_Task
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from tests.support.tasks import Does, DoesAsync, open_bench, open_lab, task_of


def test_a_task_knows_its_runner_its_name_and_its_context() -> None:
    with open_lab() as context:
        context.make_task("task", Does, print)
        task = task_of(context)
        assert task._name == "task"
        assert task._context is context
        assert task._task_runner.get_name() == "task"
        assert (task.settings, task.status) == (None, None)
        assert not task.stop_requested()


def test_a_task_finds_its_own_context_by_the_verbs() -> None:
    found: list[Any] = []
    with open_lab(name="other") as context:
        context.make_instrument("nsg", NoisySineGenerator)

        def what(task: Any) -> None:
            found.append(qmi.context())
            found.append(qmi.get_instrument("other.nsg").get_amplitude())

        task = context.make_task("task", Does, what)
        task.start()
        task.join()
        assert found == [context, 100.0]


def test_a_task_is_made_and_run_in_one_thread() -> None:
    threads: list[threading.Thread] = []

    class Noting(QMI_Task[Any, Any]):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            threads.append(threading.current_thread())

        def run(self) -> None:
            threads.append(threading.current_thread())

    with open_lab() as context:
        task = context.make_task("task", Noting)
        task.start()
        task.join()
    assert threads[0] is threads[1]
    assert threads[0] is not threading.current_thread()


def test_sleeping_takes_the_time_that_it_should() -> None:
    times: list[float] = []

    def what(task: Any) -> None:
        for duration in (1.5, 0.0, -3.0, 2.0):
            task.sleep(duration)
            times.append(task._context.async_context.clock.now())

    async def what_async(task: Any) -> None:
        for duration in (1.5, 0.0, -3.0, 2.0):
            await task.sleep(duration)
            times.append(task._context.async_context.clock.now())

    for kind, function in ((Does, what), (DoesAsync, what_async)):
        times.clear()
        with open_bench() as bench:
            task = bench.context.make_task("task", kind, function)
            task.start()
            bench.clock.run(10.0)
            task.join()
            assert times == [1.5, 1.5, 1.5, 3.5]


def test_settings_are_taken_once_and_the_last_ones_count() -> None:
    taken: list[Any] = []

    def what(task: Any) -> None:
        for _ in range(3):
            task.sleep(1.0)
            taken.append((task.update_settings(), task.settings))

    told = QMI_SignalReceiver()
    with open_bench() as bench:
        task = bench.context.make_task("task", Does, what)
        task.sig_settings_updated.subscribe(told)
        task.start()
        task.set_settings(1)
        task.set_settings(None)
        task.set_settings({"a": 2})
        assert task.get_pending_settings() == {"a": 2}
        assert task.get_settings() is None
        bench.clock.run(2.5)
        assert task.get_pending_settings() is None
        assert task.get_settings() == {"a": 2}
        task.set_settings(None)
        bench.clock.run(2.5)
        task.join()
    assert taken == [(True, {"a": 2}), (False, {"a": 2}), (True, None)]
    assert [told.get_next_signal().args for _ in range(2)] == [({"a": 2},), (None,)]
    assert not told.has_signal_ready()


def test_settings_of_many_setters_are_not_lost_while_the_task_takes_them() -> None:
    last: list[int] = []

    def what(task: Any) -> None:
        while task.settings != 2000:
            if task.update_settings():
                last.append(task.settings)

    with open_lab() as context:
        task = context.make_task("task", Does, what)
        task.start()
        for number in range(1, 2001):
            task.set_settings(number)
        task.join(timeout=10.0)
    assert last == sorted(last)
    assert last[-1] == 2000


def test_settings_that_cannot_be_copied_are_shared() -> None:
    lock = threading.Lock()
    assert copied(lock) is lock
    items = [1]
    assert copied(items) == items
    assert copied(items) is not items


def test_a_task_without_run_fails_when_it_is_joined() -> None:
    with open_lab() as context:
        task = context.make_task("task", QMI_Task)
        task.start()
        with pytest.raises(QMI_TaskRunException, match=r"NotImplementedError: QMI_Task has no run\(\)"):
            task.join()


def test_a_class_that_is_no_task_is_refused() -> None:
    with open_lab() as context:
        for wrong in (NoisySineGenerator, 3):
            with pytest.raises(QMI_UsageException, match="A task is made from a class derived from QMI_Task"):
                context.make_task("task", wrong)  # type: ignore[arg-type]
        with pytest.raises(QMI_UsageException, match="The runner of a task is made from"):
            context.make_task("task", Does, task_runner=NoisySineGenerator)  # type: ignore[type-var]

"""A task that failed shows why and when, and is started again by itself or by anybody, in both kinds of tasks."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_UsageException
from qmi.core.task import QMI_LoopTask, QMI_Task, RestartRule, TaskFailure
from tests.support.lab import address, config, make_context
from tests.support.waiting import wait_until

RUNS: list[str] = []
FAILURES: list[int] = [1]


class Threaded(QMI_Task[None, None]):
    """Fails as often as it should, then waits for its end."""

    stops: ClassVar[list[str]] = []

    def run(self) -> None:
        """Run."""
        RUNS.append("run")
        if len(RUNS) <= FAILURES[0]:
            raise ValueError(f"the water is off ({len(RUNS)})")
        self.sleep(60.0)


class InLoop(QMI_LoopTask[None, None]):
    """The same in the event loop."""

    async def loop_iteration(self) -> None:
        """Run."""
        RUNS.append("run")
        if len(RUNS) <= FAILURES[0]:
            raise ValueError(f"the water is off ({len(RUNS)})")


KINDS = pytest.mark.parametrize("kind", [Threaded, InLoop])
LATE = RestartRule(limit=None, first_delay=600.0, longest_delay=600.0)


@pytest.fixture
def lab() -> Iterator[QMI_Context]:
    RUNS.clear()
    FAILURES[0] = 1
    with make_context("lab") as context:
        yield context


def make(context: QMI_Context, kind: type[Any], rule: RestartRule | None) -> Any:
    kwargs: dict[str, Any] = {"loop_period": 60.0} if kind is InLoop else {}
    return context.make_task("task", kind, restart_rule=rule, **kwargs)


@KINDS
def test_task_that_has_failed_shows_why_and_when(kind: type[Any], lab: QMI_Context, capsys: Any) -> None:
    before = time.time()
    task = make(lab, kind, None)
    assert task.get_last_failure() is None
    task.start()
    assert wait_until(lambda: not task.is_running())
    failure = task.get_last_failure()
    assert isinstance(failure, TaskFailure)
    assert (failure.reason, failure.restarts, failure.retry_in) == ("ValueError: the water is off (1)", 0, None)
    assert before <= failure.time <= time.time()
    assert task.get_state() == ("failed", "ValueError: the water is off (1)")
    lab.show_tasks()
    shown = capsys.readouterr().out
    assert re.search(r"failed: ValueError: the water is off \(1\) \(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)", shown)
    # Started again, it still shows what happened.
    task.start()
    assert wait_until(lambda: len(RUNS) == 2)
    assert task.get_state() == ("running", None)
    assert task.get_last_failure() == failure
    lab.show_tasks()
    assert "running: last failure: ValueError: the water is off (1) (" in capsys.readouterr().out


@KINDS
def test_task_that_waits_for_its_restart_says_so_and_is_started_at_once_by_another_program(
    kind: type[Any], lab: QMI_Context, capsys: Any
) -> None:
    task = make(lab, kind, LATE)
    task.start()
    assert wait_until(lambda: task.get_state().state == "restarting")
    assert task.is_running()
    assert 590.0 < task.get_last_failure().retry_in <= 600.0
    lab.show_tasks()
    assert "restarting: ValueError: the water is off (1) (" in capsys.readouterr().out
    with QMI_Context("client", config()) as client:
        client.connect_to_peer("lab", address(lab))
        client.get_task("lab.task").start()
        assert wait_until(lambda: len(RUNS) == 2)
        assert tuple(client.get_task("lab.task").get_state()) == ("running", None)
        with pytest.raises(QMI_UsageException, match="was started already"):
            client.get_task("lab.task").start()
        failure = client.get_task("lab.task").get_last_failure()
        assert (failure.reason, failure.restarts, failure.retry_in) == ("ValueError: the water is off (1)", 1, None)
    lab.show_tasks()
    assert "running: restarted, last failure: ValueError: the water is off (1) (" in capsys.readouterr().out
    task.stop()
    task.join()
    assert task.get_state().state == "ended"


@KINDS
def test_task_that_waits_for_its_restart_can_be_stopped(kind: type[Any], lab: QMI_Context) -> None:
    task = make(lab, kind, LATE)
    task.start()
    assert wait_until(lambda: task.get_state().state == "restarting")
    task.stop()
    assert wait_until(lambda: not task.is_running())
    assert task.get_state().state == "failed"
    task.start()  # and started again after that
    assert wait_until(lambda: len(RUNS) == 2)


@KINDS
def test_task_that_is_started_at_once_is_given_its_whole_limit_again(kind: type[Any], lab: QMI_Context) -> None:
    FAILURES[0] = 3
    task = make(lab, kind, RestartRule(limit=1, first_delay=600.0, longest_delay=600.0))
    task.start()
    for count in (1, 2, 3):
        assert wait_until(lambda count=count: len(RUNS) == count and task.get_state().state == "restarting")  # type: ignore[misc]
        task.start()
    assert wait_until(lambda: len(RUNS) == 4)
    assert task.get_last_failure().restarts == 3


@KINDS
def test_task_without_a_limit_is_started_again_and_again(kind: type[Any], lab: QMI_Context, capsys: Any) -> None:
    FAILURES[0] = 50
    task = make(lab, kind, RestartRule(limit=None, window=1000.0, first_delay=0.0, growth=1.0, longest_delay=0.0))
    task.start()
    assert wait_until(lambda: len(RUNS) == 51)
    assert task.get_state().state == "running"
    lab.show_tasks()
    assert "running: restarted 50 times, last failure: ValueError: the water is off (50)" in capsys.readouterr().out

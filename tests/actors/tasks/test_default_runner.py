from __future__ import annotations

import pytest

import qmi
from qmi.core.exceptions import QMI_UsageException
from qmi.core.rpc import rpc_method
from qmi.core.task import QMI_Task, QMI_TaskRunner
from tests.support.lab import make_context


class Runner(QMI_TaskRunner):
    """Has a method of its own."""

    @rpc_method
    def get_answer(self) -> int:
        """The answer."""
        return 42


class Other(QMI_TaskRunner):
    """Has none."""


class Task(QMI_Task[object, object]):
    """Names its runner."""

    default_runner = Runner

    def run(self) -> None:
        """End at once."""


class Derived(Task):
    """Has it from its base."""


class Wrong(Task):
    """Names something else."""

    default_runner = int  # type: ignore[assignment]


@pytest.mark.parametrize("cls", [Task, Derived])
def test_task_has_the_runner_that_its_class_names(cls: type[Task]) -> None:
    with make_context("lab") as lab:
        assert lab.make_task("one", cls).get_answer() == 42
        assert not hasattr(lab.make_task("two", cls, task_runner=Other), "get_answer")
        with pytest.raises(
            QMI_UsageException, match=r"The runner of a task is made from a class derived.*got class int"
        ):
            lab.make_task("three", Wrong)


async def test_task_of_a_trio_program_has_the_runner_that_its_class_names() -> None:
    async with qmi.open_context("lab", None, init_logging=False) as lab:
        one = await lab.make_task("one", Task)
        assert await one.call(Runner.get_answer) == 42

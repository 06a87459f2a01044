"""``make_instrument(..., replace=True)`` makes an object anew; a cell of a notebook is run more than once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

import qmi
from qmi.core.exceptions import QMI_DuplicateNameException, QMI_UsageException
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import rpc_method
from qmi.core.task import QMI_Task


class Counting(QMI_Instrument):
    """Counts how often it was made and released."""

    made: ClassVar[list[int]] = []
    released: ClassVar[list[int]] = []

    def __init__(self, context: Any, name: str, number: int = 0) -> None:
        super().__init__(context, name)
        self.made.append(number)
        self._number = number
        if number < 0:
            raise ValueError("no such device")

    @rpc_method
    def get_number(self) -> int:
        """What it was made with."""
        return self._number

    def release_rpc_object(self) -> None:
        """Note it."""
        self.released.append(self._number)
        super().release_rpc_object()


class Replacing(QMI_Instrument):
    """Has a parameter of that name itself."""

    def __init__(self, context: Any, name: str, replace: str = "") -> None:
        super().__init__(context, name)
        self._replace = replace

    @rpc_method
    def get_replace(self) -> str:
        """What it was made with."""
        return self._replace


class Idle(QMI_Task[Any, Any]):
    """Waits to be stopped."""

    def run(self) -> None:
        """Wait."""
        while not self.stop_requested():
            self.sleep(10.0)


@pytest.fixture
def counting() -> Iterator[type[Counting]]:
    yield Counting
    Counting.made.clear()
    Counting.released.clear()


def test_instrument_is_replaced_on_request_and_else_the_error_says_how(counting: type[Counting]) -> None:
    with qmi.start("replace", None, init_logging=False):
        first = qmi.make_instrument("one", counting, number=1)
        first.open()
        with pytest.raises(QMI_DuplicateNameException, match=r"get_instrument\('one'\).*replace=True"):
            qmi.make_instrument("one", counting)
        second = qmi.make_instrument("one", counting, 2, replace=True)
        assert (counting.made, counting.released) == ([1, 2], [1])
        assert second.get_number() == 2
        assert not second.is_open()
        assert qmi.make_instrument("other", counting, 3, replace=True).get_number() == 3
        with pytest.raises(ValueError, match="no such device"):
            qmi.make_instrument("one", counting, -1, replace=True)
        assert qmi.make_rpc_object("one", counting, 4, replace=True).get_number() == 4


@pytest.mark.parametrize("value", [1, "yes", None])
def test_replace_is_true_or_false(counting: type[Counting], value: Any) -> None:
    with qmi.start("replace", None, init_logging=False):
        qmi.make_instrument("one", counting, number=1)
        with pytest.raises(QMI_UsageException, match=f"replace must be True or False, got {value!r}"):
            qmi.make_instrument("one", counting, replace=value)
        assert counting.released == []


def test_replace_removes_nothing_for_what_cannot_be_made(counting: type[Counting]) -> None:
    with qmi.start("replace", None, init_logging=False):
        qmi.make_instrument("one", counting, number=1)
        with pytest.raises(QMI_UsageException):
            qmi.make_instrument("one", int, replace=True)  # type: ignore[type-var]
        with pytest.raises(QMI_UsageException):
            qmi.make_rpc_object("$context", counting, replace=True)
        assert counting.released == []


def test_driver_that_has_a_parameter_of_that_name_gets_it() -> None:
    with qmi.start("replace", None, init_logging=False):
        assert qmi.make_instrument("one", Replacing, replace="its own").get_replace() == "its own"


def test_task_is_replaced_also_while_it_runs() -> None:
    with qmi.start("replace", None, init_logging=False):
        qmi.make_task("task", Idle).start()
        with pytest.raises(QMI_DuplicateNameException, match="get_task"):
            qmi.make_task("task", Idle)
        task = qmi.make_task("task", Idle, replace=True)
        assert not task.is_running()
        task.start()
        task.stop()
        task.join()


async def test_object_of_a_trio_program_is_replaced(counting: type[Counting]) -> None:
    async with qmi.open_context("replace", None, init_logging=False) as context:
        await context.make_instrument("one", counting, 1)
        one = await context.make_instrument("one", counting, 2, replace=True)
        assert await one.get_number() == 2
        await context.make_task("task", Idle)
        await context.make_task("task", Idle, replace=True)
        assert counting.released == [1]

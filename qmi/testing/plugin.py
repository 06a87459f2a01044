"""The pytest plugin: fixtures for tests of drivers, tasks and scripts.

pytest imports this module in each of its sessions, in every environment with this library: it imports nothing but
pytest, and does nothing unless a test asks for one of its fixtures.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from qmi.core.context import Context, QMI_Context
    from qmi.testing.clock import MovableClock
    from qmi.testing.fixtures import Scripted, Simulated
    from qmi.testing.task_bench import TaskBench

_SCRIPTED = pytest.StashKey["Scripted"]()


@pytest.fixture
def qmi_context() -> Iterator[QMI_Context]:
    """A context, which ``qmi.make_instrument()`` and its like use, too; without configuration and network."""
    import qmi

    with qmi.start("test", None, init_logging=False):
        yield qmi.context()


@pytest.fixture
async def qmi_async_context() -> AsyncIterator[Context]:
    """The same in the trio run of the test; needs pytest-trio."""
    import qmi

    async with qmi.open_context("test", None, init_logging=False) as context:
        yield context


@pytest.fixture
def scripted(request: pytest.FixtureRequest) -> Scripted:
    """Makes scripted transports, and checks that their scripts have come to the end."""
    from qmi.testing.fixtures import Scripted

    return request.node.stash.setdefault(_SCRIPTED, Scripted())  # type: ignore[no-any-return]


@pytest.fixture
def simulated(qmi_context: QMI_Context) -> Iterator[Simulated]:
    """Makes simulated instruments, and closes them."""
    from qmi.testing.fixtures import Simulated

    made = Simulated(qmi_context)
    yield made
    made.close_all()


@pytest.fixture
def simulated_time() -> Iterator[MovableClock]:
    """The waits of drivers take no time; a clock that shows how long they would have taken."""
    from qmi.testing.clock import simulated_time as simulate

    with simulate() as clock:
        yield clock


@pytest.fixture
def task_bench() -> Iterator[TaskBench]:
    """A context in which tasks go by a virtual clock."""
    from qmi.testing.task_bench import open_task_bench

    with open_task_bench() as bench:
        yield bench


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Scripts that have steps left fail the test, unless it has failed anyway."""
    result = yield
    if (made := pyfuncitem.stash.get(_SCRIPTED, None)) is not None:
        made.check_done()
    return result

"""Trio programs and contexts on a clock that jumps over every wait."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import trio
import trio.testing

from qmi.actors.actor import Actor
from qmi.actors.clock.loop_time import LoopClock
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.interface import Placement
from qmi.actors.rpc_object import check_class, placement_for
from qmi.config.schema import CfgQmi
from qmi.core.context import Context, QMI_Context
from qmi.core.exceptions import QMI_UsageException
from qmi.core.rpc import QMI_RpcObject
from qmi.runtime.call_context import EXECUTION, Execution

T = TypeVar("T")


def run_in_virtual_time(function: Callable[..., Awaitable[T]], *args: object) -> T:
    """Run a trio program on a clock that stands still while anybody works and jumps ahead when all wait.

    An hour of ``trio.sleep`` takes no time. That is for programs that live in the event loop alone: while a thread
    works, or a message is on its way through a socket, the clock believes that all wait, and their timeouts strike::

        >>> import trio
        >>> from qmi.testing import run_in_virtual_time
        >>> async def main():
        ...     begin = trio.current_time()
        ...     await trio.sleep(3600.0)
        ...     return trio.current_time() - begin
        >>> run_in_virtual_time(main)
        3600.0

    Args:
        function: The async function to run.
        args: Its arguments.

    Returns:
        What it returns.
    """
    return trio.run(function, *args, clock=trio.testing.MockClock(autojump_threshold=0))


@asynccontextmanager
async def open_virtual_context(name: str = "test") -> AsyncIterator[Context]:
    """A context in virtual time; it takes only objects that live in the event loop.

    Those are stand-ins, and objects whose methods are all ``async``. The context reads no configuration and has no
    links::

        >>> import trio
        >>> from qmi.core.instrument import QMI_Instrument
        >>> from qmi.core.rpc import rpc_method
        >>> from qmi.testing import open_virtual_context, run_in_virtual_time
        >>> class Oven(QMI_Instrument):
        ...     @rpc_method
        ...     async def heat(self, seconds: float) -> str:
        ...         await trio.sleep(seconds)
        ...         return "hot"
        >>> async def main():
        ...     async with open_virtual_context() as context:
        ...         oven = await context.make_instrument("oven", Oven)
        ...         return await oven.heat(7200.0)
        >>> run_in_virtual_time(main)
        'hot'

    Args:
        name: What the context is called.

    Raises:
        QMI_UsageException: If time is real here.
    """
    if not isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock):
        raise QMI_UsageException("Time is real here; run the test with qmi.testing.run_in_virtual_time()")
    facade = _VirtualFacade(name, CfgQmi())
    core = facade.async_context
    core.clock = LoopClock()
    async with core.running():
        token = EXECUTION.set(Execution(facade))
        try:
            yield core
        finally:
            EXECUTION.reset(token)


class _VirtualContext(Context):
    """A context that refuses what would work in a thread, where virtual time runs away from it."""

    def make(
        self, name: str, cls: type[QMI_RpcObject], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> QMI_RpcFuture[Actor]:
        """Begin to make an object, if it lives in the event loop."""
        check_class(cls, QMI_RpcObject, "An object")
        if placement_for(cls) is not Placement.LOOP:
            raise QMI_UsageException(
                f"{cls.__name__} has methods that are not async and run in a thread, which virtual time does not wait "
                "for. Take a StandInInstrument instead, or test it in real time"
            )
        return super().make(name, cls, args, kwargs)

    def make_task_actor(self, *args: object) -> QMI_RpcFuture[Actor]:
        """Refuse to make a task, which has a runner with threads."""
        raise QMI_UsageException("Tasks are tested on a bench of their own; see qmi.testing.open_task_bench()")


class _VirtualFacade(QMI_Context):
    _core_class = _VirtualContext

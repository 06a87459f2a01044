"""A call has the same outcome whichever way it takes: put in line, waited for, or run by its caller (the fast path)."""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

import qmi
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_UsageException
from qmi.core.rpc import Placement, QMI_RpcObject, rpc_method
from qmi.messages import Token
from qmi.runtime.call_context import EXECUTION
from tests.support.actors import actor_of, check_idle, handle_of
from tests.support.waiting import wait_until


class Driver(QMI_RpcObject):
    """Tells, in one way or another, how it was called."""

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.context = context

    @rpc_method
    def add(self, a: int, b: int = 2) -> int:
        return a + b

    @rpc_method
    def fail(self, error: BaseException) -> None:
        raise error

    @rpc_method
    def items(self, count: int) -> Iterator[int]:
        yield from range(count)

    @rpc_method
    def chain(self) -> object:
        execution = EXECUTION.get()
        return None if execution is None else execution.chain

    @rpc_method
    def busy_with(self) -> object:
        return actor_of(self.context, "x").statistics()[3:6:2]

    @rpc_method
    def own_call(self, proxy: Any) -> object:
        return proxy.add(1)


class AsyncDriver(Driver):
    """The same for a task."""

    @rpc_method
    async def add(self, a: int, b: int = 2) -> int:  # type: ignore[override]
        return a + b

    @rpc_method
    async def fail(self, error: BaseException) -> None:  # type: ignore[override]
        raise error

    @rpc_method
    async def items(self, count: int) -> AsyncIterator[int]:  # type: ignore[override]
        for item in range(count):
            yield item

    @rpc_method
    async def chain(self) -> object:
        return super().chain()

    @rpc_method
    async def busy_with(self) -> object:
        return super().busy_with()

    @rpc_method
    async def own_call(self, proxy: Any) -> object:
        return await proxy.rpc_async.add(1)


USES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "a value": ("add", (1,)),
    "an error": ("fail", (ValueError("no cable"),)),
    "an error of this library": ("fail", (QMI_UsageException("no"),)),
    "the end of a program": ("fail", (SystemExit(3),)),
    "Ctrl-C that is none": ("fail", (KeyboardInterrupt(),)),
    "wrong arguments": ("add", ()),
    "a stream": ("items", (3,)),
    "who waits": ("chain", ()),
    "what it does": ("busy_with", ()),
    "a call of itself": ("own_call", ("itself",)),
}
SITUATIONS = ["free", "locked", "locked by another", "token of a lost lock", "removed"]


def outcome_of(call: Callable[[], Any]) -> Any:
    """What came of a call, as plain values."""
    try:
        value = call()
        return list(value) if hasattr(value, "__next__") else value
    except BaseException as error:
        return failure(error)


def prepare(lab: QMI_Context, proxy: Any, situation: str) -> None:
    if situation in ("locked", "token of a lost lock"):
        assert proxy.lock()
    if situation == "token of a lost lock":
        lab.get_rpc_object("x").force_unlock()
    if situation == "locked by another":
        assert handle_of(lab.get_rpc_object("x")).acquire(0.0, Token("another")).wait(10)
    if situation == "removed":
        proxy.add(1)
        lab.remove_rpc_object(proxy)


def failure(error: BaseException) -> str:
    """An error as text, without the second in which a lock was granted or taken."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "then", str(error))
    return f"{type(error).__name__}({text}) from {error.__cause__!r}"


def cases() -> list[Any]:
    """Every use in every situation; a usual run has all uses of a free object, and two in each other situation."""
    return [
        pytest.param(
            situation,
            use,
            id=f"{use}-{situation}",
            marks=() if situation == "free" or use in ("a value", "a stream") else pytest.mark.slow,
        )
        for situation in SITUATIONS
        for use in USES
    ]


@pytest.mark.parametrize(("situation", "use"), cases())
def test_call_that_its_caller_runs_equals_one_that_the_object_runs(situation: str, use: str) -> None:
    name, args = USES[use]
    found: list[Any] = []
    for placement in (Placement.THREAD, Placement.CALLER):
        for nonblocking in (False, True):
            with QMI_Context("lab") as lab:
                proxy: Any = lab.make_rpc_object("x", type("Driver", (Driver,), {"_rpc_placement": placement}))
                prepare(lab, proxy, situation)
                given = (proxy,) if args == ("itself",) else args
                method = getattr(proxy.rpc_nonblocking if nonblocking else proxy, name)
                if "Ctrl-C" in use:  # in the main thread it would be what it seems
                    outcome = in_other_thread(method, given, nonblocking)
                else:
                    outcome = outcome_of(lambda: method(*given).wait(10) if nonblocking else method(*given))  # noqa: B023
                statistics = None
                if situation != "removed":
                    actor = actor_of(lab, "x")
                    wait_until(lambda: actor.mailbox.current is None)  # noqa: B023
                    check_idle(actor)
                    statistics = actor.statistics()[:3]
            found.append((outcome, statistics))
    assert [other for other in found if other != found[0]] == []


def in_other_thread(method: Any, args: tuple[Any, ...], nonblocking: bool) -> Any:
    outcomes: list[Any] = []

    def run() -> None:
        outcomes.append(outcome_of(lambda: method(*args).wait(10) if nonblocking else method(*args)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    return outcomes[0]


async def outcome_of_async(call: Callable[[], Awaitable[Any]]) -> Any:
    try:
        value = await call()
        return [item async for item in value] if hasattr(value, "__anext__") else value
    except Exception as error:
        return failure(error)


@pytest.mark.parametrize(("situation", "use"), [case for case in cases() if "Ctrl-C" not in case.id])
async def test_call_that_its_task_runs_equals_one_that_the_loop_runs(situation: str, use: str) -> None:
    name, args = USES[use]
    found: list[Any] = []
    for submitted in (False, True):
        async with qmi.open_context("lab", None, init_logging=False) as lab:
            proxy: Any = await lab.make_rpc_object("x", AsyncDriver)
            if situation in ("locked", "token of a lost lock"):
                assert await proxy.lock()
            other: Any = await lab.get_rpc_object("x")
            if situation == "token of a lost lock":
                await other.force_unlock()
            if situation == "locked by another":
                assert await other.lock()
            if situation == "removed":
                await proxy.add(1)
                await lab.remove_rpc_object(proxy)
            given = (proxy,) if args == ("itself",) else args
            method = getattr(proxy.rpc_nonblocking if submitted else proxy, name)
            outcome = await outcome_of_async(lambda: method(*given))  # noqa: B023
            statistics = None
            if situation != "removed":
                statistics = actor_of(lab, "x").statistics()[:3]
        found.append((outcome, statistics))
    assert found[0] == found[1]

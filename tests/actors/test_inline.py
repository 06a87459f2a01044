from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from qmi.actors.interface import Placement
from qmi.core.context import Context, QMI_Context
from qmi.core.exceptions import (
    QMI_ObjectLockedException,
    QMI_ObjectRemovedException,
    QMI_TaskStopException,
    QMI_UsageException,
)
from qmi.core.rpc import QMI_RpcObject, rpc_method
from qmi.runtime.call_context import EXECUTION, Execution
from qmi.runtime.wakeup import Interrupt
from tests.support.actors import actor_of, check_idle, handle_of
from tests.support.cancel_steps import in_qmi, interrupt_at
from tests.support.drivers import Async, Gate, Inline, Plain
from tests.support.hunting import restless_threads
from tests.support.waiting import wait_until


class Where(QMI_RpcObject):
    """Tells in which thread it runs."""

    _rpc_placement = Placement.CALLER

    @rpc_method
    def thread(self) -> int:
        return threading.get_ident()


def test_the_caller_runs_the_method_itself_unless_it_has_a_timeout(lab: QMI_Context) -> None:
    x = lab.make_rpc_object("x", Where)
    assert x.thread() == threading.get_ident()
    assert not actor_of(lab, "x").statistics().thread
    assert x.thread(rpc_timeout=10) != threading.get_ident()
    assert actor_of(lab, "x").statistics().thread
    assert x.thread() == threading.get_ident()


def test_callers_take_turns(lab: QMI_Context, gate: Gate) -> None:
    x = lab.make_instrument("x", Inline, gate)
    actor = actor_of(lab, "x")
    threads = [threading.Thread(target=x.block)]
    threads[0].start()
    gate.reached.wait(10)
    results: list[int] = []
    for count in range(1, 4):
        threads.append(threading.Thread(target=lambda: results.append(x.count())))
        threads[-1].start()
        wait_until(lambda: len(actor.mailbox) == count)  # noqa: B023
    assert results == []
    gate.open.set()
    for thread in threads:
        thread.join(10)
    assert results == [1, 2, 3]
    check_idle(actor)


def test_inline_waiter_is_woken_by_the_end_of_the_object_and_by_its_lock(lab: QMI_Context, gate: Gate) -> None:
    x: Any = lab.make_instrument("x", Inline, gate)
    actor = actor_of(lab, "x")
    running = threading.Thread(target=x.block)
    running.start()
    gate.reached.wait(10)
    errors: list[BaseException] = []

    def call() -> None:
        try:
            lab.get_instrument("x").add(1)
        except Exception as error:
            errors.append(error)

    locking = x.rpc_nonblocking  # the lock request stands before the call
    assert locking
    asked = handle_of(x).acquire(10, handle_of(x).token_to_lock_with("t"))
    refused = threading.Thread(target=call)
    refused.start()
    wait_until(lambda: len(actor.mailbox) == 2)
    gate.open.set()
    assert asked.wait(10)
    refused.join(10)
    running.join(10)
    assert isinstance(errors[0], QMI_ObjectLockedException)
    check_idle(actor)


def test_removing_answers_who_waits(lab: QMI_Context, gate: Gate) -> None:
    x = lab.make_instrument("x", Inline, gate)
    actor = actor_of(lab, "x")
    running = threading.Thread(target=x.block)
    running.start()
    gate.reached.wait(10)
    errors: list[BaseException] = []

    def call() -> None:
        try:
            x.add(1)
        except Exception as error:
            errors.append(error)

    waiting = threading.Thread(target=call)
    waiting.start()
    wait_until(lambda: len(actor.mailbox) == 1)
    lab.remove_rpc_object(x)
    waiting.join(10)
    assert isinstance(errors[0], QMI_ObjectRemovedException)
    gate.open.set()
    running.join(10)


def test_a_task_that_is_stopped_waits_no_more(lab: QMI_Context, gate: Gate) -> None:
    x = lab.make_instrument("x", Inline, gate)
    actor = actor_of(lab, "x")
    running = threading.Thread(target=x.block)
    running.start()
    gate.reached.wait(10)
    interrupt = Interrupt()
    errors: list[BaseException] = []

    def call() -> None:
        EXECUTION.set(Execution(lab, (), interrupt))
        try:
            x.add(1)
        except Exception as error:
            errors.append(error)
        interrupt.clear()
        errors.append(ValueError(x.add(1)))

    waiting = threading.Thread(target=call)
    waiting.start()
    wait_until(lambda: len(actor.mailbox) == 1)
    interrupt.request(QMI_TaskStopException)
    wait_until(lambda: len(errors) == 1)
    assert isinstance(errors[0], QMI_TaskStopException)
    gate.open.set()
    waiting.join(10)
    running.join(10)
    assert errors[1].args == (3.0,)
    check_idle(actor)


@pytest.mark.parametrize("cls", [Inline, Plain, Async])
@pytest.mark.parametrize("situation", ["idle", "with others in line", "locked by another", "lock", "wait for the lock"])
def test_fault_15_ctrl_c_at_any_line_of_a_call_leaves_the_object_usable(
    lab: QMI_Context, cls: type[Any], situation: str
) -> None:
    x: Any = lab.make_rpc_object("x", cls)
    other = lab.get_rpc_object("x")
    actor = actor_of(lab, "x")
    before = sys.getswitchinterval()
    for number in itertools.count(1):
        if situation in ("locked by another", "wait for the lock"):
            other.lock()
        futures = [other.rpc_nonblocking.count() for _ in range(3)] if situation == "with others in line" else []

        def call() -> None:
            if situation == "lock":
                x.lock()
                x.unlock()
            elif situation == "wait for the lock":
                assert not x.lock(timeout=0.002)
            elif situation == "locked by another":
                with pytest.raises(QMI_ObjectLockedException):
                    x.count()
            else:
                x.count()

        def allowed() -> bool:
            return not actor.mailbox.mutex.locked()

        interrupted = interrupt_at(number, call, in_qmi, allowed)
        for future in futures:
            future.wait(10)
        if handle_of(x).token is not None:
            x.unlock()
        if situation in ("locked by another", "wait for the lock"):
            other.unlock()
        assert not other.is_locked(), number
        assert other.count(rpc_timeout=10) >= 1, number
        assert x.count() >= 1
        wait_until(lambda: actor.mailbox.current is None)
        check_idle(actor)
        if not interrupted:
            break
    assert number > 10
    assert sys.getswitchinterval() == before


def test_fault_15_ctrl_c_in_the_method_of_an_inline_object_is_ctrl_c(lab: QMI_Context) -> None:
    x = lab.make_instrument("x", Inline)
    with pytest.raises(KeyboardInterrupt):
        x.fail(KeyboardInterrupt())
    assert x.add(1) == 3


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads change places as often as can be."""
    with restless_threads():
        yield


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("rounds", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_threads_that_race_for_objects_of_all_kinds_lose_nothing(lab: QMI_Context, rounds: int) -> None:
    for name, cls in (("plain", Plain), ("inline", Inline), ("loop", Async)):
        lab.make_rpc_object(name, cls)
    errors: list[BaseException] = []
    done: dict[str, int] = dict.fromkeys(("plain", "inline", "loop"), 0)
    mutex = threading.Lock()

    def work(seed: int) -> None:
        try:
            proxies = {name: lab.get_rpc_object(name) for name in done}
            for step in range(rounds):
                name = list(done)[(seed + step) % 3]
                proxy = proxies[name]
                if (seed + step) % 4 == 0:
                    assert proxy.lock(timeout=30)
                    try:
                        count = proxy.count()
                        assert proxy.count() == count + 1, "somebody else called while it was locked"
                    finally:
                        assert proxy.unlock()
                    counted = 2
                else:
                    counted = call(proxy, seed + step)
                with mutex:
                    done[name] += counted
        except BaseException as error:
            errors.append(error)

    def call(proxy: Any, seed: int) -> int:
        while True:
            try:
                if seed % 3 == 0:
                    proxy.count(rpc_timeout=30)
                elif seed % 3 == 1:
                    proxy.rpc_nonblocking.count().wait(30)
                else:
                    proxy.count()
            except QMI_ObjectLockedException:
                continue
            return 1

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert errors == []
    for name, count in done.items():
        assert actor_of(lab, name).object.total == count
        wait_until(lambda name=name: actor_of(lab, name).mailbox.current is None)  # type: ignore[misc]
        check_idle(actor_of(lab, name))


async def test_a_task_runs_async_methods_itself_and_waits_for_its_turn(trio_lab: Context) -> None:
    x: Any = await trio_lab.make_rpc_object("x", Async)
    first = x.rpc_nonblocking.count()
    second = x.rpc_nonblocking.count()
    assert await x.count() == 3
    assert (await first, await second) == (1, 2)
    with pytest.raises(QMI_UsageException, match="A timeout is"):
        await x.count(rpc_timeout=-1)
    actor = actor_of(trio_lab, "x")
    check_idle(actor)
    assert actor.statistics()[:3] == (3, 0, 0)


async def test_a_lock_refuses_tasks_that_come_and_tasks_that_wait(trio_lab: Context) -> None:
    x: Any = await trio_lab.make_rpc_object("x", Async)
    y: Any = await trio_lab.get_rpc_object("x")
    busy = x.rpc_nonblocking.count()
    locking = handle_of(x).acquire(1, handle_of(x).token_to_lock_with("t"))
    with pytest.raises(QMI_ObjectLockedException):
        await y.count()
    assert await locking
    assert await busy == 1
    with pytest.raises(QMI_ObjectLockedException):
        await y.count()
    check_idle(actor_of(trio_lab, "x"))

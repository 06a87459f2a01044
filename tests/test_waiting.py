"""A wait of a test ends when its condition comes true, whatever makes it true; none of these looks in between."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio

from qmi.runtime.wakeup import ThreadWaker
from tests.support import waiting
from tests.support.actors import actor_of
from tests.support.drivers import Gate, Plain
from tests.support.lab import make_context
from tests.support.waiting import changed, until, wait_until


@pytest.fixture(autouse=True)
def _only_announcements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LOOK", 3600.0)


class State:
    """Something that comes true once somebody waits for it."""

    def __init__(self) -> None:
        self.true = False
        self.looked = threading.Event()

    def __call__(self) -> bool:
        self.looked.set()
        return self.true


def announce_by_changed(state: State) -> None:
    state.true = True
    changed()


def announce_by_an_event(state: State) -> None:
    state.true = True
    threading.Event().set()


def announce_by_a_record(state: State) -> None:
    state.true = True
    logging.getLogger("anything").warning("something has happened")


def announce_by_sleep(state: State) -> None:
    state.true = True
    ThreadWaker().wait(0.001)


def announce_by_the_end(state: State) -> None:
    state.true = True


def change(state: State, announce: Callable[[State], None]) -> threading.Thread:
    """Let a thread make it true when somebody has looked at it."""

    def run() -> None:
        state.looked.wait(10)
        announce(state)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


HOW = [announce_by_changed, announce_by_an_event, announce_by_a_record, announce_by_sleep, announce_by_the_end]


@pytest.mark.parametrize("announce", HOW)
def test_wait_until_is_woken_by_a_change_in_another_thread(announce: Callable[[State], None]) -> None:
    state = State()
    thread = change(state, announce)
    assert wait_until(state) is True
    thread.join()


@pytest.mark.parametrize("announce", HOW)
async def test_until_is_woken_by_a_change_in_another_thread(announce: Callable[[State], None]) -> None:
    state = State()
    thread = change(state, announce)
    assert await until(state) is True
    thread.join()


async def test_until_is_woken_by_a_step_of_a_task_and_by_no_other_wait(nursery: trio.Nursery) -> None:
    done: list[int] = []
    looks: list[int] = []

    async def count(number: int) -> None:
        def enough() -> bool:
            looks.append(number)
            return len(done) >= number

        await until(enough)
        done.append(number)

    for number in (3, 2, 1):
        nursery.start_soon(count, number)
    await trio.testing.wait_all_tasks_blocked()
    assert len(looks) < 20, "they wake each other"
    done.append(0)
    changed()
    await until(lambda: len(done) == 4)
    assert done == [0, 1, 2, 3]


def test_wait_until_is_woken_by_what_a_context_does() -> None:
    gate = Gate()
    with make_context("srv") as srv, make_context("cli") as cli:
        x: Any = srv.make_instrument("x", Plain, gate)
        cli.connect_to_peer("srv", f"127.0.0.1:{srv.get_tcp_server_port()}")
        far: Any = cli.get_instrument("srv.x")
        assert far.lock()
        future = far.rpc_nonblocking.block()
        wait_until(lambda: actor_of(srv, "x").mailbox.current is not None)
        gate.open.set()
        future.wait(10)
        cli.disconnect_from_peer("srv")
        wait_until(lambda: not srv.has_peer_context("cli"))
        assert not x.is_locked()


def test_wait_that_is_not_fulfilled_ends_with_its_limit() -> None:
    with pytest.raises(AssertionError, match=r"did not come true within 0\.01 s"):
        wait_until(lambda: False, 0.01)


async def test_hooks_are_there_only_while_somebody_waits() -> None:
    originals = (threading.Event.set, logging.Logger.callHandlers)
    found: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(until, lambda: found)
        await trio.testing.wait_all_tasks_blocked()
        assert threading.Event.set is not originals[0]
        found.append(1)
    assert (threading.Event.set, logging.Logger.callHandlers) == originals

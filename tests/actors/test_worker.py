from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import trio

from qmi.actors.worker import Worker
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_RuntimeException
from tests.support.actors import actor_of, check_idle
from tests.support.drivers import Inline, Plain


def nothing_lost(error: Exception | None) -> None:
    raise AssertionError(error)


async def test_jobs_are_done_in_order_in_one_thread() -> None:
    worker = Worker("lab.x", nothing_lost)
    done: list[Any] = []
    worker.give(lambda: done.append((1, threading.current_thread(), worker.is_current())))
    async with trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        worker.give(lambda: done.append((2, threading.current_thread(), worker.is_current())))
        worker.give(lambda: done.append(threading.current_thread().name))
        worker.finish()
    assert done[0][1] is done[1][1]
    assert [done[0][0], done[1][0], done[0][2], done[2]] == [1, 2, True, "lab.x"]
    assert not worker.is_current()


async def test_a_thread_is_left_behind_with_its_job() -> None:
    lost: list[Exception | None] = []
    worker = Worker("lab.x", lost.append)
    reached, leave = threading.Event(), threading.Event()

    def job() -> None:
        reached.set()
        leave.wait(20)

    worker.give(job)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.to_thread.run_sync(reached.wait, 10)
        where = worker.where()
        assert where.startswith(str(Path(__file__)))
        assert where.endswith("in job")
        nursery.cancel_scope.cancel()
    assert lost == [None]
    worker.finish()
    leave.set()


def test_a_thread_that_does_not_run_is_nowhere() -> None:
    worker = Worker("lab.x", nothing_lost)
    assert worker.where() == ""


async def test_an_idle_thread_is_nowhere() -> None:
    worker = Worker("lab.x", nothing_lost)
    ready = threading.Event()
    worker.give(ready.set)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.to_thread.run_sync(ready.wait, 10)
        assert worker.where() == ""
        worker.finish()


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Any:
    async def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("can't start new thread")

    return lambda: monkeypatch.setattr(trio.to_thread, "run_sync", refuse)


def test_an_object_without_a_thread_is_not_made_and_harms_nobody(lab: QMI_Context, no_threads: Any) -> None:
    y = lab.make_instrument("y", Plain)
    no_threads()
    with pytest.raises(QMI_RuntimeException, match=r"There is no thread for lab\.x: can't start new thread"):
        lab.make_instrument("x", Plain)
    assert y.add(1) == 3
    assert [address for address, _ in lab.list_rpc_objects()] == ["lab.y"]


def test_a_call_that_gets_no_thread_fails_alone(lab: QMI_Context, no_threads: Any, monkeypatch: Any) -> None:
    x = lab.make_instrument("x", Inline)
    with monkeypatch.context():
        no_threads()
        with pytest.raises(QMI_RuntimeException, match=r"There is no thread for lab\.x"):
            x.add(1, rpc_timeout=10)
        assert x.add(1) == 3
        check_idle(actor_of(lab, "x"))

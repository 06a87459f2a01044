"""Awaiting outside of trio is refused before anything is done, but for proxies in asyncio; errors say what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import qmi
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_UsageException
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal, QMI_SignalReceiver
from qmi.core.rpc import rpc_method
from qmi.core.task import QMI_Task

SEEN: list[str] = []


class Driver(QMI_Instrument):
    """Notes each call."""

    sig = QMI_Signal([int])

    @rpc_method
    def open(self) -> None:
        """Note it."""
        SEEN.append("open")
        super().open()

    @rpc_method
    def measure(self) -> float:
        """Note it."""
        SEEN.append("measure")
        return 1.0

    @rpc_method
    async def measure_async(self) -> float:
        """Note it."""
        SEEN.append("measure_async")
        return 1.0

    @rpc_method
    def items(self) -> Iterator[int]:
        """Note it."""
        SEEN.append("items")
        yield 1


class Task(QMI_Task[Any, Any]):
    """Does nothing."""

    def run(self) -> None:
        """End at once."""


async def enter(block: Any) -> None:
    async with block:
        raise AssertionError


async def first(items: Any) -> None:
    async for _ in items:
        raise AssertionError


CALLS_OF_PROXIES: dict[str, Callable[[Any], Any]] = {
    "method": lambda one: one.rpc_async.measure(),
    "async method": lambda one: one.rpc_async.measure_async(),
    "method by its function": lambda one: one.rpc_async.call(Driver.measure),
    "method with a timeout": lambda one: one.rpc_async.measure(rpc_timeout=1.0),
    "generator": lambda one: one.rpc_async.items(),
    "lock": lambda one: one.rpc_async.lock(),
    "unlock": lambda one: one.rpc_async.unlock(),
    "is_locked": lambda one: one.rpc_async.is_locked(),
    "force_unlock": lambda one: one.rpc_async.force_unlock(),
    "lock_info": lambda one: one.rpc_async.lock_info(),
    "locked": lambda one: enter(one.rpc_async.locked()),
    "qmi.locked": lambda one: enter(qmi.locked(one.rpc_async)),
    "with block": lambda one: enter(one.rpc_async),
    "subscribe": lambda one: one.rpc_async.sig.subscribe(QMI_SignalReceiver()),
    "unsubscribe": lambda one: one.rpc_async.sig.unsubscribe(QMI_SignalReceiver()),
    "next signal": lambda one: QMI_SignalReceiver().next_signal(),
    "signals": lambda one: first(QMI_SignalReceiver()),
}
CALLS_FOR_TRIO: dict[str, Callable[[Any], Any]] = {
    "open_context": lambda one: enter(qmi.open_context("other", None)),
    "make_rpc_object": lambda one: context().make_rpc_object("two", Driver),
    "make_instrument": lambda one: context().make_instrument("two", Driver),
    "make_task": lambda one: context().make_task("two", Task),
    "remove_rpc_object": lambda one: context().remove_rpc_object(one.rpc_async),
    "get_rpc_object": lambda one: context().get_rpc_object("one"),
    "get_instrument": lambda one: context().get_instrument("one"),
    "get_task": lambda one: context().get_task("one"),
    "subscribe_signal": lambda one: context().subscribe_signal("", "one", "sig", QMI_SignalReceiver()),
    "unsubscribe_signal": lambda one: context().unsubscribe_signal("", "one", "sig", QMI_SignalReceiver()),
    "connect_to_peer": lambda one: context().connect_to_peer("other", "127.0.0.1:1"),
    "disconnect_from_peer": lambda one: context().disconnect_from_peer("other"),
    "discover_peer_contexts": lambda one: context().discover_peer_contexts(),
    "list_rpc_objects": lambda one: context().list_rpc_objects(),
    "wait_until_shutdown": lambda one: context().wait_until_shutdown(1.0),
}


def context() -> Any:
    return qmi.context().async_context


async def awaited(what: Any) -> Any:
    return await what


def in_asyncio(what: Any) -> Any:
    return asyncio.run(awaited(what))


def in_no_loop(what: Any) -> Any:
    return awaited(what).send(None)


@pytest.fixture(scope="module")
def lab() -> Iterator[QMI_Context]:
    with qmi.start("lab", None, init_logging=False) as made:
        qmi.make_instrument("one", Driver)
        yield made


def refusal(run: Callable[[Any], Any], what: Any, text: str) -> None:
    with pytest.raises(QMI_UsageException, match=rf"{text}.*without await.*asyncio\.to_thread.*autoawait trio"):
        run(what)


REFUSED = [
    *(pytest.param(make, in_no_loop, "in trio and in asyncio", id=name) for name, make in CALLS_OF_PROXIES.items()),
    *(pytest.param(make, in_no_loop, "trio program only", id=name) for name, make in CALLS_FOR_TRIO.items()),
    *(
        pytest.param(make, in_asyncio, "trio program only", id=f"{name} asyncio")
        for name, make in CALLS_FOR_TRIO.items()
    ),
]


@pytest.mark.parametrize(("make", "run", "text"), REFUSED)
def test_fault_55_await_that_cannot_work_is_refused_before_anything_is_done(
    lab: QMI_Context, make: Callable[[Any], Any], run: Callable[[Any], Any], text: str
) -> None:
    SEEN.clear()
    one = lab.get_instrument("one")
    before = len(lab.list_rpc_objects())
    refusal(run, make(one), text)
    assert SEEN == []
    assert not one.is_locked()
    assert len(lab.list_rpc_objects()) == before


def test_await_outside_trio_says_where_it_was(lab: QMI_Context) -> None:
    with pytest.raises(QMI_UsageException, match=r"this is asyncio \(as in a notebook\)"):
        in_asyncio(lab.async_context.list_rpc_objects())
    with pytest.raises(QMI_UsageException, match=r"^lab\.one\.measure\(\).*this is another event loop, or none"):
        in_no_loop(lab.get_instrument("one").rpc_async.measure())


def test_future_of_a_call_cannot_be_awaited_without_a_loop_but_waited_for(lab: QMI_Context) -> None:
    future = lab.get_instrument("one").rpc_nonblocking.measure()
    with pytest.raises(QMI_UsageException, match=r"future\.wait"):
        in_no_loop(future)
    assert future.wait(10) == 1.0


def test_stream_cannot_be_awaited_without_a_loop_but_iterated(lab: QMI_Context) -> None:
    items = lab.get_instrument("one").items()
    with pytest.raises(QMI_UsageException, match="next"):
        in_no_loop(first(items))
    assert list(items) == [1]


def test_ways_that_the_error_names_work(lab: QMI_Context) -> None:
    one = lab.get_instrument("one")

    async def main() -> tuple[float, float]:
        return one.measure(), await asyncio.to_thread(one.measure)

    assert asyncio.run(main()) == (1.0, 1.0)

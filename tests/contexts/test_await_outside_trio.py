"""Awaiting outside of trio, as in a notebook, is refused before anything is sent; the error says what works."""

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
from qmi.runtime.wakeup import ASYNCIO

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
CALLS = CALLS_OF_PROXIES | CALLS_FOR_TRIO


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


@pytest.mark.parametrize("run", [in_asyncio, in_no_loop])
@pytest.mark.parametrize("make", CALLS.values(), ids=CALLS)
def test_fault_55_await_outside_trio_is_refused_before_anything_is_done(
    lab: QMI_Context, make: Callable[[Any], Any], run: Callable[[Any], Any]
) -> None:
    SEEN.clear()
    one = lab.get_instrument("one")
    before = len(lab.list_rpc_objects())
    with pytest.raises(
        QMI_UsageException, match=r"trio program only.*without await.*asyncio\.to_thread.*autoawait trio"
    ):
        run(make(one))
    assert SEEN == []
    assert not one.is_locked()
    assert len(lab.list_rpc_objects()) == before


def test_await_outside_trio_says_where_it_was(lab: QMI_Context) -> None:
    with pytest.raises(QMI_UsageException, match=r"^lab\.one\.measure\(\).*this is asyncio \(as in a notebook\)"):
        in_asyncio(lab.get_instrument("one").rpc_async.measure())


def test_future_of_a_call_cannot_be_awaited_outside_trio_but_waited_for(lab: QMI_Context) -> None:
    future = lab.get_instrument("one").rpc_nonblocking.measure()
    with pytest.raises(QMI_UsageException, match=r"future\.wait"):
        in_asyncio(future)
    assert future.wait(10) == 1.0


def test_stream_cannot_be_awaited_outside_trio_but_iterated(lab: QMI_Context) -> None:
    items = lab.get_instrument("one").items()
    with pytest.raises(QMI_UsageException, match="next"):
        in_asyncio(first(items))
    assert list(items) == [1]


def test_ways_that_the_error_names_work(lab: QMI_Context) -> None:
    one = lab.get_instrument("one")

    async def main() -> tuple[float, float]:
        return one.measure(), await asyncio.to_thread(one.measure)

    assert asyncio.run(main()) == (1.0, 1.0)


@pytest.mark.parametrize("make", CALLS_OF_PROXIES.values(), ids=CALLS_OF_PROXIES)
def test_error_of_what_the_extension_allows_names_it(lab: QMI_Context, make: Callable[[Any], Any]) -> None:
    with pytest.raises(QMI_UsageException, match=r"; or '%load_ext qmi' or '%autoawait trio' once in IPython"):
        in_asyncio(make(lab.get_instrument("one")))


@pytest.mark.parametrize(
    ("make", "run", "text"),
    [
        *(pytest.param(make, in_asyncio, "in a trio program only", id=name) for name, make in CALLS_FOR_TRIO.items()),
        pytest.param(CALLS["method"], in_no_loop, "in trio and in asyncio, and this is another", id="method, no loop"),
        pytest.param(CALLS["locked"], in_no_loop, "in trio and in asyncio, and this is another", id="locked, no loop"),
    ],
)
def test_await_that_cannot_work_is_refused_where_asyncio_is_allowed(
    lab: QMI_Context,
    make: Callable[[Any], Any],
    run: Callable[[Any], Any],
    text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ASYNCIO, "allowed", True)
    SEEN.clear()
    with pytest.raises(QMI_UsageException, match=text):
        run(make(lab.get_instrument("one")))
    assert SEEN == []

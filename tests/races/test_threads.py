"""Threads that meet in the mailbox, lock, future and receiver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from qmi.actors.future import QMI_RpcFuture
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_Exception, QMI_ObjectLockedException
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal, QMI_SignalReceiver
from tests.support.drivers import Async, Inline, Mixed, Plain, SyncLoop
from tests.support.hunting import LIMIT, at_once, many, restless_threads, rounds
from tests.support.lab import two_contexts

KINDS: list[type[Any]] = [Plain, Inline, SyncLoop]


@pytest.fixture(autouse=True)
def _restless() -> Iterator[None]:
    with restless_threads():
        yield


@pytest.fixture
def lab() -> Iterator[QMI_Context]:
    with QMI_Context("lab") as context:
        yield context


def test_a_future_ends_once_whoever_ends_it() -> None:
    for _ in rounds(250):
        future: QMI_RpcFuture[str] = QMI_RpcFuture("x")
        told: list[str] = []
        ended: list[bool] = []
        got: list[str] = []
        future.on_cancel = lambda told=told: told.append("cancelled")

        def wait(future: QMI_RpcFuture[str] = future, got: list[str] = got) -> None:
            try:
                got.append(future.wait(LIMIT))
            except (QMI_Exception, KeyError) as error:
                got.append(type(error).__name__)

        at_once(
            lambda future=future, ended=ended: ended.append(future.set_result("value")),  # type: ignore[misc]
            lambda future=future, ended=ended: ended.append(future.fail(KeyError("x"))),  # type: ignore[misc]
            lambda future=future, ended=ended: ended.append(future.cancel()),  # type: ignore[misc]
            lambda future=future, told=told: future.add_done_callback(lambda: told.append("done")),  # type: ignore[misc]
            wait,
            wait,
        )
        assert ended.count(True) == 1
        assert told.count("done") == 1
        assert len(got) == 2
        assert got[0] == got[1]
        assert ("cancelled" in told) == (got[0] == "QMI_CancelledCallException")


@pytest.mark.parametrize("cls", KINDS)
def test_turns_never_overlap_and_none_is_lost(lab: QMI_Context, cls: type[Any]) -> None:
    proxy = lab.make_rpc_object("counter", cls)
    name = "count" if cls is not SyncLoop else "double"
    calls = many(60)
    answers: list[list[float]] = [[] for _ in range(4)]

    def call(mine: list[float]) -> None:
        for index in range(calls):
            mine.append(getattr(proxy, name)(*([index] if name == "double" else [])))

    def pile_up(mine: list[float]) -> None:
        method = getattr(proxy.rpc_nonblocking, name)
        futures = [method(*([index] if name == "double" else [])) for index in range(calls)]
        mine += [future.wait(LIMIT) for future in futures]

    at_once(*(lambda mine=mine: call(mine) for mine in answers[:2]),
            *(lambda mine=mine: pile_up(mine) for mine in answers[2:]))  # fmt: skip
    if name == "double":
        assert answers == [[2.0 * index for index in range(calls)]] * 4
    else:
        assert sorted(answer for mine in answers for answer in mine) == list(range(1, 4 * calls + 1))
        assert all(mine == sorted(mine) for mine in answers), "calls of one thread arrive in order"


@pytest.mark.parametrize("cls", [*KINDS, Async, Mixed])
def test_a_lock_has_one_holder(lab: QMI_Context, cls: type[Any]) -> None:
    lab.make_rpc_object("vault", cls)
    method = "double" if cls is SyncLoop else "add"
    inside: list[int] = []
    entered: list[int] = []

    def visit(who: int) -> None:
        proxy = lab.get_rpc_object("vault")
        for _ in range(many(40)):
            if not proxy.lock(timeout=LIMIT):
                raise AssertionError("waited in vain")
            inside.append(who)
            getattr(proxy, method)(1)
            assert inside == [who]
            inside.remove(who)
            entered.append(who)
            assert proxy.unlock()

    def intrude() -> None:
        proxy = lab.get_rpc_object("vault")
        for _ in range(many(40)):
            try:
                getattr(proxy, method)(1)
            except QMI_ObjectLockedException:
                continue

    at_once(lambda: visit(1), lambda: visit(2), lambda: visit(3), intrude)
    assert sorted(entered) == sorted([1, 2, 3] * many(40))
    assert not lab.get_rpc_object("vault").is_locked()


@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize("cls", [*KINDS, Async])
def test_lock_blocks_of_threads_at_one_proxy_exclude_each_other(cls: type[Any], where: str) -> None:
    with two_contexts() as (server, client):
        server.make_rpc_object("vault", cls)
        proxy = (server if where == "here" else client).get_rpc_object("server.vault")
        method = "double" if cls is SyncLoop else "add"
        visits = many(25) if where == "here" else max(25, many(25) // 20)  # each takes several round trips
        inside: list[int] = []

        def visit(who: int) -> None:
            for _ in range(visits):
                with proxy.locked(timeout=20):
                    inside.append(who)
                    getattr(proxy, method)(1)
                    with proxy.locked():
                        getattr(proxy, method)(1)
                    assert inside == [who]
                    inside.remove(who)

        def intrude() -> None:
            for _ in range(visits):
                try:
                    getattr(proxy, method)(1)
                except QMI_ObjectLockedException:
                    continue

        at_once(lambda: visit(1), lambda: visit(2), lambda: visit(3), intrude)
        assert inside == []
        assert not proxy.is_locked()


def test_lock_that_is_forced_while_threads_fight_for_it_is_held_by_nobody_at_the_end(lab: QMI_Context) -> None:
    for cls in (Plain, Inline, Async):
        proxy: Any = lab.make_rpc_object(f"vault_{cls.__name__.lower()}", cls)

        def visit(proxy: Any = proxy) -> None:
            for _ in range(many(25)):
                try:
                    with proxy.locked(timeout=20):
                        proxy.add(1)
                except QMI_ObjectLockedException:
                    continue

        def force(proxy: Any = proxy) -> None:
            for _ in range(many(25)):
                proxy.force_unlock()

        at_once(visit, visit, force)
        assert not proxy.is_locked()
        assert proxy.add(1) == 3


def test_a_lock_that_is_given_up_in_the_moment_it_is_granted_is_not_lost(lab: QMI_Context) -> None:
    lab.make_rpc_object("vault", Plain)
    first, second, third = (lab.get_rpc_object("vault") for _ in range(3))
    for _ in rounds(150):
        assert first.lock()
        got: list[bool] = []
        at_once(
            first.unlock,
            lambda got=got: got.append(second.lock(timeout=0.0005)),  # type: ignore[misc]
            lambda got=got: got.append(third.lock(timeout=0.0005)),  # type: ignore[misc]
        )
        assert len(got) == 2
        second.unlock()
        third.unlock()
        assert first.lock(timeout=LIMIT), "the lock went to nobody"
        assert first.unlock()


def test_an_object_that_is_removed_under_load_answers_every_caller(lab: QMI_Context) -> None:
    for cls in (Plain, Inline, Async, SyncLoop):
        for _ in rounds(25):
            proxy = lab.make_rpc_object("short", cls)
            method = "double" if cls is SyncLoop else "add"
            ends: list[object] = []

            def call(proxy: object = proxy, method: str = method, ends: list[object] = ends) -> None:
                for _ in range(5):
                    try:
                        ends.append(getattr(proxy, method)(1, rpc_timeout=LIMIT))
                    except QMI_Exception as error:
                        ends.append(error)

            at_once(call, call, lambda proxy=proxy: lab.remove_rpc_object(proxy))  # type: ignore[misc]
            assert len(ends) == 10
            assert not any(isinstance(end, TimeoutError) for end in ends), "a caller was forgotten"
            assert lab.list_rpc_objects("instrument") == []


class Speaker(QMI_Instrument):
    sig_count = QMI_Signal([int, int])


def test_readers_of_one_receiver_share_its_signals_and_lose_none(lab: QMI_Context) -> None:
    count = many(200)
    speaker = lab.make_instrument("speaker", Speaker)
    receiver = QMI_SignalReceiver(max_queue_length=10**6)
    speaker.sig_count.subscribe(receiver)
    got: list[list[tuple[int, int]]] = [[], []]

    def publish(who: int) -> None:
        for number in range(count):
            lab.publish_signal("speaker", "sig_count", who, number)

    def read(mine: list[tuple[int, int]]) -> None:
        while len(got[0]) + len(got[1]) < 2 * count:
            try:
                mine.append(receiver.get_next_signal(timeout=0.005).args)
            except TimeoutError:
                continue

    at_once(lambda: publish(0), lambda: publish(1), lambda: read(got[0]), lambda: read(got[1]))
    assert sorted(got[0] + got[1]) == [(who, number) for who in (0, 1) for number in range(count)]
    for mine in got:
        for who in (0, 1):
            numbers = [number for source, number in mine if source == who]
            assert numbers == sorted(numbers), "signals of one publisher stay in order"


def test_contexts_start_and_stop_while_they_are_used() -> None:
    for _ in rounds(10):
        context = QMI_Context("brief")
        context.start()
        proxy = context.make_instrument("it", Plain)
        ends: list[object] = []

        def call(proxy: object = proxy, ends: list[object] = ends) -> None:
            for _ in range(10):
                try:
                    ends.append(proxy.add(1, rpc_timeout=LIMIT))  # type: ignore[attr-defined]
                except QMI_Exception as error:
                    ends.append(error)

        at_once(call, call, context.stop)
        assert len(ends) == 20
        assert not any(isinstance(end, TimeoutError) for end in ends), "a caller was forgotten"

"""``locked()`` blocks of threads and tasks: at one proxy and at several, in one program and across a link."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext, suppress
from typing import Any

import pytest
import trio

import qmi
from qmi.actors import open_blocks
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_LockLostException, QMI_ObjectLockedException, QMI_UsageException
from qmi.utils.context_managers import lock_unlock
from tests.support.actors import actor_of, check_idle
from tests.support.cancel_steps import in_qmi, interrupt_at
from tests.support.drivers import Async, Inline, Mixed, Plain
from tests.support.lab import make_context, two_contexts
from tests.support.links import pair
from tests.support.lock_step import OtherThread
from tests.support.waiting import until, wait_until

BLOCKS: dict[str, Callable[..., Any]] = {
    "locked": lambda proxy, *args: proxy.locked(*args),
    "lock_unlock": lock_unlock,
    "qmi.locked": qmi.locked,
    "with a text": lambda proxy, timeout=0.0: proxy.locked(timeout, "text"),
}


@contextmanager
def bench(where: str, cls: type[Any]) -> Iterator[tuple[Any, Any, Any]]:
    """A proxy, its actor, and a proxy of somebody else."""
    if where == "here":
        with QMI_Context("lab") as lab:
            lab.make_rpc_object("x", cls)
            yield lab.get_rpc_object("x"), actor_of(lab, "x"), lab.get_rpc_object("x")
    else:
        with two_contexts() as (server, client):
            server.make_rpc_object("x", cls)
            yield client.get_rpc_object("server.x"), actor_of(server, "x"), server.get_rpc_object("x")


class Visitor:
    """A thread that enters a block, tells, and leaves it when it is told to."""

    def __init__(self, block: Callable[[], Any], inside: Callable[[], object] = lambda: None) -> None:
        self.entered = threading.Event()
        self.leave = threading.Event()
        self.results: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._visit, args=(block, inside), daemon=True)
        self._thread.start()

    def _visit(self, block: Callable[[], Any], inside: Callable[[], object]) -> None:
        try:
            with block():
                self.results.put(inside())
                self.entered.set()
                assert self.leave.wait(20)
        except BaseException as error:
            self.results.put(error)
            self.entered.set()

    def end(self) -> None:
        self.leave.set()
        self._thread.join(20)
        assert not self._thread.is_alive()


def waiting(actor: Any, count: int) -> None:
    wait_until(lambda: len(actor.lock_manager.lock.waiting()) == count)


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
@pytest.mark.parametrize("cls", [Plain, Inline, Async, Mixed])
@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_lock_block_excludes_threads_that_share_its_proxy(
    where: str, cls: type[Any], block: Callable[..., Any]
) -> None:
    with bench(where, cls) as (proxy, actor, other), OtherThread() as second:
        with block(proxy):
            assert proxy.add(1) == 3
            assert proxy.rpc_nonblocking.add(1).wait(10) == 3
            for call in (
                lambda: proxy.add(1),
                lambda: proxy.add(1, rpc_timeout=10),
                lambda: proxy.rpc_nonblocking.add(1).wait(10),
                lambda: block(proxy).__enter__(),
                lambda: block(proxy, 0.01).__enter__(),
                lambda: other.add(1),
            ):
                with pytest.raises(QMI_ObjectLockedException):
                    second.do(call)
            third = Visitor(lambda: block(proxy, 20), lambda: proxy.add(2))
            waiting(actor, 1)
            assert proxy.add(1) == 3
            assert not third.entered.is_set()
        assert third.entered.wait(20)
        assert third.results.get() == 4
        with pytest.raises(QMI_ObjectLockedException):
            proxy.add(1)
        third.end()
        assert proxy.add(1) == 3
        assert not proxy.is_locked()
        check_idle(actor)


@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize("outer", ["no lock", "plain lock", "plain lock with a text"])
def test_lock_blocks_of_threads_are_served_in_the_order_of_their_coming(where: str, outer: str) -> None:
    with bench(where, Plain) as (proxy, actor, other):
        if outer != "no lock":
            assert proxy.lock(lock_token="text" if "text" in outer else None)
        visitors = [Visitor(lambda: proxy.locked(20))]
        assert visitors[0].entered.wait(20)
        for count in range(1, 4):
            visitors.append(Visitor(lambda: proxy.locked(20)))
            waiting(actor, count)
        for number, visitor in enumerate(visitors):
            assert visitor.entered.wait(20)
            assert [each.entered.is_set() for each in visitors] == [True] * (number + 1) + [False] * (3 - number)
            if "text" not in outer:
                with pytest.raises(QMI_ObjectLockedException):
                    proxy.add(1)
            visitor.end()
        assert proxy.is_locked() == (outer != "no lock")
        assert proxy.add(1) == 3, "the plain lock is the proxy's again"
        if outer != "no lock":
            with pytest.raises(QMI_ObjectLockedException):
                other.add(1)
            assert proxy.unlock()
        check_idle(actor)


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_plain_lock_is_the_proxys_whichever_thread_uses_it(where: str) -> None:
    with bench(where, Plain) as (proxy, actor, other), OtherThread() as second:
        assert proxy.lock()
        second.do(lambda: proxy.add(1))
        second.do(lambda: proxy.lock())
        with pytest.raises(QMI_ObjectLockedException):
            other.add(1)
        second.do(lambda: proxy.unlock())
        assert not proxy.is_locked()
        check_idle(actor)


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_plain_lock_inside_a_block_outlives_it_and_unlock_leaves_the_block_its_own(where: str) -> None:
    with bench(where, Plain) as (proxy, actor, other):
        with proxy.locked():
            assert not proxy.unlock(), "the proxy has no plain lock"
            assert proxy.lock()
            assert proxy.lock()
            assert proxy.unlock()
            assert proxy.add(1) == 3
            with pytest.raises(QMI_ObjectLockedException):
                other.add(1)
            assert proxy.lock()
        with pytest.raises(QMI_ObjectLockedException):
            other.add(1)
        assert proxy.add(1) == 3
        with proxy.locked():
            assert proxy.unlock()
            with pytest.raises(QMI_ObjectLockedException):
                other.add(1)
        assert not other.is_locked()
        check_idle(actor)


def test_lock_block_ends_its_own_grant_whichever_thread_ends_it(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Plain)

    def steps() -> Iterator[int]:
        with x.locked():
            yield 1

    iterator = steps()
    next(iterator)
    with OtherThread() as second:
        second.do(iterator.close)  # type: ignore[attr-defined]
    assert not x.is_locked()
    assert x.add(1) == 3
    with x.locked():
        assert x.add(1) == 3


def test_lock_block_of_another_proxy_in_the_same_thread_is_refused_unless_it_shows_the_same_text(
    lab: QMI_Context,
) -> None:
    one: Any = lab.make_instrument("x", Plain)
    two: Any = lab.get_instrument("x")
    with one.locked():
        with pytest.raises(QMI_ObjectLockedException), two.locked():
            raise AssertionError
        with pytest.raises(QMI_ObjectLockedException):
            two.add(1)
    with one.locked(lock_token="t"), two.locked(lock_token="t"):
        assert two.add(1) == 3
        with pytest.raises(QMI_ObjectLockedException):
            one.add(1)
    with one.locked(lock_token="t"):
        assert two.unlock(lock_token="t")
        with pytest.raises(QMI_LockLostException, match=r"unlocked with its lock_token by context 'lab'"):
            one.add(1)
    assert not one.is_locked()


def test_lock_block_can_be_entered_once_at_a_time(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Plain)
    block = x.locked()
    with block:
        with pytest.raises(QMI_UsageException, match=r"^This locked\(\) block of lab\.x has been entered already"):
            block.__enter__()
        assert x.add(1) == 3
    with block:
        assert x.is_locked()
    assert not x.is_locked()


def test_future_begun_in_a_block_is_a_call_without_a_lock_after_its_end(lab: QMI_Context, gate: Any) -> None:
    x: Any = lab.make_instrument("x", Plain, gate)
    other: Any = lab.get_instrument("x")
    with x.locked():
        running = x.rpc_nonblocking.block()
        later = x.rpc_nonblocking.add(1)
    gate.open.set()
    assert running.wait(10) == "passed"
    assert later.wait(10) == 3
    assert other.add(1) == 3


@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize("outer", ["plain", "block", "two blocks"])
def test_future_begun_in_an_inner_block_is_a_call_of_the_outer_one_after_its_end(
    where: str, outer: str, gate: Any
) -> None:
    make = lab_alone() if where == "here" else two_contexts()
    with make as (server, client):
        server.make_instrument("x", Plain, gate)
        x: Any = client.get_instrument("server.x")
        with x.locked() if outer != "plain" else plainly_locked(x):
            if outer == "two blocks":
                with x.locked(), x.locked():
                    running, later = x.rpc_nonblocking.block(), x.rpc_nonblocking.add(1)
            else:
                with x.locked():
                    running, later = x.rpc_nonblocking.block(), x.rpc_nonblocking.add(1)
            gate.open.set()
            assert running.wait(10) == "passed"
            assert later.wait(10) == 3


@contextmanager
def lab_alone() -> Iterator[tuple[QMI_Context, QMI_Context]]:
    with QMI_Context("server") as lab:
        yield lab, lab


@contextmanager
def plainly_locked(proxy: Any) -> Iterator[None]:
    assert proxy.lock()
    yield
    assert proxy.unlock()


def test_future_begun_in_an_inner_block_is_refused_if_the_outer_one_lost_the_lock(lab: QMI_Context, gate: Any) -> None:
    x: Any = lab.make_instrument("x", Plain, gate)
    with x.locked():
        with x.locked():
            running, later = x.rpc_nonblocking.block(), x.rpc_nonblocking.add(1)
        lab.get_instrument("x").force_unlock()
        gate.open.set()
        assert running.wait(10) == "passed"
        with pytest.raises(QMI_LockLostException, match="force_unlock"):
            later.wait(10)


MANY = 100
"""More items than a link has on their way at once."""


@pytest.mark.parametrize("cls", [Inline, Plain, Async])
@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize(
    ("opened", "read"),
    [("in a block", "in an inner block"), ("in a block", "after it"), ("under a plain lock", "in an inner block")],
)
def test_stream_is_read_by_whoever_may_call(where: str, cls: type[Any], opened: str, read: str) -> None:
    with bench(where, cls) as (x, _, _), ExitStack() as outer:
        outer.enter_context(plainly_locked(x) if opened == "under a plain lock" else x.locked())
        items = x.numbers(MANY)
        assert next(items) == 0
        if read == "after it":
            outer.close()
        with x.locked() if read == "in an inner block" else nullcontext():
            assert [next(items) for _ in range(MANY - 2)] == list(range(1, MANY - 1))
        assert list(items) == [MANY - 1]


@pytest.mark.parametrize("cls", [Inline, Plain, Async])
@pytest.mark.parametrize("own", ["block", "plain"])
def test_stream_that_was_opened_before_a_lock_is_read_by_its_owner_alone(
    lab: QMI_Context, cls: type[Any], own: str
) -> None:
    lab.make_rpc_object("x", cls)
    x: Any = lab.get_rpc_object("x")
    items, others_items = x.numbers(3), lab.get_rpc_object("x").numbers(3)
    assert next(items) == next(others_items) == 0
    with x.locked() if own == "block" else plainly_locked(x):
        assert next(items) == 1
        with pytest.raises(QMI_ObjectLockedException):
            next(others_items)
    assert next(items) == 2


@pytest.mark.parametrize("cls", [Inline, Plain, Async])
@pytest.mark.parametrize("situation", ["free", "held by the proxy", "in a block", "held by another"])
def test_fault_15_ctrl_c_at_any_line_of_the_entrance_to_a_block_leaves_no_lock(
    lab: QMI_Context, cls: type[Any], situation: str
) -> None:
    x: Any = lab.make_rpc_object("x", cls)
    other: Any = lab.get_rpc_object("x")
    actor = actor_of(lab, "x")

    def no_mutex_is_held() -> bool:
        return not actor.mailbox.mutex.locked() and not open_blocks._MUTEX.locked()

    for number in itertools.count(1):
        outer = x.locked()
        if situation == "held by another":
            assert other.lock()
        elif situation == "held by the proxy":
            assert x.lock()
        elif situation == "in a block":
            outer.__enter__()
        entered: list[Any] = []

        def enter(entered: list[Any] = entered) -> None:
            block = x.locked(0.001 if situation == "held by another" else 0.0)
            with suppress(QMI_ObjectLockedException):
                block.__enter__()
                entered.append(block)

        interrupted = interrupt_at(number, enter, in_qmi, no_mutex_is_held)
        for block in entered:  # also if Ctrl-C was put off until then
            assert x.add(1) == 3
            block.__exit__(None, None, None)
        holders = actor.lock_manager.lock.holders()
        assert len(holders) == (situation != "free"), number
        if situation == "held by another":
            assert other.unlock()
        elif situation == "held by the proxy":
            assert x.add(1) == 3
            assert x.unlock()
        elif situation == "in a block":
            assert x.add(1) == 3
            outer.__exit__(None, None, None)
        assert x.__rpc__.open_blocks == 0, number
        assert other.add(1) == 3
        wait_until(lambda: actor.mailbox.current is None)
        check_idle(actor)
        if not interrupted:
            break
    assert number > 10


# Tasks


@asynccontextmanager
async def async_bench(where: str, cls: type[Any]) -> AsyncIterator[tuple[Any, Any]]:

    if where == "here":
        async with qmi.open_context("lab", None, init_logging=False) as lab:
            yield await lab.make_rpc_object("x", cls), actor_of(lab, "x")
    else:
        async with pair() as (server, client):
            await server.make_rpc_object("x", cls)
            yield await client.get_rpc_object("srv.x"), actor_of(server, "x")


@pytest.mark.parametrize("cls", [Plain, Inline, Async])
@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_lock_block_excludes_tasks_that_share_its_proxy(where: str, cls: type[Any]) -> None:
    async with async_bench(where, cls) as (proxy, actor), trio.open_nursery() as nursery:
        entered, leave = [trio.Event() for _ in range(2)], [trio.Event() for _ in range(2)]

        async def visit(number: int) -> None:
            async with proxy.locked(20):
                assert await proxy.add(1) == 3
                assert await proxy.rpc_nonblocking.add(1) == 3
                assert await trio.to_thread.run_sync(proxy.rpc_blocking.add, 1) == 3
                entered[number].set()
                await leave[number].wait()

        nursery.start_soon(visit, 0)
        await entered[0].wait()
        for call in (
            proxy.add,
            proxy.rpc_nonblocking.add,
            lambda a: trio.to_thread.run_sync(proxy.rpc_blocking.add, a),
        ):
            with pytest.raises(QMI_ObjectLockedException):
                await call(1)
        with pytest.raises(QMI_ObjectLockedException):
            async with proxy.locked():
                raise AssertionError
        nursery.start_soon(visit, 1)
        await until(lambda: len(actor.lock_manager.lock.waiting()) == 1)
        leave[0].set()
        await entered[1].wait()
        with pytest.raises(QMI_ObjectLockedException):
            await proxy.add(1)
        leave[1].set()
        await until(lambda: not actor.lock_manager.is_locked)
        assert await proxy.add(1) == 3


@pytest.mark.parametrize("cls", [Plain, Async])
@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_children_of_a_block_may_call_and_their_own_blocks_exclude_each_other(where: str, cls: type[Any]) -> None:
    async with async_bench(where, cls) as (proxy, actor):
        inside: list[int] = []

        async def child(number: int) -> None:
            assert await proxy.add(1) == 3
            async with proxy.locked(20):
                inside.append(number)
                assert await proxy.count() >= 1
                assert inside == [number]
                inside.remove(number)

        async def late(ended: trio.Event) -> None:
            await ended.wait()
            assert await proxy.add(1) == 3, "the block that it was started in has ended"

        async with trio.open_nursery() as outer:
            ended = trio.Event()
            async with proxy.locked():
                outer.start_soon(late, ended)
                # One child is through before the next begins, so that no call meets a sibling's block.
                for number in range(3):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(child, number)
                blocks_only = [proxy.locked(20) for _ in range(3)]

                async def enter(block: Any) -> None:
                    async with block:
                        inside.append(1)
                        await proxy.count()
                        assert inside == [1]
                        inside.clear()

                async with trio.open_nursery() as nursery:
                    for block in blocks_only:
                        nursery.start_soon(enter, block)
                assert await proxy.add(1) == 3
            ended.set()
        assert not actor.lock_manager.is_locked


# What becomes of a block whose lock is lost


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_force_unlock_says_by_whom_and_the_former_holder_is_told_once(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with bench(where, Plain) as (proxy, actor, other):
        name = proxy.__rpc__.router.name
        assert proxy.lock()
        other.force_unlock()
        told = rf"gone: context '{other.__rpc__.router.name}'.* took it away by force_unlock\(\) at .* UTC"
        with pytest.raises(QMI_LockLostException, match=told):
            proxy.add(1)
        assert proxy.add(1) == 3, "told once"
        assert "x forcefully unlocked!." in caplog.messages
        assert any(f"took the lock from context {name!r} ($lock_1)" in line for line in caplog.messages)
        assert proxy.lock()
        other.force_unlock()
        assert other.lock()
        with pytest.raises(QMI_LockLostException, match=rf"{told}; .*\.x is held by context"):
            proxy.add(1)
        with pytest.raises(QMI_ObjectLockedException, match="locked by another proxy"):
            proxy.add(1)
        assert other.unlock()
        assert proxy.add(1) == 3
        check_idle(actor)


@pytest.mark.parametrize("ask", ["unlock", "lock", "block"])
def test_former_holder_who_asks_for_the_lock_again_is_not_told_later(lab: QMI_Context, ask: str) -> None:
    x: Any = lab.make_instrument("x", Plain)
    x.lock()
    lab.get_instrument("x").force_unlock()
    if ask == "unlock":
        assert not x.unlock()
    elif ask == "lock":
        assert x.lock()
    else:
        with x.locked():
            assert x.add(1) == 3
        with pytest.raises(QMI_LockLostException):
            x.add(1)
    assert x.add(1) == 3


def test_force_unlock_from_another_program_is_logged_with_its_address(caplog: pytest.LogCaptureFixture) -> None:
    with two_contexts() as (server, client):
        server.make_instrument("x", Plain)
        mine, theirs = server.get_instrument("x"), client.get_instrument("server.x")
        assert mine.lock()
        theirs.force_unlock()
        lines = [record for record in caplog.records if "took the lock from context 'server'" in record.getMessage()]
        assert [line.levelno for line in lines] == [logging.WARNING]
        assert "server.x: context 'client' (127.0.0.1" in lines[0].getMessage()


@pytest.mark.parametrize("cls", [Plain, Inline, Async])
@pytest.mark.parametrize("how", ["forced", "link lost", "link lost and taken by another"])
def test_calls_of_a_block_whose_lock_is_lost_are_refused_until_its_end(
    cls: type[Any], how: str, caplog: pytest.LogCaptureFixture
) -> None:
    with two_contexts() as (server, client):
        server.make_rpc_object("x", cls)
        actor = actor_of(server, "x")
        proxy, other = client.get_rpc_object("server.x"), server.get_rpc_object("x")
        with proxy.locked():
            assert proxy.add(1) == 3
            if how == "forced":
                other.force_unlock()
            else:
                client.disconnect_from_peer("server")
                wait_until(lambda: not actor.lock_manager.is_locked)
                client.connect_to_peer("server", f"127.0.0.1:{server.get_tcp_server_port()}")
                if "taken" in how:
                    assert other.lock()
            why = r"force_unlock\(\)" if how == "forced" else "the link to context 'client' was lost"
            for _ in range(2):
                with pytest.raises(
                    QMI_LockLostException, match=rf"{why}.* Leave the locked\(\) block and enter it again"
                ):
                    proxy.add(1)
                with pytest.raises(QMI_LockLostException):
                    proxy.rpc_nonblocking.add(1).wait(10)
            if "taken" in how:
                assert other.unlock()
            with proxy.locked():
                assert proxy.add(1) == 3, "a block that is entered anew has a lock"
        assert "A locked() block at server.x had lost its lock before its end" in caplog.messages
        assert proxy.add(1) == 3
        assert not other.is_locked()


def test_calls_of_a_block_are_refused_after_a_restart_of_the_program_of_the_object() -> None:
    server = make_context("server")
    server.start()
    server.make_instrument("x", Plain)
    with make_context("client") as client:
        client.connect_to_peer("server", f"127.0.0.1:{server.get_tcp_server_port()}")
        proxy, plain = client.get_rpc_object("server.x"), client.get_rpc_object("server.x")
        with proxy.locked():
            server.stop()
            wait_until(lambda: not client.has_peer_context("server"))
            with make_context("server") as again:
                again.make_instrument("x", Plain)
                client.connect_to_peer("server", f"127.0.0.1:{again.get_tcp_server_port()}")
                for _ in range(2):
                    with pytest.raises(QMI_LockLostException, match="it is not known here"):
                        proxy.add(1)
                assert plain.add(1) == 3
                assert again.get_instrument("x").lock()
                with pytest.raises(QMI_ObjectLockedException, match="locked by another proxy"):
                    proxy.add(1)


@pytest.mark.parametrize("how", ["object removed", "context stopped", "link lost"])
def test_lock_block_ends_quietly_when_there_is_nothing_left_to_give_back(how: str) -> None:
    server, client = make_context("server"), make_context("client")
    server.start()
    client.start()
    try:
        server.make_instrument("x", Plain)
        client.connect_to_peer("server", f"127.0.0.1:{server.get_tcp_server_port()}")
        with client.get_rpc_object("server.x").locked():
            if how == "object removed":
                server.remove_rpc_object(server.get_instrument("x"))
            elif how == "context stopped":
                server.stop()
            else:
                client.disconnect_from_peer("server")
    finally:
        client.stop()
        if how != "context stopped":
            server.stop()


def test_block_with_a_text_survives_the_loss_of_its_link() -> None:
    with two_contexts() as (server, client):
        server.make_rpc_object("x", Plain)
        proxy, other = client.get_rpc_object("server.x"), server.get_rpc_object("x")
        with proxy.locked(lock_token="t"):
            client.disconnect_from_peer("server")
            wait_until(lambda: not server.has_peer_context("client"))
            client.connect_to_peer("server", f"127.0.0.1:{server.get_tcp_server_port()}")
            assert proxy.add(1) == 3
            with pytest.raises(QMI_ObjectLockedException):
                other.add(1)
        assert not other.is_locked()


def test_lock_info_says_who_holds_the_lock(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Plain)
    assert x.lock_info() is None
    assert qmi.lock_info(x) is None
    with lab.get_instrument("x").locked():
        info = x.lock_info()
        assert (info.context, info.label) == ("lab", "$lock_1")
        assert qmi.lock_info(x) == info
    with pytest.raises(
        QMI_UsageException, match=r"^lock_info\(\) takes a proxy of an object, blocking or async; got 5"
    ):
        qmi.lock_info(5)


@pytest.mark.parametrize("verb", ["show_rpc_objects", "show_instruments"])
def test_objects_are_shown_with_their_holders_if_there_are_any(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    with two_contexts() as (server, client):
        server.make_instrument("x", Plain)
        server.make_instrument("y", Plain)
        proxy = client.get_instrument("server.x")
        getattr(client, verb)()
        free = capsys.readouterr().out
        assert "locked by" not in free
        with proxy.locked():
            for context in (client, server):
                getattr(context, verb)()
                lines = capsys.readouterr().out.splitlines()
                assert lines[0].split()[-2:] == ["locked", "by"]
                locked, unlocked = [next(line for line in lines if name in line) for name in ("server.x", "server.y")]
                assert locked.split("Plain")[1].strip().startswith("context 'client' ($lock_1)")
                assert unlocked.endswith("Plain")
        getattr(client, verb)()
        assert capsys.readouterr().out == free

"""Tasks that meet at an object, in random order and cancelled at every step, in one program and across a link."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import trio

from qmi.core.context import Context
from tests.support.cancel_steps import cancel_at_each_step
from tests.support.drivers import Async, Inline, Plain, SyncLoop
from tests.support.hunting import LIMIT, many
from tests.support.waiting import until


@pytest.fixture(autouse=True, params=range(3))
def _random_order(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tasks that could run at the same time run in an order that is random, but the same for one seed."""
    core = trio._core._run
    state = core._r.getstate()
    core._r.seed(request.param)
    yield
    core._r.setstate(state)


async def test_tasks_take_turns_in_any_order(contexts: tuple[Context, Context]) -> None:
    srv, cli = contexts
    for cls in (Async, Plain, Inline):
        name = cls.__name__.lower()
        await srv.make_rpc_object(name, cls)
        proxies = [await srv.get_rpc_object(name), await cli.get_rpc_object(f"srv.{name}")]
        answers: list[int] = []

        async def call(proxy: Any, answers: list[int] = answers) -> None:
            for _ in range(many(10)):
                answers.append(await proxy.count())

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                for proxy in proxies:
                    nursery.start_soon(call, proxy)
        assert sorted(answers) == list(range(1, 6 * many(10) + 1))


async def test_a_lock_has_one_holder_in_any_order(contexts: tuple[Context, Context]) -> None:
    srv, cli = contexts
    await srv.make_rpc_object("vault", Async)
    inside: list[int] = []

    async def visit(who: int) -> None:
        proxy = await (cli if who % 2 else srv).get_rpc_object("srv.vault")
        for _ in range(many(8)):
            assert await proxy.lock(timeout=LIMIT)
            inside.append(who)
            await proxy.add(1)
            assert inside == [who]
            inside.remove(who)
            assert await proxy.unlock()

    async with trio.open_nursery() as nursery:
        for who in range(4):
            nursery.start_soon(visit, who)
    assert not await (await srv.get_rpc_object("vault")).is_locked()


async def test_lock_blocks_of_tasks_at_one_proxy_exclude_each_other(contexts: tuple[Context, Context]) -> None:
    visits = max(6, many(6) // 20)  # each takes several round trips
    srv, cli = contexts
    for cls in (Async, Plain, Inline):
        name = f"vault_{cls.__name__.lower()}"
        await srv.make_rpc_object(name, cls)
        inside: list[int] = []

        async def visit(who: int, proxy: Any, inside: list[int] = inside) -> None:
            for _ in range(visits):
                async with proxy.locked(timeout=20):
                    inside.append(who)
                    await proxy.add(1)
                    async with proxy.locked():
                        await proxy.add(1)
                    assert inside == [who]
                    inside.remove(who)

        proxies = [await srv.get_rpc_object(name), await cli.get_rpc_object(f"srv.{name}")]
        async with trio.open_nursery() as nursery:
            for who in range(6):
                nursery.start_soon(visit, who, proxies[who % 2])
        # The end of a block is not waited for; a question on the same link is answered after it.
        assert not await proxies[1].is_locked()
        assert await proxies[0].add(1) == 3


@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize("cls", [Async, Plain])
async def test_lock_block_that_is_waited_for_can_be_cancelled_at_each_step(
    cls: type[Any], where: str, contexts: tuple[Context, Context]
) -> None:
    srv, cli = contexts
    await srv.make_rpc_object("vault", cls)
    shared = await (srv if where == "here" else cli).get_rpc_object("srv.vault")
    other = await srv.get_rpc_object("vault")

    async def hold(entered: trio.Event) -> None:
        async with shared.locked(5):
            entered.set()
            await shared.add(1)

    async def scenario() -> None:
        async with trio.open_nursery() as nursery:
            entered = trio.Event()
            nursery.start_soon(hold, entered)
            await entered.wait()
            async with shared.locked(timeout=5), shared.locked(timeout=5):
                await shared.add(1)

    async def check() -> None:
        assert shared.__rpc__.open_blocks == 0
        assert await other.lock(timeout=5), "the lock was lost with who gave up"
        assert await other.unlock()
        assert await shared.add(1) == 3

    assert await cancel_at_each_step(scenario, check) >= 3


@pytest.mark.parametrize("cls", [Async, Plain, SyncLoop])
async def test_a_call_over_a_link_can_be_cancelled_at_each_step(
    cls: type[Any], contexts: tuple[Context, Context]
) -> None:
    srv, cli = contexts
    await srv.make_rpc_object("it", cls)
    proxy = await cli.get_rpc_object("srv.it")
    link = cli.connections.link_to("srv")
    method = proxy.double if cls is SyncLoop else proxy.add

    async def scenario() -> None:
        await method(1)

    async def check() -> None:
        assert await method(2) == 4
        assert cli.connections.link_to("srv") is link, "the link survives"

    assert await cancel_at_each_step(scenario, check) >= 1


async def test_a_lock_over_a_link_can_be_cancelled_at_each_step(contexts: tuple[Context, Context]) -> None:
    srv, cli = contexts
    await srv.make_rpc_object("vault", Async)
    mine, theirs = await srv.get_rpc_object("vault"), await cli.get_rpc_object("srv.vault")

    async def scenario() -> None:
        async with theirs.locked(timeout=LIMIT):
            await theirs.add(1)

    async def check() -> None:
        assert await mine.lock(timeout=LIMIT), "the lock was lost with who gave up"
        assert await mine.unlock()

    assert await cancel_at_each_step(scenario, check) >= 3


async def test_a_stream_over_a_link_can_be_cancelled_at_each_step(contexts: tuple[Context, Context]) -> None:
    srv, cli = contexts
    await srv.make_rpc_object("it", Async)
    proxy = await cli.get_rpc_object("srv.it")

    async def scenario() -> None:
        items = await proxy.numbers(4)
        try:
            assert [item async for item in items] == [0, 1, 2, 3]
        finally:
            await items.aclose()

    async def check() -> None:
        assert await proxy.add(1) == 3, "the object is free again"

    assert await cancel_at_each_step(scenario, check) >= 3


async def test_connecting_can_be_cancelled_at_each_step(contexts: tuple[Context, Context]) -> None:
    srv, cli = contexts
    await srv.make_rpc_object("it", Async)
    address = f"127.0.0.1:{srv.connections.port}"

    async def scenario() -> None:
        await cli.disconnect_from_peer("srv")
        await cli.connect_to_peer("srv", address, ignore_duplicate=True)

    async def check() -> None:
        await cli.connect_to_peer("srv", address, ignore_duplicate=True)
        assert await (await cli.get_rpc_object("srv.it")).add(1) == 3
        await until(lambda: len(srv.connections.names()) == 1)

    assert await cancel_at_each_step(scenario, check) >= 2

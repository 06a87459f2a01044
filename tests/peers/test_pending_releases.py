"""Locks that outlive their link are released when it is back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import trio

from qmi.actors.actor import Actor
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_MessageDeliveryException
from qmi.messages import LockAnswer, Reply, Value
from qmi.net.io.link import Link
from tests.support.actors import actor_of, check_idle
from tests.support.chaos import ChaosProxy
from tests.support.drivers import Plain
from tests.support.lab import address, config, make_context
from tests.support.waiting import wait_until


def _has_no_link(context: QMI_Context, peer: str) -> bool:
    return not context.has_peer_context(peer)


class World:
    """A program with an instrument, and another one whose link to it can be lost."""

    def __init__(self, server: QMI_Context, client: QMI_Context, chaos: ChaosProxy) -> None:
        server.make_instrument("x", Plain)
        client.connect_to_peer("server", chaos.address)
        self.server, self.client, self.chaos = server, client, chaos
        self.actor: Actor = actor_of(server, "x")
        self.proxy: Any = client.get_instrument("server.x")
        self.other: Any = server.get_instrument("x")

    def lose(self) -> None:
        self.chaos.reset()
        for context, peer in ((self.server, "client"), (self.client, "server")):
            wait_until(partial(_has_no_link, context, peer))

    def come_back(self) -> None:
        self.client.connect_to_peer("server", self.chaos.address)

    def check_released(self) -> None:
        wait_until(lambda: not self.actor.lock_manager.is_locked)
        for proxy in (self.other, self.proxy):
            with proxy.locked(timeout=10, lock_token="text"):
                assert proxy.add(1) == 3
        check_idle(self.actor)


@pytest.fixture
def world() -> Iterator[World]:
    with (
        make_context("server") as server,
        ChaosProxy(server.get_tcp_server_port()) as chaos,
        QMI_Context("client", config()) as client,
    ):
        yield World(server, client, chaos)


@contextmanager
def async_block(proxy: Any) -> Iterator[None]:
    """The block of a trio program, as one of a thread."""
    entered, leave = threading.Event(), threading.Event()

    async def main() -> None:
        async with proxy.rpc_async.locked(lock_token="text"):
            entered.set()
            await trio.to_thread.run_sync(leave.wait, 20)

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    assert entered.wait(20)
    try:
        yield
    finally:
        leave.set()
        thread.join()


def ask_for_lock(world: World, ask: str, errors: list[QMI_MessageDeliveryException]) -> None:
    """Ask from the other program, in one of two ways; take down why there is no answer."""
    try:
        if ask == "lock":
            world.proxy.lock(lock_token="text")
        else:
            world.proxy.locked(lock_token="text").__enter__()
    except QMI_MessageDeliveryException as error:
        errors.append(error)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("way", ["blocking", "awaited"])
def test_block_with_a_text_that_ends_without_a_link_is_released_when_it_is_back(
    world: World, way: str, times: int
) -> None:
    with async_block(world.proxy) if way == "awaited" else world.proxy.locked(lock_token="text"):
        for _ in range(times):
            world.lose()
            if times > 1:
                world.come_back()
        if times > 1:
            world.lose()
    assert world.other.is_locked()
    world.come_back()
    world.check_released()


def around_the_grant(
    monkeypatch: pytest.MonkeyPatch, before: Callable[[], object], after: Callable[[], object]
) -> None:
    """Have something done in the loop of the server before it sends the grant of a lock, and when it has."""
    send = Link.send_reply

    def send_reply(link: Link, number: int, reply: Reply) -> None:
        is_grant = isinstance(reply, Value) and reply.value is LockAnswer.GRANTED
        if is_grant:
            before()
        send(link, number, reply)
        if is_grant:
            after()

    monkeypatch.setattr(Link, "send_reply", send_reply)


@pytest.mark.parametrize("ask", ["lock", "locked"])
def test_lock_with_a_text_whose_grant_was_lost_on_its_way_is_released_when_the_link_is_back(
    world: World, ask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The lock is held a moment before its grant is sent: see the test below for a link that is lost then.
    sent = threading.Event()
    around_the_grant(monkeypatch, before=lambda: None, after=sent.set)
    errors: list[QMI_MessageDeliveryException] = []
    world.chaos.back.stall()
    thread = threading.Thread(target=ask_for_lock, args=(world, ask, errors))
    thread.start()
    assert sent.wait(20)
    world.lose()
    world.chaos.back.go_on()
    thread.join(20)
    assert len(errors) == 1
    assert world.other.is_locked()
    world.come_back()
    world.check_released()


@pytest.mark.parametrize("ask", ["lock", "locked"])
def test_lock_with_a_text_whose_grant_cannot_be_sent_is_released_at_once(
    world: World, ask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    around_the_grant(monkeypatch, before=world.chaos.reset_now, after=lambda: None)
    errors: list[QMI_MessageDeliveryException] = []
    ask_for_lock(world, ask, errors)
    assert len(errors) == 1
    wait_until(partial(_has_no_link, world.server, "client"))
    assert not world.other.is_locked()
    monkeypatch.undo()
    world.come_back()
    world.check_released()


def test_lock_with_a_text_is_kept_when_only_another_request_for_it_was_lost(world: World) -> None:
    assert world.proxy.lock(lock_token="text")
    world.chaos.back.stall()
    errors = []

    def lock_again() -> None:
        try:
            world.proxy.lock(lock_token="text")
        except QMI_MessageDeliveryException as error:
            errors.append(error)

    refused = threading.Thread(target=lock_again)
    before = world.chaos.there.passed
    refused.start()
    wait_until(lambda: world.chaos.there.passed > before)
    world.lose()
    world.chaos.back.go_on()
    refused.join(20)
    assert len(errors) == 1
    world.come_back()
    assert world.proxy.add(1) == 3
    assert world.other.is_locked()
    assert world.proxy.unlock()


def test_release_that_is_owed_is_forgotten_with_the_program_that_had_the_lock() -> None:
    with QMI_Context("client", config()) as client:
        owed = client.async_context._pending_releases
        with make_context("server") as server:
            server.make_instrument("x", Plain)
            client.connect_to_peer("server", address(server))
            block = client.get_instrument("server.x").locked(lock_token="text")
            block.__enter__()
            client.disconnect_from_peer("server")
            block.__exit__(None, None, None)
            assert len(owed) == 1
            client.connect_to_peer("server", address(server))
            assert len(owed) == 0
            block = client.get_instrument("server.x").locked(lock_token="text")
            block.__enter__()
        block.__exit__(None, None, None)
        assert len(owed) == 1
        with make_context("server") as again:
            client.connect_to_peer("server", address(again))
            assert len(owed) == 0

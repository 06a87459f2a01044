"""Two links that are joined by a TCP connection, with owners and sinks that keep what they are told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from qmi.messages import Call, Reply, Request, Signal, Value
from qmi.net.io.link import Link
from qmi.net.io.transport import PlainWire
from qmi.net.limits import Limits
from qmi.net.protocol.connection import Connection
from qmi.net.protocol.events import PeerLost
from qmi.net.protocol.handshake import Hello
from qmi.net.protocol.link_ends import Role
from qmi.runtime.wakeup import Loop
from tests.support.waiting import changed, until


class Answer:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.number = 0
        self.got: list[Any] = []
        self.threads: set[str] = set()

    def reply(self, reply: Reply) -> None:
        self.threads.add(threading.current_thread().name)
        self.got.append(reply)
        changed()  # a thread of a rush may go on reading for long

    def stream_opened(self) -> None:
        self.got.append("opened")

    def item(self, value: Any) -> None:
        self.got.append(value)

    def stream_ended(self) -> None:
        self.got.append("ended")

    def orphan(self) -> None:
        raise AssertionError("this process is no child")


class Owner:
    """Accepts everybody, answers each call by its arguments, and keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.refuse = ""
        self.answers = True
        self.fault: str | None = None
        self.lost_reason: PeerLost | None = None

    def hello(self, link: Link, hello: Hello) -> None:
        link.refuse(self.refuse) if self.refuse else link.accept()

    def connected(self, link: Link, hello: Hello) -> None:
        self.told.append(("connected", hello.context))

    def request(self, link: Link, number: int, message: Request) -> None:
        self.told.append(("request", message, threading.current_thread().name))
        if self.fault is not None:
            raise RuntimeError(self.fault)
        if self.answers:
            link.send_reply(number, Value(message.args if isinstance(message, Call) else None))

    def cancel(self, link: Link, number: int) -> None:
        self.told.append(("cancel", number))

    def credit(self, link: Link, number: int) -> None:
        self.told.append(("credit", number))
        while link.credit(number):
            link.send_item(number, number)

    def resume_writing(self, link: Link) -> None:
        self.told.append(("resume_writing",))

    def signals(self, link: Link, signals: list[Signal]) -> None:
        self.told += [("signal", signal) for signal in signals]

    def lost(self, link: Link, loss: PeerLost) -> None:
        self.lost_reason = loss
        self.told.append(("lost", loss.kind))


class Pair:
    """Two links that are joined by a TCP connection."""

    def __init__(self, limits: Limits, buffer: int | None, **options: Any) -> None:
        with socket.socket() as listener:
            if buffer is not None:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            first = socket.socket()
            if buffer is not None:
                first.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            first.connect(listener.getsockname())
            second = listener.accept()[0]
        self.owners = Owner(), Owner()
        self.links = tuple(
            Link(
                PlainWire(sock),
                Connection(role, Hello(context=name, incarnation=name, workgroup="lab"), now=time.monotonic(),
                     limits=limits),
                owner, Loop(), where="here", **options,
            )
            for sock, role, name, owner in (
                (first, Role.CONNECTING, "a", self.owners[0]), (second, Role.LISTENING, "b", self.owners[1])
            )
        )  # fmt: skip

    @property
    def a(self) -> Link:
        return self.links[0]

    @property
    def b(self) -> Link:
        return self.links[1]


@asynccontextmanager
async def joined(limits: Limits | None = None, *, buffer: int | None = None, **options: Any) -> AsyncIterator[Pair]:
    pair = Pair(limits or Limits(), buffer, **options)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for link in pair.links:
                nursery.start_soon(link.run)
            await until(lambda: pair.a.is_up and pair.b.is_up)
            yield pair
            nursery.cancel_scope.cancel()
    for link in pair.links:
        assert link.ended.is_set()
        assert link.loss is not None


def unforeseen(error: Exception) -> None:
    """What a rush calls that ends by a fault."""
    pytest.fail(f"a rush has ended by {error!r}")


def deaf(pair: Pair) -> Callable[[], None]:
    """Let the second link stop reading, until what is returned is called."""
    hears = trio.Event()
    receive = pair.b._receive
    stand_by = pair.b._stand_by

    async def wait() -> bool:
        await hears.wait()
        return await stand_by()

    def wake() -> None:
        pair.b._receive = receive  # type: ignore[method-assign]
        hears.set()

    pair.b._receive = lambda: (False, [])  # type: ignore[method-assign]
    pair.b._stand_by = wait  # type: ignore[method-assign]
    return wake

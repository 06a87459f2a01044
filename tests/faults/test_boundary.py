"""An exception that nobody foresaw, at any call of a link, listener, responder or dial, ends that one thing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio

from qmi.contexts.async_context import Context
from qmi.core.context import QMI_Context
from qmi.errors import QMI_ConnectionException, QMI_MessageDeliveryException
from qmi.messages import Acquire, Call, Signal, Subscribe, Token
from qmi.net.discovery.udp import Responder, ask
from qmi.net.io.delivery import Delivery
from qmi.net.io.listener import Listener
from qmi.net.io.reader_handoff import ReaderHandoff
from qmi.net.io.transport import FULL, PlainWire
from qmi.net.protocol.connection import Connection
from qmi.net.protocol.events import Event, ReplyReceived
from qmi.net.protocol.link_ends import Role
from qmi.net.protocol.packets import FrameReader
from qmi.peers.acceptor import Acceptor
from qmi.peers.connections import Connections
from tests.support.devices import Bench
from tests.support.injection import Injector
from tests.support.lab import DISCOVERY_PORT, LOOPBACK_BROADCAST, address, config, make_context
from tests.support.raw import Raw
from tests.support.waiting import until, wait_until

ERRORS: tuple[Callable[[], Exception], ...] = (
    MemoryError,
    lambda: RecursionError("maximum recursion depth exceeded"),
    lambda: ValueError("Exceeds the limit (4300 digits) for integer string conversion"),
    lambda: RuntimeError("can't start new thread"),
    lambda: OSError(24, "Too many open files"),
    lambda: ExceptionGroup("several", [OverflowError("int too large to convert to float"), KeyError("x")]),
    AssertionError,
)
LINK_PACKAGES = ("net/", "peers/", "runtime/keepalive.py")
EVERY = [
    pytest.param(False, id="some"), pytest.param(True, id="every", marks=[pytest.mark.slow, pytest.mark.timeout(900)])
]  # fmt: skip
_LOGGER = "qmi.core.messaging"
_SOME = 9
"""Each call is tried by the slow tests, with each error; one of so many by the others."""


@pytest.fixture(autouse=True)
def every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is kept back, however many faults there are."""
    monkeypatch.setattr("qmi.net.io.failures._FAULT_BURST", 1_000_000)
    monkeypatch.setattr("qmi.peers.connections._BURST", 1_000_000)


class Lab:
    """A context with an instrument, another one that is linked with it, and somebody whose calls fail."""

    def __init__(self, context: Context, other: Context, bench: Any, remote: Any) -> None:
        self.context = context
        self.other = other
        self.bench = bench
        self.remote = remote

    async def check(self) -> None:
        """The instrument answers here and over the other link, and holds nothing of whoever is gone."""
        assert await self.bench.echo(1) == 1
        assert await self.remote.echo(2) == 2
        assert not await self.bench.is_locked()

    async def forget(self) -> None:
        """Wait until nothing is left of the peer."""
        connections = self.context.connections
        entrance = connections._acceptor
        assert entrance is not None
        await until(lambda: not ("raw" in connections._members or entrance._pending or "raw" in connections._dials))

    def faults(self) -> int:
        """How many exceptions were counted."""
        counts = [*self.context.network_failures().items(), *self.other.network_failures().items()]
        return sum(count for cause, count in counts if cause.endswith("fault of this program"))


@asynccontextmanager
async def lab() -> AsyncIterator[Lab]:
    async with Context("srv", config("srv")).running() as context, Context("good", config("good")).running() as other:
        bench = await context.make_instrument("bench", Bench)
        await other.connect_to_peer("srv", f"127.0.0.1:{context.connections.port}")
        yield Lab(context, other, bench, await other.get_instrument("srv.bench"))


async def converse(raw: Raw) -> None:
    """Everything that a peer may want; over as soon as the other side ends the link."""
    peer = raw.peer
    with suppress(trio.BrokenResourceError):
        await raw.send(peer.data_to_send())
        while not peer.is_ready and peer.lost is None:
            await raw.read()
            if peer.theirs is not None and not peer.is_ready and peer.lost is None:
                raw.events += peer.accept(0.0)
                await raw.send(peer.data_to_send())
        messages = (
            Call("bench", "echo", ([1, "x"],)), Call("bench", "nothing"), Acquire("bench", Token("t")),
            Subscribe("bench", "told"), Call("$context", "get_version"),
        )  # fmt: skip
        for message in messages:
            if peer.lost is not None:
                return
            number, buffers = peer.send_request(message)
            peer.handed_over(number)
            await raw.send(buffers)
            while peer.lost is None and not any(answers(event, number) for event in raw.events):
                await raw.read()
        if peer.lost is None:
            await raw.send(peer.send_signal(Signal("x", "y", (1,), 0, 1.0)))
            await raw.send(peer.cancel_request(peer.send_request(Call("bench", "echo", (1,)))[0]))
            peer.close("enough")
            await raw.send(peer.data_to_send())


def answers(event: Event, number: int) -> bool:
    return isinstance(event, ReplyReceived) and event.number == number


async def as_client(lab: Lab) -> None:
    """The peer connects to the context."""
    async with await trio.open_tcp_stream("127.0.0.1", lab.context.connections.port) as stream:
        await converse(Raw(stream, Role.CONNECTING, "raw"))


async def as_server(lab: Lab) -> None:
    """The context connects to the peer."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    where = f"127.0.0.1:{listener.socket.getsockname()[1]}"

    async def connect() -> None:
        try:
            await lab.context.connect_to_peer("raw", where)
        except QMI_ConnectionException:
            nursery.cancel_scope.cancel()

    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        nursery.start_soon(accept, listener, nursery)


async def as_stranger(lab: Lab) -> None:
    """Two connect one after the other: the first one's connection may come to nothing."""
    for name in ("lost", "raw"):
        async with await trio.open_tcp_stream("127.0.0.1", lab.context.connections.port) as stream:
            raw = Raw(stream, Role.CONNECTING, name)
            with suppress(trio.BrokenResourceError):
                await raw.send(raw.peer.data_to_send())
            while not raw.peer.is_ready and raw.peer.lost is None:
                await raw.read()
            was_let_in = raw.peer.is_ready
            raw.peer.close("enough")
            with suppress(trio.BrokenResourceError):
                await raw.send(raw.peer.data_to_send())
    assert was_let_in


async def as_asker(lab: Lab) -> None:
    """Somebody looks for the context."""
    for _ in range(2):
        found = await ask("default", "srv", addresses=[LOOPBACK_BROADCAST], port=DISCOVERY_PORT, timeout=5.0, enough=1)
        assert [answer.name for answer in found] == ["srv"]


async def accept(listener: trio.SocketListener, nursery: trio.Nursery) -> None:
    async with await listener.accept() as stream:
        await converse(Raw(stream, Role.LISTENING, "raw"))
    nursery.cancel_scope.cancel()


async def inject(
    injector: Injector, scenario: Callable[[Lab], Awaitable[None]], caplog: pytest.LogCaptureFixture, *, every: bool
) -> None:
    """Let a scenario happen once, and then again for each call that it makes, which fails."""
    caplog.set_level(logging.INFO)

    async def once(lab: Lab, nth: int, error: Callable[[], Exception]) -> None:
        caplog.clear()
        before = lab.faults()
        with injector.failing(nth, error):
            try:
                with trio.fail_after(5):
                    await scenario(lab)
            except trio.TooSlowError:
                raise AssertionError((nth, injector.failed, error())) from None
            try:
                await lab.forget()
            except AssertionError:
                raise AssertionError((nth, injector.failed, error())) from None
        await lab.check()
        told = [record for record in caplog.records if record.levelno >= logging.WARNING and record.name == _LOGGER]
        told = [record for record in told if "A connection from" not in record.getMessage() or record.exc_info]
        faults = [record for record in told if record.exc_info]
        found = (nth, injector.failed, [record.getMessage() for record in told])
        assert len(faults) <= 1, found
        assert lab.faults() - before == len(faults), found
        assert len(told) <= 1 + len(faults), found

    async with lab() as made:
        await once(made, 0, ValueError)
        await once(made, 0, ValueError)  # what is only done the first time has been
        for index, number in enumerate(injector.numbers() if every else injector.numbers()[::_SOME]):
            for error in ERRORS if every else (ERRORS[index % len(ERRORS)],):
                await once(made, number, error)


@pytest.mark.parametrize("every", EVERY)
async def test_fault_42_exception_at_any_call_of_a_link_ends_that_link_alone(
    every: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    injector = Injector(*LINK_PACKAGES)
    serve = Acceptor._serve
    marked = injector.mark(serve)
    monkeypatch.setattr(Acceptor, "_serve", marked)
    await inject(injector, as_client, caplog, every=every)


@pytest.mark.parametrize("every", EVERY)
async def test_fault_42_exception_at_any_call_of_a_dial_fails_that_attempt_alone(
    every: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    injector = Injector(*LINK_PACKAGES)
    monkeypatch.setattr(Connections, "_dial", injector.mark(Connections._dial))
    await inject(injector, as_server, caplog, every=every)


@pytest.mark.parametrize("every", EVERY)
async def test_fault_42_exception_at_any_call_of_a_listener_costs_one_connection_at_most(
    every: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    injector = Injector(
        "net/io/listener.py", "net/loopback.py", "peers/acceptor.py", "peers/connections.py", "names.py"
    )
    monkeypatch.setattr(Listener, "run", injector.mark(Listener.run, always=True))
    await inject(injector, as_stranger, caplog, every=every)


@pytest.mark.parametrize("every", EVERY)
async def test_fault_42_exception_at_any_call_of_a_responder_costs_one_question_at_most(
    every: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    injector = Injector("net/", "peers/acceptor.py")
    monkeypatch.setattr(Responder, "run", injector.mark(Responder.run, always=True))
    await inject(injector, as_asker, caplog, every=every)


STEPS: dict[str, tuple[type, str]] = {
    "reading a socket": (PlainWire, "read_into"),
    "reading frames": (Connection, "buffer_updated"),
    "asking for memory": (FrameReader, "get_buffer"),
    "writing": (PlainWire, "put_one"),
    "writing much": (PlainWire, "put"),
    "passing on": (Delivery, "deliver"),
    "polling": (ReaderHandoff, "_poll"),
}


@pytest.mark.parametrize("error", [MemoryError, RecursionError, ValueError])
@pytest.mark.parametrize("step", STEPS)
def test_fault_42_exception_in_a_thread_that_reads_or_writes_ends_that_link_alone(
    step: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cls, name = STEPS[step]
    original = getattr(cls, name)
    armed, struck = threading.Event(), threading.Event()
    value = "x" * (2 * FULL) if step == "writing much" else "x"

    def fail(self: Any, *args: Any) -> Any:
        # Once, and in a thread that belongs to a caller or an object, or was lent to the link; not on the loop.
        if armed.is_set() and threading.current_thread().name != "qmi-loop":
            armed.clear()
            struck.set()
            raise error("injected")
        return original(self, *args)

    monkeypatch.setattr(cls, name, fail)
    with make_context("srv") as srv, make_context("here") as here, make_context("other") as other:
        srv.make_instrument("bench", Bench)
        for context in (here, other):
            context.connect_to_peer("srv", address(srv))
        bench = here.get_instrument("srv.bench")
        armed.set()
        deadline = time.monotonic() + 20
        with suppress(QMI_MessageDeliveryException, error):  # of whoever was under way; a caller may meet it itself
            while not struck.is_set() and time.monotonic() < deadline:  # a rush begins after some calls
                assert bench.echo(value) == value
            bench.echo(2)
        assert struck.is_set()
        wait_until(lambda: other.get_instrument("srv.bench").echo(3) == 3)
        assert srv.get_instrument("bench").echo(4) == 4
        here.connect_to_peer("srv", address(srv), ignore_duplicate=True)
        wait_until(lambda: echoes(here, address(srv)))
        faults = [record for record in caplog.records if record.exc_info]
        assert len(faults) <= 1, [record.getMessage() for record in faults]
        counted = [context.network_failures().get("link: fault of this program", 0) for context in (srv, here)]
        assert sum(counted) == len(faults)


def echoes(context: QMI_Context, where: str) -> bool:
    """Whether a new link works, which may be the second one if the fault of the first was not known yet."""
    try:
        context.connect_to_peer("srv", where, ignore_duplicate=True)
        return bool(context.get_instrument("srv.bench").echo(5) == 5)
    except (QMI_MessageDeliveryException, QMI_ConnectionException):
        return False

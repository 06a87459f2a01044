"""Callers that read the link for themselves: what happens meanwhile to the link, and in their thread."""

from __future__ import annotations

import logging
import math
import select
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import qmi
from qmi.core.rpc import QMI_RpcObject, rpc_method
from qmi.errors import QMI_OutcomeUnknownException
from qmi.net.io.link import Link
from qmi.net.io.reader_handoff import ReaderHandoff
from qmi.net.io.transport import PlainWire, Unsent
from qmi.runtime.doorbell import Idler
from qmi.runtime.sigint import PROGRAM_HANDLERS
from qmi.runtime.wakeup import wait_on
from tests.support.lab import make_context
from tests.support.links import Lab

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="the loop reads all links")


@pytest.fixture
def lab() -> Iterator[Lab]:
    """The link may be gone at the end of the test."""
    with make_context("here") as here, make_context("there") as there:
        made = Lab(here, there)
        yield made
        made.actual().gate.set()


@pytest.fixture
def link(lab: Lab) -> Link:
    """The link, which callers may read."""
    made = lab.link(lab.here, "there")
    while made._handoff.gate is None:
        lab.bench.echo()
    return made


def loop_turns(link: Link, count: int = 10) -> None:
    """Wait until the loop has had so many turns."""
    for _ in range(count):
        turned = threading.Event()
        assert link.loop.soon(turned.set)
        assert turned.wait(10)


class Camera(QMI_RpcObject):
    """Knows which picture it has sent."""

    @rpc_method
    def picture(self) -> Any:
        made = np.zeros(1000)
        self.sent = weakref.ref(made)
        return made


def test_thread_that_waits_at_the_link_keeps_nothing_that_it_has_answered(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[object] = []
    idles = threading.Event()

    def idle(self: Link, thread: Idler) -> None:
        actor = lab.there.async_context.registry.get("camera")
        assert actor is not None
        kept.append(actor.object.sent())
        idles.set()

    lab.there.make_rpc_object("camera", Camera)
    camera = lab.here.get_rpc_object("there.camera")
    monkeypatch.setattr(Link, "idle", idle)
    camera.picture()
    assert idles.wait(10)
    assert kept == [None]


@pytest.mark.parametrize("timeout", [math.inf, 1e308])
def test_caller_may_wait_as_long_as_it_likes(
    lab: Lab, link: Link, timeout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReaderHandoff, "_spin", lambda *_: None)
    assert lab.bench.echo(1, rpc_timeout=timeout) == 1
    assert link.is_up


@pytest.mark.parametrize("who_connected", [True, False])
def test_end_of_link_while_a_caller_reads_is_no_fault(
    lab: Lab, link: Link, who_connected: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    poll = ReaderHandoff._poll
    reads = threading.Event()

    def poll_until_the_loop_is_done(self: ReaderHandoff, milliseconds: int) -> bool:
        if self is not link._handoff:
            return poll(self, milliseconds)
        reads.set()
        found = poll(self, milliseconds)
        if link.loss is not None:
            loop_turns(link)
        return found

    monkeypatch.setattr(ReaderHandoff, "_poll", poll_until_the_loop_is_done)
    ended: list[object] = []
    caller = threading.Thread(target=lambda: ended.append(outcome(lab.bench.block)))
    caller.start()
    assert reads.wait(10)
    one, other = (lab.here, "there") if who_connected else (lab.there, "here")
    one.disconnect_from_peer(other)
    caller.join(10)
    assert isinstance(ended[0], QMI_OutcomeUnknownException)
    loop_turns(link)
    assert link.descriptor() < 0
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def outcome(call: Callable[[], object]) -> object:
    """What a call returns or raises."""
    try:
        return call()
    except Exception as error:
        return error


@pytest.fixture(params=["SIGUSR1", "SIGALRM", "SIGHUP", "SIGCHLD"])
def signalled(
    request: pytest.FixtureRequest, link: Link, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Callable[[], object]], None]]:
    """Has a handler of the program do something in the main thread where it waits for an answer, once."""
    number = getattr(signal, request.param)
    todo: list[Callable[[], object]] = []

    def signalled_in(wait: Callable[..., Any]) -> Callable[..., Any]:
        def waits(*args: Any) -> Any:
            if todo and threading.current_thread() is threading.main_thread():
                signal.raise_signal(number)
            return wait(*args)

        return waits

    monkeypatch.setattr(ReaderHandoff, "_poll", signalled_in(ReaderHandoff._poll))
    monkeypatch.setattr("qmi.actors.future.wait_on", signalled_in(wait_on))
    before = signal.signal(number, lambda *_: todo.pop()())
    PROGRAM_HANDLERS.__init__()  # type: ignore[misc]
    yield todo.append
    signal.signal(number, before)
    PROGRAM_HANDLERS.__init__()  # type: ignore[misc]
    assert not todo


def test_signal_handler_of_the_program_calls_where_a_caller_reads(
    lab: Lab, link: Link, signalled: Callable[[Callable[[], object]], None]
) -> None:
    got: list[object] = []

    def call() -> None:
        got.append(outcome(partial(lab.coro.echo, 1, rpc_timeout=5.0)))
        got.append(outcome(partial(lab.coro.echo, 2, rpc_timeout=5.0)))
        lab.actual().gate.set()

    signalled(call)
    lab.bench.block(rpc_timeout=10.0)
    assert got == [1, 2]
    assert lab.coro.echo(3) == 3


def test_other_threads_go_on_while_a_signal_handler_keeps_a_caller_that_reads(
    lab: Lab, link: Link, signalled: Callable[[Callable[[], object]], None]
) -> None:
    got: list[object] = []

    def wait_for_another_thread() -> None:
        other = threading.Thread(target=lambda: got.append(outcome(partial(lab.coro.echo, 1, rpc_timeout=8.0))))
        other.start()
        other.join()
        lab.actual().gate.set()

    signalled(wait_for_another_thread)
    lab.bench.block(rpc_timeout=10.0)
    assert got == [1]


def test_signal_handler_of_the_program_may_raise_anywhere_while_a_caller_waits(
    lab: Lab, link: Link, signalled: Callable[[Callable[[], object]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up() -> None:
        raise TimeoutError("by the program")

    signalled(give_up)
    with pytest.raises(TimeoutError):
        lab.bench.block(rpc_timeout=10.0)
    lab.actual().gate.set()
    assert lab.coro.echo(3, rpc_timeout=5.0) == 3


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="there are no alarms")
@pytest.mark.parametrize("what", ["call", "future", "lock", "cancel"])
def test_alarm_of_the_program_may_raise_where_a_caller_would_write(
    lab: Lab, link: Link, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def struck(write: Callable[[PlainWire, Unsent], None]) -> Callable[[PlainWire, Unsent], None]:
        def writes(wire: PlainWire, unsent: Unsent) -> None:
            if threading.current_thread() is threading.main_thread():
                signal.raise_signal(signal.SIGALRM)
            write(wire, unsent)

        return writes

    def give_up(*_: object) -> None:
        raise TimeoutError("by the program")

    monkeypatch.setattr(PlainWire, "put", struck(PlainWire.put))
    monkeypatch.setattr(PlainWire, "put_one", struck(PlainWire.put_one))
    before = signal.signal(signal.SIGALRM, give_up)
    try:
        if what == "call":
            assert lab.bench.echo(1, rpc_timeout=8.0) == 1
        elif what == "future":
            values = [1]
            future = lab.bench.rpc_nonblocking.echo(values)
            values[0] = 2
            assert future.wait(8.0) == [1]
        elif what == "lock":
            with qmi.locked(lab.bench, timeout=8.0):
                assert lab.bench.echo(1) == 1
        else:
            lab.bench.rpc_nonblocking.echo(1).cancel()
        assert lab.bench.echo(3, rpc_timeout=8.0) == 3
    finally:
        signal.signal(signal.SIGALRM, before)
    assert link.is_up


def test_main_thread_does_not_read_where_a_handler_was_set_a_moment_ago(
    lab: Lab, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PROGRAM_HANDLERS, "_due", math.inf)  # all of them have just been looked at
    monkeypatch.setattr(PROGRAM_HANDLERS, "_found", False)
    monkeypatch.setattr(ReaderHandoff, "drive_io", lambda *_: pytest.fail("the main thread reads"))
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        assert lab.bench.echo(1, rpc_timeout=10.0) == 1
        assert lab.bench.rpc_nonblocking.echo(2).wait(10.0) == 2
    finally:
        signal.signal(signal.SIGALRM, before)


def test_main_thread_reads_again_when_the_program_has_no_handlers(lab: Lab, link: Link) -> None:
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        assert PROGRAM_HANDLERS.may_run_here()
    finally:
        signal.signal(signal.SIGUSR2, before)
    PROGRAM_HANDLERS.__init__()  # type: ignore[misc]
    assert not PROGRAM_HANDLERS.may_run_here()

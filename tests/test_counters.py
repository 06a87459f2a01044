"""What can be counted of a call, whatever the machine: writes, turns of the loop, copies.

Times are for the benchmarks.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy
import pytest
import trio
import trio.testing

import qmi
import qmi.core.config_defs
from qmi.actors.future import PendingCall, QMI_RpcFuture
from qmi.core.context import Context, QMI_Context
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import Placement, QMI_RpcObject, rpc_method
from qmi.messages import Call
from qmi.net.io import transport as outbound
from qmi.net.io.transport import FULL, Outbound, PlainWire, Unsent
from qmi.peers.rpc_client import RemoteCall
from qmi.runtime.wakeup import Loop
from tests.support.waiting import wait_until

CALLS = 50


class Threaded(QMI_Instrument):
    """Has a thread of its own."""

    received: Any = None
    released: threading.Event

    @rpc_method
    def nothing(self) -> None:
        """Do nothing."""

    @rpc_method
    def hold(self) -> None:
        """Keep all other calls waiting until they are released."""
        assert self.released.wait(60)

    @rpc_method
    def same(self, value: Any) -> Any:
        """Return what came."""
        type(self).received = value
        return value


class Inline(QMI_Instrument):
    """Runs in the thread that calls."""

    _rpc_placement = Placement.CALLER

    @rpc_method
    def thread(self) -> int:
        """The thread that runs this."""
        return threading.get_ident()

    @rpc_method
    def fail(self) -> None:
        """Fail."""
        raise ZeroDivisionError


class Awaited(QMI_RpcObject):
    """Runs in the loop."""

    @rpc_method
    async def fail(self) -> None:
        """Fail."""
        raise ZeroDivisionError


class LoopCounter(trio.abc.Instrument):
    """Counts what a loop does."""

    def __init__(self) -> None:
        self.turns = 0
        self.steps = 0

    def after_io_wait(self, timeout: float) -> None:
        """The loop has waited."""
        self.turns += 1

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task runs."""
        self.steps += 1


@contextmanager
def loop_counter(context: QMI_Context) -> Iterator[LoopCounter]:
    """Count what the loop of a context does in a block."""
    counter = LoopCounter()

    async def begin() -> None:
        trio.lowlevel.add_instrument(counter)

    async def end() -> None:
        trio.lowlevel.remove_instrument(counter)

    context._run("begin", begin)
    try:
        yield counter
    finally:
        context._run("end", end)


@contextmanager
def functions_called() -> Iterator[list[str]]:
    """The functions of this library that the calling thread runs in a block, as ``"actors/call.py:Handle.call"``."""
    called: list[str] = []

    def note(frame: FrameType, event: str, arg: object) -> None:
        _, inside, file = frame.f_code.co_filename.replace("\\", "/").rpartition("/qmi/")
        if event == "call" and inside:
            called.append(f"{file}:{frame.f_code.co_qualname}")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield called
    finally:
        sys.setprofile(before)


@pytest.fixture
def home() -> Iterator[QMI_Context]:
    with qmi.start("home", None, init_logging=False) as context:
        yield context


@pytest.fixture
def pair(home: QMI_Context) -> Iterator[tuple[QMI_Context, Any]]:
    """A context with a link to another one, and a proxy of the other one's instrument."""
    config = qmi.core.config_defs.CfgQmi(
        contexts={"server": qmi.core.config_defs.CfgContext(host="127.0.0.1", tcp_server_port=0)}
    )
    with QMI_Context("server", config) as server:
        Threaded.released = threading.Event()
        server.make_instrument("driver", Threaded)
        home.connect_to_peer("server", f"127.0.0.1:{server.get_tcp_server_port()}")
        try:
            yield home, home.get_instrument("server.driver")
        finally:
            Threaded.released.set()


def test_blocking_calls_in_one_process_leave_the_loop_alone(home: QMI_Context) -> None:
    driver = home.make_instrument("driver", Threaded)
    driver.nothing()
    with loop_counter(home) as counter:
        for _ in range(CALLS):
            driver.nothing()
    # What is counted is the two calls of the counter itself, and whatever else the loop was about to do.
    assert counter.steps < CALLS / 2


ON_THEIR_OWN = ("qmi-watchdog", "qmi-lifesigns")
"""Threads that ask whether the loop answers, a few times a second, whatever else happens."""


def test_blocking_calls_in_one_process_ask_nothing_of_the_loop(
    home: QMI_Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = home.make_instrument("driver", Threaded)
    driver.nothing()
    asked: list[object] = []
    soon = Loop.soon

    def note(self: Loop, *args: Any) -> bool:
        if threading.current_thread().name not in ON_THEIR_OWN:
            asked.append(args)
        return soon(self, *args)

    monkeypatch.setattr(Loop, "soon", note)
    for _ in range(CALLS):
        driver.nothing()
    assert asked == []


async def test_loop_of_an_idle_program_runs_nothing_for_a_minute(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OfOthers(LoopCounter):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.steps += task is not mine

    mine = trio.lowlevel.current_task()
    counter = OfOthers()
    # The watchdog goes by real time: should it look just now, it sees the loop wait, as in a minute that lasts one.
    monkeypatch.setattr(Loop, "waits", lambda self: True)
    file = tmp_path / "qmi.conf"
    file.write_text(
        '{"contexts": {"lab": {"host": "127.0.0.1", "tcp_server_port": 0}}, "discovery": {"enabled": false}}'
    )
    async with qmi.open_context("lab", str(file), init_logging=False) as lab:
        await lab.make_instrument("driver", Threaded)
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(counter)
        await trio.sleep(60.0)
        trio.lowlevel.remove_instrument(counter)
    assert counter.steps == 0


def test_blocking_calls_in_one_process_need_no_future_beside_the_call(
    home: QMI_Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = home.make_instrument("driver", Threaded)
    driver.nothing()
    made: list[object] = []
    make = QMI_RpcFuture.__init__

    def note(self: QMI_RpcFuture[Any], *args: Any, **kwargs: Any) -> None:
        made.append(args)
        make(self, *args, **kwargs)

    calls: list[object] = []
    make_call = PendingCall.__init__

    def note_call(self: PendingCall, *args: Any, **kwargs: Any) -> None:
        calls.append(args)
        make_call(self, *args, **kwargs)

    monkeypatch.setattr(QMI_RpcFuture, "__init__", note)
    monkeypatch.setattr(PendingCall, "__init__", note_call)
    for _ in range(CALLS):
        driver.nothing()
        driver.same(1, rpc_timeout=10)
    assert made == []
    assert len(calls) == 2 * CALLS


def test_a_driver_that_may_runs_in_the_thread_that_calls(home: QMI_Context) -> None:
    driver = home.make_instrument("driver", Inline)
    assert driver.thread() == threading.get_ident()


def test_a_call_to_another_context_is_one_write_there_and_one_back(
    pair: tuple[QMI_Context, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, driver = pair
    driver.nothing()
    sizes: list[int] = []
    put = PlainWire.put

    def note(self: PlainWire, unsent: Unsent) -> None:
        put(self, unsent)
        sizes.append(unsent.counts[-1])

    monkeypatch.setattr(PlainWire, "put", note)
    monkeypatch.setattr(PlainWire, "put_one", note)
    for _ in range(CALLS):
        driver.nothing()
    wait_until(lambda: len(sizes) >= 2 * CALLS)  # the caller may have its answer before the other side has noted it
    # Nothing is written in pieces; a sign of life of either side may come in between.
    assert len(sizes) <= 2 * CALLS + 2


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of each write that a link makes, while a burst never ends.

    What follows a write within 0.2 ms is held for what comes next. On a slow machine, or under a tracer, any two
    messages can be further apart than that; so that the count depends on no clock, here the burst outlasts the test.
    """
    sizes: list[int] = []
    put = PlainWire.put

    def note(self: PlainWire, unsent: Unsent) -> None:
        put(self, unsent)
        sizes.append(unsent.counts[-1])

    monkeypatch.setattr(PlainWire, "put", note)
    monkeypatch.setattr(PlainWire, "put_one", note)
    monkeypatch.setattr(outbound, "_BURST", 3600.0)
    return sizes


def test_calls_in_flight_share_their_writes(pair: tuple[QMI_Context, Any], writes: list[int]) -> None:
    _, driver = pair
    held = driver.rpc_nonblocking.hold()
    futures = [driver.rpc_nonblocking.nothing() for _ in range(20 * CALLS)]
    assert not driver.is_locked()  # written and read after all of them, but answered at once: they have all arrived
    assert sum(writes) > 20 * CALLS * 20, "what would be counted"
    assert len(writes) <= 2 * (1 + sum(writes) // FULL), "requests go out together"
    del writes[:]
    Threaded.released.set()
    held.wait(60)
    for future in futures:
        future.wait(60)
    # The driver always has a next call, so its answers wait for each other until a write is full.
    assert len(writes) <= 2 * (1 + sum(writes) // FULL), "answers go out together"


def test_awaited_calls_of_many_tasks_share_their_writes(pair: tuple[QMI_Context, Any], writes: list[int]) -> None:
    home, driver = pair
    held = driver.rpc_nonblocking.hold()

    async def call_from_many_tasks() -> None:
        proxy = await home.async_context.get_instrument("server.driver")
        del writes[:]
        async with trio.open_nursery() as nursery:
            for _ in range(20 * CALLS):
                nursery.start_soon(proxy.nothing)
            await trio.testing.wait_all_tasks_blocked()
            assert not await proxy.is_locked()  # as above: all have arrived
            assert sum(writes) > 20 * CALLS * 20, "what would be counted"
            assert len(writes) <= 2 * (1 + sum(writes) // FULL), "requests go out together"
            del writes[:]
            Threaded.released.set()

    home._run("calls", call_from_many_tasks)
    held.wait(60)
    assert len(writes) <= 2 * (1 + sum(writes) // FULL), "answers go out together"


def test_awaited_call_to_another_context_is_one_object_without_callbacks(
    pair: tuple[QMI_Context, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, driver = pair
    made: list[RemoteCall] = []
    make = RemoteCall.__init__

    def note(self: RemoteCall, *args: Any, **kwargs: Any) -> None:
        made.append(self)
        make(self, *args, **kwargs)

    async def call(proxy: Any) -> None:
        for _ in range(CALLS):
            await proxy.nothing()

    monkeypatch.setattr(RemoteCall, "__init__", note)
    home._run("calls", call, driver.rpc_async)
    assert len(made) == CALLS
    assert [call._callbacks for call in made] == [None] * CALLS


def test_calls_to_another_context_take_few_steps_of_the_loop(pair: tuple[QMI_Context, Any]) -> None:
    home, driver = pair
    driver.nothing()
    with loop_counter(home) as counter:
        for _ in range(CALLS):
            driver.nothing()
    # Both contexts share this loop. Each reads once, and each looks once when its next sign of life is due.
    assert counter.steps <= 4 * CALLS + 20


def test_an_array_is_sent_from_its_own_memory(pair: tuple[QMI_Context, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    _, driver = pair
    array = numpy.arange(100_000.0)
    written: list[Any] = []
    write = Outbound.write

    def note(self: Outbound, buffers: list[Any], *args: Any, **options: Any) -> Any:
        written.extend(buffers)
        return write(self, buffers, *args, **options)

    monkeypatch.setattr(Outbound, "write", note)
    back = driver.same(array)
    segments = [numpy.frombuffer(buffer, "u1") for buffer in written if len(buffer) == array.nbytes]
    assert len(segments) == 2  # there and back
    assert numpy.shares_memory(segments[0], array)
    assert numpy.shares_memory(segments[1], Threaded.received)
    assert not numpy.shares_memory(back, Threaded.received)


def test_an_array_arrives_in_memory_of_its_own_that_holds_nothing_else(pair: tuple[QMI_Context, Any]) -> None:
    _, driver = pair
    array = numpy.arange(100_000.0)
    back = driver.same(array)
    assert numpy.array_equal(back, array)
    owner: Any = back
    while isinstance(getattr(owner, "base", None), numpy.ndarray):
        owner = owner.base
    assert owner.nbytes == array.nbytes
    assert owner.flags.owndata
    assert back.flags.writeable


async def test_call_of_a_peer_runs_one_function_of_the_context_that_hands_it_on(trio_lab: Context) -> None:
    await trio_lab.make_instrument("driver", Threaded)
    call = PendingCall("nothing", (), {}, None, (), trio_lab.origin)
    with functions_called() as called:
        trio_lab.request_here(Call("driver", "nothing"), trio_lab.origin, None, call)
    await call
    assert [name for name in called if name.startswith("contexts/")] == ["contexts/base.py:ContextBase.request_here"]


async def test_awaited_call_that_fails_has_its_text_made_once(trio_lab: Context) -> None:
    proxy = await trio_lab.make_rpc_object("driver", Awaited)
    with functions_called() as called, pytest.raises(ZeroDivisionError):
        await proxy.fail()
    assert called.count("messages.py:call_text") == 1


def test_call_in_the_thread_of_the_caller_that_fails_has_its_text_made_once(home: QMI_Context) -> None:
    driver = home.make_instrument("driver", Inline)
    with functions_called() as called, pytest.raises(ZeroDivisionError):
        driver.fail()
    assert called.count("messages.py:call_text") == 1

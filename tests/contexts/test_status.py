"""What a context tells of itself: everything, at once, whatever its objects do."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import qmi
from qmi.actors.context_object import ContextObject
from qmi.config.structure import add_contexts
from qmi.contexts import status as module
from qmi.contexts.asked_status import status_by
from qmi.core.context import Context, ContextStatus, LinkStatus, ObjectStatus, QMI_Context
from qmi.core.exceptions import (
    QMI_NotDeliveredException,
    QMI_ObjectLockedException,
    QMI_UnknownRpcException,
    QMI_UsageException,
)
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal, QMI_SignalReceiver
from qmi.core.rpc import QMI_RpcObject, rpc_method
from qmi.core.task import QMI_LoopTask, QMI_Task, QMI_TaskRunner, TaskState
from qmi.peers.peer_connection import Gone
from tests.support.drivers import Async, Gate, Inline, Plain
from tests.support.lab import address, config, make_context, two_contexts


class Touchy(QMI_Instrument):
    """An instrument that fails a test if anything of it runs that nobody has called."""

    sig_seen = QMI_Signal([int])
    ran: list[str]

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.ran = []

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("__") and name not in ("ran", "_is_open", "sig_seen", "release_rpc_object"):
            object.__getattribute__(self, "ran").append(name)
        return super().__getattribute__(name)

    @rpc_method
    def is_open(self) -> bool:
        """Ask the device."""
        raise AssertionError

    @rpc_method
    def get_power(self) -> float:
        """Measure."""
        raise AssertionError


class TouchyRunner(QMI_TaskRunner):
    """A runner with answers of its own."""

    def get_state(self) -> TaskState:  # type: ignore[override]
        raise AssertionError

    def get_statistics(self) -> Any:  # type: ignore[override]
        raise AssertionError

    def is_running(self) -> bool:  # type: ignore[override]
        raise AssertionError


class Loop(QMI_LoopTask[None, None]):
    """A loop that says when it has run often enough."""

    def __init__(self, runner: Any, name: str, count: int = 3) -> None:
        super().__init__(runner, name, loop_period=0.001)
        self.left = count
        self.done = threading.Event()
        DONE.append(self.done)

    def loop_iteration(self) -> None:
        self.left -= 1
        if not self.left:
            self.done.set()


DONE: list[threading.Event] = []


class Failing(QMI_Task[None, None]):
    """A task that fails."""

    def run(self) -> None:
        raise ValueError("no\x1b light")


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture
def lab() -> Iterator[QMI_Context]:
    with make_context("lab", context={"stop_grace": 0.3}) as lab:
        yield lab


def entry(status: ContextStatus, name: str) -> ObjectStatus:
    found = status.find(name)
    assert found is not None
    return found


def test_status_says_which_context_it_is(lab: QMI_Context) -> None:
    status = lab.get_status()
    assert (status.name, status.version, status.pid) == ("lab", qmi.__version__, os.getpid())
    assert status.address == address(lab)
    assert status.workgroup == "default"
    assert status.started <= status.now <= time.time()
    assert 0 <= status.uptime < 60
    assert (status.objects, status.links, status.tls, status.stopping) == ((), (), False, False)
    assert status.process.threads >= 1
    assert status.process.cpu > 0
    assert status.host
    assert status.python.startswith("3.")
    lab.make_peer_context_proxy("lab").shutdown_context()
    assert lab.get_status().stopping


@pytest.mark.parametrize("driver", [Plain, Inline])
def test_stuck_object_is_told_with_what_keeps_it_for_whom_and_where(
    lab: QMI_Context, gate: Gate, driver: type[Plain]
) -> None:
    x = lab.make_instrument("x", driver, gate)
    running = threading.Thread(target=x.block) if driver is Inline else None
    if running is not None:
        running.start()
    else:
        x.rpc_nonblocking.block()
    assert gate.reached.wait(10)
    waiting = [x.rpc_nonblocking.add(1) for _ in range(2)] if running is None else []
    status = entry(lab.get_status(), "x")
    assert status.busy is not None
    assert (status.busy.what, status.busy.context) == ("block()", "lab")
    assert abs(time.time() - status.busy.since) < 60
    assert status.queue == len(waiting)
    assert status.calls == 1
    if running is None:
        assert "drivers.py" in status.busy.where
    gate.open.set()
    if running is not None:
        running.join(10)
    for call in waiting:
        call.wait(10)
    status = entry(lab.get_status(), "x")
    assert (status.busy, status.queue, status.calls) == (None, 0, 1 + len(waiting))


def test_status_comes_from_another_program_while_all_objects_of_it_are_stuck(gate: Gate) -> None:
    with two_contexts(context={"stop_grace": 0.3}) as (server, client):
        server.make_instrument("x", Plain, gate)
        server.make_instrument("y", Touchy)
        client.get_instrument("server.x").rpc_nonblocking.block()
        assert gate.reached.wait(10)
        status = client.get_status("server", timeout=20)
        assert [found.name for found in status.objects] == ["x", "y"]
        busy = entry(status, "x").busy
        assert busy is not None
        assert busy.context == "client"
        (link,) = status.links
        assert (link.context, link.state, link.outgoing, link.version) == ("client", "up", False, qmi.__version__)
        assert link.served_requests == 2
        assert link.bytes_received > 0
        assert link.round_trip >= 0
        (back,) = client.get_status().links
        assert (back.context, back.outgoing, back.open_requests, back.address) == ("server", True, 1, address(server))
        assert back.requests >= 3
        assert back.bytes_sent > 0
        gate.open.set()


def test_status_runs_nothing_of_an_object(lab: QMI_Context) -> None:
    lab.make_instrument("x", Touchy)
    lab.make_task("t", Loop, task_runner=TouchyRunner)
    actor = lab.async_context.registry.get("x")
    assert actor is not None
    actor.object.ran.clear()
    status = lab.get_status()
    assert actor.object.ran == []
    assert entry(status, "x").state == "unknown"  # only its own is_open() could tell
    assert entry(status, "x").calls == 0
    assert entry(status, "t").state == "new"


@pytest.mark.parametrize(("cls", "state"), [(Plain, "closed"), (Touchy, "unknown")])
def test_state_of_an_instrument_is_that_of_its_base_class(
    lab: QMI_Context, cls: type[QMI_Instrument], state: str
) -> None:
    x = lab.make_instrument("x", cls)
    assert entry(lab.get_status(), "x").state == state
    x.open()
    assert entry(lab.get_status(), "x").state == "open"
    x.close()
    assert entry(lab.get_status(), "x").state == state


def test_object_that_is_no_instrument_is_ready(lab: QMI_Context) -> None:
    lab.make_rpc_object("a", Async)
    found = entry(lab.get_status(), "a")
    assert (found.category, found.state, found.simulated) == ("object", "ready", False)


def test_lock_is_told_with_who_and_for_what() -> None:
    with two_contexts() as (server, client):
        server.make_instrument("x", Plain)
        with client.get_instrument("server.x").locked(reason="alignment"):
            lock = entry(server.get_status(), "x").lock
            assert lock is not None
            assert (lock.holder, lock.reason) == ("client", "alignment")
            assert lock.user
            assert lock.since <= time.time()
        assert entry(server.get_status(), "x").lock is None


@pytest.mark.parametrize("way", ["thread", "caller", "loop", "link"])
def test_errors_are_counted_and_the_last_one_is_told(way: str) -> None:
    with two_contexts() as (server, client):
        driver = {"thread": Plain, "caller": Inline, "loop": Async, "link": Plain}[way]
        server.make_rpc_object("x", driver)
        context = client if way == "link" else server
        proxy = context.get_rpc_object("server.x")
        assert entry(server.get_status(), "x").last_error is None
        with pytest.raises(OSError, match="gone"):
            proxy.fail(OSError("gone"))
        found = entry(server.get_status(), "x")
        assert (found.calls, found.errors) == (1, 1)
        error = found.last_error
        assert error is not None
        assert (error.what, error.error, error.context) == ("fail()", "OSError: gone", context.name)
        assert error.time <= time.time()
        proxy.add(1)
        assert entry(server.get_status(), "x").last_error == error


class Unprintable(Exception):
    """An error whose text cannot be had."""

    def __str__(self) -> str:
        raise KeyError("text")


class Long(QMI_RpcObject):
    """Raises what is odd."""

    @rpc_method
    def long(self) -> None:
        """A long one."""
        raise ValueError("x" * 10_000)

    @rpc_method
    def odd(self) -> None:
        """One without a text."""
        raise Unprintable


def test_text_of_the_last_error_is_short_and_always_there(lab: QMI_Context) -> None:
    x = lab.make_rpc_object("x", Long)
    with pytest.raises(ValueError, match=r"x{100}"):
        x.long()
    error = entry(lab.get_status(), "x").last_error
    assert error is not None
    assert len(error.error) == 500
    with pytest.raises(Unprintable):
        x.odd()
    error = entry(lab.get_status(), "x").last_error
    assert error is not None
    assert error.error == "Unprintable: (its text cannot be shown: KeyError)"


def test_refused_call_is_no_error_of_the_object() -> None:
    with two_contexts() as (server, client):
        server.make_instrument("x", Plain).lock()
        with pytest.raises(QMI_ObjectLockedException):
            client.get_instrument("server.x").add(1)
        found = entry(server.get_status(), "x")
        assert (found.calls, found.errors, found.last_error) == (0, 0, None)


def test_task_is_told_with_its_loop(lab: QMI_Context) -> None:
    task = lab.make_task("t", Loop)
    assert entry(lab.get_status(), "t").state == "new"
    task.start()
    assert DONE[-1].wait(10)
    found = entry(lab.get_status(), "t")
    assert found.task is not None
    assert (found.state, found.class_name) == ("running", f"{__name__}.Loop")
    assert (found.task.period, found.task.policy) == (0.001, "IMMEDIATE")
    assert found.task.iterations >= 3
    assert found.task.lateness_median <= found.task.lateness_p99 <= found.task.lateness_worst
    assert sum(count for _, count in found.task.lateness) >= 3
    task.stop()
    task.join()
    assert entry(lab.get_status(), "t").state == "ended"


def test_failed_task_says_why(lab: QMI_Context) -> None:
    task = lab.make_task("t", Failing)
    task.start()
    with pytest.raises(Exception, match="light"):
        task.join()
    found = entry(lab.get_status(), "t")
    assert found.task is not None
    assert (found.state, found.why) == ("failed", "ValueError: no\\x1b light")
    assert found.task.failed <= time.time()


def test_configured_object_that_is_not_there_is_told_with_the_reason() -> None:
    own = {
        "tasks": {"t": {"task": f"{__name__}:Loop"}},
        "instruments": {"x": {"driver": "no_such_module:X"}, "y": {"driver": "tests.support.drivers:Plain"}},
    }
    with QMI_Context("lab", add_contexts(config("lab"), {"lab": own})) as lab:
        lab.make_configured()
        status = lab.get_status()
        x, y = entry(status, "x"), entry(status, "y")
        assert (x.state, x.configured, x.category, x.class_name) == ("failed", True, "instrument", "no_such_module:X")
        assert "no_such_module" in x.why
        assert (y.state, y.configured) == ("open", True)
        assert entry(status, "t").configured


def test_signals_are_counted_with_who_listens() -> None:
    with two_contexts() as (server, client):
        x = server.make_instrument("x", Touchy)
        there, here = QMI_SignalReceiver(), QMI_SignalReceiver(max_queue_length=1)
        client.get_instrument("server.x").sig_seen.subscribe(there)
        x.sig_seen.subscribe(here)
        for number in range(3):
            server.publish_signal("x", "sig_seen", number)
        for _ in range(3):
            there.get_next_signal(timeout=10)
        status = server.get_status()
        (signal,) = entry(status, "x").signals
        assert (signal.name, signal.published, signal.receivers, signal.peers) == ("sig_seen", 3, 1, 1)
        assert (status.signals.published, status.signals.dropped, status.signals.receivers_dropped) == (3, 0, 2)


def test_signals_that_found_no_room_are_counted_when_their_link_is_gone() -> None:
    with two_contexts() as (server, client):
        (member,) = server.async_context.connections._members.values()
        member.link.dropped_signals = 4
        assert server.get_status().signals.dropped == 4
        assert server.get_status().links[0].dropped_signals == 4
        client.disconnect_from_peer("server")
        server.async_context.run(member.link.ended.wait).wait(10)
        assert server.get_status().links == ()
        assert server.get_status().signals.dropped == 4


def test_link_that_is_being_made_again_is_told_with_why_it_was_lost(lab: QMI_Context) -> None:
    connections = lab.async_context.connections
    connections._reconnecting["far"] = None  # type: ignore[assignment]
    connections._gone["far"] = Gone(5.0, "no sign of life", "far", True)
    expected = LinkStatus(context="far", state="reconnecting", why="no sign of life", since=5.0)
    assert lab.get_status().links == (expected,)
    del connections._reconnecting["far"]
    assert lab.get_status().links == ()


async def test_status_in_a_trio_program(trio_lab: Context) -> None:
    await trio_lab.make_rpc_object("a", Async)
    status = await trio_lab.get_status()
    assert [found.name for found in status.objects] == ["a"]
    with pytest.raises(QMI_NotDeliveredException):
        await trio_lab.get_status("nobody")


@pytest.mark.parametrize("name", ["nobody", "$context", "a.b", ""])
def test_status_of_a_context_that_is_not_there_says_so(lab: QMI_Context, name: str) -> None:
    with pytest.raises((QMI_NotDeliveredException, QMI_UsageException)):
        lab.get_status(name)


def test_status_of_the_default_context_is_a_verb() -> None:
    with qmi.start("lab", None, init_logging=False):
        assert qmi.get_status().name == "lab"


def test_guest_may_ask_for_the_status() -> None:
    with two_contexts(context={"operators": ["control"]}) as (server, client):
        server.make_instrument("x", Plain)
        assert [found.name for found in client.get_status("server").objects] == ["x"]


def unknown(*_: Any, **__: Any) -> Any:
    raise QMI_UnknownRpcException("no such method")


@pytest.mark.parametrize("missing", [("get_status",), ("get_status", "list_objects")])
def test_older_version_is_told_by_what_it_knows(missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    with two_contexts() as (server, client):
        server.make_instrument("x", Plain)
        server.make_task("t", Loop)
        for name in missing:
            monkeypatch.setattr(ContextObject, name, unknown)
        status = client.get_status("server")
        assert (status.name, status.version, status.started) == ("server", qmi.__version__, 0.0)
        assert [(found.name, found.category) for found in status.objects] == [("x", "instrument"), ("t", "task")]
        assert entry(status, "x").class_name == "tests.support.drivers.Plain"
        if len(missing) == 1:
            assert entry(status, "t").state == "new"


@pytest.mark.parametrize(
    "listed",
    [None, 3, [], [None, 3, "x", ("a",), (1, 2)], [("lab.x", "instrument", "", "m:X", "failed: no module")]],
)
def test_odd_list_of_an_older_version_is_no_fault(listed: object) -> None:
    def ask(method: str) -> object:
        if method == "get_status":
            raise QMI_UnknownRpcException("no such method")
        return {"get_version": 3, "get_pid": "x"}.get(method, listed)

    status = status_by("lab", ask)
    assert (status.name, status.version, status.pid) == ("lab", "", 0)
    if isinstance(listed, list) and len(listed) == 1:
        found = entry(status, "x")
        assert (found.state, found.why, found.class_name) == ("failed", "no module", "m:X")


def test_object_of_an_odd_class_does_not_hide_the_others(lab: QMI_Context, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.make_instrument("x", Plain)
    lab.make_instrument("y", Plain)
    told: Callable[..., ObjectStatus] = module.object_status

    def odd(actor: Any, signals: Any) -> ObjectStatus:
        if actor.address.object == "x":
            raise RuntimeError("odd")
        return told(actor, signals)

    monkeypatch.setattr(module, "object_status", odd)
    status = lab.get_status()
    assert (entry(status, "x").state, entry(status, "x").why) == ("unknown", "RuntimeError: odd")
    assert entry(status, "y").state == "closed"

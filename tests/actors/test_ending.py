from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
import trio

import qmi
from qmi.config.schema import CfgContext, CfgQmi
from qmi.core.context import Context, QMI_Context
from qmi.core.exceptions import (
    QMI_ContextStoppedException,
    QMI_ObjectRemovedException,
    QMI_RuntimeException,
    QMI_UsageException,
)
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import Placement, QMI_RpcObject, rpc_method
from tests.support.actors import actor_of
from tests.support.drivers import Async, Gate, Inline, Plain
from tests.support.waiting import changed, until, wait_until

released: list[str] = []


class Releasing(QMI_RpcObject):
    def __init__(self, context: Any, name: str, error: BaseException | None = None, gate: Gate | None = None) -> None:
        super().__init__(context, name)
        self.error = error
        self.gate = gate
        self.maker = threading.current_thread()

    def release_rpc_object(self) -> None:
        released.append(self._name)
        changed()
        if self._rpc_placement is None:
            assert threading.current_thread() is self.maker
        if self.gate is not None:
            self.gate.pass_through()
        if self.error is not None:
            raise self.error

    @rpc_method
    def nothing(self) -> int:
        return 0


class ReleasingInline(Releasing):
    _rpc_placement = Placement.CALLER


class ReleasingLoop(Releasing):
    _rpc_placement = Placement.LOOP


class ReleasingLater(Releasing):
    """A thread, and a release that ends in the loop."""

    async def release_rpc_object(self) -> None:  # type: ignore[override]
        await trio.lowlevel.checkpoint()
        released.append(self._name)
        if self.error is not None:
            raise self.error
        if self.gate is not None:
            await trio.sleep_forever()


KINDS = [Releasing, ReleasingInline, ReleasingLoop, ReleasingLater]


@pytest.fixture(autouse=True)
def fresh() -> None:
    released.clear()


@pytest.mark.parametrize("cls", KINDS)
def test_an_object_is_released_once_where_it_was_made(lab: QMI_Context, cls: type[Releasing]) -> None:
    x = lab.make_rpc_object("x", cls)
    lab.remove_rpc_object(x)
    assert released == ["x"]
    with pytest.raises(QMI_ObjectRemovedException):
        lab.remove_rpc_object(x)
    assert lab.make_rpc_object("x", cls).nothing() == 0


@pytest.mark.parametrize("cls", KINDS)
@pytest.mark.parametrize("error", [ValueError("stuck lid"), SystemExit("stuck lid")])
def test_a_release_that_fails_is_logged_and_the_object_is_gone(
    lab: QMI_Context, cls: type[Releasing], error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    x = lab.make_rpc_object("x", cls, error)
    lab.remove_rpc_object(x)
    assert "lab.x could not be released" in caplog.text
    assert "stuck lid" in caplog.text
    assert lab.list_rpc_objects() == []
    assert lab.make_rpc_object("y", cls).nothing() == 0


def test_objects_go_in_reverse_order_of_their_making() -> None:
    context = QMI_Context("lab")
    with context:
        for index, cls in enumerate(KINDS):
            context.make_rpc_object(f"x{index}", cls)
    assert released == ["x3", "x2", "x1", "x0"]


def test_an_instrument_that_is_still_open_is_closed_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    context = QMI_Context("lab")
    with context:
        context.make_instrument("x", Plain).open()
        context.make_instrument("y", Plain)
        thing = actor_of(context, "x").object
    assert not thing.is_open()
    assert caplog.messages == ["Instrument x is still open and is closed now"]


def test_removing_lets_the_running_method_end_and_answers_the_rest(lab: QMI_Context, gate: Gate) -> None:
    context = QMI_Context("patient")
    with context:
        x = context.make_instrument("x", Plain, gate)
        running = x.rpc_nonblocking.block()
        gate.reached.wait(10)
        waiting = x.rpc_nonblocking.add(1)
        remover = threading.Thread(target=context.remove_rpc_object, args=(x,))
        remover.start()
        with pytest.raises(QMI_ObjectRemovedException):
            waiting.wait(10)
        gate.open.set()
        remover.join(10)
        assert running.wait(10) == "passed"


def test_a_method_that_never_ends_is_left_behind_and_named(
    lab: QMI_Context, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    x = lab.make_instrument("x", Plain, gate)
    running = x.rpc_nonblocking.block()
    gate.reached.wait(10)
    lab.remove_rpc_object(x)
    with pytest.raises(QMI_ObjectRemovedException):
        running.wait(0)
    assert "lab.x does not end and is left behind: lab.x is busy with block() for" in caplog.text
    assert "in pass_through" in caplog.text
    assert lab.make_instrument("x", Plain).add(1) == 3


@pytest.mark.parametrize(("cls", "where"), [(Releasing, "in pass_through"), (ReleasingLater, "")])
def test_a_release_that_never_ends_is_left_behind_and_named(
    lab: QMI_Context, cls: type[Releasing], where: str, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    x = lab.make_rpc_object("x", cls, None, gate)
    lab.remove_rpc_object(x)
    assert "lab.x does not end and is left behind: release_rpc_object() is at" in caplog.text
    assert where in caplog.text


@pytest.mark.parametrize("what", ["call", "item of a stream"])
async def test_turn_that_has_come_but_not_begun_when_the_object_ends_is_told_so(what: str, trio_lab: Context) -> None:
    x: Any = await trio_lab.make_rpc_object("x", Async)
    if what == "item of a stream":
        items = await x.numbers(3)
        future = items._source.next(None)
    else:  # the loop runs it when this task waits for the first time
        future = x.rpc_nonblocking.add(1)
    await trio_lab.remove_rpc_object(x)
    with pytest.raises(QMI_ObjectRemovedException, match="removed"):
        await future


@pytest.mark.slow
async def test_a_release_in_the_loop_that_never_ends_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(Async):
        async def release_rpc_object(self) -> None:
            await trio.sleep_forever()

    config = CfgQmi(contexts={"lab": CfgContext(stop_grace=0.01)})
    async with qmi.open_context("lab", None, init_logging=False, config=config) as lab:
        await lab.make_rpc_object("x", Stuck)
    assert "release_rpc_object() is at (in the event loop)" in caplog.text


def test_stopping_answers_who_removes(gate: Gate) -> None:
    context = QMI_Context("lab", CfgQmi(contexts={"lab": CfgContext(stop_grace=0.2)}))
    context.start()
    x = context.make_instrument("x", Plain, gate)
    running = x.rpc_nonblocking.block()
    gate.reached.wait(10)
    ended = threading.Event()

    def remove() -> None:
        with suppress(QMI_ContextStoppedException):
            context.remove_rpc_object(x)
        ended.set()

    threading.Thread(target=remove).start()
    wait_until(lambda: actor_of(context, "x") is None)
    context.stop()
    assert ended.wait(10)
    with pytest.raises(QMI_RuntimeException):
        running.wait(10)


class Slow(Releasing):
    def __init__(self, context: Any, name: str, gate: Gate) -> None:
        gate.pass_through()
        super().__init__(context, name)


def test_stopping_answers_who_makes_and_the_late_object_is_released(gate: Gate) -> None:
    context = QMI_Context("lab")
    context.start()
    errors: list[BaseException] = []

    def make() -> None:
        try:
            context.make_rpc_object("x", Slow, gate)
        except Exception as error:
            errors.append(error)

    maker = threading.Thread(target=make)
    maker.start()
    gate.reached.wait(10)
    context.stop()
    maker.join(10)
    assert isinstance(errors[0], QMI_ContextStoppedException)
    gate.open.set()
    wait_until(lambda: released == ["x"])


@pytest.mark.parametrize("cls", KINDS)
async def test_an_object_that_nobody_wants_any_more_is_released(
    cls: type[Releasing], caplog: pytest.LogCaptureFixture, trio_lab: Context
) -> None:
    gate = Gate()

    class Late(cls):  # type: ignore[misc, valid-type]
        def __init__(self, context: Any, name: str) -> None:
            if self._rpc_placement is not Placement.LOOP:
                gate.pass_through()
            super().__init__(context, name, ValueError("bad lid"))

    future = trio_lab.make("x", Late, (), {})
    dropped = future.cancel()
    gate.open.set()
    assert dropped or cls is ReleasingLoop
    if dropped:
        await until(lambda: "lab.x could not be released" in caplog.text)
        assert released == ["x"]
    y = await trio_lab.make_rpc_object("y", cls)
    assert await y.nothing() == 0


class Failing(QMI_Instrument):
    """Its constructor fails, or its opening does."""

    def __init__(self, context: Any, name: str, error: Exception | None) -> None:
        super().__init__(context, name)
        self.file = open(os.devnull)  # noqa: SIM115
        if error is not None:
            self.file.close()
            raise error

    @rpc_method
    def open(self) -> None:
        raise OSError("no device")

    def release_rpc_object(self) -> None:
        self.file.close()


class FailingInline(Failing):
    _rpc_placement = Placement.CALLER


class FailingLoop(Failing):
    _rpc_placement = Placement.LOOP


def resources() -> tuple[int, int]:
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors by way of /proc")
@pytest.mark.parametrize("cls", [Failing, FailingInline, FailingLoop])
def test_fault_20_a_thousand_failures_leak_nothing(lab: QMI_Context, cls: type[Failing]) -> None:
    def fail_to_make() -> None:
        with pytest.raises(ValueError, match="bad serial number"):
            lab.make_instrument("x", cls, ValueError("bad serial number"))

    def fail_to_open() -> None:
        x = lab.make_instrument("x", cls, None)
        with pytest.raises(OSError, match="no device"):
            x.open()
        lab.remove_rpc_object(x)

    fail_to_make()
    fail_to_open()
    before = resources()
    for _ in range(500):
        fail_to_make()
        fail_to_open()
    assert len(lab.async_context.registry) == 1
    wait_until(lambda: resources()[0] <= before[0] + 1)
    assert resources()[1] <= before[1]


STUCK = """
import sys, threading
import qmi
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import rpc_method

class Stuck(QMI_Instrument):
    @rpc_method
    def hang(self):
        threading.Event().wait()

class Good(QMI_Instrument):
    def release_rpc_object(self):
        print("good released", flush=True)

qmi.start("lab", None, context_cfg={"lab": {"stop_grace": 0.3}})
good = qmi.make_instrument("good", Good)
stuck = qmi.make_instrument("stuck", Stuck)
stuck.rpc_nonblocking.hang()
late = qmi.make_instrument("late", Good)
while not stuck._rpc.router.find_actor(stuck._rpc.address).statistics().busy_with:
    pass
qmi.stop()
print("stopped", flush=True)
"""


@pytest.mark.slow
def test_fault_14_stopping_with_a_stuck_driver_ends_in_time_and_names_it() -> None:
    started = time.monotonic()
    run = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=30)
    assert time.monotonic() - started < 15
    assert run.returncode == 0
    assert run.stdout.split("\n") == ["good released", "good released", "stopped", ""]
    assert "lab.stuck does not end and is left behind: lab.stuck is busy with hang() for" in run.stderr
    assert "now at <string>:" in run.stderr
    assert "in hang" in run.stderr


def test_an_object_cannot_remove_itself(lab: QMI_Context) -> None:
    class Suicidal(Plain):
        @rpc_method
        def go(self, proxy: Any) -> None:
            self._context.remove_rpc_object(proxy)

    x = lab.make_instrument("x", Suicidal)
    with pytest.raises(QMI_UsageException, match=r"lab\.x cannot be removed by its own method"):
        x.go(x)
    assert x.add(1) == 3


@pytest.mark.parametrize(
    ("cls", "count"),
    [
        *((Async, 1_000), (Plain, 200), (Inline, 300)),
        *(pytest.param(Async, 10_000, marks=pytest.mark.slow), pytest.param(Plain, 1_000, marks=pytest.mark.slow)),
    ],
)
def test_objects_of_any_number_live_in_one_process(cls: type[Any], count: int) -> None:
    context = QMI_Context("crowd")
    with context:
        proxies: list[Any] = [context.make_rpc_object(f"x{index}", cls) for index in range(count)]
        assert len(context.list_rpc_objects()) == count
        futures = [proxy.rpc_nonblocking.add(1) for proxy in proxies]
        assert all(future.wait(30) == 3 for future in futures)
    with pytest.raises(QMI_RuntimeException, match="Context 'crowd' has stopped"):
        proxies[0].add(1)

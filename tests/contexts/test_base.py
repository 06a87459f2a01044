from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, ClassVar

import pytest
import trio
import trio.testing

import qmi
from qmi.actors.actor import Actor
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.registry import Registry
from qmi.config.schema import CfgContext, CfgQmi
from qmi.contexts.base import ContextBase
from qmi.core.context import Context, QMI_Context
from qmi.core.exceptions import (
    QMI_CancelledCallException,
    QMI_ContextStoppedException,
    QMI_DuplicateNameException,
    QMI_NoActiveContextException,
    QMI_NotDeliveredException,
    QMI_ObjectRemovedException,
    QMI_UnknownNameException,
    QMI_UsageException,
)
from qmi.core.rpc import QMI_RpcObject, rpc_method
from qmi.core.task import QMI_Task
from qmi.messages import Call, Describe, QueryLock
from qmi.names import Address
from tests.support.drivers import Async, Plain
from tests.support.waiting import until, wait_until


@pytest.fixture
def lab() -> Iterator[QMI_Context]:
    context = QMI_Context("lab")
    context.start()
    yield context
    with suppress(QMI_NoActiveContextException):  # the test stopped it
        context.stop()


@pytest.mark.parametrize("name", ["", "a b", "a.b", "x" * 64, "$context", 7])
def test_a_context_needs_a_good_name(name: Any) -> None:
    with pytest.raises(QMI_UsageException, match=r"name"):
        ContextBase(name)


def test_a_context_that_is_not_started_says_so() -> None:
    core = ContextBase("lab")
    for use in (lambda: core.resolve("x"), lambda: core.register_stop_handler(print), core.check_running):
        with pytest.raises(QMI_UsageException, match=r"^Context 'lab' is not started$"):
            use()
    assert repr(core) == "QMI_context(name='lab')"
    assert core.configured() is None
    assert core.own_config() == CfgContext()


async def test_a_context_runs_once() -> None:
    core = ContextBase("lab")
    async with core.running():
        core.check_running()
        with pytest.raises(QMI_UsageException, match=r"^Context 'lab' was started before; make a new one"):
            core.check_can_start()
    for use in (
        lambda: core.resolve("x"),
        lambda: core.make("x", Async, (), {}),
        lambda: core.begin_remove(Address("lab", "x")),
        lambda: core.find_actor(Address("elsewhere", "x")),
    ):
        with pytest.raises(QMI_ContextStoppedException, match=r"^Context 'lab' has stopped$"):
            use()
    with pytest.raises(QMI_UsageException, match=r"was started before"):
        async with core.running():
            raise AssertionError("it must not run")


async def test_the_error_of_a_block_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        async with qmi.open_context("lab", None, init_logging=False):
            _ = 1 / 0
    assert caught.value.__cause__ is None


async def test_messages_to_nobody_are_answered_with_the_reason(trio_lab: Context) -> None:
    await trio_lab.make_rpc_object("laser", Async)
    with pytest.raises(QMI_UnknownNameException, match=r"'lasre'.*Did you mean 'laser'\?"):
        await trio_lab.get_rpc_object("lasre")
    unknown = trio_lab.request(Address("lab", "lasre"), QueryLock("lasre"))
    assert "lasre" in str(unknown.error())
    unreachable = trio_lab.request(Address("far", "x"), Call("x", "add"))
    assert isinstance(unreachable.error(), QMI_NotDeliveredException)
    assert str(unreachable.error()) == (
        "There is no connection to context 'far'; connect_to_peer('far') makes one "
        "(qmi.context().connect_to_peer('far'), or auto_connect=True)"
    )
    for_peer: QMI_RpcFuture[Any] = QMI_RpcFuture("lasre")
    trio_lab.request_here(Describe("lasre"), trio_lab.origin, None, for_peer)
    assert isinstance(for_peer.error(), QMI_UnknownNameException)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("far.x", "far.x belongs to another context; only that one can remove it"),
        ("lab.$context", "lab.$context is an internal object: it ends with its context"),
    ],
)
async def test_object_that_cannot_be_removed_stays(address: str, message: str, trio_lab: Context) -> None:
    with pytest.raises(QMI_UsageException) as caught:
        trio_lab.begin_remove(Address(*address.split(".")))
    assert str(caught.value) == message


class MadeLater(QMI_RpcObject):
    """An object whose constructor waits until the test has its future."""

    go_on = threading.Event()

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        assert self.go_on.wait(30)


@pytest.mark.parametrize("given_up", [False, True])
async def test_object_has_its_name_before_its_maker_is_told(
    trio_lab: Context, monkeypatch: pytest.MonkeyPatch, given_up: bool
) -> None:
    MadeLater.go_on.clear()
    made = trio_lab.make("x", MadeLater, (), {})
    done: list[bool] = []
    add = Registry.add

    def note(self: Registry, actor: Actor) -> None:
        done.append(made.done())
        if given_up:  # in the very moment in which the object is there
            made.cancel()
        add(self, actor)

    monkeypatch.setattr(Registry, "add", note)
    MadeLater.go_on.set()
    await made.ended()
    assert done == [False]
    if given_up:
        assert isinstance(made.error(), QMI_CancelledCallException)
        await until(lambda: trio_lab.registry.get("x") is None)
    else:
        assert trio_lab.registry.get("x") is made.result()


async def test_an_object_is_removed_once(trio_lab: Context) -> None:
    x: Any = await trio_lab.make_rpc_object("x", Async)
    first, second = trio_lab.begin_remove(Address("lab", "x")), trio_lab.begin_remove(Address("lab", "x"))
    await first.ended()
    await second.ended()
    errors = [future.error() for future in (first, second)]
    assert errors.count(None) == 1, "whichever comes first removes it"
    assert any(isinstance(error, QMI_ObjectRemovedException) for error in errors)
    with pytest.raises(QMI_ObjectRemovedException):
        trio_lab.begin_remove(Address("lab", "x"))
    with pytest.raises(QMI_ObjectRemovedException):
        await x.add(1)
    again: Any = await trio_lab.make_rpc_object("x", Async)
    assert await again.add(1) == 3


class Settings(QMI_Task[Any, Any]):
    def run(self) -> None:
        """Do nothing."""


BAD_TASKS: list[tuple[dict[str, Any], str]] = [
    ({"name": "a b"}, "Invalid task name"),
    ({"task_class": Plain}, "A task is made from a class derived from QMI_Task; got "),
    ({"task_class": "Settings"}, "A task is made from a class derived from QMI_Task; got 'Settings'"),
    ({"task_runner": Plain}, "The runner of a task"),
    ({"restart_rule": "always"}, "restart_rule is a RestartRule or None; got 'always'"),
]


@pytest.mark.parametrize(("change", "message"), BAD_TASKS)
async def test_a_task_that_cannot_be_made_leaves_nothing(
    change: dict[str, Any], message: str, trio_lab: Context
) -> None:
    wanted = {"name": "task", "task_class": Settings, **change}
    with pytest.raises(QMI_UsageException) as caught:
        await trio_lab.make_task(wanted.pop("name"), wanted.pop("task_class"), **wanted)
    assert str(caught.value).startswith(message)
    assert trio_lab.objects() == []
    await trio_lab.make_task("task", Settings)
    with pytest.raises(QMI_DuplicateNameException):
        await trio_lab.make_task("task", Settings)


async def test_a_stop_handler_is_a_function() -> None:
    called: list[str] = []
    async with qmi.open_context("lab", None, init_logging=False) as lab:
        with pytest.raises(QMI_UsageException, match=r"^A stop handler is a function without arguments; got 'print'$"):
            lab.register_stop_handler("print")  # type: ignore[arg-type]
        lab.register_stop_handler(lambda: called.append(qmi.context().name))
    assert called == ["lab"]


def test_stop_handlers_may_run_ahead_of_the_stop(caplog: pytest.LogCaptureFixture) -> None:
    called: list[str] = []
    with QMI_Context("lab") as lab:
        lab.register_stop_handler(lambda: called.append(qmi.context().name))
        lab.register_stop_handler(lambda: called.append(str(1 / 0)))
        lab.async_context.stop_handlers.run()
        assert called == ["lab"]
        assert "failed" in caplog.text
    assert called == ["lab"], "what has run does not run again"


def test_functions_run_in_the_nursery_for_threads(lab: QMI_Context) -> None:
    core = lab.async_context
    started = threading.Event()
    ended: list[str] = []

    async def double(x: int) -> int:
        await trio.lowlevel.checkpoint()
        return 2 * x

    async def fail() -> None:
        raise OSError("no cable")

    async def forever() -> None:
        started.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.append("forever")

    assert core.run(double, 21).wait(10) == 42
    with pytest.raises(OSError, match="no cable"):
        core.run(fail).wait(10)
    endless = core.run(forever)
    assert started.wait(10)
    endless.cancel()
    with pytest.raises(QMI_CancelledCallException):
        endless.wait(10)
    started.clear()
    endless = core.run(forever)
    assert started.wait(10)
    lab.stop()
    with pytest.raises(QMI_ContextStoppedException):
        endless.wait(10)
    with pytest.raises(QMI_ContextStoppedException):
        core.run(double, 1).wait(10)
    assert ended == ["forever", "forever"]


async def test_a_function_that_is_cancelled_from_within_says_so() -> None:
    async with qmi.open_context("lab", None, init_logging=False) as lab:
        running = lab.run(trio.sleep_forever)
        await trio.testing.wait_all_tasks_blocked()
        running.request_cancel()
        with pytest.raises(QMI_CancelledCallException, match=r"^sleep_forever was cancelled$"):
            await running
    late = lab.run(trio.sleep_forever)
    assert isinstance(late.error(), QMI_ContextStoppedException)


def test_a_context_that_has_stopped_starts_no_threads(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Plain)
    core = lab.async_context
    lab.stop()
    with pytest.raises(QMI_ContextStoppedException):
        x.add(1)
    with pytest.raises(QMI_ContextStoppedException):
        core.make("y", Plain, (), {})


class Helped(QMI_RpcObject):
    """Its release asks another object, which is there still."""

    def __init__(self, context: Any, name: str, helper: Any, said: list[float]) -> None:
        super().__init__(context, name)
        self._helper, self._said = helper, said

    def release_rpc_object(self) -> None:
        self._said.append(self._helper.add(1))

    @rpc_method
    def nothing(self) -> None:
        """Do nothing."""


def test_objects_may_use_others_until_the_end_of_the_stop() -> None:
    said: list[float] = []
    with QMI_Context("lab") as lab:
        helper = lab.make_instrument("helper", Plain)
        lab.make_rpc_object("x", Helped, helper, said)
    assert said == [3]


def test_the_start_tells_what_it_reads(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), QMI_Context("lab", CfgQmi(config_file="/lab/qmi.conf")):
        pass
    assert "Configuration read from /lab/qmi.conf" in caplog.text
    assert "Context lab has stopped" in caplog.text


async def test_a_make_whose_caller_gave_up_is_undone(trio_lab: Context) -> None:
    future = trio_lab.make("x", Async, (), {})
    await future
    trio_lab.undo_make(future)
    trio_lab.undo_make(future)
    await until(lambda: trio_lab.objects() == [])
    failed = trio_lab.make("y", Async, (1, 2, 3), {})
    with pytest.raises(TypeError):
        await failed
    trio_lab.undo_make(failed)
    assert trio_lab.objects() == []


class Unfit(QMI_RpcObject):
    """What is done with it after its constructor fails."""

    released: ClassVar[list[str]] = []

    def __rpc_polls__(self) -> dict[str, float]:
        raise TypeError("a channel does not take these arguments")

    def release_rpc_object(self) -> None:
        """Note it."""
        self.released.append(self._name)


def test_object_that_fails_after_its_constructor_is_an_error_for_its_maker_and_leaves_nothing(lab: QMI_Context) -> None:
    for _ in range(2):
        with pytest.raises(TypeError, match="a channel does not take these arguments"):
            lab.make_rpc_object("unfit", Unfit)
    assert wait_until(lambda: Unfit.released == ["unfit"] * 2)
    assert lab.list_rpc_objects() == []

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

import qmi
from qmi.core.context import QMI_Context
from qmi.core.exceptions import (
    QMI_DuplicateNameException,
    QMI_Exception,
    QMI_ObjectRemovedException,
    QMI_SignalSubscriptionException,
    QMI_TimeoutException,
    QMI_UnknownNameException,
    QMI_UsageException,
)
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal, QMI_SignalReceiver
from qmi.core.rpc import QMI_RpcObject, rpc_method
from qmi.core.task import QMI_Task
from tests.support.drivers import Async, Plain
from tests.support.lab import address, config
from tests.support.waiting import until


class Sensor(QMI_Instrument):
    sig_value = QMI_Signal([float])

    @rpc_method
    async def tell(self, value: float) -> None:
        self.sig_value.publish(value)


class Waiting(QMI_Task[Any, Any]):
    def run(self) -> None:
        while not self.stop_requested():
            self.sleep(10)


def open_lab(name: str = "lab") -> Any:
    return qmi.open_context(name, config=config(name), init_logging=False)


async def test_instruments_tasks_and_other_objects_are_made_and_found() -> None:
    async with open_lab() as lab:
        x = await lab.make_instrument("x", Plain)
        task = await lab.make_task("task", Waiting)
        await lab.make_rpc_object("y", Async)
        assert await x.add(1) == 3
        assert await (await lab.get_instrument("x")).add(1) == 3
        assert await (await lab.get_rpc_object("lab.y")).add(1) == 3
        assert not await (await lab.get_task("task")).is_running()
        async with task:
            assert await task.is_running()
        assert [name for name, _ in await lab.list_rpc_objects()] == ["lab.x", "lab.task", "lab.y"]
        assert await lab.list_rpc_objects("instrument") == [("lab.x", "tests.support.drivers.Plain")]
        assert [name for name, _ in await lab.list_rpc_objects("task")] == ["lab.task"]
        await lab.remove_rpc_object(x)
        with pytest.raises(QMI_ObjectRemovedException):
            await x.add(1)


class NoInstrument(QMI_RpcObject):
    pass


BAD: list[tuple[Any, type[Exception], str]] = [
    (lambda lab: lab.make_instrument("x", NoInstrument), QMI_UsageException, "An instrument"),
    (lambda lab: lab.make_instrument("x", "Plain"), QMI_UsageException, "An instrument"),
    (lambda lab: lab.make_rpc_object("x", int), QMI_UsageException, "An object"),
    (lambda lab: lab.make_rpc_object("a b", Async), QMI_UsageException, "Invalid object name 'a b': it contains ' '"),
    (lambda lab: lab.make_rpc_object("taken", Async), QMI_DuplicateNameException, "taken"),
    (lambda lab: lab.make_rpc_object("x", Async, 1, 2, 3), TypeError, "positional argument"),
    (lambda lab: lab.get_rpc_object("tekan"), QMI_UnknownNameException, "Did you mean 'taken'"),
    (lambda lab: lab.get_rpc_object("a.b.c"), QMI_UsageException, "Invalid"),
    (lambda lab: lab.get_rpc_object(7), QMI_UsageException, "An object is named by a string"),
    (lambda lab: lab.get_rpc_object("far.x"), QMI_Exception, "connect_to_peer"),
    (lambda lab: lab.disconnect_from_peer("far"), QMI_Exception, "far"),
    (lambda lab: lab.subscribe_signal("", "taken", "sig", print), QMI_UsageException, "QMI_SignalReceiver"),
]


@pytest.mark.parametrize(("use", "kind", "message"), BAD)
async def test_bad_input_is_explained_and_changes_nothing(use: Any, kind: type[Exception], message: str) -> None:
    async with open_lab() as lab:
        taken = await lab.make_rpc_object("taken", Async)
        with pytest.raises(kind) as caught:
            await use(lab)
        assert message in str(caught.value)
        assert [name for name, _ in await lab.list_rpc_objects()] == ["lab.taken"]
        assert await taken.add(1) == 3


async def test_a_make_that_is_cancelled_leaves_nothing() -> None:
    entered = trio.Event()

    class Slow(Async):
        def __init__(self, context: Any, name: str) -> None:
            super().__init__(context, name)
            scope.cancel()
            entered.set()

    async with open_lab() as lab:
        with trio.CancelScope() as scope:
            await lab.make_rpc_object("x", Slow)
        assert scope.cancelled_caught
        assert entered.is_set()
        await until(lambda: not lab.objects())
        await lab.make_rpc_object("x", Async)


async def test_signals_are_subscribed_to_by_name() -> None:
    async with open_lab() as lab:
        sensor: Any = await lab.make_instrument("sensor", Sensor)
        receiver = QMI_SignalReceiver()
        await lab.subscribe_signal("", "sensor", "sig_value", receiver)
        await sensor.tell(1.0)
        lab.publish_signal("sensor", "sig_value", 2.0)
        assert [receiver.get_next_signal().args for _ in range(2)] == [(1.0,), (2.0,)]
        await lab.unsubscribe_signal("lab", "sensor", "sig_value", receiver)
        await sensor.tell(3.0)
        assert not receiver.has_signal_ready()
        with pytest.raises(QMI_SignalSubscriptionException, match=r"no signal 'sig_valeu'\. Did you mean 'sig_value'"):
            await lab.subscribe_signal("", "sensor", "sig_valeu", receiver)
        with pytest.raises(QMI_TimeoutException):
            receiver.get_next_signal()


async def test_a_trio_program_uses_the_objects_of_another_context() -> None:
    async with open_lab() as lab, open_lab("desk") as desk:
        await lab.make_instrument("x", Plain)
        await desk.make_rpc_object("own", Async)
        where = address(lab.facade)
        assert not desk.has_peer_context("lab")
        x: Any = await desk.get_instrument("lab.x", auto_connect=True, host_port=where)
        assert desk.has_peer_context("lab")
        assert await x.add(1) == 3
        await desk.connect_to_peer("lab", where, ignore_duplicate=True)
        assert [name for name, _ in await desk.list_rpc_objects()] == ["desk.own", "lab.x"]
        assert await desk.list_rpc_objects("instrument") == [("lab.x", "tests.support.drivers.Plain")]
        found = await desk.discover_peer_contexts(context_name_filter="lab")
        assert [peer.name for peer in found] == ["lab"]
        await desk.disconnect_from_peer("lab")
        assert not desk.has_peer_context("lab")
        assert [name for name, _ in await desk.list_rpc_objects()] == ["desk.own"]
        with pytest.raises(QMI_Exception):
            await x.add(1)


async def test_a_program_waits_until_it_is_asked_to_end() -> None:
    async with open_lab() as lab:
        assert not await lab.wait_until_shutdown(0.001)
        assert not lab.shutdown_requested()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lab.wait_until_shutdown)
            await trio.testing.wait_all_tasks_blocked()
            lab.request_shutdown()
        assert await lab.wait_until_shutdown()
        assert lab.shutdown_requested()


def test_its_class_says_where_users_find_it() -> None:
    assert qmi.context.__module__ == "qmi"
    with QMI_Context("lab") as lab:
        assert type(lab.async_context).__module__ == "qmi.core.context"

"""Properties of objects: asked for and set through proxies of every kind, here and in another program."""

from __future__ import annotations

import abc
import asyncio
import copy
import pickle
import pydoc
import threading
from functools import partial
from typing import Any

import pytest

import qmi
from qmi.actors.structures import describe_structure, same_structure
from qmi.core.context import Context, QMI_Context
from qmi.core.exceptions import (
    QMI_Exception,
    QMI_ObjectLockedException,
    QMI_RpcTimeoutException,
    QMI_UnknownRpcException,
    QMI_UsageException,
    QMI_ValueNotSendableException,
)
from qmi.core.pubsub import QMI_Signal
from qmi.core.rpc import Placement, QMI_RpcObject, rpc_method
from qmi.core.task import QMI_Task, QMI_TaskRunner
from qmi.messages import Call, call_text
from qmi.names import Address
from tests.support.drivers import Limited
from tests.support.lab import two_contexts
from tests.support.parameters import Laser


class MoreLimited(Limited):
    _rpc_properties = {"EXTRA"}  # noqa: RUF012
    EXTRA = "text"

    @property
    @rpc_method
    def failing(self) -> int:
        """Fails."""
        raise ValueError("no such luck")


@pytest.mark.parametrize("placement", list(Placement))
def test_property_is_asked_for_and_set(lab: QMI_Context, placement: Placement) -> None:
    cls: Any = type("Limited", (Limited,), {"_rpc_placement": placement})
    x: Any = lab.make_rpc_object("x", cls)
    other: Any = lab.make_rpc_object("y", cls)
    assert x.LIMIT == 5
    x.LIMIT = 7
    assert (x.LIMIT, x.get_limit(), lab.get_rpc_object("x").LIMIT) == (7, 7, 7)
    assert (other.LIMIT, cls.LIMIT) == (5, 5), "it belongs to the object"
    x.RANGE = [3, 4.5]
    assert x.RANGE == [3, 4.5]


class RunnerWithProperties(QMI_TaskRunner):
    _rpc_properties = ("FACTOR",)
    _rpc_constants = ("KIND",)
    FACTOR = 1.0
    KIND = "runner"
    sig_runner = QMI_Signal([int])


class PropertyTask(QMI_Task[Any, Any]):
    sig_task = QMI_Signal([float])

    def run(self) -> None:
        self.sleep(60)


def test_runner_of_a_task_has_properties() -> None:
    with two_contexts() as (server, client):
        server.make_task("t", PropertyTask, task_runner=RunnerWithProperties)
        for context in (server, client):
            task: Any = context.get_task("server.t")
            task.FACTOR = task.FACTOR + 1.0
            assert task.KIND == "runner"
            names = {signal.name: signal.arg_types for signal in task.get_signals()}
            assert names["sig_runner"] == (int,)
            assert names["sig_task"] == (float,)
            assert task.sig_task
        assert task.FACTOR == 3.0


def test_signal_of_a_task_has_no_reserved_name(lab: QMI_Context) -> None:
    cls = type("Task", (PropertyTask,), {"lock": QMI_Signal([int])})
    with pytest.raises(QMI_UsageException, match=r"Signal Task\.lock cannot be published: proxies have a 'lock'"):
        lab.make_task("t", cls)


def test_properties_of_base_classes_are_properties(lab: QMI_Context) -> None:
    x: Any = lab.make_rpc_object("x", MoreLimited)
    assert (x.LIMIT, x.EXTRA) == (5, "text")
    with pytest.raises(ValueError, match="no such luck"):
        x.failing  # noqa: B018


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("LIMIT", "x", "takes int, as it is now; got 'x' (str)"),
        ("LIMIT", 1.0, "takes int, as it is now; got 1.0 (float)"),
        ("LIMIT", True, "takes int, as it is now; got True (bool)"),
        ("LIMIT", None, "takes int, as it is now; got None (NoneType)"),
        ("RATE", 1, "takes float, as it is now; got 1 (int)"),
        ("NOTHING", 1, "takes NoneType, as it is now; got 1 (int)"),
        ("RANGE", [1, 2.0, 3], "takes list of 2 items, as it is now; got [1, 2.0, 3] (list of 3 items)"),
        ("RANGE", (1, 2.0), "takes list of 2 items, as it is now; got (1, 2.0) (tuple of 2 items)"),
        ("RANGE", [1, 2], "takes list of 2 items"),
        ("RANGE", [], "takes list of 2 items, as it is now; got [] (list of 0 items)"),
        ("TABLE", {"b": (1, "x")}, "takes dict of 1 item"),
        ("TABLE", {"a": (1, 2)}, "takes dict of 1 item"),
    ],
)
def test_property_keeps_its_type(lab: QMI_Context, name: str, value: Any, found: str) -> None:
    x: Any = lab.make_rpc_object("x", Limited)
    before = getattr(x, name)
    for set_to in (partial(setattr, x, name), lambda new: getattr(x.rpc_nonblocking, name).set(new).wait(10)):
        with pytest.raises(QMI_UsageException) as raised:
            set_to(value)
        assert f"Property {name} of 'x' {found}" in str(raised.value)
    assert getattr(x, name) == before


def test_property_respects_the_lock() -> None:
    with two_contexts() as (server, client):
        server.make_rpc_object("x", Limited)
        for context in (server, client):
            mine: Any = context.get_rpc_object("server.x")
            other: Any = client.get_rpc_object("server.x")
            assert mine.lock()
            with pytest.raises(QMI_ObjectLockedException, match="The object is locked by another proxy"):
                other.LIMIT  # noqa: B018
            with pytest.raises(QMI_ObjectLockedException):
                other.LIMIT = 1
            mine.LIMIT = 8
            assert mine.LIMIT == 8
            assert mine.unlock()


def test_property_works_in_another_program() -> None:
    with two_contexts() as (server, client):
        here: Any = server.make_rpc_object("x", Limited)
        x: Any = client.get_rpc_object("server.x")
        x.LIMIT = 9
        x.TABLE = {"a": (5, "y")}
        assert (x.LIMIT, x.TABLE, here.LIMIT, x.MAX) == (9, {"a": (5, "y")}, 9, 100)
        with pytest.raises(QMI_UsageException, match="takes int"):
            x.LIMIT = 1.5


def test_constant_cannot_be_set() -> None:
    with two_contexts() as (server, client):
        server.make_rpc_object("x", Limited)
        for context in (server, client):
            x: Any = context.get_rpc_object("server.x")
            for view in (x, x.rpc_nonblocking, x.rpc_async):
                with pytest.raises(AttributeError, match="MAX is an RPC constant of Limited, 100, and cannot be set"):
                    view.MAX = 5
                assert view.MAX == 100


def test_nonblocking_property_gives_futures(lab: QMI_Context) -> None:
    x: Any = lab.make_rpc_object("x", Limited).rpc_nonblocking
    x.LIMIT.set(6).wait(10)
    assert x.LIMIT.get().wait(10) == x.LIMIT.wait(10) == 6
    with pytest.raises(AttributeError, match=r"write proxy\.rpc_nonblocking\.LIMIT\.set\(\.\.\.\)"):
        x.LIMIT = 7
    assert "LIMIT" in repr(x.LIMIT)


async def test_async_property_is_awaited(trio_lab: Context) -> None:
    x: Any = await trio_lab.make_rpc_object("x", Limited)
    assert await x.LIMIT == 5
    await x.LIMIT.set(6)
    assert await x.LIMIT.get(rpc_timeout=10) == 6
    assert "LIMIT" in repr(x.LIMIT), "nothing is asked until it is awaited"
    with pytest.raises(AttributeError, match=r"has to be awaited: await proxy\.LIMIT\.set\(\.\.\.\)"):
        x.LIMIT = 7
    with pytest.raises(QMI_UsageException, match="takes int"):
        await x.LIMIT.set("x")


def test_properties_are_listed_in_help(lab: QMI_Context) -> None:
    x = lab.make_rpc_object("x", MoreLimited)
    text = pydoc.render_doc(x, renderer=pydoc.plaintext)  # type: ignore[attr-defined]
    for line in ("LIMIT", "Property of type int.", "Property of type list.", "Constant: 100", "type int. Fails."):
        assert line in text
    assert {"LIMIT", "RATE", "MAX", "failing"} <= set(dir(x))


@pytest.mark.parametrize("method", ["__rpc_get__", "__rpc_set__", "__rpc_enter__", "__rpc_exit__"])
@pytest.mark.parametrize("name", ["_name", "private", "MAX", "nothing", 5, None, b"MAX", ["MAX"], {"MAX": 1}])
def test_property_messages_reach_only_properties(method: str, name: object) -> None:
    with two_contexts() as (server, client):
        server.make_rpc_object("x", Limited)
        args = (name, "evil")[: 1 if method == "__rpc_get__" else 2]
        call = Call("x", method, args)
        future = client.async_context.request(Address("server", "x"), call)
        with pytest.raises(QMI_Exception) as raised:
            future.wait(10)
        assert isinstance(raised.value, QMI_UnknownRpcException)
        assert server.get_rpc_object("x").private() == "x"


@pytest.mark.parametrize(
    "name", ["_rpc_values", "power.__get__", "power\n", 5, None, b"power", ["power"], {"power": 1}]
)
@pytest.mark.parametrize("args", [(), (0.01,)])
def test_property_messages_reach_only_parameters(name: object, args: tuple[object, ...]) -> None:
    with two_contexts() as (server, client):
        laser = server.make_instrument("laser", Laser)
        call = Call("laser", "__rpc_set__" if args else "__rpc_get__", (name, *args))
        with pytest.raises(QMI_UnknownRpcException, match="has no property"):
            client.async_context.request(Address("server", "laser"), call).wait(10)
        assert laser.power == 0.0


STRUCTURES: list[tuple[Any, Any, bool]] = [
    ({1, "a"}, {2, "b"}, True),
    ({1, "a"}, {2, 3}, False),
    ({1}, frozenset({1}), False),
    ({(1, "a")}, {(2, 3)}, False),
    ((1, [2.0]), (3, [4.0]), True),
    ((1, [2.0]), (3, (4.0,)), False),
    ({"a": 1}, {"a": 2}, True),
    (b"a", b"abc", True),
    (b"a", "a", False),
]


@pytest.mark.parametrize(("one", "other", "same"), STRUCTURES)
def test_structures_are_compared(one: Any, other: Any, same: bool) -> None:
    assert same_structure(one, other) is same
    assert describe_structure(one)


def test_arrays_are_compared_by_type_and_shape() -> None:
    numpy = pytest.importorskip("numpy")
    assert same_structure(numpy.zeros(3), numpy.ones(3))
    assert not same_structure(numpy.zeros(3), numpy.zeros(4))
    assert not same_structure(numpy.zeros(3), numpy.zeros(3, int))
    assert not same_structure(numpy.float64(1), 1.0)
    assert describe_structure(numpy.zeros((2, 3))) == "ndarray of float64 with shape (2, 3)"


class Awkward(QMI_RpcObject):
    @property
    @rpc_method
    def broken(self) -> int:
        raise AttributeError("the driver's own fault")

    @property
    @rpc_method
    def plain(self) -> int:
        """Overridden in several ways."""
        return 1

    @property
    @rpc_method
    @abc.abstractmethod
    def abstract(self) -> int: ...


class Overriding(Awkward):
    plain = 7

    @property
    def abstract(self) -> int:
        return 3


class Method(Awkward):
    def plain(self) -> int:  # type: ignore[override]
        return 7


def test_property_of_a_driver_that_lacks_an_attribute_says_so() -> None:
    with two_contexts() as (server, client):
        server.make_rpc_object("x", Awkward)
        for context in (server, client):
            x: Any = context.get_rpc_object_by_name("server.x")
            for _ in range(2):
                with pytest.raises(AttributeError, match="the driver's own fault"):
                    _ = x.broken
                with pytest.raises(QMI_UnknownRpcException, match="no published method 'brokn'"):
                    _ = x.brokn
            assert not hasattr(x, "broken")


def test_property_that_overrides_a_published_one_is_published(lab: QMI_Context) -> None:
    x: Any = lab.make_rpc_object("x", Overriding)
    assert (x.plain, x.abstract) == (7, 3)
    x.plain = 8
    assert x.plain == 8
    y: Any = lab.make_rpc_object("y", Method)
    with pytest.raises(QMI_UnknownRpcException, match="the class has it, but without @rpc_method"):
        y.plain()


@pytest.mark.parametrize("part", ["sig", "nonblocking", "async", "async sig", "method"])
def test_parts_of_a_proxy_are_copied_as_they_are_and_not_pickled(lab: QMI_Context, part: str) -> None:
    class Driver(MoreLimited):
        sig = QMI_Signal([int])

    x: Any = lab.make_rpc_object("x", Driver)
    thing = {
        "sig": x.sig,
        "nonblocking": x.rpc_nonblocking.LIMIT,
        "async": x.rpc_async.LIMIT,
        "async sig": x.rpc_async.sig,
        "method": x.get_limit,
    }[part]
    with pytest.raises(QMI_ValueNotSendableException, match=r"cannot be pickled.*get_rpc_object\('lab\.x'\)"):
        pickle.dumps(thing)
    if part != "method":
        assert copy.copy(thing) is copy.deepcopy(thing) is thing


class Slow(QMI_RpcObject):
    """A driver whose property waits, as others do for an answer of a device."""

    _rpc_properties = ("LIMIT",)
    LIMIT = 1

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.entered, self.go_on = threading.Event(), threading.Event()
        SLOW.append(self)

    @property
    @rpc_method
    def level(self) -> int:
        self.entered.set()
        self.go_on.wait()
        return 1

    @level.setter
    def level(self, value: int) -> None:
        raise AssertionError(value)

    @rpc_method
    def get(self) -> int:
        return 1


SLOW: list[Slow] = []


def test_property_is_named_in_messages_about_its_calls() -> None:
    with two_contexts() as (server, client):
        server.make_rpc_object("x", Slow)
        driver = SLOW.pop()
        for context in (server, client):
            x: Any = context.get_rpc_object_by_name("server.x")
            reading = x.rpc_nonblocking.level.get()
            driver.entered.wait()
            busy = r"server\.x is busy with level for"
            with pytest.raises(QMI_RpcTimeoutException, match=rf"server\.x\.get\(\) within.*{busy}"):
                x.get(rpc_timeout=0.01)
            with pytest.raises(QMI_RpcTimeoutException, match=rf"server\.x\.level within.*{busy}"):
                x.rpc_nonblocking.level.get().wait(0.01)
            with pytest.raises(QMI_RpcTimeoutException, match=rf"server\.x\.LIMIT \(set\) within.*{busy}"):
                x.rpc_nonblocking.LIMIT.set(2).wait(0.01)
            driver.go_on.set()
            assert reading.wait() == 1
            driver.go_on.clear()
            driver.entered.clear()


async def _enter(x: Any) -> None:
    async with x.rpc_async:
        pass


async def _read(x: Any) -> None:
    await x.rpc_async.LIMIT


async def _set(x: Any) -> None:
    await x.rpc_async.LIMIT.set(3)


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (_read, r"lab\.x\.LIMIT can be awaited.*'proxy\.LIMIT' without await.*to_thread\(getattr, proxy, 'LIMIT'\)"),
        (_set, r"lab\.x\.LIMIT \(set\) can be.*'proxy\.LIMIT = \.\.\.'.*to_thread\(setattr, proxy, 'LIMIT', \.\.\.\)"),
        (_enter, r"lab\.x\.__enter__\(\) can be awaited.*'with proxy:' without await"),
    ],
)
def test_property_that_is_awaited_in_asyncio_is_named(lab: QMI_Context, use: Any, text: str) -> None:
    class Driver(Limited):
        @rpc_method
        def __enter__(self) -> None: ...

    x: Any = lab.make_rpc_object("x", Driver)
    with pytest.raises(QMI_UsageException, match=text):
        asyncio.run(use(x))


async def test_property_that_would_block_the_loop_names_what_to_write(trio_lab: Context) -> None:
    x: Any = qmi.rpc_blocking(await trio_lab.make_rpc_object("x", Limited))
    with pytest.raises(QMI_UsageException, match=r"lab\.x\.LIMIT would block.*'await proxy\.rpc_async\.LIMIT'"):
        _ = x.LIMIT
    with pytest.raises(QMI_UsageException, match=r"'await proxy\.rpc_async\.LIMIT\.set\(\.\.\.\)'"):
        x.LIMIT = 3


@pytest.mark.parametrize("args", [(), (3,), ("a\x1b[31m",), ("\n" * 1000,)])
def test_property_whose_name_makes_no_sense_is_not_shown(args: tuple[Any, ...]) -> None:
    assert call_text("__rpc_get__", args) == "a property"
    assert call_text("__rpc_set__", args) == "a property (set)"

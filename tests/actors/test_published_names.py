"""A driver's names win: what proxies have beyond what is reserved gives way, and stays within reach by a function."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
import pydoc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partialmethod, wraps
from typing import Any, ClassVar

import pytest
import trio

import qmi
from qmi.actors.interface import RESERVED_NAMES
from qmi.core.context import Context, QMI_Context
from qmi.core.exceptions import QMI_Exception, QMI_ObjectLockedException, QMI_UsageException
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal, QMI_SignalReceiver
from qmi.core.rpc import AsyncProxy, Placement, QMI_RpcObject, QMI_RpcProxy, rpc_method
from tests.support.drivers import Plain
from tests.support.lab import two_contexts

TAKEN = sorted(
    {
        *("call", "locked", "rpc_async", "rpc_blocking", "_wait", "_acquire", "_describe", "_rpc", "_rpc_interface"),
        *("_handle", "get_name", "get_signals", "get_category", "wait", "open", "mro", "name", "args", "kwargs"),
        *("subscribe", "publish", "router", "token", "interface", "__len__", "__call__", "__getitem__"),
        *("_lock_token", "rpc_timeout", "release", "method", "self", "type", "views"),
        *(name for name in dir(QMI_RpcProxy) if not name.startswith("__")),
        *(name for name in dir(AsyncProxy) if not name.startswith("__")),
        *(name for name in vars(QMI_RpcProxy) if name[0] == "_" and name[1] != "_"),
    }
    - RESERVED_NAMES
)


def driver(kind: str, name: str) -> type[QMI_RpcObject]:
    def method(self: Any, *args: int) -> str:
        return f"the driver's {name}"

    method.__name__ = name
    contents: dict[str, dict[str, Any]] = {
        "method": {name: rpc_method(method)},
        "constant": {name: "the driver's", "_rpc_constants": [name]},
        "property": {name: "the driver's", "_rpc_properties": {name}},
        "signal": {name: QMI_Signal([int])},
    }
    return type("Named", (QMI_RpcObject,), contents[kind])


def check(proxy: Any, kind: str, name: str) -> None:
    if kind == "method":
        assert getattr(proxy, name)() == f"the driver's {name}"
        if name != "__len__":  # whose answer Python wants at once
            assert getattr(qmi.rpc_nonblocking(proxy), name)().wait(10) == f"the driver's {name}"
    elif kind == "signal":
        receiver = QMI_SignalReceiver()
        getattr(proxy, name).subscribe(receiver)
        getattr(proxy, name).unsubscribe(receiver)
    else:
        assert getattr(proxy, name) == "the driver's"
    assert name in dir(proxy)
    with qmi.locked(proxy, timeout=10.0) as same:
        assert same is proxy
        assert proxy.is_locked()
        with proxy.rpc_nonblocking and pytest.raises(AttributeError):
            proxy.no_such_name  # noqa: B018
    assert not proxy.is_locked()
    assert proxy.lock()
    assert proxy.unlock()
    assert repr(proxy).startswith("<rpc proxy for ")
    assert isinstance(qmi.rpc_async(proxy), AsyncProxy)
    assert isinstance(qmi.rpc_blocking(qmi.rpc_async(proxy)), QMI_RpcProxy)


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.parametrize("kind", ["method", "constant", "property", "signal"])
def test_a_drivers_name_wins(lab: QMI_Context, kind: str, name: str) -> None:
    if name.startswith("__") and kind != "method":
        return
    check(lab.make_rpc_object("x", driver(kind, name)), kind, name)


@pytest.mark.parametrize("name", ["call", "locked", "rpc_async", "_rpc", "_wait", "__call__", "get_name"])
@pytest.mark.parametrize("kind", ["method", "constant", "property", "signal"])
def test_a_drivers_name_wins_in_another_program(kind: str, name: str) -> None:
    if name.startswith("__") and kind != "method":
        return
    with two_contexts() as (server, client):
        server.make_rpc_object("x", driver(kind, name))
        check(client.get_rpc_object("server.x"), kind, name)


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
@pytest.mark.parametrize("kind", ["method", "constant", "property", "signal"])
def test_a_reserved_name_is_refused(lab: QMI_Context, kind: str, name: str) -> None:
    with pytest.raises(QMI_UsageException, match=rf"Named\.{name}.* cannot be published: proxies have a '{name}'"):
        lab.make_rpc_object("x", driver(kind, name))
    lab.make_rpc_object("x", Plain)  # the name of the object is free again


async def test_a_drivers_name_wins_in_a_trio_program(trio_lab: Context) -> None:
    for name in ("call", "locked", "rpc_blocking", "rpc_nonblocking_", "_rpc", "__call__", "_acquire"):
        x: Any = await trio_lab.make_rpc_object("x", driver("method", name))
        assert await getattr(x, name)() == f"the driver's {name}"
        assert await getattr(qmi.rpc_nonblocking(x), name)() == f"the driver's {name}"
        async with qmi.locked(x) as same:
            assert same is x
            assert await x.is_locked()
        assert not await x.is_locked()
        cls: Any = QMI_RpcObject
        assert await qmi.call(x, cls.get_name) == "x"
        assert isinstance(qmi.rpc_blocking(x), QMI_RpcProxy)
        await trio_lab.remove_rpc_object(x)


@pytest.mark.parametrize("function", ["locked", "rpc_async", "rpc_blocking", "rpc_nonblocking", "call"])
@pytest.mark.parametrize("thing", [None, 5, Plain, "lab.x"])
def test_functions_for_proxies_take_proxies(function: str, thing: Any) -> None:
    arguments = (thing, Plain.add) if function == "call" else (thing,)
    with pytest.raises(QMI_UsageException, match=rf"{function}\(\) takes an? (async )?proxy"):
        getattr(qmi, function)(*arguments)


def test_call_is_for_async_proxies(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Plain)
    with pytest.raises(QMI_UsageException, match=r"call\(\) takes an async proxy"):
        qmi.call(x, Plain.count)


# Methods of every shape


def doubled(function: Any) -> Any:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return 2 * function(*args, **kwargs)

    return wrapper


class Shapes(QMI_RpcObject):
    _level = 3

    @staticmethod
    @rpc_method
    def static_over(a: int, b: int = 2) -> int:
        """A static method."""
        return a + b

    @rpc_method
    @staticmethod
    def static_under(a: int, b: int = 2) -> int:
        return a + b

    @classmethod
    @rpc_method
    def class_over(cls, a: int) -> str:
        return f"{cls.__name__} {a}"

    @rpc_method
    @classmethod
    def class_under(cls, a: int) -> str:
        return f"{cls.__name__} {a}"

    @rpc_method
    def with_self(this, self: int, cls: int = 0, *, args: int = 1, kwargs: int = 2) -> Any:
        return (self, cls, args, kwargs)

    @rpc_method
    def positional(self, a: int, /, *, b: int) -> Any:
        return (a, b)

    @rpc_method
    def named_as_inner(self, method: int, function: int, name: int, timeout: int, proxy: int, target: int) -> Any:
        return (method, function, name, timeout, proxy, target)

    @rpc_method
    def everything(*args: Any, **kwargs: Any) -> Any:
        return (type(args[0]).__name__, args[1:], kwargs)

    @doubled
    @rpc_method
    def wrapped(self, a: int) -> int:
        """Documented."""
        return a

    @rpc_method
    @doubled
    def wrapped_under(self, a: int) -> int:
        return a

    @rpc_method
    def set_level(self, level: int, *, slow: bool = False) -> Any:
        """Set it."""
        return (level, slow)

    set_low = partialmethod(set_level, 1)
    set_slow: Any = rpc_method(partialmethod(set_level, slow=True))  # type: ignore[arg-type]

    @property
    @rpc_method
    def level(self) -> int:
        """How high."""
        return self._level

    @level.setter
    def level(self, value: int) -> None:
        self._level = value

    @rpc_method  # type: ignore[prop-decorator]
    @property
    def read_only(self) -> int:
        return self._level


CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], Any]] = [
    ("static_over", (1,), {}, 3),
    ("static_over", (), {"a": 1, "b": 1}, 2),
    ("static_under", (1,), {"b": 5}, 6),
    ("class_over", (4,), {}, "Shapes 4"),
    ("class_under", (), {"a": 4}, "Shapes 4"),
    ("with_self", (7,), {}, (7, 0, 1, 2)),
    ("with_self", (), {"self": 7, "cls": 8, "args": 9, "kwargs": 10}, (7, 8, 9, 10)),
    ("positional", (1,), {"b": 2}, (1, 2)),
    (
        "named_as_inner",
        (),
        {"method": 1, "function": 2, "name": 3, "timeout": 4, "proxy": 5, "target": 6},
        (1, 2, 3, 4, 5, 6),
    ),
    ("everything", (1, 2), {"self": 3}, ("Shapes", (1, 2), {"self": 3})),
    ("wrapped", (4,), {}, 8),
    ("wrapped_under", (), {"a": 4}, 8),
    ("set_low", (), {}, (1, False)),
    ("set_slow", (5,), {}, (5, True)),
    ("get_name", (), {}, "x"),
    ("get_category", (), {}, "object"),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "result"), CALLS)
def test_methods_of_every_shape(lab: QMI_Context, name: str, args: Any, kwargs: Any, result: Any) -> None:
    for placement in (None, *Placement):
        x: Any = lab.make_rpc_object("x", type("Shapes", (Shapes,), {"_rpc_placement": placement}))
        assert getattr(x, name)(*args, **kwargs) == result
        assert getattr(x, name)(*args, **kwargs, rpc_timeout=10) == result
        assert getattr(x.rpc_nonblocking, name)(*args, **kwargs).wait(10) == result
        assert lab.async_context.run(call_async_view, x, name, args, kwargs).wait(10) == result
        lab.remove_rpc_object(x)


async def call_async_view(proxy: Any, name: str, args: Any, kwargs: Any) -> Any:
    return await getattr(proxy.rpc_async, name)(*args, **kwargs)


def test_methods_of_every_shape_in_another_program() -> None:
    with two_contexts() as (server, client):
        server.make_rpc_object("x", Shapes)
        x = client.get_rpc_object("server.x")
        for name, args, kwargs, result in CALLS:
            assert getattr(x, name)(*args, **kwargs) == result, name
        assert x.level == 3
        x.level = 4
        assert x.level == x.read_only == 4


SIGNATURES = {
    "static_over": "(a: int, b: int = 2, *, rpc_timeout: float | None = None) -> int",
    "class_under": "(a: int, *, rpc_timeout: float | None = None) -> str",
    "with_self": (
        "(self: int, cls: int = 0, *, args: int = 1, kwargs: int = 2, rpc_timeout: float | None = None) -> Any"
    ),
    "set_low": "(*, slow: bool = False, rpc_timeout: float | None = None) -> Any",
    "wrapped": "(a: int, *, rpc_timeout: float | None = None) -> int",
    "everything": "(*args: Any, rpc_timeout: float | None = None, **kwargs: Any) -> Any",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_methods_of_every_shape_show_their_signature(lab: QMI_Context, name: str) -> None:
    x: Any = lab.make_rpc_object("x", Shapes)
    assert str(inspect.signature(getattr(x, name))) == SIGNATURES[name]
    assert "with_self(" in pydoc.render_doc(x, renderer=pydoc.plaintext)  # type: ignore[attr-defined]


def test_a_published_property_of_python_is_a_property_of_the_proxy(lab: QMI_Context) -> None:
    x: Any = lab.make_rpc_object("x", Shapes)
    assert x.level == 3
    x.level = 5
    assert x.level == x.read_only == 5
    with pytest.raises(QMI_UsageException, match=r"Property level of 'x' takes int, as it is now; got '5' \(str\)"):
        x.level = "5"
    with pytest.raises(QMI_UsageException, match="Property read_only of 'x' can only be read"):
        x.read_only = 6


def no_argument() -> None: ...


def only_keywords(*, a: int) -> None: ...


def own_timeout(self: Any, rpc_timeout: float) -> None: ...


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"f": rpc_method(no_argument)}, r"Odd\.f\(\) cannot be published: it takes no argument for the object"),  # type: ignore[arg-type]
    ({"f": rpc_method(only_keywords)}, r"Odd\.f\(\) cannot be published: it takes no argument for the object"),  # type: ignore[arg-type]
    ({"f": rpc_method(own_timeout)}, r"Odd\.f\(\) cannot be published: its argument 'rpc_timeout' belongs to the prox"),
    ({"_rpc_constants": ["A"]}, r"Odd\._rpc_constants names 'A', which the class lacks"),
    ({"_rpc_constants": "A", "A": 1}, r"Odd\._rpc_constants is a list or set of names; got the text 'A'"),
    ({"_rpc_constants": [1]}, r"Odd\._rpc_constants holds names; got 1"),
    ({"_rpc_constants": ["f"], "f": rpc_method(lambda self: 1)}, "which is a method and no value"),
    (
        {"_rpc_constants": ["f"], "f": property(lambda self: 1)},
        "which is a Python property; write @rpc_method below its @property",
    ),
    ({"_rpc_properties": {"A"}}, r"_rpc_properties names 'A', which the class lacks; give it a value in the class"),
    ({"_rpc_properties": {"f"}, "f": rpc_method(lambda self: 1)}, "names 'f', which is a method and no value"),
    ({"_rpc_properties": {"f"}, "f": property(lambda self: 1)}, "which is a Python property; write @rpc_method below"),
    ({"_rpc_properties": {"f"}, "f": staticmethod(lambda: 1)}, "which is a method and no value"),
    ({"_rpc_constants": {"f"}, "f": classmethod(lambda cls: 1)}, "which is a method and no value"),
    ({"_rpc_constants": {"release_rpc_object"}}, "which is a method and no value"),
    ({"_rpc_constants": {"sig"}, "sig": QMI_Signal([int])}, "which is no value but a QMI_Signal"),
    ({"_rpc_properties": {"sig"}, "sig": QMI_Signal([int])}, "which is no value but a QMI_Signal"),
    ({"_rpc_properties": {"A"}, "_rpc_constants": ["A"], "A": 1}, "declares A as a constant and as a property"),
    ({"_rpc_properties": {"__doc__"}}, r"Property Odd\.__doc__ cannot be published: names that begin with two"),
]


@pytest.mark.parametrize(("content", "text"), REFUSED)
def test_method_that_cannot_be_published_is_refused_with_a_reason(lab: QMI_Context, content: Any, text: str) -> None:
    cls = type("Odd", (QMI_RpcObject,), content)
    with pytest.raises(QMI_UsageException, match=text):
        lab.make_rpc_object("x", cls)


# Blocks


class Block(QMI_RpcObject):
    """A driver with a block of its own."""

    def __init__(self, context: Any, name: str, suppress: bool = False) -> None:
        super().__init__(context, name)
        self.suppress = suppress
        self.events: list[str] = []

    @rpc_method
    def __enter__(self) -> Any:
        self.events.append("enter")
        return self

    @rpc_method
    def __exit__(self, kind: Any, error: Any, traceback: Any) -> bool:
        self.events.append("exit" if error is None else f"exit {kind.__name__} {error}")
        return self.suppress

    @rpc_method
    def get_events(self) -> list[str]:
        return self.events


class AsyncBlock(Block):
    @rpc_method
    async def __aenter__(self) -> Any:
        await trio.lowlevel.checkpoint()
        return super().__enter__()

    @rpc_method
    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> bool:
        await trio.lowlevel.checkpoint()
        return super().__exit__(kind, error, traceback)

    __enter__ = None  # type: ignore[assignment]
    __exit__ = None  # type: ignore[assignment]


class OverriddenBlock(QMI_Instrument):
    """The block of the base class is published, and so is what overrides it."""

    _rpc_placement = Placement.CALLER

    def __enter__(self) -> OverriddenBlock:
        self.entered = True
        super().__enter__()
        return self

    @rpc_method
    def get_state(self) -> Any:
        return (getattr(self, "entered", False), self.is_open())


def fail() -> None:
    raise ValueError("as usual")


@contextmanager
def one_program() -> Iterator[tuple[QMI_Context, QMI_Context]]:
    with QMI_Context("server") as context:
        yield context, context


WHERE: list[Any] = [one_program, two_contexts]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("cls", [Block, AsyncBlock])
@pytest.mark.parametrize("placement", list(Placement))
def test_with_statement_calls_the_block_of_a_driver(where: Any, cls: Any, placement: Placement) -> None:
    cls = type("Block", (cls,), {"_rpc_placement": placement})
    with where() as (server, client):
        server.make_rpc_object("x", cls, True)
        x: Any = client.get_rpc_object("server.x")
        with x as entered:
            assert entered is x
        with x:
            fail()
        assert x.get_events() == ["enter", "exit", "enter", "exit ValueError as usual"]
        server.make_rpc_object("y", cls)
        y = client.get_rpc_object("server.y")
        with pytest.raises(ValueError, match="as usual"), y:
            raise ValueError("as usual")


def test_with_statement_calls_the_block_that_overrides_the_one_of_instruments(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", OverriddenBlock)
    with x:
        assert x.get_state() == (True, True)
    assert x.get_state() == (True, False)


def test_with_statement_needs_a_block(lab: QMI_Context) -> None:
    x: Any = lab.make_rpc_object("x", Shapes)
    with pytest.raises(NotImplementedError, match=r"'with' does nothing for Shapes: .* publishes no __enter__"), x:
        raise AssertionError


def test_an_object_that_no_context_makes_is_checked_as_well() -> None:
    with pytest.raises(QMI_UsageException, match="proxies have a 'lock' of their own"):
        driver("method", "lock")(None, "x")


@pytest.mark.parametrize("cls", [Block, AsyncBlock])
async def test_async_with_calls_the_block_of_a_driver(cls: Any, trio_lab: Context) -> None:
    x: Any = await trio_lab.make_rpc_object("x", cls, True)
    async with x as entered:
        assert entered is x
        fail()
    assert await x.get_events() == ["enter", "exit ValueError as usual"]


# Special methods


class Sequence(QMI_RpcObject):
    @rpc_method
    def __len__(self) -> int:
        return 0

    @rpc_method
    def __getitem__(self, index: int) -> int:
        return 10 * index

    @rpc_method
    def __contains__(self, item: int) -> bool:
        return item == 5

    @rpc_method
    def __iter__(self) -> Any:
        yield from (1, 2)

    @rpc_method
    def __call__(self, a: int) -> int:
        return a + 1


def test_published_special_methods_work_as_operators(lab: QMI_Context) -> None:
    x: Any = lab.make_rpc_object("x", Sequence)
    assert (len(x), x[3], 5 in x, 6 in x, list(x), x(1)) == (0, 30, True, False, [1, 2], 2)
    assert x, "a proxy is true, whatever its object contains"
    assert x.rpc_nonblocking
    assert x.rpc_nonblocking[3].wait(10) == 30


# A class that changes


def test_a_method_that_a_base_got_later_is_published(lab: QMI_Context) -> None:
    class Base(QMI_RpcObject):
        pass

    class Driver(Base):
        _rpc_constants: ClassVar[list[str]] = []
        A = 1

    first: Any = lab.make_rpc_object("first", Driver)
    again: Any = lab.make_rpc_object("again", Driver)
    assert type(first) is type(again)

    def late(self: Any) -> str:
        return "late"

    Base.late = rpc_method(late)  # type: ignore[attr-defined]
    second: Any = lab.make_rpc_object("second", Driver)
    assert second.late() == "late"
    with pytest.raises(QMI_Exception, match="has no published method 'late'"):
        first.late()
    Driver._rpc_constants.append("A")
    assert lab.make_rpc_object("third", Driver).A == 1
    Base.late = rpc_method(lambda self, a=1: a)  # type: ignore[attr-defined]
    fourth: Any = lab.make_rpc_object("fourth", Driver)
    assert str(inspect.signature(fourth.late)) == "(a=1, *, rpc_timeout: float | None = None)"
    assert fourth.late(5) == 5
    del Base.late  # type: ignore[attr-defined]
    with pytest.raises(QMI_Exception, match="has no published method 'late'"):
        lab.make_rpc_object("fifth", Driver).late()  # type: ignore[attr-defined]


def test_a_class_whose_values_cannot_be_compared_is_looked_at_anew(lab: QMI_Context) -> None:
    class Incomparable:
        def __eq__(self, other: object) -> bool:
            raise TypeError("never")

        __hash__ = None  # type: ignore[assignment]

    class Driver(QMI_RpcObject):
        value: ClassVar[Any] = Incomparable()

    x = lab.make_rpc_object("x", Driver)
    Driver.value = Incomparable()
    assert type(lab.make_rpc_object("y", Driver)) is type(x)


# Names that upstream has


def test_every_object_answers_for_its_name_and_signals() -> None:
    with two_contexts() as (server, client):
        server.make_instrument("x", Plain)
        x = client.get_rpc_object("server.x")
        assert (x.get_name(), x.get_category(), x.get_signals()) == ("x", "instrument", [])
        server.make_rpc_object("y", driver("signal", "sig"))
        (signal,) = client.get_rpc_object("server.y").get_signals()
        assert (signal.name, signal.arg_types) == ("sig", (int,))


# Sending and copying


def test_copies_of_a_proxy_are_the_proxy(lab: QMI_Context) -> None:
    @dataclass
    class Setup:
        laser: Any
        lasers: list[Any]
        signal: Any

    x: Any = lab.make_rpc_object("x", driver("signal", "sig"))
    for view in (x, x.rpc_nonblocking, x.rpc_async):
        assert copy.copy(view) is view
        assert copy.deepcopy(view) is view
        setup = Setup(view, [view], view.sig)
        assert asdict(setup)["laser"] is view
        assert asdict(setup)["lasers"][0] is view
    assert x.lock()
    assert copy.copy(x).get_name() == "x"


def test_pickling_a_proxy_says_what_to_do(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Plain)
    for view in (x, x.rpc_nonblocking, x.rpc_async):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match=r"Send its address, proxy\.address, .*qmi\.get_rpc_object\('lab\.x'\)"):
                pickle.dumps(view, protocol)


def test_locked_of_the_package_is_refused_like_the_one_of_the_proxy(lab: QMI_Context) -> None:
    x: Any = lab.make_rpc_object("x", driver("method", "locked"))
    assert x.lock()
    with pytest.raises(QMI_ObjectLockedException), qmi.locked(lab.get_rpc_object("x")):
        raise AssertionError


class Bound:
    """A decorator that is a class."""

    def __init__(self, function: Any) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else functools.partial(self.function, instance)

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


class Decorated(QMI_RpcObject):
    """Methods that decorators have made something else of."""

    @functools.cache  # noqa: B019 - as users write it
    @rpc_method
    def cache_outside(self, value: int) -> int:
        """Documented."""
        return value

    @rpc_method
    @functools.lru_cache(3)  # noqa: B019
    def cache_inside(self, value: int) -> int:
        """Documented."""
        return value

    @Bound
    @rpc_method
    def bound_outside(self, value: int) -> int:
        """Documented."""
        return value

    @rpc_method
    @Bound
    def bound_inside(self, value: int) -> int:
        """Documented."""
        return value


@pytest.mark.parametrize("name", ["cache_outside", "cache_inside", "bound_outside", "bound_inside"])
def test_a_method_in_a_decorator_that_makes_no_function_is_published(lab: QMI_Context, name: str) -> None:
    x: Any = lab.make_rpc_object("x", Decorated)
    method = getattr(x, name)
    assert method(3) == 3
    assert getattr(x.rpc_nonblocking, name)(4).wait() == 4
    assert method.__doc__ == "Documented."
    assert str(inspect.signature(method)) == "(value: int, *, rpc_timeout: float | None = None) -> int"


def test_a_class_may_give_the_name_of_a_signal_to_something_else(lab: QMI_Context) -> None:
    class Base(QMI_RpcObject):
        signal = QMI_Signal([int])
        other = QMI_Signal([int])

    class Derived(Base):
        _rpc_constants = ("signal",)
        signal = 3  # type: ignore[assignment]

        @rpc_method
        def other(self) -> int:  # type: ignore[override]
            return 4

    x: Any = lab.make_rpc_object("x", Derived)
    assert (x.signal, x.other(), x.get_signals()) == (3, 4, [])


@pytest.mark.parametrize("name", ["a.b.c", "lab.bad name", "", "x" * 64])
def test_a_name_that_cannot_be_one_is_a_value_error(lab: QMI_Context, name: str) -> None:
    for clause in (ValueError, QMI_UsageException):
        with pytest.raises(clause, match="Invalid object"):
            lab.get_rpc_object_by_name(name)


@pytest.mark.parametrize("attribute", ["_rpc_constants", "_rpc_properties"])
def test_a_published_method_among_the_values_is_to_be_taken_out(lab: QMI_Context, attribute: str) -> None:
    content = {attribute: ["LEVEL"], "LEVEL": rpc_method(lambda self: 3)}
    with pytest.raises(QMI_UsageException, match=f"a method and no value; take it out of {attribute}"):
        lab.make_rpc_object("x", type("Driver", (QMI_RpcObject,), content))

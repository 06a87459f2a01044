"""What the authors of drivers and tasks need for their tests: instruments without hardware, hours without waiting.

A :class:`StandInInstrument` takes the place of a driver: it notes what is asked of it and answers what the
test told it.

:func:`run_in_virtual_time` runs a trio program on a clock that jumps over every wait, and
:func:`open_virtual_context` a context in it. For tasks there is :func:`open_task_bench`: they may be plain or
``async``, and an hour of a loop takes a fraction of a second.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Generic, NamedTuple, TypeVar, cast

import trio
import trio.testing

from qmi.actors.actor import Actor
from qmi.actors.clock.virtual import VirtualClock
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.interface import Kind, Placement, method_kind, published_functions
from qmi.actors.rpc_object import check_class, placement_for
from qmi.config.schema import CfgQmi
from qmi.core.context import Context, QMI_Context
from qmi.core.exceptions import QMI_UsageException
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import QMI_RpcObject
from qmi.core.task import QMI_TaskRunner
from qmi.runtime.call_context import EXECUTION, Execution

__all__ = [
    "RecordedCall",
    "StandInInstrument",
    "TaskBench",
    "VirtualClock",
    "open_task_bench",
    "open_virtual_context",
    "run_in_virtual_time",
]

T = TypeVar("T")
D = TypeVar("D", bound=QMI_Instrument)

_OWN_STATE = frozenset({"open", "close", "is_open"})


class RecordedCall(NamedTuple):
    """A call that a stand-in got; equal to a plain tuple of the same three.

    Attributes:
        method: The name of the method.
        args: As the caller wrote them.
        kwargs: As the caller wrote them.
    """

    method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class StandInInstrument(Generic[D]):
    """Takes the place of a driver in tests: it records each call and returns what was set.

    It has the published methods, signatures, constants and signals of the driver, but runs none of its code: no
    constructor opens a port. ``open``, ``close`` and ``is_open`` work as in every instrument. A method whose result is
    annotated otherwise than ``None`` must be told what it answers. Answers are given in the event loop, so they do not
    block, and stand-ins live in virtual time as well::

        >>> import qmi
        >>> from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
        >>> from qmi.testing import StandInInstrument
        >>> stand_in = StandInInstrument(NoisySineGenerator)
        >>> stand_in.returns("get_sample", 1.5)
        >>> stand_in.raises("set_noise", ValueError("too loud"))
        >>> with qmi.start("test", None):
        ...     nsg = qmi.make_instrument("nsg", stand_in.driver)
        ...     nsg.set_amplitude(3.0)
        ...     nsg.get_sample()
        1.5
        >>> stand_in.calls == [("set_amplitude", (3.0,), {}), ("get_sample", (), {})]
        True

    Args:
        driver: The class of the driver.

    Attributes:
        driver: The class to make the instrument from; a subclass of the driver, of the same name.
        calls: The calls so far, oldest first.

    Raises:
        QMI_UsageException: If the class is no driver.
    """

    def __init__(self, driver: type[D]) -> None:
        check_class(driver, QMI_Instrument, "A stand-in")
        self._methods = {name: method for name, method in published_functions(driver).items() if _is_own(name, method)}
        self._answers: dict[str, Callable[..., object]] = {}
        self.calls: list[RecordedCall] = []
        self.driver = self._make_class(driver)

    def returns(self, method: str, value: object) -> None:
        """Have a method return a value each time; a stream gives the items of the value.

        Raises:
            QMI_UsageException: If the driver has no such method.
        """
        self.does(method, lambda *_, **__: value)

    def returns_each(self, method: str, values: Iterable[object]) -> None:
        """Have a method return one value after the other; a call beyond the last one is an error.

        Raises:
            QMI_UsageException: If the driver has no such method.
        """
        rest = iter(values)

        def following(*_: object, **__: object) -> object:
            for value in rest:
                return value
            raise QMI_UsageException(f"The stand-in was called more often than it has answers: {method}()")

        self.does(method, following)

    def raises(self, method: str, error: BaseException) -> None:
        """Have a method raise an error.

        Raises:
            QMI_UsageException: If the driver has no such method.
        """

        def fail(*_: object, **__: object) -> object:
            raise error

        self.does(method, fail)

    def does(self, method: str, function: Callable[..., object]) -> None:
        """Have a method return what a function returns that gets the same arguments, without ``self``.

        Raises:
            QMI_UsageException: If the driver has no such method.
        """
        if method not in self._methods:
            known = ", ".join(sorted(self._methods))
            raise QMI_UsageException(f"{self.driver.__name__} has no published method {method!r}; it has {known}")
        self._answers[method] = function

    def calls_of(self, method: str) -> list[RecordedCall]:
        """The calls of one method, oldest first."""
        return [call for call in self.calls if call.method == method]

    def _answer(
        self, instrument: QMI_Instrument, method: str, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        original = self._methods[method]
        signature = _signature_of(original)
        _check_arguments(f"{self.driver.__name__}.{method}()", signature, instrument, *args, **kwargs)
        self.calls.append(RecordedCall(method, args, kwargs))
        if method in self._answers:
            return self._answers[method](*args, **kwargs)
        if method in _OWN_STATE:
            return getattr(QMI_Instrument, method)(instrument)
        if signature.return_annotation not in (None, "None", inspect.Signature.empty):
            raise QMI_UsageException(
                f"The stand-in does not know what {method}() answers; tell it by stand_in.returns({method!r}, ...)"
            )
        return None

    def _make_class(self, driver: type[D]) -> type[D]:
        def begin(instrument: QMI_Instrument, context: object, name: str, *args: object, **kwargs: object) -> None:
            signature = inspect.signature(driver.__init__)
            _check_arguments(f"{driver.__name__}()", signature, instrument, context, name, *args, **kwargs)
            QMI_Instrument.__init__(instrument, context, name)

        def release(instrument: QMI_Instrument) -> object:
            return QMI_Instrument.release_rpc_object(instrument)

        namespace: dict[str, object] = {
            "__doc__": driver.__doc__,
            "__module__": driver.__module__,
            "__qualname__": driver.__qualname__,
            "__init__": begin,
            "_rpc_placement": Placement.LOOP,
            "release_rpc_object": release,
        }
        for name, function in self._methods.items():
            namespace[name] = self._make_method(name, function)
        return cast("type[D]", type(driver.__name__, (driver,), namespace))

    def _make_method(self, name: str, original: Callable[..., object]) -> Callable[..., object]:
        """A method of the same kind as the original: what calling it gives must not change."""
        answer = self._answer

        def plain(instrument: QMI_Instrument, *args: object, **kwargs: object) -> object:
            return answer(instrument, name, args, kwargs)

        async def awaited(instrument: QMI_Instrument, *args: object, **kwargs: object) -> object:
            value = answer(instrument, name, args, kwargs)
            return await value if inspect.isawaitable(value) else value

        def generator(instrument: QMI_Instrument, *args: object, **kwargs: object) -> Iterator[object]:
            yield from _items(answer(instrument, name, args, kwargs))

        async def async_generator(instrument: QMI_Instrument, *args: object, **kwargs: object) -> AsyncIterator[object]:
            items = answer(instrument, name, args, kwargs)
            if isinstance(items, AsyncIterable):
                async for item in items:
                    yield item
            else:
                for item in _items(items):
                    yield item

        kinds: dict[Kind, Callable[..., object]] = {
            Kind.PLAIN: plain,
            Kind.ASYNC: awaited,
            Kind.GENERATOR: generator,
            Kind.ASYNC_GENERATOR: async_generator,
        }
        function = kinds[method_kind(original)]
        function.__name__, function.__doc__ = name, original.__doc__
        function.__signature__ = _signature_of(original)  # type: ignore[attr-defined]
        return function


def _check_arguments(what: str, signature: inspect.Signature, /, *args: object, **kwargs: object) -> None:
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{what}: {error}") from None


def _is_own(name: str, method: object) -> bool:
    # What every object has works in a stand-in as everywhere; only open() and its like are noted.
    where = getattr(method, "__func__", method)
    return name in _OWN_STATE or not getattr(where, "__module__", "").startswith("qmi.actors.")


def _items(answer: object) -> Iterable[object]:
    if answer is None:
        return ()
    if not isinstance(answer, Iterable):
        raise QMI_UsageException(f"A stream gives the items of its answer, which must be iterable; got {answer!r}")
    return answer


def _signature_of(method: Callable[..., object]) -> inspect.Signature:
    """The signature of a method as a plain one has it, with ``self``."""
    if inspect.isfunction(method):
        return inspect.signature(method)
    bound = inspect.signature(bind(object(), object) if (bind := getattr(method, "__get__", None)) else method)
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    return bound.replace(parameters=[this, *bound.parameters.values()])


def run_in_virtual_time(function: Callable[..., Awaitable[T]], *args: object) -> T:
    """Run a trio program on a clock that stands still while anybody works and jumps ahead when all wait.

    An hour of ``trio.sleep`` takes no time. That is for programs that live in the event loop alone: while a thread
    works, or a message is on its way through a socket, the clock believes that all wait, and their timeouts strike::

        >>> import trio
        >>> from qmi.testing import run_in_virtual_time
        >>> async def main():
        ...     begin = trio.current_time()
        ...     await trio.sleep(3600.0)
        ...     return trio.current_time() - begin
        >>> run_in_virtual_time(main)
        3600.0

    Args:
        function: The async function to run.
        args: Its arguments.

    Returns:
        What it returns.
    """
    return trio.run(function, *args, clock=trio.testing.MockClock(autojump_threshold=0))


@asynccontextmanager
async def open_virtual_context(name: str = "test") -> AsyncIterator[Context]:
    """A context in virtual time; it takes only objects that live in the event loop.

    Those are stand-ins, and objects whose methods are all ``async``. The context reads no configuration and has no
    links::

        >>> import trio
        >>> from qmi.core.instrument import QMI_Instrument
        >>> from qmi.core.rpc import rpc_method
        >>> from qmi.testing import open_virtual_context, run_in_virtual_time
        >>> class Oven(QMI_Instrument):
        ...     @rpc_method
        ...     async def heat(self, seconds: float) -> str:
        ...         await trio.sleep(seconds)
        ...         return "hot"
        >>> async def main():
        ...     async with open_virtual_context() as context:
        ...         oven = await context.make_instrument("oven", Oven)
        ...         return await oven.heat(7200.0)
        >>> run_in_virtual_time(main)
        'hot'

    Args:
        name: What the context is called.

    Raises:
        QMI_UsageException: If time is real here.
    """
    if not isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock):
        raise QMI_UsageException("Time is real here; run the test with qmi.testing.run_in_virtual_time()")
    facade = _VirtualFacade(name, CfgQmi())
    core = facade.async_context
    async with core.running():
        token = EXECUTION.set(Execution(facade))
        try:
            yield core
        finally:
            EXECUTION.reset(token)


class _VirtualContext(Context):
    """A context that refuses what would work in a thread, where virtual time runs away from it."""

    def make(
        self, name: str, cls: type[QMI_RpcObject], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> QMI_RpcFuture[Actor]:
        """Begin to make an object, if it lives in the event loop."""
        check_class(cls, QMI_RpcObject, "An object")
        if placement_for(cls) is not Placement.LOOP:
            raise QMI_UsageException(
                f"{cls.__name__} has methods that are not async and run in a thread, which virtual time does not wait "
                "for. Take a StandInInstrument instead, or test it in real time"
            )
        return super().make(name, cls, args, kwargs)

    def make_task_actor(self, *args: object) -> QMI_RpcFuture[Actor]:
        """Refuse to make a task, which has a runner with threads."""
        raise QMI_UsageException("Tasks are tested on a bench of their own; see qmi.testing.open_task_bench()")


class _VirtualFacade(QMI_Context):
    _core_class = _VirtualContext


class TaskBench:
    """A context whose tasks go by a virtual clock; made by :func:`open_task_bench`.

    Time stands still but in :meth:`run`, so a test can look at everything in between at its leisure.

    Attributes:
        context: A blocking context, for ``make_task``, ``make_instrument`` and all the rest.
        clock: The clock.
    """

    def __init__(self, context: QMI_Context, clock: VirtualClock) -> None:
        self.context = context
        self.clock = clock

    def now(self) -> float:
        """The virtual time, in seconds; 0 at first."""
        return self.clock.now()

    def run(self, seconds: float) -> None:
        """Let time pass until all that is due within these seconds is done, and every task waits again.

        Raises:
            QMI_TimeoutException: If a task neither waits nor ends for ten real seconds; names it.
        """
        self.clock.run(seconds)

    def work(self, seconds: float) -> None:
        """To be called in a task, or in what a stand-in does: take that long, so that periods can be missed."""
        self.clock.advance(seconds)

    def task(self, name: str) -> Any:
        """The task itself, where ``context.get_task(name)`` is a proxy of its runner.

        Raises:
            QMI_UsageException: If there is no such task.
        """
        actor = self.context.async_context.registry.get(name)
        if actor is None or not isinstance(actor.object, QMI_TaskRunner):
            raise QMI_UsageException(f"There is no task {name!r} on this bench")
        return actor.object.task


@contextmanager
def open_task_bench(name: str = "test", *, config: CfgQmi | None = None) -> Iterator[TaskBench]:
    """A context in which tasks, plain and ``async``, go by a virtual clock.

    Each run goes the same way: one task works at a time, and calls on instruments take no virtual time::

        >>> from qmi.core.task import QMI_LoopTask
        >>> from qmi.testing import open_task_bench
        >>> class Heater(QMI_LoopTask):
        ...     def loop_iteration(self):
        ...         self.status = (self.status or 0) + 1
        >>> with open_task_bench() as bench:
        ...     heater = bench.context.make_task("heater", Heater, loop_period=0.1)
        ...     heater.start()
        ...     bench.run(3600.0)
        ...     heater.get_status()
        36001

    Args:
        name: What the context is called.
        config: Its configuration; None reads none.
    """
    clock = VirtualClock()
    context = QMI_Context(name, CfgQmi() if config is None else config)
    context.async_context.clock = clock
    with context:
        yield TaskBench(context, clock)

"""Drivers whose methods are awaited: asyncio's run on top of the event loop, those of trio in it."""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Literal, Protocol

import trio

from qmi.errors import QMI_InstrumentException, QMI_MissingLibraryException
from qmi.hosting.adapter import CLOSING, OPENING, PlainAdapter, is_method, public_members

_logger = logging.getLogger("qmi.core.instrument")
_OPEN_WORDS = ("is_open", "is_opened", "is_connected", "connected")
_CLOSE_TIME = 5.0
"""For how long a generator or asyncio's loop may take to end, in seconds."""


class AsyncioAdapter(PlainAdapter):
    """Any class with ``async def`` methods, for asyncio: they run under trio-asyncio, in the event loop of its context.

    All that is called of the driver runs there, plain methods and properties, too. Only its constructor runs before
    asyncio does.
    """

    awaited: ClassVar[Literal["", "asyncio", "trio"]] = "asyncio"

    def fits(self, driver_class: type) -> bool:
        """Whether a class has methods that are awaited, and is not for trio."""
        return _has_awaited(driver_class) and not _uses_trio(driver_class)

    def opens(self, driver: Any) -> bool:
        """Whether the driver has a method that connects it."""
        return any(_has_method(driver, name) for name in (*OPENING, "__aenter__"))

    async def open(self, driver: Any) -> None:
        """Connect a driver, unless it says that it is connected; to enter an ``async with`` block is to connect."""
        for name in _OPEN_WORDS:
            if inspect.getattr_static(driver, name, None) is not None:
                found = getattr(driver, name)
                if await _awaited(found() if callable(found) else found) is True:
                    return
                break
        for name in (*OPENING, "__aenter__"):
            if _has_method(driver, name):
                await _awaited(getattr(driver, name)())
                return

    async def close(self, driver: Any) -> None:
        """Call what ends a connection; for a driver that is connected by ``async with``, the end of that."""
        if _has_method(driver, "__aexit__") and not any(_has_method(driver, name) for name in OPENING):
            await driver.__aexit__(None, None, None)
            return
        for name in (*CLOSING, "aclose"):
            if _has_method(driver, name):
                await _awaited(getattr(driver, name)())
                return


class TrioAdapter(AsyncioAdapter):
    """Any class with ``async def`` methods, for trio or anyio: they run in the event loop of its context."""

    awaited: ClassVar[Literal["", "asyncio", "trio"]] = "trio"

    def fits(self, driver_class: type) -> bool:
        """Whether a class has methods that are awaited, and the module of it or of a base class uses trio or anyio."""
        return _has_awaited(driver_class) and _uses_trio(driver_class)


def _has_awaited(cls: type) -> bool:
    return any(
        inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member) for _, member in public_members(cls)
    )


def _uses_trio(cls: type) -> bool:
    """Whether a module in which a class or its bases were written has trio, or something of it."""
    for base in cls.__mro__:
        module = sys.modules.get(base.__module__)
        for value in list(vars(module).values()) if module is not None and base is not object else ():
            name = value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", None)
            if isinstance(name, str) and name.partition(".")[0] in ("trio", "anyio"):
                return True
    return False


def _has_method(driver: Any, name: str) -> bool:
    return is_method(inspect.getattr_static(type(driver), name, None))


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


class TrioRunner:
    """Calls what belongs to a driver for trio.

    Args:
        name: Name of the instrument.
    """

    def __init__(self, name: str) -> None:
        self.name: str = name

    async def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function, plain or awaited."""
        return await _awaited(function(*args, **kwargs))

    async def aclose(self) -> None:
        """Nothing is to be ended."""


class _Loop(Protocol):
    """What is needed of trio-asyncio's loop."""

    async def run_aio_coroutine(self, coro: Coroutine[Any, Any, Any]) -> Any:
        """Await something in a task of asyncio."""

    def set_exception_handler(self, handler: Callable[[Any, dict[str, Any]], None]) -> None:
        """Say what is done with errors that nobody waits for."""


def _trio_asyncio() -> Any:
    """The library, without what it does to programs that use asyncio in other threads.

    It replaces ``asyncio.new_event_loop`` for the whole process. Where trio does not run, that gives a loop of its own
    kind, which serves no other thread: ``asyncio.run()`` of a script, a client of SSH and others would wait for ever.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    asyncio = importlib.import_module("asyncio")
    events = importlib.import_module("asyncio.events")
    new_event_loop = events.new_event_loop
    library = importlib.import_module("trio_asyncio")
    # Of two threads at once, the one that imports it puts back what it found. A program that has imported it before
    # wants it so.
    if new_event_loop.__module__ == "asyncio.events":
        for module in (asyncio, events):
            vars(module)["new_event_loop"] = new_event_loop
    return library


class AsyncioRunner(TrioRunner):
    """The same for asyncio, whose loop begins with the first call.

    The loop lives in a system task: it must outlive the call that begins it, and is ended by the release of the
    instrument.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        try:
            library = _trio_asyncio()
        except ModuleNotFoundError as error:
            raise QMI_MissingLibraryException(
                f"Instrument {name!r} has a driver for asyncio, which needs the Python package 'trio_asyncio', which "
                "is not installed: pip install 'qmi-trio[hosting]'. For a driver that needs trio, say "
                "hosted(..., adapter=qmi.hosting.TrioAdapter())"
            ) from error
        self._cancelled: type[BaseException] = importlib.import_module("asyncio").CancelledError
        self._open_loop: Callable[[], AbstractAsyncContextManager[_Loop]] = library.open_loop
        self._loop: _Loop | None = None
        self._begun: trio.Event | None = None
        self._stop = trio.Event()
        self._ended = trio.Event()

    async def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function in a task of asyncio, which is cancelled if the call is.

        Raises:
            QMI_InstrumentException: If the driver cancels itself, or asyncio's loop has ended.
        """
        if self._begun is None:
            self._begun = trio.Event()
            trio.lowlevel.spawn_system_task(self._hold, self._begun, name=f"asyncio of {self.name}")
        await self._begun.wait()
        if self._loop is None or self._ended.is_set():
            raise QMI_InstrumentException(f"The asyncio loop of {self.name!r} has ended; make the instrument anew")
        try:
            return await self._loop.run_aio_coroutine(super().run(function, *args, **kwargs))
        except self._cancelled as error:  # not by the caller: that would be trio's exception
            raise QMI_InstrumentException(f"The driver of {self.name!r} has cancelled its own call") from error

    async def _hold(self, begun: trio.Event) -> None:
        try:
            async with self._open_loop() as loop:
                loop.set_exception_handler(self._log)
                self._loop = loop
                begun.set()
                await self._stop.wait()
        except Exception:
            _logger.exception("The asyncio loop of %s has failed", self.name)
        finally:
            self._ended.set()
            begun.set()

    def _log(self, loop: object, context: dict[str, Any]) -> None:
        """What nobody waits for has failed: a callback, or a task of the driver's own."""
        _logger.error("%s: %s", self.name, context.get("message"), exc_info=context.get("exception"))

    async def aclose(self) -> None:
        """End asyncio's loop, and with it all tasks of the driver."""
        self._stop.set()
        if self._begun is not None:
            await self._ended.wait()


async def items(run: Callable[..., Any], made: Any) -> AsyncGenerator[Any, None]:
    """What a generator of a driver gives, plain or asynchronous.

    Args:
        run: Calls a function where the driver lives.
        made: The generator.
    """
    try:
        while True:
            found, item = await run(_next, made)
            if not found:
                return
            yield item
    finally:
        # Also where the caller was cancelled: the driver's "finally" may have to await.
        with trio.move_on_after(_CLOSE_TIME, shield=True):
            await run(made.aclose if inspect.isasyncgen(made) else made.close)


async def _next(made: Any) -> tuple[bool, Any]:
    try:
        if isinstance(made, Iterator):
            return True, next(made)
        return True, await anext(made)
    except (StopIteration, StopAsyncIteration):
        return False, None

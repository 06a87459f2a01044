"""Instruments that are objects of another library: their class, and what is made of each object."""

from __future__ import annotations

import importlib
import inspect
import logging
import threading
import types
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from qmi.actors.instrument import QMI_Instrument
from qmi.actors.interface import Interface, Placement, rpc_method
from qmi.actors.rpc_object import interface_of
from qmi.actors.simulated_kinds import KINDS
from qmi.errors import QMI_InvalidOperationException, QMI_UsageException
from qmi.hosting.adapter import Adapter, says_that_it_is_open
from qmi.hosting.awaited import AsyncioRunner, TrioRunner
from qmi.hosting.registry import adapter_for
from qmi.hosting.rendering import body_of
from qmi.names import nearest

_logger = logging.getLogger("qmi.core.instrument")

_taken: dict[int, HostedInstrument] = {}
"""Objects that are instruments now, by their id, and the names of those. An object is in only one: two threads would
use it at once."""
_taken_mutex = threading.Lock()


@dataclass(frozen=True)
class Source:
    """Where the driver of a hosted instrument comes from.

    Attributes:
        adapter: What is known of its library.
        driver_class: Its class, if it is made when the instrument is.
        given: The driver itself, if it was there before.
    """

    adapter: Adapter
    driver_class: Callable[..., Any] | None
    given: object = None


class HostedInstrument(QMI_Instrument):
    """An instrument whose driver is an object of another library; the class for each is made by :func:`qmi.hosted`.

    It has the driver's parameters, methods and channels. The driver is made and used in the thread of the instrument.

    Args:
        context: The context that the instrument belongs to.
        name: Its name there.
        args: What the driver takes.
        kwargs: What it takes by name.
    """

    _rpc_placement = Placement.THREAD
    _hosted: ClassVar[Source]

    if TYPE_CHECKING:
        # What the driver has.

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    def __init__(self, context: Any, name: str, /, *args: Any, **kwargs: Any) -> None:
        super().__init__(context, name)
        self._hosted_args = args, kwargs
        self._hosted_driver: Any = None
        self._hosted_opened = False
        source = self._hosted
        if source.driver_class is None:
            self._take(source.given)
        else:
            self._hosted_driver = source.adapter.make(source.driver_class, name, args, kwargs)
        try:
            content = source.adapter.describe(self._hosted_driver)
            cls = type(self)
            body = body_of(cls, content, name, awaited=bool(source.adapter.awaited))
            fitted: type = types.new_class(cls.__name__, (cls,), exec_body=lambda space: space.update(body))
            interface_of(fitted)  # what cannot be published is found now
        except BaseException:
            self._let_go()
            raise
        # Which parameters a driver has is known only now; everything that comes after sees the class that has them.
        self.__class__ = fitted

    def _take(self, driver: object) -> None:
        with _taken_mutex:
            owner = _taken.setdefault(id(driver), self)
        if owner is not self:
            raise QMI_UsageException(
                f"The {type(driver).__name__} that was given for instrument {self._name!r} is instrument "
                f"{owner.get_name()!r} already: use that one, or remove it first"
            )
        self._hosted_driver = driver

    def __rpc_fitted__(self, interface: Interface) -> Interface:
        return super().__rpc_fitted__(interface_of(type(self)))

    @rpc_method
    def open(self) -> None:
        """Connect the device, if making the driver has not done it.

        Raises:
            QMI_InvalidOperationException: If it is open already, or cannot be opened again.
        """
        self._check_is_closed()
        self._make_anew()
        self._hosted.adapter.open(self._hosted_driver)
        self._hosted_opened = True
        super().open()

    def _make_anew(self) -> None:
        source = self._hosted
        if self._hosted_driver is None:
            if source.driver_class is None:
                raise QMI_InvalidOperationException(
                    f"Instrument {self._name!r} cannot be opened again: its driver was given as an object, and has no "
                    "method that opens it. Give its class to qmi.hosted(), so that it can be made anew"
                )
            args, kwargs = self._hosted_args
            self._hosted_driver = source.adapter.make(source.driver_class, self._name, args, kwargs)

    @rpc_method
    def close(self) -> None:
        """End the connection to the device, as its driver does that.

        Raises:
            QMI_InvalidOperationException: If it is not open.
        """
        super().close()
        self._disconnect()

    def _disconnect(self) -> Any:
        driver, adapter = self._hosted_driver, self._hosted.adapter
        self._hosted_opened = False
        if not adapter.opens(driver):
            self._hosted_driver = None
        return adapter.close(driver)

    def release_rpc_object(self) -> Any:
        """Close the driver if it is still connected."""
        try:
            super().release_rpc_object()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """The instrument goes: what it has made is closed, and what was given may be given to another one."""
        if self._is_left():
            self._disconnect()

    def __rpc_is_reachable__(self) -> bool:
        # Many are connected when they are made, and can be used without open(): then they have a safe state, too.
        source, driver = self._hosted, self._hosted_driver
        if driver is None:
            return False
        if self._hosted_opened or source.adapter.awaited or not source.adapter.opens(driver):
            return True
        try:
            return says_that_it_is_open(driver)
        except Exception:  # noqa: BLE001 - a driver that cannot say it: then it is tried
            return True

    def _is_left(self) -> bool:
        """Give back what was given; whether what was made is connected still."""
        source, driver = self._hosted, self._hosted_driver
        if source.driver_class is None:
            with _taken_mutex:
                if _taken.get(id(source.given)) is self:
                    del _taken[id(source.given)]
            return False
        if driver is None or self._hosted_opened or not source.adapter.opens(driver):
            return driver is not None
        # Some are connected when they are made, and have a method that connects them again.
        return not source.adapter.awaited and says_that_it_is_open(driver)

    def __hosted_driver__(self) -> Any:
        """The driver.

        Raises:
            QMI_InvalidOperationException: If it was closed, and has to be made anew.
        """
        if self._hosted_driver is None:
            self._check_is_open()
        return self._hosted_driver

    def __hosted_value__(self, value: Any) -> Any:
        """What a caller gets for a value of the library; nothing for the driver itself, which cannot be sent."""
        return None if value is self._hosted_driver else self._hosted.adapter.value(value)


class AwaitedInstrument(HostedInstrument):
    """The same for drivers whose methods are awaited: it lives in the event loop.

    Args:
        context: The context that the instrument belongs to.
        name: Its name there.
        args: What the driver takes.
        kwargs: What it takes by name.
    """

    _rpc_placement = Placement.LOOP

    def __init__(self, context: Any, name: str, /, *args: Any, **kwargs: Any) -> None:
        self._hosted_runner = AsyncioRunner(name) if self._hosted.adapter.awaited == "asyncio" else TrioRunner(name)
        super().__init__(context, name, *args, **kwargs)

    async def __hosted_run__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function, plain or awaited, where the driver lives."""
        return await self._hosted_runner.run(function, *args, **kwargs)

    @rpc_method
    async def open(self) -> None:  # type: ignore[override]
        """Connect the device, if making the driver has not done it.

        Raises:
            QMI_InvalidOperationException: If it is open already, or cannot be opened again.
        """
        self._check_is_closed()
        await self.__hosted_run__(self._make_anew)
        await self.__hosted_run__(self._hosted.adapter.open, self._hosted_driver)
        self._hosted_opened = True
        QMI_Instrument.open(self)

    @rpc_method
    async def close(self) -> None:  # type: ignore[override]
        """End the connection to the device, as its driver does that.

        Raises:
            QMI_InvalidOperationException: If it is not open.
        """
        QMI_Instrument.close(self)
        await self.__hosted_run__(self._disconnect)

    async def release_rpc_object(self) -> None:
        """Close the driver if it is still connected, and end what it has left running."""
        try:
            closing = QMI_Instrument.release_rpc_object(self)
            if closing is not None:
                await closing
        finally:
            try:
                if self._is_left():
                    await self.__hosted_run__(self._disconnect)
            finally:
                await self._hosted_runner.aclose()

    def _let_go(self) -> None:
        """It could not be made: nothing of the driver runs yet."""
        self._is_left()


def hosted_class(driver: object, adapter: Adapter | None = None) -> type[HostedInstrument]:
    """What :func:`qmi.hosted` gives.

    Args:
        driver: The class of the driver, where it is, or the driver.
        adapter: What is known of its library; None looks for it among those that there are.

    Raises:
        QMI_UsageException: If there is no such driver.
    """
    if isinstance(driver, str):
        driver = load_driver(driver)
    if isinstance(driver, type) and issubclass(driver, QMI_Instrument):
        raise QMI_UsageException(
            f"{driver.__name__} is a driver of this library: give it to make_instrument() as it is"
        )
    driver_class = driver if isinstance(driver, type) else None
    if driver_class is None and (inspect.isroutine(driver) or isinstance(driver, types.ModuleType | None)):
        raise QMI_UsageException(
            f"hosted() takes the class of a driver, a text 'package.module:Class' or a driver; got {driver!r}"
        )
    cls: type = driver_class or type(driver)
    if adapter is not None and not isinstance(adapter, Adapter):
        raise QMI_UsageException(f"adapter must be an Adapter or None, got {adapter!r}")
    source = Source(adapter or adapter_for(cls), driver_class, None if driver_class else driver)
    body = {
        "__doc__": inspect.getdoc(cls) or f"{cls.__name__} of {cls.__module__}.",
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "_hosted": source,
        "__signature__": _signature(driver_class),
    }
    base = AwaitedInstrument if source.adapter.awaited else HostedInstrument
    return types.new_class(cls.__name__, (base,), exec_body=lambda space: space.update(body))


def _signature(driver_class: type | None) -> inspect.Signature:
    """What the class of an instrument takes: a driver's own ``replace`` and ``simulate`` are not taken for ours."""
    kinds = inspect.Parameter
    own = [kinds(name, kinds.POSITIONAL_ONLY) for name in ("context", "name")]
    known: Collection[str] = ()
    if driver_class is not None:
        with suppress(TypeError, ValueError):  # one of C, which does not say what it takes
            known = inspect.signature(driver_class).parameters
    named = [kinds(name, kinds.KEYWORD_ONLY, default=None) for name in ("replace", "simulate") if name in known]
    more = kinds("args", kinds.VAR_POSITIONAL), kinds("kwargs", kinds.VAR_KEYWORD)
    return inspect.Signature([*own, more[0], *named, more[1]])


def load_driver(path: str) -> type:
    """The class of a driver.

    Args:
        path: Where it is: ``"package.module:Class"``.

    Raises:
        QMI_UsageException: If there is none.
    """
    module_name, colon, qualified = path.partition(":")
    if not colon or not module_name or not qualified:
        raise QMI_UsageException(f"A driver is given as 'package.module:Class', got {path!r}")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        root = module_name.partition(".")[0]
        hint = f"; is {root} installed?" if error.name == root else ""
        raise QMI_UsageException(f"{path}: there is no module {error.name!r}{hint}") from error
    except ImportError as error:
        raise QMI_UsageException(f"{path}: {module_name} cannot be imported: {error}") from error
    seen = module_name
    for part in qualified.split("."):
        inner = getattr(found, part, None)
        if inner is None:
            near = nearest(part, [name for name, value in vars(found).items() if isinstance(value, type)])
            raise QMI_UsageException(
                f"{path}: there is no class {part!r} in {seen}" + (f". Did you mean {near!r}?" if near else "")
            )
        found, seen = inner, f"{seen}.{part}"
    if not isinstance(found, type):
        raise QMI_UsageException(f"{path}: {seen} is no class, but {found!r}")
    return found


def _refuse_simulation(cls: type, simulator: type | None) -> type | None:
    if not issubclass(cls, HostedInstrument):
        return None
    raise QMI_UsageException(
        f"{cls.__name__} cannot be simulated here: its driver belongs to another library. Give it what that library "
        "has for it (such as a simulated connection), and simulate=False"
    )


KINDS.append(_refuse_simulation)

HostedInstrument.__module__ = "qmi.hosting"

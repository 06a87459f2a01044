"""Properties of an object as its proxies show them: values of the object that are asked for and set by calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any, NoReturn

from qmi.actors.call import Handle, ProxyView
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.interface import PROPERTY_SERVICES, PropertyInfo
from qmi.actors.proxy_part import ProxyPart
from qmi.messages import GET_PROPERTY, SET_PROPERTY
from qmi.parameters.units import in_unit

GET, SET = PROPERTY_SERVICES[GET_PROPERTY], PROPERTY_SERVICES[SET_PROPERTY]


_FAILED = threading.local()


def take_failure() -> AttributeError | None:
    """The AttributeError that a property was read with just now in this thread, for ``__getattr__`` to raise."""
    error: AttributeError | None = _FAILED.__dict__.pop("error", None)
    return error


def property_doc(type_name: str, doc: str) -> str:
    """What ``help()`` shows for a property."""
    return f"Property of type {type_name}." + (f" {doc}" if doc else "")


def read_blocking(rpc: Handle, path: str) -> object:
    """Ask for a property of a name, that of a channel included, for a Python property of a proxy."""
    try:
        return rpc.call_blocking(GET, (path,), {}, None)
    except AttributeError as error:
        # Python asks the proxy's __getattr__ now, and forgets this one.
        _FAILED.error = error
        raise


def set_blocking(rpc: Handle, path: str, value: object) -> None:
    """Set a property of a name, that of a channel included."""
    rpc.call_blocking(SET, (path, plain_value(rpc, path, value)), {}, None)


def plain_value(rpc: Handle, path: str, value: object) -> object:
    """A value for a property: of a quantity the number in the unit of the parameter, where there is one.

    The program of the object may have no pint, so that a quantity is converted before it is sent.

    Raises:
        QMI_InvalidValueException: If a quantity is of another dimension.
    """
    parameters = rpc.interface.parameters
    if parameters is None or (brief := parameters.find(path)) is None:
        return value
    return in_unit(value, brief.unit, f"{path} of {rpc.address.object}")


def _blocking(info: PropertyInfo) -> property:
    name = info.name

    def get(self: ProxyView) -> object:
        return read_blocking(self.__rpc__, name)

    def set_to(self: ProxyView, value: object) -> None:
        set_blocking(self.__rpc__, name, value)

    return property(get, set_to, doc=property_doc(info.type_name, info.doc))


class AsyncProperty(ProxyPart):
    """A property of an object for a trio program: ``await proxy.limit`` asks, ``await proxy.limit.set(2.0)`` sets."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<property {self._rpc.address}.{self._name}: await it, or await its set(...)>"

    def __await__(self) -> Generator[object, None, object]:
        return self.get().__await__()

    async def get(self, *, rpc_timeout: float | None = None) -> Any:
        """Ask for the value; being cancelled cancels the call.

        Args:
            rpc_timeout: How long to wait, in seconds.
        """
        return await self._rpc.call_async(GET, (self._name,), {}, rpc_timeout)

    async def set(self, value: object, *, rpc_timeout: float | None = None) -> None:
        """Set the value; being cancelled cancels the call.

        Args:
            value: Of the same type and size as the value before.
            rpc_timeout: How long to wait, in seconds.

        Raises:
            QMI_UsageException: If it is of another type or size, or the property can only be read.
        """
        value = plain_value(self._rpc, self._name, value)
        await self._rpc.call_async(SET, (self._name, value), {}, rpc_timeout)


class NonblockingProperty(ProxyPart):
    """A property of an object: ``get()`` and ``set(value)`` return a future at once."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<property {self._rpc.address}.{self._name}: get() and set(...) return futures>"

    def get(self) -> QMI_RpcFuture[object]:
        """Ask for the value."""
        return self._rpc.call_nonblocking(GET, (self._name,), {})

    def set(self, value: object) -> QMI_RpcFuture[object]:
        """Set the value; see :meth:`AsyncProperty.set`."""
        return self._rpc.call_nonblocking(SET, (self._name, plain_value(self._rpc, self._name, value)), {})

    def wait(self, timeout: float | None = None) -> Any:
        """Ask for the value and wait for it; short for ``get().wait(timeout)``."""
        return self.get().wait(timeout)


def refuse_async(rpc: Handle, path: str) -> NoReturn:
    """An assignment to a property of an async proxy.

    Raises:
        AttributeError: Saying what to write.
    """
    raise AttributeError(f"Setting {path} of {rpc.address} has to be awaited: await proxy.{path}.set(...)")


def refuse_nonblocking(path: str) -> NoReturn:
    """An assignment to a property of a non-blocking proxy.

    Raises:
        AttributeError: Saying what to write.
    """
    raise AttributeError(
        f"An assignment cannot return a future: write proxy.rpc_nonblocking.{path}.set(...), or proxy.{path} = ... "
        "to wait until it is set"
    )


def _async(info: PropertyInfo) -> property:
    name = info.name

    def get(self: ProxyView) -> AsyncProperty:
        return AsyncProperty(self.__rpc__, name)

    def refuse(self: ProxyView, value: object) -> NoReturn:
        refuse_async(self.__rpc__, name)

    return property(get, refuse, doc=property_doc(info.type_name, info.doc))


def _nonblocking(info: PropertyInfo) -> property:
    name = info.name

    def get(self: ProxyView) -> NonblockingProperty:
        return NonblockingProperty(self.__rpc__, name)

    def refuse(self: ProxyView, value: object) -> NoReturn:
        refuse_nonblocking(name)

    return property(get, refuse, doc=property_doc(info.type_name, info.doc))


PROPERTIES: dict[str, Callable[[PropertyInfo], property]] = {
    "blocking": _blocking,
    "nonblocking": _nonblocking,
    "async": _async,
}

"""Properties of an object as its proxies show them: values of the object that are asked for and set by calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any, NoReturn

from qmi.actors.call import ProxyView
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.interface import PROPERTY_SERVICES, PropertyInfo
from qmi.actors.proxy_part import ProxyPart
from qmi.messages import GET_PROPERTY, SET_PROPERTY

_GET, _SET = PROPERTY_SERVICES[GET_PROPERTY], PROPERTY_SERVICES[SET_PROPERTY]


_FAILED = threading.local()


def take_failure() -> AttributeError | None:
    """The AttributeError that a property was read with just now in this thread, for ``__getattr__`` to raise."""
    error: AttributeError | None = _FAILED.__dict__.pop("error", None)
    return error


def _doc(info: PropertyInfo) -> str:
    return f"Property of type {info.type_name}." + (f" {info.doc}" if info.doc else "")


def _blocking(info: PropertyInfo) -> property:
    name = info.name

    def get(self: ProxyView) -> object:
        try:
            return self.__rpc__.call_blocking(_GET, (name,), {}, None)
        except AttributeError as error:
            # Python asks the proxy's __getattr__ now, and forgets this one.
            _FAILED.error = error
            raise

    def set_to(self: ProxyView, value: object) -> None:
        self.__rpc__.call_blocking(_SET, (name, value), {}, None)

    return property(get, set_to, doc=_doc(info))


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
        return await self._rpc.call_async(_GET, (self._name,), {}, rpc_timeout)

    async def set(self, value: object, *, rpc_timeout: float | None = None) -> None:
        """Set the value; being cancelled cancels the call.

        Args:
            value: Of the same type and size as the value before.
            rpc_timeout: How long to wait, in seconds.

        Raises:
            QMI_UsageException: If it is of another type or size, or the property can only be read.
        """
        await self._rpc.call_async(_SET, (self._name, value), {}, rpc_timeout)


class NonblockingProperty(ProxyPart):
    """A property of an object: ``get()`` and ``set(value)`` return a future at once."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<property {self._rpc.address}.{self._name}: get() and set(...) return futures>"

    def get(self) -> QMI_RpcFuture[object]:
        """Ask for the value."""
        return self._rpc.call_nonblocking(_GET, (self._name,), {})

    def set(self, value: object) -> QMI_RpcFuture[object]:
        """Set the value; see :meth:`AsyncProperty.set`."""
        return self._rpc.call_nonblocking(_SET, (self._name, value), {})

    def wait(self, timeout: float | None = None) -> Any:
        """Ask for the value and wait for it; short for ``get().wait(timeout)``."""
        return self.get().wait(timeout)


def _async(info: PropertyInfo) -> property:
    name = info.name

    def get(self: ProxyView) -> AsyncProperty:
        return AsyncProperty(self.__rpc__, name)

    def refuse(self: ProxyView, value: object) -> NoReturn:
        raise AttributeError(f"Setting {name} of {self.__rpc__.address} has to be awaited: await proxy.{name}.set(...)")

    return property(get, refuse, doc=_doc(info))


def _nonblocking(info: PropertyInfo) -> property:
    name = info.name

    def get(self: ProxyView) -> NonblockingProperty:
        return NonblockingProperty(self.__rpc__, name)

    def refuse(self: ProxyView, value: object) -> NoReturn:
        raise AttributeError(
            f"An assignment cannot return a future: write proxy.rpc_nonblocking.{name}.set(...), or proxy.{name} = ... "
            "to wait until it is set"
        )

    return property(get, refuse, doc=_doc(info))


PROPERTIES: dict[str, Callable[[PropertyInfo], property]] = {
    "blocking": _blocking,
    "nonblocking": _nonblocking,
    "async": _async,
}

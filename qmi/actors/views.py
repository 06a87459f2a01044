"""What proxies have beside their object's own names, as functions: they work whatever a driver calls its methods."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any, Concatenate, NoReturn, ParamSpec, TypeVar, overload

from qmi.errors import QMI_UsageException
from qmi.messages import LockInfo

if TYPE_CHECKING:
    from qmi.actors.proxy import AsyncProxy, NonblockingProxy, QMI_RpcProxy

# Proxies are imported where they are looked at: whoever has one has imported them, and `from qmi import *` need not.

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


@overload
def locked(  # type: ignore[overload-overlap]
    proxy: AsyncProxy[T], timeout: float = 0.0, lock_token: str | None = None, *, reason: str | None = None
) -> AbstractAsyncContextManager[AsyncProxy[T]]: ...
@overload
def locked(
    proxy: T, timeout: float = 0.0, lock_token: str | None = None, *, reason: str | None = None
) -> AbstractContextManager[T]: ...
def locked(proxy: object, timeout: float = 0.0, lock_token: str | None = None, *, reason: str | None = None) -> Any:
    """Lock an object for the length of a ``with`` block, or of an ``async with`` block for an async proxy.

    The same as ``proxy.locked(...)``, also for a driver that has a ``locked`` of its own.

    Args:
        proxy: A proxy of the object.
        timeout: How long to wait for another holder to unlock, in seconds.
        lock_token: A text of your own; whoever knows it can unlock from another proxy of the same context.
        reason: For what; everybody can see it.

    Raises:
        QMI_ObjectLockedException: If somebody else held it for too long; the block does not run.
    """
    from qmi.actors.proxy import AsyncProxy, QMI_RpcProxy

    if isinstance(proxy, AsyncProxy):
        return AsyncProxy.locked(proxy, timeout, lock_token, reason=reason)
    if isinstance(proxy, QMI_RpcProxy):
        return QMI_RpcProxy.locked(proxy, timeout, lock_token, reason=reason)
    return _refuse("locked", proxy, "a proxy of an object, blocking or async")


@overload
def reserve(  # type: ignore[overload-overlap]
    proxy: AsyncProxy[Any], reason: str, timeout: float = 0.0, lock_token: str | None = None
) -> Awaitable[bool]: ...
@overload
def reserve(proxy: object, reason: str, timeout: float = 0.0, lock_token: str | None = None) -> bool: ...
def reserve(proxy: object, reason: str, timeout: float = 0.0, lock_token: str | None = None) -> Any:
    """Lock an object for something that everybody can see. To be awaited for an async proxy.

    The same as ``proxy.reserve(...)``, also for a driver that has a ``reserve`` of its own.

    Args:
        proxy: A proxy of the object.
        reason: For what: ``"alignment until 18:00"``.
        timeout: How long to wait for another holder to unlock, in seconds.
        lock_token: A text of your own; whoever knows it can unlock from another proxy of the same context.

    Returns:
        Whether the object is locked for this proxy now.
    """
    from qmi.actors.proxy import AsyncProxy, QMI_RpcProxy

    if isinstance(proxy, AsyncProxy):
        return AsyncProxy.reserve(proxy, reason, timeout, lock_token)
    if isinstance(proxy, QMI_RpcProxy):
        return QMI_RpcProxy.reserve(proxy, reason, timeout, lock_token)
    return _refuse("reserve", proxy, "a proxy of an object, blocking or async")


@overload
def request_release(proxy: AsyncProxy[Any], reason: str = "") -> Awaitable[str | None]: ...  # type: ignore[overload-overlap]
@overload
def request_release(proxy: object, reason: str = "") -> str | None: ...
def request_release(proxy: object, reason: str = "") -> Any:
    """Tell whoever holds the lock of an object that you want it. To be awaited for an async proxy.

    The same as ``proxy.request_release(...)``, also for a driver that has a method of this name.

    Args:
        proxy: A proxy of the object.
        reason: For what.

    Returns:
        Who was told; None if nobody holds the lock.
    """
    from qmi.actors.proxy import AsyncProxy, QMI_RpcProxy

    if isinstance(proxy, AsyncProxy):
        return AsyncProxy.request_release(proxy, reason)
    if isinstance(proxy, QMI_RpcProxy):
        return QMI_RpcProxy.request_release(proxy, reason)
    return _refuse("request_release", proxy, "a proxy of an object, blocking or async")


@overload
def lock_info(proxy: AsyncProxy[Any]) -> Awaitable[LockInfo | None]: ...  # type: ignore[overload-overlap]
@overload
def lock_info(proxy: object) -> LockInfo | None: ...
def lock_info(proxy: object) -> Any:
    """Who holds the lock of an object, since when and for what; None if nobody does. To be awaited for an async proxy.

    The same as ``proxy.lock_info()``, also for a driver that has a ``lock_info`` of its own.

    Args:
        proxy: A proxy of the object.
    """
    from qmi.actors.proxy import AsyncProxy, QMI_RpcProxy

    if isinstance(proxy, AsyncProxy):
        return AsyncProxy.lock_info(proxy)
    if isinstance(proxy, QMI_RpcProxy):
        return QMI_RpcProxy.lock_info(proxy)
    return _refuse("lock_info", proxy, "a proxy of an object, blocking or async")


def rpc_async(proxy: object) -> Any:
    """The same object where a method is awaited, in trio or asyncio: ``proxy.rpc_async``, whatever the driver has.

    Args:
        proxy: A proxy of any kind.
    """
    from qmi.actors.proxy import AsyncProxy

    return _view("rpc_async", AsyncProxy, proxy)


def rpc_blocking(proxy: object) -> Any:
    """The same object for code in a thread, where calling a method waits for its result.

    Args:
        proxy: A proxy of any kind.
    """
    from qmi.actors.proxy import QMI_RpcProxy

    return _view("rpc_blocking", QMI_RpcProxy, proxy)


def rpc_nonblocking(proxy: object) -> Any:
    """The same object, where a method returns a future at once.

    Args:
        proxy: A proxy of any kind.
    """
    from qmi.actors.proxy import NonblockingProxy

    return _view("rpc_nonblocking", NonblockingProxy, proxy)


@overload
def call(
    proxy: AsyncProxy[Any], method: Callable[Concatenate[Any, P], Awaitable[R]], *args: P.args, **kwargs: P.kwargs
) -> Awaitable[R]: ...
@overload
def call(
    proxy: AsyncProxy[Any], method: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs
) -> Awaitable[R]: ...
def call(proxy: AsyncProxy[Any], method: Callable[..., object], *args: object, **kwargs: object) -> Any:
    """Call a method that is given as the driver's class has it: ``await qmi.call(nsg, NoisySineGenerator.get_sample)``.

    The same as ``proxy.call(...)``, also for a driver that has a ``call`` of its own.

    Args:
        proxy: An async proxy.
        method: The method; only its name counts, so that an override is called as usual.
        args: Its arguments.
        kwargs: Its keyword arguments.
    """
    from qmi.actors.proxy import AsyncProxy

    if not isinstance(proxy, AsyncProxy):
        _refuse("call", proxy, "an async proxy")
    return AsyncProxy.call(proxy, method, *args, **kwargs)


def _view(name: str, view: type[QMI_RpcProxy | AsyncProxy[Any] | NonblockingProxy], proxy: object) -> Any:
    from qmi.actors.proxy import AsyncProxy, NonblockingProxy, QMI_RpcProxy, make_view

    if not isinstance(proxy, QMI_RpcProxy | AsyncProxy | NonblockingProxy):
        _refuse(name, proxy, "a proxy of an object")
    return make_view(view, proxy.__rpc__)


def _refuse(name: str, thing: object, expected: str) -> NoReturn:
    raise QMI_UsageException(f"{name}() takes {expected}; got {thing!r}")


_public: Callable[..., object]
for _public in (call, lock_info, locked, request_release, reserve, rpc_async, rpc_blocking, rpc_nonblocking):
    _public.__module__ = "qmi"

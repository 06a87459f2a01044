"""Proxies: what a user holds of an object. One class per interface and view, made from the descriptor alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar, overload

from qmi.actors.future import QMI_RpcFuture, call_async, call_blocking
from qmi.actors.handle import Handle, Router
from qmi.actors.interface import Interface, Method, SignalInfo
from qmi.actors.presentation import ProxyType, signature_of, unquote_signatures
from qmi.actors.receiver import QMI_SignalReceiver
from qmi.bridge import refuse_on_loop
from qmi.errors import QMI_UnknownRpcException
from qmi.messages import LockAnswer
from qmi.names import Address

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class _ProxyBase(metaclass=ProxyType):
    """What all views of an object share."""

    __slots__ = ("__weakref__", "_rpc")

    _rpc_interface: ClassVar[Interface] = Interface("builtins.object")

    def __init__(self, handle: Handle) -> None:
        self._rpc = handle

    @property
    def address(self) -> str:
        """Where the object lives: ``"context.object"``."""
        return str(self._rpc.address)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in _ProxyBase.__slots__:  # pickle and copy ask before there is a handle
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        interface = self._rpc_interface
        if name in interface.constants:
            return interface.constants[name]
        raise QMI_UnknownRpcException(self._rpc.explain_unknown(name))

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self._rpc_interface.constants})

    def __repr__(self) -> str:
        return f"<{self._describe()} for {self._rpc.address} ({self._rpc_interface.class_name})>"

    def _describe(self) -> str:
        raise AssertionError


class QMI_RpcProxy(_ProxyBase):
    """An object as a blocking program sees it: calling a method waits for its result.

    Each method takes ``rpc_timeout`` in seconds besides its own arguments. A proxy can be used by several threads.
    """

    __slots__ = ()

    def _describe(self) -> str:
        return "rpc proxy"

    @property
    def rpc_nonblocking(self) -> Any:
        """The same object; here a method returns a future at once."""
        return make_view(NonblockingProxy, self._rpc)

    @property
    def rpc_async(self) -> Any:
        """The same object for a trio program; here a method is awaited."""
        return make_view(AsyncProxy, self._rpc)

    def _wait(self, what: str, future: QMI_RpcFuture[T]) -> T:
        if not future.done():
            refuse_on_loop(f"{self._rpc.address}.{what}", f"await proxy.rpc_async.{what}")
        return call_blocking(future, None)

    def lock(self, timeout: float = 0.0, lock_token: str | None = None) -> bool:
        """Lock the object for this proxy alone.

        A method that runs is waited for, so that the object is idle when this returns True.

        Args:
            timeout: How long to wait for another holder to unlock, in seconds.
            lock_token: A text of your own; whoever knows it can unlock from another proxy of the same context.

        Returns:
            Whether the object is locked for this proxy now.
        """
        return bool(self._acquire(timeout, lock_token))

    def _acquire(self, timeout: float, lock_token: str | None) -> LockAnswer:
        refuse_on_loop(f"{self._rpc.address}.lock()", "await proxy.rpc_async.lock()")
        token = self._rpc.token_to_lock_with(lock_token)
        future: QMI_RpcFuture[LockAnswer] | None = None
        try:
            future = self._rpc.acquire(timeout, token)
            return self._rpc.granted(token, self._wait("lock()", future))
        except BaseException:
            self._rpc.undo_acquire(token, future)
            raise

    def unlock(self, lock_token: str | None = None, context_name: str | None = None) -> bool:
        """Unlock the object.

        Args:
            lock_token: The text that it was locked with, if not by this proxy.
            context_name: The context that locked it, if not this one; needs ``lock_token``.

        Returns:
            True if it was locked and is not any more.
        """
        token = self._rpc.token_to_release(lock_token)
        return self._rpc.released(token, self._wait("unlock()", self._rpc.release(token, context_name)))

    def is_locked(self) -> bool:
        """Whether anybody has locked the object. Answered at once."""
        return self._wait("is_locked()", self._rpc.query_lock()) is not None

    def force_unlock(self) -> None:
        """Unlock the object, whoever locked it. Answered at once; logged as a warning."""
        self._wait("force_unlock()", self._rpc.force_release())

    @contextmanager
    def locked(self, timeout: float = 0.0, lock_token: str | None = None) -> Iterator[QMI_RpcProxy]:
        """Lock the object for the length of a ``with`` block.

        A block within another one leaves the lock to that one.

        Raises:
            QMI_ObjectLockedException: If somebody else held it for too long; the block does not run.
        """
        before = self._rpc.token
        answer = self._acquire(timeout, lock_token)
        if not answer:
            raise self._rpc.not_granted(timeout, self._wait("is_locked()", self._rpc.query_lock()))
        try:
            yield self
        finally:
            if answer == LockAnswer.GRANTED:
                self.unlock(lock_token)
            elif lock_token is not None:
                self._rpc.exchange_token(self._rpc.token_to_release(lock_token), before)

    def __enter__(self) -> QMI_RpcProxy:
        for name in self._rpc_interface.enter:
            getattr(self, name)()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for name in self._rpc_interface.exit:
            getattr(self, name)()


class NonblockingProxy(_ProxyBase):
    """An object whose methods return a future at once."""

    __slots__ = ()

    def _describe(self) -> str:
        return "non-blocking rpc proxy"


class AsyncProxy(_ProxyBase, Generic[T]):
    """An object as a trio program sees it: methods are awaited, and cancelling the wait cancels the call.

    ``await proxy.call(Driver.method, ...)`` is the same call with the types of the driver's method.
    """

    __slots__ = ()

    def _describe(self) -> str:
        return "async rpc proxy"

    @property
    def rpc_nonblocking(self) -> Any:
        """The same object; here a method returns a future at once."""
        return make_view(NonblockingProxy, self._rpc)

    @property
    def rpc_blocking(self) -> Any:
        """The same object for code that runs in a thread."""
        return make_view(QMI_RpcProxy, self._rpc)

    @overload
    async def call(
        self, method: Callable[Concatenate[Any, P], Awaitable[R]], *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    async def call(self, method: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a method that is given as the driver's class has it: ``await nsg.call(NoisySineGenerator.get_sample)``.

        Args:
            method: The method; only its name counts, so that an override is called as usual.
            args: Its arguments.
            kwargs: Its keyword arguments.
        """
        return await getattr(self, method.__name__)(*args, **kwargs)

    async def lock(self, timeout: float = 0.0, lock_token: str | None = None) -> bool:
        """Lock the object for this proxy alone; see :meth:`QMI_RpcProxy.lock`. Cancelling leaves it as it was."""
        return bool(await self._acquire(timeout, lock_token))

    async def _acquire(self, timeout: float, lock_token: str | None) -> LockAnswer:
        token = self._rpc.token_to_lock_with(lock_token)
        future: QMI_RpcFuture[LockAnswer] | None = None
        try:
            future = self._rpc.acquire(timeout, token)
            return self._rpc.granted(token, await call_async(future))
        except BaseException:
            self._rpc.undo_acquire(token, future)
            raise

    async def unlock(self, lock_token: str | None = None, context_name: str | None = None) -> bool:
        """Unlock the object; see :meth:`QMI_RpcProxy.unlock`."""
        token = self._rpc.token_to_release(lock_token)
        return self._rpc.released(token, await call_async(self._rpc.release(token, context_name)))

    async def is_locked(self) -> bool:
        """Whether anybody has locked the object."""
        return await call_async(self._rpc.query_lock()) is not None

    async def force_unlock(self) -> None:
        """Unlock the object, whoever locked it."""
        await call_async(self._rpc.force_release())

    @asynccontextmanager
    async def locked(self, timeout: float = 0.0, lock_token: str | None = None) -> AsyncIterator[AsyncProxy[T]]:
        """Lock the object for the length of an ``async with`` block.

        A block within another one leaves the lock to that one.

        Raises:
            QMI_ObjectLockedException: If somebody else held it for too long; the block does not run.
        """
        before = self._rpc.token
        answer = await self._acquire(timeout, lock_token)
        if not answer:
            raise self._rpc.not_granted(timeout, await call_async(self._rpc.query_lock()))
        try:
            yield self
        finally:
            token = self._rpc.token_to_release(lock_token)
            if answer == LockAnswer.GRANTED:
                # Not awaited: this must happen also when the block was cancelled.
                self._rpc.release(token)
                self._rpc.released(token, True)
            elif lock_token is not None:
                self._rpc.exchange_token(token, before)

    async def __aenter__(self) -> AsyncProxy[T]:
        for name in self._rpc_interface.enter:
            await getattr(self, name)()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for name in self._rpc_interface.exit:
            await getattr(self, name)()


for _view in (QMI_RpcProxy, NonblockingProxy, AsyncProxy):
    _view.__module__ = "qmi.core.rpc"


# Making the classes


def _blocking(method: Method) -> Callable[..., Any]:
    def call(self: QMI_RpcProxy, *args: Any, rpc_timeout: float | None = None, **kwargs: Any) -> Any:
        return self._rpc.call_blocking(method, args, kwargs, rpc_timeout)

    return call


def _nonblocking(method: Method) -> Callable[..., Any]:
    def call(self: NonblockingProxy, *args: Any, **kwargs: Any) -> QMI_RpcFuture[Any]:
        return self._rpc.call_nonblocking(method, args, kwargs)

    return call


def _async(method: Method) -> Callable[..., Any]:
    async def call(self: AsyncProxy[Any], *args: Any, rpc_timeout: float | None = None, **kwargs: Any) -> Any:
        return await self._rpc.call_async(method, args, kwargs, rpc_timeout)

    return call


class ProxySignal:
    """A signal of an object, as its proxy shows it."""

    __slots__ = ("_name", "_rpc")

    def __init__(self, handle: Handle, name: str) -> None:
        self._rpc = handle
        self._name = name

    def __repr__(self) -> str:
        return f"<signal {self._rpc.address}.{self._name}>"

    def subscribe(self, receiver: QMI_SignalReceiver) -> None:
        """Have each signal put into a receiver. Subscribing twice is like subscribing once.

        Raises:
            QMI_SignalSubscriptionException: If the object is not there.
        """
        call_blocking(self._rpc.subscribe(self._name, receiver), None)

    def unsubscribe(self, receiver: QMI_SignalReceiver) -> None:
        """End a subscription; what is in the receiver stays there."""
        call_blocking(self._rpc.unsubscribe(self._name, receiver), None)


class AsyncProxySignal(ProxySignal):
    """The same for a trio program."""

    __slots__ = ()

    async def subscribe(self, receiver: QMI_SignalReceiver) -> None:  # type: ignore[override]
        """Have each signal put into a receiver; see :meth:`ProxySignal.subscribe`."""
        await call_async(self._rpc.subscribe(self._name, receiver))

    async def unsubscribe(self, receiver: QMI_SignalReceiver) -> None:  # type: ignore[override]
        """End a subscription; what is in the receiver stays there."""
        await call_async(self._rpc.unsubscribe(self._name, receiver))


def _signal(view: type[_ProxyBase], info: SignalInfo) -> property:
    kind = AsyncProxySignal if view is AsyncProxy else ProxySignal

    def get(self: _ProxyBase) -> ProxySignal:
        return kind(self._rpc, info.name)

    return property(get, doc=f"Signal with arguments ({', '.join(info.arg_types)}); ``subscribe`` with a receiver.")


_VIEWS: dict[type[_ProxyBase], tuple[str, Callable[[Method], Callable[..., Any]], bool]] = {
    QMI_RpcProxy: ("Proxy", _blocking, True),
    NonblockingProxy: ("NonblockingProxy", _nonblocking, False),
    AsyncProxy: ("AsyncProxy", _async, True),
}


def _make_class(view: type[_ProxyBase], interface: Interface) -> type[_ProxyBase]:
    suffix, factory, with_timeout = _VIEWS[view]
    name = f"{interface.short_name}{suffix}"
    module = interface.class_name.rpartition(".")[0]
    namespace: dict[str, Any] = {
        "__slots__": (),
        "__doc__": interface.doc or view.__doc__,
        "__module__": module,
        "_rpc_interface": interface,
    }
    for method in interface.methods.values():
        function = factory(method)
        function.__name__ = method.name
        function.__qualname__ = f"{name}.{method.name}"
        function.__module__ = module
        function.__doc__ = method.doc
        function.__signature__ = signature_of(method, with_timeout)  # type: ignore[attr-defined]
        namespace[method.name] = function
    unquote_signatures(view)
    for info in interface.signals:
        namespace[info.name] = _signal(view, info)
    return type(name, (view,), namespace)


def make_view(view: type[_ProxyBase], handle: Handle) -> Any:
    """A view of the object behind a handle; the class is made once for each interface."""
    classes = handle.interface.views
    cls = classes.get(view)
    if cls is None:
        cls = classes.setdefault(view, _make_class(view, handle.interface))
    return cls(handle)


def make_proxy(router: Router, address: Address, interface: Interface) -> Any:
    """A blocking proxy."""
    return make_view(QMI_RpcProxy, Handle(router, address, interface))


def make_async_proxy(router: Router, address: Address, interface: Interface) -> Any:
    """A proxy for trio programs."""
    return make_view(AsyncProxy, Handle(router, address, interface))


def proxy_parts(value: object) -> tuple[Address, Interface] | None:
    """Address and interface of what a proxy stands for; None for anything else."""
    return (value._rpc.address, value._rpc.interface) if isinstance(value, _ProxyBase) else None

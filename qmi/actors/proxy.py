"""Proxies: what a user holds of an object. One class per interface and view, made from the descriptor alone."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from types import ModuleType, TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Generic,
    NoReturn,
    ParamSpec,
    Self,
    SupportsIndex,
    TypeVar,
    overload,
)

from qmi.actors.call import Handle, Router, async_method, blocking_method, check_reason, nonblocking_method
from qmi.actors.future import QMI_RpcFuture, call_async, call_blocking
from qmi.actors.interface import BLOCK_SERVICES, Interface, Method, SignalInfo
from qmi.actors.lock_block import AsyncLockBlock, LockBlock
from qmi.actors.lock_pass import new_pass
from qmi.actors.presentation import ProxyType, hinted_views, shown_class, signature_of, unquote_signatures
from qmi.actors.properties import PROPERTIES, take_failure
from qmi.actors.proxy_part import ProxyPart, not_assigned, refuse_pickling
from qmi.actors.pubsub.history import Since, wanted_history
from qmi.actors.pubsub.receiver import QMI_SignalReceiver
from qmi.errors import QMI_InvalidOperationException, QMI_UnknownRpcException
from qmi.messages import ENTER_BLOCK, EXIT_BLOCK, LockAnswer, LockInfo, Token
from qmi.names import Address
from qmi.runtime.wakeup import refuse_on_loop, refuse_outside_loops

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_ENTER, _EXIT = BLOCK_SERVICES[ENTER_BLOCK], BLOCK_SERVICES[EXIT_BLOCK]


class _ProxyBase(metaclass=ProxyType):
    """What all views of an object share."""

    __slots__ = ("__rpc__", "__weakref__")

    __rpc_interface__: ClassVar[Interface] = Interface("builtins.object")
    __rpc_view__: ClassVar[str] = ""

    if TYPE_CHECKING:
        __rpc__: Handle
        _rpc: Handle  # another name of __rpc__, where no driver has published one

    else:  # for type checkers a proxy has the attributes that are declared, and no others

        def __setattr__(self, name: str, value: object) -> None:
            try:
                _set_attribute(self, name, value)
            except AttributeError as error:
                rpc = self.__rpc__
                refusal = not_assigned(type(self), name, str(rpc.address), partial(rpc.explain_unknown, name, True))
                if refusal is None:
                    raise
                raise refusal from error.__cause__

    def __init__(self, handle: Handle) -> None:
        _set_handle(self, handle)

    @property
    def address(self) -> str:
        """Where the object lives: ``"context.object"``."""
        return str(self.__rpc__.address)

    @property
    def __wrapped__(self) -> type:
        """The class of the object if this program has it: where ``proxy??`` and :mod:`inspect` find the source."""
        found = self.__rpc_interface__.driver or loaded_class(self.__rpc_interface__.class_name)
        if found is None:
            raise AttributeError(f"{self.__rpc_interface__.class_name} is not imported in this program")
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in _ProxyBase.__slots__:  # pickle and copy ask before there is a handle
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if name in self.__rpc_interface__.properties and (error := take_failure()) is not None:
            raise error
        # With a name and an object, Python fills in neither, and prints no "Did you mean" of its own behind ours.
        raise QMI_UnknownRpcException(self.__rpc__.explain_unknown(name), name=name, obj=None)

    def __dir__(self) -> list[str]:
        return dir(type(self))

    def __bool__(self) -> bool:
        return True  # a driver may have published a __len__, which nobody wants to call by "if proxy:"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        refuse_pickling(self.__rpc__, f"A proxy of {self.__rpc__.address}")

    def __repr__(self) -> str:
        return f"<{_WORDS[self.__rpc_view__]} for {self.__rpc__.address} ({shown_class(self.__rpc_interface__)})>"

    # What IPython shows instead, where the proxy is the last line of a cell. Within a list it is short.

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        from qmi.actors.proxy_card import shown_text

        alone = len(getattr(printer, "stack", ())) == 1
        printer.text(shown_text(self.__rpc__, self) if alone else repr(self))

    def _repr_html_(self) -> str:
        from qmi.actors.proxy_card import shown_html  # which only those need who show it

        return shown_html(self.__rpc__, self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from qmi.actors.proxy_card import shown_both  # which only those need who show it

        return shown_both(self.__rpc__, self)


_WORDS = {"": "proxy", "blocking": "rpc proxy", "nonblocking": "non-blocking rpc proxy", "async": "async rpc proxy"}
_ProxyBase._rpc = vars(_ProxyBase)["__rpc__"]
_set_handle = vars(_ProxyBase)["__rpc__"].__set__
_set_attribute = object.__setattr__


def loaded_class(full_name: str) -> type | None:
    """The class of a name, if its module is loaded in this program; nothing is imported for it."""
    module, _, name = full_name.rpartition(".")
    while module and module not in sys.modules:
        module, _, outer = module.rpartition(".")
        name = f"{outer}.{name}"
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = vars(found).get(part) if isinstance(found, type | ModuleType) else None
    return found if isinstance(found, type) else None


# No view calls its own methods: a driver may have published others of these names.


def _check_block(interface: Interface, what: str) -> None:
    if not interface.enter:
        raise NotImplementedError(
            f"'{what}' does nothing for {interface.short_name}: it is no instrument or task, and publishes no "
            "__enter__() and __exit__() of its own. To lock it: with proxy.locked():"
        )


def _wait(rpc: Handle, what: str, future: QMI_RpcFuture[T], *, release: bool = False) -> T:
    return rpc.wait(what, future, f"await proxy.rpc_async.{what}", release=release)


_TOO_OLD = "The program of {} runs an older version of this library, which cannot tell the holder of a lock anything"


def _acquire(
    rpc: Handle, timeout: float, lock_token: str | None, reason: str | None = None, given: Token | None = None
) -> bool:
    if reason is not None:
        check_reason(reason)
    refuse_on_loop(f"{rpc.address}.lock()", "await proxy.rpc_async.lock()")
    token = given or rpc.token_to_lock_with(lock_token)
    key = rpc.new_key(token)
    future: QMI_RpcFuture[LockAnswer] | None = None
    try:
        future = rpc.acquire(timeout, token, key)
        answer = _wait(rpc, "lock()", future)
        if answer and reason is not None:
            rpc.say_reason(reason, "await proxy.rpc_async.lock()")
        return bool(rpc.granted(token, answer))
    except BaseException:
        rpc.undo_acquire(key or token, future, stays=token.custom)
        raise


def lock_with_pass(proxy: QMI_RpcProxy, timeout: float, reason: str) -> Token | None:
    """Lock an object so that the programs which this one starts may use it; see :mod:`qmi.actors.lock_pass`.

    Args:
        proxy: The object.
        timeout: How long to wait for another holder, in seconds.
        reason: For what.

    Returns:
        The pass to hand to them; None if somebody else holds the lock. Where this program was handed one itself, it is
        that one.

    Raises:
        QMI_InvalidOperationException: If this proxy holds the lock already, by :meth:`QMI_RpcProxy.lock`.
    """
    rpc = proxy.__rpc__
    if not _acquire(rpc, timeout, None, reason, new_pass()):
        return None
    if rpc.token is None or not rpc.token.is_pass:
        raise QMI_InvalidOperationException(
            f"{rpc.address} is locked here already, by a lock() that is for this proxy alone; unlock it first"
        )
    return rpc.token


def _check_task(rpc: Handle, name: str) -> None:
    refuse_outside_loops(f"{rpc.address}.{name}()", f"proxy.{name}")


async def _acquire_async(rpc: Handle, timeout: float, lock_token: str | None, reason: str | None = None) -> bool:
    if reason is not None:
        check_reason(reason)
    _check_task(rpc, "lock")
    token = rpc.token_to_lock_with(lock_token)
    key = rpc.new_key(token)
    future: QMI_RpcFuture[LockAnswer] | None = None
    try:
        future = rpc.acquire(timeout, token, key)
        answer = await call_async(future)
        if answer and reason is not None:
            await rpc.await_reason(reason)
        return bool(rpc.granted(token, answer))
    except BaseException:
        rpc.undo_acquire(key or token, future, stays=token.custom)
        raise


class QMI_RpcProxy(_ProxyBase):
    """An object as a blocking program sees it: calling a method waits for its result.

    Each method takes ``rpc_timeout`` in seconds besides its own arguments. A proxy can be used by several threads.
    """

    __slots__ = ()
    __rpc_view__ = "blocking"

    @property
    def rpc_nonblocking(self) -> Any:
        """The same object; here a method returns a future at once."""
        return make_view(NonblockingProxy, self.__rpc__)

    @property
    def rpc_async(self) -> Any:
        """The same object for a program of trio or asyncio; here a method is awaited."""
        return make_view(AsyncProxy, self.__rpc__)

    def lock(self, timeout: float = 0.0, lock_token: str | None = None, *, reason: str | None = None) -> bool:
        """Lock the object for this proxy alone. All threads and tasks that use this proxy may call.

        A method that runs is waited for, so that the object is idle when this returns True.

        Args:
            timeout: How long to wait for another holder to unlock, in seconds.
            lock_token: A text of your own; whoever knows it can unlock from another proxy of the same context.
            reason: For what. Everybody can see it, with user, program and computer: :meth:`lock_info`, errors, lists.

        Returns:
            Whether the object is locked for this proxy now.
        """
        return _acquire(self.__rpc__, timeout, lock_token, reason)

    def reserve(self, reason: str, timeout: float = 0.0, lock_token: str | None = None) -> bool:
        """Lock the object for something: ``lock(timeout, lock_token, reason=reason)``.

        Args:
            reason: For what: ``"alignment until 18:00"``. Everybody can see it, with user, program and computer.
            timeout: How long to wait for another holder to unlock, in seconds.
            lock_token: As for :meth:`lock`.

        Returns:
            Whether the object is locked for this proxy now.
        """
        return _acquire(self.__rpc__, timeout, lock_token, check_reason(reason))

    def request_release(self, reason: str = "") -> str | None:
        """Tell whoever holds the lock that you want it. The lock stays as it is.

        The holder's program logs it as a warning, and calls the functions that it has given to
        :meth:`.QMI_Context.on_lock_request`.

        Args:
            reason: For what.

        Returns:
            Who was told; None if nobody holds the lock.

        Raises:
            QMI_InvalidOperationException: If a program runs a version that cannot pass it on.
        """
        try:
            return _wait(self.__rpc__, "request_release()", self.__rpc__.request_release(reason))
        except QMI_UnknownRpcException as error:
            raise QMI_InvalidOperationException(_TOO_OLD.format(self.__rpc__.address)) from error

    def unlock(self, lock_token: str | None = None, context_name: str | None = None) -> bool:
        """Unlock the object.

        Args:
            lock_token: The text that it was locked with, if not by this proxy.
            context_name: The context that locked it, if not this one; needs ``lock_token``.

        Returns:
            True if it was locked and is not any more.
        """
        token = self.__rpc__.token_to_release(lock_token)
        return self.__rpc__.released(
            token, _wait(self.__rpc__, "unlock()", self.__rpc__.release(token, context_name), release=True)
        )

    def is_locked(self) -> bool:
        """Whether anybody has locked the object. Answered at once."""
        return _wait(self.__rpc__, "is_locked()", self.__rpc__.query_lock()) is not None

    def force_unlock(self, reason: str | None = None) -> None:
        """Unlock the object, whoever locked it. Answered at once; logged as a warning.

        The former holder is told by whom at once, in its log, and its next call is refused with that news.

        Args:
            reason: Why; told and logged as well.
        """
        rpc = self.__rpc__
        if reason is not None:
            with suppress(QMI_UnknownRpcException):  # an older version, which takes no reason
                _wait(rpc, "force_unlock()", rpc.force_release_for(reason), release=True)
                return
        _wait(rpc, "force_unlock()", rpc.force_release(), release=True)

    def lock_info(self) -> LockInfo | None:
        """Who holds the lock, since when and for what; None if nobody does. Answered at once."""
        return self.__rpc__.lock_info("await proxy.rpc_async.lock_info()")

    def locked(
        self, timeout: float = 0.0, lock_token: str | None = None, *, reason: str | None = None
    ) -> LockBlock[Self]:
        """Lock the object for the length of a ``with`` block.

        The block belongs to the thread that entered it. Its calls go through; those of other threads are refused, also
        at this very proxy, and their blocks wait their turn, first come first served. A block within another one of the
        same thread, or within a plain :meth:`lock` of this proxy, leaves the lock to that one.

        Args:
            timeout: How long to wait for another holder, in seconds.
            lock_token: A text of your own; see :meth:`lock`.
            reason: For what; see :meth:`lock`.

        Raises:
            QMI_ObjectLockedException: If somebody else held it for too long; the block does not run.
        """
        return LockBlock(self, timeout, lock_token, reason)

    def __enter__(self) -> QMI_RpcProxy:
        _check_block(self.__rpc_interface__, "with")
        for name in self.__rpc_interface__.enter:
            if name == ENTER_BLOCK:
                self.__rpc__.call_blocking(_ENTER, (), {}, None)
            else:
                getattr(self, name)()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        suppressed = False
        for name in self.__rpc_interface__.exit:
            if name == EXIT_BLOCK:
                suppressed = bool(self.__rpc__.call_blocking(_EXIT, (error,), {}, None))
            else:
                getattr(self, name)()
        return suppressed


class NonblockingProxy(_ProxyBase):
    """An object whose methods return a future at once."""

    __slots__ = ()
    __rpc_view__ = "nonblocking"


class AsyncProxy(_ProxyBase, Generic[T]):
    """An object as a trio program sees it: methods are awaited, and cancelling the wait cancels the call.

    ``await proxy.call(Driver.method, ...)`` is the same call with the types of the driver's method.
    """

    __slots__ = ()
    __rpc_view__ = "async"

    @property
    def rpc_nonblocking(self) -> Any:
        """The same object; here a method returns a future at once."""
        return make_view(NonblockingProxy, self.__rpc__)

    @property
    def rpc_blocking(self) -> Any:
        """The same object for code that runs in a thread."""
        return make_view(QMI_RpcProxy, self.__rpc__)

    @overload
    async def call(
        self, method: Callable[Concatenate[Any, P], Awaitable[R]], *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    async def call(self, method: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def call(self, method: Callable[..., object], *args: object, **kwargs: object) -> Any:
        """Call a method that is given as the driver's class has it: ``await nsg.call(NoisySineGenerator.get_sample)``.

        Args:
            method: The method; only its name counts, so that an override is called as usual.
            args: Its arguments.
            kwargs: Its keyword arguments.
        """
        return await getattr(self, method.__name__)(*args, **kwargs)

    async def lock(self, timeout: float = 0.0, lock_token: str | None = None, *, reason: str | None = None) -> bool:
        """Lock the object for this proxy alone; see :meth:`QMI_RpcProxy.lock`. Cancelling leaves it as it was."""
        return await _acquire_async(self.__rpc__, timeout, lock_token, reason)

    async def reserve(self, reason: str, timeout: float = 0.0, lock_token: str | None = None) -> bool:
        """Lock the object for something; see :meth:`QMI_RpcProxy.reserve`."""
        return await _acquire_async(self.__rpc__, timeout, lock_token, check_reason(reason))

    async def request_release(self, reason: str = "") -> str | None:
        """Tell whoever holds the lock that you want it; see :meth:`QMI_RpcProxy.request_release`."""
        _check_task(self.__rpc__, "request_release")
        try:
            return await call_async(self.__rpc__.request_release(reason))
        except QMI_UnknownRpcException as error:
            raise QMI_InvalidOperationException(_TOO_OLD.format(self.__rpc__.address)) from error

    async def unlock(self, lock_token: str | None = None, context_name: str | None = None) -> bool:
        """Unlock the object; see :meth:`QMI_RpcProxy.unlock`."""
        _check_task(self.__rpc__, "unlock")
        token = self.__rpc__.token_to_release(lock_token)
        return self.__rpc__.released(token, await call_async(self.__rpc__.release(token, context_name)))

    async def is_locked(self) -> bool:
        """Whether anybody has locked the object."""
        _check_task(self.__rpc__, "is_locked")
        return await call_async(self.__rpc__.query_lock()) is not None

    async def force_unlock(self, reason: str | None = None) -> None:
        """Unlock the object, whoever locked it; see :meth:`QMI_RpcProxy.force_unlock`."""
        _check_task(self.__rpc__, "force_unlock")
        if reason is not None:
            with suppress(QMI_UnknownRpcException):  # an older version, which takes no reason
                await call_async(self.__rpc__.force_release_for(reason))
                return
        await call_async(self.__rpc__.force_release())

    async def lock_info(self) -> LockInfo | None:
        """Who holds the lock, since when and for what; None if nobody does."""
        _check_task(self.__rpc__, "lock_info")
        return await self.__rpc__.await_info()

    def locked(
        self, timeout: float = 0.0, lock_token: str | None = None, *, reason: str | None = None
    ) -> AsyncLockBlock[Self]:
        """Lock the object for the length of an ``async with`` block; see :meth:`QMI_RpcProxy.locked`.

        The block belongs to the task that entered it. Tasks that are started in it may call as well; a block of their
        own excludes their siblings and the parent until it ends.

        Raises:
            QMI_ObjectLockedException: If somebody else held it for too long; the block does not run.
        """
        return AsyncLockBlock(self, timeout, lock_token, reason)

    async def __aenter__(self) -> AsyncProxy[T]:
        _check_block(self.__rpc_interface__, "async with")
        for name in self.__rpc_interface__.enter:
            if name == ENTER_BLOCK:
                await self.__rpc__.call_async(_ENTER, (), {}, None)
            else:
                await getattr(self, name)()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        suppressed = False
        for name in self.__rpc_interface__.exit:
            if name == EXIT_BLOCK:
                suppressed = bool(await self.__rpc__.call_async(_EXIT, (error,), {}, None))
            else:
                await getattr(self, name)()
        return suppressed


for _view in (QMI_RpcProxy, NonblockingProxy, AsyncProxy):
    _view.__module__ = "qmi.core.rpc"


# Making the classes


class ProxySignal(ProxyPart):
    """A signal of an object, as its proxy shows it."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def address(self) -> str:
        """Where the object lives: ``"context.object"``."""
        return str(self._rpc.address)

    def __repr__(self) -> str:
        return f"<signal {self._rpc.address}.{self._name}>"

    def subscribe(self, receiver: QMI_SignalReceiver, *, last: bool = False, since: Since = None) -> None:
        """Have each signal put into a receiver. Subscribing twice is like subscribing once.

        What was published before comes first if it is asked for; for that, both programs have to be at a site.

        Args:
            receiver: Where it is put.
            last: Whether the last value comes first.
            since: From when on: what was published since then comes first. A datetime with a timezone, or how long ago:
                a timedelta, or seconds.

        Raises:
            QMI_SignalSubscriptionException: If the object is not there, or what was published before cannot be had.
        """
        call_blocking(self._rpc.subscribe(self._name, receiver, wanted_history(last, since)), None)

    def unsubscribe(self, receiver: QMI_SignalReceiver) -> None:
        """End a subscription; what is in the receiver stays there."""
        self._rpc.unsubscribe(self._name, receiver).wait()


class AsyncProxySignal(ProxySignal):
    """The same where it is awaited."""

    __slots__ = ()

    async def subscribe(  # type: ignore[override]
        self, receiver: QMI_SignalReceiver, *, last: bool = False, since: Since = None
    ) -> None:
        """Have each signal put into a receiver; see :meth:`ProxySignal.subscribe`."""
        _check_task(self._rpc, f"{self._name}.subscribe")
        await call_async(self._rpc.subscribe(self._name, receiver, wanted_history(last, since)))

    async def unsubscribe(self, receiver: QMI_SignalReceiver) -> None:  # type: ignore[override]
        """End a subscription; what is in the receiver stays there."""
        _check_task(self._rpc, f"{self._name}.unsubscribe")
        await call_async(self._rpc.unsubscribe(self._name, receiver))


def _signal(view: type[_ProxyBase], info: SignalInfo) -> property:
    kind = AsyncProxySignal if view is AsyncProxy else ProxySignal

    def get(self: _ProxyBase) -> ProxySignal:
        return kind(self.__rpc__, info.name)

    return property(get, doc=f"Signal with arguments ({', '.join(info.arg_types)}); ``subscribe`` with a receiver.")


_VIEWS: dict[type[_ProxyBase], tuple[str, Callable[[Method], Callable[..., object]], bool]] = {
    QMI_RpcProxy: ("Proxy", blocking_method, True),
    NonblockingProxy: ("NonblockingProxy", nonblocking_method, False),
    AsyncProxy: ("AsyncProxy", async_method, True),
}


def _make_class(view: type[_ProxyBase], interface: Interface) -> type[_ProxyBase]:
    suffix, factory, with_timeout = _VIEWS[view]
    name = f"{interface.short_name}{suffix}"
    module = interface.class_name.rpartition(".")[0]
    source = interface.driver or loaded_class(interface.class_name)
    methods: dict[str, object] = {}
    parameters = interface.parameters
    for method in interface.methods.values():
        if method.name in _FOR_BLOCKING_ONLY and view is not QMI_RpcProxy:
            continue
        function: Any = factory(method)
        function.__name__ = method.name
        function.__qualname__ = f"{name}.{method.name}"
        function.__module__ = module
        function.__doc__ = method.doc
        function.__signature__ = signature_of(method, with_timeout)
        if inspect.isfunction(written := getattr(source, method.name, None)):
            function.__wrapped__ = written
        methods[method.name] = function
    parts: dict[str, object] = {}
    kinds: dict[str, type] = {}
    if parameters is not None:
        from qmi.actors.proxy_parameters import parts_for_parameters, take_quantities  # most objects have none

        take_quantities(methods, interface.methods, parameters.own)
        parts, kinds = parts_for_parameters(view.__rpc_view__, interface, parameters)
    unquote_signatures(view)
    hints: Any = hinted_views(view, methods)
    namespace: dict[str, object] = {
        "__slots__": (),
        "__doc__": interface.doc or view.__doc__,
        "__module__": module,
        "__rpc_interface__": interface,
        **hints,
        **{name: _constant(interface, name, value) for name, value in interface.constants.items()},
        **{info.name: PROPERTIES[view.__rpc_view__](info) for info in interface.properties.values()},
        **{info.name: _signal(view, info) for info in interface.signals},
        **methods,
        **parts,
        "__annotations__": {**hints.get("__annotations__", {}), **kinds},
    }
    return type(name, (view,), namespace)


_FOR_BLOCKING_ONLY = frozenset(
    {"__len__", "__contains__", "__iter__", "__int__", "__float__", "__setitem__", "__delitem__"}
)
"""Python wants their answers at once."""


def _constant(interface: Interface, name: str, value: object) -> property:
    def get(self: _ProxyBase) -> object:
        return value

    def refuse(self: _ProxyBase, new: object) -> NoReturn:
        raise AttributeError(f"{name} is an RPC constant of {interface.short_name}, {value!r}, and cannot be set")

    return property(get, refuse, doc=f"Constant: {value!r}")


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
    return (value.__rpc__.address, value.__rpc__.interface) if isinstance(value, _ProxyBase) else None

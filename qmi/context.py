"""The context: a nursery that owns actors, and the way of a message to one of them."""

from __future__ import annotations

import difflib
import logging
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import trio

from qmi._version import __version__
from qmi.actors.clock import Clock, MonotonicClock
from qmi.actors.context_object import ContextObject
from qmi.actors.ending import end_actor
from qmi.actors.exchange import Exchange, PeerSubscriber
from qmi.actors.execution import EXECUTION, Execution, current_chain
from qmi.actors.future import QMI_RpcFuture, call_async
from qmi.actors.handle import check_receiver
from qmi.actors.instrument import QMI_Instrument
from qmi.actors.interface import Interface
from qmi.actors.proxy import AsyncProxy, make_async_proxy
from qmi.actors.receiver import QMI_SignalReceiver
from qmi.actors.registry import Registry
from qmi.actors.rpc_object import QMI_RpcObject, check_class, interface_of, placement_for
from qmi.actors.runner import Actor, failed_future
from qmi.actors.subscriptions import Topic
from qmi.actors.task import QMI_Task
from qmi.actors.task_runner import QMI_TaskRunner, task_interface
from qmi.actors.worker import Worker
from qmi.bridge import Loop
from qmi.config.schema import CfgContext, CfgQmi
from qmi.connections import Connections, PeerDescriptor
from qmi.errors import (
    QMI_CancelledCallException,
    QMI_ContextStoppedException,
    QMI_Exception,
    QMI_NotDeliveredException,
    QMI_ObjectRemovedException,
    QMI_SignalSubscriptionException,
    QMI_UsageException,
)
from qmi.links import ask
from qmi.messages import Call, Describe, Origin, Request, Signal, Subscribe, Unsubscribe
from qmi.names import CONTEXT_OBJECT_NAME, Address, check_name, parse_address
from qmi.net.link import Link

_logger = logging.getLogger("qmi.core.context")

R = TypeVar("R")
TR = TypeVar("TR", bound=QMI_TaskRunner)
T = TypeVar("T", bound=QMI_RpcObject)

LAST_CHANCE = 1.0
"""How long those objects have together, in seconds, that are still there when the time to stop is over."""


class Context:
    """A named home of instruments and tasks, for trio programs.

    Made by :func:`qmi.open_context`. Each method works from any task; cancelling one leaves the context as it was.

    Args:
        name: What others call this program.
        config: The configuration; None takes the defaults.

    Attributes:
        name: The name.
        config: The configuration.
        face: The same context for blocking code.
        loop: The event loop that it runs in.
        origin: How others know where a message came from.
    """

    def __init__(self, name: str, config: CfgQmi | None = None) -> None:
        self.name = check_name(name, "context")
        self.config = CfgQmi() if config is None else config
        self.face: Any = self
        self.loop: Loop
        self.origin = Origin(name, secrets.token_hex(8))
        self.registry = Registry(name)
        self.started = time.time()
        self.shutdown: QMI_RpcFuture[None] = QMI_RpcFuture(f"the shutdown of context {name!r}")
        self._stop_handlers: list[Callable[[], object]] = []
        self._nursery: trio.Nursery | None = None
        self._state = "not started"
        self._why_not: Callable[[], Exception] | None = None
        self._mutex = threading.Lock()
        self.clock: Clock = MonotonicClock()
        self.exchange = Exchange(name)
        self.connections = Connections(self)
        self.suppress_version_mismatch_warnings = False

    def __repr__(self) -> str:
        return f"QMI_context(name={self.name!r})"

    # Life

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Context]:
        """Start the context, and stop it at the end of the block, whatever ends it."""
        error: BaseException | None = None
        self.check_can_start()
        async with trio.open_nursery() as nursery:
            try:
                await self._start(nursery)
                yield self
            except BaseException as caught:  # raised again below, without the nursery's wrapping
                error = caught
            with trio.CancelScope(shield=True):
                await self._stop()
            nursery.cancel_scope.cancel()
        _logger.info("Context %s has stopped", self.name)
        try:
            if error is not None:
                raise error
        finally:
            del error

    def check_can_start(self) -> None:
        """Refuse to start twice.

        Raises:
            QMI_UsageException: If the context was started before.
        """
        with self._mutex:
            if self._state != "not started":
                raise QMI_UsageException(f"Context {self.name!r} was started before; make a new one to start again")
            self._state = "starting"

    async def _start(self, nursery: trio.Nursery) -> None:
        self.loop = Loop()
        self._nursery = nursery
        self._state = "running"
        _logger.info("Starting context %s (qmi %s, pid %d)", self.name, __version__, os.getpid())
        if self.config.config_file is not None:
            _logger.info("Configuration read from %s", self.config.config_file)
        await call_async(self._make(CONTEXT_OBJECT_NAME, ContextObject, (self,), {}))
        self.connections.start()
        _logger.info("Context %s is ready", self.name)

    async def _stop(self) -> None:
        if self._nursery is None:
            return
        self._state = "stopping"
        self.request_shutdown()
        await self._run_stop_handlers()
        error = QMI_ContextStoppedException(f"Context {self.name!r} has stopped")
        deadline = trio.current_time() + self.own_config().stop_grace
        await self._stop_tasks(deadline)
        deadline = max(deadline, trio.current_time() + LAST_CHANCE)
        late: list[Actor] = []
        for actor in reversed(list(self.registry)):
            if trio.current_time() < deadline:
                await self._end(actor, error, deadline)
            else:
                late.append(actor)
        async with trio.open_nursery() as nursery:
            for actor in late:
                nursery.start_soon(self._end, actor, error, trio.current_time() + LAST_CHANCE)
        await self.connections.stop()
        self._state = "stopped"

    async def _stop_tasks(self, deadline: float) -> None:
        tasks = [actor for actor in self.registry if isinstance(actor.object, QMI_TaskRunner)]
        for actor in reversed(tasks):
            actor.object.stop()
        for actor in reversed(tasks):
            ended = actor.object._thread.ended
            with trio.move_on_at(deadline):
                await ended.ended()
            if not ended.done():
                where = actor.object._where_now()
                _logger.error("Task %s ignores the request to stop and is left behind, at %s", actor.address, where)
                self.registry.remove(actor)

    async def _end(self, actor: Actor, error: BaseException, deadline: float) -> None:
        if self.registry.remove(actor):
            self.exchange.drop_object(actor.address.object)
            await end_actor(actor, error, deadline)

    async def _run_stop_handlers(self) -> None:
        while self._stop_handlers:
            handler = self._stop_handlers.pop()
            try:
                await trio.to_thread.run_sync(self._in_context, handler, abandon_on_cancel=True)
            except Exception:  # a handler that fails must not keep the rest from stopping
                _logger.exception("Stop handler %r of context %s failed", handler, self.name)

    def run_stop_handlers(self) -> None:
        """Run the stop handlers here and now; what is left of them runs when the context stops."""
        while self._stop_handlers:
            handler = self._stop_handlers.pop()
            try:
                self._in_context(handler)
            except Exception:  # as above
                _logger.exception("Stop handler %r of context %s failed", handler, self.name)

    def _in_context(self, function: Callable[[], object]) -> None:
        token = EXECUTION.set(Execution(self.face))
        try:
            function()
        finally:
            EXECUTION.reset(token)

    def configured(self) -> CfgContext | None:
        """The settings of this context, None if it is not configured."""
        return self.config.contexts.get(self.name)

    def own_config(self) -> CfgContext:
        """The settings of this context; the defaults if it is not configured."""
        return self.configured() or CfgContext()

    def check_running(self) -> None:
        """Raise if the context does not run.

        Raises:
            QMI_ContextStoppedException: If it has stopped, or is stopping.
            QMI_UsageException: If it was never started.
        """
        if self._state == "running":
            return
        if self._why_not is not None:
            raise self._why_not()
        if self._state in ("not started", "starting"):
            raise QMI_UsageException(f"Context {self.name!r} is not started")
        raise QMI_ContextStoppedException(f"Context {self.name!r} has stopped")

    def disown(self, why: Callable[[], Exception]) -> None:
        """From now on every use raises what the function returns: this process only inherited the context."""
        self._state = "disowned"
        self._why_not = why

    # What actors need (Host) and proxies need (Router)

    def spawn(self, function: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> bool:
        """Start a task in the context's nursery; False if that takes no more. On the loop only."""
        try:
            assert self._nursery is not None
            self._nursery.start_soon(function, *args)
        except RuntimeError:  # the nursery is closed
            return False
        return True

    def start_worker(self, worker: Worker) -> None:
        """Give a worker its thread. From any thread."""
        self.loop.now_or_soon(self.spawn, worker.run)

    def find_actor(self, address: Address) -> Actor | None:
        """The object if it lives here, None if it lives in another context."""
        if address.context != self.name:
            self.check_running()
            return None
        actor = self.registry.get(address.object)
        if actor is not None:
            return actor
        if self._state != "stopping":
            self.check_running()
        raise self.registry.gone(address)

    def request(self, address: Address, message: Request) -> QMI_RpcFuture[Any]:
        """Send a message to an object, wherever it lives. Never blocks; every error comes with the future."""
        try:
            actor = self.find_actor(address)
            if actor is not None:
                return actor.handle(message, self.origin)
            link = self._link_to(address.context)
        except Exception as error:  # goes to the caller
            return failed_future(str(address), error)
        method = f".{message.method}()" if isinstance(message, Call) else ""
        return ask(link, f"{address}{method}", message)

    def _link_to(self, name: str) -> Link:
        link = self.connections.link_to(name)
        if link is None:
            raise QMI_NotDeliveredException(
                f"There is no connection to context {name!r}; connect_to_peer({name!r}) makes one"
            )
        return link

    # What links need (Home)

    def request_here(self, message: Request, origin: Origin, link: Link) -> QMI_RpcFuture[Any]:
        """Hand a message of another context to an object of this one."""
        actor = self.registry.get(message.object)
        if actor is None:
            return failed_future(message.object, self.registry.unknown(message.object))
        if not isinstance(message, Subscribe | Unsubscribe):
            return actor.handle(message, origin)
        future: QMI_RpcFuture[None] = QMI_RpcFuture(f"the subscription to {message.object}.{message.signal}")
        peer = PeerSubscriber(origin, link.send_signal)
        try:
            if isinstance(message, Subscribe):
                self._check_signal(actor, message.signal)
                self.exchange.subscribe_peer(message.object, message.signal, peer)
            else:
                self.exchange.unsubscribe_peer(message.object, message.signal, peer)
        except QMI_SignalSubscriptionException as error:
            future.fail(error)
        else:
            future.settle(None)
        return future

    def signal_here(self, signal: Signal, publisher_context: str) -> None:
        """Hand a signal of another context to those who subscribed."""
        self.exchange.arrived(signal, publisher_context)

    def peer_connected(self, origin: Origin, link: Link, restarted: bool | None) -> None:
        """There is a link to a context; if it is not the first one, subscriptions are made again."""
        if restarted is None:
            return
        for topic in self.exchange.topics_of(origin.context):
            self.exchange.mark_gap(topic, "restarted" if restarted else "resumed")
            again = ask(link, f"the subscription to {topic.object}.{topic.signal}", Subscribe(*topic[1:]))
            again.add_done_callback(partial(_log_failure, again))

    def peer_gone(self, origin: Origin, reason: str, for_good: bool) -> None:
        """A context is gone, with all that it held."""
        for actor in self.registry:
            actor.guard.leave(origin)
        self.exchange.drop_peer(origin)
        if for_good:
            self.exchange.drop_context(origin.context)

    # Signals

    def _check_signal(self, actor: Actor, signal: str) -> None:
        names = [info.name for info in actor.interface.signals]
        if signal not in names:
            near = difflib.get_close_matches(signal, names, n=1)
            hint = f". Did you mean {near[0]!r}?" if near else ""
            raise QMI_SignalSubscriptionException(f"{actor.address} has no signal {signal!r}{hint}")

    def subscribe(self, address: Address, signal: str, receiver: QMI_SignalReceiver) -> QMI_RpcFuture[None]:
        """Have each signal of an object put into a receiver. Never blocks; every error comes with the future."""
        topic = Topic(*address, signal)
        done: QMI_RpcFuture[None] = QMI_RpcFuture(f"the subscription to {address}.{signal}")
        try:
            actor = self.find_actor(address)
            if actor is not None:
                self._check_signal(actor, signal)
            first = self.exchange.subscribe(topic, receiver)
            if actor is not None or not first:
                done.settle(None)
                return done
            done = ask(self._link_to(address.context), done.what, Subscribe(address.object, signal))
        except QMI_SignalSubscriptionException as error:
            done.fail(error)
            return done
        except Exception as error:  # goes to the caller
            done.fail(QMI_SignalSubscriptionException(f"Cannot subscribe to {address}.{signal}: {error}"))
        done.add_done_callback(lambda: done.error() and self.exchange.unsubscribe(topic, receiver))
        return done

    def unsubscribe(self, address: Address, signal: str, receiver: QMI_SignalReceiver) -> QMI_RpcFuture[None]:
        """End a subscription. Never blocks; every error comes with the future."""
        last = self.exchange.unsubscribe(Topic(*address, signal), receiver)
        done: QMI_RpcFuture[None] = QMI_RpcFuture(f"the end of the subscription to {address}.{signal}")
        if last is None:
            done.fail(QMI_SignalSubscriptionException(f"The receiver is not subscribed to {address}.{signal}"))
            return done
        link = self.connections.link_to(address.context)
        if last and link is not None:
            return ask(link, done.what, Unsubscribe(address.object, signal))
        done.settle(None)
        return done

    def publish_signal(self, publisher_name: str, signal_name: str, *args: Any) -> None:
        """Publish a signal on behalf of an object of this context; never waits for those who listen.

        Raises:
            QMI_UnknownNameException: If there is no such object.
            QMI_SignalSubscriptionException: If it declares no such signal.
            QMI_UsageException: If the arguments are not those that were declared.
        """
        self.check_running()
        actor = self.registry.get(publisher_name)
        if actor is None:
            raise self.registry.unknown(publisher_name)
        self._check_signal(actor, signal_name)
        owners = (type(actor.object), type(getattr(actor.object, "task", None)))
        signals = [getattr(owner, signal_name) for owner in owners if hasattr(owner, signal_name)]
        signals[0].check(publisher_name, args)
        self.exchange.publish(publisher_name, signal_name, args)

    # Objects

    def make(
        self, name: str, cls: type[QMI_RpcObject], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> QMI_RpcFuture[Actor]:
        """Begin to make an object; the future gives its actor, or the error of its constructor.

        Raises:
            QMI_Exception: If it cannot even begin: bad name, name taken, no such class, context stopped.
        """
        self.check_running()
        check_name(name, "object")
        check_class(cls, QMI_RpcObject, "An object")
        return self._make(name, cls, args, kwargs)

    def make_task_actor(
        self,
        name: str,
        task_class: type[Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        task_runner: type[QMI_TaskRunner],
    ) -> QMI_RpcFuture[Actor]:
        """Begin to make a task; the future gives the actor of its runner.

        Raises:
            QMI_Exception: If it cannot even begin.
        """
        self.check_running()
        check_name(name, "task")
        if not (isinstance(task_class, type) and issubclass(task_class, QMI_Task)):
            raise QMI_UsageException(f"A task is made from a class derived from QMI_Task; got {task_class!r}")
        check_class(task_runner, QMI_TaskRunner, "The runner of a task")
        return self._make(name, task_runner, (task_class, args, kwargs), {}, task_interface(task_runner, task_class))

    def _make(
        self,
        name: str,
        cls: type[QMI_RpcObject],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        interface: Interface | None = None,
    ) -> QMI_RpcFuture[Actor]:
        interface = interface_of(cls) if interface is None else interface
        self.registry.reserve(name)
        actor = Actor(self, Address(self.name, name), interface, placement_for(cls))
        future = actor.construct(partial(cls, self.face, name, *args, **kwargs))
        future.add_done_callback(partial(self._made, actor, future))
        return future

    def _made(self, actor: Actor, future: QMI_RpcFuture[Actor]) -> None:
        if future.error() is None:
            self.registry.add(actor)
        else:
            self.registry.free(actor.address.object)

    def resolve(self, name: str) -> Address:
        """The address that somebody typed; a lone name is one of this context."""
        self.check_running()
        return parse_address(name, self.name)

    def interface_at(self, address: Address) -> QMI_RpcFuture[Interface]:
        """The interface of an object, wherever it lives."""
        future: QMI_RpcFuture[Interface] = QMI_RpcFuture(f"the interface of {address}")
        if address.context != self.name:
            return self.request(address, Describe(address.object))
        if (actor := self.registry.get(address.object)) is not None:
            future.settle(actor.interface)
        else:
            future.fail(self.registry.unknown(address.object))
        return future

    def begin_remove(self, address: Address) -> QMI_RpcFuture[bool]:
        """Begin to remove an object; the future gives whether it went in order.

        Raises:
            QMI_Exception: If there is no such object here, or if it would wait for itself.
        """
        self.check_running()
        if address.context != self.name:
            raise QMI_UsageException(f"{address} belongs to another context; only that one can remove it")
        if address.object == CONTEXT_OBJECT_NAME:
            raise QMI_UsageException("The context object goes with its context")
        if str(address) in current_chain():
            raise QMI_UsageException(f"{address} cannot be removed by its own method, or by what that waits for")
        actor = self.registry.get(address.object)
        if actor is None:
            raise self.registry.gone(address)
        future: QMI_RpcFuture[bool] = QMI_RpcFuture(f"the removal of {address}")
        if not self.loop.now_or_soon(self.spawn, self._remove, actor, future):
            self.check_running()
        return future

    async def _remove(self, actor: Actor, future: QMI_RpcFuture[bool]) -> None:
        if not self.registry.remove(actor):
            future.fail(self.registry.gone(actor.address))
            return
        self.exchange.drop_object(actor.address.object)
        error = QMI_ObjectRemovedException(f"{actor.address} was removed from its context")
        deadline = trio.current_time() + self.own_config().stop_grace
        future.settle(await end_actor(actor, error, deadline))

    def objects(self, category: str | None = None) -> list[tuple[Address, Interface]]:
        """The objects of this context, oldest first, without the context object."""
        found = [(actor.address, actor.interface) for actor in self.registry]
        return [
            (address, interface)
            for address, interface in found
            if (category is None and address.object != CONTEXT_OBJECT_NAME) or interface.category == category
        ]

    # Stopping

    def register_stop_handler(self, handler: Callable[[], object]) -> None:
        """Have a function called when the context stops, before anything else goes; the last one is called first."""
        self.check_running()
        if not callable(handler):
            raise QMI_UsageException(f"A stop handler is a function without arguments; got {handler!r}")
        self._stop_handlers.append(handler)

    def request_shutdown(self) -> None:
        """Ask whoever runs this program to end it; they see it by :meth:`shutdown_requested`."""
        self.shutdown.settle(None)

    def shutdown_requested(self) -> bool:
        """Whether somebody asked this program to end."""
        return self.shutdown.done()

    async def wait_until_shutdown(self, seconds: float | None = None) -> bool:
        """Wait until somebody asks this program to end.

        Args:
            seconds: How long to wait at most; None waits for ever.

        Returns:
            Whether somebody did.
        """
        with trio.move_on_after(float("inf") if seconds is None else seconds):
            await self.shutdown.ended()
        return self.shutdown.done()

    # For trio programs

    async def make_rpc_object(self, name: str, cls: type[T], *args: Any, **kwargs: Any) -> AsyncProxy[T]:
        """Make an object and return an async proxy of it.

        Args:
            name: Its name in this context.
            cls: Its class.
            args: Further arguments of its constructor.
            kwargs: Further keyword arguments of its constructor.

        Raises:
            QMI_UsageException: If the name or the class will not do.
            QMI_DuplicateNameException: If the name is taken.
            Exception: Whatever the constructor raises; then the name is free again.
        """
        return self._async_proxy(await call_async(self.make(name, cls, args, kwargs)))

    async def make_instrument(self, name: str, cls: type[T], *args: Any, **kwargs: Any) -> AsyncProxy[T]:
        """Make an instrument; see :meth:`make_rpc_object`."""
        check_class(cls, QMI_Instrument, "An instrument")
        return await self.make_rpc_object(name, cls, *args, **kwargs)

    async def make_task(
        self,
        name: str,
        task_class: type[Any],
        *args: Any,
        task_runner: type[TR] = QMI_TaskRunner,  # type: ignore[assignment]
        **kwargs: Any,
    ) -> AsyncProxy[TR]:
        """Make a task; see :meth:`.QMI_Context.make_task`."""
        return self._async_proxy(await call_async(self.make_task_actor(name, task_class, args, kwargs, task_runner)))

    async def get_rpc_object(
        self, name: str, auto_connect: bool = False, host_port: str | None = None
    ) -> AsyncProxy[Any]:
        """Return an async proxy of an object that exists.

        Args:
            name: ``"context.object"``, or the object's name alone if it is in this context.
            auto_connect: Whether to connect to the context first if need be.
            host_port: Where to connect to; None looks into the configuration and then on the network.

        Raises:
            QMI_UnknownNameException: If there is no such object.
            QMI_ConnectionException: If its context cannot be reached.
        """
        address = self.resolve(name)
        if auto_connect and address.context != self.name:
            await self.connections.connect(address.context, host_port, ignore_duplicate=True)
        proxy: AsyncProxy[Any] = make_async_proxy(self, address, await call_async(self.interface_at(address)))
        return proxy

    async def get_instrument(
        self, name: str, auto_connect: bool = False, host_port: str | None = None
    ) -> AsyncProxy[Any]:
        """Return an async proxy of an instrument that exists; see :meth:`get_rpc_object`."""
        return await self.get_rpc_object(name, auto_connect, host_port)

    async def get_task(self, name: str, auto_connect: bool = False, host_port: str | None = None) -> AsyncProxy[Any]:
        """Return an async proxy of a task that exists; see :meth:`get_rpc_object`."""
        return await self.get_rpc_object(name, auto_connect, host_port)

    async def subscribe_signal(
        self, publisher_context: str, publisher_name: str, signal_name: str, receiver: QMI_SignalReceiver
    ) -> None:
        """Have each signal of an object put into a receiver; see :meth:`.QMI_Context.subscribe_signal`."""
        address = Address(publisher_context or self.name, publisher_name)
        await call_async(self.subscribe(address, signal_name, check_receiver(receiver)))

    async def unsubscribe_signal(
        self, publisher_context: str, publisher_name: str, signal_name: str, receiver: QMI_SignalReceiver
    ) -> None:
        """End a subscription."""
        address = Address(publisher_context or self.name, publisher_name)
        await call_async(self.unsubscribe(address, signal_name, check_receiver(receiver)))

    async def connect_to_peer(
        self,
        peer_context_name: str,
        peer_address: str | None = None,
        ignore_duplicate: bool = False,
        *,
        reconnect: bool = False,
    ) -> None:
        """Connect to another context; see :meth:`.QMI_Context.connect_to_peer`."""
        self.check_running()
        await self.connections.connect(
            peer_context_name, peer_address, ignore_duplicate=ignore_duplicate, reconnect=reconnect
        )

    async def disconnect_from_peer(self, peer_context_name: str) -> None:
        """End the link to another context; see :meth:`.QMI_Context.disconnect_from_peer`."""
        await self.connections.disconnect(peer_context_name)

    def has_peer_context(self, peer_context_name: str) -> bool:
        """Whether there is a link to a context."""
        return self.connections.link_to(peer_context_name) is not None

    async def discover_peer_contexts(
        self, workgroup_name_filter: str | None = None, context_name_filter: str = "*"
    ) -> list[PeerDescriptor]:
        """Look for contexts on the network; see :meth:`.QMI_Context.discover_peer_contexts`."""
        return await self.connections.discover(workgroup_name_filter, context_name_filter)

    async def list_rpc_objects(self, category: str | None = None) -> list[tuple[str, str]]:
        """The objects that can be reached, as pairs of address and class name.

        Args:
            category: "instrument", "task", ... or None for all.
        """
        self.check_running()
        found = [(str(address), face.class_name) for address, face in self.objects(category)]
        for name in self.connections.names():
            call = Call(CONTEXT_OBJECT_NAME, "get_rpc_object_descriptors")
            with suppress(QMI_Exception):  # it went away meanwhile
                for entry in await call_async(self.request(Address(name, CONTEXT_OBJECT_NAME), call)):
                    if category is None or entry.category == category:
                        found.append((str(entry.address), entry.interface.class_name))
        return found

    def run(self, function: Callable[..., Coroutine[Any, Any, R]], *args: Any) -> QMI_RpcFuture[R]:
        """Run an async function in the context's nursery, for callers of any kind; giving up cancels it."""
        future: QMI_RpcFuture[R] = QMI_RpcFuture(getattr(function, "__name__", "a function"))
        scope = trio.CancelScope()

        async def settle() -> None:
            try:
                with scope:
                    future.settle(await function(*args))
                future.fail(QMI_CancelledCallException(f"{future.what} was cancelled"))
            except trio.Cancelled:
                future.fail(QMI_ContextStoppedException(f"Context {self.name!r} has stopped"))
                raise
            except BaseException as error:  # goes to the caller
                future.fail(error)

        def begin() -> None:
            if not self.spawn(settle):
                future.fail(QMI_ContextStoppedException(f"Context {self.name!r} has stopped"))

        future.on_cancel = lambda: self.loop.now_or_soon(scope.cancel)
        if not self.loop.now_or_soon(begin):
            future.fail(QMI_ContextStoppedException(f"Context {self.name!r} has stopped"))
        return future

    async def remove_rpc_object(self, proxy: AsyncProxy[Any]) -> None:
        """Remove an object of this context; whoever waits for it gets an error."""
        await call_async(self.begin_remove(parse_address(proxy.address)))

    def _async_proxy(self, actor: Actor) -> AsyncProxy[Any]:
        proxy: AsyncProxy[Any] = make_async_proxy(self, actor.address, actor.interface)
        return proxy


Context.__module__ = "qmi.core.context"


def _log_failure(future: QMI_RpcFuture[Any]) -> None:
    if future.error() is not None:
        _logger.warning("%s was not made again: %s", future.what, future.error())

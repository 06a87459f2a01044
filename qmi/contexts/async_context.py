"""The context as trio programs see it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from qmi.actors.actor import Actor
from qmi.actors.call import check_receiver
from qmi.actors.context_object import ConfiguredObject, ObjectListing
from qmi.actors.future import call_async
from qmi.actors.instrument import QMI_Instrument
from qmi.actors.proxy import AsyncProxy, make_async_proxy
from qmi.actors.pubsub.history import Since, wanted_history
from qmi.actors.pubsub.receiver import QMI_SignalReceiver
from qmi.actors.rpc_object import QMI_RpcObject, check_class
from qmi.actors.safe_states import SafeWhen
from qmi.actors.tasks.restart import RestartRule
from qmi.actors.tasks.runner import TR, QMI_TaskRunner
from qmi.contexts.base import ContextBase
from qmi.contexts.reservations import ReleaseRequest
from qmi.errors import QMI_Exception, QMI_MessageDeliveryException, QMI_UnknownRpcException
from qmi.messages import Call
from qmi.names import CONTEXT_OBJECT_NAME, Address, check_name, parse_address
from qmi.net.protocol.bounds import describe_error
from qmi.peers.answer_types import check_listing
from qmi.peers.resolver import PeerDescriptor
from qmi.runtime.wakeup import refuse_outside_trio

if TYPE_CHECKING:
    from qmi.actors.context_status import ContextStatus

_logger = logging.getLogger("qmi.core.context")

T = TypeVar("T", bound=QMI_RpcObject)


class Context(ContextBase):
    """A named home of instruments and tasks, for trio programs.

    Made by :func:`qmi.open_context`. Each method works from any task; cancelling one leaves the context as it was.
    """

    async def make_rpc_object(self, name: str, cls: type[T], /, *args: object, **kwargs: object) -> AsyncProxy[T]:
        """Make an object and return an async proxy of it.

        Args:
            name: Its name in this context.
            cls: Its class.
            args: Further arguments of its constructor.
            kwargs: Further keyword arguments of its constructor. ``replace=True`` is not for the constructor, unless it
                has such a parameter: it removes an object of this name first.

        Raises:
            QMI_UsageException: If the name or the class will not do.
            QMI_DuplicateNameException: If the name is taken.
            Exception: Whatever the constructor raises; then the name is free again.
        """
        _check_task("make_rpc_object")
        future = self.make(name, cls, args, kwargs)
        try:
            return self._async_proxy(await call_async(future))
        except BaseException:
            self.undo_make(future)
            raise

    async def make_instrument(self, name: str, cls: type[T], /, *args: object, **kwargs: object) -> AsyncProxy[T]:
        """Make an instrument; see :meth:`.QMI_Context.make_instrument`."""
        check_class(cls, QMI_Instrument, "An instrument")
        return await self.make_rpc_object(name, cls, *args, **kwargs)

    async def remove_rpc_object(self, proxy: AsyncProxy[Any]) -> None:
        """Remove an object of this context; pending calls to it fail."""
        _check_task("remove_rpc_object")
        await call_async(self.begin_remove(parse_address(proxy.address)))

    def _async_proxy(self, actor: Actor) -> AsyncProxy[Any]:
        proxy: AsyncProxy[Any] = make_async_proxy(self, actor.address, actor.interface)
        return proxy

    async def make_task(
        self,
        name: str,
        task_class: type[object],
        *args: object,
        task_runner: type[TR] = QMI_TaskRunner,  # type: ignore[assignment]
        restart_rule: RestartRule | None = None,
        **kwargs: object,
    ) -> AsyncProxy[TR]:
        """Make a task; see :meth:`.QMI_Context.make_task`."""
        _check_task("make_task")
        return self._async_proxy(
            await call_async(self.make_task_actor(name, task_class, args, kwargs, task_runner, restart_rule))
        )

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
        _check_task("get_rpc_object")
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
        self,
        publisher_context: str,
        publisher_name: str,
        signal_name: str,
        receiver: QMI_SignalReceiver,
        *,
        last: bool = False,
        since: Since = None,
    ) -> None:
        """Have each signal of an object put into a receiver; see :meth:`.QMI_Context.subscribe_signal`."""
        _check_task("subscribe_signal")
        address = Address(publisher_context or self.name, publisher_name)
        history = wanted_history(last, since)
        await call_async(self.subscribe(address, signal_name, check_receiver(receiver), history))

    async def unsubscribe_signal(
        self, publisher_context: str, publisher_name: str, signal_name: str, receiver: QMI_SignalReceiver
    ) -> None:
        """End a subscription."""
        _check_task("unsubscribe_signal")
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
        _check_task("connect_to_peer")
        self.check_running()
        await self.connections.connect(
            peer_context_name, peer_address, ignore_duplicate=ignore_duplicate, reconnect=reconnect
        )

    async def disconnect_from_peer(self, peer_context_name: str) -> None:
        """End the link to another context; see :meth:`.QMI_Context.disconnect_from_peer`."""
        _check_task("disconnect_from_peer")
        await self.connections.disconnect(peer_context_name)

    def has_peer_context(self, peer_context_name: str) -> bool:
        """Whether there is a link to a context."""
        return self.connections.has(peer_context_name)

    async def discover_peer_contexts(
        self, workgroup_name_filter: str | None = None, context_name_filter: str = "*"
    ) -> list[PeerDescriptor]:
        """Look for contexts on the network; see :meth:`.QMI_Context.discover_peer_contexts`."""
        _check_task("discover_peer_contexts")
        return await self.connections.discover(workgroup_name_filter, context_name_filter)

    async def list_rpc_objects(self, category: str | None = None) -> list[tuple[str, str]]:
        """The objects that can be reached, as pairs of address and class name.

        Args:
            category: "instrument", "task", ... or None for all.
        """
        _check_task("list_rpc_objects")
        # One that has failed to come up has no class yet.
        return [(entry.address, entry.class_name) for entry in await self.list_objects(category) if entry.class_name]

    async def list_objects(self, category: str | None = None) -> list[ObjectListing]:
        """The objects that can be reached, with category, class and state of each.

        Args:
            category: "instrument", "task", ... or None for all.
        """
        self.check_running()
        found = self.objects_here(category)
        for name in self.connections.names():
            try:
                found += await self._objects_of(name, category)
            except QMI_MessageDeliveryException:  # it went away meanwhile
                pass
            except (QMI_Exception, TypeError, ValueError, AttributeError) as error:  # what it told makes no sense
                _logger.warning("The objects of context %r cannot be listed: %s", name, describe_error(error))
        return found

    async def _objects_of(self, name: str, category: str | None) -> list[ObjectListing]:
        address = Address(name, CONTEXT_OBJECT_NAME)
        try:
            call = Call(CONTEXT_OBJECT_NAME, "list_objects", (category,))
            told = list(map(_listing, await call_async(self.request(address, call))))
        except QMI_UnknownRpcException:  # an older version, which returns more than is needed
            call = Call(CONTEXT_OBJECT_NAME, "get_rpc_object_descriptors")
            told = [
                _listing((str(entry.address), entry.category, *2 * (entry.interface.class_name,), ""))
                for entry in await call_async(self.request(address, call))
                if category is None or entry.category == category
            ]
        check_listing(told)
        # By the name that the context has here, which may not be its own.
        return [entry._replace(address=f"{name}.{entry.address.rpartition('.')[2]}") for entry in told]

    async def get_status(self, context_name: str | None = None) -> ContextStatus:
        """What a context tells of itself; see :meth:`.QMI_Context.get_status`."""
        _check_task("get_status")
        self.check_running()
        if context_name is None or context_name == self.name:
            return self.status_here()
        address = Address(check_name(context_name, "context"), CONTEXT_OBJECT_NAME)

        from qmi.contexts.asked_status import asked_status  # only who asks needs it

        def ask(method: str) -> Awaitable[object]:
            return call_async(self.request(address, Call(CONTEXT_OBJECT_NAME, method)))

        return await asked_status(address.context, ask)

    async def make_configured(self) -> list[ConfiguredObject]:
        """Make the instruments and tasks of the configuration; see :meth:`.QMI_Context.make_configured`."""
        _check_task("make_configured")
        return await call_async(self.configured_objects.begin())

    def list_configured(self) -> list[ConfiguredObject]:
        """How they are; see :meth:`.QMI_Context.list_configured`."""
        return self.configured_objects.states()

    async def restart_object(self, name: str) -> ConfiguredObject:
        """Make one of them anew; see :meth:`.QMI_Context.restart_object`."""
        _check_task("restart_object")
        return await call_async(self.configured_objects.begin_restart(name, "", patient=False))

    def on_lock_request(self, handler: Callable[[ReleaseRequest], object]) -> None:
        """Have a function called when somebody asks for a lock; see :meth:`.QMI_Context.on_lock_request`."""
        self.reservations.add_handler(handler)

    def keep_safe(
        self, instrument: object, settings: Mapping[str, object] | None = None, *, when: SafeWhen | None = None
    ) -> None:
        """Say what the safe state of an instrument is; see :meth:`.QMI_Context.keep_safe`."""
        self.safe_guards.keep_safe(instrument, settings, when)

    async def wait_until_shutdown(self, seconds: float | None = None) -> bool:
        """Wait until somebody asks this program to end.

        Args:
            seconds: How long to wait at most; None waits for ever.

        Returns:
            Whether somebody did.
        """
        _check_task("wait_until_shutdown")
        with trio.move_on_after(float("inf") if seconds is None else seconds):
            await self.shutdown.ended()
        return self.shutdown.done()

    def publish_signal(self, publisher_name: str, signal_name: str, *args: object) -> None:
        """Publish a signal on behalf of an object of this context; never waits for subscribers.

        Raises:
            QMI_UnknownNameException: If there is no such object.
            QMI_SignalSubscriptionException: If it declares no such signal.
            QMI_UsageException: If the arguments are not those that were declared, and the signal is strict.
        """
        self.signalling.publish(publisher_name, signal_name, *args)


def _check_task(name: str) -> None:
    refuse_outside_trio(f"{name}() of a context of a trio program", f"qmi.context().{name}")


def _listing(told: object) -> ObjectListing:
    """What a peer says of one of its objects.

    Raises:
        TypeError: If it is something else.
    """
    if not isinstance(told, Iterable):
        raise TypeError(f"it tells of an object by {type(told).__name__}")
    entry = ObjectListing(*told)
    if not all(type(text) is str for text in entry):
        raise TypeError(f"it tells of an object by {type(told).__name__} of something else than texts")
    return entry


Context.__module__ = "qmi.core.context"

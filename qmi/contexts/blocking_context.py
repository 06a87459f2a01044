"""The blocking facade of a context."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, TypeVar, overload

import trio

from qmi._version import __version__
from qmi.actors.context_object import ConfiguredObject, ObjectListing, RpcObjectDescriptor
from qmi.actors.future import QMI_RpcFuture, call_blocking
from qmi.actors.instrument import QMI_Instrument
from qmi.actors.proxy import QMI_RpcProxy, make_proxy
from qmi.actors.pubsub.history import Since
from qmi.actors.pubsub.receiver import QMI_SignalReceiver
from qmi.actors.rpc_object import QMI_RpcObject, check_class
from qmi.actors.safe_states import SafeWhen
from qmi.actors.tasks.restart import RestartRule
from qmi.actors.tasks.runner import TR, QMI_TaskRunner
from qmi.actors.tasks.task import QMI_Task
from qmi.config.schema import CfgContext, CfgDiscovery, CfgQmi
from qmi.contexts.async_context import Context
from qmi.contexts.loop_thread import PORTALS
from qmi.contexts.reservations import ReleaseRequest
from qmi.contexts.tables import InfoText, known_contexts, show_objects, show_table
from qmi.errors import QMI_NoActiveContextException, QMI_RpcTimeoutException, QMI_UsageException
from qmi.names import CONTEXT_OBJECT_NAME, Address, parse_address
from qmi.peers.resolver import PeerDescriptor
from qmi.runtime.call_context import EXECUTION, current_chain, current_interrupt
from qmi.runtime.sigint import HANDLER, INTERRUPTS, SIGINT, current_handler
from qmi.runtime.wakeup import on_any_loop, refuse_on_loop

if TYPE_CHECKING:
    from qmi.actors.context_status import ContextStatus
    from qmi.simulation.simulator import Simulator

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=QMI_RpcObject)


class QMI_Context:
    """A named home of instruments and tasks, for blocking programs.

    Every method works from any thread.

    Args:
        name: What others call this program.
        config: The configuration; None takes the defaults.

    Attributes:
        on_stopped: Called when the context has stopped.
    """

    DEFAULT_UDP_RESPONDER_PORT = CfgDiscovery().port
    _core_class: ClassVar[type[Context]] = Context

    def __init__(self, name: str, config: CfgQmi | None = None) -> None:
        if config is not None:
            from qmi.config.loader import completed
            from qmi.config.structure import checked

            config = completed(checked(config), name)
        self._core = self._core_class(name, config)
        self._core.facade = self
        self._ended: QMI_RpcFuture[None] | None = None
        self._stop_event = trio.Event()
        self.on_stopped: Callable[[], object] = _nothing

    def __repr__(self) -> str:
        return f"QMI_context(name={self.name!r})"

    @property
    def async_context(self) -> Context:
        """The same context for code in its event loop."""
        return self._core

    @property
    def name(self) -> str:
        """The name of the context."""
        return self._core.name

    @property
    def workgroup_name(self) -> str:
        """The workgroup; contexts of other workgroups are refused."""
        return self._core.config.workgroup

    # Life

    def start(self) -> None:
        """Start the context, and connect to the peers that its configuration names in ``connect_to_peers``.

        Raises:
            QMI_UsageException: If it was started before.
            QMI_ConnectionException: If one of those peers cannot be reached (and ``allow_missing_peers`` is not set);
                all of them are named, and nothing stays behind.
        """
        refuse_on_loop("QMI_Context.start()", "async with qmi.open_context(...) as context:")
        if self._ended is not None:
            raise QMI_UsageException(f"Context {self.name!r} was started before; make a new one to start again")
        portal = PORTALS.enter(self)
        started: QMI_RpcFuture[None] = QMI_RpcFuture(f"the start of context {self.name!r}")
        self._ended = portal.run(self._live, started)
        self._ended.add_done_callback(lambda: self._fail_start(started))
        try:
            started.wait()
        except BaseException:
            portal.run(self._ask_to_stop)
            self._left()
            raise

    def _fail_start(self, started: QMI_RpcFuture[None]) -> None:
        error = None if self._ended is None else self._ended.error()
        if error is not None:
            started.fail(error)

    async def _live(self, started: QMI_RpcFuture[None]) -> None:
        async with self._core.running():
            started.set_result(None)
            await self._stop_event.wait()

    async def _ask_to_stop(self) -> None:
        self._core.give_up_start()
        self._stop_event.set()

    def _left(self) -> None:
        INTERRUPTS.install()  # Ctrl-C that comes when no context is left is raised when all this is done
        try:
            PORTALS.leave(self)
            # Two threads may stop the context at once; what is called must not see a context that was started since.
            on_stopped, self.on_stopped = self.on_stopped, _nothing
            on_stopped()
        finally:
            INTERRUPTS.uninstall()

    def stop(self) -> None:
        """Stop the context: tasks first, then the objects in reverse order of their making, then the links.

        Raises:
            QMI_NoActiveContextException: If it does not run.
            QMI_UsageException: If called by one of its own objects, which it would have to wait for.
        """
        if on_any_loop():  # nothing that is pending is raised before: the instruments would stay open
            refuse_on_loop("QMI_Context.stop()", "async with qmi.open_context(...) as context:")
        self._core.check_own()
        if self._ended is None or (self._ended.done() and self not in PORTALS.users()):
            raise QMI_NoActiveContextException(f"Context {self.name!r} does not run")
        execution = EXECUTION.get()
        is_own = execution is not None and execution.context is self
        if is_own and (current_chain() or current_interrupt() is not None):
            who = current_chain()[-1] if current_chain() else "A task"
            raise QMI_UsageException(
                f"{who} cannot stop its own context {self.name!r}; ask for its end with "
                "context.make_peer_context_proxy(context.name).shutdown_context()"
            )
        if not self._ended.done():
            self._core.stop_handlers.run()
            self._core.loop.soon(self._stop_event.set)
        try:
            self._ended.wait()
        finally:
            if self._ended.done():  # else Ctrl-C came, and stop() can be called again
                self._left()

    def __enter__(self) -> QMI_Context:
        if self._ended is None:
            self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.is_running:  # else somebody stopped it before
            self.stop()

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._ended is not None and not self._ended.done()

    @property
    def _active(self) -> bool:
        # Tests of drivers look here.
        return self.is_running

    @property
    def _used(self) -> bool:
        # Whether it was started, now or before; likewise.
        return self._ended is not None

    @property
    def _config(self) -> CfgQmi:
        return self._core.config

    # Configuration

    def get_config(self) -> CfgQmi:
        """The configuration."""
        return self._core.config

    def get_context_config(self) -> CfgContext:
        """The settings of this context."""
        return self._core.own_config()

    def get_configured_contexts(self) -> dict[str, CfgContext]:
        """The settings of all configured contexts by name, in the order of the configuration."""
        return OrderedDict(self._core.config.contexts)

    def get_qmi_home_dir(self) -> str:
        """The home directory of the library."""
        from qmi.config.paths import qmi_home_dir

        return qmi_home_dir(self._core.config, self.name)

    def get_log_dir(self) -> str:
        """The directory for log files; date and time in its name are those of the context's start."""
        from qmi.config.paths import log_dir

        return log_dir(self._core.config, self.name, datetime.fromtimestamp(self._core.started, UTC))

    def get_datastore_dir(self) -> str:
        """The directory for measured data."""
        from qmi.config.paths import datastore_dir

        return datastore_dir(self._core.config, self.name)

    def resolve_file_name(self, file_name: str) -> str:
        """Fill in ``${context}``, ``${qmi_home}``, ``${datastore}``, ``${config_dir}``, ``${date}``, ``${datetime}``.

        Environment variables (``$HOME``) and ``~`` at the beginning are filled in as well.

        Raises:
            QMI_UsageException: If there is anything else behind a dollar sign; ``$$`` stands for one.
        """
        from qmi.config.paths import resolve_file_name

        return resolve_file_name(file_name, self._core.config, self.name, datetime.now(UTC))

    resolve_file_names = resolve_file_name

    # Objects

    @overload
    def make_rpc_object(
        self, rpc_object_name: str, rpc_object_class: Callable[..., T], *args: object, replace: bool, **kwargs: object
    ) -> T: ...
    @overload
    def make_rpc_object(
        self,
        rpc_object_name: str,
        rpc_object_class: Callable[Concatenate[QMI_Context, str, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T: ...
    def make_rpc_object(
        self,
        rpc_object_name: str,
        rpc_object_class: Callable[Concatenate[QMI_Context, str, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Make an object in this context and return a proxy of it.

        Args:
            rpc_object_name: Its name.
            rpc_object_class: Its class, derived from :class:`~qmi.core.rpc.QMI_RpcObject`.
            args: Further arguments of its constructor.
            kwargs: Further keyword arguments of its constructor. ``replace=True`` is not for the constructor, unless it
                has such a parameter: it removes an object of this name first.

        Raises:
            QMI_UsageException: If the name or the class will not do.
            QMI_DuplicateNameException: If the name is taken.
            Exception: Whatever the constructor raises; then the name is free again.
        """
        return self._make_object(rpc_object_name, rpc_object_class, args, kwargs)

    def _make_object(
        self, name: str, object_class: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, Any]
    ) -> T:
        refuse_on_loop("make_rpc_object()", "await context.make_rpc_object(...)")
        future = self._core.make(name, object_class, args, kwargs)  # type: ignore[arg-type]
        try:
            actor = call_blocking(future, None)
        except BaseException:
            self._core.undo_make(future)
            raise
        proxy: T = make_proxy(self._core, actor.address, actor.interface)
        return proxy

    @overload
    def make_instrument(
        self, instrument_name: str, instrument_class: Callable[..., T], *args: object, replace: bool, **kwargs: object
    ) -> T: ...
    @overload
    def make_instrument(
        self,
        instrument_name: str,
        instrument_class: Callable[..., T],
        *args: object,
        simulate: bool | type[Simulator],
        replace: bool = False,
        **kwargs: object,
    ) -> T: ...
    @overload
    def make_instrument(
        self,
        instrument_name: str,
        instrument_class: Callable[Concatenate[QMI_Context, str, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T: ...
    def make_instrument(
        self,
        instrument_name: str,
        instrument_class: Callable[Concatenate[QMI_Context, str, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Make an instrument in this context and return a proxy of it.

        Args:
            instrument_name: Its name.
            instrument_class: Its class, derived from :class:`~qmi.core.instrument.QMI_Instrument`.
            args: Further arguments of its constructor.
            kwargs: Further keyword arguments of its constructor. Two are not for the constructor, unless it has such
                parameters: ``replace=True`` removes an object of this name first; ``simulate=True``, or a class derived
                from :class:`~qmi.core.driver.Simulator`, makes an instrument that is simulated, and ``simulate=False``
                one that is not, whatever the configuration says. Where it is simulated, the transport may be left out.

        Raises:
            QMI_UsageException: If the name or the class will not do, or the driver cannot be simulated.
            QMI_DuplicateNameException: If the name is taken.
            Exception: Whatever the constructor raises; then the name is free again.
        """
        self._core.check_running()
        check_class(instrument_class, QMI_Instrument, "An instrument")
        return self._make_object(instrument_name, instrument_class, args, kwargs)

    def make_task(
        self,
        task_name: str,
        task_class: type[QMI_Task[object, object]],
        *args: object,
        task_runner: type[TR] = QMI_TaskRunner,  # type: ignore[assignment]
        restart_rule: RestartRule | None = None,
        **kwargs: object,
    ) -> TR:
        """Make a task in this context and return a proxy of its runner.

        Args:
            task_name: Its name.
            task_class: Its class, derived from :class:`~qmi.core.task.QMI_Task`.
            args: Further arguments of its constructor.
            task_runner: Class of its runner.
            restart_rule: Whether and how it is started again if it fails; None does as its runner says.
            kwargs: Further keyword arguments of its constructor. ``replace=True`` is not for the constructor, unless it
                has such a parameter: it removes an object of this name first.

        Raises:
            QMI_UsageException: If the name or a class will not do.
            QMI_DuplicateNameException: If the name is taken.
            QMI_TaskInitException: If the constructor of the task fails; its error is the cause.
        """
        refuse_on_loop("make_task()", "await context.make_task(...)")
        actor = call_blocking(
            self._core.make_task_actor(task_name, task_class, args, kwargs, task_runner, restart_rule), None
        )
        proxy: TR = make_proxy(self._core, actor.address, actor.interface)
        return proxy

    def on_lock_request(self, handler: Callable[[ReleaseRequest], object]) -> None:
        """Have a function called when somebody asks for a lock that this program holds, or has taken it by force.

        Args:
            handler: Gets a :class:`ReleaseRequest`; it is called in a thread of its own.
        """
        self._core.on_lock_request(handler)

    def keep_safe(
        self, instrument: object, settings: Mapping[str, object] | None = None, *, when: SafeWhen | None = None
    ) -> None:
        """Say what the safe state of an instrument of this context is, and when it is entered.

        It is always entered when the context stops. This replaces what was said before, and the ``SAFE_WHEN`` of the
        driver. Each time is logged, with the reason.

        Args:
            instrument: A proxy of the instrument, or its name.
            settings: What is set, by the names of parameters (``"output"``, ``"channels[1].voltage"``), after the
                ``safe_state()`` of the driver, if it has one.
            when: When it is entered besides.

        Raises:
            QMI_UsageException: If there is no such instrument here, no such setting, or nothing that makes it safe.
        """
        self._core.keep_safe(instrument, settings, when=when)

    # What the configuration lists

    def make_configured(self) -> list[ConfiguredObject]:
        """Make the instruments and tasks that the configuration lists for this context, open and start them.

        One that fails keeps nobody else from coming up. The program ``qmi.tools.serve`` does this.

        Returns:
            How each of them is, in the order of the file, when all were tried once, or after ``ready_timeout``.

        Raises:
            QMI_UsageException: If they were made before.
        """
        return self._run("make_configured()", self._core.make_configured)

    def list_configured(self) -> list[ConfiguredObject]:
        """How the instruments and tasks are that :meth:`make_configured` has made, in the order of the file."""
        return self._core.list_configured()

    def restart_object(self, name: str) -> ConfiguredObject:
        """Remove one of them and make it anew, with the configuration that this program has read.

        Args:
            name: Its name in this context.

        Returns:
            How it is then.

        Raises:
            QMI_UnknownNameException: If the configuration lists none of that name.
            QMI_UsageException: If they were not made.
        """
        return self._run("restart_object()", self._core.restart_object, name)

    # Signals

    def subscribe_signal(
        self,
        publisher_context: str,
        publisher_name: str,
        signal_name: str,
        receiver: QMI_SignalReceiver,
        *,
        last: bool = False,
        since: Since = None,
    ) -> None:
        """Have each signal of an object put into a receiver. Subscribing twice is like subscribing once.

        Args:
            publisher_context: Name of the object's context; empty for this one.
            publisher_name: Name of the object.
            signal_name: Name of the signal.
            receiver: Where it is put.
            last: Whether the last value comes first, which a site has kept.
            since: From when on: what was published since then comes first, as far as a site has kept it. A datetime
                with a timezone, or how long ago: a timedelta, or seconds.

        Raises:
            QMI_SignalSubscriptionException: If there is no such signal, or what was published before cannot be had.
        """
        subscribe = partial(self._core.subscribe_signal, last=last, since=since)
        self._run("subscribe_signal()", subscribe, publisher_context, publisher_name, signal_name, receiver)

    def unsubscribe_signal(
        self, publisher_context: str, publisher_name: str, signal_name: str, receiver: QMI_SignalReceiver
    ) -> None:
        """End a subscription; what is in the receiver stays there. Harmless if there is none."""
        self._run(
            "unsubscribe_signal()",
            self._core.unsubscribe_signal,
            publisher_context,
            publisher_name,
            signal_name,
            receiver,
        )

    def publish_signal(self, publisher_name: str, signal_name: str, *args: object) -> None:
        """Publish a signal on behalf of an object of this context; never waits for subscribers.

        Raises:
            QMI_UnknownNameException: If there is no such object.
            QMI_SignalSubscriptionException: If it declares no such signal.
            QMI_UsageException: If the arguments are not those that were declared, and the signal is strict.
        """
        self._core.publish_signal(publisher_name, signal_name, *args)

    def get_rpc_object(self, rpc_object_name: str, auto_connect: bool = False, host_port: str | None = None) -> Any:
        """Return a proxy of an object that exists.

        Args:
            rpc_object_name: ``"context.object"``, or the object's name alone if it is in this context.
            auto_connect: Whether to connect to the context first if need be.
            host_port: Where to connect to; None looks into the configuration and then on the network.

        Raises:
            QMI_UnknownNameException: If there is no such object; that is a ``ValueError`` too.
            QMI_ConnectionException: If its context cannot be reached.
        """
        if INTERRUPTS.pending or current_handler(SIGINT) is not HANDLER:
            INTERRUPTS.look()
        address = self._core.resolve(rpc_object_name)
        is_there = host_port is None and self.has_peer_context(address.context)
        if auto_connect and address.context != self.name and not is_there:
            self.connect_to_peer(address.context, host_port, ignore_duplicate=True)
        future = self._core.interface_at(address)
        if not future.done():
            refuse_on_loop("get_rpc_object()", "await context.get_rpc_object(...)")
        return make_proxy(self._core, address, call_blocking(future, None))

    get_rpc_object_by_name = get_rpc_object

    def get_instrument(self, instrument_name: str, auto_connect: bool = False, host_port: str | None = None) -> Any:
        """Return a proxy of an instrument that exists; see :meth:`get_rpc_object`."""
        return self.get_rpc_object(instrument_name, auto_connect, host_port)

    def get_task(self, task_name: str, auto_connect: bool = False, host_port: str | None = None) -> Any:
        """Return a proxy of the runner of a task that exists; see :meth:`get_rpc_object`."""
        return self.get_rpc_object(task_name, auto_connect, host_port)

    def make_proxy(self, rpc_object_descriptor: RpcObjectDescriptor) -> Any:
        """Return a proxy of an object that a context has told about; see :meth:`get_rpc_object`."""
        return self.get_rpc_object(str(rpc_object_descriptor.address))

    def remove_rpc_object(self, proxy: object) -> None:
        """Remove an object of this context. Pending calls to it fail.

        Raises:
            QMI_ObjectRemovedException: If it was removed before.
            QMI_UsageException: If it belongs to another context, or is removed by its own method.
        """
        refuse_on_loop("remove_rpc_object()", "await context.remove_rpc_object(...)")
        if not isinstance(proxy, QMI_RpcProxy):
            raise QMI_UsageException(f"remove_rpc_object() takes a proxy; got {proxy!r}")
        call_blocking(self._core.begin_remove(parse_address(proxy.address)), None)

    def make_peer_context_proxy(self, context_name: str) -> Any:
        """Return a proxy of a context itself: its version, process, objects, and how to shut it down."""
        return self.get_rpc_object(f"{context_name}.{CONTEXT_OBJECT_NAME}")

    def get_rpc_object_descriptors(self) -> list[RpcObjectDescriptor]:
        """What this context says about its objects: address, category and class of each."""
        return self._core.descriptors()

    def get_rpc_object_descriptor(self, rpc_object_name: str) -> RpcObjectDescriptor | None:
        """What this context says about one of its objects, with all that it offers; None if there is none."""
        return self._core.descriptor(rpc_object_name)

    def list_rpc_objects(self, category: str | None = None) -> list[tuple[str, str]]:
        """The objects that can be reached, as pairs of address and class name.

        Args:
            category: "instrument", "task", ... or None for all.
        """
        return self._run("list_rpc_objects()", self._core.list_rpc_objects, category)

    def _listed(self, category: str | None) -> list[ObjectListing]:
        return self._run("list_rpc_objects()", self._core.list_objects, category)

    def show_rpc_objects(self, category: str | None = None) -> None:
        """Print the objects that can be reached.

        Args:
            category: "instrument", "task", ... or None for all.
        """
        listed = self._listed(category)
        if any(entry.state for entry in listed if entry.category != "task"):  # something has failed
            rows = [(entry.address, entry.shown_class, entry.state or "-") for entry in listed]
            show_objects(self._core, ("address", "type", "state"), rows)
        else:
            show_objects(self._core, ("address", "type"), [(entry.address, entry.shown_class) for entry in listed])

    def show_instruments(self) -> None:
        """Print the instruments that can be reached."""
        self.show_rpc_objects("instrument")

    def show_tasks(self) -> None:
        """Print the tasks that can be reached, with the class of each and its state."""
        rows = [(entry.address, entry.shown_class, entry.state or "-") for entry in self._listed("task")]
        show_objects(self._core, ("address", "type", "state"), rows)

    def show_contexts(self) -> None:
        """Print the contexts that this program knows: itself, the configured ones, and those it is connected to."""
        show_table(("name", "address", "connected"), known_contexts(self._core))

    def show_network_contexts(self) -> None:
        """Print the contexts that answer on the network or are connected, and whether they are connected."""
        found = self.discover_peer_contexts()
        rows = [(name, address, "yes" if self.has_peer_context(name) else "no") for name, address in found]
        # Where no broadcast gets through, those that are connected do not answer, and are there all the same.
        rows += [(name, address, "yes") for name, address in self._core.connections.not_among(found)]
        show_table(("name", "address", "connected"), sorted(rows))

    def get_status(self, context_name: str | None = None, timeout: float | None = None) -> ContextStatus:
        """What a context tells of itself: its objects, with locks, calls and errors, its tasks, links and counters.

        It takes no object's turn and runs none of its methods, so that one that is stuck is told like any other.

        Args:
            context_name: A context that is connected; None is this one.
            timeout: How long to wait for another one at most, in seconds; None waits as long as there is a link.

        Raises:
            QMI_NotDeliveredException: If it is not connected.
            QMI_RpcTimeoutException: If it does not answer in time.
        """
        refuse_on_loop("get_status()", "await context.get_status(...)")
        self._core.check_running()
        return call_blocking(self._core.run(self._core.get_status, context_name), timeout)

    # Other contexts

    def _run(self, what: str, function: Callable[..., Coroutine[object, object, R]], *args: object) -> R:
        refuse_on_loop(what, f"await context.{what}")
        self._core.check_running()
        return call_blocking(self._core.run(function, *args), None)

    def connect_to_peer(
        self,
        peer_context_name: str,
        peer_address: str | None = None,
        ignore_duplicate: bool = False,
        *,
        reconnect: bool = False,
    ) -> None:
        """Connect to another context, so that its objects can be used and ours can be used by it.

        Args:
            peer_context_name: Its name.
            peer_address: ``"host:port"``; None looks into the configuration and then on the network.
            ignore_duplicate: Whether it is fine to be connected already.
            reconnect: Whether to connect again when the link is lost.

        Raises:
            QMI_UsageException: If it is connected already, or is this context.
            QMI_ConnectionException: If it cannot be reached, or refuses; that is a ``ConnectionError`` too.
        """
        connect = partial(self._core.connect_to_peer, reconnect=reconnect)
        self._run("connect_to_peer(...)", connect, peer_context_name, peer_address, ignore_duplicate)

    def disconnect_from_peer(self, peer_context_name: str) -> None:
        """End the link to another context.

        Raises:
            QMI_UsageException: If there is none.
        """
        self._run("disconnect_from_peer(...)", self._core.disconnect_from_peer, peer_context_name)

    def has_peer_context(self, peer_context_name: str) -> bool:
        """Whether there is a link to a context."""
        return self._core.has_peer_context(peer_context_name)

    def network_failures(self) -> dict[str, int]:
        """How often something of the network has failed since the start, by what failed and why.

        Returns:
            A number for each cause that occurred, such as ``"link: no sign of life"``, ``"link: protocol error"``,
            ``"connection: came to nothing"`` or ``"listener: fault of this program"``.
        """
        return self._core.network_failures()

    def discover_peer_contexts(
        self, workgroup_name_filter: str | None = None, context_name_filter: str = "*"
    ) -> list[PeerDescriptor]:
        """Look for contexts on the network, for as long as the configuration says (half a second).

        Args:
            workgroup_name_filter: Their workgroup; None is that of this context.
            context_name_filter: Which names are wanted, with ``*``, ``?`` and ``[...]`` as in file names.

        Returns:
            Name and ``"host:port"`` of each, without this context.
        """
        return self._run(
            "discover_peer_contexts()",
            self._core.discover_peer_contexts,
            workgroup_name_filter,
            context_name_filter,
        )

    def get_tcp_server_port(self) -> int:
        """The TCP port that this context listens on; 0 if it does not."""
        return self._core.connections.port

    @property
    def suppress_version_mismatch_warnings(self) -> bool:
        """Whether nothing is said about peers that run another version of the library."""
        return self._core.suppress_version_mismatch_warnings

    @suppress_version_mismatch_warnings.setter
    def suppress_version_mismatch_warnings(self, value: bool) -> None:
        self._core.suppress_version_mismatch_warnings = value

    # Unique names

    def make_unique_name(self, prefix: str = "object_") -> str:
        """Return a name that no object of this context has."""
        return self._core.registry.unique_name(prefix)

    def make_unique_address(self, prefix: str = "object_") -> Address:
        """Return an address that no object of this context has."""
        return Address(self.name, self.make_unique_name(prefix))

    def make_unique_token(self, prefix: str = "$lock_") -> str:
        """Return a text for a lock token that nobody has used."""
        return self._core.registry.unique_name(prefix)

    # Stopping

    def shutdown_requested(self) -> bool:
        """Whether somebody asked this program to end."""
        return self._core.shutdown_requested()

    def wait_until_shutdown(self, duration: float | None = None) -> bool:
        """Wait until somebody asks this program to end.

        Args:
            duration: How long to wait at most, in seconds; None waits for ever.

        Returns:
            Whether somebody did.
        """
        try:
            self._core.shutdown.wait(duration)
        except QMI_RpcTimeoutException:
            return False
        return True

    def register_stop_handler(self, handler: Callable[[], object]) -> None:
        """Have a function called when the context stops, before anything else goes; the last one is called first."""
        self._core.register_stop_handler(handler)

    def get_version(self) -> str:
        """The version of the library."""
        return __version__

    def info(self) -> InfoText:
        """What there is to say about this context, on several lines."""
        rows = [
            ("context", repr(self.name)),
            ("workgroup", self.workgroup_name),
            ("version", __version__),
            ("pid", str(os.getpid())),
            ("configuration", self._core.config.config_file or "(none)"),
            ("home directory", self.get_qmi_home_dir()),
            ("objects", str(len(self._core.objects()))),
        ]
        return InfoText("\n".join(f"{key + ':':16}{value}" for key, value in rows))


QMI_Context.__module__ = "qmi.core.context"
QMI_Context.PeerDescriptor = PeerDescriptor  # type: ignore[attr-defined]


def _nothing() -> None:
    pass

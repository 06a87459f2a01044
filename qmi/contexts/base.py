"""What a context is made of: a nursery that owns its actors, and the way of a message to one of them."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, cast

import trio
from tricycle import open_service_nursery

from qmi._version import __version__
from qmi.actors.actor import Actor
from qmi.actors.clock.monotonic import Clock, MonotonicClock
from qmi.actors.context_object import ContextObject, ObjectListing, RpcObjectDescriptor
from qmi.actors.future import PendingCall, QMI_RpcFuture, call_async, failed_future
from qmi.actors.interface import Interface, Placement
from qmi.actors.lock_manager import AcquireTurn
from qmi.actors.polling import Poller
from qmi.actors.presentation import shown_class
from qmi.actors.pubsub.broker import Broker
from qmi.actors.pubsub.history import History
from qmi.actors.pubsub.receiver import QMI_SignalReceiver
from qmi.actors.registry import Registry
from qmi.actors.rpc_object import QMI_RpcObject, check_class, interface_of, make_object, placement_for, take_replace
from qmi.actors.safe_states import Reason
from qmi.actors.tasks.restart import RestartRule
from qmi.actors.tasks.runner import QMI_TaskRunner, RunnerContext, make_runner, task_interface
from qmi.actors.tasks.task import QMI_Task
from qmi.actors.worker import Worker
from qmi.config.schema import CfgContext, CfgQmi
from qmi.contexts.at_site import AtSite
from qmi.contexts.configured import ConfiguredObjects
from qmi.contexts.internal import InternalObjects
from qmi.contexts.loop_thread import RUNNING
from qmi.contexts.reservations import Reservations
from qmi.contexts.rights import RemoteRights
from qmi.contexts.safe_guard import SafeGuards
from qmi.contexts.simulating import class_to_make, tell_if_simulated
from qmi.contexts.stop_handlers import StopHandlers
from qmi.contexts.to_come import ObjectsToCome
from qmi.errors import (
    QMI_CancelledCallException,
    QMI_ContextStoppedException,
    QMI_Exception,
    QMI_NotDeliveredException,
    QMI_NotStartedException,
    QMI_ObjectRemovedException,
    QMI_UsageException,
)
from qmi.messages import Call, Describe, ForceRelease, Origin, Request, Signal, Subscribe, Token, Unsubscribe
from qmi.names import CONTEXT_OBJECT_NAME, INTERNAL_PACKAGES, Address, check_name, parse_address
from qmi.net.io.fan_out import Publication
from qmi.peers.connections import Connections
from qmi.peers.constants import check_constants
from qmi.peers.pending_releases import PendingReleases
from qmi.peers.rpc_client import ask, ask_and_await
from qmi.peers.subscriptions import Signalling
from qmi.runtime.call_context import Facade, current_chain
from qmi.runtime.random_bytes import random_bytes
from qmi.runtime.sigint import INTERRUPTS, mute_closed_outputs
from qmi.runtime.wakeup import Loop
from qmi.runtime.watchdog import watched

if TYPE_CHECKING:
    from qmi.actors.context_status import ContextStatus, PagesStatus
    from qmi.net.io.link import Link

_logger = logging.getLogger("qmi.core.context")

R = TypeVar("R")
TR = TypeVar("TR", bound=QMI_TaskRunner)
T = TypeVar("T", bound=QMI_RpcObject)

LAST_CHANCE = 1.0
"""How long those objects have together, in seconds, that are still there when the time to stop is over."""


class ContextFacade(Facade, RunnerContext, Protocol):
    """The same context for blocking code, as this module and what it owns see it."""


class ContextBase:
    """A context without a facade: its life, its actors, its links. Safe for threads where nothing else is said.

    Args:
        name: What others call this program.
        config: The configuration; None takes the defaults.

    Attributes:
        name: The name.
        config: The configuration.
        facade: The same context for blocking code.
        loop: The event loop that it runs in.
        origin: How others know where a message came from.
        pages: How the pages are served that the program has served; None if there are none. Set from any thread.
    """

    def __init__(self, name: str, config: CfgQmi | None = None) -> None:
        self.name: str = check_name(name, "context")
        self.config: CfgQmi = CfgQmi() if config is None else config
        self.facade: ContextFacade = self
        self.loop: Loop
        self.origin: Origin = Origin(name, random_bytes(8).hex())
        self.registry: Registry = Registry(name)
        self.started: float = time.time()
        self.shutdown: QMI_RpcFuture[None] = QMI_RpcFuture(f"the shutdown of context {name!r}")
        self._start_scope = trio.CancelScope()
        self._stopping_since: float = 0.0
        self.stop_handlers: StopHandlers = StopHandlers(self)
        self._nursery: trio.Nursery | None = None
        self._state = "not started"
        self._why_not: Callable[[], Exception] | None = None
        self._mutex = threading.Lock()
        self.clock: Clock = MonotonicClock()
        self.connections: Connections = Connections(self)
        self.broker: Broker[Publication] = Broker(name, self.connections.fan_out)
        self._pending_releases = PendingReleases()
        self.signalling: Signalling = Signalling(self, self.broker)
        self.at_site: AtSite = AtSite(self)
        self.configured_objects: ConfiguredObjects = ConfiguredObjects(self)
        self.internal_objects: InternalObjects = InternalObjects(self)
        self._to_come = ObjectsToCome(self.internal_objects, self.configured_objects)
        self.safe_guards: SafeGuards = SafeGuards(self)
        self.rights: RemoteRights = RemoteRights(self)
        self.reservations: Reservations = Reservations(self)
        self.tell_former_holder: Callable[[str, Origin, str, str], None] = self.reservations.tell_former
        self._why_safe = Reason("its context stops", logging.INFO)
        self.suppress_version_mismatch_warnings: bool = False
        self.pages: PagesStatus | None = None

    def __repr__(self) -> str:
        return f"QMI_context(name={self.name!r})"

    @property
    def async_context(self) -> Self:
        """The context as trio programs see it: without another facade, it is its own."""
        return self

    # Life

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Start the context, and stop it at the end of the block, whatever ends it.

        The order of the end is always the same: the block, with its ``finally`` clauses; tasks, with what they do at
        their end; other objects; links. What cancels the block must not reach the others before: a *service* nursery.
        """
        error: BaseException | None = None
        self.check_can_start()
        RUNNING.add(self)
        async with open_service_nursery() as services:
            services.start_soon(self._serve, ready := trio.Event())
            try:
                with trio.CancelScope(shield=True):
                    await ready.wait()
                await self._start()
                with watched():
                    yield self
            except BaseException as caught:  # raised again below, without the nursery's wrapping
                error = caught
                if not isinstance(caught, trio.Cancelled):
                    self._why_safe = Reason(f"its context stops because of {type(caught).__name__}")
            pressed = await self._stop_in_spite_of_ctrl_c(services)
            error = error or pressed
            if self._nursery is not None:
                self._nursery.cancel_scope.cancel()
            RUNNING.discard(self)  # here, since leaving the nursery raises if this task was cancelled
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

    async def _stop_in_spite_of_ctrl_c(self, services: trio.Nursery) -> BaseException | None:
        # Ctrl-C comes in the main task, shielded or not: another one stops the context. A second one breaks that off.
        stopped, scope = trio.Event(), trio.CancelScope(shield=True)
        services.start_soon(self._stop_and_tell, scope, stopped)
        pressed: BaseException | None = None
        while not stopped.is_set():
            try:
                with trio.CancelScope(shield=True):
                    await stopped.wait()
            except KeyboardInterrupt as caught:
                if pressed is not None:
                    scope.cancel()
                pressed = caught
        return pressed

    async def _stop_and_tell(self, scope: trio.CancelScope, stopped: trio.Event) -> None:
        try:
            with scope:
                await self._stop()
        finally:
            stopped.set()

    async def _serve(self, ready: trio.Event) -> None:
        # All actors and links run in here: in a service nursery each task costs more, and some calls are tasks.
        async with trio.open_nursery() as self._nursery:
            ready.set()
            await trio.sleep_forever()

    async def _start(self) -> None:
        self.loop = Loop()
        self._state = "running"
        _logger.info("Starting context %s (qmi %s, pid %d)", self.name, __version__, os.getpid())
        tell_if_simulated(self.name, self.config, self.own_config())
        if self.config.config_file is not None:
            _logger.info("Configuration read from %s", self.config.config_file)
        if self.config.drivers:
            from qmi.config.paths import Places
            from qmi.drivers.search import add_configured

            add_configured(Places(self.config, self.name).driver_folders())
        await call_async(self._make_plain(CONTEXT_OBJECT_NAME, ContextObject, (self,), {}))
        self.connections.start()
        with self._start_scope:
            await self.at_site.start()
            await self.connections.connect_to_configured()
        if self._start_scope.cancelled_caught:
            raise QMI_ContextStoppedException(f"The start of context {self.name!r} was given up")
        _logger.info("Context %s is ready", self.name)

    def give_up_start(self) -> None:
        """Wait no longer for peers. On the loop."""
        self._start_scope.cancel()

    async def _stop(self) -> None:
        if self._nursery is None:
            return
        self._state = "stopping"
        self._stopping_since = time.time()
        mute_closed_outputs()  # what drivers print at their end must not keep them from their end
        if (by := INTERRUPTS.ended_by) is not None:
            _logger.warning("Context %s is stopped, since the program got %s", self.name, signal.Signals(by).name)
            self._why_safe = Reason(f"the program got {signal.Signals(by).name}")
        self.request_shutdown()
        await self.configured_objects.stop()
        await self.stop_handlers.run_within_grace()
        error = QMI_ContextStoppedException(f"Context {self.name!r} has stopped")
        deadline = trio.current_time() + self.own_config().stop_grace
        await self._stop_tasks(error, deadline)
        self.safe_guards.stop()
        deadline = max(deadline, trio.current_time() + LAST_CHANCE)
        for actor in reversed(list(self.registry)):
            if trio.current_time() < deadline:
                await self._end(actor, error, deadline)
        async with trio.open_nursery() as nursery:
            for actor in self.registry:  # also those whose constructor ended only now
                last = LAST_CHANCE if actor.safe is None else max(LAST_CHANCE, self.own_config().stop_grace)
                nursery.start_soon(self._end, actor, error, trio.current_time() + last)
        await self.at_site.stop()
        await self.connections.stop()
        self.broker.stop()
        self._state = "stopped"

    async def _stop_tasks(self, error: Exception, deadline: float) -> None:
        tasks = [actor for actor in self.registry if isinstance(actor.object, QMI_TaskRunner)]
        for actor in reversed(tasks):
            try:
                deadline = max(deadline, self._deadline_of(actor))
                actor.object.stop()
            except Exception:  # a runner of the user's; it must not keep the rest from stopping
                _logger.exception("stop() of task %s failed", actor.address)
                actor.object.task_executor.request_stop()
        for actor in reversed(tasks):
            ended = actor.object.task_executor.ended
            with trio.move_on_at(deadline):
                await ended.ended()
            if not ended.done():
                where = actor.object.__rpc_where__()
                _logger.error("Task %s ignores the request to stop and is left behind, at %s", actor.address, where)
                actor.object.__rpc_left_behind__(error)

    async def _end(self, actor: Actor, error: Exception, deadline: float) -> None:
        if self.registry.remove(actor):
            self._dropped(actor)
            await actor.end(error, deadline, self._why_safe)

    def _deadline_of(self, actor: Actor) -> float:
        runner, grace = actor.object, self.own_config().stop_grace
        return trio.current_time() + max(grace, runner.time_to_stop if isinstance(runner, QMI_TaskRunner) else 0.0)

    def _dropped(self, actor: Actor) -> None:
        self.broker.drop_object(actor.address.object)
        self.safe_guards.detach(actor)

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
        self.check_own()
        if self._state in ("not started", "starting"):
            raise QMI_NotStartedException(f"Context {self.name!r} is not started")
        raise QMI_ContextStoppedException(f"Context {self.name!r} has stopped")

    def check_own(self) -> None:
        """Raise what was given to :meth:`disown`."""
        if self._why_not is not None:
            raise self._why_not()

    def disown(self, why: Callable[[], Exception]) -> None:
        """From now on every use raises what the function returns: this process only inherited the context."""
        self._state = "disowned"
        self._why_not = why
        self._mutex = threading.Lock()
        for actor in self.registry.everybody():
            actor.abandon(why)
        self.registry = Registry(self.name)  # what is in the old one has no thread in this process

    # What actors need (ActorServices) and proxies need (Router)

    def spawn(self, function: Callable[..., Coroutine[object, object, None]], *args: object) -> bool:
        """Start a task in the context's nursery; False if that takes no more. On the loop only."""
        try:
            assert self._nursery is not None
            self._nursery.start_soon(function, *args)
        except RuntimeError:  # the nursery is closed
            return False
        return True

    def address_of(self, origin: Origin) -> str:
        """Address and process of a context, for messages; empty for this one, and for one without a link."""
        return "" if origin == self.origin else self.connections.whereabouts(origin)

    def start_worker(self, worker: Worker) -> None:
        """Give a worker its thread. From any thread."""

        def on_loop() -> None:
            if not self.spawn(worker.run):
                worker.lose()

        if not self.loop.now_or_soon(on_loop):
            worker.lose()

    def find_actor(self, address: Address) -> Actor | None:
        """The object if it lives here, None if it lives in another context."""
        actor = self.registry.get(address.object) if address.context == self.name else None
        if actor is not None:
            return actor
        self._check_not_ended()
        if address.context == self.name:
            raise self.registry.gone(address)
        return None

    def _check_not_ended(self) -> None:
        if self._state not in ("running", "stopping"):  # until the end of it, those that still run may clean up
            self.check_running()

    def request(self, address: Address, message: Request) -> QMI_RpcFuture[Any]:
        """Send a message to an object, wherever it lives. Every error comes with the future."""
        try:
            actor = self.find_actor(address)
        except Exception as error:  # goes to the caller
            return failed_future(str(address), error)
        return self.request_elsewhere(address, message) if actor is None else actor.handle(message, self.origin)

    def request_elsewhere(
        self,
        address: Address,
        message: Request,
        *,
        soon: bool = False,
        patience: float | None = 0.0,
        shared: bool = True,
    ) -> QMI_RpcFuture[Any]:
        """Send a message to an object of another context. Every error comes with the future."""
        link = self.connections.link_to(address.context)
        if link is None:
            try:
                self.find_actor(address)  # raises if this context has stopped
                link = self.link_to(address.context)
            except QMI_Exception as error:  # goes to the caller
                return failed_future(str(address), error)
        return ask(link, address, message, soon=soon, patience=patience, shared=shared)

    def release_later(self, address: Address, key: Token) -> None:
        """Release what a key stands for, of an object of another context, as soon as there is a link to that."""
        self._pending_releases.add(address, key)
        link = self.connections.link_to(address.context)
        if link is not None:  # it is back already, so that nobody would send it
            self._pending_releases.flush(address.context, link)

    def call_elsewhere(self, address: Address, call: Call, timeout: float | None) -> Awaitable[Any]:
        """Call a plain method of an object of another context, and await its result."""
        return ask_and_await(self.link_to, address, call, timeout)

    def link_to(self, name: str) -> Link:
        """The link to another context. Raises a QMI_Exception if there is none, or if this one has stopped."""
        link = self.connections.link_to(name)
        if link is None:
            self._check_not_ended()
            raise QMI_NotDeliveredException(self.connections.why_no_link(name))
        return link

    def explain_busy(self, name: str) -> str:
        """What one of the objects here is busy with, or an empty text."""
        actor = self.registry.get(name)
        return "" if actor is None else actor.explain_busy()

    def status_here(self) -> ContextStatus:
        """What this context tells of itself. From any thread; waits for nothing."""
        from qmi.contexts.status import context_status  # only who asks needs it

        return context_status(self)

    def object_here(self, name: str) -> QMI_RpcObject:
        """One of the objects here; raises if it is not there. From any thread."""
        found: QMI_RpcObject = self.registry.existing(Address(self.name, name)).object
        return found

    def begin_read_log(self, *request: object) -> QMI_RpcFuture[dict[str, Any]]:
        """Begin to read the log; see :meth:`.ContextObject.read_log`."""
        from qmi.contexts.log_reader import LogReader  # only who asks needs it

        return self.run(LogReader(self.loop, *request).answer)

    def describe_origin(self, origin: Origin | None) -> str:
        """Which context something came from, where that is, and its process; for the log."""
        if origin is None or origin == self.origin:
            return f"context {self.name!r} itself"
        where = self.connections.whereabouts(origin)
        return f"context {origin.context!r}" + (f" ({where})" if where else "")

    # What links need (Home)

    def request_here(
        self, message: Request, origin: Origin, link: Link | None, answer: QMI_RpcFuture[Any], *, patient: bool = True
    ) -> None:
        """Hand a message of another context to an object of this one; one that is to come may be waited for."""
        actor = self.registry.get(message.object)
        again = partial(self.request_here, message, origin, link, answer, patient=False) if actor is None else None
        if again and self._to_come.hold_back(message, answer, again, patient=patient, from_afar=True):
            return
        if isinstance(message, (Subscribe, Unsubscribe)):
            if self._stopping_since:
                answer.fail(self._absent(message))
                return
            answer.follow(self.signalling.serve(message, origin, link))
            return
        if actor is None:
            answer.fail(self._absent(message))
            return
        if self.rights.operators is not None and link is not None:
            hello = link.hello
            name = origin.context if hello is None else hello.context
            self.rights.check_guest(actor, message, origin, name)
        if type(message) is ForceRelease:
            self.rights.check_force_unlock(message.object, origin)
        if isinstance(answer, PendingCall):
            future = actor.submit(answer)
        elif isinstance(answer, AcquireTurn):
            future = actor.lock_manager.acquire(answer)
        else:
            future = actor.handle(message, origin)
        if future is not answer:
            answer.follow(future)

    def _absent(self, message: Request) -> QMI_Exception:
        if not self._stopping_since:
            # A caller knows that there was such an object; only a request for a proxy may have a misspelt name.
            asked = isinstance(message, (Describe, Subscribe, Unsubscribe))
            return (self.configured_objects.unknown if asked else self.registry.gone_here)(message.object)
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self._stopping_since))
        return QMI_ContextStoppedException(f"Context {self.name!r} is stopping, since {when} UTC")

    def signals_here(self, signals: list[Signal], publisher_context: str) -> None:
        """Deliver a signal of another context to its subscribers."""
        self.signalling.arrived(signals, publisher_context)

    def network_failures(self) -> dict[str, int]:
        """How often something of the network has failed since the start, by what failed and why.

        The keys are texts such as ``"link: no sign of life"``, ``"link: protocol error"``, ``"connection: refused"``
        and ``"listener: fault of this program"``. A cause that never occurred is not there.
        """
        return self.connections.failures.counts()

    def peer_connected(self, origin: Origin, link: Link, restarted: bool | None) -> None:
        """There is a link to a context; if it is not the first one, subscriptions are made again."""
        self.signalling.peer_connected(origin.context, link, restarted)
        if restarted:
            self._pending_releases.forget(origin.context)
        self._pending_releases.flush(origin.context, link)

    def resume(self) -> None:
        """Start calls that waited because their answers had no room on a link, and now have."""
        for actor in self.registry:
            actor.resume()

    def peer_gone(self, origin: Origin, reason: str, for_good: bool) -> None:
        """A context is gone, with all that it held."""
        for actor in self.registry:
            try:
                actor.lock_manager.leave(origin)
            except Exception:  # one object's trouble; the locks of all others must go as well
                _logger.exception("The locks of context %r at %s could not be released", origin.context, actor.address)
        self.signalling.peer_gone(origin, reason, for_good)

    def subscribe(
        self, address: Address, signal: str, receiver: QMI_SignalReceiver, history: History | None = None
    ) -> QMI_RpcFuture[None]:
        """Have each signal of an object put into a receiver. Never blocks; every error comes with the future."""
        begin = partial(self.signalling.subscribe, address, signal, receiver, history)
        done: QMI_RpcFuture[None] = QMI_RpcFuture(f"the subscription to {address}.{signal}")
        is_absent = address.context == self.name and self.registry.get(address.object) is None
        again, request = (lambda: done.follow(begin())), Subscribe(address.object, signal)
        return done if is_absent and self._to_come.hold_back(request, done, again) else begin()

    def unsubscribe(self, address: Address, signal: str, receiver: QMI_SignalReceiver) -> QMI_RpcFuture[None]:
        """End a subscription. Never blocks; every error comes with the future."""
        return self.signalling.unsubscribe(address, signal, receiver)

    # Objects

    def make(
        self, name: str, cls: type[QMI_RpcObject], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> QMI_RpcFuture[Actor]:
        """Begin to make an object; the future gives its actor, or the error of its constructor.

        Raises:
            QMI_Exception: If it cannot even begin: bad name, name taken, no such class, context stopped.
        """
        self.check_running()
        check_name(name, "object")
        check_class(cls, QMI_RpcObject, "An object")
        replace, kwargs = take_replace(cls, kwargs)
        cls, kwargs = class_to_make(cls, kwargs, self.config, self.own_config())
        return self._make_or_replace(name, replace, partial(self._make_plain, name, cls, args, kwargs))

    def make_task_actor(
        self,
        name: str,
        task_class: type[object],
        args: tuple[object, ...],
        kwargs: dict[str, object],
        task_runner: type[QMI_TaskRunner],
        restart_rule: RestartRule | None,
    ) -> QMI_RpcFuture[Actor]:
        """Begin to make a task; the future gives the actor of its runner.

        Raises:
            QMI_Exception: If it cannot even begin.
        """
        self.check_running()
        check_name(name, "task")
        if not (isinstance(task_class, type) and issubclass(task_class, QMI_Task)):
            raise QMI_UsageException(f"A task is made from a class derived from QMI_Task; got {task_class!r}")
        if task_runner is QMI_TaskRunner:
            task_runner = cast("type[QMI_TaskRunner]", task_class.default_runner) or QMI_TaskRunner
        check_class(task_runner, QMI_TaskRunner, "The runner of a task")
        if not isinstance(restart_rule, RestartRule | None):
            raise QMI_UsageException(f"restart_rule is a RestartRule or None; got {restart_rule!r}")
        replace, kwargs = take_replace(task_class, kwargs)
        make = partial(make_runner, task_runner, restart_rule, self.facade, name, task_class, args, kwargs)
        interface, placement = task_interface(task_runner, task_class), placement_for(task_runner)
        return self._make_or_replace(name, replace, partial(self._make, name, make, interface, placement))

    def make_internal(self, name: str, cls: type[QMI_RpcObject]) -> QMI_RpcFuture[Actor]:
        """Begin to make an internal object; see :class:`~qmi.contexts.internal.InternalObjects`."""
        return self._make_plain(name, cls, (self,), {})

    def _make_or_replace(
        self, name: str, replace: bool, make: Callable[[], QMI_RpcFuture[Actor]]
    ) -> QMI_RpcFuture[Actor]:
        old = self.registry.get(name) if replace else None
        if old is None:
            return make()
        made: QMI_RpcFuture[Actor] = QMI_RpcFuture(f"the making of {old.address}")
        removed = self.begin_remove(old.address)

        def go_on() -> None:
            if made.done():  # nobody waits for it any more
                return
            try:
                made.follow(make())
            except Exception as error:  # goes to the caller
                made.fail(error)

        removed.add_done_callback(go_on)
        return made

    def _make_plain(
        self, name: str, cls: type[QMI_RpcObject], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> QMI_RpcFuture[Actor]:
        make = partial(make_object, cls, self.facade, name, args, kwargs)
        return self._make(name, make, interface_of(cls), placement_for(cls))

    def _make(
        self, name: str, make: Callable[[], QMI_RpcObject], interface: Interface, placement: Placement
    ) -> QMI_RpcFuture[Actor]:
        check_constants(interface)
        self.registry.reserve(name)
        actor = Actor(self, Address(self.name, name), interface, placement)

        def construct() -> QMI_RpcObject:
            thing = make()
            actor.interface = thing.__rpc_fitted__(interface)
            return thing

        constructed = actor.construct(construct)
        # Its maker is told by a future of its own, after the object has got its name, or has given it back: whoever
        # sees that the constructor has ended may be quicker than the thread in which it did, and use it at once.
        made: QMI_RpcFuture[Actor] = QMI_RpcFuture(constructed.what)
        made.on_cancel = constructed.cancel
        constructed.add_done_callback(partial(self._made, actor, constructed, made))
        return made

    def undo_make(self, future: QMI_RpcFuture[Actor]) -> None:
        """Nobody will get to know the object, so it must not stay. Does nothing if it was not made."""
        if future.error() is None:
            with suppress(QMI_Exception):  # it is gone already
                self.begin_remove(future.result().address)

    def _made(self, actor: Actor, constructed: QMI_RpcFuture[Actor], made: QMI_RpcFuture[Actor]) -> None:
        if (error := constructed.error()) is not None:
            self.registry.free(actor.address.object)
            made.fail(error)
            return
        try:
            if periods := actor.object.__rpc_polls__():
                actor.poller = Poller(self, actor, periods)
                actor.object.__rpc_begin_polling__(actor.poller)
            self.safe_guards.attach(actor)
        except Exception as fault:  # of the driver: its channels are made here. It goes to the maker, who would wait
            self.registry.free(actor.address.object)
            actor.discard()
            made.fail(fault)
            return
        self.registry.add(actor)
        if not made.set_result(actor):  # given up in this very moment
            self.undo_make(constructed)

    def resolve(self, name: str) -> Address:
        """The address that somebody typed; a lone name is one of this context."""
        self.check_running()
        return parse_address(name, self.name)

    def interface_at(self, address: Address, *, patient: bool = True) -> QMI_RpcFuture[Interface]:
        """The interface of an object, wherever it lives; one that the configuration lists may still be coming."""
        request = Describe(address.object)
        if address.context != self.name:
            return self.request(address, request)
        future: QMI_RpcFuture[Interface] = QMI_RpcFuture(f"the interface of {address}")
        again = partial(self.interface_at, address, patient=False)
        if (actor := self.registry.get(address.object)) is not None:
            future.set_result(actor.interface)
        elif not self._to_come.hold_back(request, future, lambda: future.follow(again()), patient=patient):
            future.fail(self.configured_objects.unknown(address.object))
        return future

    def begin_remove(self, address: Address) -> QMI_RpcFuture[bool]:
        """Begin to remove an object; the future gives whether it went in order.

        Raises:
            QMI_Exception: If there is no such object here, or if it would wait for itself.
        """
        self.check_running()
        if address.context != self.name:
            raise QMI_UsageException(f"{address} belongs to another context; only that one can remove it")
        if address.object == CONTEXT_OBJECT_NAME or address.object in INTERNAL_PACKAGES:
            raise QMI_UsageException(f"{address} is an internal object: it ends with its context")
        if str(address) in current_chain():
            raise QMI_UsageException(f"{address} cannot be removed by its own method, or by what that waits for")
        actor = self.registry.get(address.object)
        if actor is None:
            raise self.registry.gone(address)
        future: QMI_RpcFuture[bool] = QMI_RpcFuture(f"the removal of {address}")

        def on_loop() -> None:
            if not self.spawn(self._remove, actor, future):
                future.fail(actor.stopped())

        if not self.loop.now_or_soon(on_loop):
            future.fail(actor.stopped())
        return future

    async def _remove(self, actor: Actor, future: QMI_RpcFuture[bool]) -> None:
        if not self.registry.remove(actor):
            future.fail(self.registry.gone(actor.address))
            return
        self._dropped(actor)
        error = QMI_ObjectRemovedException(f"{actor.address} was removed from its context")
        try:
            future.set_result(await actor.end(error, self._deadline_of(actor)))
        finally:
            future.fail(actor.stopped())  # does nothing unless this task was cancelled with its context

    def objects(self, category: str | None = None) -> list[tuple[Address, Interface]]:
        """The objects of this context, oldest first, without the internal ones."""
        found = [
            (actor.address, actor.interface) for actor in self.registry if actor.address.object not in INTERNAL_PACKAGES
        ]
        return [
            (address, interface)
            for address, interface in found
            if (category is None and address.object != CONTEXT_OBJECT_NAME) or interface.category == category
        ]

    def descriptors(self) -> list[RpcObjectDescriptor]:
        """A short description of each object, for other programs; small, however much an object offers."""
        return [
            RpcObjectDescriptor(
                address, interface.category, Interface(interface.class_name, category=interface.category)
            )
            for address, interface in self.objects()
        ]

    def descriptor(self, name: str) -> RpcObjectDescriptor | None:
        """The full description of one object, for other programs; None if there is no such object."""
        actor = self.registry.get(name)
        if actor is None:
            return None
        return RpcObjectDescriptor(actor.address, actor.interface.category, actor.interface)

    def objects_here(self, category: str | None = None) -> list[ObjectListing]:
        """The objects of this context, for lists."""
        found = [self._listing(address, interface) for address, interface in self.objects(category)]
        return list(self.configured_objects.listed(found, category))

    def _listing(self, address: Address, interface: Interface) -> ObjectListing:
        actor = self.registry.get(address.object)
        runner = None if actor is None else actor.object
        shown, state = shown_class(interface), ""
        if isinstance(runner, QMI_TaskRunner):
            shown, state = runner.task_class_name, runner.task_state
        return ObjectListing(str(address), interface.category, interface.class_name, shown, state)

    # Stopping

    def register_stop_handler(self, handler: Callable[[], object]) -> None:
        """Have a function called when the context stops, before anything else goes; the last one is called first."""
        self.check_running()
        self.stop_handlers.add(handler)

    def request_shutdown(self) -> None:
        """Ask this program to end; it sees that by :meth:`shutdown_requested`."""
        self.shutdown.set_result(None)

    def shutdown_requested(self) -> bool:
        """Whether somebody asked this program to end."""
        return self.shutdown.done()

    def run(self, function: Callable[..., Awaitable[R]], *args: object) -> QMI_RpcFuture[R]:
        """Run an async function in the context's nursery, for callers of any kind; giving up cancels it."""
        future: QMI_RpcFuture[R] = QMI_RpcFuture(getattr(function, "__name__", "a function"))
        scope = trio.CancelScope()

        async def set_result() -> None:
            try:
                with scope:
                    future.set_result(await function(*args))
                future.fail(QMI_CancelledCallException(f"{future.what} was cancelled"))
            except trio.Cancelled:
                future.fail(QMI_ContextStoppedException(f"Context {self.name!r} has stopped"))
                raise
            except BaseException as error:  # goes to the caller
                future.fail(error)

        def begin() -> None:
            if not self.spawn(set_result):
                future.fail(QMI_ContextStoppedException(f"Context {self.name!r} has stopped"))

        future.on_cancel = lambda: self.loop.now_or_soon(scope.cancel)
        if not self.loop.now_or_soon(begin):
            future.fail(QMI_ContextStoppedException(f"Context {self.name!r} has stopped"))
        return future

"""How the instruments and tasks of the configuration come up, are tried again, and made anew one by one.

Instruments are made in the order of the file, and opened side by side; then the tasks. One that fails keeps nobody else
from coming up. All of it happens in the event loop, in one trio task for each object, but for imports and constructors.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import trio

from qmi.actors.actor import Actor
from qmi.actors.context_object import ConfiguredObject, ObjectListing
from qmi.actors.future import QMI_RpcFuture, call_async
from qmi.actors.registry import Registry
from qmi.actors.rpc_object import QMI_RpcObject
from qmi.actors.tasks.restart import RestartRule, Restarts
from qmi.actors.tasks.runner import QMI_TaskRunner
from qmi.config.schema import SERVE_MODULE, CfgContext, CfgQmi
from qmi.config.structure import report
from qmi.contexts.configured_classes import Loaded, Plan, faults_of, load, plans_of
from qmi.contexts.safe_guard import SafeGuards
from qmi.contexts.simulating import simulates
from qmi.errors import QMI_Exception, QMI_UnknownNameException, QMI_UsageException
from qmi.messages import Call, Request
from qmi.names import Address, nearest
from qmi.runtime.wakeup import Loop

_logger = logging.getLogger("qmi.core.context")

R = TypeVar("R")

BEGIN_PATIENCE = 2.0
"""Seconds after which a program that lists objects is taken for one that does not make them."""

MAKE_TURN = 5.0
"""Seconds that the constructor of an instrument is waited for before the next one is made."""


class Services(Protocol):
    """What bringing up needs of the context."""

    name: str
    config: CfgQmi
    registry: Registry
    shutdown: QMI_RpcFuture[None]
    loop: Loop
    safe_guards: SafeGuards

    def own_config(self) -> CfgContext:
        """Its settings."""

    def check_running(self) -> None:
        """Raise if it does not run."""

    def make(
        self, name: str, cls: type[QMI_RpcObject], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> QMI_RpcFuture[Actor]:
        """Begin to make an object."""

    def make_task_actor(
        self,
        name: str,
        task_class: type[object],
        args: tuple[object, ...],
        kwargs: dict[str, object],
        task_runner: type[QMI_TaskRunner],
        restart_rule: RestartRule | None,
    ) -> QMI_RpcFuture[Actor]:
        """Begin to make a task."""

    def undo_make(self, future: QMI_RpcFuture[Actor]) -> None:
        """Nobody will get to know the object."""

    def begin_remove(self, address: Address) -> QMI_RpcFuture[bool]:
        """Begin to remove an object."""

    def request(self, address: Address, message: Request) -> QMI_RpcFuture[Any]:
        """Send a message to an object."""

    def run(self, function: Callable[..., Coroutine[object, object, R]], *args: object) -> QMI_RpcFuture[R]:
        """Run an async function in the nursery of the context."""

    def spawn(self, function: Callable[..., Coroutine[object, object, None]], *args: object) -> bool:
        """Start a task in the nursery of the context."""


class _Object:
    """One configured object. Used on the loop, but for its state, which is one attribute and read anywhere.

    Attributes:
        plan: What is configured.
        loaded: Its classes and arguments, or why there are none.
        actor: The object, when it is made.
        state: What is shown.
        made: Set when its constructor has ended for the first time since it was to be made, one way or another.
        tried: Set when it is ready, or has failed for the first time.
        gone: Set when nothing brings it up any more.
        scope: Around what brings it up.
        turn: Held by whoever restarts it.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.loaded: Loaded | QMI_UsageException | None = None
        self.actor: Actor | None = None
        self.turn = trio.Lock()
        self.renew()
        self.state: ConfiguredObject
        self.enter("waiting")
        self.gone.set()

    def renew(self) -> None:
        """Begin anew."""
        self.actor = None
        self.tried, self.gone = trio.Event(), trio.Event()
        self.scope = trio.CancelScope()
        self.attempts = 0
        self.retry_at: float | None = None

    def enter(self, state: str, reason: str = "", retry_in: float | None = None) -> None:
        """Come into a state."""
        if state == "waiting":
            self.made = trio.Event()
        self.retry_at = None if retry_in is None else time.monotonic() + retry_in
        plan = self.plan
        self.state = ConfiguredObject(plan.name, plan.category, plan.path, state, reason, time.time(), self.attempts)

    def shown(self, registry: Registry) -> ConfiguredObject:
        """How it is now."""
        state, retry_at = self.state, self.retry_at
        if state.state == "ready" and registry.get(state.name) is not self.actor:
            return state._replace(state="removed")
        if state.state == "ready" and self.actor is not None and isinstance(self.actor.object, QMI_TaskRunner):
            # Those of the base class: a runner of the user's may have others, which are not to run here.
            runner = self.actor.object
            task, failure = QMI_TaskRunner.get_state(runner), QMI_TaskRunner.get_last_failure(runner)
            if failure is not None and task.state in ("failed", "restarting"):
                wait = -1.0 if failure.retry_in is None else failure.retry_in
                return state._replace(state="failed", reason=failure.reason, since=failure.time, retry_in=wait)
        return state if retry_at is None else state._replace(retry_in=max(retry_at - time.monotonic(), 0.0))


class ConfiguredObjects:
    """The objects that the configuration of one context lists.

    Args:
        services: The context.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._objects: dict[str, _Object] = {}
        self._stopping = False
        self._begun, self._loaded = trio.Event(), trio.Event()

    def states(self) -> list[ConfiguredObject]:
        """How they are, in the order of the file; none before :meth:`begin`."""
        registry = self._services.registry
        return [entry.shown(registry) for entry in list(self._objects.values())]

    def failure(self, name: str) -> str:
        """Why an object has failed; empty if it has not."""
        entry = self._objects.get(name)
        shown = None if entry is None else entry.shown(self._services.registry)
        return shown.reason if shown is not None and shown.state == "failed" else ""

    def when_made(self, name: str, *, from_afar: bool) -> QMI_RpcFuture[None] | None:
        """What is done once an object that is to come is there, has failed, or is late; None if none is to come.

        Args:
            name: Its name.
            from_afar: Whether another program wants to know: it sees this one shortly before it begins to make them.
        """
        entry = self._objects.get(name)
        if entry is not None:
            is_to_come = entry.state.state in ("waiting", "making")
        else:
            own = self._services.own_config()
            is_to_come = (
                from_afar
                and not self._objects
                and own.program == SERVE_MODULE
                and name in (*own.instruments, *own.tasks)
            )
        return self._services.run(self._wait_until_made, name) if is_to_come else None

    async def _wait_until_made(self, name: str) -> None:
        with trio.move_on_after(BEGIN_PATIENCE):
            await self._begun.wait()
        if entry := self._objects.get(name):
            # An object whose constructor asks for another one that asks for it would wait for ever.
            with trio.move_on_after(self._services.own_config().ready_timeout):
                await entry.made.wait()

    def unknown(self, name: str) -> QMI_UnknownNameException:
        """That there is no object of a name, with what is known of it."""
        entry = self._objects.get(name)
        if entry is None or entry.state.state not in ("waiting", "making", "failed"):
            return self._services.registry.unknown(name)
        reason = self.failure(name)
        why = f"it has failed: {reason}" if reason else "it is still being made, try again later"
        return QMI_UnknownNameException(f"Context {self._services.name!r} has no object named {name!r}: {why}")

    def listed(self, here: Iterable[ObjectListing], category: str | None) -> Iterator[ObjectListing]:
        """The objects of the context, with what has failed among them."""
        seen = set()
        for listing in here:
            name = listing.address.rpartition(".")[2]
            seen.add(name)
            reason = "" if listing.category == "task" else self.failure(name)
            yield listing._replace(state=f"failed: {reason}") if reason else listing
        for state in self.states():
            if state.name not in seen and state.state == "failed" and category in (None, state.category):
                address = f"{self._services.name}.{state.name}"
                yield ObjectListing(address, state.category, "", state.class_name, f"failed: {state.reason}")

    def begin(self) -> QMI_RpcFuture[list[ConfiguredObject]]:
        """Bring all of them up; the future gives how they are, when each was tried once.

        Raises:
            QMI_UsageException: If that was done before.
            QMI_Exception: If the context does not run.
        """
        self._services.check_running()
        if self._objects:
            raise QMI_UsageException(f"The configured objects of context {self._services.name!r} were made before")
        own = self._services.own_config()
        plans = plans_of(self._services.name, own, simulate=simulates(self._services.config, own))
        self._objects = {plan.name: _Object(plan) for plan in plans}
        return self._services.run(self._bring_all_up)

    def begin_restart(self, name: str, by: str, *, patient: bool = True) -> QMI_RpcFuture[ConfiguredObject]:
        """Remove one of them and make it anew; the future gives how that went.

        Args:
            name: Its name.
            by: Which context wants that, for the log; empty for this one.
            patient: Whether to wait until they are made, if they are not yet: others see a program before it is ready.

        Raises:
            QMI_UnknownNameException: If the configuration lists none of that name.
            QMI_UsageException: If they were not made.
        """
        self._services.check_running()
        context, own = self._services.name, self._services.own_config()
        listed = [*own.instruments, *own.tasks]
        if name not in listed:
            near = nearest(name, listed)
            hint = f"Did you mean {near!r}?" if near else f"It lists {', '.join(map(repr, listed)) or 'nothing'}"
            raise QMI_UnknownNameException(f"The configuration of context {context!r} lists no {name!r}. {hint}")
        if not self._objects and not (patient and own.program == SERVE_MODULE):
            raise QMI_UsageException(
                f"Context {context!r} has not made what its configuration lists: call make_configured() first"
            )
        return self._services.run(self._restart, name, by)

    async def stop(self) -> None:
        """Bring up no more. On the loop."""
        self._stopping = True
        for entry in self._objects.values():
            entry.scope.cancel()
        for entry in self._objects.values():
            await entry.gone.wait()

    async def _bring_all_up(self) -> list[ConfiguredObject]:
        entries = list(self._objects.values())
        self._begun.set()
        try:
            try:
                await self._load_all(entries)
            finally:
                self._loaded.set()
            for tasks in (False, True):
                await self._bring_up_in_order([entry for entry in entries if entry.plan.is_task is tasks])
        finally:
            _announce(self._services.name, self.states())
        return self.states()

    async def _load_all(self, entries: list[_Object]) -> None:
        plans = [entry.plan for entry in entries]
        found = await trio.to_thread.run_sync(lambda: list(faults_of(plans)), abandon_on_cancel=True)
        faults = []
        for entry, (_, loaded) in zip(entries, found, strict=True):
            entry.loaded = loaded
            if isinstance(loaded, QMI_UsageException):
                faults.append(str(loaded))
        if faults:
            _logger.error("%s", report(f"The configuration of context {self._services.name}", faults))

    async def _bring_up_in_order(self, entries: list[_Object]) -> None:
        deadline = trio.current_time() + self._services.own_config().ready_timeout
        # A context that is asked to end meanwhile does not wait for the others.
        with trio.CancelScope() as scope:
            self._services.shutdown.add_done_callback(lambda: self._services.loop.soon(scope.cancel))
            for entry in entries:
                if not entry.attempts:  # else somebody was quicker, who wanted it anew
                    self._start(entry)
                with trio.move_on_at(min(deadline, trio.current_time() + MAKE_TURN)):
                    await entry.made.wait()
            with trio.move_on_at(deadline) as limit:
                for entry in entries:
                    await entry.tried.wait()
            if limit.cancelled_caught:
                late = ", ".join(entry.plan.name for entry in entries if not entry.tried.is_set())
                _logger.warning("Context %s does not wait for %s any longer, and goes on", self._services.name, late)

    def _start(self, entry: _Object) -> None:
        if self._stopping or not entry.gone.is_set():
            return
        entry.renew()
        if not self._services.spawn(self._bring_up, entry):
            entry.gone.set()

    async def _bring_up(self, entry: _Object) -> None:
        retries = None if entry.plan.retry is None else Restarts(entry.plan.retry)
        try:
            with entry.scope:
                while not await self._attempt(entry, retries):
                    entry.tried.set()
                    if entry.retry_at is None:
                        return
                    await trio.sleep(max(entry.retry_at - time.monotonic(), 0.0))
        finally:
            for event in (entry.made, entry.tried, entry.gone):
                event.set()

    async def _attempt(self, entry: _Object, retries: Restarts | None) -> bool:
        """Make what is not made yet, and open or start it; whether that went well."""
        step, fault = "made", None
        entry.attempts += 1
        try:
            loaded = await self._load(entry)
            if not self._is_made(entry):
                entry.enter("making", entry.state.reason)
                entry.actor = await self._make(entry.plan, loaded)
                if entry.plan.has_safe_state:
                    await self._keep_safe(entry, loaded, entry.actor)
            entry.made.set()
            if entry.plan.begin:
                step = "started" if entry.plan.is_task else "opened"
                await self._begin(entry.plan, entry.actor)
        except Exception as error:
            fault = error
        entry.made.set()
        if fault is None:
            again = f", after {entry.attempts} attempts" if entry.attempts > 1 else ""
            _logger.info("%s is ready%s", self._title(entry.plan), again)
            entry.enter("ready")
            return True
        self._failed(entry, step, fault, retries)
        return False

    async def _keep_safe(self, entry: _Object, loaded: Loaded, actor: Actor) -> None:
        when = entry.plan.safe_when or loaded.cls.SAFE_WHEN  # type: ignore[attr-defined]
        try:
            self._services.safe_guards.keep_safe(entry.plan.name, entry.plan.safe, when)
        except QMI_UsageException as error:
            # Nobody may use it without its safe state, and trying again changes nothing: it is a fault of the file.
            with suppress(QMI_Exception):  # somebody else removes it
                await call_async(self._services.begin_remove(actor.address))
            entry.loaded = QMI_UsageException(f"{entry.plan.place}: {error}")
            _logger.error("%s", entry.loaded)
            raise entry.loaded from error

    def _failed(self, entry: _Object, step: str, error: Exception, retries: Restarts | None) -> None:
        if error is entry.loaded:  # it has been reported, with all others; trying again changes nothing
            entry.enter("failed", str(error))
            return
        delay = None if retries is None else retries.failed(time.monotonic()).delay
        before, reason = entry.state.reason, f"cannot be {step}: {type(error).__name__}: {error}"
        entry.enter("failed", reason, delay)
        if reason != before:  # once, and not as often as it is tried
            foreseen = isinstance(error, (QMI_Exception, OSError))
            _logger.error(
                "%s %s%s",
                self._title(entry.plan),
                reason,
                "" if delay is None else "; it is tried again until it succeeds",
                exc_info=None if foreseen else error,
            )

    async def _load(self, entry: _Object) -> Loaded:
        if entry.loaded is None:
            try:
                entry.loaded = await trio.to_thread.run_sync(load, entry.plan, abandon_on_cancel=True)
            except QMI_UsageException as error:
                _logger.error("%s", error)
                entry.loaded = error
        if isinstance(entry.loaded, QMI_UsageException):
            raise entry.loaded
        return entry.loaded

    async def _make(self, plan: Plan, loaded: Loaded) -> Actor:
        if plan.is_task:
            future = self._services.make_task_actor(
                plan.name, loaded.cls, loaded.args, loaded.kwargs, loaded.runner, plan.restart
            )
        else:
            assert issubclass(loaded.cls, QMI_RpcObject), "load() has looked"
            simulate = {} if plan.simulate is None else {"simulate": plan.simulate}
            future = self._services.make(plan.name, loaded.cls, loaded.args, {**loaded.kwargs, **simulate})
        try:
            return await call_async(future)
        except BaseException:
            self._services.undo_make(future)
            raise

    async def _begin(self, plan: Plan, actor: Actor | None) -> None:
        assert actor is not None, "it has been made"
        if plan.is_task:
            await self._call(plan.name, "start")
            return
        if await self._call(plan.name, "is_open") is not True:  # somebody else may have opened it meanwhile
            await self._call(plan.name, "open")
        actor.object.closes_with_context = True

    async def _call(self, name: str, method: str) -> object:
        return await call_async(self._services.request(Address(self._services.name, name), Call(name, method)))

    def _is_made(self, entry: _Object) -> bool:
        return entry.actor is not None and self._services.registry.get(entry.plan.name) is entry.actor

    async def _restart(self, name: str, by: str) -> ConfiguredObject:
        await self._loaded.wait()
        entry = self._objects[name]
        async with entry.turn:
            # Whoever asked may go away: then there is a new object all the same, and not none.
            with trio.CancelScope(shield=True):
                level, who = (logging.WARNING, by) if by else (logging.INFO, "this program")
                _logger.log(level, "%s is made anew, as %s asked", self._title(entry.plan), who)
                entry.scope.cancel()
                await entry.gone.wait()
                entry.enter("waiting")
                if self._is_made(entry) and entry.actor is not None:
                    with suppress(QMI_Exception):  # somebody else removes it
                        await call_async(self._services.begin_remove(entry.actor.address))
                if isinstance(entry.loaded, QMI_UsageException):  # it may have been mended
                    entry.loaded = None
                self._start(entry)
            await entry.tried.wait()
        return entry.shown(self._services.registry)

    def _title(self, plan: Plan) -> str:
        return f"{plan.category.capitalize()} {self._services.name}.{plan.name}"


def _announce(context: str, states: list[ConfiguredObject]) -> None:
    ready = sum(state.state == "ready" for state in states)
    _logger.info("Context %s: %d of %d configured objects are ready", context, ready, len(states))

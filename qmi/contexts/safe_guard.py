"""When the instruments of a context are brought into their safe states while it runs.

A lost lock is noticed by the lock itself (:meth:`qmi.actors.lock_manager.LockManager.leave`). For a watchdog and for an
interlock there is one task of the loop each, from when an instrument is made, or is told to have it, until it goes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from qmi.actors.actor import Actor
from qmi.actors.clock.monotonic import Clock
from qmi.actors.future import QMI_RpcFuture, call_async
from qmi.actors.instrument import QMI_Instrument
from qmi.actors.pubsub.receiver import QMI_SignalReceiver, ReceivedSignal
from qmi.actors.registry import Registry
from qmi.actors.safe_states import Reason, SafeState, SafeTurn, SafeWhen, has_safe_state, signal_address
from qmi.config.schema import CfgContext
from qmi.errors import QMI_Exception, QMI_InvalidValueException, QMI_UsageException
from qmi.messages import Origin
from qmi.names import Address, nearest, parse_address, parse_parameter_path
from qmi.runtime.call_context import EXECUTION
from qmi.runtime.wakeup import Loop

if TYPE_CHECKING:
    from qmi.parameters.declaration import Parameter
    from qmi.parameters.declared import Declared

_logger = logging.getLogger("qmi.core.instrument")

LOOKS = 5
"""How often a watchdog looks within its time. It notices silence that much of its time too late, at most."""

SUBSCRIBE_AGAIN = 1.0
"""Seconds after which an interlock that could not be heard is looked for again."""


class GuardServices(Protocol):
    """What this needs of the context."""

    name: str
    loop: Loop
    clock: Clock
    origin: Origin
    registry: Registry

    def own_config(self) -> CfgContext:
        """Its settings."""

    def check_running(self) -> None:
        """Raise if it does not run."""

    def spawn(self, function: Callable[..., Coroutine[object, object, None]], *args: object) -> bool:
        """Start a task in the context's nursery; False if that takes no more. On the loop only."""

    def subscribe(self, address: Address, signal: str, receiver: QMI_SignalReceiver) -> QMI_RpcFuture[None]:
        """Have each signal of an object put into a receiver."""

    def unsubscribe(self, address: Address, signal: str, receiver: QMI_SignalReceiver) -> QMI_RpcFuture[None]:
        """End a subscription."""


class SafeGuards:
    """The safe states of the instruments of one context.

    Args:
        services: The context.
    """

    def __init__(self, services: GuardServices) -> None:
        self._services = services
        # What watches over which object: changed on the loop only.
        self._scopes: dict[str, trio.CancelScope] = {}

    def attach(self, actor: Actor) -> None:
        """An object has been made. From any thread."""
        if isinstance(actor.object, QMI_Instrument) and has_safe_state(type(actor.object)):
            self._watch(actor, {}, actor.object.SAFE_WHEN or SafeWhen())

    def keep_safe(self, thing: object, settings: Mapping[str, object] | None, when: SafeWhen | None) -> None:
        """Say what the safe state of an instrument is, and when it is entered; from any thread.

        Args:
            thing: The name of an instrument of this context, or a proxy of it.
            settings: What is set, besides what ``safe_state()`` of the driver does.
            when: When; None is at the end of the context alone.

        Raises:
            QMI_UsageException: If there is no such instrument here, or nothing that makes it safe.
        """
        self._services.check_running()
        name = thing if isinstance(thing, str) else getattr(thing, "address", None)
        address = parse_address(name, self._services.name) if isinstance(name, str) else None
        actor = None
        if address is not None and address.context == self._services.name:
            actor = self._services.registry.get(address.object)
        if actor is None or not isinstance(actor.object, QMI_Instrument):
            raise QMI_UsageException(f"keep_safe() is for the instruments of this context; got {thing!r}")
        if settings is not None and not isinstance(settings, Mapping):
            raise QMI_InvalidValueException(f"settings must be None or a dict of name and value, got {settings!r}")
        if when is not None and not isinstance(when, SafeWhen):
            raise QMI_InvalidValueException(f"when must be None or a SafeWhen, got {when!r}")
        if not settings and not has_safe_state(type(actor.object)):
            raise QMI_UsageException(
                f"{actor.where} has no safe state: its driver has no safe_state(), and no settings are given"
            )
        for setting, value in (settings or {}).items():
            check_setting(type(actor.object), setting, value, f"{setting} of {actor.where}")
        self._watch(actor, settings or {}, when or SafeWhen())

    def stop(self) -> None:
        """Watch no more: the context brings them into their safe states itself. On the loop."""
        while self._scopes:
            self._scopes.popitem()[1].cancel()

    def detach(self, actor: Actor) -> None:
        """An object goes. On the loop."""
        scope = self._scopes.pop(actor.address.object, None)
        if scope is not None:
            scope.cancel()

    def _watch(self, actor: Actor, settings: Mapping[str, object], when: SafeWhen) -> None:
        expect = partial(self._expect, actor)
        actor.safe = SafeState(actor, self._services.origin, settings, when, expect)
        self._services.loop.now_or_soon(partial(self._watch_anew, actor, when))

    def _watch_anew(self, actor: Actor, when: SafeWhen) -> None:
        self.detach(actor)
        if actor.mailbox.closed is not None or (when.watchdog is None and when.interlock is None):
            return
        scope = self._scopes[actor.address.object] = trio.CancelScope()
        self._services.spawn(self._guard, actor, when, scope)

    async def _guard(self, actor: Actor, when: SafeWhen, scope: trio.CancelScope) -> None:
        EXECUTION.set(None)  # that of whoever made the object
        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    if when.watchdog is not None:
                        nursery.start_soon(self._watch_calls, actor, float(when.watchdog))
                    if when.interlock is not None:
                        nursery.start_soon(self._watch_interlock, actor, when.interlock)
        except Exception:  # of the clock, or ours: it must not take the context down, whose task this is
            _logger.exception("%s is not watched any more, and enters its safe state", actor.where)
            actor.make_safe(Reason("nothing watches over it any more"))

    # The watchdog

    async def _watch_calls(self, actor: Actor, limit: float) -> None:
        clock = self._services.clock
        waiter = clock.loop_waiter(name=f"the watchdog of {actor.where}")
        try:
            seen, last, armed = actor.calls - actor.own_calls, clock.now(), True
            while True:
                due = clock.now() + limit / LOOKS
                await waiter.sleep_until(min(due, last + limit) if armed else due)
                # A poll that is just beginning may count as a call here, which delays this by one look.
                calls = actor.calls - actor.own_calls
                turn = actor.mailbox.current
                if calls != seen or (turn is not None and not turn.passes_lock):
                    seen, last, armed = calls, clock.now(), True
                elif armed and clock.now() >= last + limit:
                    armed = False  # until the next call
                    actor.make_safe(Reason(f"nobody has called it for {limit:g} s"))
        finally:
            waiter.close()

    # The interlock

    async def _watch_interlock(self, actor: Actor, interlock: str) -> None:
        context, name, signal = signal_address(interlock, self._services.name)
        address = Address(context, name)
        state: object = None  # what it said last: True or False, or why nothing is heard of it
        while True:
            receiver = QMI_SignalReceiver(report_gaps=True)
            try:
                await call_async(self._services.subscribe(address, signal, receiver))
                async for received in receiver:
                    before, state = state, interlock_state(received, state)
                    if state is not True and state is not None and state != before:
                        how = "has fallen" if state is False else f"is not heard any more ({state})"
                        actor.make_safe(Reason(f"its interlock {interlock} {how}"))
            except QMI_Exception as error:
                if not isinstance(state, str):
                    actor.make_safe(Reason(f"its interlock {interlock} cannot be heard: {error}"))
                state = "gone"
            finally:
                with suppress(QMI_Exception):
                    self._services.unsubscribe(address, signal, receiver).error()
            await trio.sleep(SUBSCRIBE_AGAIN)
            state = "gone"

    # What is due

    def _expect(self, actor: Actor, turn: SafeTurn) -> None:
        # From any thread; the turn has not come into the mailbox yet.
        self._services.loop.now_or_soon(lambda: self._services.spawn(self._look_after, actor, turn))

    async def _look_after(self, actor: Actor, turn: SafeTurn) -> None:
        limit = self._services.own_config().stop_grace
        with trio.move_on_after(limit):
            await turn.ended()
        if not turn.done():
            busy = actor.explain_busy() or "it waits for its turn"
            _logger.error("%s has not come into its safe state within %g s: %s", actor.where, limit, busy)


def interlock_state(received: ReceivedSignal, before: object) -> object:
    """What is known of an interlock after a signal: True or False, or why nothing is heard of it; None is unknown.

    Args:
        received: The signal, or what happened to the subscription.
        before: What was known before.
    """
    if not received.is_gap:
        return bool(received.args and received.args[0])
    if received.gap in ("lost", "ended"):
        return received.gap
    return before if received.gap == "dropped" else None


def check_setting(cls: type, name: str, value: object, where: str) -> None:
    """Refuse a setting that a driver does not have, or a value that it can never have.

    What can be found out only from the device, such as limits that change, is found out when it is set.

    Args:
        cls: The driver.
        name: The name of the setting.
        value: What it is to be set to.
        where: What to call it in messages.

    Raises:
        QMI_UsageException: If there is no such parameter, property, or method ``set_...``; with the nearest one.
        QMI_InvalidValueException: If it cannot be set to that.
    """
    # Parameters are imported where a driver has some, or may have.
    from qmi.parameters.declared import declared_of

    declared = declared_of(cls)
    known = [
        *declared.paths(),
        *getattr(cls, "_rpc_properties", ()),
        *(key[4:] for key in dir(cls) if key.startswith("set_")),
    ]
    if name not in known:
        near = nearest(name, known)
        hint = f"Did you mean {near!r}?" if near else f"It has {', '.join(dict.fromkeys(known)) or 'nothing to set'}"
        raise QMI_UsageException(f"{where}: {cls.__name__} has no setting {name!r}. {hint}")
    parameter = _parameter_of(declared, name)
    if parameter is None:
        return
    if not parameter.settable:
        raise QMI_UsageException(f"{where} can only be read")
    from qmi.parameters.units import in_unit

    parameter.rule.check(in_unit(value, parameter.unit, where), _fixed(parameter.limits), where)


def _parameter_of(declared: Declared, path: str) -> Parameter[object] | None:
    from qmi.parameters.declared import declared_of

    parts = parse_parameter_path(path)
    if parts is None or not parts.group:
        return declared.parameters.get(path)
    channels = declared.channels.get(parts.group)
    return None if channels is None else declared_of(channels.channel_class).parameters.get(parts.name)


def _fixed(limits: object) -> tuple[float | None, float | None] | None:
    """The limits of a parameter, as far as they are numbers that do not change."""
    if not isinstance(limits, tuple | list) or len(limits) != 2:
        return None
    low, high = (end if type(end) in (int, float) else None for end in limits)
    return low, high

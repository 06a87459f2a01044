"""How an instrument is brought into a state in which it does no harm, and what is logged of it.

What that state is, its driver says by a method ``safe_state()``, or the user by settings; both may be there. Entering
it is a turn of the object like that of a call, so that it never overlaps another one. It goes before all that wait, and
the lock does not stop it. At the end of a context it is a part of the object's last turn: after it, nobody calls it.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import trio

from qmi.actors.future import NO_ARGUMENTS, Callee, PendingCall
from qmi.actors.interface import Method
from qmi.errors import QMI_InvalidValueException, QMI_UnknownRpcException
from qmi.messages import Origin
from qmi.records import NamedTuple

_logger = logging.getLogger("qmi.core.instrument")

_MAKE_SAFE: Final = Method("__rpc_make_safe__")


@dataclass(frozen=True, kw_only=True)
class SafeWhen:
    """When an instrument is brought into its safe state, besides the end of its context.

    Attributes:
        lock_lost: Whether that happens when the program that holds its lock is gone: it has ended, or its link is lost.
        watchdog: Seconds after which it happens if nobody calls the instrument; None is never. Polling is no call.
        interlock: A signal, ``"context.object.signal"`` or ``"object.signal"``: it happens when that is published with
            a first argument that is false, and when it cannot be heard: its object or the link to it is gone.

    Raises:
        QMI_InvalidValueException: If a value cannot work; names the field.
    """

    lock_lost: bool = False
    watchdog: float | None = None
    interlock: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.lock_lost, bool):
            raise QMI_InvalidValueException(f"lock_lost must be True or False, got {self.lock_lost!r}")
        limit = self.watchdog
        if limit is not None and (
            isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit < math.inf
        ):
            raise QMI_InvalidValueException(f"watchdog must be None or a number of seconds above 0, got {limit!r}")
        if self.interlock is not None:
            signal_address(self.interlock, "")


SafeWhen.__module__ = "qmi.core.instrument"


class SignalAddress(NamedTuple):
    """A signal of an object somewhere."""

    context: str
    object: str
    signal: str


def signal_address(text: object, context: str) -> SignalAddress:
    """The signal that somebody names as an interlock.

    Args:
        text: ``"context.object.signal"``, or ``"object.signal"``.
        context: The context that is meant where none is named.

    Raises:
        QMI_InvalidValueException: If it is neither.
    """
    parts = text.split(".") if isinstance(text, str) else []
    if len(parts) not in (2, 3) or not all(parts):
        raise QMI_InvalidValueException(
            f'interlock must be None or a signal as "context.object.signal" or "object.signal", got {text!r}'
        )
    return SignalAddress(*parts) if len(parts) == 3 else SignalAddress(context, *parts)


class Reason(NamedTuple):
    """Why an instrument is brought into its safe state.

    Attributes:
        text: The reason, as the end of a sentence.
        level: The level at which it is logged.
    """

    text: str
    level: int = logging.WARNING


class SafeActor(Callee, Protocol):
    """What a safe state needs of the actor."""

    own_calls: int


class Reachable(Protocol):
    """An object that has a safe state."""

    def __rpc_is_reachable__(self) -> bool:
        """Whether its device can be talked to: an instrument that is closed says nothing to its device."""

    def __rpc_set__(self, name: str, value: object) -> object:
        """Set a parameter or property; something to await in the loop."""


def has_safe_state(cls: type) -> bool:
    """Whether a driver says itself what its safe state is."""
    return callable(getattr(cls, "safe_state", None))


class SafeTurn(PendingCall):
    """The turn in which an object is brought into its safe state.

    Args:
        state: Its safe state.
        reason: Why.
        origin: The context.
    """

    __slots__ = ("_reason", "_state")

    passes_lock = True

    def __init__(self, state: SafeState, reason: Reason, origin: Origin) -> None:
        super().__init__(_MAKE_SAFE.name, (), NO_ARGUMENTS, None, (), origin, shared=True)
        self.method: Method = _MAKE_SAFE
        self.actor: Callee | None = state.actor
        self._state = state
        self._reason = reason

    @property
    def text(self) -> str:
        """What it does, for people."""
        return "safe_state()"

    def invoke(self, target: object) -> object:
        """Do it; something to await if that goes on in the loop."""
        self._state.actor.own_calls += 1
        return self._state.enter(target, self._reason)  # type: ignore[arg-type]


class SafeState:
    """The safe state of one object.

    Args:
        actor: The object's actor.
        origin: Its context.
        settings: What is set, by name, after the driver's own ``safe_state()``.
        when: When it is entered, besides the end of the context.
        expect: Called with a turn that is to come, to say so if it does not come in time.
    """

    def __init__(
        self,
        actor: SafeActor,
        origin: Origin,
        settings: Mapping[str, object],
        when: SafeWhen,
        expect: Callable[[SafeTurn], object],
    ) -> None:
        self.actor: SafeActor = actor
        self.settings: Mapping[str, object] = dict(settings)
        self.when: SafeWhen = when
        self._origin = origin
        self._expect = expect

    def turn(self, reason: Reason) -> SafeTurn:
        """A turn in which it is entered, to be put into the object's mailbox."""
        turn = SafeTurn(self, reason, self._origin)
        self._expect(turn)
        return turn

    def lock_lost(self, holder: str) -> SafeTurn | None:
        """The same if the program that held the lock is gone; None if that is of no concern.

        Args:
            holder: The name of its context.
        """
        if not self.when.lock_lost:
            return None
        return self.turn(Reason(f"context {holder!r} that held its lock is gone"))

    def enter(self, target: Reachable, reason: Reason) -> Awaitable[None] | None:
        """Enter it, where the object's methods run. Every step is tried, and what fails is logged.

        Returns:
            Something to await if a step has to be awaited in the loop.
        """
        where = self.actor.where
        if not target.__rpc_is_reachable__():
            _logger.info("%s is not brought into its safe state, although %s: it is not open", where, reason.text)
            return None
        _logger.log(reason.level, "%s is brought into its safe state, since %s", where, reason.text)
        steps = self._steps(target)
        for name, step in steps:
            try:
                result = step()
            except BaseException:  # of the driver; the other steps may be those that matter
                self._failed(name)
                continue
            if inspect.isawaitable(result):
                return self._go_on(name, result, steps)
        return None

    async def _go_on(
        self, name: str, result: Awaitable[object], steps: Iterator[tuple[str, Callable[[], object]]]
    ) -> None:
        awaited: object = result
        while True:
            try:
                if inspect.isawaitable(awaited):
                    await awaited
            except trio.Cancelled:
                raise
            except BaseException:  # as above
                self._failed(name)
            following = next(steps, None)
            if following is None:
                return
            name, step = following
            try:
                awaited = step()
            except BaseException:  # as above
                awaited = None
                self._failed(name)

    def _steps(self, target: Reachable) -> Iterator[tuple[str, Callable[[], object]]]:
        if has_safe_state(type(target)):
            yield "safe_state()", target.safe_state  # type: ignore[attr-defined]
        for name, value in self.settings.items():
            yield f"setting {name} to {value!r}", partial(set_value, target, name, value)

    def _failed(self, step: str) -> None:
        _logger.exception("%s may not be in its safe state: %s failed", self.actor.where, step)


def set_value(target: Reachable, name: str, value: object) -> object:
    """Set a parameter or property of an object, or call its ``set_...()`` method; something to await in the loop."""
    try:
        return target.__rpc_set__(name, value)
    except QMI_UnknownRpcException:
        method = getattr(target, f"set_{name}", None)
        if not callable(method):
            raise
    return method(value)

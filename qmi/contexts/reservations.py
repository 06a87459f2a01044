"""Who has reserved what for which purpose, and how the holder of a lock is told what others want of it.

The lock itself is that of :mod:`qmi.actors.lock_manager`. What is here goes over ``$context``, as calls that an older
version does not know: then a lock is taken and given back all the same, and only the words are missing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Protocol

import trio

from qmi.actors.future import QMI_RpcFuture
from qmi.actors.registry import Registry
from qmi.config.validators import printable
from qmi.contexts.rights import RemoteRights
from qmi.errors import QMI_InvalidOperationException, QMI_InvalidValueException, QMI_UnknownRpcException
from qmi.messages import Call, LockInfo, Origin, Request
from qmi.names import CONTEXT_OBJECT_NAME, Address
from qmi.records import NamedTuple
from qmi.runtime.wakeup import Loop

_logger = logging.getLogger("qmi.core.rpc")

LONGEST = 200
"""Characters of a reason or a name that are kept."""


class ReleaseRequest(NamedTuple):
    """Somebody asks for a lock that this program holds, or has taken it.

    Attributes:
        address: The object, ``"context.object"``.
        by: Who, with program and computer as far as they are known.
        reason: For what; may be empty.
        taken: Whether the lock is gone already, by ``force_unlock()``.
    """

    address: str
    by: str
    reason: str = ""
    taken: bool = False

    def __str__(self) -> str:
        what = "has taken the lock on" if self.taken else "asks for the lock on"
        return f"{self.by} {what} {self.address}" + (f": {self.reason}" if self.reason else "")


ReleaseRequest.__module__ = "qmi.core.context"


class ReservationServices(Protocol):
    """What this needs of the context."""

    name: str
    loop: Loop
    origin: Origin
    registry: Registry
    rights: RemoteRights

    def describe_origin(self, origin: Origin | None) -> str:
        """Which context something came from, where that is, and its process."""

    def request_elsewhere(self, address: Address, message: Request) -> QMI_RpcFuture[object]:
        """Send a message to an object of another context."""

    def spawn(self, function: Callable[..., Coroutine[object, object, None]], *args: object) -> bool:
        """Start a task in the context's nursery."""


class Reservations:
    """The words to the locks of one context.

    Args:
        services: The context.
    """

    def __init__(self, services: ReservationServices) -> None:
        self._services = services
        self._handlers: list[Callable[[ReleaseRequest], object]] = []

    # At the object

    def note(self, name: str, origin: Origin, words: tuple[object, ...]) -> bool:
        """Note for what somebody holds the lock of an object; False if it does not hold it."""
        actor = self._services.registry.get(name)
        return actor is not None and actor.lock_manager.note(origin, *LockWords.of(*words))

    def words(self, name: str) -> LockWords | None:
        """What the holder of an object's lock has said; None if nobody holds it."""
        actor = self._services.registry.get(name)
        info = None if actor is None else actor.lock_manager.info()
        return None if info is None else LockWords(info.reason, info.user, info.program, info.host)

    def request_release(self, name: str, origin: Origin, words: tuple[object, ...]) -> QMI_RpcFuture[str | None]:
        """Tell the holder of an object's lock that somebody else wants it.

        Returns:
            A future of a text that says who was told; None if nobody holds the lock.
        """
        told: QMI_RpcFuture[str | None] = QMI_RpcFuture(f"the request for the lock on {self._services.name}.{name}")
        actor = self._services.registry.get(name)
        if actor is None:
            told.fail(self._services.registry.unknown(name))
            return told
        holder = actor.lock_manager.holder()
        if holder is None:
            told.set_result(None)
            return told
        said = LockWords.of(*words)
        request = ReleaseRequest(actor.where, self.describe(origin, said), said.reason)
        answer = self._tell(holder[0], request)
        if answer is None:
            told.set_result(holder[1].describe())
            return told

        def settle() -> None:
            error = answer.error()
            if error is None:
                told.set_result(holder[1].describe())
            elif isinstance(error, QMI_UnknownRpcException):
                held = f"{actor.where} is held by {holder[1].describe()}"
                told.fail(QMI_InvalidOperationException(f"{held}, whose program runs a version that cannot be asked"))
            else:
                told.fail(error)

        answer.add_done_callback(settle)
        return told

    def force_unlock(self, name: str, origin: Origin, words: tuple[object, ...]) -> None:
        """Unlock an object, whoever holds it, and say for what.

        Raises:
            QMI_InvalidOperationException: If the configuration does not let this context do that.
            QMI_UnknownNameException: If there is no such object.
        """
        if origin != self._services.origin:
            self._services.rights.check_force_unlock(name, origin)
        actor = self._services.registry.get(name)
        if actor is None:
            raise self._services.registry.unknown(name)
        said = LockWords.of(*words)
        actor.lock_manager.force_release(origin, said.reason, said.who())

    def tell_former(self, where: str, former: Origin, by: str, reason: str) -> None:
        """Tell somebody that his lock was taken by force."""
        self._tell(former, ReleaseRequest(where, by, reason, taken=True))

    def describe(self, origin: Origin, words: LockWords) -> str:
        """Somebody who wants something, for messages."""
        who = words.who()
        return self._services.describe_origin(origin) + (f", {who}" if who else "")

    def _tell(self, holder: Origin, request: ReleaseRequest) -> QMI_RpcFuture[object] | None:
        if holder == self._services.origin:
            self.told(holder, *request)
            return None
        call = Call(CONTEXT_OBJECT_NAME, "told_of_lock", tuple(request))
        return self._services.request_elsewhere(Address(holder.context, CONTEXT_OBJECT_NAME), call)

    def ask_words(self, address: Address) -> QMI_RpcFuture[object]:
        """Ask another context what the holder of an object's lock has said."""
        call = Call(CONTEXT_OBJECT_NAME, "lock_words", (address.object,))
        return self._services.request_elsewhere(Address(address.context, CONTEXT_OBJECT_NAME), call)

    # At the holder

    def told(self, origin: Origin, address: object, by: object, reason: object = "", taken: object = False) -> None:
        """This program is asked for a lock that it holds, or has lost one: see :class:`ReleaseRequest`.

        Args:
            origin: Who says so: any peer can.
            address: The object.
            by: Who wants it, or has it.
            reason: For what.
            taken: Whether it is gone.
        """
        if not (isinstance(address, str) and isinstance(by, str) and isinstance(reason, str)):
            raise QMI_InvalidValueException("address, by and reason must be texts")
        texts = [printable(text[: 2 * LONGEST]) for text in (address, by, reason)]
        request = ReleaseRequest(texts[0], texts[1], texts[2], taken is True)
        says = "" if origin == self._services.origin else f" (says {self._services.describe_origin(origin)})"
        _logger.warning("%s%s", request, says)
        if self._handlers:
            self._services.loop.now_or_soon(lambda: self._services.spawn(self._handle, request))

    def add_handler(self, handler: Callable[[ReleaseRequest], object]) -> None:
        """Have a function called with each :class:`ReleaseRequest`."""
        if not callable(handler):
            raise QMI_InvalidValueException(f"handler must be a function of a ReleaseRequest, got {handler!r}")
        self._handlers.append(handler)

    async def _handle(self, request: ReleaseRequest) -> None:
        for handler in list(self._handlers):
            try:
                await trio.to_thread.run_sync(handler, request, abandon_on_cancel=True)
            except Exception:  # of the user; the others are told all the same
                _logger.exception("The handler %r of a request for a lock failed", handler)


class LockWords(NamedTuple):
    """What somebody says who wants a lock.

    Attributes:
        reason: For what.
        user: Who.
        program: In which program.
        host: On which computer.
    """

    reason: str = ""
    user: str = ""
    program: str = ""
    host: str = ""

    def who(self) -> str:
        """Who it is, as text; empty if that is not known."""
        return LockInfo("", "", 0.0, *self).who()

    @classmethod
    def of(cls, *words: object) -> LockWords:
        """Those that came with a call: short, and without anything that a terminal would obey.

        Raises:
            QMI_InvalidValueException: If they are no texts.
        """
        kept = [printable(word[:LONGEST]) for word in words if isinstance(word, str)]
        if len(kept) < len(words):
            raise QMI_InvalidValueException("reason, user, program and host must be texts")
        return cls(*kept)

"""What other contexts may do here, by the configuration of this one.

Who another context is, its certificate proves where there is TLS. Without TLS it is what that program says of itself:
then all of this is a courtesy among people who mean no harm.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Protocol

from qmi.actors.actor import Actor
from qmi.config.schema import CfgContext
from qmi.errors import QMI_InvalidOperationException
from qmi.messages import GET_PROPERTY, Acquire, Call, ForceRelease, Origin, Request, call_text
from qmi.names import ASKER_PREFIX, CONTEXT_OBJECT_NAME

_logger = logging.getLogger("qmi.core.context")


_TOLD = 100
"""Of how many guests it is remembered that the log has been told."""

_READING = ("get_", "has_", "is_", "list_")
_READING_NAMES = frozenset({GET_PROPERTY, "parameters", "snapshot"})


def may_guest(cls: type, message: Request) -> bool:
    """Whether a guest may do something with an object of a class.

    Args:
        cls: The class of the object.
        message: What is wanted.
    """
    if not isinstance(message, Call):
        return not isinstance(message, Acquire | ForceRelease)
    name = message.method.rpartition(".")[2]  # that of a channel has the name of its channels before it
    named: Collection[str] | None = getattr(cls, "GUEST_METHODS", None)
    if named is not None and name != GET_PROPERTY:
        return name in named
    return name in _READING_NAMES or name.startswith(_READING)


_OF_QMI_PROC = frozenset({"shutdown_context", "restart_object"})
"""What ``qmi_proc`` asks of a context, beside what every guest may. Anybody can give himself a name like its own."""


class RightsServices(Protocol):
    """What this needs of the context."""

    name: str
    origin: Origin

    def own_config(self) -> CfgContext:
        """Its settings."""

    def describe_origin(self, origin: Origin | None) -> str:
        """Which context something came from, for the log."""


class RemoteRights:
    """What other contexts may do with one context.

    Args:
        services: The context.

    Attributes:
        operators: The contexts that may do everything; None: everybody may.
    """

    def __init__(self, services: RightsServices) -> None:
        self._services = services
        names = services.own_config().operators
        self.operators: frozenset[str] | None = None if names is None else frozenset(names)
        self._told: set[Origin] = set()

    def check_guest(self, actor: Actor, message: Request, origin: Origin, name: str) -> None:
        """Refuse what a guest may not do. Guests may read, ask and subscribe; they may not set, start, stop or lock.

        Called only if there are guests at all.

        Args:
            actor: The object that it is for.
            message: What is wanted.
            origin: Who wants it.
            name: The name that it has proved, or has given itself.

        Raises:
            QMI_InvalidOperationException: If it may not.
        """
        if self.operators is None or name in self.operators or may_guest(type(actor.object), message):
            return
        own = self._services
        asked = message.method if isinstance(message, Call) else ""
        if name.startswith(ASKER_PREFIX) and actor.address.object == CONTEXT_OBJECT_NAME and asked in _OF_QMI_PROC:
            return  # whether that may stop a program is said by allow_remote_shutdown
        what = f"{call_text(message.method, message.args)} of" if isinstance(message, Call) else "the lock of"
        text = (
            f"Context {own.name!r} is read-only for context {name!r}, which is a guest there "
            f"(contexts.{own.name}.operators does not name it): {what} {actor.where} is refused"
        )
        if origin not in self._told:  # once; a program may ask again and again
            if len(self._told) >= _TOLD:
                self._told.clear()
            self._told.add(origin)
            _logger.warning("%s; said once for this guest: %s", text, own.describe_origin(origin))
        raise QMI_InvalidOperationException(text)

    def check_shutdown(self, origin: Origin | None, name: str = "") -> None:
        """Refuse a context that may not shut this one down, or have one of its objects restarted.

        Args:
            origin: Who wants that.
            name: The object; empty for all of the context.

        Raises:
            QMI_InvalidOperationException: If it may not.
        """
        own = self._services
        if origin is None or origin == own.origin or own.own_config().allow_remote_shutdown:
            return
        passive = f"have {name!r} restarted" if name else "be shut down"
        active = f"restart {name!r}" if name else "shut it down"
        _logger.warning("Context %s refused to %s by %s", own.name, passive, own.describe_origin(origin))
        raise QMI_InvalidOperationException(
            f"Context {own.name!r} does not let other contexts {active} "
            f"(contexts.{own.name}.allow_remote_shutdown is false): stop its program on its own machine"
        )

    def check_force_unlock(self, name: str, origin: Origin) -> None:
        """Refuse a context that may not force the lock of an object.

        Raises:
            QMI_InvalidOperationException: If it may not.
        """
        own = self._services
        if own.own_config().allow_remote_force_unlock:
            return
        _logger.warning("%s.%s: forced unlocking by %s was refused", own.name, name, own.describe_origin(origin))
        raise QMI_InvalidOperationException(
            f"Context {own.name!r} does not let other contexts force its locks "
            f"(contexts.{own.name}.allow_remote_force_unlock is false): ask who holds it, or unlock it over there"
        )

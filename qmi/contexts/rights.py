"""What other contexts may do here, by the configuration of this one."""

from __future__ import annotations

import logging
from typing import Protocol

from qmi.config.schema import CfgContext
from qmi.errors import QMI_InvalidOperationException
from qmi.messages import Origin

_logger = logging.getLogger("qmi.core.context")


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
    """

    def __init__(self, services: RightsServices) -> None:
        self._services = services

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

"""Functions that a program has called when its context stops."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import trio

from qmi.config.schema import CfgContext
from qmi.errors import QMI_UsageException
from qmi.runtime.call_context import EXECUTION, Execution, Facade

_logger = logging.getLogger("qmi.core.context")

_FAILED = "Stop handler %r of context %s failed"


class StopServices(Protocol):
    """What this needs of the context."""

    name: str

    @property
    def facade(self) -> Facade:
        """The same context for blocking code."""

    def own_config(self) -> CfgContext:
        """Its settings."""


class StopHandlers:
    """The stop handlers of one context; each is called once, the last one first.

    Args:
        services: The context.
    """

    def __init__(self, services: StopServices) -> None:
        self._services = services
        self._handlers: list[Callable[[], object]] = []

    def add(self, handler: Callable[[], object]) -> None:
        """Have a function called, before all that were given so far."""
        if not callable(handler):
            raise QMI_UsageException(f"A stop handler is a function without arguments; got {handler!r}")
        self._handlers.append(handler)

    def run(self) -> None:
        """Call them here and now; what is left of them is called by :meth:`run_within_grace`."""
        while self._handlers:
            handler = self._handlers.pop()
            try:
                self._call(handler)
            except Exception:  # one that fails must not keep the rest from being called
                _logger.exception(_FAILED, handler, self._services.name)

    async def run_within_grace(self) -> None:
        """Call them in threads; each has the time that a stop has, and is left behind then."""
        while self._handlers:
            handler = self._handlers.pop()
            try:
                with trio.move_on_after(self._services.own_config().stop_grace) as scope:
                    await trio.to_thread.run_sync(self._call, handler, abandon_on_cancel=True)
                if scope.cancelled_caught:
                    name = self._services.name
                    _logger.error("Stop handler %r of context %s does not end and is left behind", handler, name)
            except Exception:  # as above
                _logger.exception(_FAILED, handler, self._services.name)

    def _call(self, handler: Callable[[], object]) -> None:
        token = EXECUTION.set(Execution(self._services.facade))
        try:
            handler()
        finally:
            EXECUTION.reset(token)

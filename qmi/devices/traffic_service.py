"""``$traffic``: what the instruments of a context and their devices say to each other, for other programs to see."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Any, ClassVar, Protocol

from qmi.actors.future import QMI_RpcFuture
from qmi.actors.interface import Placement, answered_by, direct_method
from qmi.actors.registry import Registry
from qmi.actors.rpc_object import QMI_RpcObject
from qmi.contexts.internal import register_internal_object
from qmi.contexts.log_reader import LogReader
from qmi.devices.traffic_log import TrafficLog
from qmi.messages import Origin
from qmi.names import Address
from qmi.runtime.call_context import CALLER
from qmi.runtime.wakeup import Loop

TRAFFIC = "$traffic"
"""The object of each context with transports that tells of their traffic."""

_logger = logging.getLogger("qmi.core.transport")


class Owner(Protocol):
    """The context behind the object."""

    name: str
    origin: Origin
    registry: Registry
    loop: Loop

    def run(self, function: Callable[..., Any], *arguments: object) -> QMI_RpcFuture[Any]:
        """Run an awaitable function in the event loop."""

    def describe_origin(self, origin: Origin | None) -> str:
        """Which context something came from, for the log."""


class TrafficService(QMI_RpcObject):
    """What the instruments of a context and their devices say to each other.

    Args:
        context: The context.
        name: The name of this object.
        owner: The context behind it.
    """

    _rpc_placement = Placement.LOOP
    GUEST_METHODS: ClassVar[Collection[str]] = (
        "get_category",
        "get_name",
        "get_signals",
        "get_traffic",
        "read_traffic",
    )

    def __init__(self, context: Any, name: str, owner: Owner) -> None:
        super().__init__(context, name)
        self._owner = owner
        self._logs: dict[str, TrafficLog] = {}

    @classmethod
    def get_category(cls) -> str:
        """What kind of object this is."""
        return "context"

    def release_rpc_object(self) -> None:
        """Keep nothing more."""
        for log in self._logs.values():
            log.switch_off()

    def _log_of(self, instrument: str) -> TrafficLog:
        self._owner.registry.existing(Address(self._owner.name, instrument))
        return self._logs.setdefault(instrument, TrafficLog(instrument))

    @direct_method
    def get_traffic(self, instrument: str) -> dict[str, object]:
        """How the traffic log of an instrument is.

        Args:
            instrument: The instrument.

        Returns:
            ``transport`` (whether it has one), ``on``, ``by`` (who has switched it on) and ``since`` (seconds since
            1970; 0 while it is off).

        Raises:
            QMI_UnknownNameException: If there is none of that name.
        """
        log = self._log_of(instrument)
        return {"transport": log.has_transport, "on": log.is_on, "by": log.by, "since": log.since}

    @direct_method
    def start_traffic(self, instrument: str) -> None:
        """Keep what is written and read from now on: the last 2000 exchanges, in memory.

        It ends by :meth:`stop_traffic`, or when nobody has read it for an hour.

        Raises:
            QMI_UnknownNameException: If there is none of that name.
        """
        log, who = self._log_of(instrument), self._owner.describe_origin(CALLER.get())
        log.switch_on(who)
        _logger.info("The traffic of %s is kept, as %s wants", instrument, who)

    @direct_method
    def stop_traffic(self, instrument: str) -> None:
        """Keep no more; what there is can still be read. Errors as for :meth:`start_traffic`."""
        self._log_of(instrument).switch_off()
        _logger.info("The traffic of %s is not kept any more", instrument)

    @answered_by("_begin_read_traffic")
    def read_traffic(
        self, instrument: str, after: int | None = None, limit: int = 200, wait: float = 0.0, run: str = ""
    ) -> dict[str, Any]:
        r"""Read what was kept, as ``read_log`` of ``$context`` reads the log.

        Args:
            instrument: The instrument.
            after: What was read last: ``last`` of the answer before. None wants the newest records.
            limit: How many records are wanted at most.
            wait: How many seconds to wait until there is one; without ``after``, nothing is waited for.
            run: ``run`` of the answer before.

        Returns:
            A :class:`.LogBatch` as plain data; messages are ``write 6 "*IDN?\n"``, ``read ...``, ``open``, ``close``,
            ``timeout``, ``lost`` and the like.

        Raises:
            QMI_UnknownNameException: If there is none of that name.
            QMI_InvalidValueException: If an argument makes no sense.
        """
        return self._begin_read_traffic(instrument, after, limit, wait, run).wait()

    def _begin_read_traffic(
        self, instrument: str, after: int | None = None, limit: int = 200, wait: float = 0.0, run: str = ""
    ) -> QMI_RpcFuture[dict[str, Any]]:
        log = self._log_of(instrument)
        log.was_read()
        return self._owner.run(LogReader(self._owner.loop, after, 0, limit, wait, run, ring=log.ring).answer)


register_internal_object(TRAFFIC, TrafficService)

"""``$scans``: the scans that go on in a context, seen and steered from other programs."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, ClassVar, Protocol

from qmi.actors.interface import Placement, direct_method
from qmi.actors.pubsub.signal import QMI_Signal
from qmi.actors.registry import Registry
from qmi.actors.rpc_object import QMI_RpcObject
from qmi.contexts.internal import register_internal_object
from qmi.scan.handles import SCANS
from qmi.scan.queue import ScanQueueRunner
from qmi.scan.running import RUNNING, Caller, Owner, ScanInfo, Steerable

_logger = logging.getLogger("qmi.scan")


class ScansOwner(Owner, Protocol):
    """A context, as far as this needs to know it."""

    registry: Registry


class Scans(QMI_RpcObject):
    """The scans that go on in a context.

    Args:
        context: The context.
        name: The name of this object.
        owner: The context behind it.
    """

    _rpc_placement = Placement.LOOP
    GUEST_METHODS: ClassVar[Collection[str]] = (
        "get_category", "get_name", "get_scan", "get_signals", "list_queues", "list_scans",
    )  # fmt: skip

    sig_changed: QMI_Signal = QMI_Signal([str, str])
    """Published when a scan begins, ends, or changes its state: its id and its state."""

    def __init__(self, context: Any, name: str, owner: ScansOwner) -> None:
        super().__init__(context, name)
        self._owner = owner
        self._end = RUNNING.listen(owner.name, self._tell)

    def _tell(self, info: ScanInfo) -> None:
        self.sig_changed.publish(info.id, info.state)

    def release_rpc_object(self) -> None:
        """Listen no more."""
        self._end()

    @direct_method
    def list_scans(self) -> list[ScanInfo]:
        """The scans that go on."""
        return RUNNING.infos(self._owner.name)

    @direct_method
    def list_queues(self) -> list[str]:
        """The names of the queues of scans in this context, whatever their classes are called."""
        return [actor.address.object for actor in self._owner.registry if isinstance(actor.object, ScanQueueRunner)]

    @direct_method
    def get_scan(self, scan_id: str) -> ScanInfo:
        """One of them, or one that has ended not long ago.

        Raises:
            QMI_UnknownNameException: If there is none of that id.
        """
        return RUNNING.info(self._owner.name, scan_id)

    @direct_method
    def pause_scan(self, scan_id: str) -> None:
        """Have a scan wait before its next point.

        Raises:
            QMI_UnknownNameException: If there is none of that id.
            QMI_InvalidOperationException: If it has ended.
        """
        self._steered(scan_id, "paused").pause()

    @direct_method
    def resume_scan(self, scan_id: str) -> None:
        """Have a scan go on after a pause; errors as for :meth:`pause_scan`."""
        self._steered(scan_id, "resumed").resume()

    @direct_method
    def stop_scan(self, scan_id: str) -> None:
        """Have a scan end after this point; errors as for :meth:`pause_scan`."""
        self._steered(scan_id, "stopped").stop()

    @direct_method
    def abort_scan(self, scan_id: str) -> None:
        """Have a scan end now; errors as for :meth:`pause_scan`."""
        self._steered(scan_id, "aborted").abort()

    def _steered(self, scan_id: str, what: str) -> Steerable:
        found = RUNNING.steerable(self._owner.name, scan_id)
        who = Caller.of_now(self._owner)
        _logger.log(who.level, "Scan %s is %s by %s", scan_id, what, who)
        return found


register_internal_object(SCANS, Scans)

"""A queue of scans, and scans for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import qmi
from qmi.core.context import QMI_Context
from qmi.core.pubsub import QMI_Signal
from qmi.core.rpc import Placement, rpc_method
from qmi.scan import Scan, ScanQueue, scan
from tests.support.lab import address, make_context
from tests.support.scan_functions import get_power, set_position
from tests.support.supplies import Supply

FUNCTIONS = "tests.support.scan_functions"


class Bench(Supply):
    """A supply with a door."""

    _rpc_placement = Placement.CALLER
    sig_door = QMI_Signal([bool])

    @rpc_method
    def put(self, is_open: bool) -> None:
        """Open the door, or close it."""
        self.sig_door.publish(is_open)

    @rpc_method
    def move(self, value: object) -> None:
        """Is set."""


@contextmanager
def running_lab(*, start: bool = True, context: dict[str, Any] | None = None, **settings: Any) -> Iterator[QMI_Context]:
    with make_context("lab", context=context) as lab:
        lab.make_instrument("psu", Bench)
        queue = lab.make_task("scans", ScanQueue, modules=[FUNCTIONS], **settings)
        if start:
            queue.start()
        yield lab


@contextmanager
def client_of(lab: QMI_Context, name: str = "client") -> Iterator[QMI_Context]:
    with qmi.start(name, None, init_logging=False) as client:
        client.connect_to_peer("lab", address(lab))
        yield client


def psu() -> Any:
    return qmi.get_instrument("lab.psu")


def queue() -> Any:
    return qmi.get_task("lab.scans")


def measured(*points: object, **settings: Any) -> Scan:
    """A scan that needs no instrument."""
    return scan(set_position, list(points) or [1, 2, 3], **settings).measure(get_power)

"""Which adapter is for a driver: those of entry points come first, then those of this package."""

from __future__ import annotations

import logging
from functools import cache

from qmi.hosting.adapter import Adapter, PlainAdapter
from qmi.hosting.awaited import AsyncioAdapter, TrioAdapter
from qmi.hosting.instrumentkit import InstrumentKitAdapter
from qmi.hosting.ophyd import OphydAdapter
from qmi.hosting.pymeasure import PyMeasureAdapter
from qmi.hosting.pyvisa import PyVisaAdapter
from qmi.hosting.qcodes import QcodesAdapter

GROUP = "qmi.hosting"
"""The group of entry points: ``acme = "acme_qmi:AcmeAdapter"``."""

_logger = logging.getLogger("qmi.core.instrument")


def adapter_for(driver_class: type) -> Adapter:
    """The adapter for drivers of a class.

    Args:
        driver_class: The class.
    """
    for adapter in (*_registered(), *_OWN):
        if adapter.fits(driver_class):
            return adapter
    raise AssertionError(driver_class)  # the last one is for every class


_OWN: tuple[Adapter, ...] = (
    PyMeasureAdapter(),
    QcodesAdapter(),
    PyVisaAdapter(),
    InstrumentKitAdapter(),
    OphydAdapter(),
    TrioAdapter(),
    AsyncioAdapter(),
    PlainAdapter(),
)


def forget() -> None:
    """Look for the entry points again when the next adapter is wanted."""
    _registered.cache_clear()


@cache
def _registered() -> tuple[Adapter, ...]:
    from importlib.metadata import entry_points  # takes 30 ms

    found = []
    for point in entry_points(group=GROUP):
        try:
            adapter = point.load()()
        except Exception as error:  # noqa: BLE001 - of another distribution: the others are there all the same
            _logger.warning("The adapter %s = %s cannot be used: %s", point.name, point.value, error)
            continue
        if isinstance(adapter, Adapter):
            found.append(adapter)
        else:
            _logger.warning("The adapter %s = %s is not derived from qmi.hosting.Adapter", point.name, point.value)
    return tuple(found)

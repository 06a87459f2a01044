"""Scans: set something, measure something, point by point.

::

    from qmi.scan import scan

    for point in scan(psu.parameters.voltage, 0, 5, 51).measure(dmm.parameters.voltage):
        print(point.psu_voltage, point.dmm_voltage)

The points may be a list, a plain generator, or what :func:`linspace`, :func:`grid` and the others make.
"""

from __future__ import annotations

from qmi.scan.columns import Readable, Recorder, Row, Settable, readable, settable
from qmi.scan.engine import Scan, scan
from qmi.scan.handles import ScanHandle, find, find_async, scans, scans_async
from qmi.scan.points import Points, adaptive, grid, linspace, repeat, zip  # noqa: A004 - zip of points
from qmi.scan.queue import ScanQueue, ScanQueueRunner
from qmi.scan.running import ScanInfo
from qmi.scan.service import Scans

__all__ = [
    "Points",
    "Readable",
    "Recorder",
    "Row",
    "Scan",
    "ScanHandle",
    "ScanInfo",
    "ScanQueue",
    "ScanQueueRunner",
    "Scans",
    "Settable",
    "adaptive",
    "find",
    "find_async",
    "grid",
    "linspace",
    "readable",
    "repeat",
    "scan",
    "scans",
    "scans_async",
    "settable",
    "zip",
]

for _public in (Points, Readable, Recorder, Row, Scan, Scans, Settable):
    _public.__module__ = __name__
for _function in (adaptive, grid, linspace, readable, repeat, scan, settable, zip):
    _function.__module__ = __name__

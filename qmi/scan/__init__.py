"""Scans: set something, measure something, point by point.

The points of a scan are a list, a plain generator, or what the functions below make::

    from qmi.scan import grid, linspace

    grid(linspace(0, 5, 51), linspace(0, 1, 11))
"""

from __future__ import annotations

from qmi.scan.points import Points, adaptive, grid, linspace, repeat, zip  # noqa: A004 - zip of points

__all__ = ["Points", "adaptive", "grid", "linspace", "repeat", "zip"]

for _public in (Points, adaptive, grid, linspace, repeat, zip):
    _public.__module__ = "qmi.scan"

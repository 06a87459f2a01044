"""Upstream QMI, from the package registry, in an environment of its own."""

from __future__ import annotations

from benchmarks.systems.qmi_script import QmiScript


class Upstream(QmiScript):
    """Upstream QMI."""


SYSTEM = Upstream()

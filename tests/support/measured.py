"""Measures which lines of the package run; pytest loads this by ``-p`` in every process, before it imports anything.

Programs that tests start are not measured: it would make them slow, and many of them are killed.
"""

from __future__ import annotations

import coverage
import pytest

_MEASUREMENT = coverage.Coverage()
_MEASUREMENT.start()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Write what was measured into a file of its own: ``coverage combine`` puts them together."""
    _MEASUREMENT.stop()
    _MEASUREMENT.save()

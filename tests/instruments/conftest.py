"""Fixtures for tests of drivers on their simulators."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from qmi.testing import simulated_time
from qmi.testing.clock import MovableClock


@pytest.fixture
def clock() -> Iterator[MovableClock]:
    """The simulated time of a test."""
    with simulated_time() as clock:
        yield clock

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.lab import make_context
from tests.support.links import Lab
from tests.support.waiting import wait_until


@pytest.fixture
def lab() -> Iterator[Lab]:
    with make_context("here") as here, make_context("there") as there:
        made = Lab(here, there)
        yield made
        made.actual().gate.set()
        wait_until(made.nothing_is_open)

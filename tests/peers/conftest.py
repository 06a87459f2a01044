from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from qmi.core.context import Context
from tests.support.lab import make_context
from tests.support.links import Lab, two_contexts
from tests.support.waiting import wait_until


@pytest.fixture
def lab() -> Iterator[Lab]:
    with make_context("here") as here, make_context("there") as there:
        made = Lab(here, there)
        yield made
        made.actual().gate.set()
        wait_until(made.nothing_is_open)


@pytest.fixture
async def contexts() -> AsyncIterator[tuple[Context, Context]]:
    """Two contexts in the trio run of the test, the first of which uses the instruments of the second."""
    async with two_contexts() as contexts:
        yield contexts

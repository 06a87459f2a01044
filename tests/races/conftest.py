from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from qmi.core.context import Context
from tests.support.links import pair


@pytest.fixture
async def contexts() -> AsyncIterator[tuple[Context, Context]]:
    """Two contexts in the trio run of the test, with a link between them."""
    async with pair() as contexts:
        yield contexts

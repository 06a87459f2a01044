from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.support.limits import run_within


def test_an_async_test_that_hangs_fails_after_its_limit() -> None:
    with pytest.raises(trio.TooSlowError):
        run_within(0.01, trio.sleep_forever, clock=None)


async def test_an_async_test_with_a_mock_clock_has_no_limit(autojump_clock: trio.testing.MockClock) -> None:
    await trio.sleep(1e6)


async def test_an_async_test_has_a_limit_in_real_time(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("trio") is not None
    assert 0 < trio.current_effective_deadline() - trio.current_time() < 120

"""How many examples Hypothesis tries: few in a usual run, and the same ones each time; many beside the slow tests."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

_SHARE = 4
_thorough = False


def choose(thorough: bool) -> None:
    """Say which kind of run this is, before the tests are imported.

    No example has a limit of time: on a busy machine a good one may take long.
    """
    global _thorough
    _thorough = thorough
    health = [HealthCheck.too_slow]
    settings.register_profile(
        "few", max_examples=25, derandomize=True, database=None, deadline=None, suppress_health_check=health
    )
    settings.register_profile("many", max_examples=100, deadline=None, suppress_health_check=health)
    settings.load_profile("many" if thorough else "few")


def examples(count: int, **options: Any) -> settings:
    """Settings for a test.

    Args:
        count: How many examples a thorough run tries; a usual one tries a quarter of them.
        options: Other settings.
    """
    return settings(max_examples=count if _thorough else -(-count // _SHARE), **options)

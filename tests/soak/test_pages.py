from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.web.chromium import PROGRAM
from tests.soak.pages import LIMITS, Size, growth, soak

AT_FIRST = Size(50 << 20, 40, 60 << 20, 20, 4 << 20, 900, 100)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_pages_that_are_looked_at_for_a_while_do_not_grow() -> None:
    if not Path(PROGRAM).exists():
        pytest.skip(f"the pages are shown by Chromium, and there is no {PROGRAM}")
    report = soak(20.0, browsers=10)
    assert report.faults == []
    assert len(report.sizes) > 5


def test_growth_of_pages_is_told_with_both_sizes() -> None:
    steady = [AT_FIRST._replace(server=AT_FIRST.server + jump) for jump in (0, 1000, -1000, 500, 0, 9 << 20)]
    assert growth(steady) == [], "one that is large once is no growth"
    larger = Size(*(size + limit + 1 for size, limit in zip(AT_FIRST, LIMITS, strict=True)))
    faults = growth([AT_FIRST, AT_FIRST, larger])
    assert len(faults) == len(Size._fields)
    assert "server files grew from 40 to 45, and may grow by 4" in faults

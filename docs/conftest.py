"""What the pages show is run: ``tests/support/pages.py`` says how."""

from __future__ import annotations

from pathlib import Path

import pytest
from sybil import Sybil

from tests.support import pages

# tests/test_values_page.py runs these blocks: they need both ends of a link.
RUN_ELSEWHERE = ["values.md"]

pytest_collect_file = Sybil(
    parsers=[pages.parse], patterns=["*.md"], excludes=RUN_ELSEWHERE, teardown=pages.close
).pytest()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Pages that start processes are slow."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and pages.STARTS_PROCESSES.search(item.path.read_text("utf-8")):
            item.add_marker(pytest.mark.slow)

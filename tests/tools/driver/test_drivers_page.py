"""The page about drivers keeps what it says: from a manual to a driver with simulator and tests in forty lines."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "do" / "drivers.md"


def lines_of(caption: str) -> int:
    """How many lines a file of the page has, without empty ones."""
    found = re.search(rf"^:caption: {caption}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return sum(bool(line.strip()) for line in found[1].splitlines())


def test_driver_of_the_page_has_no_more_than_forty_lines_with_its_tests() -> None:
    driver, tests = lines_of("spectrometer.py"), lines_of("test_spectrometer.py")
    assert driver + tests <= 40
    assert f"That is all: {driver} lines of driver and simulator, {tests} of tests." in PAGE.read_text("utf-8")

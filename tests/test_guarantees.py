"""What ``docs/guarantees.md`` promises is held by tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()
PROMISES = re.findall(r"^\*\*(\d+\. .+?)\*\*", PAGE, re.MULTILINE)
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"\b(test_\w+)(?=\(| = )", path.read_text())
}


def paragraphs() -> list[tuple[str, str]]:
    """Each promise with the text up to the next one."""
    parts = re.split(r"^\*\*(\d+\. .+?)\*\*", PAGE, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize(("promise", "text"), paragraphs(), ids=PROMISES)
def test_each_promise_is_held_by_tests_that_exist(promise: str, text: str) -> None:
    held = re.findall(r"`(test_\w+)`", text.partition("Held by")[2])
    assert held, "no test is named"
    assert [name for name in held if name not in TESTS] == []


def test_promises_are_numbered_in_order() -> None:
    assert [int(promise.partition(".")[0]) for promise in PROMISES] == list(range(1, len(PROMISES) + 1))
    assert len(PROMISES) > 20


def test_decisions_are_numbered_in_order() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        assert record.read_text().startswith(f"# {int(record.name[:4])}. "), record

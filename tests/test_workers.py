"""Tests run in several processes, which send each other what came out."""

from __future__ import annotations

import pytest

from tests.support.workers import sendable


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        ("caf\u00e9 \U0001f52c", "caf\u00e9 \U0001f52c"),
        ("\ud800", "\\ud800"),
        ([1.5, None, ("a\udcff", True)], [1.5, None, ("a\\udcff", True)]),
        ({"sections": [["out", "\ud800"]], "\ud800": b"\xff"}, {"sections": [["out", "\\ud800"]], "\\ud800": b"\xff"}),
    ],
)
def test_report_of_a_test_has_no_half_characters(data: object, sent: object) -> None:
    assert sendable(data) == sent

"""What is said of the methods and parameters of an object in a list."""

from __future__ import annotations

import pytest

from qmi.presenting.members import first_line


@pytest.mark.parametrize(
    ("doc", "line"),
    [
        ("", ""),
        ("Measure.", "Measure."),
        ("\n    Measure.\n\n    More of it.\n", "Measure."),
        ('The oldest, such as ``0,"No error"``.', 'The oldest, such as 0,"No error".'),
    ],
)
def test_first_line_is_plain_text(doc: str, line: str) -> None:
    assert first_line(doc) == line

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.tools.picture import draw

finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)


def test_a_straight_line_goes_from_corner_to_corner() -> None:
    assert draw([3, 2, 1, 0], 7, 4, fine=False) == ["3 |*", "  | *", "  |  *", "0 |   *"]


def test_fine_pictures_have_eight_dots_in_a_character() -> None:
    assert draw([7, 6, 5, 4, 3, 2, 1, 0], 7, 2) == ["7 |⠑⢄", "0 |  ⠑⢄"]


def test_limits_fix_the_scale_and_what_lies_beyond_is_drawn_at_the_edge() -> None:
    assert draw([-5, 5, 50], 7, 3, limits=(0, 10), fine=False) == ["10 |  *", "   | *", " 0 |*"]


def test_picture_keeps_every_sample_when_there_is_little_room() -> None:
    values = [0.0] * 1000
    values[567] = 9.0
    assert "*" in draw(values, 20, 5, fine=False)[0]


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0]])
def test_few_or_equal_values_make_a_picture_too(values: list[float]) -> None:
    assert len(draw(values, 20, 3)) == 3


@given(st.lists(finite, max_size=50), st.integers(16, 60), st.integers(2, 12), st.booleans())
def test_every_picture_fits_and_shows_something(values: list[float], width: int, height: int, fine: bool) -> None:
    lines = draw(values, width, height, fine=fine)
    assert len(lines) == height
    assert all(len(line) <= width for line in lines)
    drawn = "".join(line.partition("|")[2] for line in lines).strip()
    assert bool(drawn) == bool(values)


def test_a_sine_looks_like_one() -> None:
    lines = draw([math.sin(x / 10) for x in range(63)], 68, 9, limits=(-1, 1), fine=False)
    top, middle, bottom = (lines[row].partition("|")[2] for row in (0, 4, 8))
    assert top.index("*") < 20 < bottom.index("*")
    assert len(top.strip()) < 15
    assert middle.strip().count("*") >= 3

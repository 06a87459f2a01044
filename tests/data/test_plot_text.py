from __future__ import annotations

import re
from datetime import UTC
from typing import Any

import numpy
import pytest
from rich.cells import cell_len

from qmi.data.plot_drawing import Drawing
from qmi.data.plot_text import Style, draw_text
from tests.support.plots import drawing_of

PLAIN = Style(colour=False, fine=True)
ASCII = Style(colour=False, fine=False)
COLOURED = Style(colour=True, fine=True)
CODES = re.compile(r"\x1b\[[\d;]*m")


def cooldown() -> Drawing:
    rows = [{"T": 300.0 - n, "V": n % 7, "W": n % 5, "on": n > 50} for n in range(100)]
    return drawing_of({"T": "K", "V": "V", "W": "V", "on": ""}, rows)


def grid() -> Drawing:
    rows = [{"a": a, "b": b, "I": 1e-9 * (a - b)} for a in range(6) for b in range(5)][:28]
    return drawing_of({"a": "V", "b": "V", "I": "A"}, rows, ["a", "b"])


def points() -> Drawing:
    rows = [{"a": n * 7 % 20, "b": n * n * 3 % 17, "V": float(n)} for n in range(20)]
    return drawing_of({"a": "mm", "b": "mm", "V": "V"}, rows, ["a", "b"])


def waves() -> Drawing:
    rows = [{"trace": numpy.sin(numpy.arange(50) / 9 + n)} for n in range(9)]
    return drawing_of({"trace": "V"}, rows, y=["trace", "trace[-1]"])


def wide() -> Drawing:
    return drawing_of({"温度" * 30: "K", "b" * 300: "K"}, [{"温度" * 30: n, "b" * 300: -n} for n in range(4)])


def empty() -> Drawing:
    return drawing_of({"T": "K"}, [])


DRAWINGS = [cooldown, grid, points, waves, wide, empty]


@pytest.mark.parametrize("style", [PLAIN, ASCII, COLOURED, Style(colour=True, fine=False)])
@pytest.mark.parametrize(("width", "height"), [(30, 8), (80, 24), (200, 60), (80, 9), (33, 100)])
@pytest.mark.parametrize("make", DRAWINGS)
def test_drawing_fits_the_terminal(make: Any, width: int, height: int, style: Style) -> None:
    lines = draw_text(make(), width, height, style, UTC)
    assert len(lines) <= height
    plain = [CODES.sub("", line) for line in lines]
    assert max(map(cell_len, plain)) <= width
    assert all(text.isprintable() for text in plain)
    assert style.colour or plain == lines
    if not style.fine and make is not wide:
        assert all(text.isascii() for text in plain)


def test_lines_have_labels_scales_and_a_curve() -> None:
    drawing = drawing_of({"f": "Hz", "V": "V"}, [{"f": n, "V": n} for n in range(5)], ["f"])
    lines = draw_text(drawing, 40, 14, ASCII)
    assert lines == [
        "sample",
        "20261126-140501_sample: running, 5 rows",
        "V [V]",
        "4+                                  ****",
        " |                             ******",
        " |                        ******",
        " |                   ******",
        "2+             ******",
        " |        ******",
        " |   ******",
        "0+****",
        " ++-----------------+------------------+",
        "  0                 2                  4",
        "                  f [Hz]",
    ]


def test_lines_without_colours_have_pictures_of_their_own() -> None:
    plain = "\n".join(draw_text(cooldown(), 80, 40, PLAIN))
    assert [label for label in ("T [K]", "V [V]", "W [V]", "on", "no room") if label in plain] == [
        "T [K]", "V [V]", "W [V]", "on"
    ]  # fmt: skip
    coloured = draw_text(cooldown(), 80, 40, COLOURED)
    heading = next(line for line in coloured if "V" in line and "W" in line)
    assert heading == "\x1b[38;5;33mV\x1b[0m  \x1b[38;5;208mW\x1b[0m  [V]"
    assert any("38;5;208m" in line and line != heading for line in coloured)


def test_panels_that_have_no_room_are_named() -> None:
    assert draw_text(cooldown(), 80, 12, PLAIN)[-1] == "no room for V, W, on"


def test_image_without_colours_is_shades_from_low_to_high() -> None:
    lines = draw_text(grid(), 40, 20, PLAIN)
    assert lines[2] == "-4 ·░▒▓█ 5  I [nA], over b [V]"
    upper, lower = lines[4].partition("┤")[2], lines[16].partition("│")[2]
    assert upper.startswith("·")
    assert len(upper) < len(lower)  # what was not measured
    assert lower.endswith("█")


def test_image_in_colours_has_two_rows_in_a_line() -> None:
    lines = draw_text(grid(), 40, 20, COLOURED)
    assert lines[4].count("▀") == 32
    assert "48;5;" in lines[4]


def test_times_are_written_with_their_day_and_zone() -> None:
    lines = draw_text(cooldown(), 80, 40, PLAIN, UTC)
    assert lines[-1].strip() == "time, 2026-11-26 UTC"
    assert "14:06:00" in lines[-2]


def test_axes_without_a_round_number_have_their_ends() -> None:
    drawing = drawing_of({"f": "", "V": ""}, [{"f": n, "V": 0.12345678 + n * 1e-9} for n in range(3)], ["f"])
    lines = draw_text(drawing, 60, 8, PLAIN)
    assert sum("┤" in line for line in lines) >= 2


def test_one_value_is_drawn() -> None:
    text = "\n".join(draw_text(drawing_of({"V": "V"}, [{"V": 5.0}]), 40, 12, ASCII))
    assert text.count("*") == 1
    assert "2026-11-26" in text

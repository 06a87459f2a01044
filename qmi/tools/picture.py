"""How samples look in a terminal: a picture of dots, as wide and high as there is room."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BRAILLE = 0x2800
# The bits of the eight dots in a braille character: two columns, four rows from the top.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def draw(
    values: Sequence[float], width: int, height: int, *, limits: tuple[float, float] | None = None, fine: bool = True
) -> list[str]:
    """Draw values from left to right.

    Args:
        values: Finite numbers.
        width: In characters, at least 16: the scale on the left takes some of them.
        height: In lines, at least 2.
        limits: Values at the lower and upper edge; what lies beyond is drawn at the edge. None fits the values.
        fine: Draw with braille characters, eight dots each; else with asterisks.

    Returns:
        The lines of the picture, none longer than the width.
    """
    low, high = limits if limits is not None else (min(values, default=0.0), max(values, default=0.0))
    high = high if high > low else low + max(1.0, abs(low))
    labels = {0: f"{high:.4g}", height - 1: f"{low:.4g}"}
    margin = max(map(len, labels.values()))
    columns = max(width - margin - 2, 1)
    across, down = (2, 4) if fine else (1, 1)
    cells = [[0] * columns for _ in range(height)]
    count = columns * across
    for column in range(count):
        for value in _extremes(values, column, count):
            share = min(max((high - value) / (high - low), 0.0), 1.0)
            row = round(share * (height * down - 1))
            cells[row // down][column // across] |= _DOTS[column % across][row % down] if fine else 1
    return [
        f"{labels.get(number, ''):>{margin}} |{''.join(_character(cell, fine) for cell in row)}".rstrip()
        for number, row in enumerate(cells)
    ]


def _extremes(values: Sequence[float], column: int, columns: int) -> set[float]:
    """Least and greatest of the values that fall into a column, so that noise is not averaged away."""
    begin = column * len(values) // columns
    end = max((column + 1) * len(values) // columns, math.ceil((column + 1) * len(values) / columns), begin)
    there = values[begin:end]
    return {min(there), max(there)} if there else set()


def _character(cell: int, fine: bool) -> str:
    if fine:
        return chr(_BRAILLE + cell) if cell else " "
    return "*" if cell else " "

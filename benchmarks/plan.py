"""What a measure is, which goals its figures are held against, and whether they meet them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Figures = dict[str, float]
"""What one run of one system gives: figures by name; the main one is called "value"."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One figure that must not be more, or not less, than so many times another one.

    Attributes:
        run: Whose figure: a system, or ``"system:variant"``.
        figure: Its name.
        versus: The run that it is compared with; None holds the figure itself against the limit.
        versus_figure: Name of the other run's figure, if it is not the same.
        at_most: The upper limit, or None.
        at_least: The lower limit, or None.
    """

    run: str = "ours"
    figure: str = "value"
    versus: str | None = None
    versus_figure: str | None = None
    at_most: float | None = None
    at_least: float | None = None

    def is_met(self, found: float) -> bool:
        """Whether a ratio (or figure) is within the limits."""
        return (self.at_most is None or found <= self.at_most) and (self.at_least is None or found >= self.at_least)

    def limit(self) -> str:
        """The limit as text: ``"<= 0.85"``."""
        return f"<= {self.at_most:g}" if self.at_most is not None else f">= {self.at_least:g}"

    def pairs(self, rounds: Sequence[Mapping[str, Figures]]) -> list[float]:
        """The ratio (or figure) of each round in which both runs came to an end."""
        found = []
        for figures in rounds:
            mine = figures.get(self.run, {}).get(self.figure)
            if mine is None:
                continue
            if self.versus is None:
                found.append(mine)
                continue
            other = figures.get(self.versus, {}).get(self.versus_figure or self.figure)
            if other:
                found.append(mine / other)
        return found


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One row of the table.

    Attributes:
        title: What is measured.
        unit: Unit of its figures.
        runs: Who is measured, in this order in each round: ``"system"`` or ``"system:variant"``.
        goals: What is to be reached.
        measure: Measures for about so many seconds: (system, variant, seconds) -> figures.
    """

    title: str
    unit: str
    runs: tuple[str, ...]
    goals: tuple[Goal, ...]
    measure: Callable[[Any, str, float], Figures]

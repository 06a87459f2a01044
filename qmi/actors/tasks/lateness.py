"""How late a loop starts: count, median, 99th percentile and worst, in bounded memory.

A loop may run some 100,000 times a second for months, so no sample is kept. Each one is counted in a bin of a
logarithmic histogram: sixteen bins for each doubling, from a nanosecond up. A percentile read from it is wrong by at
most 3 %; the count and the worst are exact.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FIRST_BINS", "FIRST_END", "LatenessHistogram", "LatenessSummary"]

_BINS_PER_OCTAVE_LOG2 = 4
_BINS_PER_OCTAVE = 1 << _BINS_PER_OCTAVE_LOG2
# Nanoseconds up to 2**60 (36 years): later than that counts as that late.
_TOP_NS = (1 << 60) - 1
_SHIFTED_BITS = _BINS_PER_OCTAVE_LOG2 + 1
_BIN_COUNT = (60 - _SHIFTED_BITS + 2) * _BINS_PER_OCTAVE


def _bin_of(ns: int) -> int:
    # Below 32 ns each bin is one nanosecond; above, the five leading bits name the bin within its octave.
    shift = ns.bit_length() - _SHIFTED_BITS
    return ns if shift <= 0 else (shift << _BINS_PER_OCTAVE_LOG2) + (ns >> shift)


FIRST_BINS = tuple(map(_bin_of, range(4096)))
"""The bins of delays up to 4 µs, as those of a loop that has no time to wait are."""
FIRST_END = len(FIRST_BINS) * 1e-9


class LatenessSummary(NamedTuple):
    """How late something was, in seconds. All zero when nothing was counted."""

    samples: int
    median: float
    p99: float
    worst: float


class LatenessHistogram:
    """Counts delays; see the module for what it promises. Not for use by two threads at once."""

    __slots__ = ("bins", "worst")

    def __init__(self) -> None:
        self.bins: list[int] = [0] * _BIN_COUNT
        self.worst: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one delay; a negative one (the clock went back) counts as none."""
        if seconds > self.worst:
            self.worst = seconds
        if 0.0 <= seconds < FIRST_END:
            self.bins[FIRST_BINS[int(seconds * 1e9)]] += 1
        elif seconds < 1e9:
            self.bins[_bin_of(int(seconds * 1e9)) if seconds > 0.0 else 0] += 1
        else:
            self.bins[_bin_of(_TOP_NS)] += 1

    def summary(self) -> LatenessSummary:
        """What was counted so far. Takes some 20 µs: for who asks, not for every iteration."""
        count = sum(self.bins)
        return LatenessSummary(count, self._percentile(0.5, count), self._percentile(0.99, count), self.worst)

    def octaves(self) -> tuple[tuple[float, int], ...]:
        """How many delays were at most so many seconds long, and longer than those of the entry before.

        Entries are by factors of two, from 32 ns up; those without delays are left out.
        """
        found: dict[int, int] = {}
        for index, number in enumerate(self.bins):
            if number:
                shift = max((index >> _BINS_PER_OCTAVE_LOG2) - 1, 0)
                found[shift] = found.get(shift, 0) + number
        return tuple(((2 * _BINS_PER_OCTAVE << shift) * 1e-9, number) for shift, number in found.items())

    def _percentile(self, fraction: float, count: int) -> float:
        rank = fraction * count
        below = 0
        for index, number in enumerate(self.bins):
            below += number
            if number and below >= rank:
                return min(_middle_of(index), self.worst)
        return 0.0


def _middle_of(index: int) -> float:
    if index < 2 * _BINS_PER_OCTAVE:
        return index * 1e-9
    shift = (index >> _BINS_PER_OCTAVE_LOG2) - 1
    leading = index - (shift << _BINS_PER_OCTAVE_LOG2)
    return (leading + 0.5) * (1 << shift) * 1e-9

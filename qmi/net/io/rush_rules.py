"""When a thread reads a link instead of the loop, and how long to look for a message before sleeping."""

from __future__ import annotations

from dataclasses import dataclass

RUSH = 16
"""After so many reads of the loop it is asked whether they were a rush."""
_CALLS_TIME = 1.0
"""So many seconds they may take where callers in threads wait for what comes: they will read for themselves."""
_MOSTLY = 0.75
_LITTLE = 0.2


@dataclass(slots=True)
class Traffic:
    """What all links of a context read together.

    Several threads count without a lock: that some reads are not counted does not matter.

    Attributes:
        reads: How often something was read.
    """

    reads: int = 0


def is_rush(seconds: float, rush_time: float, *, waits: int, received: int, all_received: int) -> bool:
    """Whether a thread is to read a link instead of the loop, after :data:`RUSH` reads.

    Not where many links are as busy: the loop reads them all in one go, and their threads would only take the
    interpreter from each other. But always where callers wait in threads, since they read for themselves then.

    Args:
        seconds: How long the reads took.
        rush_time: How long they may take, in seconds, if the thread is to answer requests.
        waits: For how many of them a caller waited in a thread.
        received: How much was received by this link meanwhile.
        all_received: How much was received by all links.
    """
    if waits >= _MOSTLY * RUSH:
        return seconds < max(rush_time, _CALLS_TIME)
    return seconds < rush_time and received >= _LITTLE * all_received


class AdaptiveSpin:
    """For how long it is worth looking before sleeping: not at all when nothing ever comes so soon.

    That is so when the object takes its time, and on a busy machine, where whoever looks keeps the other side from
    running. Now and then it is tried all the same.

    Args:
        most: For how long at most, in seconds.
        try_again: After so many times of sleeping at once somebody looks again.
    """

    __slots__ = ("_most", "_skipped", "_time", "_try_again")

    def __init__(self, most: float, try_again: int = 32) -> None:
        self._most = most
        self._try_again = try_again
        self._time = most
        self._skipped = 0

    def time(self) -> float:
        """For how long to look, in seconds."""
        if not self._time:
            self._skipped = (self._skipped + 1) % self._try_again
            return 0.0 if self._skipped else self._most
        return self._time

    def learn(self, *, came: bool) -> None:
        """Whether something came while somebody looked."""
        self._time = self._most if came else self._time / 2 if self._time > self._most / 8 else 0.0

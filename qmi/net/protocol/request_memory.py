"""What the open requests of all links of a context may take up together.

Each link keeps to a limit of its own, which its other side knows and waits for. Nobody knows of the requests of the
others: what goes beyond this limit waits for a moment, and is refused then. A little is always left for everybody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from qmi.net.protocol.memory_estimate import Cost


def _fits(used: int, more: int, limit: int) -> bool:
    return not more or used + more <= limit or used <= limit // 4


class RequestMemory:
    """The memory of one context. Safe for threads.

    Args:
        values: How many bytes the arguments of requests may take up, besides arrays. While they take up no more than a
            quarter, one more request of any size is allowed.
        arrays: How many bytes their arrays may take up; likewise.
    """

    def __init__(self, values: int, arrays: int) -> None:
        self.limits: Cost = Cost(values, arrays)
        self._mutex = threading.Lock()
        self._used = Cost()
        self._waiters: list[Callable[[], object]] = []

    @property
    def used(self) -> Cost:
        """What open requests take up."""
        return self._used

    def take(self, cost: Cost, wake: Callable[[], object] | None, *, always: bool) -> bool:
        """Take so much; False if that is too much now.

        Args:
            cost: How much.
            wake: Called once when something has been given back, if this is too much now. Must not raise.
            always: Whether it is allowed in any case.
        """
        with self._mutex:
            used = self._used
            if always or all(map(_fits, used, cost, self.limits)):
                self._used = Cost(used.values + cost.values, used.arrays + cost.arrays)
                return True
            if wake is not None:
                self._waiters.append(wake)
            return False

    def give_back(self, cost: Cost) -> None:
        """Give back what was taken."""
        with self._mutex:
            self._used = Cost(self._used.values - cost.values, self._used.arrays - cost.arrays)
            waiters, self._waiters = self._waiters, []
        for wake in waiters:
            wake()


class Share:
    """What the requests of one link take up. Used with the link's lock, or by the one who decodes for it.

    Args:
        memory: What it is a part of.
    """

    MODEST = 1 << 20
    """So much is always left for a link: nobody can keep the others from calling."""

    def __init__(self, memory: RequestMemory) -> None:
        self.memory: RequestMemory = memory
        self._held = 0
        self._reserved: Cost | None = None
        self._by_number: dict[int, Cost] = {}

    def reserve(self, cost: Cost, wake: Callable[[], object] | None = None) -> bool:
        """Keep memory free for a request that is going to be decoded; see :meth:`RequestMemory.take`."""
        if self._reserved is None:
            if not self.memory.take(cost, wake, always=self._held + cost.total <= self.MODEST):
                return False
            self._held += cost.total
            self._reserved = cost
        return True

    def assign(self, number: int) -> None:
        """What was reserved is the memory of this request."""
        if self._reserved is not None:
            self._by_number[number], self._reserved = self._reserved, None

    def cancel(self) -> None:
        """What was reserved is not needed."""
        reserved, self._reserved = self._reserved, None
        if reserved is not None:
            self._give_back(reserved)

    def remove(self, number: int) -> None:
        """A request has ended."""
        cost = self._by_number.pop(number, None)
        if cost is not None:
            self._give_back(cost)

    def clear(self) -> None:
        """All requests have ended."""
        for number in list(self._by_number):
            self.remove(number)

    def _give_back(self, cost: Cost) -> None:
        self._held -= cost.total
        self.memory.give_back(cost)

"""Whose turn it is: one at a time, first come first served.

A *turn* is anything that needs the object for itself: a method call, a lock acquisition, the next item of a stream,
the end of the object. The mailbox only keeps the order; what a turn does, and in which thread, is the runner's
business. All that merely asks or commands goes past the mailbox and is answered at once.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """The line of turns at one object.

    Attributes:
        mutex: Guards the line, and whatever else must change together with it. Held for microseconds, never while
            user code runs.
        current: The turn that runs, or None.
        closed: The error for those who come too late, or None while the object takes turns.
    """

    __slots__ = ("_line", "closed", "current", "mutex")

    def __init__(self) -> None:
        self.mutex: threading.Lock = threading.Lock()
        self.current: T | None = None
        self.closed: BaseException | None = None
        self._line: deque[T] | None = None

    def __len__(self) -> int:
        return len(self._line) if self._line else 0

    def enter(self, turn: T) -> bool:
        """Stand in line.

        Returns:
            True if it is this one's turn now: the caller has to see to it that it runs, and then call :meth:`leave`.

        Raises:
            BaseException: What was given to :meth:`close`.
        """
        with self.mutex:
            if self.closed is not None:
                raise copy.copy(self.closed)  # each caller gets a traceback of its own
            if self.current is None:
                self.current = turn
                return True
            return self.enter_locked(turn)

    def enter_locked(self, turn: T, first: bool = False) -> bool:
        """The same for who holds the mutex already, and perhaps with the right to go first."""
        if self.current is None:
            self.current = turn
            return True
        if self._line is None:
            self._line = deque()
        if first:
            self._line.appendleft(turn)
        else:
            self._line.append(turn)
        return False

    def leave(self, turn: T) -> T | None:
        """End the current turn.

        Returns:
            The next one, which the caller has to see to; None if there is none, or if this turn was not the current
            one: somebody else has ended it before.
        """
        with self.mutex:
            if self.current is not turn:
                return None
            line = self._line
            if not line:
                self.current = None
                return None
            # In this order Ctrl-C, wherever it comes, cannot lose a turn.
            self.current = following = line[0]
            line.popleft()
            return following

    def withdraw(self, turn: T) -> bool:
        """Leave the line; False if the turn is not in it (any more)."""
        with self.mutex:
            return self.withdraw_locked(turn)

    def withdraw_locked(self, turn: T) -> bool:
        """The same for who holds the mutex already."""
        try:
            (self._line or deque()).remove(turn)
        except ValueError:
            return False
        return True

    def close(self, error: BaseException) -> list[T]:
        """Take no more turns.

        Returns:
            Those that were in line; they will not get a turn.
        """
        with self.mutex:
            self.closed = self.closed or error
            turns, self._line = list(self._line or ()), None
            return turns

    def waiting(self) -> list[T]:
        """Those in line, for who wants to look."""
        with self.mutex:
            return self.waiting_locked()

    def waiting_locked(self) -> list[T]:
        """The same for who holds the mutex already."""
        return list(self._line or ())

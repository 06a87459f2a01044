"""Whose turn it is: one at a time; the programs that wait take turns, each in the order in which it came.

A *turn* is anything that needs the object for itself: a method call, a lock acquisition, the next item of a stream,
the end of the object. The mailbox only keeps the order (:mod:`qmi.actors.fair_queue`); what a turn does, and in which
thread, is the actor's business. All that merely asks or commands goes past the mailbox and is answered at once.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from qmi.actors.fair_queue import FairQueue

T = TypeVar("T")


class Mailbox(Generic[T]):
    """The line of turns at one object.

    Args:
        new_line: Makes the line, when first somebody has to wait.

    Attributes:
        mutex: Guards the line, and whatever else must change together with it. Held for microseconds, never while
            user code runs.
        current: The turn that runs, or None.
        closed: The error for those who come too late, or None while the object takes turns.
    """

    __slots__ = ("_line", "_new_line", "_passed_over", "closed", "current", "mutex")

    def __init__(self, new_line: Callable[[], FairQueue[T]] = FairQueue) -> None:
        self.mutex: threading.Lock = threading.Lock()
        self.current: T | None = None
        self.closed: BaseException | None = None
        self._new_line = new_line
        self._line: FairQueue[T] | None = None
        self._passed_over = False  # those who wait, since all of them are held

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
                if not self._passed_over:
                    self.current = turn
                    return True
            elif self._line is not None:  # as in enter_locked
                self._line.append(turn)
                return False
            return self.enter_locked(turn)

    def enter_locked(self, turn: T, first: bool = False) -> bool:
        """The same for who holds the mutex already, and perhaps with the right to go first."""
        line = self._line
        if self.current is None and (first or line is None or not line.has_row_of(turn)):
            self.current = turn
            return True
        if line is None:
            self._line = line = self._new_line()
        if first:
            line.put_first(turn)
        else:
            line.append(turn)
        return False

    def park(self, turn: T) -> None:
        """Stand in line although nobody else may be there: the turn is held. Then call :meth:`resume` if it is not.

        Raises:
            BaseException: What was given to :meth:`close`.
        """
        with self.mutex:
            if self.closed is not None:
                raise copy.copy(self.closed)
            if self._line is None:
                self._line = self._new_line()
            self._line.append(turn)
            self._passed_over = self.current is None

    def resume(self) -> T | None:
        """Look again whether those in line are held.

        Returns:
            The one whose turn it is now, if it was nobody's: the caller has to see to it.
        """
        with self.mutex:
            return self._take_next() if self.current is None else None

    def _take_next(self, after: T | None = None) -> T | None:
        # With the mutex.
        line = self._line
        if line is None or not line.size:
            self.current = None
            self._passed_over = False
            return None
        if row := line.only_row:
            # The same as below, since nobody else can be next. Most objects are used by one program at a time.
            first = row[0]
            if first is not after and not line.is_held(first):
                self._passed_over = False
                self.current = first
                row.popleft()
                line.size -= 1
                return first
        following = line.peek()
        if following is after and after is not None:
            line.take(after)  # Ctrl-C came below when its turn came
            return self._take_next()
        self._passed_over = following is None
        # In this order Ctrl-C, wherever it comes, cannot lose a turn.
        self.current = following
        if following is not None:
            line.take(following)
        return following

    def leave(self, turn: T) -> T | None:
        """End the current turn.

        Returns:
            The next one, which the caller has to see to; None if there is none, or if this turn was not the current
            one: somebody else has ended it before.
        """
        with self.mutex:
            line = self._line
            if self.current is turn and (line is None or not line.size):  # as in leave_locked: most calls wait alone
                self.current = None
                return None
            return self.leave_locked(turn)

    def leave_locked(self, turn: T) -> T | None:
        """The same for who holds the mutex already."""
        if self.current is not turn:
            return None
        line = self._line
        if line is None or not line.size:
            self.current = None
            return None
        return self._take_next(turn)

    def withdraw(self, turn: T) -> bool:
        """Leave the line; False if the turn is not in it (any more)."""
        with self.mutex:
            return self.withdraw_locked(turn)

    def withdraw_locked(self, turn: T) -> bool:
        """The same for who holds the mutex already."""
        return bool(self._line) and self._line.remove(turn)  # type: ignore[union-attr]

    def close(self, error: BaseException) -> list[T]:
        """Take no more turns.

        Returns:
            Those that were in line; they will not get a turn.
        """
        with self.mutex:
            self.closed = self.closed or error
            turns, self._line = list(self._line or ()), None
            self._passed_over = False
            return turns

    def everybody(self) -> list[T]:
        """All turns, without the mutex: for a forked child, where a thread that is not there may have held it."""
        return [*([] if self.current is None else [self.current]), *(self._line or ())]

    def waiting(self) -> list[T]:
        """Those in line, for who wants to look."""
        with self.mutex:
            return self.waiting_locked()

    def waiting_locked(self) -> list[T]:
        """The same for who holds the mutex already."""
        return list(self._line or ())

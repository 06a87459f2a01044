"""Who is next: the programs that wait take turns, and the turns of one program keep their order.

Each *origin* (a program) has a row of its own. After a turn of one row comes a turn of the next one, so that a program
that has asked for much keeps nobody else waiting for longer than one turn. A row whose first turn is *held* (its answer
would find no room on the link of its program) is passed over as a whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


def _one_origin(turn: object) -> Hashable:
    return None


def _never_held(turn: object) -> bool:
    return False


class FairQueue(Generic[T]):
    """The turns that wait at one object. Not safe for threads.

    Args:
        origin: Tells whose turn it is.
        is_held: Whether a turn must not come yet.

    Attributes:
        size: How many wait.
        only_row: The row of all who wait, if they are of one origin and none has the right to go first; else None. Who
            takes the first one away counts :attr:`size` down.
        is_held: Whether a turn must not come yet.
    """

    __slots__ = ("_last_origin", "_last_row", "_origin", "_rows", "_urgent", "is_held", "only_row", "size")

    def __init__(
        self, origin: Callable[[T], Hashable] = _one_origin, is_held: Callable[[T], bool] = _never_held
    ) -> None:
        self._origin = origin
        self.is_held: Callable[[T], bool] = is_held
        self._urgent: deque[T] = deque()
        # The row that is next is the first. One that is empty stays if it is the only one: most objects are used by one
        # program, whose turns come and go.
        self._rows: dict[Hashable, deque[T]] = {}
        self._last_origin: Hashable = self  # hashing an origin for each turn would take longer than all the rest
        self._last_row: deque[T] = deque()
        self.size: int = 0
        self.only_row: deque[T] | None = None

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[T]:
        """Those who wait: first those with the right to go first, then row by row."""
        yield from self._urgent
        for row in self._rows.values():
            yield from row

    def append(self, turn: T) -> None:
        """Stand at the end of the row of its origin."""
        origin = self._origin(turn)
        if origin is not self._last_origin:
            self._last_row = self._rows.setdefault(origin, deque())
            self._last_origin = origin
            self._note_rows()
        self._last_row.append(turn)
        self.size += 1

    def put_first(self, turn: T) -> None:
        """Go before all others, whoever they are."""
        self._urgent.appendleft(turn)
        self.size += 1
        self.only_row = None

    def _note_rows(self) -> None:
        rows = self._rows
        self.only_row = next(iter(rows.values())) if len(rows) == 1 and not self._urgent else None

    def has_row_of(self, turn: T) -> bool:
        """Whether others of the same origin wait."""
        return bool(self._rows.get(self._origin(turn)))

    def peek(self) -> T | None:
        """The turn that is next; None if there is none, or all are held."""
        if self._urgent:
            return self._urgent[0]
        for row in self._rows.values():
            if row and not self.is_held(row[0]):
                return row[0]
        return None

    def take(self, turn: T) -> None:
        """Remove the turn that :meth:`peek` returned; its origin is the last to be next again."""
        urgent, rows = self._urgent, self._rows
        if urgent and urgent[0] is turn:
            urgent.popleft()
            self.size -= 1
            self._note_rows()
            return
        for origin, row in rows.items():
            if row and row[0] is turn:
                row.popleft()
                self.size -= 1
                if len(rows) > 1:
                    self._drop(origin)
                    if row:
                        rows[origin] = row
                    self._note_rows()
                return

    def _drop(self, origin: Hashable) -> None:
        del self._rows[origin]
        self._last_origin = self

    def remove(self, turn: T) -> bool:
        """Remove a turn; False if it is not here."""
        if turn in self._urgent:
            self._urgent.remove(turn)
            self._note_rows()
        else:
            origin = self._origin(turn)
            row = self._rows.get(origin)
            if not row or turn not in row:
                return False
            row.remove(turn)
            if not row and len(self._rows) > 1:
                self._drop(origin)
                self._note_rows()
        self.size -= 1
        return True

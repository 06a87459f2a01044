"""In which order the signals of one topic are told, what is missing, and when to look for it: rules, and nothing else.

A feed gets what comes, from the servers as it is published (*live*), from their stream (*read*), and from a link; it
answers with what to do. While it waits for something it holds back what comes live:

- the stream is read, since numbers are missing or the servers were away;
- somebody else publishes: is that the same context, started again, or another one of its name beside it?
- a signal is too large for the servers, and comes by the link.

Numbers count from 0 in each incarnation. Lower ones than what is due were told: they come twice after each loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from qmi.site.envelope import Envelope, Form, names_incarnation

L = TypeVar("L")
"""A signal that came by a link."""

HELD: Final = 10_000
HELD_BYTES: Final = 16 << 20
"""So much is held back; what comes beyond is read from the stream later."""
KEPT_LARGE: Final = 16
"""So many signals of a link wait for their turn."""


class Tell(NamedTuple):
    """Tell a signal."""

    envelope: Envelope


class TellLarge(NamedTuple, Generic[L]):
    """Tell a signal that came by the link."""

    signal: L


class Missing(NamedTuple):
    """Say that signals are missing: so many, "dropped"; or unknown, since the publisher has "restarted"."""

    gap: str
    number: int = 0


class Ended(NamedTuple):
    """The object was removed: nothing more comes."""


class Read(NamedTuple):
    """Read the stream from a sequence number on, and call :meth:`Feed.read`."""

    sequence: int


class AskWho(NamedTuple):
    """Ask whether an incarnation is still there, and call :meth:`Feed.answered`."""

    incarnation: str


Step: TypeAlias = Tell | TellLarge[L] | Missing | Ended | Read | AskWho


class _Wait(Enum):
    NOTHING = auto()
    READ = auto()
    ANSWER = auto()
    LARGE = auto()


class Feed(Generic[L]):
    """One topic.

    Args:
        own: The incarnation of this context, as publishers name it.

    Attributes:
        incarnation: Whose signals these are; empty if that is not known yet.
        due: The number that comes next.
        has_link: Whether there is a link to the publisher.
    """

    def __init__(self, own: str) -> None:
        self._own = own
        self.incarnation: str = ""
        self.due: int = 0
        self.has_link: bool = False
        self._floor = 0
        self._wait = _Wait.READ  # until somebody says where it begins
        self._held: list[Envelope] = []
        self._held_bytes = 0
        self._target = -1
        self._is_there = False  # the publisher has said so, so that nobody has succeeded it
        self._is_short = False  # something found no room among what is held
        self._others: set[str] = set()
        self._large: dict[int, L] = {}
        self._marker: Envelope | None = None  # of the large signal that it waits for

    @property
    def is_waiting(self) -> bool:
        """Whether it holds back what comes."""
        return self._wait is not _Wait.NOTHING

    @property
    def needs(self) -> int:
        """The number that must have been read before a missing one is given up; -1 if it does not matter."""
        return next((one.number for one in self._held if one.incarnation == self.incarnation), self._target)

    # Where it begins

    def begin(self, incarnation: str, due: int, floor: int) -> list[Step[L]]:
        """The publisher says which number is the next."""
        if self.incarnation:
            return []
        self.incarnation, self.due, self._floor = incarnation, due, floor
        return self._go_on()

    def look_back(self, incarnation: str = "", due: int = -1) -> list[Step[L]]:
        """The servers are back. The publisher says which number is the next, if it can be asked."""
        if self._wait is _Wait.LARGE and self._marker is not None:
            self._held.insert(0, self._marker)
        self._wait = _Wait.READ
        self._is_there = incarnation == self.incarnation
        self._target = due - 1 if self._is_there else -1
        if self._is_there and due <= self.due:
            return self._go_on()
        return [Read(self._floor + 1)]

    # What comes

    def live(self, envelope: Envelope) -> list[Step[L]]:
        """A signal is published."""
        if self._wait is not _Wait.NOTHING:
            self._hold(envelope)
            return []
        steps: list[Step[L]] = []
        self._take(envelope, steps)
        return steps

    def _hold(self, envelope: Envelope) -> None:
        if len(self._held) >= HELD or self._held_bytes + len(envelope.body) > HELD_BYTES:
            self._is_short = True
            return
        self._held.append(envelope)
        self._held_bytes += len(envelope.body)

    def _take(self, envelope: Envelope, steps: list[Step[L]], *, is_last_chance: bool = False) -> bool:
        """Put one in its place; False if it is held, with all that follow."""
        if envelope.incarnation in self._others:
            return True
        if envelope.incarnation != self.incarnation:
            self._wait = _Wait.ANSWER
            steps.append(AskWho(self.incarnation))
        elif envelope.number < self.due:
            return True
        elif envelope.number > self.due and not is_last_chance:
            self._wait = _Wait.READ
            steps.append(Read(self._floor + 1))
        else:
            self._skip_to(envelope.number, steps)
            return self._tell(envelope, steps)
        self._hold(envelope)
        return False

    def _skip_to(self, number: int, steps: list[Step[L]]) -> None:
        if number > self.due:
            steps.append(Missing("dropped", number - self.due))
            self.due = number

    def _tell(self, envelope: Envelope, steps: list[Step[L]]) -> bool:
        self._floor = max(self._floor, envelope.floor)
        if envelope.form is Form.END:
            steps.append(Ended())
            return True
        if envelope.form is not Form.LARGE:
            self.due += 1
            steps.append(Tell(envelope))
        elif (large := self._large.pop(envelope.number, None)) is not None:
            self.due += 1
            steps.append(TellLarge(large))
        elif self.has_link and names_incarnation(envelope.body, self._own):
            self._wait, self._marker = _Wait.LARGE, envelope
            return False
        else:
            self._skip_to(envelope.number + 1, steps)
        if self._large:
            self._large = {number: large for number, large in self._large.items() if number >= self.due}
        return True

    # What it waited for

    def read(self, found: Sequence[Envelope]) -> list[Step[L]]:
        """The stream was read to its end."""
        steps: list[Step[L]] = []
        if self._wait is not _Wait.READ:
            return steps
        is_there = self._is_there or any(one.incarnation == self.incarnation for one in self._held)
        for envelope in in_order(found):
            if envelope.incarnation in self._others:
                continue
            if envelope.incarnation != self.incarnation:
                if is_there:
                    continue  # another context of its name
                self._succeeded_by(envelope.incarnation, steps)
            if envelope.form is Form.LARGE and envelope in self._held:
                break  # it may still come by the link, in its turn
            if envelope.number >= self.due:
                self._skip_to(envelope.number, steps)
                if envelope.form is Form.LARGE and envelope.number not in self._large:
                    self._skip_to(envelope.number + 1, steps)  # what was sent to a link then
                    self._floor = max(self._floor, envelope.floor)
                else:
                    self._tell(envelope, steps)
                if steps and isinstance(steps[-1], Ended):
                    return steps
        return steps + self._go_on(is_last_chance=True)

    def answered(self, is_there: bool) -> list[Step[L]]:
        """Whether the incarnation is there that was asked for."""
        if self._wait is not _Wait.ANSWER:
            return []
        steps: list[Step[L]] = []
        others = [one for one in self._held if one.incarnation not in (self.incarnation, *self._others)]
        self._is_there = is_there
        if is_there:
            self._others |= {one.incarnation for one in others}
        elif others:
            self._wait = _Wait.READ
            if others[0].number:
                return [Read(self._floor + 1)]
            self._succeeded_by(others[0].incarnation, steps)
        return steps + self._go_on()

    def restarted(self, incarnation: str) -> list[Step[L]]:
        """The publisher was started again, as somebody says who knows."""
        if incarnation == self.incarnation or not self.incarnation or self._wait is _Wait.READ:
            return []
        steps: list[Step[L]] = []
        self._succeeded_by(incarnation, steps)
        return steps + self._go_on()

    def _succeeded_by(self, incarnation: str, steps: list[Step[L]]) -> None:
        self._others.discard(incarnation)
        self._others.add(self.incarnation)
        self.incarnation, self.due = incarnation, 0
        self._large.clear()
        steps.append(Missing("restarted"))

    def large(self, number: int, signal: L) -> list[Step[L]]:
        """A signal came by the link."""
        if self._wait is _Wait.LARGE and number == self.due:
            self.due += 1
            return [TellLarge(signal), *self._go_on()]
        if number >= self.due:
            self._large[number] = signal
            while len(self._large) > KEPT_LARGE:
                del self._large[min(self._large)]
        return []

    def link_lost(self) -> list[Step[L]]:
        """There is no link to the publisher any more."""
        self.has_link = False
        if self._wait is not _Wait.LARGE:
            return []
        self.due += 1
        return [Missing("dropped", 1), *self._go_on()]

    def _go_on(self, *, is_last_chance: bool = False) -> list[Step[L]]:
        """Take what was held, as far as that goes."""
        self._wait, self._target = _Wait.NOTHING, -1
        held, self._held, self._held_bytes = self._held, [], 0
        steps: list[Step[L]] = []
        for index, envelope in enumerate(held):
            if not self._take(envelope, steps, is_last_chance=is_last_chance):
                for later in held[index + 1 :]:
                    self._hold(later)
                return steps
            if steps and isinstance(steps[-1], Ended):
                return steps
            if envelope.incarnation == self.incarnation:
                is_last_chance = False  # the stream was read up to this one
        if self._is_short and self._wait is _Wait.NOTHING:
            self._is_short = False
            self._wait = _Wait.READ
            steps.append(Read(self._floor + 1))
        return steps


def in_order(found: Iterable[Envelope]) -> list[Envelope]:
    """What was read from a stream: one publisher after the other, each number once.

    What was sent again after a loss stands behind what came later.
    """
    by_publisher: dict[str, dict[int, Envelope]] = {}
    for envelope in found:
        by_publisher.setdefault(envelope.incarnation, {}).setdefault(envelope.number, envelope)
    return [numbers[number] for numbers in by_publisher.values() for number in sorted(numbers)]

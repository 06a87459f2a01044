from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from qmi.net.io import reader_handoff as rush_module
from qmi.net.io.reader_handoff import ReaderHandoff
from qmi.net.protocol.events import Event, PeerLost
from qmi.net.protocol.link_ends import LossKind

LOST = PeerLost(LossKind.DISCONNECTED, "gone")


class Link:
    """One byte is one message: a letter is handled by whoever reads, "!" is for the loop only."""

    def __init__(self) -> None:
        self.far, self.near = socket.socketpair()
        self.near.setblocking(False)
        self.is_up = True
        self.open_requests = 0
        self.is_wanted_by_loop = False
        self.is_amid = False
        self.read: list[tuple[str, str]] = []
        self.came = threading.Condition()

    def descriptor(self) -> int:
        return self.near.fileno()

    def read_once(self) -> tuple[bool, list[Event]]:
        try:
            letter = self.near.recv(1).decode()
        except BlockingIOError:
            return False, []
        if not letter:
            self.is_up = False
            return False, [LOST]
        if letter == "!":
            return False, [LOST]
        with self.came:
            self.read.append((letter, threading.current_thread().name))
            self.came.notify_all()
        return True, []

    def letters(self) -> str:
        return "".join(letter for letter, _ in self.read)

    def has(self, number: int) -> bool:
        return len(self.read) >= number

    def wait_for(self, letters: str) -> None:
        with self.came:
            assert self.came.wait_for(lambda: self.letters() == letters, 10), self.letters()


class Processors:
    """Says how many processors there are."""

    several = True

    def are_several(self, _: float) -> bool:
        return self.several


@pytest.fixture(autouse=True)
def processors(monkeypatch: pytest.MonkeyPatch) -> Processors:
    """Several processors, however many this machine lends to the tests."""
    found = Processors()
    monkeypatch.setattr(rush_module, "PROCESSORS", found)
    return found


@pytest.fixture
def link() -> Iterator[Link]:
    made = Link()
    yield made
    made.far.close()
    made.near.close()


class Lent:
    """A thread that was lent to a link."""

    def __init__(self, rush: ReaderHandoff) -> None:
        self.rest: list[Event] | None = None
        self._rush = rush
        self._thread = threading.Thread(target=self._serve, name="lent")
        self._thread.start()

    def _serve(self) -> None:
        self.rest = self._rush.serve()

    def end(self) -> list[Event]:
        self._thread.join(10)
        assert self.rest is not None
        return self.rest


def never() -> bool:
    return False


def call_until_the_caller_reads(link: Link, rush: ReaderHandoff) -> int:
    deadline = time.monotonic() + 10
    number = 0
    while not any(reader != "lent" for _, reader in link.read):
        assert time.monotonic() < deadline
        number += 1
        link.far.send(b"a")
        rush.drive_io(partial(link.has, number), 1.0)
        link.wait_for("a" * number)
    return number


def test_outside_of_a_rush_nobody_but_the_loop_reads(link: Link) -> None:
    rush = ReaderHandoff(link)
    link.far.send(b"a")
    rush.drive_io(never, None)
    rush.spin(never)
    assert link.read == []


def test_the_thread_reads_until_nothing_comes(link: Link) -> None:
    link.far.send(b"abc")
    lent = Lent(ReaderHandoff(link))
    link.wait_for("abc")
    assert lent.end() == []
    assert {reader for _, reader in link.read} == {"lent"}


def test_reader_thread_looks_before_it_sleeps_in_the_midst_of_a_message(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rush_module, "_SPIN", 10.0)
    link.is_amid = True
    slept: list[int] = []
    poll = ReaderHandoff._poll

    def note(self: ReaderHandoff, milliseconds: int) -> bool:
        slept.append(milliseconds)
        return poll(self, milliseconds)

    monkeypatch.setattr(ReaderHandoff, "_poll", note)
    lent = Lent(ReaderHandoff(link))
    for letters in ("a", "ab"):
        link.far.send(letters[-1:].encode())
        link.wait_for(letters)
    assert set(slept) == {0}
    link.is_wanted_by_loop = True
    link.far.send(b"c")
    assert lent.end() == []


def test_the_thread_leaves_reading_to_a_loop_whose_tasks_wait(link: Link) -> None:
    lent = Lent(ReaderHandoff(link))
    link.far.send(b"a")
    link.wait_for("a")
    link.is_wanted_by_loop = True
    link.far.send(b"b")
    assert lent.end() == []
    assert link.letters() in ("a", "ab")


def test_reader_thread_ends_at_what_is_for_the_loop_and_keeps_its_place(link: Link) -> None:
    link.far.send(b"a!b")
    lent = Lent(rush := ReaderHandoff(link))
    assert lent.end() == [LOST]
    assert link.letters() == "a"
    rush.drive_io(never, 0.0)  # the loop has the right again
    assert link.letters() == "a"
    assert rush._rest == [], "nor is it kept"


def test_a_caller_reads_for_itself_and_the_thread_goes_on_afterwards(link: Link) -> None:
    rush = ReaderHandoff(link)
    lent = Lent(rush)
    number = call_until_the_caller_reads(link, rush)
    link.far.send(b"z")
    link.wait_for("a" * number + "z")
    assert link.read[-1] == ("z", "lent")
    assert lent.end() == []


def test_a_caller_has_its_time_and_no_more(link: Link) -> None:
    rush = ReaderHandoff(link)
    lent = Lent(rush)
    link.far.send(b"a")
    link.wait_for("a")
    began = time.monotonic()
    rush.drive_io(never, 0.05)
    assert time.monotonic() - began < 5
    assert lent.end() == []


def test_a_caller_who_reads_what_is_for_the_loop_leaves_it_to_the_loop(link: Link) -> None:
    rush = ReaderHandoff(link)
    lent = Lent(rush)
    number = call_until_the_caller_reads(link, rush)
    link.far.send(b"!b")
    rush.drive_io(never, 1.0)
    assert lent.end() == [LOST]
    assert link.letters() == "a" * number


def test_a_thread_that_answered_looks_only_for_a_moment(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rush_module, "_SPIN", 0.001)
    rush = ReaderHandoff(link)
    lent = Lent(rush)
    link.far.send(b"a")
    link.wait_for("a")
    for _ in range(20):
        rush.spin(never)
    link.far.send(b"b")
    link.wait_for("ab")
    assert lent.end() == []


def test_reader_thread_does_not_spin_for_what_never_comes_so_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rush_module, "_SPIN", 0.016)
    eagerness = rush_module._AdaptiveSpin()
    times = []
    while (time := eagerness.time(0.0)) > 0:
        times.append(time)
        eagerness.learn(came=False)
    assert times == [0.016, 0.008, 0.004, 0.002]
    skipped = 1
    while not (time := eagerness.time(0.0)):
        skipped += 1
    assert (time, skipped) == (0.016, rush_module._TRY_AGAIN - 1)
    eagerness.learn(came=False)
    assert eagerness.time(0.0) == 0.0
    eagerness.learn(came=True)
    assert eagerness.time(0.0) == 0.016


def test_a_lone_processor_has_better_to_do_than_look(link: Link, processors: Processors) -> None:
    processors.several = False
    assert rush_module._AdaptiveSpin().time(0.0) == 0.0
    rush = ReaderHandoff(link)
    rush._right.release()
    rush.spin(never)
    assert rush._right.acquire(False)


def test_the_end_of_the_connection_ends_the_reading(link: Link) -> None:
    lent = Lent(ReaderHandoff(link))
    link.far.close()
    assert lent.end() == [LOST]
    assert not link.is_up

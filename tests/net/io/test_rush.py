"""Links in a rush are read together: by whom, who leaves and when, and that nothing is lost on the way."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from qmi.net.io import read_gate
from qmi.net.io import rush as rush_module
from qmi.net.io.gate_watch import GateWatch
from qmi.net.io.reader_handoff import ReaderHandoff
from qmi.net.io.rush import Reader, Rush, RushReader
from qmi.net.protocol.events import Event
from qmi.runtime.doorbell import Doorbell, Idler
from tests.support.hunting import LIMIT, restless_threads, rounds
from tests.support.joined_links import unforeseen
from tests.support.letter_links import LOST, LetterLink

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="the loop reads all links")


class Link(LetterLink):
    """One that can join a rush."""

    def __init__(self) -> None:
        super().__init__()
        self.behind = 0
        self.handoff = ReaderHandoff(self)
        self.handoff.open()
        self.reader: Reader = self.handoff
        self.left: list[list[Event]] = []
        self.faults: list[str] = []

    def free(self) -> None:
        self.near.close()

    def fault(self, doing: str, error: Exception) -> None:
        self.faults.append(f"{doing}: {error}")

    def join_rush(self, reader: Reader) -> None:
        self.handoff.lend()
        self.reader = reader

    def leave_rush(self, rest: list[Event]) -> None:
        self.reader = self.handoff
        self.handoff.hand_back(rest)
        with self.came:
            self.left.append(rest)
            self.came.notify_all()

    def readers(self) -> set[str]:
        return {name for _, name in self.read}

    def wait_until_left(self) -> None:
        with self.came:
            assert self.came.wait_for(lambda: self.left, 10), "it has not left"


class Thread:
    """That of an object: it has something to do when so many messages have come."""

    def __init__(self, *links: Link, enough: int = 1) -> None:
        self.bell = Doorbell()
        self.idle: Callable[[Idler], object] | None = None
        self._links = links
        self._enough = enough

    def is_wanted(self) -> bool:
        return sum(len(link.read) for link in self._links) >= self._enough


@contextmanager
def links(count: int) -> Iterator[list[Link]]:
    made = [Link() for _ in range(count)]
    try:
        yield made
    finally:
        for link in made:
            link.far.close()
        for link in made:
            link.near.close()


@contextmanager
def joined(rushes: RushReader, count: int) -> Iterator[list[Link]]:
    """Links that have joined, and have left again in the end."""
    with links(count) as made:
        for link in made:
            rushes.join(link)
        yield made
        for link in made:
            link.far.close()  # whoever stands by sees the end of it
        for link in made:
            link.wait_until_left()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rush is over because nothing comes."""
    monkeypatch.setattr(rush_module, "PATIENCE", 60.0)


@pytest.fixture
def alone() -> Iterator[Rush]:
    """A rush without a thread that stands by."""
    rush = Rush(read_gate.EpollSet(), GateWatch(unforeseen))
    yield rush
    rush.handoff.retire()


@pytest.fixture
def rushes() -> RushReader:
    return RushReader(unforeseen)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_thread_that_stands_by_reads_all_members(rushes: RushReader, count: int, patient: None) -> None:
    with joined(rushes, count) as members:
        for link in members:
            link.far.send(b"ab")
        for link in members:
            link.wait_for("ab")
            assert link.readers() == {"qmi-rush"}
        assert len(rushes) == count


def test_rush_is_over_when_nothing_comes_and_another_one_may_begin(rushes: RushReader) -> None:
    with links(2) as members:
        for _ in range(2):
            for link in members:
                link.left.clear()
                rushes.join(link)
            for link in members:
                link.wait_until_left()
                assert link.left == [[]]
                assert link.handoff.take(), "the loop has the right again"
            assert not len(rushes)


@pytest.mark.parametrize("why", ["for the loop", "end", "tasks wait", "fault", "endless"])
def test_member_leaves_that_only_the_loop_may_read(rushes: RushReader, why: str, patient: None) -> None:
    with joined(rushes, 3) as members:
        one, two, _ = members
        if why == "tasks wait":
            one.is_wanted_by_loop = True
        if why == "endless":
            one.holds_more = True
        if why == "end":
            one.far.close()
        else:
            one.far.send({"for the loop": b"a!b", "fault": b"a*b"}.get(why, b"a" * 30))
        one.wait_until_left()
        assert one.left == [[LOST] if why in ("for the loop", "end") else []]
        assert one.faults == (["reading in a thread: a bug"] if why == "fault" else [])
        assert one.handoff.take(), "the loop has the right again"
        assert one.handoff.rest == one.left[0]
        assert one.reader is one.handoff
        two.far.send(b"b")
        two.wait_for("b")
        assert one.letters() in ("", "a", "a" * rush_module._MOST_READS), "nobody else reads it any more"
        assert len(rushes) == 2


def test_thread_of_an_object_reads_from_all_members(alone: Rush) -> None:
    with links(3) as members:
        for link in members:
            alone.add(link)
        one, two, three = members
        two.far.send(b"b")
        three.far.send(b"c")
        one.reader.idle(Thread(*members, enough=2))
        assert [link.letters() for link in members] == ["", "b", "c"]


def test_caller_reads_from_all_members_until_its_own_has_left(alone: Rush) -> None:
    with links(2) as members:
        for link in members:
            alone.add(link)
        one, two = members
        two.far.send(b"b")
        one.far.send(b"a")
        one.reader.drive_io(lambda: bool(one.read), 10.0)
        assert one.letters() == "a"
        # What comes now is for the loop, which reads the answer, too: the caller must not sleep here until then.
        one.far.send(b"!")
        one.reader.drive_io(lambda: False, 10.0)
        assert one.left == [[LOST]]
        two.reader.drive_io(lambda: bool(two.read), 10.0)
        assert two.letters() == "b"


def test_one_at_a_time_reads(alone: Rush) -> None:
    with links(2) as members:
        for link in members:
            alone.add(link)
        one, two = members

        def another() -> bool:
            two.reader.drive_io(lambda: False, 10.0)
            two.reader.idle(Thread(*members))
            assert not alone.handoff.take()
            return True

        two.far.send(b"b")
        one.reader.drive_io(another, 10.0)
        assert two.read == []


def test_member_that_ends_while_it_is_read_gives_its_socket_back(alone: Rush) -> None:
    with links(1) as (link,):
        alone.add(link)
        assert not link.handoff.retire(), "the rush has the right"
        assert link.near.fileno() >= 0
        link.far.close()
        link.reader.drive_io(lambda: False, 10.0)
        assert link.near.fileno() < 0


def test_link_that_the_system_does_not_take_remains_the_loops(alone: Rush, monkeypatch: pytest.MonkeyPatch) -> None:
    with links(1) as (link,):
        alone._sockets.add(link.near.fileno())  # so that it cannot be registered
        with pytest.raises(FileExistsError):
            alone.add(link)
        assert link.reader is link.handoff
        assert link.handoff.take(), "the loop has the right still"
        assert not len(alone)


def test_link_that_cannot_be_taken_out_goes_back_all_the_same(alone: Rush, monkeypatch: pytest.MonkeyPatch) -> None:
    with links(2) as members:
        for link in members:
            alone.add(link)
        monkeypatch.setattr(read_gate.EpollSet, "remove", lambda *_: os.close(-1))
        alone.handoff.take()
        alone.dismiss()
        for link in members:
            assert link.left == [[]]
            assert link.faults == ["leaving a rush: [Errno 9] Bad file descriptor"]


@pytest.mark.parametrize(
    ("behind", "count", "head_start"), [(0, 1, 0), (0, 2, "_SHARED"), (9, 1, "_ANSWERING"), (9, 2, "_ANSWERING")]
)
def test_head_start_of_the_thread_that_has_just_read(
    alone: Rush, behind: int, count: int, head_start: str | int
) -> None:
    with links(count) as members:
        for link in members:
            alone.add(link)
        members[0].behind = behind
        assert alone.head_start() == 0, "no object has answered anything"
        done = Thread(members[0], enough=0)
        members[0].reader.idle(done)
        assert alone.head_start() == (getattr(rush_module, head_start) if isinstance(head_start, str) else 0)
        members[0].reader.forgo()
        assert alone.handoff._reads_soon == 0.0, "it waits for something else"


def test_one_link_is_read_without_a_rush_where_who_waits_for_it_reads_for_itself(
    alone: Rush, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    with links(2) as members:
        alone.add(members[0])
        alone.handoff._answered = now
        alone._began = now - 1.0
        monkeypatch.setattr(time, "monotonic", lambda: now + 0.01)
        assert alone.may_end()
        alone.add(members[1])
        assert not alone.may_end(), "several are read more quickly together, by the threads of objects"
        alone.handoff._answered = now - 1.0
        assert alone.may_end()


def test_fault_of_the_thread_that_stands_by_is_told_and_gives_the_links_back() -> None:
    told: list[Exception] = []
    rushes = RushReader(told.append)
    with links(2) as members, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ReaderHandoff, "serve", lambda *_: 1 / 0)
        for link in members:
            rushes.join(link)
        for link in members:
            link.wait_until_left()
        assert {type(error) for error in told} == {ZeroDivisionError}


def test_forked_child_touches_nothing_of_its_parents(alone: Rush) -> None:
    with links(1) as (link,):
        alone.add(link)
        alone.abandon()
        link.far.send(b"a")
        link.reader.drive_io(lambda: False, 0.01)
        link.reader.idle(Thread(link))
        assert link.read == []


def test_links_that_join_and_leave_in_a_hurry_lose_nothing(rushes: RushReader) -> None:
    # Those that join, that stand by, that read and that leave meet in every order.
    stop = threading.Event()
    done = 0
    with restless_threads(), links(8) as members:

        def read(wait: Callable[[Link], object]) -> None:
            while not stop.is_set():
                for link in members:
                    if not link.handoff.rest and link.reader is not link.handoff:
                        wait(link)
                    with link.came:
                        link.came.notify_all()

        def as_object(link: Link) -> None:
            link.reader.idle(Thread(link, enough=len(link.read) + 1))

        def as_caller(link: Link) -> None:
            before = len(link.read)
            link.reader.drive_io(lambda: len(link.read) > before, 0.001)

        threads = [threading.Thread(target=read, args=(wait,)) for wait in (as_object, as_object, as_caller)]
        for thread in threads:
            thread.start()
        try:
            for _ in rounds(100):
                done += 1
                for link in members:
                    rushes.join(link)
                    link.far.send(b"aaa!")
                for link in members:
                    link.wait_until_left()
                    link.left.clear()
                    with link.came:  # if the rush was over before all was read, a thread may read on
                        assert link.came.wait_for(link.handoff.take, LIMIT), "the loop does not get the right again"
                    while not link.handoff.rest:
                        _, link.handoff.rest = link.read_once()
                    link.handoff.rest = []
        finally:
            stop.set()
            for thread in threads:
                thread.join(10)
        assert [link.letters() for link in members] == ["aaa" * done] * 8

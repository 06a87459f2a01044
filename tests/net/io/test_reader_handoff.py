from __future__ import annotations

import errno
import math
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from qmi.net.io import read_gate
from qmi.net.io import reader_handoff as handoff_module
from qmi.net.io.read_gate import ReadGate
from qmi.net.io.reader_handoff import ReaderHandoff
from qmi.net.protocol.events import Event
from qmi.runtime.doorbell import Doorbell
from qmi.runtime.sigint import INTERRUPTS
from qmi.runtime.wakeup import ThreadWaker
from tests.support.letter_links import LOST
from tests.support.letter_links import AnsweredThread as Thread
from tests.support.letter_links import LetterLink as Link

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="the loop reads all links")


class Processors:
    """Says how many processors there are."""

    several = True

    def are_several(self, _: float) -> bool:
        return self.several


@pytest.fixture(autouse=True)
def processors(monkeypatch: pytest.MonkeyPatch) -> Processors:
    """Several processors, however many this machine lends to the tests."""
    found = Processors()
    monkeypatch.setattr(handoff_module, "PROCESSORS", found)
    return found


@pytest.fixture
def link() -> Iterator[Link]:
    made = Link()
    yield made
    made.far.close()
    made.near.close()


@pytest.fixture
def handoff(link: Link, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReaderHandoff]:
    """The loop has left the right to read, and the other side is awake until something is read."""
    monkeypatch.setattr(handoff_module, "_LONG_TURN", math.inf)  # as far as the looks of these tests are concerned
    made = ReaderHandoff(link)
    assert made.open()
    made._heard = math.inf
    made.leave()
    yield made
    assert made.gate is not None
    made.gate.close()


class Lent:
    """A thread that was lent to a link."""

    def __init__(self, handoff: ReaderHandoff, head_start: float = 0.0) -> None:
        self._handoff = handoff
        self._thread = threading.Thread(target=handoff.serve, args=(lambda: head_start,), name="lent")
        self._thread.start()

    def end(self) -> list[Event]:
        """It has ended; what it left to the loop."""
        self._thread.join(10)
        assert not self._thread.is_alive()
        assert self._handoff.take(), "nobody reads"
        self._handoff.leave()
        return self._handoff.rest


def never() -> bool:
    return False


def readable(gate: ReadGate) -> bool:
    """Whether whoever stands by would be woken."""
    return bool(select.select([gate], [], [], 0)[0])


def test_reading_is_the_loops_alone_until_there_is_a_gate(link: Link) -> None:
    handoff = ReaderHandoff(link)
    link.far.send(b"a")
    handoff.leave()
    handoff.drive_io(never, None)
    handoff.idle(Thread())
    assert link.read == []
    assert handoff.is_wanted
    assert handoff.take()


def test_lent_thread_reads_until_nothing_comes(link: Link, handoff: ReaderHandoff) -> None:
    link.far.send(b"abc")
    lent = Lent(handoff)
    link.wait_for("abc")
    assert lent.end() == []
    assert {reader for _, reader in link.read} == {"lent"}


def test_lent_thread_looks_before_it_sleeps_in_the_midst_of_a_message(
    link: Link, handoff: ReaderHandoff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handoff_module, "_SPIN", 10.0)
    handoff._for_pieces = handoff_module._Habit()
    waits = 0
    wait = read_gate.EpollGate.wait

    def note(self: read_gate.EpollGate, seconds: float) -> bool:
        nonlocal waits
        waits += 1
        return wait(self, seconds)

    monkeypatch.setattr(read_gate.EpollGate, "wait", note)
    link.is_amid = True
    lent = Lent(handoff)
    for letters in ("a", "ab", "abc"):
        link.far.send(letters[-1:].encode())
        link.wait_for(letters)
    assert waits == 1
    link.far.send(b"!")
    assert lent.end() == [LOST]


def test_lent_thread_leaves_reading_to_a_loop_whose_tasks_wait(link: Link, handoff: ReaderHandoff) -> None:
    lent = Lent(handoff)
    link.far.send(b"a")
    link.wait_for("a")
    link.is_wanted_by_loop = True
    link.far.send(b"b")
    assert lent.end() == []
    assert link.letters() in ("a", "ab")


def busy() -> Thread:
    """That of an object that has answered, and has something to do already."""
    thread = Thread()
    thread.given = True
    return thread


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long who stands by has left the right to others, in seconds, each time; the clock stands still."""
    found: list[float] = []

    def pause(_: ThreadWaker, timeout: float | None = None) -> bool:
        assert timeout is not None
        found.append(timeout)
        return False

    monkeypatch.setattr(ThreadWaker, "wait", pause)
    monkeypatch.setattr(handoff_module, "time", SimpleNamespace(monotonic=lambda: 10_000.0))
    return found


@pytest.mark.parametrize("head_start", [0.0, 0.002])
def test_thread_that_stands_by_leaves_what_comes_to_the_thread_that_has_just_answered(
    link: Link, handoff: ReaderHandoff, pauses: list[float], monkeypatch: pytest.MonkeyPatch, head_start: float
) -> None:
    readers = [Thread(link)]
    pause = ThreadWaker.wait

    def reads(waker: ThreadWaker, timeout: float | None = None) -> bool:
        if readers:  # the object's thread reads meanwhile, once
            handoff.idle(readers.pop())
        return pause(waker, timeout)

    monkeypatch.setattr(ThreadWaker, "wait", reads)
    handoff.idle(busy())
    lent = Lent(handoff, head_start)
    link.far.send(b"ab!")
    assert lent.end() == [LOST]
    assert link.letters() == "ab"
    # Each time that something comes, and once: then it reads, if nobody else has.
    assert pauses == pytest.approx([head_start] * 3 if head_start else [])


def test_thread_that_stands_by_does_not_wait_for_one_that_takes_its_time(
    link: Link, handoff: ReaderHandoff, pauses: list[float]
) -> None:
    # The object's thread never comes to read: what is for other objects is not kept waiting again and again.
    handoff.idle(busy())
    lent = Lent(handoff, 0.002)
    link.far.send(b"a" * 20 + b"!")
    assert lent.end() == [LOST]
    assert link.letters() == "a" * 20
    assert len(pauses) == handoff_module._OFTEN_IN_VAIN


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_thread_that_stands_by_reads_for_one_that_waits_for_something_else(
    link: Link, handoff: ReaderHandoff, when: str
) -> None:
    handoff.idle(busy())
    handoff._reads_soon += 60.0

    def head_start() -> float:
        if when == "before":  # between its look and its pause
            handoff.forgo()
        return 60.0

    stands_by = threading.Thread(target=handoff.serve, args=(head_start,))
    stands_by.start()
    link.far.send(b"a!")
    while when == "meanwhile" and stands_by.is_alive():
        handoff.forgo()
        stands_by.join(0.001)
    stands_by.join(10)
    assert link.letters() == "a"
    assert handoff.rest == [LOST]


def test_caller_leaves_reading_to_a_loop_whose_tasks_wait(link: Link, handoff: ReaderHandoff) -> None:
    link.far.send(b"a")
    link.is_wanted_by_loop = True
    handoff.drive_io(never, None)
    assert link.read == []
    link.is_wanted_by_loop = False

    def a_task_waits() -> bool:
        link.is_wanted_by_loop = bool(link.read)
        return False

    handoff.drive_io(a_task_waits, None)
    assert link.letters() == "a"


def test_what_is_for_the_loop_is_kept_in_its_place(link: Link, handoff: ReaderHandoff) -> None:
    link.far.send(b"a!b")
    lent = Lent(handoff)
    assert lent.end() == [LOST]
    assert link.letters() == "a"
    handoff.drive_io(never, None)
    assert link.letters() == "a", "nobody reads on before the loop has handled it"
    assert handoff.is_called
    assert link.calls == 1


def test_caller_reads_for_itself_and_wakes_nobody_else(link: Link, handoff: ReaderHandoff) -> None:
    assert handoff.gate is not None
    woken = []

    def answered() -> bool:
        assert handoff.gate is not None
        woken.append(readable(handoff.gate))
        return link.has(1)

    link.far.send(b"a")
    handoff.drive_io(answered, 10.0)
    assert link.letters() == "a"
    assert not any(woken)
    assert not readable(handoff.gate)
    link.far.send(b"b")
    assert readable(handoff.gate), "the gate is open again"
    assert handoff.take()
    assert (link.calls, handoff.is_called) == (0, False)


def test_caller_reads_one_at_a_time(link: Link, handoff: ReaderHandoff) -> None:
    def another() -> bool:
        handoff.drive_io(never, None)
        handoff.idle(Thread())
        assert not handoff.take(), "nor the loop"
        return link.has(1)

    link.far.send(b"a")
    handoff.drive_io(another, 10.0)
    assert link.letters() == "a"


@pytest.mark.parametrize("who", ["caller", "thread that answered"])
def test_what_is_there_already_is_read_by_whoever_leaves(link: Link, handoff: ReaderHandoff, who: str) -> None:
    link.holds_more = True  # as with TLS, where the socket does not tell of it
    link.far.send(b"abc")
    if who == "caller":
        handoff.drive_io(partial(link.has, 1), 10.0)
    else:
        handoff.idle(Thread(link))
    assert link.letters() == "abc"
    assert (link.calls, handoff.is_called) == (0, False)


def test_what_a_caller_may_have_left_is_for_the_loop_at_once(link: Link, handoff: ReaderHandoff) -> None:
    link.holds_more = True
    link.far.send(b"a" * (handoff_module._MOST_REST + 1))
    handoff.drive_io(partial(link.has, 1), 10.0)
    assert len(link.read) == handoff_module._MOST_REST + 1
    assert (link.calls, handoff.is_called) == (1, True)


def test_caller_has_its_time_and_no_more(link: Link, handoff: ReaderHandoff) -> None:
    began = time.monotonic()
    handoff.drive_io(never, 0.05)
    assert 0.05 <= time.monotonic() - began < 5
    assert handoff.take()


@pytest.mark.parametrize("holds_more", [True, False])
def test_caller_has_its_time_where_there_is_always_more_to_read(
    link: Link, handoff: ReaderHandoff, holds_more: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0

    def read_once() -> tuple[bool, list[Event]]:
        nonlocal reads
        reads += 1
        assert reads < 1_000_000
        return holds_more, []

    link.far.send(b"a")
    monkeypatch.setattr(link, "read_once", read_once)
    handoff.drive_io(never, 0.01)
    assert reads
    assert handoff.take()


def test_caller_does_not_read_on_where_ctrl_c_is_pending(
    link: Link, handoff: ReaderHandoff, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_once() -> tuple[bool, list[Event]]:
        monkeypatch.setattr(INTERRUPTS, "pending", True)
        return True, []

    link.far.send(b"a")
    monkeypatch.setattr(link, "read_once", read_once)
    monkeypatch.setattr(handoff_module, "_SPIN", 0.0)
    handoff.drive_io(never, 10.0)
    assert handoff.take()


def test_caller_that_is_interrupted_gives_the_right_back(
    link: Link, handoff: ReaderHandoff, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: ReaderHandoff, milliseconds: int) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(ReaderHandoff, "_poll", interrupted)
    for read in (partial(handoff.drive_io, never, None), partial(handoff.idle, Thread())):
        with pytest.raises(KeyboardInterrupt):
            read()
        assert handoff.take()
        handoff.leave()
    assert handoff.gate is not None
    link.far.send(b"a")
    assert readable(handoff.gate)


class Deaf(Thread):
    """It gets something to do just before it sleeps."""

    def is_wanted(self) -> bool:
        if self.bell.is_listening:
            self.give()
        return False


def test_thread_that_answered_waits_for_the_next_request(link: Link, handoff: ReaderHandoff) -> None:
    for number in range(3):
        link.far.send(b"a")
        handoff.idle(Thread(link))
        assert link.letters() == "a" * (number + 1)
    assert handoff.take()


def test_thread_that_answered_reads_what_is_for_others_too(link: Link, handoff: ReaderHandoff) -> None:
    link.far.send(b"ab")
    handoff.idle(Thread())
    assert link.letters() == "ab"


def test_thread_that_waits_for_requests_is_woken_by_what_others_give_it(
    link: Link, handoff: ReaderHandoff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handoff_module, "PATIENCE", 60.0)
    thread = Thread()
    giver = threading.Thread(target=thread.give)
    handoff._for_requests.learn(came=False)

    def gives(poller: Any, milliseconds: float) -> Any:
        giver.start()
        return poller.poll(milliseconds)

    bell, descriptor, poller = handoff._poller_with(thread.bell)
    handoff._poller_of = bell, descriptor, SimpleNamespace(poll=partial(gives, poller))
    handoff.idle(thread)
    giver.join()
    assert not thread.bell.is_listening
    assert handoff.take()


def test_what_is_given_to_a_thread_before_it_sleeps_is_not_missed(
    handoff: ReaderHandoff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handoff_module, "PATIENCE", 60.0)
    handoff.idle(Deaf())
    assert handoff.take()


def test_thread_no_longer_waits_here_where_requests_come_elsewhere(
    handoff: ReaderHandoff, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[Thread] = []

    def sleep(thread: Thread) -> None:
        slept.append(thread)
        handoff._idling.learn(came=False)

    monkeypatch.setattr(handoff, "_sleep_idle", sleep)
    for _ in range(16):
        handoff.idle(Thread())
    assert len(slept) == 8


def test_thread_does_not_wait_here_without_a_descriptor(
    handoff: ReaderHandoff, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(self: Doorbell) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Doorbell, "fileno", none_left)
    for _ in range(8):
        handoff.idle(Thread())
    assert handoff._idling.in_vain == 8
    assert handoff.take()


def test_socket_is_given_back_by_whoever_reads_last(link: Link, handoff: ReaderHandoff) -> None:
    def ended() -> bool:
        handoff.retire()
        assert not link.freed
        return True

    handoff.drive_io(ended, None)
    assert link.freed == 1
    handoff.drive_io(never, None)
    assert not handoff.take()
    assert link.freed == 1


@pytest.mark.parametrize("has_right", [True, False])
def test_socket_is_given_back_at_once_where_nobody_reads(link: Link, handoff: ReaderHandoff, has_right: bool) -> None:
    if has_right:
        assert handoff.take()
    handoff.retire()
    assert link.freed == 1


def test_nobody_waits_for_what_never_comes_so_soon() -> None:
    habit = handoff_module._Habit()
    tried = 0
    while habit.is_worth_it():
        tried += 1
        habit.learn(came=False)
    skipped = 1
    while not habit.is_worth_it():
        skipped += 1
    assert (tried, skipped) == (8, handoff_module._TRY_AGAIN - 1)
    habit.learn(came=False)
    assert not habit.is_worth_it()
    habit.learn(came=True)
    assert habit.is_worth_it()


def test_who_waits_for_what_is_large_looks_for_longer(
    link: Link, handoff: ReaderHandoff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handoff_module, "_SPIN", 0.25)
    monkeypatch.setattr(handoff_module, "_PER_BYTE", 0.5)
    monkeypatch.setattr(handoff_module, "_MOST_FOR_BYTES", 4.0)
    found = []
    for more in (0, 1, 8, 9, 1 << 30):
        link.volume += more
        for _ in range(4):  # and does not look for less after it was in vain
            handoff._volume = link.volume - more
            found.append(handoff._look_for(handoff._for_answers, time.monotonic()))
            handoff._for_answers.learn(came=False)
        handoff._for_answers.learn(came=True)
    assert found == [each for each in (0.25, 0.75, 4.25, 4.25, 4.25) for _ in range(4)]


def test_thread_with_something_to_do_neither_looks_nor_learns(
    link: Link, handoff: ReaderHandoff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReaderHandoff, "_spin", lambda *_: pytest.fail("it looks"))
    monkeypatch.setattr(ReaderHandoff, "_sleep_idle", lambda *_: pytest.fail("it sleeps"))
    thread = Thread(link)
    link.far.send(b"a")
    handoff._for_requests.learn(came=False)
    thread.is_wanted = lambda: True  # type: ignore[method-assign]
    handoff.idle(thread)
    assert link.letters() == ""
    assert handoff._for_requests.in_vain == 1


@pytest.mark.parametrize("who", ["caller", "idle"])
def test_nobody_looks_for_what_comes_of_one_that_sleeps(
    link: Link, handoff: ReaderHandoff, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    # Whoever is woken by this one may have to run on the same processor, where it would wait until the look is over.
    looks: list[Callable[[], bool]] = []
    monkeypatch.setattr(ReaderHandoff, "_spin", lambda _self, enough, *_: looks.append(enough))
    monkeypatch.setattr(handoff_module, "_SPIN", 100.0)
    for heard, count in ((time.monotonic() - 1000, 0), (time.monotonic(), 1)):
        handoff._heard = heard
        link.read.clear()
        link.far.send(b"a")
        if who == "caller":
            handoff.drive_io(lambda: link.has(1), None)
        else:
            handoff.idle(Thread(link))
        assert link.letters() == "a"
        assert time.monotonic() - handoff._heard < 100, "what it has read tells that the other side is awake"
        assert len(looks) == count
    assert handoff._for_answers.in_vain == handoff._for_requests.in_vain == 0, "and who does not look learns nothing"


@pytest.mark.parametrize("who", ["caller", "idle"])
def test_what_has_gone_since_somebody_looked_says_for_how_long(
    link: Link, handoff: ReaderHandoff, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    monkeypatch.setattr(handoff_module, "_SPIN", 0.0)
    monkeypatch.setattr(handoff_module, "_PER_BYTE", 10.0)
    monkeypatch.setattr(handoff_module, "_MOST_FOR_BYTES", 10.0)
    looks = 0
    poll = ReaderHandoff._poll

    def note(self: ReaderHandoff, milliseconds: int) -> bool:
        nonlocal looks
        looks += milliseconds == 0
        if looks == 3:
            link.far.send(b"a")
        return poll(self, milliseconds)

    monkeypatch.setattr(ReaderHandoff, "_poll", note)
    read = (
        partial(handoff.drive_io, lambda: link.has(1), 10.0) if who == "caller" else partial(handoff.idle, Thread(link))
    )
    link.volume = 1
    handoff._heard = time.monotonic()
    read()
    assert (looks, link.letters()) == (3, "a")
    link.read.clear()
    link.far.send(b"b")
    read()
    assert (looks, link.letters()) == (3, "b"), "nothing large has gone since: it sleeps at once"


def test_who_looks_lets_others_run(link: Link, handoff: ReaderHandoff, monkeypatch: pytest.MonkeyPatch) -> None:
    # The other side may wait for this very processor.
    monkeypatch.setattr(handoff_module, "_SPIN", 100.0)
    monkeypatch.setattr(handoff_module, "_let_others_run", lambda: link.far.send(b"a"))
    handoff.drive_io(lambda: link.has(1), 10.0)
    assert link.letters() == "a"
    assert handoff._for_answers.is_worth_it()


def test_who_looks_where_others_want_the_processor_sleeps_from_then_on(
    link: Link, handoff: ReaderHandoff, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0

    def takes_its_turn() -> None:
        nonlocal now
        now += 0.003
        link.far.send(b"a")

    monkeypatch.setattr(handoff_module, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(handoff_module, "_LONG_TURN", 0.002)
    monkeypatch.setattr(handoff_module, "_SPIN", 100.0)
    monkeypatch.setattr(handoff_module, "_let_others_run", takes_its_turn)
    handoff.drive_io(lambda: link.has(1), None)
    assert link.letters() == "a"
    assert handoff._for_answers.in_vain == 8, "although it came before the look was over"


def test_caller_looks_no_longer_than_it_waits(
    link: Link, handoff: ReaderHandoff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handoff_module, "_SPIN", 1000.0)
    handoff.drive_io(never, 0.0)
    assert handoff.take()


def test_caller_who_does_not_wait_learns_nothing(link: Link, handoff: ReaderHandoff) -> None:
    for _ in range(8):
        handoff.drive_io(never, 0.0)
    assert handoff._for_answers.in_vain == 0, "and those who wait later look first all the same"


def test_thread_that_was_overtaken_looks_no_longer_than_usual(link: Link, handoff: ReaderHandoff) -> None:
    handoff._volume = 1 << 30  # another thread has noted a later volume
    assert handoff._look_for(handoff._for_requests, time.monotonic()) == handoff_module._SPIN
    assert handoff._volume == link.volume


def test_a_lone_processor_has_better_to_do_than_look(
    link: Link, handoff: ReaderHandoff, processors: Processors, monkeypatch: pytest.MonkeyPatch
) -> None:
    processors.several = False
    monkeypatch.setattr(ReaderHandoff, "_poll", lambda *_: pytest.fail("it looks"))
    link.far.send(b"a")
    handoff.idle(Thread(link))
    assert link.letters() == "a", "it sleeps instead"


def test_the_end_of_the_connection_ends_the_reading(link: Link, handoff: ReaderHandoff) -> None:
    lent = Lent(handoff)
    link.far.close()
    assert lent.end() == [LOST]
    assert not link.is_up
    assert link.calls == 1


def test_gate_of_a_forked_child_does_nothing_to_its_parents(link: Link) -> None:
    gate = read_gate.EpollGate(link.descriptor())
    child = os.fork()
    if not child:
        os._exit(0 if gate._epoll.closed else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    link.far.send(b"a")
    assert gate.wait(10)
    gate.shut()
    assert not gate.wait(0)
    gate.shut()
    gate.open()
    gate.open()
    assert gate.wait(0)
    gate.close()

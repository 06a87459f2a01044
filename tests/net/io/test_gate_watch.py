"""A gate that stays shut while the same threads read all the time: for how long, and that it opens in time."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace

import pytest
import trio

from qmi.core.context import QMI_Context
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.net.io import gate_watch
from qmi.net.io import reader_handoff as handoff_module
from qmi.net.io.gate_watch import Gated, GateWatch
from qmi.net.io.reader_handoff import ReaderHandoff
from tests.support.devices import Bench
from tests.support.drivers import Thermometer
from tests.support.hunting import LIMIT, restless_threads, rounds
from tests.support.joined_links import unforeseen
from tests.support.lab import two_contexts
from tests.support.letter_links import AnsweredThread, LetterLink

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="the loop reads all links")

LEAST = 3
OFTEN = handoff_module._OFTEN


class Watch(GateWatch):
    """One that is asked to look by the test."""

    def __init__(self) -> None:
        super().__init__(unforeseen)
        self.given: list[Gated] = []

    def watch(self, gated: Gated) -> None:
        self.given.append(gated)
        gated.is_watched = True


@pytest.fixture
def link() -> Iterator[LetterLink]:
    made = LetterLink()
    yield made
    made.far.close()
    made.near.close()


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def handoff(link: LetterLink, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReaderHandoff]:
    monkeypatch.setattr(handoff_module, "_OFTEN_WITHIN", 60.0)
    made = ReaderHandoff(link, watch, least_uses=LEAST)
    assert made.open()
    made.leave()
    yield made
    assert made.gate is not None
    made.gate.close()


def call(link: LetterLink, handoff: ReaderHandoff) -> None:
    """A call that is answered at once."""
    before = len(link.read)
    link.far.send(b"a")
    handoff.drive_io(lambda: len(link.read) > before, 10.0)


def serve(link: LetterLink, handoff: ReaderHandoff) -> None:
    """A request that comes at once."""
    link.far.send(b"a")
    handoff.idle(AnsweredThread(link))


def is_open_to_what_came(handoff: ReaderHandoff) -> bool:
    """Whether whoever stands by is woken."""
    assert handoff.gate is not None
    return handoff.gate.wait(0)


def wakes(link: LetterLink, handoff: ReaderHandoff) -> bool:
    """Whether what comes now wakes whoever stands by."""
    link.far.send(b"a")
    return is_open_to_what_came(handoff)


@pytest.fixture(params=[call, serve])
def shut(request: pytest.FixtureRequest, link: LetterLink, handoff: ReaderHandoff) -> Callable[[], None]:
    """The gate stays shut, since it was used often; what uses it once more."""
    for _ in range(2 * OFTEN + LEAST):
        request.param(link, handoff)
    assert handoff.look_after()
    request.param(link, handoff)
    return lambda: request.param(link, handoff)


@pytest.mark.parametrize("use", [call, serve])
def test_gate_that_is_used_often_is_looked_after(
    use: Callable[[LetterLink, ReaderHandoff], None], link: LetterLink, handoff: ReaderHandoff, watch: Watch
) -> None:
    for _ in range(2 * OFTEN - 1):
        use(link, handoff)
    assert watch.given == []
    for _ in range(2 * OFTEN):
        use(link, handoff)
    assert watch.given == [handoff]


def test_gate_that_is_used_now_and_then_is_not_looked_after(
    link: LetterLink, handoff: ReaderHandoff, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handoff_module, "_OFTEN_WITHIN", 0.0)
    for _ in range(3 * OFTEN):
        call(link, handoff)
    assert watch.given == []
    assert wakes(link, handoff)


def test_gate_stays_shut_while_it_is_used_so_often(
    shut: Callable[[], None], link: LetterLink, handoff: ReaderHandoff
) -> None:
    for _ in range(3):
        for _ in range(LEAST):
            shut()
        assert handoff.look_after()
    assert not wakes(link, handoff)


def test_gate_opens_when_it_is_used_less_often(
    shut: Callable[[], None], link: LetterLink, handoff: ReaderHandoff
) -> None:
    assert handoff.look_after(), "it was used once, and may be again"
    assert wakes(link, handoff)
    assert not handoff.look_after()


def test_gate_opens_for_what_came_while_it_was_shut(
    shut: Callable[[], None], link: LetterLink, handoff: ReaderHandoff
) -> None:
    assert not wakes(link, handoff)
    handoff.look_after()
    assert is_open_to_what_came(handoff)


@pytest.mark.parametrize("found", [False, True])
def test_gate_does_not_stay_shut_for_a_while_where_something_was_late(
    shut: Callable[[], None], link: LetterLink, handoff: ReaderHandoff, monkeypatch: pytest.MonkeyPatch, found: bool
) -> None:
    # A program that makes some calls each time, and then waits for a signal.
    if found:
        assert not wakes(link, handoff)
    handoff.look_after()
    for _ in range(LEAST):
        shut()
    handoff.look_after()
    assert handoff.stays_shut is not found
    monkeypatch.setattr(handoff_module, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 1.5))
    handoff._uses = LEAST
    handoff.look_after()
    assert handoff.stays_shut


@pytest.mark.parametrize("who", ["caller", "object"])
def test_who_cannot_read_opens_the_gate(
    shut: Callable[[], None], link: LetterLink, handoff: ReaderHandoff, who: str
) -> None:
    link.is_wanted_by_loop = True
    if who == "caller":
        handoff.drive_io(lambda: False, 10.0)
    else:
        handoff.idle(AnsweredThread(link))
    assert wakes(link, handoff)


def test_gate_does_not_stay_shut_while_tasks_wait(
    shut: Callable[[], None], link: LetterLink, handoff: ReaderHandoff
) -> None:
    handoff._uses = LEAST
    link.is_wanted_by_loop = True
    handoff.look_after()
    assert wakes(link, handoff)


def test_gate_is_opened_by_whoever_reads_while_it_is_looked_at(
    shut: Callable[[], None], link: LetterLink, handoff: ReaderHandoff
) -> None:
    # In the moment in which whoever reads has found that it stays shut, and has not given the right back.
    class Right:
        def __init__(self, right: threading.Lock) -> None:
            self.right = right
            self.acquire = right.acquire

        def release(self) -> None:
            handoff._right = self.right
            handoff._uses = 0
            handoff.look_after()
            self.right.release()

    handoff._right = Right(handoff._right)  # type: ignore[assignment]
    shut()
    assert wakes(link, handoff)


def test_caller_that_gets_no_answer_opens_the_gate(
    shut: Callable[[], None], link: LetterLink, handoff: ReaderHandoff
) -> None:
    handoff.drive_io(lambda: False, 0.0)
    assert wakes(link, handoff)


def test_thread_that_finds_nothing_to_do_opens_the_gate(
    shut: Callable[[], None], link: LetterLink, handoff: ReaderHandoff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handoff_module, "PATIENCE", 0.0)
    handoff.idle(AnsweredThread(link))
    assert wakes(link, handoff)


def test_thread_that_waits_for_something_else_opens_the_gate(
    shut: Callable[[], None], link: LetterLink, handoff: ReaderHandoff
) -> None:
    handoff.forgo()
    assert wakes(link, handoff)


def test_what_only_the_loop_may_handle_opens_the_gate(
    shut: Callable[[], None], link: LetterLink, handoff: ReaderHandoff
) -> None:
    link.far.send(b"!")
    handoff.drive_io(lambda: True, 10.0)
    handoff.drive_io(lambda: bool(handoff.rest), 10.0)
    assert handoff.rest
    assert link.calls
    assert wakes(link, handoff)


def test_link_that_is_lost_while_its_gate_stays_shut_is_given_to_the_loop(
    shut: Callable[[], None], link: LetterLink, handoff: ReaderHandoff
) -> None:
    def lost() -> bool:
        link.is_up = False
        return True

    handoff.drive_io(lost, 10.0)
    handoff.look_after()
    assert link.calls == 1
    assert wakes(link, handoff)


def test_loop_that_has_read_opens_the_gate(shut: Callable[[], None], link: LetterLink, handoff: ReaderHandoff) -> None:
    assert handoff.take()
    handoff.leave()
    assert wakes(link, handoff)


def test_end_of_a_link_ends_looking_after_its_gate(
    shut: Callable[[], None], link: LetterLink, handoff: ReaderHandoff
) -> None:
    assert handoff.retire()
    assert link.freed == 1
    assert not handoff.look_after()


class Letterbox:
    """A gate of which the test says how long it is used."""

    is_watched = False

    def forgo(self) -> None:
        self.is_open.set()

    def __init__(self, looks: int, error: Exception | None = None) -> None:
        self.left = looks
        self.error = error
        self.threads: set[str] = set()
        self.is_over = threading.Event()
        self.is_open = threading.Event()

    def look_after(self) -> bool:
        self.threads.add(threading.current_thread().name)
        self.left -= 1
        if self.left > 0:
            return True
        self.is_over.set()
        if self.error is not None:
            raise self.error
        return False


def test_one_thread_looks_after_all_gates_until_none_is_used() -> None:
    watch = GateWatch(unforeseen)
    ended = threading.Event()
    run = watch._run

    def run_and_tell() -> None:
        run()
        ended.set()

    watch._run = run_and_tell  # type: ignore[method-assign]
    for _ in range(2):  # and once more
        boxes = [Letterbox(2), Letterbox(5)]
        for box in boxes:
            watch.watch(box)
            assert box.is_watched
        assert ended.wait(10)
        ended.clear()
        for box in boxes:
            assert box.left == 0
            assert box.threads == {"qmi-gates"}
            assert not box.is_watched


def test_gate_has_time_to_be_used_before_the_first_look(monkeypatch: pytest.MonkeyPatch) -> None:
    box = Letterbox(2)
    left: list[int] = []  # looks, at each sleep
    with monkeypatch.context() as patch:
        patch.setattr(gate_watch, "time", SimpleNamespace(sleep=lambda _: left.append(box.left)))
        GateWatch(unforeseen).watch(box)
        assert box.is_over.wait(10)
    assert left[:2] == [2, 1]


def test_fault_of_one_gate_is_told_and_others_are_looked_after_all_the_same() -> None:
    told: list[Exception] = []
    watch = GateWatch(told.append)
    fault = ValueError("a bug")
    boxes = [Letterbox(1, fault), Letterbox(3)]
    for box in boxes:
        watch.watch(box)
    assert all(box.is_over.wait(10) for box in boxes)
    assert told == [fault]


def test_fault_of_the_thread_opens_all_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Exception] = []
    watch = GateWatch(told.append)
    fault = MemoryError()

    def fails(_: float) -> None:
        raise fault

    box = Letterbox(1000)
    with monkeypatch.context() as patch:
        patch.setattr(gate_watch, "time", SimpleNamespace(sleep=fails))
        watch.watch(box)
        assert box.is_open.wait(10)
    assert not box.is_watched
    assert told == [fault]
    last = Letterbox(1)
    watch.watch(last)
    assert last.is_over.wait(10), "another thread looks after others"


def test_gate_is_not_looked_after_without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(trio.lowlevel, "start_thread_soon", refuse)
        watch = GateWatch(unforeseen)
        box = Letterbox(1)
        watch.watch(box)
        assert not box.is_watched
    watch.watch(box)
    assert box.is_over.wait(10), "there is one again"


def test_threads_that_come_and_go_miss_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes is read by somebody, however whoever reads, looks after the gate and stands by are interleaved."""
    monkeypatch.setattr(gate_watch, "EVERY", 1e-4)
    monkeypatch.setattr(handoff_module, "_OFTEN", 2)
    with restless_threads():
        for _ in rounds(20):
            come_and_go(100)


def come_and_go(calls: int) -> None:
    link = LetterLink()
    handoff = ReaderHandoff(link, GateWatch(unforeseen), least_uses=1)
    handoff.open()
    handoff.leave()
    gate = handoff.gate
    assert gate is not None
    is_over = threading.Event()

    def stand_by() -> None:
        while not is_over.is_set():
            if gate.wait(0.01) and handoff.take():
                link.read_once()
                handoff.leave()

    def go_on_calling() -> None:
        for _ in range(calls):
            link.far.send(b"a")
            handoff.drive_io(partial(link.has, len(link.read) + 1), 0.001)

    threads = [threading.Thread(target=stand_by), threading.Thread(target=go_on_calling)]
    for thread in threads:
        thread.start()
    threads[1].join(LIMIT)
    link.far.send(b"z")  # for which nobody calls
    link.wait_for("a" * calls + "z")
    is_over.set()
    threads[0].join(LIMIT)
    handoff.retire()
    link.far.close()
    link.near.close()


@pytest.mark.parametrize("whose", ["callers", "objects"])
def test_what_comes_after_many_calls_is_read_by_others(monkeypatch: pytest.MonkeyPatch, whose: str) -> None:
    """A signal that comes when a program calls no more; and a request when it has called another object before."""
    monkeypatch.setattr(handoff_module, "_OFTEN_WITHIN", 60.0)  # also on a busy machine
    monkeypatch.setattr(ReaderHandoff.__init__, "__kwdefaults__", {"least_uses": 1})
    looks: dict[ReaderHandoff, list[bool]] = {}
    look_after = ReaderHandoff.look_after

    def noted(handoff: ReaderHandoff) -> bool:
        found = look_after(handoff)
        looks.setdefault(handoff, []).append(handoff.stays_shut)
        return found

    monkeypatch.setattr(ReaderHandoff, "look_after", noted)
    made: list[Bench] = []

    class Kept(Bench):
        def __init__(self, context: QMI_Context, name: str) -> None:
            super().__init__(context, name)
            made.append(self)

    with two_contexts() as (server, client):
        thermometer = server.make_instrument("thermometer", Thermometer)
        server.make_instrument("bench", Kept)
        receiver = QMI_SignalReceiver()
        client.get_instrument("server.thermometer").sig_nothing.subscribe(receiver)
        bench = client.get_instrument("server.bench")
        while sum(map(any, looks.values())) < 2:  # at either end
            assert bench.echo(1) == 1
        if whose == "callers":
            thermometer.publish("sig_nothing")
        else:
            blocked = bench.rpc_nonblocking.block()
            client.get_instrument("server.thermometer").publish("sig_nothing")
            made[0].gate.set()
            assert blocked.wait(10) == "done"
        assert receiver.get_next_signal(timeout=10).args == ()

"""Signals on their way to many links: when they are written, by whom, and that they are what they are alone."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio

from qmi.actors.pubsub.broker import Broker, PeerSubscriber
from qmi.errors import QMI_NotDeliveredException, QMI_ValueNotSendableException
from qmi.messages import Call, Origin, Signal
from qmi.net.io import fan_out as fan_out_module
from qmi.net.io.fan_out import FanOut, Publication
from qmi.net.io.transport import FULL, PlainWire, Unsent
from tests.support.joined_links import Answer, Pair, deaf, joined
from tests.support.waiting import until
from tests.support.writing import Clock, FakeLoop


class Holding:
    """A link that notes what it holds and writes."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.loop: Any = bench.loop
        self._bench = bench
        self._name = name
        self.held: list[str] = []

    def send(self, publication: Publication, text: str, size: int = 40) -> None:
        self.held.append(text)
        publication.links.append(self)
        if publication.holds:
            publication.size = size
        else:
            self.write_held()

    def write_held(self) -> None:
        if self.held:
            self._bench.written.append((self._name, "".join(self.held)))
            self.held = []


class Bench:
    """Some links, with the clock and the loop in the hands of the test."""

    def __init__(self, clock: Clock, names: str = "ABC") -> None:
        self.clock = clock
        self.loop = FakeLoop()
        self.written: list[tuple[str, str]] = []
        self.watchers: list[Callable[[], Any]] = []
        self.may_spawn = True
        self.links = {name: Holding(self, name) for name in names}
        self.fan_out = FanOut(self._spawn)

    def _spawn(self, watch: Callable[[], Any]) -> bool:
        if self.may_spawn:
            self.watchers.append(watch)
        return self.may_spawn

    def publish(self, text: str, names: str = "AB", size: int = 40, took: float = 0.0) -> None:
        publication = self.fan_out.begin(len(names))
        self.wait(took)
        for name in names:
            self.links[name].send(publication, text, size)
        self.fan_out.finish(publication)

    def wait(self, seconds: float = 0.001) -> None:
        self.clock.now += seconds


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    clock = Clock()
    monkeypatch.setattr(fan_out_module, "time", clock)
    return Bench(clock)


def test_lone_signal_is_written_to_each_link_at_once(bench: Bench) -> None:
    for text in "ab":
        bench.publish(text)
        bench.wait()
    assert bench.written == [("A", "a"), ("B", "a"), ("A", "b"), ("B", "b")]
    assert bench.loop.due == []


def test_signals_of_a_burst_are_written_together_when_the_time_is_over(bench: Bench) -> None:
    for text in "abcd":
        bench.publish(text)
    assert bench.written == [("A", "a"), ("B", "a")]
    assert len(bench.loop.due) == 1, "the loop is told once, not for each signal"
    bench.wait()
    bench.publish("e")
    assert bench.written[2:] == [("A", "bcde"), ("B", "bcde")]


def test_signal_that_is_written_takes_along_what_other_links_hold(bench: Bench) -> None:
    bench.publish("a", "A")
    bench.publish("b", "BC")
    bench.wait()
    bench.publish("c", "A")
    assert bench.written == [("A", "a"), ("A", "c"), ("B", "b"), ("C", "b")]


def test_burst_of_large_signals_is_written_when_there_is_enough_of_it(bench: Bench) -> None:
    bench.publish("a")
    for text in "bcd":
        bench.publish(text, size=FULL // 2)
    assert bench.written[2:] == [("A", "bcd"), ("B", "bcd")]


@pytest.mark.parametrize(
    ("links", "took", "held_for"),
    [
        (1, 0.0, 0.0002),
        (1, 3.0, 0.0002),
        (4, 0.0, 0.0002),
        (5, 0.0, 0.00025),
        (10, 0.0, 0.0005),
        (10, 0.001, 0.001),
        (10, 3.0, 0.002),
        (100, 0.0, 0.0005),
        (100, 0.0015, 0.0015),
        (100, 3.0, 0.01),
        (1000, 3.0, 0.01),
    ],
)
def test_signals_are_held_for_as_long_as_writing_to_all_links_takes_within_limits(
    monkeypatch: pytest.MonkeyPatch, links: int, took: float, held_for: float
) -> None:
    clock = Clock()
    monkeypatch.setattr(fan_out_module, "time", clock)
    names = "".join(map(chr, range(1000, 1000 + links)))
    bench = Bench(clock, names)
    bench.publish("a", names, took=took)
    bench.wait(held_for - 0.00001)
    bench.publish("b", names)
    assert len(bench.written) == links
    bench.wait(0.00002)
    bench.publish("c", names[0])
    assert len(bench.written) == 2 * links
    assert bench.written[links] == (names[0], "bc")
    bench.wait(0.00019)
    bench.publish("d", names)
    bench.wait(0.00002)
    bench.publish("e", names)
    assert bench.written[-1] == (names[-1], "de"), "what was written last to few is held for a short time"


def test_signal_to_one_link_does_not_wait_for_a_burst_to_many(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(fan_out_module, "time", clock)
    names = "".join(map(chr, range(1000, 1100)))
    bench = Bench(clock, names)
    bench.publish("a", names, took=0.0015)
    bench.wait(0.0003)
    bench.publish("b", names)
    bench.publish("c", names[0])
    assert bench.written[len(names) :] == [(names[0], "bc")], "with what it holds, and the others go on holding"
    bench.wait(0.003)
    bench.publish("d", names)
    assert bench.written[len(names) + 1 :] == [(names[0], "d"), *((name, "bd") for name in names[1:])]


def test_tasks_of_the_loop_have_their_signals_written_when_they_have_had_their_turn(bench: Bench) -> None:
    bench.loop.here = True
    for text in "abc":
        bench.publish(text)
    assert len(bench.loop.due) == 1
    bench.loop.turn()
    assert bench.written[2:] == [("A", "bc"), ("B", "bc")]
    bench.publish("d")
    bench.loop.turn()
    assert bench.written[4:] == [("A", "d"), ("B", "d")]


def test_tasks_of_the_loop_do_not_write_all_the_time_where_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(fan_out_module, "time", clock)
    names = "ABCDEFGHIJK"
    bench = Bench(clock, names)
    bench.loop.here = True
    for text in "abc":
        bench.publish(text, names)
        bench.loop.turn()
    assert len(bench.written) == len(names)
    assert len(bench.watchers) == 1


@pytest.mark.parametrize("ended", [False, True], ids=["no more tasks", "loop has ended"])
def test_signals_are_written_at_once_when_nobody_can_write_them_later(bench: Bench, ended: bool) -> None:
    bench.may_spawn = False
    if ended:
        bench.loop.soon = lambda function: False  # type: ignore[method-assign]
    bench.publish("a")
    for text in "bc":
        bench.publish(text)
        bench.loop.turn()
    assert bench.written[2:] == [("A", "b"), ("B", "b"), ("A", "c"), ("B", "c")]


async def test_watcher_writes_what_a_publisher_has_left_and_ends() -> None:
    clock_free = Bench(Clock())
    async with trio.open_nursery() as nursery:
        clock_free._spawn = lambda watch: nursery.start_soon(watch) or True  # type: ignore[func-returns-value, method-assign]
        clock_free.fan_out = FanOut(clock_free._spawn)
        for _ in range(3):
            clock_free.fan_out._due = clock_free.fan_out._wrote = 1e18  # a burst that goes on
            clock_free.publish("a")
            clock_free.publish("b")
            clock_free.loop.turn()
            clock_free.fan_out._due = 0.0
            await trio.testing.wait_all_tasks_blocked()
            assert clock_free.written == [("A", "ab"), ("B", "ab")]
            assert not nursery.child_tasks
            clock_free.written.clear()


async def test_watcher_is_started_anew_for_what_comes_while_it_writes_for_the_last_time(bench: Bench) -> None:
    bench.publish("a")
    bench.publish("b")
    bench.loop.turn()
    write_held = bench.links["A"].write_held

    def publish_again() -> None:
        bench.links["A"].write_held = write_held  # type: ignore[method-assign]
        write_held()
        bench.publish("c")

    bench.links["A"].write_held = publish_again  # type: ignore[method-assign]
    with trio.CancelScope() as scope:
        scope.cancel()
        await bench.watchers[0]()
    bench.loop.turn()
    assert len(bench.watchers) == 2
    bench.wait()
    await bench.watchers[1]()
    assert bench.written[2:] == [("A", "b"), ("B", "bc"), ("A", "c")]


# With links that are there


class Site:
    """A publisher with links to so many programs."""

    def __init__(self, pairs: list[Pair], nursery: trio.Nursery) -> None:
        self.pairs = pairs
        self.fan_out = FanOut(lambda watch: nursery.start_soon(watch) or True)  # type: ignore[func-returns-value]
        self.broker: Broker[Publication] = Broker("lab", self.fan_out)
        for number, pair in enumerate(pairs):
            self.broker.subscribe_peer("nsg", "sig", PeerSubscriber(Origin(f"p{number}", "1"), pair.a.send_signal))

    def begin_burst(self) -> None:
        """What is published from now on belongs to one burst, however slow the machine is."""
        self.fan_out._due = self.fan_out._wrote = 1e18

    def end_burst(self) -> None:
        self.fan_out._due = self.fan_out._wrote = 0.0
        self.fan_out._write_all()

    def publish(self, *args: object) -> None:
        self.broker.publish("nsg", "sig", args)

    def got(self, index: int) -> list[Any]:
        return [told[1].args for told in self.pairs[index].owners[1].told if told[0] == "signal"]


@asynccontextmanager
async def site(count: int = 3, **options: Any) -> AsyncIterator[Site]:
    async with trio.open_nursery() as nursery:
        async with AsyncExitStack() as stack:
            pairs = [await stack.enter_async_context(joined(**options)) for _ in range(count)]
            yield Site(pairs, nursery)
        nursery.cancel_scope.cancel()


async def test_signals_of_a_burst_are_the_bytes_that_they_are_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    put = PlainWire.put
    written: dict[PlainWire, bytes] = {}

    def note(wire: PlainWire, unsent: Unsent) -> None:
        rest = b"".join(unsent.rest())
        put(wire, unsent)
        written[wire] = written.get(wire, b"") + rest[: unsent.counts[-1]]

    values = [(1,), ("text",), ([1, 2.5],), (b"x" * 5000,), (b"y" * (2 * FULL),), (None, {"a": 1}), (b"z" * 5000,)]
    monkeypatch.setattr("qmi.actors.pubsub.broker.time.time", lambda: 12.0)
    monkeypatch.setattr(PlainWire, "put", note)
    monkeypatch.setattr(PlainWire, "put_one", note)

    async def publish(burst: bool) -> list[bytes]:
        async with site() as lab:
            written.clear()
            if burst:
                lab.begin_burst()
            for value in values:
                lab.publish(*value)
                if not burst:
                    lab.end_burst()
            if burst:
                lab.end_burst()
            await until(lambda: all(len(lab.got(index)) == len(values) for index in range(3)))
            assert lab.got(0) == lab.got(1) == lab.got(2) == values
            return [written[pair.a._wire] for pair in lab.pairs]  # type: ignore[index]

    assert await publish(True) == await publish(False)


async def test_burst_is_one_write_for_each_link(monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[object] = []

    def note(name: str) -> None:
        write = getattr(PlainWire, name)

        def noted(wire: PlainWire, unsent: Unsent) -> None:
            writes.append(wire)
            write(wire, unsent)

        monkeypatch.setattr(PlainWire, name, noted)

    note("put")
    note("put_one")
    async with site() as lab:
        wires = [pair.a._wire for pair in lab.pairs]
        writes.clear()
        lab.begin_burst()
        for number in range(100):
            lab.publish(number)
        assert not set(writes) & set(wires)
        lab.end_burst()
        assert [writes.count(wire) for wire in wires] == [1, 1, 1]


async def test_signals_and_calls_of_one_link_keep_their_order() -> None:
    async with site(2) as lab:
        link = lab.pairs[0].a
        lab.begin_burst()
        lab.publish(1)
        link.send_request(Call("x", "one"), Answer(), soon=True)
        lab.publish(2)
        link.send_request(Call("x", "two"), Answer())  # takes all along
        lab.publish(3)
        lab.end_burst()
        await until(lambda: all(len(lab.got(index)) == 3 for index in range(2)))
        told = [entry for entry in lab.pairs[0].owners[1].told if entry[0] in ("signal", "request")]
        assert [e[1].method if e[0] == "request" else e[1].args[0] for e in told] == [1, "one", 2, "two", 3]
        assert lab.got(1) == [(1,), (2,), (3,)]


async def test_request_of_a_task_does_not_wait_for_the_end_of_a_burst_of_signals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with site(1) as lab:
        monkeypatch.setattr("qmi.net.io.transport._BURST", 60.0)
        link, answer = lab.pairs[0].a, Answer()
        lab.begin_burst()
        link.send_request(Call("x", "one"), Answer())
        lab.publish(1)  # held, until the burst ends, which it does not
        link.send_request(Call("x", "two"), answer, soon=True)  # held, until the tasks of the loop have had their turn
        await until(lambda: bool(answer.got))
        assert lab.got(0) == [(1,)]


async def test_signals_that_are_held_go_out_before_the_link_is_closed() -> None:
    async with site() as lab:
        lab.begin_burst()
        for number in range(3):
            lab.publish(number)
        lab.pairs[0].a.close("done")
        await until(lambda: lab.pairs[0].b.ended.is_set())
        assert lab.got(0) == [(0,), (1,), (2,)]
        lab.publish(3)
        lab.end_burst()
        await until(lambda: len(lab.got(1)) == 4)


async def test_lost_link_keeps_no_signal_from_the_others() -> None:
    async with site() as lab:
        lab.begin_burst()
        lab.publish(0)
        lab.pairs[1].a._handle(lab.pairs[1].a._connection.lose, "no reason")
        lab.publish(1)
        with pytest.raises(QMI_NotDeliveredException, match="no reason"):
            lab.pairs[1].a.send_signal(Signal("nsg", "sig", (1,), 0, 0.0), lab.fan_out.begin(1))
        lab.end_burst()
        for index in (0, 2):
            await until(lambda index=index: lab.got(index) == [(0,), (1,)])  # type: ignore[misc]
        assert lab.got(1) == []


async def test_link_that_fails_while_a_burst_is_written_ends_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with site() as lab:
        put = PlainWire.put

        def fail(wire: PlainWire, unsent: Unsent) -> None:
            if wire is lab.pairs[1].a._wire:
                raise RuntimeError("a bug")
            put(wire, unsent)

        monkeypatch.setattr(PlainWire, "put", fail)
        lab.begin_burst()
        lab.publish(0)
        lab.publish(1)
        lab.end_burst()
        for index in (0, 2):
            await until(lambda index=index: lab.got(index) == [(0,), (1,)])  # type: ignore[misc]
        await until(lambda: lab.pairs[1].a.ended.is_set())
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_frozen_program_delays_nobody_and_its_signals_are_dropped_and_counted() -> None:
    async with site(buffer=8192, max_unsent=20_000) as lab:
        deaf(lab.pairs[1])
        lump = b"x" * 1000
        for number in range(1, 21):
            lab.begin_burst()
            for _ in range(10):
                lab.publish(lump)
            lab.end_burst()
            for index in (0, 2):  # who reads gets all, however much waits for the other one
                await until(lambda index=index, due=10 * number: len(lab.got(index)) == due)  # type: ignore[misc]
        assert lab.pairs[1].a.dropped_signals > 0
        assert (lab.pairs[0].a.dropped_signals, lab.pairs[2].a.dropped_signals) == (0, 0)
        assert lab.pairs[1].a.loss is None


async def test_signal_that_one_link_cannot_encode_is_sent_on_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async with site() as lab:
        apart = lab.pairs[1].a
        apart.encode_apart(lambda chain: chain)

        def refuse(signal: Signal) -> Any:
            raise QMI_ValueNotSendableException("not to this one")

        apart._connection.write_signal = refuse  # type: ignore[method-assign]
        lab.begin_burst()
        lab.publish(0)
        lab.publish(1)
        lab.end_burst()
        for index in (0, 2):
            await until(lambda index=index: lab.got(index) == [(0,), (1,)])  # type: ignore[misc]
        assert lab.got(1) == []
    assert [record.getMessage() for record in caplog.records] == [
        "Signal nsg.sig was not sent to context 'p1': not to this one"
    ]

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import pytest
import trio

import qmi
from qmi.actors.interface import Placement
from qmi.actors.polling import next_tick
from qmi.core.exceptions import QMI_InstrumentException
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import QMI_RpcObject, rpc_method
from qmi.testing import TaskBench, open_task_bench, open_virtual_context, run_in_virtual_time
from tests.support.actors import actor_of, check_idle
from tests.support.waiting import wait_until


class Meter(QMI_Instrument):
    """Notes when it is asked for what, by a clock of the test."""

    polls: Mapping[str, float] = MappingProxyType({"current": 1.0})

    def __init__(self, context: Any, name: str, bench: TaskBench | None = None) -> None:
        super().__init__(context, name)
        self.asked: list[tuple[str, float]] = []
        self.now = bench.now if bench is not None else trio.current_time
        self.gate = threading.Event()
        self.works: Callable[[], object] = lambda: None

    def __rpc_polls__(self) -> Mapping[str, float]:
        return self.polls

    def note(self, name: str) -> None:
        self.asked.append((name, self.now()))
        self.works()

    def __rpc_poll__(self, name: str) -> object:
        self.note(name)
        return None

    @rpc_method
    def is_busy(self) -> None:
        self.gate.wait()

    @rpc_method
    def get_thread(self) -> int:
        return threading.get_ident()


class MeterOfCallers(Meter):
    _rpc_placement = Placement.CALLER


class LoopMeter(Meter):
    _rpc_placement = Placement.LOOP

    async def _note_later(self, name: str) -> None:
        await trio.lowlevel.checkpoint()
        self.note(name)

    def __rpc_poll__(self, name: str) -> object:
        return self._note_later(name)


class MixedMeter(LoopMeter):
    """Plain methods in a thread, and readings that are awaited."""

    _rpc_placement = Placement.THREAD


class Probe(QMI_RpcObject):
    """Cannot be opened."""

    polls: Mapping[str, float] = MappingProxyType({"current": 1.0})
    __rpc_polls__ = Meter.__rpc_polls__
    __rpc_poll__ = Meter.__rpc_poll__
    note = Meter.note

    def __init__(self, context: Any, name: str, bench: TaskBench) -> None:
        super().__init__(context, name)
        self.asked: list[tuple[str, float]] = []
        self.now, self.works = bench.now, lambda: None


KINDS = [Meter, MeterOfCallers, LoopMeter, MixedMeter]


def make(bench: TaskBench, kind: type[QMI_RpcObject] = Meter) -> tuple[Any, Any]:
    """A proxy, and the object behind it."""
    proxy = bench.context.make_rpc_object("meter", kind, bench)
    return proxy, actor_of(bench.context, "meter").object


@contextmanager
def time_passes(bench: TaskBench, seconds: float) -> Iterator[None]:
    """Let it pass in another thread, which ends when all that is due is done."""
    thread = threading.Thread(target=bench.run, args=(seconds,))
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize("kind", KINDS)
def test_poll_goes_on_from_open_to_close(kind: type[Meter]) -> None:
    with open_task_bench() as bench:
        proxy, meter = make(bench, kind)
        bench.run(1.5)
        assert meter.asked == []
        proxy.open()
        assert meter.asked == []  # time stands still
        bench.run(2.0)
        assert meter.asked == [("current", 1.5), ("current", 2.5), ("current", 3.5)]
        proxy.close()
        bench.run(5.0)
        assert len(meter.asked) == 3
        proxy.open()
        bench.run(0.0)
        assert meter.asked[3:] == [("current", 8.5)]
        proxy.close()
    check_idle_clock(bench)


def check_idle_clock(bench: TaskBench) -> None:
    """Nobody is left who waits in the clock: else this would not return."""
    bench.clock.run()


def test_poll_of_what_cannot_be_opened_begins_when_it_is_made() -> None:
    with open_task_bench() as bench:
        _, probe = make(bench, Probe)
        bench.run(2.0)
        assert probe.asked == [("current", 0.0), ("current", 1.0), ("current", 2.0)]
        bench.context.remove_rpc_object(bench.context.get_rpc_object("meter"))
        bench.run(5.0)
        assert len(probe.asked) == 3
        check_idle_clock(bench)


def test_poll_of_what_is_opened_by_its_constructor_begins_there() -> None:
    class Opened(Meter):
        def __init__(self, context: Any, name: str, bench: TaskBench) -> None:
            super().__init__(context, name, bench)
            self.open()

    with open_task_bench() as bench:
        proxy, meter = make(bench, Opened)
        bench.run(0.5)
        assert meter.asked == [("current", 0.0)]
        proxy.close()


def test_polls_of_several_readings_have_periods_of_their_own() -> None:
    class Several(Meter):
        polls = MappingProxyType({"fast": 0.1, "slow": 0.25, "other": 0.1})

    with open_task_bench() as bench:
        proxy, meter = make(bench, Several)
        proxy.open()
        bench.run(0.35)
        assert meter.asked == [
            *(("fast", 0.0), ("slow", 0.0), ("other", 0.0), ("fast", 0.1), ("other", 0.1)),
            *(("fast", 0.2), ("other", 0.2), ("slow", 0.25), ("fast", 0.1 * 3), ("other", 0.1 * 3)),
        ]
        proxy.close()


@pytest.mark.parametrize("kind", KINDS)
def test_poll_is_not_stopped_by_a_lock(kind: type[Meter], caplog: pytest.LogCaptureFixture) -> None:
    with open_task_bench() as bench:
        proxy, meter = make(bench, kind)
        proxy.open()
        with proxy.locked():
            bench.run(1.0)
        assert len(meter.asked) == 2
        proxy.close()
    assert caplog.records == []


@pytest.mark.parametrize("kind", KINDS)
def test_poll_that_takes_longer_than_its_period_leaves_times_out(kind: type[Meter]) -> None:
    with open_task_bench() as bench:
        proxy, meter = make(bench, kind)
        meter.works = lambda: bench.work(2.5)
        proxy.open()
        bench.run(6.0)
        assert [when for _, when in meter.asked] == [0.0, 3.0, 6.0]
        proxy.close()


@pytest.mark.parametrize("kind", [Meter, MeterOfCallers, MixedMeter])
def test_poll_waits_for_the_calls_before_it_and_never_behind_itself(kind: type[Meter]) -> None:
    with open_task_bench() as bench:
        proxy, meter = make(bench, kind)
        proxy.open()
        bench.run(0.0)
        busy = proxy.rpc_nonblocking.is_busy()
        mailbox = actor_of(bench.context, "meter").mailbox
        with time_passes(bench, 10.0):
            wait_until(lambda: len(mailbox) == 1)
            later = proxy.rpc_nonblocking.get_thread()  # comes after the poll, and after no other one
            bench.work(5.5)
            assert (len(mailbox), len(meter.asked)) == (2, 1)
            meter.gate.set()
        busy.wait()
        later.wait()
        assert [when for _, when in meter.asked[1:4]] == [6.5, 7.0, 8.0]
        proxy.close()
        check_idle(actor_of(bench.context, "meter"))


def test_poll_that_waits_when_its_object_is_closed_asks_for_nothing() -> None:
    with open_task_bench() as bench:
        proxy, meter = make(bench)
        proxy.open()
        bench.run(0.0)
        busy, closing = proxy.rpc_nonblocking.is_busy(), proxy.rpc_nonblocking.close()
        mailbox = actor_of(bench.context, "meter").mailbox
        with time_passes(bench, 1.0):
            wait_until(lambda: len(mailbox) == 2)
            opening = proxy.rpc_nonblocking.open()  # what it asks for from now on is for the next ones
            meter.gate.set()
            busy.wait()
            closing.wait()
            opening.wait()
        bench.run(0.0)
        assert [when for _, when in meter.asked] == [0.0, 1.0]
        proxy.close()


def test_poll_that_fails_is_logged_once_and_so_is_its_recovery(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Meter):
        polls = MappingProxyType({"current": 1.0, "voltage": 1.0})

        def note(self, name: str) -> None:
            super().note(name)
            if name == "current" and 1 <= self.now() < 4:
                raise QMI_InstrumentException(f"no answer at {self.now():g} s")

    with open_task_bench("lab") as bench:
        proxy, meter = make(bench, Failing)
        proxy.open()
        bench.run(6.0)
        assert [name for name, _ in meter.asked].count("current") == 7
        proxy.close()
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "qmi.core.rpc",
            "WARNING",
            "lab.meter: polling current failed and goes on, said once: QMI_InstrumentException: no answer at 1 s",
        ),
        ("qmi.core.rpc", "WARNING", "lab.meter: polling current works again, after 3 failures"),
    ]


def test_poll_that_fails_late_leaves_the_object_to_its_callers() -> None:
    with open_task_bench() as bench:
        proxy, meter = make(bench)

        def time_out() -> None:
            bench.work(2.0)
            raise QMI_InstrumentException("no answer")

        meter.works = time_out
        proxy.open()
        bench.run(25.0)
        assert [when for _, when in meter.asked] == [0.0, 10.0, 20.0]
        proxy.close()


def test_polls_that_fail_share_the_time_that_they_may_take() -> None:
    """However many readings a device does not answer; one that it does answer is asked as often as ever."""

    class Silent(Meter):
        polls = MappingProxyType({"a": 1.0, "b": 1.0, "c": 1.0, "good": 1.0})

        def note(self, name: str) -> None:
            super().note(name)
            if name != "good":
                bench.work(2.0)
                raise QMI_InstrumentException("no answer")

    with open_task_bench() as bench:
        proxy, meter = make(bench, Silent)
        proxy.open()
        bench.run(55.0)
        failed = [(name, when) for name, when in meter.asked if name != "good"]
        assert failed == [
            *(("a", 0.0), ("b", 2.0), ("c", 4.0), ("a", 14.0), ("b", 24.0), ("c", 34.0), ("a", 44.0), ("b", 54.0)),
        ]
        good = [when for name, when in meter.asked if name == "good"]
        assert good[:10] == [6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 16.0, 17.0]
        assert len(good) == 5 * 8 + 1
        proxy.close()


@pytest.mark.parametrize("kind", KINDS)
def test_poll_ends_with_its_object(kind: type[Meter], caplog: pytest.LogCaptureFixture) -> None:
    with open_task_bench() as bench:
        proxy, meter = make(bench, kind)
        proxy.open()
        bench.run(1.0)
        bench.context.remove_rpc_object(proxy)
        bench.run(2.0)
        assert len(meter.asked) == 2
        check_idle_clock(bench)
    assert [record.getMessage() for record in caplog.records] == ["Instrument meter is still open and is closed now"]


@pytest.mark.parametrize("kind", KINDS)
def test_poll_ends_with_its_context(kind: type[Meter]) -> None:
    with open_task_bench() as bench:
        proxy, meter = make(bench, kind)
        proxy.open()
        bench.run(1.0)
    assert len(meter.asked) == 2
    check_idle_clock(bench)


def test_poll_ends_with_an_object_that_cannot_be_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_task_bench() as bench:

        def attach(actor: Any) -> None:
            raise ValueError("no such guard")

        monkeypatch.setattr(bench.context.async_context.safe_guards, "attach", attach)
        with pytest.raises(ValueError, match="no such guard"):
            make(bench, Probe)
        check_idle_clock(bench)


def test_poll_that_is_awaited_is_given_up_when_its_object_goes() -> None:
    class Endless(LoopMeter):
        async def _note_later(self, name: str) -> None:
            self.note(name)
            await trio.sleep_forever()

    with open_task_bench() as bench:
        proxy, meter = make(bench, Endless)
        proxy.open()
        with time_passes(bench, 0.0):
            wait_until(lambda: meter.asked)
            bench.context.remove_rpc_object(proxy)
        check_idle_clock(bench)


def test_poll_is_what_a_busy_object_is_busy_with() -> None:
    with open_task_bench("lab") as bench:
        proxy, meter = make(bench)
        meter.works = meter.gate.wait
        proxy.open()
        actor = actor_of(bench.context, "meter")
        with time_passes(bench, 0.0):
            wait_until(lambda: meter.asked)
            busy = actor.explain_busy()
            meter.gate.set()
        assert busy.startswith("lab.meter is busy with poll of current for 0.")
        assert actor.statistics().busy_with is None
        proxy.close()


def test_poll_goes_by_the_time_of_the_loop_in_a_virtual_context() -> None:
    async def main() -> None:
        async with open_virtual_context() as context:
            proxy = await context.make_instrument("meter", LoopMeter)
            meter = actor_of(context, "meter").object
            begun = trio.current_time()
            await proxy.open()
            await trio.sleep(3600.5)
            assert [when - begun for _, when in meter.asked] == pytest.approx([float(k) for k in range(3601)])
            await proxy.close()

    run_in_virtual_time(main)


async def test_poll_begins_at_once_by_the_real_clock() -> None:
    async with qmi.open_context("test", None, init_logging=False) as context:
        proxy = await context.make_instrument("meter", LoopMeter)
        asked = trio.Event()
        actor_of(context, "meter").object.works = asked.set
        await proxy.open()
        await asked.wait()
        await proxy.close()


def test_poll_that_breaks_down_takes_nothing_with_it(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        async def sleep_until(self, t: float) -> None:
            raise RuntimeError("no timer")

        def close(self) -> None:
            pass

    with open_task_bench("lab") as bench:
        bench.clock.loop_waiter = lambda **_: Broken()  # type: ignore[assignment]
        proxy, _ = make(bench)
        with caplog.at_level(logging.ERROR):
            proxy.open()
            wait_until(lambda: caplog.records)
        assert proxy.is_open()
        proxy.close()
    assert [record.getMessage() for record in caplog.records] == ["lab.meter is not polled any more"]


def test_object_without_readings_to_poll_has_no_poller() -> None:
    class Silent(Meter):
        polls = MappingProxyType({})

    with open_task_bench() as bench:
        proxy, meter = make(bench, Silent)
        proxy.open()
        assert actor_of(bench.context, "meter").poller is meter.__rpc_poller__ is None
        proxy.close()


@pytest.mark.parametrize(
    ("tick", "period", "now", "following"),
    [
        (0, 1.0, 0.0, 1),
        (0, 1.0, 0.999, 1),
        (0, 1.0, 1.0, 2),
        (3, 1.0, 3.2, 4),
        (3, 1.0, 3.0, 4),
        (3, 0.1, 0.1 * 3, 4),  # which is more than 0.3
        (0, 0.1, 2.55, 26),
        (5, 1.0, 2.0, 6),  # a clock that went back
    ],
)
def test_next_poll_is_the_first_one_that_is_not_over(tick: int, period: float, now: float, following: int) -> None:
    assert next_tick(tick, period, now) == following

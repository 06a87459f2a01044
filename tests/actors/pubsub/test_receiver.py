from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from qmi.actors.pubsub.subscriptions import Topic
from qmi.core.exceptions import (
    QMI_BlockingOnLoopException,
    QMI_SignalSubscriptionException,
    QMI_TimeoutException,
    QMI_UsageException,
)
from qmi.core.pubsub import QMI_SignalReceiver, ReceivedSignal, SignalReceiverDiscardPolicy
from tests.support.tasks import in_thread
from tests.support.waiting import wait_until

OLD = SignalReceiverDiscardPolicy.DISCARD_OLD
NEW = SignalReceiverDiscardPolicy.DISCARD_NEW
TOPIC = Topic("lab", "nsg", "sig")
OTHER = Topic("far", "nsg", "sig")
FURTHER = ("seqnr", "timestamp", "gap", "is_gap")


def told(number: int, topic: Topic = TOPIC) -> tuple[str, str, str, tuple[int], int, float]:
    return (*topic, (number,), number, 1000.0 + number)


def put(receiver: QMI_SignalReceiver, *numbers: int, topic: Topic = TOPIC) -> None:
    for number in numbers:
        receiver.deliver([told(number, topic)])


def all_of(receiver: QMI_SignalReceiver) -> list[ReceivedSignal]:
    return [receiver.get_next_signal() for _ in range(receiver.get_queue_length())]


def test_a_signal_says_who_sent_what_and_when() -> None:
    receiver = QMI_SignalReceiver()
    put(receiver, 7)
    assert receiver.has_signal_ready()
    signal = receiver.get_next_signal()
    assert signal == ("lab", "nsg", "sig", (7,), 0)
    assert signal == ReceivedSignal("lab", "nsg", "sig", (7,), 0)
    context, publisher, name, args, number = signal
    assert (context, publisher, name, args, number) == ("lab", "nsg", "sig", (7,), 0)
    assert (signal.seqnr, signal.timestamp, signal.gap, signal.is_gap) == (7, 1007.0, None, False)
    assert repr(signal) == "<lab.nsg.sig 7: (7,)>"
    assert repr(receiver) == "<signal receiver with 0 signals>"


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda signal: pickle.loads(pickle.dumps(signal))])
def test_a_copy_of_a_signal_says_the_same(again: Callable[[ReceivedSignal], ReceivedSignal]) -> None:
    receiver = QMI_SignalReceiver()
    put(receiver, 7)
    receiver.mark_gap(TOPIC, "resumed")
    put(receiver, 9)
    for signal in all_of(receiver):
        other = again(signal)
        assert type(other) is ReceivedSignal
        assert other == signal
        assert repr(other) == repr(signal)
        assert [getattr(other, name) for name in FURTHER] == [getattr(signal, name) for name in FURTHER]


@pytest.mark.parametrize(("policy", "args", "numbers"), [(OLD, [3, 4, 5], [2, 3, 4]), (NEW, [1, 2, 3], [0, 1, 2])])
def test_a_full_receiver_drops_by_its_policy_and_counts(
    policy: SignalReceiverDiscardPolicy, args: list[int], numbers: list[int]
) -> None:
    receiver = QMI_SignalReceiver(max_queue_length=3, discard_policy=policy)
    put(receiver, 1, 2, 3, 4, 5)
    assert receiver.get_queue_length() == 3
    assert receiver.dropped == 2
    signals = all_of(receiver)
    assert [signal.args[0] for signal in signals] == args
    assert [signal.receiver_seqnr for signal in signals] == numbers
    put(receiver, 6)
    assert receiver.get_next_signal().receiver_seqnr == 5


@given(
    st.lists(st.sampled_from(["signal", "signal", "together", "gap", "take", "empty"]), max_size=40),
    st.integers(1, 4),
    st.sampled_from([OLD, NEW]),
    st.booleans(),
)
def test_receiver_keeps_numbers_and_gaps_of_signals_in_any_history(
    steps: list[str], limit: int, policy: SignalReceiverDiscardPolicy, report: bool
) -> None:
    receiver = QMI_SignalReceiver(limit, policy, report_gaps=report)
    line: list[tuple[int, int, bool, bool]] = []  # the receiver's number, the publisher's, after a gap, is one
    count = dropped = published = 0
    gap = False

    def come(entry: tuple[int, int, bool, bool]) -> None:
        nonlocal count, dropped, gap
        count += 1
        line.append(entry)
        if len(line) > limit:
            dropped += 1
            gap = line.pop(0 if policy is OLD else -1)[2] or gap

    for step in steps:
        if step in ("signal", "together"):
            some = range(published, published + (1 if step == "signal" else 3))
            receiver.deliver([told(number) for number in some])
            for number in some:
                marked, gap = gap, False
                come((count, number, marked, False))
            published = some.stop
        elif step == "gap":
            receiver.mark_gap(TOPIC, "resumed")
            if report:
                come((count, 0, True, True))
            else:
                gap = True
        elif step == "take" and line:
            signal = receiver.get_next_signal()
            assert (signal.receiver_seqnr, signal.seqnr, signal.gap is not None, signal.is_gap) == line.pop(0)
        elif step == "empty":
            receiver.discard_all()
            line.clear()
    found = [(s.receiver_seqnr, s.seqnr, s.gap is not None, s.is_gap) for s in all_of(receiver)]
    assert (found, receiver.dropped) == (line, dropped)


def test_a_queue_can_be_emptied() -> None:
    receiver = QMI_SignalReceiver()
    put(receiver, 1, 2)
    receiver.discard_all()
    assert not receiver.has_signal_ready()
    assert receiver.dropped == 0


@pytest.mark.parametrize("timeout", [0, 0.0, -1.0])
def test_an_empty_receiver_does_not_wait_unless_asked_to(timeout: float) -> None:
    with pytest.raises(QMI_TimeoutException, match="There is no signal in the queue"):
        QMI_SignalReceiver().get_next_signal(timeout)


def test_waiting_has_an_end() -> None:
    with pytest.raises(QMI_TimeoutException, match=r"No signal came within 0\.01 s"):
        QMI_SignalReceiver().get_next_signal(timeout=0.01)


@pytest.mark.parametrize("timeout", [None, 30.0])
def test_receiver_wakes_its_waiters(timeout: float | None) -> None:
    receiver = QMI_SignalReceiver()
    waiting = [in_thread(partial(receiver.get_next_signal, timeout)) for _ in range(3)]
    wait_until(lambda: len(receiver._waiters) == 3)
    for number in range(3):
        put(receiver, number)
    assert sorted(future.wait(10).args[0] for future in waiting) == [0, 1, 2]


def test_receiver_wakes_one_of_two_waiters_for_one_signal() -> None:
    receiver = QMI_SignalReceiver()
    waiting = [in_thread(partial(receiver.get_next_signal, None)) for _ in range(2)]
    wait_until(lambda: len(receiver._waiters) == 2)
    put(receiver, 1)
    wait_until(lambda: sum(future.done() for future in waiting) == 1 and len(receiver._waiters) == 1)
    put(receiver, 2)
    assert sorted(future.wait(10).args[0] for future in waiting) == [1, 2]


@pytest.mark.parametrize("arguments", [{"max_queue_length": 0}, {"max_queue_length": 2.5}, {"max_queue_length": True}])
def test_a_length_that_is_none_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(QMI_UsageException, match="whole number from 1 on"):
        QMI_SignalReceiver(**arguments)


def test_a_policy_that_is_none_is_refused() -> None:
    with pytest.raises(QMI_UsageException, match="'oldest' is no SignalReceiverDiscardPolicy"):
        QMI_SignalReceiver(discard_policy="oldest")  # type: ignore[arg-type]


# In trio


async def test_a_task_waits_for_one_signal_after_the_other() -> None:
    receiver = QMI_SignalReceiver()
    got: list[int] = []
    put(receiver, 0)
    in_thread(lambda: put(receiver, 1, 2))
    async for signal in receiver:
        got.append(signal.args[0])
        if signal.args[0] == 2:
            break
    assert got == [0, 1, 2]


async def test_receiver_keeps_its_signals_when_a_waiting_task_is_cancelled() -> None:
    receiver = QMI_SignalReceiver()

    with trio.CancelScope() as scope:
        scope.cancel()
        put(receiver, 1)
        await receiver.next_signal()
    assert receiver.get_queue_length() == 1
    receiver.discard_all()
    with trio.move_on_after(0.01):
        await receiver.next_signal()
    assert not receiver._waiters
    put(receiver, 2)
    assert (await receiver.next_signal()).args == (2,)


async def test_blocking_on_the_loop_is_refused_unless_there_is_a_signal() -> None:
    receiver = QMI_SignalReceiver()

    put(receiver, 1)
    assert receiver.get_next_signal(timeout=None).args == (1,)
    with pytest.raises(QMI_TimeoutException):
        receiver.get_next_signal()
    with pytest.raises(QMI_BlockingOnLoopException, match=r"await receiver.next_signal\(\)"):
        receiver.get_next_signal(timeout=1.0)


# Gaps


def test_the_first_signal_after_a_gap_says_so() -> None:
    receiver = QMI_SignalReceiver()
    put(receiver, 1)
    receiver.mark_gap(TOPIC, "lost")
    receiver.mark_gap(TOPIC, "resumed")
    put(receiver, 2, topic=OTHER)
    put(receiver, 5, 6)
    assert [signal.gap for signal in all_of(receiver)] == [None, None, "resumed", None]


@pytest.mark.parametrize("policy", [OLD, NEW])
@pytest.mark.parametrize("report", [True, False])
def test_the_mark_of_a_gap_outlives_the_signal_that_had_it(policy: SignalReceiverDiscardPolicy, report: bool) -> None:
    receiver = QMI_SignalReceiver(1, policy, report_gaps=report)
    if policy is NEW:
        put(receiver, 1)
    receiver.mark_gap(TOPIC, "restarted")
    put(receiver, 2)
    put(receiver, 3)
    put(receiver, 4)
    gaps = []
    for number in range(5, 8):
        gaps += [signal.gap for signal in all_of(receiver)]
        put(receiver, number)
    assert "restarted" in gaps


def test_gaps_are_events_for_those_who_want_that() -> None:
    receiver = QMI_SignalReceiver(report_gaps=True)
    waiting = in_thread(partial(receiver.get_next_signal, None))
    wait_until(lambda: receiver._waiters)
    receiver.mark_gap(TOPIC, "lost")
    event = waiting.wait(10)
    assert (event.is_gap, event.gap, event.args, event.receiver_seqnr) == (True, "lost", (), 0)
    assert repr(event) == "<lab.nsg.sig 0: gap: lost>"
    receiver.mark_gap(TOPIC, "restarted")
    put(receiver, 3)
    assert [(signal.is_gap, signal.gap) for signal in all_of(receiver)] == [(True, "restarted"), (False, None)]


# The end


def test_receiver_fails_waiters_when_no_signal_can_come_any_more() -> None:
    receiver = QMI_SignalReceiver()
    receiver.add_source()
    receiver.add_source()
    waiting = in_thread(partial(receiver.get_next_signal, None))
    wait_until(lambda: receiver._waiters)
    receiver.remove_source(OTHER, "far is gone")
    assert not waiting.done()
    receiver.remove_source(TOPIC, "lab has stopped")
    with pytest.raises(QMI_SignalSubscriptionException, match="No signal can come any more: lab has stopped"):
        waiting.wait(10)
    with pytest.raises(QMI_SignalSubscriptionException):
        receiver.get_next_signal(timeout=None)
    with pytest.raises(QMI_TimeoutException):
        receiver.get_next_signal()
    receiver.add_source()
    with pytest.raises(QMI_TimeoutException):
        receiver.get_next_signal(timeout=0.001)


async def test_receiver_fails_tasks_when_no_signal_can_come_any_more() -> None:
    receiver = QMI_SignalReceiver()
    receiver.add_source()
    receiver.remove_source(TOPIC, "lab has stopped")
    with pytest.raises(QMI_SignalSubscriptionException):
        await receiver.next_signal()


def test_receiver_gives_queued_signals_before_the_end() -> None:
    receiver = QMI_SignalReceiver(report_gaps=True)
    receiver.add_source()
    put(receiver, 1)
    receiver.remove_source(TOPIC, "gone")
    assert receiver.get_next_signal(timeout=None).args == (1,)
    event = receiver.get_next_signal(timeout=None)
    assert (event.is_gap, event.gap) == (True, "ended")
    with pytest.raises(QMI_SignalSubscriptionException, match="gone"):
        receiver.get_next_signal(timeout=None)


def test_unsubscribing_is_no_end() -> None:
    receiver = QMI_SignalReceiver()
    receiver.add_source()
    receiver.remove_source(TOPIC)
    with pytest.raises(QMI_TimeoutException):
        receiver.get_next_signal(timeout=0.001)


def test_receiver_loses_nothing_when_many_threads_put_and_take() -> None:
    receiver = QMI_SignalReceiver()
    taken: list[int] = []
    mutex = threading.Lock()

    def take() -> None:
        for _ in range(500):
            number = receiver.get_next_signal(timeout=10.0).args[0]
            with mutex:
                taken.append(number)

    takers = [in_thread(take) for _ in range(4)]
    putters = [in_thread(partial(put, receiver, *range(start, 2000, 4))) for start in range(4)]
    for future in (*putters, *takers):
        future.wait(20)
    assert sorted(taken) == list(range(2000))
    assert not receiver.has_signal_ready()

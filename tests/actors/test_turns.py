from __future__ import annotations

import threading
from typing import Any

import pytest

from qmi.actors.end_turn import EndTurn
from qmi.actors.future import PendingCall, Turn
from qmi.actors.inline import InlineCall
from qmi.actors.interface import Kind, Method
from qmi.actors.lock_manager import AcquireTurn
from qmi.actors.streams import ActorStream, PullTurn
from qmi.messages import Acquire, LockAnswer, Origin, Token

LAB = Origin("lab", "1")
TOKEN = Token("t")
METHOD = Method("add", "", (), None, Kind.PLAIN)


class FakeActor:
    """What a turn needs of an actor."""

    where = "lab.x"


ACTOR: Any = FakeActor()


class Waiter:
    def __init__(self) -> None:
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


def pending_call(*, shared: bool = True) -> PendingCall:
    return PendingCall("add", (), {}, TOKEN, (), LAB, shared=shared)


def inline_call() -> InlineCall:
    return InlineCall(ACTOR, METHOD, (), {}, TOKEN, (), LAB)


def pull() -> PullTurn:
    call = PendingCall("numbers", (), {}, TOKEN, (), LAB)
    call.method = Method("numbers", "", (), None, Kind.GENERATOR)
    return PullTurn(ActorStream(ACTOR, call, None), TOKEN)


def every_turn() -> list[Turn]:
    return [
        pending_call(),
        inline_call(),
        pull(),
        AcquireTurn(Acquire("x", TOKEN), LAB),
        EndTurn("lab.x", LAB),
        pending_call(shared=False),
    ]


def test_turns_say_what_they_do_how_long_and_for_whom() -> None:
    turns = every_turn()
    for turn in turns:
        turn.since = 10.0
    assert [turn.describe(12.5) for turn in turns] == [
        f"{what} for 2.5 s, called from context 'lab'"
        for what in ("add()", "add()", "numbers()", "lock()", "release_rpc_object()", "add()")
    ]
    assert "for 0.0 s" in turns[0].describe(9.0)


def test_turn_is_taken_on_by_one_of_many_threads() -> None:
    turn = pending_call()
    start = threading.Barrier(8)
    claims: list[bool] = []

    def try_start() -> None:
        start.wait()
        claims.append(turn.try_start())

    threads = [threading.Thread(target=try_start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(claims) == [False] * 7 + [True]


@pytest.mark.parametrize("index", [0, 2, 3, 4, 5])
def test_turn_that_fails_answers_who_waits_for_it(index: int) -> None:
    turn = every_turn()[index]
    turn.fail(OSError("no cable"))
    with pytest.raises(OSError, match="no cable"):
        turn.wait(0)


def test_lock_request_that_was_answered_is_not_failed_later() -> None:
    turn = AcquireTurn(Acquire("x", TOKEN), LAB)
    assert turn.set_result(LockAnswer.GRANTED)
    turn.fail(OSError("no cable"))
    assert turn.wait() is LockAnswer.GRANTED


def test_lock_is_shown_the_token_of_the_call() -> None:
    assert [every_turn()[index].token for index in (0, 1, 2, 5)] == [TOKEN] * 4  # type: ignore[attr-defined]


def test_call_that_the_caller_runs_wakes_it_once_it_waits() -> None:
    call, waiter = inline_call(), Waiter()
    call._add_waker(waiter.wake)
    assert waiter.woken == 0
    call.set_result(None)
    assert (call.done(), call.error(), waiter.woken) == (True, None, 1)


def test_call_that_the_caller_runs_does_not_wait_after_the_grant() -> None:
    call = inline_call()
    call.set_result(None)
    call.set_result(None)  # by somebody else who dispatches the same turn
    call.wait_for_turn(None)


def test_call_that_the_caller_runs_is_woken_with_an_error() -> None:
    call, waiter = inline_call(), Waiter()
    call._add_waker(waiter.wake)
    call.fail(OSError("no cable"))
    assert waiter.woken == 1
    with pytest.raises(OSError, match="no cable"):
        call.wait_for_turn(None)


def test_call_that_the_caller_runs_may_be_granted_twice_while_it_waits_in_its_thread() -> None:
    call = inline_call()
    lock = threading.Lock()
    lock.acquire()
    call._waker = lock.release
    call.set_result(None)
    call.set_result(None)
    assert lock.acquire(False)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_call_ends_once_with_the_first_outcome(fails: bool, shared: bool) -> None:
    call, waiter = pending_call(shared=shared), Waiter()
    call._add_waker(waiter.wake)
    error = OSError("no cable")
    if fails:
        assert call.fail(error)
    assert call.set_result(3) is not fails
    assert not call.fail(KeyError("too late"))
    assert (call.done(), call.error()) == (True, error if fails else None)
    assert waiter.woken == 1


def test_call_that_others_may_wait_for_forgets_its_arguments_when_it_has_run() -> None:
    class Target:
        def add(self, *args: int, **kwargs: int) -> int:
            return sum(args) + sum(kwargs.values())

    call = PendingCall("add", (1, 2), {"more": 3}, None, (), LAB, shared=True)
    assert call.invoke(Target()) == 6
    assert (call.args, call.kwargs) == ((), {})

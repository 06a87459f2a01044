from __future__ import annotations

import threading
from typing import Any

import pytest

from qmi.actors.future import QMI_RpcFuture
from qmi.actors.interface import Kind, Method
from qmi.actors.turns import AcquireTurn, CallFuture, CallTurn, EndTurn, InlineTurn, PullTurn, Turn, WaitedTurn
from qmi.messages import Acquire, Call, LockAnswer, Origin, Token

LAB = Origin("lab", "1")
TOKEN = Token("t")
METHOD = Method("add", "", (), None, Kind.PLAIN)
CALL = Call("x", "add", token=TOKEN)
ACTOR: Any = object()


class Stream:
    name = "numbers"
    origin = LAB
    token = TOKEN
    chain = ()


class Waiter:
    def __init__(self) -> None:
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


def call_turn() -> CallTurn:
    return CallTurn(ACTOR, CALL, METHOD, LAB, CallFuture("the call"))


def every_turn() -> list[Turn]:
    return [
        call_turn(),
        InlineTurn(METHOD, TOKEN, (), LAB),
        PullTurn(ACTOR, Stream(), CallFuture("the item"), TOKEN, ahead=False, closing=False),
        AcquireTurn(Acquire("x", TOKEN), LAB, QMI_RpcFuture[LockAnswer]()),
        EndTurn(LAB, QMI_RpcFuture[None]()),
        WaitedTurn(METHOD, (), {}, TOKEN, (), LAB),
    ]


def test_each_says_what_it_does_how_long_and_for_whom() -> None:
    turns = every_turn()
    for turn in turns:
        turn.since = 10.0
    assert [turn.describe(12.5) for turn in turns] == [
        f"{what} for 2.5 s, called from context 'lab'"
        for what in ("add()", "add()", "numbers()", "lock()", "release_rpc_object()", "add()")
    ]
    assert "for 0.0 s" in turns[0].describe(9.0)


def test_one_of_many_threads_takes_it_on() -> None:
    turn = call_turn()
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


@pytest.mark.parametrize("index", [0, 2, 3, 4])
def test_failing_answers_who_waits_for_the_future(index: int) -> None:
    turn: Any = every_turn()[index]
    turn.fail(OSError("no cable"))
    with pytest.raises(OSError, match="no cable"):
        turn.future.wait(0)


def test_lock_request_that_was_answered_is_not_failed_later() -> None:
    turn = AcquireTurn(Acquire("x", TOKEN), LAB, QMI_RpcFuture[LockAnswer]())
    assert turn.future.set_result(LockAnswer.GRANTED)
    turn.fail(OSError("no cable"))
    assert turn.future.wait() is LockAnswer.GRANTED


def test_what_is_shown_to_the_lock_is_the_token_of_the_call() -> None:
    assert [every_turn()[index].token for index in (0, 1, 2, 5)] == [TOKEN] * 4  # type: ignore[attr-defined]


def test_a_caller_that_runs_the_method_itself_is_woken_once_it_waits() -> None:
    turn, waiter = InlineTurn(METHOD, TOKEN, (), LAB), Waiter()
    assert turn.expect(waiter)
    assert waiter.woken == 0
    turn.grant()
    assert (turn.granted, turn.error, waiter.woken) == (True, None, 1)


def test_a_caller_that_comes_after_the_grant_does_not_wait() -> None:
    turn, waiter = InlineTurn(METHOD, TOKEN, (), LAB), Waiter()
    turn.grant()
    assert not turn.expect(waiter)
    assert waiter.woken == 0


def test_a_caller_that_runs_the_method_itself_is_woken_with_an_error() -> None:
    turn, waiter = InlineTurn(METHOD, TOKEN, (), LAB), Waiter()
    turn.expect(waiter)
    turn.fail(OSError("no cable"))
    assert isinstance(turn.error, OSError)
    assert waiter.woken == 1


@pytest.mark.parametrize("fails", [False, True])
def test_a_caller_that_waits_on_the_spot_is_woken_with_the_outcome(fails: bool) -> None:
    turn = WaitedTurn(METHOD, (), {}, TOKEN, (), LAB)
    turn.wake()  # by a request to stop
    assert turn.lock.acquire(False)
    assert not turn.ended
    error = OSError("no cable")
    if fails:
        turn.fail(error)
    turn.set_result(3)
    turn.fail(KeyError("too late"))
    assert (turn.ended, turn.value, turn.error) == ((True, None, error) if fails else (True, 3, None))
    assert turn.lock.acquire(False)
    assert not turn.lock.acquire(False)
    turn.wake()
    turn.wake()

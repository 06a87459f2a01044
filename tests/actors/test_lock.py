from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from qmi.actors.lock import RULES, Ask, Lock, Standing, Verdict
from qmi.messages import Origin, Token

LAB = Origin("lab", "1")
LAB_AGAIN = Origin("lab", "2")
ELSEWHERE = Origin("elsewhere", "3")
AUTO = Token("secret")
CUSTOM = Token("text", custom=True)


def test_every_question_has_an_answer_in_every_standing() -> None:
    assert set(RULES) == {(ask, standing) for ask in Ask for standing in Standing}


@pytest.mark.parametrize(
    ("holder", "asker", "standing"),
    [
        (None, (LAB, AUTO), Standing.FREE),
        (None, (LAB, None), Standing.FREE),
        ((LAB, AUTO), (LAB, AUTO), Standing.MINE),
        ((LAB, AUTO), (LAB, None), Standing.OTHERS),
        ((LAB, AUTO), (LAB, Token("guess")), Standing.OTHERS),
        ((LAB, AUTO), (LAB_AGAIN, AUTO), Standing.OTHERS),
        ((LAB, AUTO), (ELSEWHERE, AUTO), Standing.OTHERS),
        ((LAB, AUTO), (LAB, Token(AUTO.secret, custom=True)), Standing.OTHERS),
        ((LAB, CUSTOM), (LAB, CUSTOM), Standing.MINE),
        ((LAB, CUSTOM), (LAB_AGAIN, CUSTOM), Standing.MINE),
        ((LAB, CUSTOM), (ELSEWHERE, CUSTOM), Standing.OTHERS),
        ((LAB, CUSTOM), (LAB, Token(CUSTOM.secret)), Standing.OTHERS),
        ((LAB, CUSTOM), (LAB, None), Standing.OTHERS),
    ],
)
def test_fault_37_how_a_token_stands_to_a_lock(
    holder: tuple[Origin, Token] | None, asker: tuple[Origin, Token | None], standing: Standing
) -> None:
    lock: Lock[Any] = Lock()
    if holder is not None:
        assert lock.acquire(*holder, now=1.0)
    assert lock.standing(*asker) is standing
    assert lock.may_call(*asker) == (RULES[Ask.CALL, standing] is Verdict.ALLOW)
    assert lock.release(*asker) == (standing is Standing.MINE)


def test_each_grant_has_a_label_of_its_own_and_keeping_is_no_grant() -> None:
    lock: Lock[Any] = Lock()
    assert lock.acquire(LAB, AUTO, 5.0)
    assert lock.holder is not None
    assert lock.holder.info == ("lab", "$lock_1", 5.0)
    assert lock.acquire(LAB, AUTO, 6.0)
    assert lock.holder.info.since == 5.0
    assert not lock.acquire(ELSEWHERE, AUTO, 7.0)
    assert lock.force()
    assert not lock.force()
    assert lock.acquire(ELSEWHERE, CUSTOM, 8.0)
    assert lock.holder.info == ("elsewhere", "$lock_2", 8.0)


def test_a_context_that_goes_takes_its_automatic_lock_along_and_no_other() -> None:
    lock: Lock[Any] = Lock()
    assert not lock.leave(LAB)
    lock.acquire(LAB, AUTO, 0.0)
    assert not lock.leave(LAB_AGAIN)
    assert lock.leave(LAB)
    lock.acquire(LAB, CUSTOM, 0.0)
    assert not lock.leave(LAB)
    assert lock.standing(LAB_AGAIN, CUSTOM) is Standing.MINE


def test_waiters_come_in_order_and_can_leave() -> None:
    lock: Lock[str] = Lock()
    assert lock.next_waiter() is None
    assert not lock.give_up("nobody")
    assert lock.clear_waiters() == []
    for name in "abcd":
        lock.wait(name)
    assert lock.give_up("b")
    assert not lock.give_up("b")
    assert lock.next_waiter() == "a"
    assert lock.clear_waiters() == ["c", "d"]
    assert lock.next_waiter() is None


ORIGINS = [LAB, LAB_AGAIN, ELSEWHERE]
TOKENS = [Token("a"), Token("b"), Token("a", custom=True), Token("b", custom=True)]
origins = st.sampled_from(ORIGINS)
tokens = st.sampled_from(TOKENS)


class LockAgainstModel(RuleBasedStateMachine):
    """The model: who holds the lock is a pair, or nobody; nothing else opens it."""

    def __init__(self) -> None:
        super().__init__()
        self.lock: Lock[Any] = Lock()
        self.held: tuple[Origin, Token] | None = None

    def is_holder(self, origin: Origin, token: Token | None) -> bool:
        if self.held is None or token is None:
            return False
        holder, secret = self.held
        if token.custom != secret.custom or token.secret != secret.secret:
            return False
        return origin.context == holder.context and (token.custom or origin.incarnation == holder.incarnation)

    @rule(origin=origins, token=tokens)
    def acquire(self, origin: Origin, token: Token) -> None:
        expected = self.held is None or self.is_holder(origin, token)
        assert self.lock.acquire(origin, token, 0.0) == expected
        if self.held is None:
            self.held = (origin, token)

    @rule(origin=origins, token=st.none() | tokens)
    def release(self, origin: Origin, token: Token | None) -> None:
        expected = self.is_holder(origin, token)
        assert self.lock.release(origin, token) == expected
        if expected:
            self.held = None

    @rule(origin=origins, token=st.none() | tokens)
    def call(self, origin: Origin, token: Token | None) -> None:
        assert self.lock.may_call(origin, token) == (self.held is None or self.is_holder(origin, token))

    @rule(origin=origins)
    def context_goes(self, origin: Origin) -> None:
        expected = self.held is not None and self.held[0] == origin and not self.held[1].custom
        assert self.lock.leave(origin) == expected
        if expected:
            self.held = None

    @precondition(lambda self: self.held is not None)
    @rule()
    def force(self) -> None:
        assert self.lock.force()
        self.held = None

    @invariant()
    def same_holder(self) -> None:
        holder = self.lock.holder
        assert (None if holder is None else (holder.origin, holder.token)) == self.held


LockAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_fault_37_no_sequence_of_requests_steals_a_lock = LockAgainstModel.TestCase
